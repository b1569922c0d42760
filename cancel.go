package postrider

import (
	"context"
	"errors"

	"github.com/postrider/postrider/internal/verdict"
)

// How what was begun is ended before its time: by a context, by leaving a SendAll, by Quit and Close.

// cancel ends a Send whose context is done. What the server may have got is Unknown, the rest Untried. If nobody else
// rides the wire, it is ended too: a new one is better than one whose server owes us a reply. It reports that the
// engine is writing the caller's content: then the end has to be waited for, which comes at once, since the wire is
// cut, and the engine leaves a call into the caller's own code behind (nextBlock).
func (c *Connection) cancel(d *delivery) (wait bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d.state != sendUnderway {
		return false
	}
	err := &Error{Stage: StageLocal, Step: StepSend, Address: c.name, Err: context.Cause(d.ctx)}
	c.queue.Remove(func(p place) bool { return p.d == d })
	d.leave(err)
	if w := c.wire; w != nil && d.inFlight > 0 {
		wait = c.cancelOnWireLocked(w, d, err)
	}
	if c.cancelOpen != nil && c.idleLocked() && !c.wanted {
		c.cancelOpen()
	}
	if wait {
		d.givenUp = err
	} else {
		c.finishLocked(d)
		d.state = sendAbandoned
	}
	return wait
}

// withdraw takes back a delivery that was not begun.
func (c *Connection) withdraw(d *delivery) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d.state != sendUnderway || d.inFlight > 0 || len(d.transactions) > 0 {
		return
	}
	c.queue.Remove(func(p place) bool { return p.d == d })
	d.leave(&Error{Stage: StageLocal, Step: StepSend, Address: c.name, Err: errWithdrawn})
	c.finishLocked(d)
}

var errWithdrawn = errors.New("the loop over SendAll was left before the message was begun")

// cancelOnWireLocked gives the recipients of transactions underway their outcomes as far as they are known now. It
// reports whether the engine is writing the caller's content, so that its end must be waited for.
func (c *Connection) cancelOnWireLocked(w *wire, d *delivery, err *Error) (wait bool) {
	neighbours := false
	for _, tx := range w.inFlight {
		neighbours = neighbours || tx.d != d
		wait = wait || tx.d == d && tx.content == contentStreaming
	}
	goesOn := neighbours && !wait
	if !goesOn {
		w.killLocked(lostByUs, err)
		w.nudge() // the writer may be waiting for the content
	}
	for _, tx := range w.inFlight {
		if tx.d != d {
			continue
		}
		tx.broken = err
		border := tx.border()
		if goesOn && tx.content == contentCommitted {
			border = max(border, verdict.Begun) // a terminator that is sure to leave is as good as gone
		}
		for k, i := range tx.rcpts {
			d.outcomes[i], _ = tx.outcome(k, border)
			if s := d.outcomes[i].State; s == Untried || s == Unknown {
				d.note(err)
			}
		}
	}
	return wait
}

// idleLocked reports that nobody waits in the queue.
func (c *Connection) idleLocked() bool {
	for i := range c.queue.Len() {
		if c.queue.At(i).quit == nil {
			return false
		}
	}
	return true
}

// breakOff ends the wire and fails what waits in the queue, up to the Quit that wants it; nil is Close, which wants
// all.
func (c *Connection) breakOff(err *Error, until *quit) {
	c.mu.Lock()
	if until != nil && until.ended {
		c.mu.Unlock() // it came in time after all, and those behind it go on
		return
	}
	if until == nil && !c.closed {
		c.closed = true
		close(c.ended)
		c.brokenOff += c.reading
	}
	for c.queue.Len() > 0 && (until == nil || c.queue.Front().quit != until) {
		p := c.queue.Pop()
		if p.quit != nil {
			c.endQuitLocked(p.quit)
			continue
		}
		p.d.fail(err)
		if p.d.inFlight == 0 {
			c.brokenOff++
			c.finishLocked(p.d)
		}
	}
	if c.cancelOpen != nil {
		c.cancelOpen()
	}
	if w := c.wire; w != nil {
		for _, tx := range w.inFlight {
			if tx.d.givenUp == nil && tx.d.state == sendUnderway { // else it was counted, or has returned
				c.brokenOff++
			}
			tx.d.givenUp = err // nothing of it goes back to the queue
		}
		if until != nil || len(w.inFlight) > 0 || w.quitting {
			w.killLocked(lostByUs, err)
			w.nudge()
		}
	}
	c.mu.Unlock()
	c.nudge()
}
