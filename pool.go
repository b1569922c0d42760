package postrider

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postrider/postrider/internal/pace"
	"github.com/postrider/postrider/internal/ring"
)

// The defaults of a [PoolConfig] and of the Configs of its servers.
const (
	DefaultMaxConnections = 4
	DefaultPoolMaxAge     = 5 * time.Minute // of Config.MaxAge
)

// PoolConfig says how a [Pool] presses its servers. The zero value is four
// connections, changed every five minutes, without a limit on the rate.
type PoolConfig struct {
	// MaxConnections is how many connections may be open or being opened at a time,
	// to all servers together. Default 4, which is much: where a server offers
	// PIPELINING or CHUNKING one connection carries up to [Config.Window] messages
	// at a time. The pool uses fewer while a server says that it has enough; wires
	// beyond that stand by.
	MaxConnections int

	// MessageRate and RecipientRate are how many messages and recipients a second
	// the pool hands over at the most, and MessageBurst and RecipientBurst how many
	// at once after a pause (at least 1). 0: no limit. A Send waits for its turn
	// before its MAIL, under its context.
	MessageRate, RecipientRate   float64
	MessageBurst, RecipientBurst int

	// LookupHost and LookupSRV look up names. Default: net.DefaultResolver. A
	// server's [Config.Dial] is given names, unless LookupHost is set.
	LookupHost func(ctx context.Context, host string) ([]string, error)
	LookupSRV  func(ctx context.Context, service, proto, name string) (cname string, records []*net.SRV, err error)
}

// Pool is a [Sender] over several connections to one MTA or to several that do the
// same work. It is safe for any number of goroutines, and what most programs hold.
//
// A message goes to the first connection that has room in its window; the next one
// is dialled when those that are open are half full, so that the last ones go idle
// and close. When there is no room, Sends wait, first come first served.
//
// A server that cannot be reached, or refuses the credentials, is left alone for a
// while, longer each time, and the others take its mail; a message that it has
// certainly not taken goes to another one. Refused messages and recipients say
// nothing about a server. When no server is left, Send says why each was not used.
type Pool struct {
	cfg        PoolConfig
	max        int
	redirect   func() (string, bool)
	sources    []*source
	ids        atomic.Int64 // wires are numbered through
	messages   *pace.Rate
	recipients *pace.Rate
	lookup     chan struct{} // held by who looks up SRV records; capacity 1
	life       context.Context
	endLife    context.CancelFunc // ends what waits for anything but a seat: a rate, a look-up
	work       sync.WaitGroup     // connections that are being left; none is added once all are
	drained    chan struct{}      // closed when no Send is taken any more and the last has returned
	ended      chan struct{}      // closed when nothing is left of the pool

	// Connection.mu may be taken when mu is held, never the other way round. Under it there
	// are also the leaves of Rate, logins and server.
	mu        sync.Mutex
	endpoints []*endpoint // by priority
	members   []*member
	waiters   ring.Ring[*waiter]
	sends     int // underway
	stage     poolStage
	broken    int       // Sends that Close has broken off
	told      []tale    // for unlock
	telling   bool      // somebody calls hooks, and takes what comes meanwhile as well
	past      Stats     // of connections that were given up
	stats     PoolStats // what is counted here
}

// NewPool checks the configuration of a pool and of its servers, and opens nothing.
// Without servers it is one with the zero [Config].
//
// A server's Address may also be "srv:example.com": then the submission servers
// of that domain are found by its SRV records _submissions._tcp, which are spoken to
// with ImplicitTLS, and _submission._tcp, with StartTLS, whatever Mode says (RFC
// 6186, RFC 8314 §5.1). Their certificates must name the domain, unless ServerName is set.
//
// Development mode is a matter of the whole pool: if Redirect of any server is on,
// everything is redirected.
func NewPool(cfg PoolConfig, servers ...Config) (*Pool, error) {
	if len(servers) == 0 {
		servers = []Config{{}}
	}
	p := &Pool{
		cfg: cfg, max: cfg.MaxConnections, redirect: anyRedirect(servers),
		lookup: make(chan struct{}, 1), drained: make(chan struct{}), ended: make(chan struct{}),
		messages:   pace.NewRate(cfg.MessageRate, cfg.MessageBurst),
		recipients: pace.NewRate(cfg.RecipientRate, cfg.RecipientBurst),
	}
	if p.max <= 0 {
		p.max = DefaultMaxConnections
	}
	p.life, p.endLife = context.WithCancel(context.Background())
	if err := p.addSources(servers); err != nil {
		return nil, &Error{Stage: StageLocal, Step: StepConfiguration, Err: err}
	}
	return p, nil
}

// anyRedirect is on when one of the servers' is, so that no way leads past it.
func anyRedirect(servers []Config) func() (string, bool) {
	var all []func() (string, bool)
	for _, s := range servers {
		if s.Redirect != nil {
			all = append(all, s.Redirect)
		}
	}
	return func() (string, bool) {
		for _, redirect := range all {
			if to, on := redirect(); on {
				return to, true
			}
		}
		return "", false
	}
}

// Send hands m to one of the servers. See [Sender] for what Result and error
// promise, and [Connection.Send] for what the context does and when a message is
// sent again. Besides, recipients who are Untried because of a server go to
// another connection or server, to each server three times at the most.
func (p *Pool) Send(ctx context.Context, m *Message) (*Result, error) {
	return p.send(ctx, ctx, m, p.begin())
}

