package postrider

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postrider/postrider/internal/ring"
)

// Connection is a lasting handle on one MTA. It opens a wire when the first message is sent, keeps it open for the next
// ones, authenticates every new wire, and changes wires when that is due: after [Config.MaxTransactions], when a wire
// was idle for too long, and when the server hung up. There is at most one wire at a time. A Connection may be used by
// any number of goroutines; their messages go out in the order of the calls.
//
// A Connection that has sent something holds two goroutines until its wire ends ([Config.IdleTimeout]), or until
// [Connection.Quit] or [Connection.Close].
type Connection struct {
	*server

	wake chan struct{} // there is something new for the engine; capacity 1

	running atomic.Bool   // the engine's goroutine runs: there is a wire, or one is being opened; changed with mu held
	room    atomic.Int32  // how many transactions the wire takes at a time; 0: there is no wire
	ids     *atomic.Int64 // of wires; a pool's connections share it
	opened  func(*Error)  // nil, or told of each attempt to open a wire; takes Pool.mu, so never called with mu held
	ended   chan struct{} // closed by Close

	// Pool.mu may be held when mu is taken, never the other way round. Below mu there are only leaves, under which
	// nothing else is locked: those of Source, quirks, Redactor, detach.Conn and body.Stream.
	mu         monitor
	queue      ring.Ring[place] // Sends that wait for their turn, and Quits
	stopped    chan struct{}    // closed when the engine stops
	wire       *wire
	cancelOpen context.CancelFunc
	wanted     bool          // a wire is to be opened although nobody waits for it
	draining   bool          // Shutdown was called: no more Sends
	closed     bool          // no more wires either
	reading    int           // Sends whose content is being read before they get a place in the queue
	allRead    chan struct{} // closed when draining and reading is 0
	brokenOff  int           // Sends that Quit and Close have broken off
	stats      Stats
}

// NewConnection checks a configuration and returns a Connection for it. It opens nothing; the only thing it reads is
// [Config.CAFile].
func NewConnection(cfg Config) (*Connection, error) {
	s, err := newServer(cfg)
	if err != nil {
		return nil, &Error{Stage: StageLocal, Step: StepConfiguration, Err: err}
	}
	return newConnection(s, new(atomic.Int64)), nil
}

func newConnection(s *server, ids *atomic.Int64) *Connection {
	c := &Connection{server: s, wake: make(chan struct{}, 1), ended: make(chan struct{}), ids: ids}
	c.mu.observe = c.observeSettled
	return c
}

// Send hands m to the MTA and says what became of each recipient. See [Sender] for what Result and error promise; the
// error is an [*Error].
//
// The context bounds everything, the conversation included. When it is done, Send returns at once with what is known:
// recipients are Unknown if the message's last octets may have reached the server, else Untried. It does not wait for a
// call into the caller's own code that is underway, such as a Read of the content: see [Sender]. The same holds for a
// [Config.Dial], a [Config.Credentials] or a look-up that ignores its context: it is left behind, and a connection that
// it returns later is closed.
//
// A message is sent a second time, on a new wire, only if the server cannot have accepted it on the first (see
// docs/flow.md); this happens when a wire that has served before was closed by the server. A wire that fails at its
// first transaction is not tried again: the error says why.
func (c *Connection) Send(ctx context.Context, m *Message) (*Result, error) {
	d, err := c.prepare(ctx, m)
	defer d.body.Discard(ctx)
	c.submit(d, err)
	c.await(ctx, d)
	return c.finished(d)
}

// prepare is newDelivery. A Send whose content is read meanwhile is underway already, for a Shutdown, until it is given
// to submit or to forget.
func (c *Connection) prepare(ctx context.Context, m *Message) (d *delivery, err error) {
	if m.Content.octets.InMemory() {
		return newDelivery(ctx, m, c.cfg.Redirect)
	}
	c.mu.Lock()
	taken := !c.draining
	if taken {
		c.reading++
	}
	c.mu.Unlock()
	defer func() {
		if d == nil && taken { // something of the caller's has panicked
			c.forget(&delivery{reading: true})
		}
	}()
	d, err = newDelivery(ctx, m, c.cfg.Redirect)
	d.reading = taken
	return d, err
}

