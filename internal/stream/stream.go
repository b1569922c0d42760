// Package stream has the messages of a sequence carried side by side, and hands out what became of them in the
// sequence's order.
package stream

import (
	"context"
	"iter"
	"sync"

	"github.com/postrider/postrider/internal/ring"
)

// Carrier carries messages of type M. J is a message underway.
type Carrier[M, J any] interface {
	// Prepare makes a job of a message. Whoever ends the job leaves a token in ready.
	Prepare(ctx context.Context, m M, ready chan struct{}) (J, error)

	Start(J, error) // with the error of Prepare
	Over(J) bool    // it has ended
	Cancel(J)       // its context is done
	Withdraw(J)     // it is not wanted any more, unless it was begun

	// Discard lets go of what a job holds. It is called once for each that was prepared: when it is over, or instead of
	// Start.
	Discard(ctx context.Context, job J)
}

// Run carries the messages of a sequence, which runs on a goroutine of its own, at most ahead messages ahead of what
// yield has got. When yield returns false, the jobs that were not begun are withdrawn, and Run returns when the others
// have ended; a sequence that blocks then is not waited for. When ctx is done, the jobs are cancelled, yield gets those
// that were started, and Run returns. A panic of the sequence goes on in Run.
func Run[M, J any](
	ctx context.Context, by Carrier[M, J], ahead int, messages iter.Seq[M], yield func(J) bool,
) {
	s := &stream[M, J]{
		by: by, ctx: ctx, done: ctx.Done(), ahead: ahead,
		ready: make(chan struct{}, 1), room: make(chan struct{}, 1),
	}
	go s.intake(messages)
	defer s.finish()
	for job, more := s.next(); more; job, more = s.next() {
		by.Discard(ctx, job)
		if !yield(job) {
			return
		}
	}
}

// stream is a Run underway: its jobs in the order of the sequence.
type stream[M, J any] struct {
	by    Carrier[M, J]
	ctx   context.Context
	done  <-chan struct{} // of ctx, until it was seen
	ready chan struct{}   // a job was added or has ended; capacity 1
	room  chan struct{}   // a job was taken; capacity 1
	ahead int             // how many messages the sequence may be ahead

	mu       sync.Mutex // a leaf
	order    ring.Ring[J]
	over     bool // the sequence has ended
	stopped  bool // nothing more is taken from it
	panicked any  // what it panicked with, for the caller's goroutine
}

// intake takes messages from the sequence.
func (s *stream[M, J]) intake(messages iter.Seq[M]) {
	defer func() {
		s.mu.Lock()
		s.over, s.panicked = true, recover()
		s.mu.Unlock()
		ring.Signal(s.ready)
	}()
	for m := range messages {
		job, err := s.by.Prepare(s.ctx, m, s.ready)
		if !s.add(job) {
			s.by.Discard(s.ctx, job)
			return
		}
		s.by.Start(job, err)
		if !s.waitForRoom() {
			return
		}
	}
}

// add reports false when nothing more is wanted.
func (s *stream[M, J]) add(job J) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stopped {
		s.order.Push(job)
	}
	return !s.stopped
}

func (s *stream[M, J]) waitForRoom() bool {
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

// next waits for the job that is due; without more there is none.
func (s *stream[M, J]) next() (job J, more bool) {
	for {
		job, found, end := s.look()
		if found || end {
			return job, found
		}
		select {
		case <-s.ready:
		case <-s.done:
			s.done = nil
			for _, job := range s.stop() {
				s.by.Cancel(job)
			}
		}
	}
}

// look takes the job that is due, if it is over. A panic of the sequence goes on here.
func (s *stream[M, J]) look() (job J, found, end bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.panicked; p != nil {
		s.panicked = nil // once: what was begun is still waited for
		panic(p)
	}
	if s.order.Len() == 0 {
		return job, false, s.over || s.stopped
	}
	if !s.by.Over(s.order.Front()) {
		return job, false, false
	}
	ring.Signal(s.room)
	return s.order.Pop(), true, false
}

// stop ends the intake, and returns what is waiting or underway.
func (s *stream[M, J]) stop() []J {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	ring.Signal(s.room)
	return s.order.All()
}

// finish ends a Run that was left: what was begun goes on to its end.
func (s *stream[M, J]) finish() {
	for _, job := range s.stop() {
		s.by.Withdraw(job)
	}
	for job, more := s.next(); more; job, more = s.next() {
		s.by.Discard(s.ctx, job)
	}
}
