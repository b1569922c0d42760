package postrider

import (
	"context"
	"iter"
	"sync"

	"github.com/postrider/postrider/internal/ring"
)

// SendAll sends a sequence of messages, and gives their results in its order, each
// with its Message. It is Send in a loop, but the messages share the wire's window
// without a goroutine each, so that a server with PIPELINING or CHUNKING is not
// waited for between them.
//
// The sequence runs on a goroutine of its own, a bounded number of messages ahead
// of the results; it may block, and may be fed by the results themselves. Neither
// that nor a slow loop body delays what is underway.
//
// Leaving the loop stops the intake: messages that were not begun are not sent;
// those that were are finished, and TransactionDone tells of them, before the loop
// is left. A sequence that blocks at that moment is not waited for: its goroutine
// ends when it next yields or returns. When ctx is done, the messages that are
// waiting or underway get their results, and the loop ends.
func (c *Connection) SendAll(ctx context.Context, messages iter.Seq[*Message]) iter.Seq2[*Result, error] {
	return func(yield func(*Result, error) bool) {
		s := &procession{c: c, ctx: ctx, done: ctx.Done(), ready: make(chan struct{}, 1), room: make(chan struct{}, 1)}
		go s.intake(messages)
		defer s.finish()
		for d := s.next(); d != nil; d = s.next() {
			d.body.Discard(ctx)
			if !yield(c.finished(d)) {
				return
			}
		}
	}
}

// procession is a SendAll underway: its deliveries in the order of the sequence.
type procession struct {
	c     *Connection
	ctx   context.Context
	done  <-chan struct{} // of ctx, until it was seen
	ready chan struct{}   // a delivery was added or has ended; capacity 1
	room  chan struct{}   // a result was taken; capacity 1

	mu       sync.Mutex
	order    ring.Ring[*delivery]
	over     bool // the sequence has ended
	stopped  bool // nothing more is taken from it
	panicked any  // what it panicked with, for the caller's goroutine
}

// intake takes messages from the sequence.
func (s *procession) intake(messages iter.Seq[*Message]) {
	defer func() {
		s.mu.Lock()
		s.over, s.panicked = true, recover()
		s.mu.Unlock()
		ring.Signal(s.ready)
	}()
	for m := range messages {
		d, err := newDelivery(s.ctx, m, s.c.cfg.Redirect)
		d.done = s.ready
		if !s.add(d) {
			d.body.Discard(s.ctx)
			return
		}
		s.c.submit(d, err)
		if !s.waitForRoom() {
			return
		}
	}
}

// add reports false when nothing more is wanted.
func (s *procession) add(d *delivery) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stopped {
		s.order.Push(d)
	}
	return !s.stopped
}

// ahead is how many messages the sequence may be ahead of the results.
func (s *procession) ahead() int { return 4 * s.c.maxWindow() }

func (s *procession) waitForRoom() bool {
	for {
		s.mu.Lock()
		full, stopped := s.order.Len() >= s.ahead(), s.stopped
		s.mu.Unlock()
		if stopped || !full {
			return !stopped
		}
		<-s.room
	}
}

// next waits for the result that is due; nil is the end.
func (s *procession) next() *delivery {
	for {
		s.mu.Lock()
		if s.panicked != nil {
			s.mu.Unlock()
			panic(s.panicked)
		}
		if s.order.Len() > 0 {
			if d := s.order.Front(); d.told.Load() {
				s.order.Pop()
				s.mu.Unlock()
				ring.Signal(s.room)
				return d
			}
		} else if s.over || s.stopped {
			s.mu.Unlock()
			return nil
		}
		s.mu.Unlock()
		select {
		case <-s.ready:
		case <-s.done:
			s.done = nil
			s.cancel()
		}
	}
}

// stop ends the intake, and gives what is waiting or underway.
func (s *procession) stop() []*delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	ring.Signal(s.room)
	return s.order.All()
}

// cancel ends what is underway because the context is done.
func (s *procession) cancel() {
	for _, d := range s.stop() {
		s.c.cancel(d)
	}
}

// finish ends a loop that was left: what was begun goes on to its end.
func (s *procession) finish() {
	for _, d := range s.stop() {
		s.c.withdraw(d)
	}
	for d := s.next(); d != nil; d = s.next() {
		d.body.Discard(s.ctx)
	}
}
