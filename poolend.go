package postrider

import (
	"context"
	"slices"

	"github.com/postrider/postrider/internal/seats"
)

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

// Shutdown ends the pool for good, and in peace: a Send that is called from now on returns
// [ErrClosed]; those underway, waiting ones included, are finished within ctx. Then every
// connection is left with QUIT; one that is refused or unanswered is no error. If ctx is
// done before that, Shutdown does what [Pool.Close] does, and returns an error that wraps
// the context's cause. No goroutine of the pool is left then, but for a call into the
// caller's own code that does not return (see [Connection.Send]). Shutdown may be called
// again, and together with Close: each call returns when the pool has ended.
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

// Close ends the pool for good: Sends that wait or are underway are broken off, and every
// later one returns [ErrClosed]. Like [Connection.Close] it leaves idle wires with a QUIT
// whose reply is not waited for, waits neither for the network nor for the caller's code,
// and always returns nil; Sends that it has broken off may return a little later. Use
// [Pool.Shutdown] to let messages finish.
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

// shutDoor takes no more Sends, and sees to it that the pool ends when the last has
// returned. It returns how many have been broken off before, and whether nothing is left.
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
