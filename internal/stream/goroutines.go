package stream

import (
	"context"
	"sync/atomic"

	"github.com/postrider/postrider/internal/ring"
)

// Goroutines is a Carrier that carries each message on a goroutine of its own. R is what becomes of one.
type Goroutines[M, R any] struct {
	// Begin is called in the order of the sequence; what it returns is called on the message's goroutine. That has to
	// end soon when the context of Run is done.
	Begin func(M) func() R

	// Leave ends the wait of all that were not begun, and may be called again.
	Leave func()
}

// Job is a message on its goroutine.
type Job[M, R any] struct {
	message  M
	ready    chan struct{}
	ended    atomic.Bool
	result   R
	panicked any
}

// Result returns what became of the message. What its function panicked with goes on here.
func (j *Job[M, R]) Result() R {
	if j.panicked != nil {
		panic(j.panicked)
	}
	return j.result
}

// Prepare does not begin anything.
func (Goroutines[M, R]) Prepare(_ context.Context, m M, ready chan struct{}) (*Job[M, R], error) {
	return &Job[M, R]{message: m, ready: ready}, nil
}

// Start begins the message and its goroutine.
func (g Goroutines[M, R]) Start(j *Job[M, R], _ error) {
	call := g.Begin(j.message)
	go func() {
		defer func() {
			j.panicked = recover()
			j.ended.Store(true)
			ring.Signal(j.ready)
		}()
		j.result = call()
	}()
}

// Over reports whether the goroutine has ended.
func (Goroutines[M, R]) Over(j *Job[M, R]) bool { return j.ended.Load() }

// Cancel has nothing to do: the goroutine sees to the context itself.
func (Goroutines[M, R]) Cancel(*Job[M, R]) {}

// Withdraw calls Leave.
func (g Goroutines[M, R]) Withdraw(*Job[M, R]) { g.Leave() }

// Discard has nothing to let go of.
func (Goroutines[M, R]) Discard(context.Context, *Job[M, R]) {}
