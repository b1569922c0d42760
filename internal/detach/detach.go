// Package detach calls code that may never return, and does not wait for it longer than it has to.
package detach

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
)

// Call is a function underway on a goroutine of its own.
type Call[T any] struct {
	state  atomic.Int32
	done   chan struct{}
	result T
	err    error
}

// The states of a Call. It leaves running once: either the function is first, or whoever waits for it.
const (
	running = iota
	returned
	left
)

// Panic is what a function panicked with.
type Panic struct{ Value any }

// Error names the value.
func (p *Panic) Error() string { return fmt.Sprintf("panic: %v", p.Value) }

// errExited is the end of a function that neither returned nor panicked.
var errExited = errors.New("the function ended its goroutine (runtime.Goexit)")

// Begin calls f. What it returns when nobody waits for it any more is given to late, if that is not nil; an error is
// dropped then, and so is a panic.
func Begin[T any](f func() (T, error), late func(T)) *Call[T] {
	c := &Call[T]{done: make(chan struct{})}
	go c.run(f, late)
	return c
}

func (c *Call[T]) run(f func() (T, error), late func(T)) {
	c.call(f)
	switch {
	case c.state.CompareAndSwap(running, returned):
		close(c.done)
	case c.err == nil && late != nil:
		c.call(func() (T, error) { late(c.result); return c.result, nil })
	}
}

// call keeps a panic from ending the program. The goroutine of a Goexit ends with it, so that has its own way out.
func (c *Call[T]) call(f func() (T, error)) {
	exited := true
	defer func() {
		if p := recover(); p != nil {
			c.err = &Panic{p}
		} else if exited {
			c.err = errExited
			if c.state.CompareAndSwap(running, returned) {
				close(c.done)
			}
		}
	}()
	c.result, c.err = f()
	exited = false
}

// Done is closed when the function has returned.
func (c *Call[T]) Done() <-chan struct{} { return c.done }

// Result returns what the function returned; a panic is the error *Panic. It may be called when Done is closed.
func (c *Call[T]) Result() (T, error) { return c.result, c.err }

// Leave stops waiting; it reports false if the function has returned before.
func (c *Call[T]) Leave() bool { return c.state.CompareAndSwap(running, left) }

// Until calls f and waits until it returns or ctx is done. In the second case it returns the context's cause, and what
// f returns is given to late (see Begin). A panic of f is raised again. Without an end of ctx, f is called as usual.
func Until[T any](ctx context.Context, f func() (T, error), late func(T)) (T, error) {
	done := ctx.Done()
	if done == nil {
		return f()
	}
	c := Begin(f, late)
	select {
	case <-c.done:
	case <-done:
		if c.Leave() {
			var none T
			return none, context.Cause(ctx)
		}
		<-c.done
	}
	if p, is := c.err.(*Panic); is {
		panic(p.Value)
	}
	return c.result, c.err
}
