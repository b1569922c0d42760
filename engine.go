package postrider

import (
	"context"
	"runtime"
	"slices"
	"time"

	"github.com/postrider/postrider/internal/quirks"
	"github.com/postrider/postrider/internal/ring"
	"github.com/postrider/postrider/internal/verdict"
)

// The engine is one goroutine per connection, which runs while there is a wire or work. It takes deliveries from the
// queue, forms transactions of them, and writes those on the wire; the wire's reader settles them as the replies come.

// submit gives a delivery to the engine, or finishes it where nothing can be sent; err is what newDelivery said of it.
func (c *Connection) submit(d *delivery, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d.reading {
		defer c.readLocked(1) // when it has its place
		defer func() { d.reading = false }()
	}
	if d.state != sendUnderway {
		return // cancelled already
	}
	if err == nil && d.ctx.Err() != nil {
		err = context.Cause(d.ctx)
	}
	if err != nil {
		d.leave(&Error{Stage: StageLocal, Step: StepMessage, Err: err})
	} else if len(d.pending) > 0 {
		if err := c.enqueueLocked(d); err != nil {
			d.leave(err)
		}
	}
	if d.settled() {
		c.finishLocked(d)
	}
}

func (c *Connection) enqueueLocked(d *delivery) *Error {
	if c.closed || c.draining && !d.reading {
		return closedError(c.name)
	}
	if err := c.loginRefused(); err != nil && c.wire == nil { // a wire that was let in goes on
		return err
	}
	c.queue.Push(place{d: d})
	c.startLocked()
	return nil
}

// startLocked sees to it that the engine runs, and looks.
func (c *Connection) startLocked() {
	if !c.running.Load() {
		c.running.Store(true)
		c.stopped = make(chan struct{})
		go c.run(c.stopped)
	}
	c.nudge()
}

// connect opens a wire ahead of the messages for it, if there is none. It does not wait.
func (c *Connection) connect() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.wanted = true
		c.startLocked()
	}
}

// nudge tells the engine that there is something new.
func (c *Connection) nudge() { ring.Signal(c.wake) }

// run is the engine.
func (c *Connection) run(ended chan struct{}) {
	defer close(ended)
	for c.moreWork() {
		w, err := c.openForQueue()
		switch {
		case err != nil:
			c.failQueue(err)
		case w != nil:
			c.carry(w)
		}
	}
}

// moreWork answers the Quits at the head of the queue; without anything behind them the engine stops.
func (c *Connection) moreWork() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.queue.Len() > 0 {
		if c.queue.Front().quit == nil && !c.closed {
			return true
		}
		c.failPlaceLocked(c.queue.Pop(), closedError(c.name))
	}
	if c.wanted = c.wanted && !c.closed; c.wanted {
		return true
	}
	c.running.Store(false)
	return false
}

// openForQueue opens a wire on behalf of whoever is in the queue. When nobody is left there it is given up, and neither
// a wire nor an error comes back.
func (c *Connection) openForQueue() (*wire, *Error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	id, wanted := c.beginOpening(cancel)
	if !wanted {
		return nil, nil
	}
	w, err := c.open(ctx, id)
	w, err = c.finishOpening(ctx, w, err)
	if c.opened != nil && (w != nil || err != nil) {
		c.opened(err)
	}
	return w, err
}

// beginOpening reports whether anybody still wants a wire, and lets those who leave cancel the attempt.
func (c *Connection) beginOpening(cancel context.CancelFunc) (id int, wanted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.idleLocked() && !c.wanted {
		return 0, false // they left before there was anything to cancel
	}
	c.cancelOpen = cancel
	c.stats.Dials++
	return int(c.ids.Add(1)), true
}

// finishOpening puts the wire in its place. An attempt that was given up, if only just, comes to nothing: whoever has
// wanted a wire meanwhile gets another one.
func (c *Connection) finishOpening(ctx context.Context, w *wire, err *Error) (*wire, *Error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cancelOpen = nil
	switch {
	case ctx.Err() != nil: // asked with the lock held, under which it is cancelled
		c.stats.DialFailures++
		if w != nil {
			w.sever()
		}
		return nil, nil
	case err == nil:
		c.wire, c.wanted = w, false
		c.room.Store(1)
		return w, nil
	}
	c.stats.DialFailures++
	c.wanted = false
	if err.refusesLogin() {
		c.rejectLogin(err)
	}
	return nil, err
}

// failQueue reports to all Sends that wait that there is no wire.
func (c *Connection) failQueue(err *Error) {
	c.log().Warn("cannot open a wire, or lost it at once", "error", err.Error())
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failQueueLocked(err)
}

func (c *Connection) failQueueLocked(err *Error) {
	for c.queue.Len() > 0 {
		c.failPlaceLocked(c.queue.Pop(), err)
	}
}