// forget ends a delivery that is not given to submit.
func (c *Connection) forget(d *delivery) {
	if d.reading {
		c.mu.Lock()
		defer c.mu.Unlock()
		d.reading = false
		c.readLocked(1)
	}
}

// await waits until a delivery has come to its end on this connection, or its context is done. One that was not begun
// is taken back when waiting is done, which is its context or one that ends before.
func (c *Connection) await(waiting context.Context, d *delivery) {
	withdrawn := waiting.Done()
	for {
		select {
		case <-d.done:
			return
		case <-d.ctx.Done():
			if c.cancel(d) {
				<-d.done // the engine is writing the caller's content
			}
			return
		case <-withdrawn:
			withdrawn = nil
			if d.ctx.Err() == nil {
				c.withdraw(d)
			}
		}
	}
}

// finished returns the result. What the content panicked with on the engine's goroutine goes on here.
func (c *Connection) finished(d *delivery) (*Result, error) {
	d.raise()
	return d.result(c.name)
}

// raise goes on with the panic of a content.
func (d *delivery) raise() {
	if d.panicked != nil {
		panic(d.panicked)
	}
}

// SendMail is the short form of Send: refused has the recipients that are Refused or Deferred, by the caller's address,
// each with the server's reply. Every recipient was accepted exactly when err is nil and refused is empty. A reply with
// code 0 is a verdict of our own, such as a bad address.
func (c *Connection) SendMail(
	ctx context.Context, from string, to []string, content []byte,
) (refused map[string]Reply, err error) {
	return sendMail(ctx, c, &Message{From: from, To: to, Content: Bytes(content)})
}

func sendMail(ctx context.Context, s Sender, m *Message) (map[string]Reply, error) {
	r, err := s.Send(ctx, m)
	refused := map[string]Reply{}
	for _, o := range r.Outcomes {
		if o.State != Refused && o.State != Deferred {
			continue
		}
		if o.Reply.Code == 0 && o.Err != nil {
			o.Reply.Text = o.Err.Error()
		}
		refused[o.Recipient] = o.Reply
	}
	return refused, err
}

// Quit lets the messages that were given to Send before it finish, says QUIT, and closes the wire. If ctx is done
// before that, what is left is broken off and the context's error returned. Without a wire there is nothing to do. A
// refused or unanswered QUIT is no error. The next Send opens a new wire.
func (c *Connection) Quit(ctx context.Context) error {
	given := ctx.Done() // before anything is changed: a nil context panics here
	q := c.lastPlace()
	if q == nil {
		return nil
	}
	select {
	case <-q.done:
		return nil
	case <-given:
	}
	err := context.Cause(ctx)
	c.breakOff(&Error{Stage: StageLocal, Step: StepQuit, Address: c.name, Err: err}, q)
	<-q.done
	return err
}

// lastPlace puts a Quit behind all Sends; without a wire there is none.
func (c *Connection) lastPlace() *quit {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.running.Load() {
		return nil
	}
	q := &quit{done: make(chan struct{}, 1)}
	c.queue.Push(place{quit: q})
	c.nudge()
	return q
}

// Shutdown ends the connection for good, and in peace: every later Send returns [ErrClosed]; the messages that were
// given to Send before are finished, and the wire is left with QUIT. If ctx is done before that, Shutdown does what
// [Connection.Close] does, and returns an error that wraps the context's cause. A refused or unanswered QUIT is no
// error. Shutdown may be called again, and together with Close: each call returns when the connection has ended.
func (c *Connection) Shutdown(ctx context.Context) error {
	given := ctx.Done() // before anything is changed: a nil context panics here
	before, allRead := c.drain()
	inTime := c.comes(allRead, given)
	if q := c.lastPlace(); inTime && q != nil {
		inTime = c.comes(q.done, given)
	}
	cause := ErrClosed // of a Close in between
	if !inTime {
		cause = context.Cause(ctx)
	}
	c.Close()
	c.mu.Lock()
	broken := c.brokenOff - before
	c.mu.Unlock()
	return shutdownError(c.name, broken, cause)
}

