package doctor

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/postrider/postrider/internal/hint"
)

// connect resolves the server's name and tries every address, all at once, as a
// client that has to fall back would meet them one after the other.
func (e *exam) connect(ctx context.Context) bool {
	targets, ok := e.resolve(ctx)
	if !ok {
		return false
	}
	tried := make([]attempt, len(targets))
	var wg sync.WaitGroup
	for i, target := range targets {
		wg.Go(func() { tried[i] = e.try(ctx, target) })
	}
	wg.Wait()
	for _, a := range tried {
		if a.err == nil && e.server == "" {
			e.server, e.local = a.target, a.local
		}
	}
	for _, a := range tried {
		e.found(e.connected(a))
	}
	return e.server != ""
}

// attempt is one address that was dialled.
type attempt struct {
	target string
	took   time.Duration
	local  bool
	err    error
}

func (e *exam) try(ctx context.Context, target string) attempt {
	start := time.Now()
	s := e.session(target, nil)
	failed := s.Dial(ctx)
	a := attempt{target: target, took: time.Since(start), local: s.Local}
	if failed != nil {
		a.err = failed.Err
	} else {
		s.Raw.Close()
	}
	return a
}

// connected judges one address: that another one answers makes it a warning.
func (e *exam) connected(a attempt) Finding {
	f := Finding{Check: "connect", Stage: hint.Dial, Level: OK, Saw: a.target + " answers", Took: a.took}
	if a.err == nil {
		return f
	}
	about := e.failure(way{Port: e.address.Port, Mode: e.Config.Mode}, hint.Dial)
	about.Err = a.err
	f.Level, f.Saw, f.Means = Problem, a.target+": "+words(a.err), meaning[hint.Dial]
	if e.server != "" {
		// Of this address, and not of the name, which another one serves.
		f.Level, f.Means = Warning, "every connection tries this address in vain, and loses time"
		if ip, _, err := net.SplitHostPort(a.target); err == nil {
			about.Host = ip
		}
	}
	f.Set = hint.For(about)
	return f
}

// resolve returns what to dial: every address of the name.
func (e *exam) resolve(ctx context.Context) (targets []string, ok bool) {
	host := e.address.Host
	_, notIP := netip.ParseAddr(host)
	if e.address.Network == "unix" || notIP == nil || e.Config.Dial != nil && e.Lookup == nil {
		return []string{e.address.Target()}, true
	}
	ctx, cancel := context.WithTimeout(ctx, e.limit(hint.Dial))
	defer cancel()
	start := time.Now()
	ips, err := e.lookup(ctx, host)
	f := Finding{Check: "resolve", Stage: hint.Dial, Level: OK, Took: time.Since(start)}
	if err != nil || len(ips) == 0 {
		about := e.failure(way{Port: e.address.Port, Mode: e.Config.Mode}, hint.Dial)
		about.Err = err
		f.Level, f.Saw, f.Means = Problem, host+": "+words(err), meaning[hint.Dial]
		f.Set = hint.For(about)
		e.found(f)
		return nil, false
	}
	var shown []string
	for _, ip := range ips {
		shown = append(shown, ip.String())
		targets = append(targets, net.JoinHostPort(ip.String(), e.address.Port))
	}
	f.Saw = fmt.Sprintf("%s is %s", host, strings.Join(shown, ", "))
	e.found(f)
	return targets, true
}

// lookup returns A and AAAA in the system's order of preference.
func (e *exam) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if e.Lookup != nil {
		return e.Lookup(ctx, host)
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	for i := range ips {
		ips[i] = ips[i].Unmap()
	}
	return ips, err
}
