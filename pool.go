package postrider

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postrider/postrider/internal/pace"
	"github.com/postrider/postrider/internal/seats"
)

// The defaults of a [PoolConfig] and of the Configs of its servers.
const (
	DefaultMaxConnections = 4
	DefaultPoolMaxAge     = 5 * time.Minute // of Config.MaxAge
)

// PoolConfig says how hard a [Pool] presses its servers. The zero value is four connections, changed every five
// minutes, without a limit on the rate.
type PoolConfig struct {
	// MaxConnections is how many connections may be open or being opened at a time, to all servers together. Default 4,
	// which is much: where a server offers PIPELINING or CHUNKING one connection carries up to [Config.Window] messages
	// at a time. The pool uses fewer while a server says that it has enough; wires beyond that stand by.
	MaxConnections int

	// MessageRate and RecipientRate are how many messages and recipients a second the pool hands over at most, and
	// MessageBurst and RecipientBurst how many at once after a pause (at least 1). 0: no limit. A Send waits for its
	// turn before its MAIL, under its context.
	MessageRate, RecipientRate   float64
	MessageBurst, RecipientBurst int

	// LookupHost and LookupSRV look up names. Default: net.DefaultResolver. A server's [Config.Dial] is passed names,
	// unless LookupHost is set.
	LookupHost func(ctx context.Context, host string) ([]string, error)
	LookupSRV  func(ctx context.Context, service, proto, name string) (cname string, records []*net.SRV, err error)
}

// Pool is a [Sender] over several connections to one MTA or to several that do the same work. It is safe for any number
// of goroutines, and the right choice for most programs.
//
// A message goes to the first connection that has room in its window; the next one is dialled when those that are open
// are half full, so that the last ones go idle and close. When there is no room, Sends wait, first come first served.
//
// A server that cannot be reached, or refuses the credentials, is left alone for a while, longer each time, and the
// others take its mail; a message that it has certainly not taken goes to another one. Refused messages and recipients
// say nothing about a server. When no server is left, Send says why each was not used.
type Pool struct {
	cfg        PoolConfig
	max        int
	redirect   func() (string, bool)
	sources    []*poolSource
	ids        atomic.Int64 // wires are numbered through
	messages   *pace.Rate
	recipients *pace.Rate
	lookup     chan struct{} // held by the Send that looks up SRV records; capacity 1
	life       context.Context
	endLife    context.CancelFunc // ends what waits for anything but a seat: a rate, a look-up
	work       sync.WaitGroup     // connections that are being left; none is added once all are
	drained    chan struct{}      // closed when no Send is taken any more and the last has returned
	ended      chan struct{}      // closed when nothing is left of the pool

	// Connection.mu may be taken when mu is held, never the other way round. Below mu there are also the leaves of
	// Rate, logins and server. The Scheduler is called with mu held, and so are its hooks, other than Late, and what
	// it asks of a poolServer or a connection.
	mu     poolMonitor
	seats  *seats.Scheduler // which Send gets which connection
	sends  int              // underway
	stage  poolStage
	broken int       // Sends that Close has broken off
	past   Stats     // of connections that are gone
	stats  PoolStats // what is counted here
}

