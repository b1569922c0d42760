package postrider

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/postrider/postrider/internal/cause"
	"github.com/postrider/postrider/internal/pace"
)

// What a pool learns from each wire that was opened, or not, and from each Send that
// has ended: whether the server is up, how many connections it wants, how fast it
// takes mail; and whether recipients who are still owed go elsewhere.

// opened tells of an attempt of a member to open a wire.
func (p *Pool) opened(m *member, err *Error) {
	p.mu.Lock()
	defer p.unlock()
	since := m.since
	m.opening = false
	if m.late != nil {
		m.late.Stop()
	}
	if err == nil {
		p.upLocked(m.at)
	} else {
		p.hostFailedLocked(m, err, since)
	}
	p.dispatchLocked()
}

func (p *Pool) upLocked(e *endpoint) {
	e.welcomed = true
	if e.health.Succeeded() {
		e.err = nil
		p.tellUpLocked(e)
	}
}

// hostFailedLocked: no wire could be opened. If others are open, the server has
// enough of them; if it has served since this one was begun, it says nothing; else
// the server is down.
func (p *Pool) hostFailedLocked(failed *member, err *Error, since int) {
	e, now := failed.at, time.Now()
	others := 0
	for _, m := range p.members {
		if m != failed && m.at == e && m.holdsWire() {
			others++
		}
	}
	if asksForSlower(err.Reply) && others == 0 {
		p.messages.Slow() // where others live it is about their number
	}
	e.from.stale = true
	e.welcomed = e.welcomed && e.loginRefused() == nil
	switch {
	case others > 0:
		before := e.limit.Now()
		e.limit.Capped(others, now)
		p.tellLimitLocked(e, before)
		return
	case e.loginRefused() != nil:
		p.lockedOutLocked(e, err)
		return
	case e.served != since:
		e.health.GaveUp()
		return
	default:
		e.health.Failed(now, rand.Float64())
	}
	e.err = err
	p.tellDownLocked(e)
}

// lockedOutLocked: the server refuses our credentials. No attempt is burnt before the
// time that is set for that.
func (p *Pool) lockedOutLocked(e *endpoint, err *Error) {
	until := time.Now()
	if r := e.refusedLogin.Load(); r != nil { // nil: its time is over since it was looked at
		until = r.until
	}
	e.health.FailedUntil(until)
	e.err = err
	p.tellDownLocked(e)
}

// settle frees the seat of a delivery that a connection has finished with, and
// reports whether it goes on: some are Untried because of the server, and another
// way may be left to try.
func (p *Pool) settle(w *waiter, d *delivery) (again bool) {
	p.mu.Lock()
	defer p.unlock()
	m := w.seat
	switch v, reply := judge(d, d.transactions[w.carried:]); v {
	case lessonServed:
		p.servedLocked(m.at, d, w.mark)
	case lessonBusy:
		p.busyLocked(m.at, reply, w.mark)
	}
	if d.movable() {
		w.meet(m.at, d.err)
		p.stats.Moves++
		again = true
	}
	p.standLocked(w)
	p.dispatchLocked()
	return again
}

// lesson is what the end of a delivery says about the server.
type lesson int

const (
	lessonNone   lesson = iota // nothing: it was ended by us, or a wire was lost, and the next one tells more
	lessonServed               // it answered
	lessonBusy                 // it wants less
)

// judge tells what a delivery met, and by which reply. Refusals of messages and
// recipients are answers like any other. The transactions are those that it had there.
func judge(d *delivery, carried []Transaction) (lesson, Reply) {
	for _, o := range d.outcomes {
		if o.State == Deferred && (o.Stage != StageRcpt && asksForLess(o.Reply) || isBusy(o.Reply)) {
			return lessonBusy, o.Reply
		}
	}
	for _, tx := range carried { // also one that was sent again, and went well then
		if tx.Reply.Code == 421 && isBusy(tx.Reply) {
			return lessonBusy, tx.Reply
		}
	}
	switch e := d.err; {
	case e == nil:
		return lessonServed, Reply{}
	case e.Stage != StageLocal && e.Stage != StageConnect && !d.ownFault && asksForLess(e.Reply):
		return lessonBusy, e.Reply
	}
	return lessonNone, Reply{}
}

// asksForLess reports the replies by which a server wants fewer connections or slower
// mail.
func asksForLess(r Reply) bool {
	return r.Code == 421 && r.Enhanced != (EnhancedCode{4, 4, 2}) || isBusy(r) || asksForSlower(r) ||
		r.Enhanced == (EnhancedCode{4, 3, 1})
}

