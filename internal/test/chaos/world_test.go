package chaos

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"sync"
	"time"
)

// world is one run: what was sent, what was said, what was taken.
type world struct {
	seed   uint64
	clock  clock
	secret bool // there is TLS
	vague  bool // and an answer may have come before its command: what was read says little

	mu       sync.Mutex
	taps     []*tap
	takings  []taking
	faults   map[string]int
	servers  []*mta
	letters  map[string]*letter // by sender
	failures []failure
}

// failure is a law that was broken, and the wires on which that can be seen.
type failure struct {
	law, text string
	wires     []*tap
}

func (f failure) String() string { return f.law + ": " + f.text }

func newWorld(seed uint64) *world {
	return &world{seed: seed, faults: map[string]int{}, letters: map[string]*letter{}}
}

func (w *world) addTap(t *tap) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.taps = append(w.taps, t)
	t.number = len(w.taps)
}

func (w *world) count(fault string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults[fault]++
}

func (w *world) take(t taking) {
	t.seq = w.clock.tick()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.takings = append(w.takings, t)
}

// violated notes that a law was broken.
func (w *world) violated(law, format string, args ...any) {
	w.violatedOn(nil, law, format, args...)
}

func (w *world) violatedOn(wires []*tap, law, format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failures = append(w.failures, failure{law: law, text: fmt.Sprintf(format, args...), wires: wires})
}

// tally is what many runs come to.
type tally struct {
	mu                             sync.Mutex
	runs, sends, wires, violations int
	outcomes, faults               map[string]int
	laws                           map[string]int
	seeds                          []uint64
}

func newTally() *tally {
	return &tally{outcomes: map[string]int{}, faults: map[string]int{}, laws: map[string]int{}}
}

func (t *tally) add(w *world) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.runs++
	t.wires += len(w.taps)
	for k, n := range w.faults {
		t.faults[k] += n
	}
	for _, l := range w.letters {
		for _, s := range l.sends {
			t.sends++
			if s.result == nil {
				continue
			}
			for _, o := range s.result.Outcomes {
				t.outcomes[o.State.String()]++
			}
		}
	}
	if len(w.failures) > 0 {
		t.seeds = append(t.seeds, w.seed)
	}
	for _, f := range w.failures {
		t.violations++
		t.laws[f.law]++
	}
}

func (t *tally) String() string {
	list := func(m map[string]int) string {
		var words []string
		for _, k := range slices.Sorted(maps.Keys(m)) {
			words = append(words, fmt.Sprintf("%s %d", k, m[k]))
		}
		return strings.Join(words, ", ")
	}
	s := fmt.Sprintf("%d seeds, %d wires, %d messages\noutcomes: %s\nfaults: %s\nviolations: %d", t.runs, t.wires,
		t.sends,
		list(t.outcomes), list(t.faults), t.violations)
	if t.violations > 0 {
		s += fmt.Sprintf(" (%s) in seeds %v", list(t.laws), t.seeds)
	}
	return s
}

// serverTLS is a certificate for every server. The clock of a bubble begins in 2000.
var serverTLS = sync.OnceValue(func() *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	names := []string{"mx1.example", "mx2.example", "mx3.example"}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{
		CommonName: names[0],
	}, DNSNames: names,
		NotBefore: time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2090, 1, 1, 0, 0, 0, 0, time.UTC),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}}}
})

// clientTLS trusts it.
func clientTLS() *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(serverTLS().Certificates[0].Leaf)
	return &tls.Config{RootCAs: roots}
}
