package postrider

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/cause"
	"github.com/postrider/postrider/internal/dial"
	"github.com/postrider/postrider/internal/seats"
)

// poolServer is one server of a pool.
type poolServer struct {
	*server
	p *Pool
}

// LoginRefused returns the refusal of the credentials while it stands.
func (s *poolServer) LoginRefused() (until time.Time, err error) {
	e := s.loginRefused()
	if e == nil {
		return time.Time{}, nil
	}
	if r := s.refusedLogin.Load(); r != nil {
		return r.until, e
	}
	return time.Now(), e // its time is over since
}

// LogsIn reports that wires to it begin with AUTH.
func (s *poolServer) LogsIn() bool { return s.logins != nil }

// NewConnection makes a connection of the pool.
func (s *poolServer) NewConnection(seat *seats.Seat) seats.Connection {
	c := newConnection(s.server, &s.p.ids)
	c.opened = func(err *Error) { s.p.opened(seat, err) }
	return pooled{c}
}

// opened tells of an attempt to open a wire.
func (p *Pool) opened(seat *seats.Seat, err *Error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		p.seats.Opened(seat)
	} else {
		p.seats.Failed(seat, err, asks(err.Reply).AsksForSlower())
	}
}

// late is called when a wire is not open in time.
func (p *Pool) late() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seats.Dispatch()
}

// retireLocked ends an idle connection, unless all are being ended.
func (p *Pool) retireLocked(seat *seats.Seat) bool {
	if p.stage >= poolLeaving {
		return false
	}
	p.work.Go(func() {
		c := seat.Conn.(pooled)
		ctx, cancel := context.WithTimeout(p.life, c.timeouts.Quit)
		defer cancel()
		_ = c.Quit(ctx)
		c.Close()
		p.mu.Lock()
		defer p.mu.Unlock()
		p.seats.Gone(seat)
	})
	return true
}

// pooled is a connection of a pool.
type pooled struct{ *Connection }

func (c pooled) Active() bool { return c.running.Load() }
func (c pooled) Room() int    { return int(c.room.Load()) }
func (c pooled) Connect()     { c.connect() }

// poolSource is a Config as the caller passed it: one server, or a domain whose servers SRV records name.
type poolSource struct {
	cfg          Config
	name         string
	seats.Source // guarded by Pool.mu
}

const srvPrefix = "srv:"

// addSources checks the servers' configurations.
func (p *Pool) addSources(servers []Config) error {
	for i, cfg := range servers {
		s := &poolSource{cfg: cfg, name: cfg.Address, Source: seats.Source{Priority: i, Weight: 1}}
		if cfg.Weight > 0 {
			s.Priority, s.Weight = -1, cfg.Weight // before all without one
		}
		p.sources = append(p.sources, s)
		if domain, isSRV := strings.CutPrefix(cfg.Address, srvPrefix); isSRV {
			s.Domain, cfg.Address = domain, domain // a name like any other, by which the rest is checked
		}
		one, err := p.newServer(s, cfg)
		err = cmp.Or(err, cfg.checkWeight())
		if err != nil && len(servers) > 1 {
			err = fmt.Errorf("server %d: %w", i+1, err)
		}
		if err != nil {
			return err
		}
		if s.Domain != "" {
			p.seats.Add(&s.Source)
			continue
		}
		s.name = one.Host().(*poolServer).name
		p.seats.Add(&s.Source, one)
	}
	return nil
}

func (p *Pool) newServer(from *poolSource, cfg Config) (*seats.Server, error) {
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
	return p.seats.NewServer(&from.Source, s.name+" "+cfg.Mode.String(), &poolServer{s, p}), nil
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
		return p.waitingError(context.Cause(ctx))
	}
	for _, s := range p.dueForLookup() {
		found, err := dial.Submission(ctx, s.Domain, p.lookupSRV())
		if ctx.Err() != nil {
			return p.waitingError(context.Cause(ctx))
		}
		var fresh []*seats.Server
		if err == nil {
			fresh, err = p.fromServices(s, found)
		}
		p.replace(s, fresh, err)
	}
	return nil
}

func (p *Pool) dueForLookup() (due []*poolSource) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	for _, s := range p.sources {
		if s.Due(now) {
			due = append(due, s)
		}
	}
	return due
}

func (p *Pool) fromServices(s *poolSource, found []dial.Service) (fresh []*seats.Server, err error) {
	for _, service := range found {
		cfg := s.cfg
		// Whatever Mode says: never in the clear (RFC 8314 §3).
		cfg.Address, cfg.Mode = service.Address.String(), StartTLS
		if service.ImplicitTLS {
			cfg.Mode = ImplicitTLS
		}
		if cfg.ServerName == "" {
			cfg.ServerName = s.Domain // RFC 6186 §6: a forged record must not say who is trusted
		}
		srv, err := p.newServer(s, cfg)
		if err != nil {
			return nil, err
		}
		srv.Priority += service.Priority
		srv.Weight = max(1, service.Weight)
		fresh = append(fresh, srv)
	}
	return fresh, nil
}