// isBusy reports the replies that are about the server as a whole, whatever they
// answer: it does not accept mail, or its network is under load (RFC 3463 §3.4, §3.5).
// That its storage is full (4.3.1), which busy servers say, is sometimes said of one
// mailbox.
func isBusy(r Reply) bool {
	return r.Enhanced == EnhancedCode{4, 3, 2} || r.Enhanced == EnhancedCode{4, 4, 5}
}

// asksForSlower reports the replies by which a server wants slower mail: a policy
// that time mends (RFC 3463 §3.8), and no time for AUTH (RFC 4954 §6).
func asksForSlower(r Reply) bool {
	return r.Code == 454 || r.Temporary() && r.Enhanced[0] == 4 && r.Enhanced[1] == 7
}

func (p *Pool) servedLocked(e *endpoint, d *delivery, mark int) {
	e.served++
	p.messages.Passed(1)
	for _, o := range d.outcomes {
		if o.Stage == StageRcpt || o.State == Accepted {
			if e.greys.count(o.Stage == StageRcpt && asksForLess(o.Reply), time.Now()) {
				p.busyLocked(e, o.Reply, mark)
				return
			}
		}
	}
	before := e.limit.Now()
	e.limit.Succeeded(mark, p.inUseLocked(e), time.Now())
	p.tellLimitLocked(e, before)
}

// busyLocked answers a server that asks for less: with fewer connections, and with
// slower mail when even one is too much. Where that was so, a reply that may be about
// the rate is: one of the two gives way, not both.
func (p *Pool) busyLocked(e *endpoint, reply Reply, mark int) {
	signal := pace.Fewer
	if asksForSlower(reply) {
		signal = pace.Slower
	}
	if signal == pace.Slower && p.messages.Slowed() {
		p.messages.Slow()
		return
	}
	before := e.limit.Now()
	if !e.limit.Throttled(mark, signal, time.Now()) {
		return
	}
	if before == 1 {
		p.messages.Slow()
	}
	p.retireReserveLocked(e, before)
	p.tellLimitLocked(e, before)
}

// movable reports whether recipients of a delivery are Untried for a reason that may
// be another one elsewhere: not its own content, context or address.
func (d *delivery) movable() bool {
	return d.err != nil && d.err.Stage != StageLocal && !d.ownFault && d.state != sendAbandoned && !errors.Is(d.err, ErrClosed) &&
		slices.ContainsFunc(d.outcomes, func(o Outcome) bool { return o.State == Untried })
}

// reopen makes a delivery whose Untried recipients are tried elsewhere like new.
func (d *delivery) reopen() {
	d.pending = d.pending[:0]
	for i := range d.outcomes {
		if d.outcomes[i].State == Untried {
			d.pending = append(d.pending, i)
		}
	}
	d.err, d.state, d.resent = nil, sendUnderway, false
	d.told.Store(false)
	for i := range d.outcomes {
		if o := &d.outcomes[i]; o.State == Unknown {
			d.note(o.Err.(*Error)) // that one stays
		}
	}
}

// meet notes what a Send met at a server.
func (w *waiter) meet(e *endpoint, err *Error) {
	met := w.encounter(e)
	if met == nil {
		w.met = append(w.met, encounter{at: e})
		met = &w.met[len(w.met)-1]
	}
	met.times++
	met.err = err
	met.final = err.Reply.Permanent() || cause.IsSetting(err.Err) || errors.Is(err.Err, ErrClosed)
}

// downError is why a server is not asked now; nil if it is not down.
func (e *endpoint) downError(now time.Time) *Error {
	if e.err == nil {
		return nil
	}
	again := *e.err
	later := fmt.Errorf("not tried again for %v", max(0, e.health.Until().Sub(now)).Round(time.Second/10))
	if again.Err = later; e.err.Err != nil {
		again.Err = fmt.Errorf("%w; %w", e.err.Err, later)
	}
	return &again
}

// greys tells throttling at RCPT from greylisting: only when most of so many
// recipients got a throttle reply, it is the server that asks for less. For a while
// after that each such reply says so: fewer are refused as the pool gives way.
type greys struct {
	throttled, all int
	until          time.Time
}

const (
	greyWindow = 16
	greyWhile  = time.Minute
)

// count counts a recipient; it reports whether the server asks for less.
func (g *greys) count(throttled bool, now time.Time) bool {
	g.all++
	if throttled {
		g.throttled++
	}
	if g.all == greyWindow {
		if g.throttled > greyWindow/2 {
			g.until = now.Add(greyWhile)
		}
		g.throttled, g.all = 0, 0
	}
	return throttled && now.Before(g.until)
}
