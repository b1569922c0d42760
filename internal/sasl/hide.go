package sasl

import (
	"encoding/base64"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

const (
	hidden = "********"

	// gram is the shortest piece of a secret in base64 that is hidden, and the length from which a secret is hidden in
	// every reply. A shorter one could be a part of an ordinary word ("user", "mail"): it is hidden in replies to AUTH
	// only, where a server repeats what it was told, and from word octets on.
	gram = 8
	word = 4

	// cutToken is the shortest piece of the secret itself that is hidden: servers cut long tokens off. It is longer
	// than what a password may share with a host's name.
	cutToken = 16

	// mostSecrets bounds what a server's redactor remembers of tokens that were fetched, one an hour perhaps.
	mostSecrets = 8
)

// Redactor takes out of a server's words the passwords and tokens that it was told: some servers repeat them, even in
// replies to later commands. It knows a secret as it is, and as it looks within base64 at each of the three places
// where it can begin there. User names are no secrets. The zero value knows none, and costs nothing; it is for any
// number of goroutines.
type Redactor struct {
	known atomic.Pointer[forms]
	mu    sync.Mutex // of Add
	newer []string   // the secrets, the newest last
}

// Add lets it know the secret of c, before that is told to the server. Of many the newest stay known.
func (r *Redactor) Add(c Credentials) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := len(r.newer)
	for _, secret := range c.secrets() {
		if len(secret) >= word && !slices.Contains(r.newer, secret) {
			r.newer = append(r.newer, secret)
		}
	}
	if len(r.newer) == before {
		return
	}
	r.newer = r.newer[max(0, len(r.newer)-mostSecrets):]
	r.known.Store(newForms(r.newer))
}

// Hide returns a text of the server's without the secrets of at least 8 octets.
func (r *Redactor) Hide(text string) string { return r.known.Load().hide(text, false) }

// HideInAuth is Hide for what answers a line of AUTH: short secrets are hidden, too.
func (r *Redactor) HideInAuth(text string) string { return r.known.Load().hide(text, true) }

// Hide takes the secret of c out of what a server says within AUTH.
func (c Credentials) Hide(text string) string {
	var r Redactor
	r.Add(c)
	return r.HideInAuth(text)
}

// secrets are the password as it was given, and as it is sent.
func (c Credentials) secrets() []string { return []string{c.Password, c.prepared().Password} }

// form is one shape of a secret. least is how much of it in a row is hidden.
type form struct {
	text  string
	least int
}

// forms are all shapes of some secrets.
type forms struct {
	long, short []form
	seen        []uint64 // a Bloom filter of the grams of long
}

func newForms(secrets []string) *forms {
	f := new(forms)
	for _, secret := range secrets {
		if len(secret) < gram {
			f.short = append(f.short, form{secret, len(secret)})
			for _, b := range within64(secret) {
				f.short = append(f.short, form{b, len(b)})
			}
			continue
		}
		f.long = append(f.long, form{secret, min(len(secret), cutToken)})
		for _, b := range within64(secret) {
			f.long = append(f.long, form{b, gram})
		}
	}
	f.filter()
	return f
}

// within64 is how a secret looks in base64 of a longer text, at each of the places where it can begin: the characters
// that nothing but the secret decides, in both alphabets of RFC 4648.
func within64(secret string) (all []string) {
	for before := range 3 {
		octets := append(make([]byte, before), secret...)
		first := (8*before + 5) / 6
		last := 8 * len(octets) / 6
		for _, alphabet := range [...]*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			if b := alphabet.EncodeToString(octets)[first:last]; !slices.Contains(all, b) {
				all = append(all, b)
			}
		}
	}
	return all
}

// filter marks the grams of all long forms, with room enough that one in some thousand others looks like one.
func (f *forms) filter() {
	grams := 0
	for _, l := range f.long {
		grams += len(l.text) - gram + 1
	}
	size := 1
	for size < grams {
		size *= 2
	}
	if grams > 0 {
		f.seen = make([]uint64, size)
	}
	for _, l := range f.long {
		var g uint64
		for i := range len(l.text) {
			if g = g>>8 | uint64(l.text[i])<<56; i >= gram-1 {
				a, b := f.places(g)
				f.seen[a/64] |= 1 << (a % 64)
				f.seen[b/64] |= 1 << (b % 64)
			}
		}
	}
}

// places are the two bits of a gram, its octets in one number.
func (f *forms) places(g uint64) (a, b uint64) {
	h := g * 0x9e3779b97f4a7c15
	bits := uint64(len(f.seen)) * 64 // a power of two
	return (h >> 32) & (bits - 1), (h ^ h>>17) & (bits - 1)
}

// suspects reports whether a text may hold a gram of a secret: nearly all replies are done with here.
func (f *forms) suspects(text string) bool {
	if f.seen == nil {
		return false
	}
	var g uint64
	for i := range len(text) {
		if g = g>>8 | uint64(text[i])<<56; i < gram-1 {
			continue
		}
		a, b := f.places(g)
		if f.seen[a/64]&(1<<(a%64)) != 0 && f.seen[b/64]&(1<<(b%64)) != 0 {
			return true
		}
	}
	return false
}

// hide takes out what it knows; auth: the short ones, too.
func (f *forms) hide(text string, auth bool) string {
	if f == nil {
		return text
	}
	var covered []bool // octet by octet; nil: none
	cover := func(begin, end int) {
		if covered == nil {
			covered = make([]bool, len(text))
		}
		for i := begin; i < end; i++ {
			covered[i] = true
		}
	}
	if f.suspects(text) {
		for _, l := range f.long {
			l.find(text, cover)
		}
	}
	if auth {
		for _, s := range f.short {
			findWhole(text, s.text, cover)
		}
	}
	if covered == nil {
		return text
	}
	return redact(text, covered)
}

// find reports where text has at least least octets in a row of the form.
func (l form) find(text string, cover func(begin, end int)) {
	findWhole(text, l.text, cover) // one that repeats itself could be met in its middle below
	for i := 0; i+gram <= len(text); {
		at := strings.Index(l.text, text[i:i+gram])
		if at < 0 {
			i++
			continue
		}
		begin, end := i, i+gram
		for b := at; begin > 0 && b > 0 && text[begin-1] == l.text[b-1]; b-- {
			begin--
		}
		for e := at + gram; end < len(text) && e < len(l.text) && text[end] == l.text[e]; e++ {
			end++
		}
		if end-begin >= l.least {
			cover(begin, end)
		}
		i = end - gram + 1 // the first gram that is not within these
	}
}

func findWhole(text, secret string, cover func(begin, end int)) {
	for i := 0; ; {
		at := strings.Index(text[i:], secret)
		if at < 0 {
			return
		}
		cover(i+at, i+at+len(secret))
		i += at + len(secret)
	}
}

// redact puts asterisks in the place of each covered piece.
func redact(text string, covered []bool) string {
	var b strings.Builder
	for i := range len(text) {
		switch {
		case !covered[i]:
			b.WriteByte(text[i])
		case i == 0 || !covered[i-1]:
			b.WriteString(hidden)
		}
	}
	return b.String()
}