// replace takes the answer of a look-up.
func (p *Pool) replace(s *poolSource, fresh []*seats.Server, err error) {
	if err != nil {
		err = &Error{Stage: StageConnect, Step: StepLookup, Address: s.name, Err: err,
			Hint: Hint{Text: "write the server itself as the address if the domain publishes none", Field: "Address"}}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seats.Replace(&s.Source, fresh, err)
}

// What a pool learns from each Send that has ended, and whether recipients that are still owed go elsewhere.

// settle frees the seat of a delivery that a connection has finished with, and reports whether it goes on: recipients
// are Untried because of the server, and another way may be left to try. The delivery had this many transactions before
// that connection.
func (p *Pool) settle(w *seats.Waiter, d *delivery, before int) (again bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch v, reply := judge(d, d.transactions[before:]); v {
	case lessonServed:
		p.servedLocked(w, d)
	case lessonBusy:
		p.seats.Busy(w, asks(reply))
	}
	if d.movable() {
		final := d.err.Reply.Permanent() || cause.IsSetting(d.err.Err) || errors.Is(d.err, ErrClosed)
		w.Met(d.err, final)
		p.stats.Moves++
		again = true
	}
	p.seats.Stand(w)
	return again
}

func (p *Pool) servedLocked(w *seats.Waiter, d *delivery) {
	p.seats.Answered(w)
	for _, o := range d.outcomes {
		if o.Stage != StageRcpt && o.State != Accepted {
			continue
		}
		if r := asks(o.Reply); w.Sample(o.Stage == StageRcpt && r.AsksForLess()) {
			p.seats.Busy(w, r)
			return
		}
	}
	p.seats.WentWell(w)
}

func asks(r Reply) seats.Reply { return seats.Reply{Code: r.Code, Enhanced: r.Enhanced} }

// lesson is what the end of a delivery says about the server.
type lesson int

const (
	lessonNone   lesson = iota // nothing: it was ended by us, or a wire was lost, and the next one tells more
	lessonServed               // it answered
	lessonBusy                 // it wants less
)

// judge reports what a delivery met, and by which reply. Refusals of messages and recipients are answers like any
// other. The transactions are those that it had there.
func judge(d *delivery, carried []Transaction) (lesson, Reply) {
	for _, o := range d.outcomes {
		if r := asks(o.Reply); o.State == Deferred && (o.Stage != StageRcpt && r.AsksForLess() || r.AboutServer()) {
			return lessonBusy, o.Reply
		}
	}
	for _, tx := range carried { // also one that was sent again, and went well then
		if tx.Reply.Code == 421 && asks(tx.Reply).AboutServer() {
			return lessonBusy, tx.Reply
		}
	}
	switch e := d.err; {
	case e == nil:
		return lessonServed, Reply{}
	case e.Stage != StageLocal && e.Stage != StageConnect && !d.ownFault && asks(e.Reply).AsksForLess():
		return lessonBusy, e.Reply
	}
	return lessonNone, Reply{}
}

// movable reports whether recipients of a delivery are Untried for a reason that may be another one elsewhere: not its
// own content, context or address.
func (d *delivery) movable() bool {
	return d.err != nil && d.err.Stage != StageLocal && !d.ownFault && d.state != sendAbandoned &&
		!errors.Is(d.err, ErrClosed) &&
		slices.ContainsFunc(d.outcomes, func(o Outcome) bool { return o.State == Untried })
}

// reopen makes a delivery whose Untried recipients are tried elsewhere like new.
func (d *delivery) reopen() {
	d.pending = d.pending[:0]
	for i := range d.outcomes {
		if d.outcomes[i].State == Untried {
			d.pending = append(d.pending, i)
		}
	}
	d.err, d.state, d.resent = nil, sendUnderway, false
	d.told.Store(false)
	for i := range d.outcomes {
		if o := &d.outcomes[i]; o.State == Unknown {
			d.note(o.Err.(*Error)) // that one stays
		}
	}
}

// poolEvent is an event of one server that is to be told to the Trace and the Logger of that server.
type poolEvent struct {
	by    *teller
	event Event
}

// noteLocked has unlock tell what happened to a server.
func (p *Pool) noteLocked(srv *seats.Server, what seats.Change) {
	event := Event{Time: time.Now()}
	switch what {
	case seats.WentDown:
		event.Kind = EventServerDown
		_, event.Until, event.Err = srv.Down(event.Time)
	case seats.CameUp:
		event.Kind = EventServerUp
	case seats.LimitChanged:
		event.Kind, event.Connections = EventLimitChanged, srv.Limit()
	}
	p.mu.noteLocked(poolEvent{srv.Host().(*poolServer).teller, event})
}

// noServer says why there is no server for a Send.
func (p *Pool) noServer(reasons []seats.Reason) error {
	errs := make(serverErrors, len(reasons))
	for i, r := range reasons {
		e := r.Err.(*Error)
		if r.Down {
			e = e.notAgainFor(r.Rest)
		}
		errs[i] = e
	}
	if len(errs) == 1 {
		return errs[0]
	}
	return &Error{Stage: StageConnect, Step: StepSend, Address: p.String(), Err: errs}
}

// notAgainFor returns a copy that also says for how long the server is left alone.
func (e *Error) notAgainFor(rest time.Duration) *Error {
	again, later := *e, fmt.Errorf("not tried again for %v", rest.Round(time.Second/10))
	if again.Err = later; e.Err != nil {
		again.Err = fmt.Errorf("%w; %w", e.Err, later)
	}
	return &again
}

// serverErrors is what stood in the way at each server.
type serverErrors []error

func (s serverErrors) Error() string {
	text := "no server is left"
	for i, err := range s {
		text += fmt.Sprintf("; (%d) %s", i+1, strings.TrimPrefix(err.Error(), "postrider: "))
	}
	return text
}

func (s serverErrors) Unwrap() []error { return s }
