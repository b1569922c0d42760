package dial

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/postrider/postrider/internal/detach"
)

// Resolver looks up the addresses of host names, and keeps each answer for a minute. When a later look-up fails, the
// last answer goes on to hold: a resolver that is down must not stop the mail. It is safe for any number of goroutines.
type Resolver struct {
	LookupHost func(ctx context.Context, host string) ([]string, error)

	mu      sync.Mutex
	answers map[string]answer
}

type answer struct {
	addresses []string
	at        time.Time
}

// keepAnswer is how long an answer is used without asking again.
const keepAnswer = time.Minute

// Addresses returns the IP addresses of a host, which may be one itself.
func (r *Resolver) Addresses(ctx context.Context, host string) ([]string, error) {
	if _, err := netip.ParseAddr(host); err == nil {
		return []string{host}, nil
	}
	r.mu.Lock()
	known, ok := r.answers[host]
	r.mu.Unlock()
	if ok && time.Since(known.at) < keepAnswer {
		return known.addresses, nil
	}
	found, err := detach.Until(ctx, func() ([]string, error) { return r.LookupHost(ctx, host) }, nil)
	if err == nil && len(found) == 0 {
		err = &net.DNSError{Err: "no addresses", Name: host, IsNotFound: true}
	}
	if err != nil {
		if ok {
			return known.addresses, nil
		}
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.answers == nil {
		r.answers = map[string]answer{}
	}
	r.answers[host] = answer{found, time.Now()}
	return found, nil
}

// attemptDelay is how long an attempt has to itself before the next address is tried beside it (RFC 8305 §5).
const attemptDelay = 250 * time.Millisecond

// Dial opens a connection to the first of a host's addresses that answers (Happy Eyeballs, RFC 8305): they are tried in
// order, the families taking turns, each beside those before it once these had 250 ms, or as soon as they failed.
func (r *Resolver) Dial(ctx context.Context, target string,
	dial func(ctx context.Context, network, address string) (net.Conn, error),
) (net.Conn, error) {
	host, port, err := net.SplitHostPort(target)
	if err != nil {
		return nil, err
	}
	addresses, err := r.Addresses(ctx, host)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	race := race{results: make(chan attempt, len(addresses))}
	for i, a := range takeTurns(addresses) {
		if race.conn != nil || i > 0 && ctx.Err() != nil {
			break // the first is tried in any case: its error says what is wrong
		}
		go func() {
			conn, err := Open(ctx, func() (net.Conn, error) { return dial(ctx, "tcp", net.JoinHostPort(a, port)) })
			race.results <- attempt{conn, err}
		}()
		race.running++
		race.wait(ctx, attemptDelay)
	}
	for race.conn == nil && race.running > 0 {
		race.take(<-race.results) // each ends with ctx at the latest
	}
	cancel()
	race.discard()
	if race.conn == nil {
		return nil, errors.Join(race.failures...)
	}
	return race.conn, nil
}

// Open calls dial, and does not wait for it longer than ctx lasts. A connection that it returns later is closed.
func Open(ctx context.Context, dial func() (net.Conn, error)) (net.Conn, error) {
	return detach.Until(ctx, func() (net.Conn, error) {
		conn, err := dial()
		if conn == nil && err == nil {
			err = errors.New("the Dial function returned neither a connection nor an error")
		}
		return conn, err
	}, func(conn net.Conn) { conn.Close() })
}

type attempt struct {
	conn net.Conn
	err  error
}

// race is a dial underway at several addresses.
type race struct {
	results  chan attempt
	running  int
	conn     net.Conn
	failures []error
}

// wait waits for the first result, but not for longer than delay.
func (r *race) wait(ctx context.Context, delay time.Duration) {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case a := <-r.results:
		r.take(a)
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (r *race) take(a attempt) {
	r.running--
	switch {
	case a.err != nil:
		r.failures = append(r.failures, a.err)
	case r.conn != nil:
		a.conn.Close() // one is enough
	default:
		r.conn = a.conn
	}
}

// discard waits for those who lost, so that no goroutine is left.
func (r *race) discard() {
	for r.running > 0 {
		r.take(<-r.results)
	}
}

// takeTurns interleaves the families, beginning with that of the first (RFC 8305 §4).
func takeTurns(addresses []string) []string {
	var families [2][]string
	first := isIPv6(addresses[0])
	for _, a := range addresses {
		i := 0
		if isIPv6(a) != first {
			i = 1
		}
		families[i] = append(families[i], a)
	}
	var turns []string
	for i := range max(len(families[0]), len(families[1])) {
		for _, f := range families {
			if i < len(f) {
				turns = append(turns, f[i])
			}
		}
	}
	return turns
}

func isIPv6(a string) bool { return strings.Contains(a, ":") }

// Service is a server that a domain names for submission.
type Service struct {
	Address     Address
	ImplicitTLS bool // it speaks TLS from the start, else STARTTLS
	Priority    int  // lower ones first
	Weight      int  // among those of one priority
}

// Submission finds the submission servers of a mail domain by SRV: _submissions._tcp, which has TLS from the start
// (RFC 8314 §5.1), before _submission._tcp (RFC 6186 §3.1), each in its own order (RFC 2782).
func Submission(ctx context.Context, domain string,
	lookup func(ctx context.Context, service, proto, name string) (string, []*net.SRV, error),
) ([]Service, error) {
	var found []Service
	var failures []error
	before := 0
	for _, service := range []string{"submissions", "submission"} {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		records, err := detach.Until(ctx, func() ([]*net.SRV, error) {
			_, records, err := lookup(ctx, service, "tcp", domain)
			return records, err
		}, nil)
		if err != nil {
			failures = append(failures, fmt.Errorf("_%s._tcp.%s: %w", service, domain, err))
			continue
		}
		for _, r := range records {
			host := strings.TrimSuffix(r.Target, ".")
			if host == "" {
				continue // "." says that there is no such service (RFC 6186 §3.4)
			}
			address := Address{Network: "tcp", Host: host, Port: strconv.Itoa(int(r.Port))}
			found = append(found, Service{address, service == "submissions", before + int(r.Priority), int(r.Weight)})
		}
		before += 1 << 16
	}
	if len(found) == 0 {
		if len(failures) == 0 {
			return nil, fmt.Errorf("the SRV records of domain %q say that it has no submission server", domain)
		}
		return nil, errors.Join(failures...)
	}
	slices.SortStableFunc(found, func(a, b Service) int { return cmp.Compare(a.Priority, b.Priority) })
	return found, nil
}