// comes waits for done, or for a Close; it reports false if the time that was given is over before.
func (c *Connection) comes(done, given <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
	}
	select {
	case <-done:
	case <-c.ended:
	case <-given:
		return false
	}
	return true
}

// drain takes no more Sends. It returns how many have been broken off before, and what is closed when all that were
// taken have a place in the queue.
func (c *Connection) drain() (broken int, allRead <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.draining = true
	if c.allRead == nil {
		c.allRead = make(chan struct{})
		c.readLocked(0)
	}
	return c.brokenOff, c.allRead
}

// readLocked counts Sends whose content has been read.
func (c *Connection) readLocked(n int) {
	if c.reading -= n; c.reading == 0 && c.allRead != nil {
		close(c.allRead)
	}
}

// shutdownError is what a Shutdown returns: nil if all came to its end in time. Close is the cause of none without a
// Send that it broke off.
func shutdownError(address string, broken int, cause error) error {
	e := &Error{Stage: StageLocal, Step: StepClose, Address: address}
	switch {
	case broken > 0:
		e.Err = fmt.Errorf("%d Sends were broken off: %w", broken, cause)
	case cause != ErrClosed:
		e.Err = fmt.Errorf("every Send had ended, but a reply to QUIT did not come in time: %w", cause)
	default:
		return nil
	}
	return e
}

// Close ends the connection for good: what is underway is broken off, and every later Send returns [ErrClosed]. An idle
// wire is left with a QUIT whose reply is not waited for. Close waits neither for the network nor for the caller's
// code: a call of that which does not return is left behind. (Hooks and a Logger are called directly, and do hold it
// up.) Use [Connection.Shutdown] to let messages finish. Close always returns nil.
func (c *Connection) Close() error {
	c.breakOff(closedError(c.name), nil)
	c.mu.Lock()
	ended := c.stopped
	c.mu.Unlock()
	if ended != nil {
		<-ended
	}
	return nil
}

// String names the connection's server; it shows no configuration.
func (c *Connection) String() string {
	return fmt.Sprintf("postrider.Connection(%s, %s)", c.address, c.cfg.Mode)
}

// leave records err for every undecided recipient.
func (d *delivery) leave(err *Error) {
	if len(d.outcomes) == 0 {
		d.note(err)
	}
	d.pending = d.pending[:0]
	for i := range d.outcomes {
		if d.outcomes[i].State == Untried {
			d.pending = append(d.pending, i)
		}
	}
	d.fail(err)
}

// monitor is the lock of a Connection and of its wire. There is one way to unlock it, and that tells what was settled
// meanwhile: first the hooks, then the Send that waits. So nobody is told with it held, and nobody is forgotten.
type monitor struct {
	mu      sync.Mutex
	settled []settlement
	observe func(settlement) // to the hooks
}

// settlement is what was decided under the lock, for those who want to hear of it.
type settlement struct {
	told     Transaction
	took     time.Duration
	outcomes []Outcome
	done     *delivery // nil: its Send still waits for more
	quit     *quit     // that has ended; nil: none
	fallback string    // not a transaction, but a server's fault that was recognised
}

// Lock begins a critical section.
func (m *monitor) Lock() { m.mu.Lock() }

// Unlock ends it, and tells what was settled in it.
func (m *monitor) Unlock() {
	settled := m.settled
	m.settled = nil
	m.mu.Unlock()
	for _, s := range settled {
		m.observe(s)
		if s.done != nil {
			s.done.told.Store(true)
			ring.Signal(s.done.done)
		}
		if s.quit != nil {
			ring.Signal(s.quit.done)
		}
	}
}

// noteLocked has Unlock tell of s.
func (m *monitor) noteLocked(s settlement) { m.settled = append(m.settled, s) }

// owesLocked reports that something is to be told.
func (m *monitor) owesLocked() bool { return len(m.settled) > 0 }
