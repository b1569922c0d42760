package postrider

import (
	"context"
	"iter"
	"sync"
	"sync/atomic"

	"github.com/postrider/postrider/internal/ring"
)

// SendAll sends a sequence of messages, and returns their results in its order, each
// with its Message. It is Send in a loop, but the messages share the wire's window
// without a goroutine each, so that a server with PIPELINING or CHUNKING is not
// waited for between them.
//
// The sequence runs on a goroutine of its own, at most four times [Config.Window]
// messages ahead of the results; it may block, and may be fed by the results themselves.
// Neither that nor a slow loop body delays what is underway.
//
// Leaving the loop stops the intake: messages that were not begun are not sent;
// those that were are finished, and [EventTransaction] reports them, before the loop
// is left. A sequence that blocks at that moment is not waited for: its goroutine
// ends when it next yields or returns. When ctx is done, the messages that are
// waiting or underway get their results, and the loop ends. A panic of the sequence goes
// on in the loop.
func (c *Connection) SendAll(ctx context.Context, messages iter.Seq[*Message]) iter.Seq2[*Result, error] {
	return func(yield func(*Result, error) bool) {
		s := newStream(ctx, connectionCarrier{c}, 4*c.maxWindow())
		s.run(messages, yield)
	}
}

// SendAll sends a sequence of messages, and returns their results in its order, each
// with its Message. On the wires they have no order: they spread over connections and
// servers like those of several goroutines that call [Pool.Send].
//
// The sequence runs on a goroutine of its own, at most 2 × MaxConnections × Window
// messages ahead of the results (512 by default; with servers of several Windows the
// largest counts), and each message ahead holds a goroutine and up to 64 KiB of its
// content. All else is as in [Connection.SendAll]: leaving the loop, the context, and
// panics. A message counts as a Send from when it is taken from the sequence:
// [Pool.Shutdown] lets it finish, and those behind it get [ErrClosed].
func (p *Pool) SendAll(ctx context.Context, messages iter.Seq[*Message]) iter.Seq2[*Result, error] {
	return func(yield func(*Result, error) bool) {
		waiting, leave := context.WithCancelCause(ctx)
		defer leave(nil)
		s := newStream(ctx, poolCarrier{p, waiting, leave}, p.ahead())
		s.run(messages, yield)
	}
}

// ahead is how many messages a sequence may be ahead of the results: twice what all
// connections can carry.
func (p *Pool) ahead() int {
	window := 1
	for _, s := range p.sources {
		window = max(window, orDefault(s.cfg.Window, DefaultWindow))
	}
	return 2 * p.max * window
}

// carrier is what a stream needs of a Connection or a Pool. T is a message underway.
type carrier[T any] interface {
	prepare(ctx context.Context, m *Message, ready chan struct{}) (T, error) // ready gets a token when it is over
	start(T, error)                                                          // with the error of prepare
	over(T) bool
	cancel(T)   // its context is done
	withdraw(T) // it is not wanted any more, unless it was begun
	discard(ctx context.Context, x T)
	result(T) (*Result, error)
}

// stream is a SendAll underway: its messages in the order of the sequence.
type stream[T any] struct {
	by    carrier[T]
	ctx   context.Context
	done  <-chan struct{} // of ctx, until it was seen
	ready chan struct{}   // a message was added or has ended; capacity 1
	room  chan struct{}   // a result was taken; capacity 1
	ahead int             // how many messages the sequence may be ahead of the results

	mu       sync.Mutex // a leaf
	order    ring.Ring[T]
	over     bool // the sequence has ended
	stopped  bool // nothing more is taken from it
	panicked any  // what it panicked with, for the caller's goroutine
}

func newStream[T any](ctx context.Context, by carrier[T], ahead int) *stream[T] {
	return &stream[T]{
		by: by, ctx: ctx, done: ctx.Done(), ahead: ahead,
		ready: make(chan struct{}, 1), room: make(chan struct{}, 1),
	}
}

func (s *stream[T]) run(messages iter.Seq[*Message], yield func(*Result, error) bool) {
	go s.intake(messages)
	defer s.finish()
	for x, more := s.next(); more; x, more = s.next() {
		s.by.discard(s.ctx, x)
		if !yield(s.by.result(x)) {
			return
		}
	}
}