// NewPool checks the configuration of a pool and of its servers, and opens nothing. Without servers it is one with the
// zero [Config].
//
// A server's Address may also be "srv:example.com": then the submission servers of that domain are found by its SRV
// records _submissions._tcp, which are spoken to with ImplicitTLS, and _submission._tcp, with StartTLS, whatever Mode
// says (RFC 6186, RFC 8314 §5.1). Their certificates must name the domain, unless ServerName is set.
//
// Development mode is a matter of the whole pool: if Redirect of any server is on, everything is redirected.
func NewPool(cfg PoolConfig, servers ...Config) (*Pool, error) {
	if len(servers) == 0 {
		servers = []Config{{}}
	}
	p := &Pool{
		cfg: cfg, max: orDefault(cfg.MaxConnections, DefaultMaxConnections), redirect: anyRedirect(servers),
		lookup: make(chan struct{}, 1), drained: make(chan struct{}), ended: make(chan struct{}),
		messages:   pace.NewRate(cfg.MessageRate, cfg.MessageBurst),
		recipients: pace.NewRate(cfg.RecipientRate, cfg.RecipientBurst),
	}
	p.seats = seats.New(p.max, p.messages, seats.Hooks{
		NoServer: p.noServer, Retire: p.retireLocked, Changed: p.noteLocked, Late: p.late,
		Gone: func(c seats.Connection) { p.past.add(c.(pooled).Stats()) },
	})
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

// Send hands m to one of the servers. See [Sender] for what Result and error promise, and [Connection.Send] for what
// the context does and when a message is sent again. Besides, recipients that are Untried because of a server go to
// another connection or server, to each server at most three times.
func (p *Pool) Send(ctx context.Context, m *Message) (*Result, error) {
	return p.send(ctx, ctx, m, p.begin())
}

// send is Send; begun is what begin reported. What has not begun when waiting is done is taken back: that is ctx, or a
// context that ends before.
func (p *Pool) send(ctx, waiting context.Context, m *Message, begun bool) (*Result, error) {
	var d *delivery
	defer func() { // last, and without waiting for the Close of the content
		if d != nil {
			d.body.Discard(ctx)
		}
	}()
	var outcomes []Outcome // nil if the caller's code panics
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

// deliveryOf checks a message and reads the beginning of its content, but does not wait for that longer than the pool
// lives.
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
	w := seats.NewWaiter()
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

// try takes a seat for a delivery and hands it over; it reports whether another one is to be taken.
func (p *Pool) try(waiting context.Context, d *delivery, w *seats.Waiter) (again bool) {
	seat, err := p.seat(waiting, w)
	if err != nil {
		d.leave(err)
		return false
	}
	if err := p.wait(waiting, d, w); err != nil {
		p.giveBack(w)
		d.leave(err)
		return false
	}
	conn, before := seat.Conn.(pooled), len(d.transactions)
	conn.submit(d, nil)
	conn.await(waiting, d)
	if again = p.settle(w, d, before); again {
		d.reopen()
	}
	return again
}

// seat waits for a place on a connection, in the order of the calls; a Send that comes back goes before all others.
func (p *Pool) seat(ctx context.Context, w *seats.Waiter) (*seats.Seat, *Error) {
	if err := p.refresh(ctx); err != nil {
		return nil, err
	}
	p.mu.Lock()
	if p.stage == poolBroken {
		p.mu.Unlock()
		return nil, closedError(p.String())
	}
	answered := p.seats.Queue(w)
	began := time.Now()
	if !answered {
		p.stats.Waits++
	}
	p.mu.Unlock()
	if answered {
		<-w.Ready
		return seatOf(w)
	}
	select {
	case <-w.Ready:
	case <-ctx.Done():
	}
	return p.leaveQueue(ctx, w, began)
}

// leaveQueue ends a wait, with a seat or because the context is done.
func (p *Pool) leaveQueue(ctx context.Context, w *seats.Waiter, began time.Time) (*seats.Seat, *Error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stats.WaitTime += time.Since(began)
	if w.Answered() {
		select {
		case <-w.Ready:
		default:
		}
		return seatOf(w)
	}
	p.seats.Leave(w) // and those behind it may get one
	return nil, p.waitingError(context.Cause(ctx))
}

func seatOf(w *seats.Waiter) (*seats.Seat, *Error) {
	seat, err := w.Answer()
	if err != nil {
		return nil, err.(*Error) // by noServer, or by Close
	}
	return seat, nil
}

// waitingError is that of a Send whose context ended before there was a seat for it.
func (p *Pool) waitingError(cause error) *Error {
	return &Error{Stage: StageLocal, Step: StepSend, Address: p.String(), Err: cause}
}

// giveBack ends what a Send has of the pool: its place in the line, or a seat on which nothing was sent.
func (p *Pool) giveBack(w *seats.Waiter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seats.Leave(w)
}

// wait waits for the delivery's turn by the rates.
func (p *Pool) wait(ctx context.Context, d *delivery, w *seats.Waiter) *Error {
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
	w.Renew()
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

// poolMonitor is the lock of a Pool. As with a Connection's there is one way to unlock it, and that tells the hooks
// what happened meanwhile. One goroutine at a time does so, in order, and without the lock, so that a hook may ask the
// Pool for its Stats.
type poolMonitor struct {
	mu      sync.Mutex
	told    []poolEvent // for Unlock
	telling bool        // a goroutine calls hooks, and takes what comes meanwhile as well
}

// Lock begins a critical section.
func (m *poolMonitor) Lock() { m.mu.Lock() }

// Unlock ends it, and tells what happened in it.
func (m *poolMonitor) Unlock() {
	defer m.mu.Unlock()
	if m.telling {
		return
	}
	m.telling = true
	defer func() { m.telling = false }() // also when a hook panics
	for len(m.told) > 0 {
		next := m.told[0]
		m.told = m.told[1:]
		m.outside(func() { next.by.tell(next.event) })
	}
}

// outside calls f without the lock.
func (m *poolMonitor) outside(f func()) {
	m.mu.Unlock()
	defer m.mu.Lock()
	f()
}

// noteLocked has Unlock tell of e.
func (m *poolMonitor) noteLocked(e poolEvent) { m.told = append(m.told, e) }

// How a pool ends: Sends are counted, so that Shutdown knows when the last has returned.

// poolStage is how far the end of a pool has come.
type poolStage int

const (
	poolOpen     poolStage = iota
	poolDraining           // no more Sends are taken
	poolLeaving            // the last has returned: the servers are told QUIT
	poolBroken             // Close has broken off what was left
)

// begin counts a Send that has begun; it reports whether the pool still takes it.
func (p *Pool) begin() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sends++
	return p.stage == poolOpen
}

// end counts what became of it.
func (p *Pool) end(outcomes []Outcome) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stats.count(outcomes)
	p.sends--
	p.drainedLocked()
}

func (p *Pool) drainedLocked() {
	if p.stage == poolDraining && p.sends == 0 {
		p.stage = poolLeaving
		close(p.drained)
	}
}

// Shutdown ends the pool for good, and in peace: a Send that is called from now on returns [ErrClosed]; those underway,
// waiting ones included, are finished within ctx. Then every connection is left with QUIT; one that is refused or
// unanswered is no error. If ctx is done before that, Shutdown does what [Pool.Close] does, and returns an error that
// wraps the context's cause. No goroutine of the pool is left then, but for a call into the caller's own code that does
// not return (see [Connection.Send]). Shutdown may be called again, and together with Close: each call returns when the
// pool has ended.
func (p *Pool) Shutdown(ctx context.Context) error {
	given := ctx.Done() // before anything is changed: a nil context panics here
	before, quiet := p.shutDoor()
	if quiet {
		return p.Close() // nothing is to be waited for, whatever ctx says
	}
	cause := ErrClosed // of a Close in between
	select {
	case <-p.ended:
	case <-given:
		cause = context.Cause(ctx)
		p.Close()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return shutdownError(p.String(), p.broken-before, cause)
}

// Close ends the pool for good: Sends that wait or are underway are broken off, and every later one returns
// [ErrClosed]. Like [Connection.Close] it leaves idle wires with a QUIT whose reply is not waited for, waits neither
// for the network nor for the caller's code, and always returns nil; Sends that it has broken off may return a little
// later. Use [Pool.Shutdown] to let messages finish.
func (p *Pool) Close() error {
	p.shutDoor()
	p.mu.Lock()
	if p.stage != poolBroken {
		p.stage = poolBroken
		p.broken = p.sends
		p.seats.Break(closedError(p.String()))
	}
	all := slices.Clone(p.seats.Seats())
	p.mu.Unlock()
	p.endLife()
	for _, seat := range all {
		seat.Conn.(pooled).Close()
	}
	<-p.ended
	return nil
}

// shutDoor takes no more Sends, and sees to it that the pool ends when the last has returned. It returns how many have
// been broken off before, and whether nothing is left.
func (p *Pool) shutDoor() (broken int, quiet bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stage == poolOpen {
		p.stage = poolDraining
		p.drainedLocked()
		go p.finish()
	}
	return p.broken, p.sends == 0 && !slices.ContainsFunc(p.seats.Seats(), (*seats.Seat).Active)
}

// finish leaves all connections when the last Send has returned, or Close was called.
func (p *Pool) finish() {
	defer close(p.ended)
	select {
	case <-p.drained:
		p.leaveAll()
	case <-p.life.Done():
	}
	p.work.Wait()
	p.endLife()
}

// leaveAll says QUIT on every connection that has a wire, on all at the same time.
func (p *Pool) leaveAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stage == poolBroken {
		return // they are closed
	}
	for _, seat := range p.seats.Seats() {
		p.work.Go(func() {
			c := seat.Conn.(pooled)
			if c.Room() > 0 {
				_ = c.Quit(p.life) // within Timeouts.Quit
			}
			c.Close()
		})
	}
}