// send is Send, of which begin has told whether the pool takes it. What has not begun when
// waiting is done is taken back: that is ctx, or one that ends before.
func (p *Pool) send(ctx, waiting context.Context, m *Message, begun bool) (*Result, error) {
	var d *delivery
	defer func() { // behind its end, for which a Close of the content's is not waited
		if d != nil {
			d.body.Discard(ctx)
		}
	}()
	var outcomes []Outcome // none, if something of the caller's panics
	defer func() { p.end(outcomes) }()
	d, err := p.deliveryOf(ctx, waiting, m)
	switch {
	case !begun, errors.Is(err, ErrClosed):
		d.leave(closedError(p.String()))
	case err != nil:
		d.leave(&Error{Stage: StageLocal, Step: StepMessage, Err: err})
	case len(d.pending) > 0:
		p.carry(waiting, d)
	}
	r, sendErr := d.result(p.String())
	outcomes = r.Outcomes
	d.raise()
	return r, sendErr
}

// deliveryOf checks a message and reads the beginning of its content, for which it is
// waited no longer than the pool lives.
func (p *Pool) deliveryOf(ctx, waiting context.Context, m *Message) (*delivery, error) {
	if m.Content.octets.InMemory() {
		return newDelivery(ctx, m, p.redirect)
	}
	reading, done := p.whileOpen(waiting)
	defer done()
	d, err := newDelivery(reading, m, p.redirect)
	d.ctx = ctx
	return d, err
}

// SendMail is the short form of Send, as [Connection.SendMail] is.
func (p *Pool) SendMail(
	ctx context.Context, from string, to []string, content []byte,
) (refused map[string]Reply, err error) {
	return sendMail(ctx, p, &Message{From: from, To: to, Content: Bytes(content)})
}

// carry brings a delivery to its end, on one connection after the other if need be.
func (p *Pool) carry(waiting context.Context, d *delivery) {
	w := &waiter{ready: make(chan struct{}, 1)}
	whole := false
	defer func() {
		if !whole { // a hook or a context panicked: what it had goes to the others
			p.giveBack(w)
		}
	}()
	for again := true; again; {
		again = p.try(waiting, d, w)
		if len(d.transactions) > 0 {
			waiting = d.ctx // it was begun: it goes on to its end
		}
	}
	whole = true
}

// try takes a seat for a delivery and hands it over; it reports whether another one is
// to be taken.
func (p *Pool) try(waiting context.Context, d *delivery, w *waiter) (again bool) {
	m, err := p.seat(waiting, w)
	if err != nil {
		d.leave(err)
		return false
	}
	if err := p.wait(waiting, d, w); err != nil {
		p.giveBack(w)
		d.leave(err)
		return false
	}
	w.carried = len(d.transactions)
	m.conn.submit(d, nil)
	m.conn.await(waiting, d)
	if again = p.settle(w, d); again {
		d.reopen()
	}
	return again
}

// wait waits for the delivery's turn by the rates.
func (p *Pool) wait(ctx context.Context, d *delivery, w *waiter) *Error {
	if !p.messages.Limits() && !p.recipients.Limits() {
		return nil
	}
	ctx, done := p.whileOpen(ctx)
	defer done()
	err := p.messages.Wait(ctx, 1)
	if err == nil {
		err = p.recipients.Wait(ctx, len(d.pending))
	}
	if err != nil {
		return &Error{
			Stage: StageLocal, Step: StepSend, Err: fmt.Errorf("waiting for its turn by the rate limit: %w", err),
		}
	}
	p.mu.Lock()
	w.mark = w.seat.at.limit.Mark() // its result tells of the limit that is in force now
	p.mu.Unlock()
	return nil
}

// whileOpen bounds a context by the life of the pool.
func (p *Pool) whileOpen(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(p.life, func() { cancel(ErrClosed) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

func closedError(name string) *Error {
	return &Error{Stage: StageLocal, Step: StepSend, Address: name, Err: ErrClosed}
}

// String names the pool's servers; it shows no configuration.
func (p *Pool) String() string {
	names := make([]string, len(p.sources))
	for i, s := range p.sources {
		names[i] = s.name
	}
	return strings.Join(names, ", ")
}

// unlock ends a critical section and tells the hooks what happened in it. One at a
// time does that, so that they are told in their order, and holds no lock meanwhile,
// so that a hook may ask the pool for its Stats.
func (p *Pool) unlock() {
	defer p.mu.Unlock()
	if p.telling {
		return
	}
	p.telling = true
	defer func() { p.telling = false }() // also when a hook panics
	for len(p.told) > 0 {
		next := p.told[0]
		p.told = p.told[1:]
		p.outside(func() { next.by.tell(next.event) })
	}
}

// outside calls f without the lock.
func (p *Pool) outside(f func()) {
	p.mu.Unlock()
	defer p.mu.Lock()
	f()
}

// allDownLocked says why there is no server for a Send: what it met at each, or
// what others met before.
func (p *Pool) allDownLocked(w *waiter, now time.Time) *Error {
	var reasons severally
	var last *Error
	add := func(e *Error) {
		if e != nil {
			last = e
			reasons = append(reasons, e)
		}
	}
	for _, e := range p.endpoints {
		if met := w.encounter(e); met != nil {
			add(met.err)
		} else {
			add(e.downError(now))
		}
	}
	for _, s := range p.sources {
		add(s.err)
	}
	if len(reasons) == 1 {
		return last
	}
	return &Error{Stage: StageConnect, Step: StepSend, Address: p.String(), Err: reasons}
}

// severally is what stood in the way at each server.
type severally []error

func (s severally) Error() string {
	text := "no server is left"
	for i, err := range s {
		text += fmt.Sprintf("; (%d) %s", i+1, strings.TrimPrefix(err.Error(), "postrider: "))
	}
	return text
}

func (s severally) Unwrap() []error { return s }