// intake takes messages from the sequence.
func (s *stream[T]) intake(messages iter.Seq[*Message]) {
	defer func() {
		s.mu.Lock()
		s.over, s.panicked = true, recover()
		s.mu.Unlock()
		ring.Signal(s.ready)
	}()
	for m := range messages {
		x, err := s.by.prepare(s.ctx, m, s.ready)
		if !s.add(x) {
			s.by.discard(s.ctx, x)
			return
		}
		s.by.start(x, err)
		if !s.waitForRoom() {
			return
		}
	}
}

// add reports false when nothing more is wanted.
func (s *stream[T]) add(x T) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stopped {
		s.order.Push(x)
	}
	return !s.stopped
}

func (s *stream[T]) waitForRoom() bool {
	for {
		s.mu.Lock()
		full, stopped := s.order.Len() >= s.ahead, s.stopped
		s.mu.Unlock()
		if stopped || !full {
			return !stopped
		}
		<-s.room
	}
}

// next waits for the message whose result is due; without more there is none.
func (s *stream[T]) next() (x T, more bool) {
	for {
		x, found, end := s.look()
		if found || end {
			return x, found
		}
		select {
		case <-s.ready:
		case <-s.done:
			s.done = nil
			for _, x := range s.stop() {
				s.by.cancel(x)
			}
		}
	}
}

// look takes the message that is due, if it is over. A panic of the sequence goes on here.
func (s *stream[T]) look() (x T, found, end bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.panicked; p != nil {
		s.panicked = nil // once: what was begun is still waited for
		panic(p)
	}
	if s.order.Len() == 0 {
		return x, false, s.over || s.stopped
	}
	if !s.by.over(s.order.Front()) {
		return x, false, false
	}
	ring.Signal(s.room)
	return s.order.Pop(), true, false
}

// stop ends the intake, and returns what is waiting or underway.
func (s *stream[T]) stop() []T {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	ring.Signal(s.room)
	return s.order.All()
}

// finish ends a loop that was left: what was begun goes on to its end.
func (s *stream[T]) finish() {
	for _, x := range s.stop() {
		s.by.withdraw(x)
	}
	for x, more := s.next(); more; x, more = s.next() {
		s.by.discard(s.ctx, x)
	}
}

// connectionCarrier lets messages share the window of one wire.
type connectionCarrier struct{ c *Connection }

func (k connectionCarrier) prepare(ctx context.Context, m *Message, ready chan struct{}) (*delivery, error) {
	d, err := k.c.prepare(ctx, m)
	d.done = ready
	return d, err
}

func (k connectionCarrier) start(d *delivery, err error)                 { k.c.submit(d, err) }
func (k connectionCarrier) over(d *delivery) bool                        { return d.told.Load() }
func (k connectionCarrier) cancel(d *delivery)                           { k.c.cancel(d) }
func (k connectionCarrier) withdraw(d *delivery)                         { k.c.withdraw(d) }
func (k connectionCarrier) result(d *delivery) (result *Result, e error) { return k.c.finished(d) }

func (k connectionCarrier) discard(ctx context.Context, d *delivery) {
	k.c.forget(d)
	d.body.Discard(ctx)
}

// poolCarrier gives each message a goroutine, which waits for a place like any Send.
type poolCarrier struct {
	p       *Pool
	waiting context.Context         // bounds what was not begun
	leave   context.CancelCauseFunc // ends it
}

// poolSend is a Send of a SendAll.
type poolSend struct {
	ctx      context.Context
	m        *Message
	ready    chan struct{}
	ended    atomic.Bool
	res      *Result
	err      error
	panicked any
}

func (k poolCarrier) prepare(ctx context.Context, m *Message, ready chan struct{}) (*poolSend, error) {
	return &poolSend{ctx: ctx, m: m, ready: ready}, nil
}

func (k poolCarrier) start(x *poolSend, _ error) {
	begun := k.p.begin() // in the order of the sequence
	go func() {
		defer func() {
			x.panicked = recover()
			x.ended.Store(true)
			ring.Signal(x.ready)
		}()
		x.res, x.err = k.p.send(x.ctx, k.waiting, x.m, begun)
	}()
}

func (k poolCarrier) over(x *poolSend) bool              { return x.ended.Load() }
func (k poolCarrier) cancel(*poolSend)                   {} // its own goroutine sees to that
func (k poolCarrier) withdraw(*poolSend)                 { k.leave(errWithdrawn) }
func (k poolCarrier) discard(context.Context, *poolSend) {}

func (k poolCarrier) result(x *poolSend) (*Result, error) {
	if x.panicked != nil {
		panic(x.panicked)
	}
	return x.res, x.err
}