// failPlaceLocked ends what has had a place in the queue: a Send with an error, a Quit without one.
func (c *Connection) failPlaceLocked(p place, err *Error) {
	if p.quit != nil {
		c.endQuitLocked(p.quit)
		return
	}
	p.d.fail(err)
	c.finishLocked(p.d)
}

// carry puts transactions on a wire until it is spent, lost or no longer needed.
func (c *Connection) carry(w *wire) {
	if w.caps.Pipelining {
		w.listen()
	}
	idle := time.NewTimer(time.Hour)
	defer idle.Stop()
	for {
		tx, more := c.next(w, idle)
		if !more {
			break
		}
		w.perform(tx)
	}
	c.leaveWire(w)
}

// next waits for the next transaction of this wire; more is false when there will be none. Before it waits, it flushes.
func (c *Connection) next(w *wire, idle *time.Timer) (tx *transaction, more bool) {
	for yielded := false; ; {
		c.mu.Lock()
		tx, more = c.nextLocked(w)
		waiting := len(w.inFlight) == 0
		c.mu.Unlock()
		if tx != nil || !more {
			return tx, more
		}
		w.flush()
		switch listening, owed := w.hearing(); {
		case !listening && owed:
			w.takeOrStop()
			continue
		case !listening && !yielded:
			yielded = true
			runtime.Gosched() // whoever sends in a loop may have the next message by now
			continue
		}
		w.listen()
		var expired <-chan time.Time
		if limit := w.patience(); waiting && limit > 0 {
			idle.Reset(limit)
			expired = idle.C
		}
		select {
		case <-c.wake:
		case <-w.progress:
		case <-expired:
			if !w.old() {
				w.ending = endIdle
				return nil, false
			}
		}
	}
}

func (c *Connection) nextLocked(w *wire) (tx *transaction, more bool) {
	if w.err != nil || c.closed || w.doneLocked() {
		return nil, false
	}
	if !w.roomLocked() {
		return nil, true
	}
	for c.queue.Len() > 0 {
		d := c.queue.Front().d
		if d == nil {
			return nil, false // a Quit
		}
		tx := w.planLocked(d)
		if len(d.pending) == 0 {
			c.queue.Pop()
		}
		if tx != nil {
			w.beginLocked(tx)
			tx.d.inFlight++
			c.stats.Transactions++
			if w.mails > 1 {
				c.stats.Reuses++
			}
			return tx, true
		}
		if len(d.pending) > 0 {
			return nil, false // its recipients wait for the next wire
		}
		if d.settled() {
			c.finishLocked(d)
		}
	}
	return nil, true
}

// settleLocked enters what became of a transaction into its delivery, and puts recipients that are to be tried again
// back to the head of the queue.
func (c *Connection) settleLocked(tx *transaction) {
	d := tx.d
	tx.state = txEnded
	d.inFlight--
	if tx.Final.Code != 0 {
		d.resent = false
	}
	told := Transaction{Wire: tx.wire.id, Recipients: len(tx.rcpts), Reply: replyFrom(tx.Last())}
	told.LeftOut = d.wishes.LeftOut(&tx.wire.caps)
	if c.tracing() {
		c.mu.noteLocked(settlement{told: told, took: tx.took(), outcomes: tx.outcomes()})
	}
	if d.state == sendAbandoned {
		return // its Send has returned what was known then
	}
	d.transactions, d.wire = append(d.transactions, told), tx.wire
	if tx.Data.Code >= 400 {
		d.dataRefusal = replyFrom(tx.Data)
	}
	queued := len(d.pending) > 0
	decided := true
	for k, i := range tx.rcpts {
		o, putOff := tx.outcome(k, tx.border())
		d.outcomes[i] = o
		if putOff && d.givenUp == nil {
			d.pending = append(d.pending, i)
		}
		decided = decided && o.State != Untried && o.State != Unknown
	}
	if !decided {
		c.settleUndecidedLocked(tx)
	}
	if d.givenUp != nil {
		d.fail(d.givenUp)
	}
	if len(d.pending) > 0 && !queued {
		c.queue.Unpop(place{d: d})
		c.nudge()
	}
	if d.settled() {
		c.finishLocked(d)
	}
}

// settleUndecidedLocked decides who of a transaction is sent to again, and notes why the others are not.
func (c *Connection) settleUndecidedLocked(tx *transaction) {
	d := tx.d
	isUntried := func(i int) bool { return d.outcomes[i].State == Untried }
	resend := slices.ContainsFunc(tx.rcpts, isUntried) && c.resendLocked(tx)
	for _, i := range tx.rcpts {
		switch o := d.outcomes[i]; {
		case o.State == Untried && resend:
			d.pending = append(d.pending, i)
		case o.State == Untried, o.State == Unknown:
			d.note(o.Err.(*Error))
		}
	}
}

