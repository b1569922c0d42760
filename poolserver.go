package postrider

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/dial"
	"github.com/postrider/postrider/internal/pace"
)

// endpoint is one server of a pool, and how it fares. Guarded by Pool.mu.
type endpoint struct {
	*server
	from     *source
	priority int // lower ones first
	weight   int // among those of one priority, at least 1
	gained   int // of the weights, see chooseAmongLocked

	health pace.Health
	limit  pace.Limit
	greys  greys
	served int    // messages that it answered
	err    *Error // why it is down

	welcomed bool // it has let us in, and not refused the credentials since
}

// source is a Config as the caller gave it: one server, or a domain whose servers
// SRV records name.
type source struct {
	cfg      Config
	name     string
	domain   string // "": no SRV
	priority int
	weight   int

	// Of the look-up, guarded by Pool.mu.
	lookedUp time.Time
	stale    bool   // a server has failed since
	err      *Error // why there is no answer yet
}

const srvPrefix = "srv:"

// How long SRV records are not looked up again, even if a server fails, and how long
// after a look-up that failed.
const (
	keepSRV  = time.Minute
	retrySRV = 5 * time.Second
)

// addSources checks the servers' configurations.
func (p *Pool) addSources(servers []Config) error {
	for i, cfg := range servers {
		s := &source{cfg: cfg, name: cfg.Address, priority: i, weight: 1}
		if cfg.Weight > 0 {
			s.priority, s.weight = -1, cfg.Weight // before all without one
		}
		p.sources = append(p.sources, s)
		if domain, isSRV := strings.CutPrefix(cfg.Address, srvPrefix); isSRV {
			s.domain, cfg.Address = domain, domain // a name like any other, by which the rest is checked
		}
		e, err := p.newEndpoint(s, cfg)
		err = cmp.Or(err, cfg.checkWeight())
		if err != nil && len(servers) > 1 {
			err = fmt.Errorf("server %d: %w", i+1, err)
		}
		if err != nil {
			return err
		}
		if s.domain == "" {
			s.name = e.name
			p.endpoints = append(p.endpoints, e)
		}
	}
	p.sortEndpoints()
	return nil
}

func (p *Pool) sortEndpoints() {
	slices.SortStableFunc(p.endpoints, func(a, b *endpoint) int { return a.priority - b.priority })
}

// sourceStep is the distance of two sources' priorities; between them lie those
// of SRV records.
const sourceStep = 1 << 20

func (p *Pool) newEndpoint(from *source, cfg Config) (*endpoint, error) {
	if cfg.MaxAge == 0 {
		cfg.MaxAge = DefaultPoolMaxAge
	}
	s, err := newServer(cfg)
	if err != nil {
		return nil, err
	}
	s.jittered = true
	if s.address.Network == "tcp" && (cfg.Dial == nil || p.cfg.LookupHost != nil) {
		s.dial = p.resolving(s.dial)
	}
	return &endpoint{
		server: s, from: from, priority: from.priority * sourceStep, weight: from.weight, limit: pace.Limit{Max: p.max},
	}, nil
}

// resolving dials all addresses of a name, as the pool knows them.
func (p *Pool) resolving(open dialFunc) dialFunc {
	lookup := p.cfg.LookupHost
	if lookup == nil {
		lookup = net.DefaultResolver.LookupHost
	}
	r := &dial.Resolver{LookupHost: lookup}
	return func(ctx context.Context, _, target string) (net.Conn, error) {
		return r.Dial(ctx, target, open)
	}
}

func (p *Pool) lookupSRV() func(ctx context.Context, service, proto, name string) (string, []*net.SRV, error) {
	if p.cfg.LookupSRV != nil {
		return p.cfg.LookupSRV
	}
	return net.DefaultResolver.LookupSRV
}

// refresh looks up the SRV records that are due. One Send does it, the others wait.
func (p *Pool) refresh(ctx context.Context) *Error {
	if len(p.dueForLookup()) == 0 {
		return nil
	}
	ctx, done := p.whileOpen(ctx)
	defer done()
	select {
	case p.lookup <- struct{}{}:
		defer func() { <-p.lookup }()
	case <-ctx.Done():
		return &Error{Stage: StageLocal, Step: StepSend, Address: p.String(), Err: context.Cause(ctx)}
	}
	for _, s := range p.dueForLookup() {
		found, err := dial.Submission(ctx, s.domain, p.lookupSRV())
		if ctx.Err() != nil {
			return &Error{Stage: StageLocal, Step: StepSend, Address: p.String(), Err: context.Cause(ctx)}
		}
		var fresh []*endpoint
		if err == nil {
			fresh, err = p.fromServices(s, found)
		}
		p.replace(s, fresh, err)
	}
	return nil
}

func (p *Pool) dueForLookup() []*source {
	p.mu.Lock()
	defer p.mu.Unlock()
	var due []*source
	for _, s := range p.sources {
		keep := keepSRV
		if s.err != nil {
			keep = retrySRV
		}
		if s.domain != "" && (s.lookedUp.IsZero() || s.stale && time.Since(s.lookedUp) >= keep) {
			due = append(due, s)
		}
	}
	return due
}

func (p *Pool) fromServices(s *source, found []dial.Service) (fresh []*endpoint, err error) {
	for _, service := range found {
		cfg := s.cfg
		// Whatever Mode says: never in the clear (RFC 8314 §3).
		cfg.Address, cfg.Mode = service.Address.String(), StartTLS
		if service.ImplicitTLS {
			cfg.Mode = ImplicitTLS
		}
		if cfg.ServerName == "" {
			cfg.ServerName = s.domain // RFC 6186 §6: a forged record must not say who is trusted
		}
		e, err := p.newEndpoint(s, cfg)
		if err != nil {
			return nil, err
		}
		e.priority += service.Priority
		e.weight = max(1, service.Weight)
		fresh = append(fresh, e)
	}
	return fresh, nil
}

// replace takes the answer of a look-up. Servers that were there before keep what is
// known of them; those that are gone get no more mail.
func (p *Pool) replace(s *source, fresh []*endpoint, err error) {
	p.mu.Lock()
	defer p.unlock()
	s.lookedUp, s.stale = time.Now(), err != nil
	if err != nil {
		s.err = &Error{Stage: StageConnect, Step: StepLookup, Address: s.name, Err: err,
			Hint: Hint{Text: "write the server itself as the address if the domain publishes none", Field: "Address"}}
		return
	}
	s.err = nil
	var all []*endpoint
	for _, e := range p.endpoints {
		i := slices.IndexFunc(fresh, func(f *endpoint) bool { return f.name == e.name && f.cfg.Mode == e.cfg.Mode })
		switch {
		case e.from != s:
			all = append(all, e)
		case i >= 0:
			e.priority, e.weight = fresh[i].priority, fresh[i].weight
			fresh[i] = e
		}
	}
	p.endpoints = append(all, fresh...)
	p.sortEndpoints()
	for _, m := range slices.Clone(p.members) {
		if m.taken == 0 && !m.leaving && !slices.Contains(p.endpoints, m.at) {
			p.retireLocked(m)
		}
	}
}