// resendLocked decides whether the Untried recipients of a transaction, to whom sending again cannot duplicate, are
// sent to again on another wire. It must have failed by the server's doing, and it must have served before: so a server
// that fails every first transaction is not asked for ever.
func (c *Connection) resendLocked(tx *transaction) bool {
	w := tx.wire
	if c.closed || tx.d.givenUp != nil || tx.broken != nil && tx.broken != w.err {
		return false
	}
	if tx.Mishap == verdict.None || tx.Mishap == verdict.Shifted {
		if w.lost == notLost || w.lost.ours() || w.completed == 0 {
			return false
		}
	}
	if tx.failedHere || tx.Mishap == verdict.Elsewhere || tx.Mishap == verdict.Misread {
		// Its own command met the failure: once only.
		if tx.d.resent {
			return false
		}
		tx.d.resent = true
	}
	c.stats.Resends++
	return true
}

// endQuitLocked lets a Quit return.
func (c *Connection) endQuitLocked(q *quit) {
	q.ended = true
	c.mu.noteLocked(settlement{quit: q})
}

// finishLocked lets a Send return.
func (c *Connection) finishLocked(d *delivery) {
	if d.state != sendUnderway {
		return
	}
	d.state = sendFinished
	c.stats.count(d.outcomes)
	if c.mu.owesLocked() || c.tracing() {
		c.mu.noteLocked(settlement{done: d})
		return
	}
	d.told.Store(true) // there is nobody to be told before
	ring.Signal(d.done)
}

// leaveWire ends a wire: politely with QUIT if it still works.
func (c *Connection) leaveWire(w *wire) {
	var reason *Error // stays nil when we are the ones who end it
	w.listen()
	c.mu.Lock()
	w.quitting = w.err == nil
	closed := c.closed
	c.mu.Unlock()
	if w.quitting && closed { // nothing is underway
		w.leaveUnheard()
		c.abandonWire(w, nil)
		return
	}
	if w.quitting && w.caps.Pipelining {
		// Behind what is in flight; it is last in its group (RFC 2920 §3.1).
		w.say(expectation{verb: verbQuit}, "QUIT\r\n")
	}
	w.await(func() bool { return len(w.inFlight) == 0 })
	c.mu.Lock()
	finished := len(w.inFlight) == 0
	polite := finished && w.quitting // it may well be the first to close then
	if !polite {
		reason = w.err
	}
	c.mu.Unlock()
	switch {
	case polite:
		w.quit()
		w.conn.Close()
	case finished:
		w.raw.Close() // no replies to linger for
	}
	w.listen() // the reader may have given way meanwhile, and somebody has to see the end
	<-w.ended
	w.raw.Close()
	c.abandonWire(w, reason)
}

// leaveUnheard says QUIT, and waits for nothing: the goroutine ends with Timeouts.Quit, and the reader with it. Behind
// Close no hook is called.
func (w *wire) leaveUnheard() {
	w.say(expectation{verb: verbQuit}, "QUIT\r\n")
	w.stopHearing()
	go func() {
		late := time.AfterFunc(w.c.timeouts.Quit, w.sever)
		defer late.Stop()
		w.flush()
		w.conn.Close()
		w.raw.Close()
	}()
}

// quit says QUIT and waits for its reply, unless the connection is being closed.
func (w *wire) quit() {
	if !w.caps.Pipelining {
		w.say(expectation{verb: verbQuit}, "QUIT\r\n")
	}
	w.await(func() bool { return w.c.closed || w.expected.Len() == 0 })
}

// abandonWire settles what a lost wire left, once its reader has stopped and no more replies can come.
func (c *Connection) abandonWire(w *wire, reason *Error) {
	c.mu.Lock()
	c.wire = nil
	c.room.Store(0)
	c.stats.countEnding(w.endingLocked())
	left := w.inFlight
	w.inFlight = nil
	isBehind := func(tx *transaction) bool { return tx.behind && tx.Final.Code == 0 }
	if (w.lost == lostByFault || w.lost == lostByHangUp) && !w.windowed && slices.ContainsFunc(left, isBehind) {
		// It has never taken a transaction behind an unread one, and hung up, fell silent or stopped reading at the
		// first that it got.
		c.fallBackLocked(w, &c.quirks.NoWindow, "the server failed at transactions that follow each other unread: "+
			"one at a time from now on")
	}
	if w.discard == quirks.DiscardAsked && !w.lost.ours() {
		w.showLocked(quirks.Executes) // closed or silent at the probe
	}
	for i, tx := range left {
		if tx.broken == nil {
			tx.broken = w.err
		}
		tx.failedHere = tx.failedHere || i == 0 && w.lost != lostByWord
		if tx.Final.Code != 0 && tx.begun() && !tx.Mishap.OutOfStep() {
			w.completed++
		}
	}
	for i := len(left) - 1; i >= 0; i-- { // each goes to the head of the queue
		c.settleLocked(left[i])
	}
	fruitless := reason != nil && !w.lost.ours() && w.completed == 0
	mails := w.mails
	if fruitless {
		c.failQueueLocked(reason) // at once: a Send that comes later gets a wire of its own
	}
	c.mu.Unlock()
	c.observeClosed(w, mails, reason)
}
