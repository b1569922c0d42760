package seats

import (
	"math/rand/v2"
	"time"

	"github.com/postrider/postrider/internal/pace"
)

// What is learnt from each wire that was opened, or not, and from each message that has ended: whether the server is
// up, how many connections it wants, how fast it takes mail.

// Opened tells that a connection has opened the wire that it was asked for.
func (s *Scheduler) Opened(seat *Seat) {
	seat.endOpening()
	seat.At.welcomed = true
	if seat.At.health.Succeeded() {
		seat.At.err = nil
		s.hooks.Changed(seat.At, CameUp)
	}
	s.Dispatch()
}

// Failed tells that a connection could not open the wire that it was asked for, and whether the server asked for
// slower mail. If others are open, the server has enough of them; if it has served since this one was begun, that says
// nothing; else the server is down.
func (s *Scheduler) Failed(seat *Seat, err error, slower bool) {
	seat.endOpening()
	s.learnFailure(seat, err, slower)
	s.Dispatch()
}

func (seat *Seat) endOpening() {
	seat.opening = false
	if seat.late != nil {
		seat.late.Stop()
	}
}

func (s *Scheduler) learnFailure(failed *Seat, err error, slower bool) {
	srv, now := failed.At, time.Now()
	others := 0
	for _, seat := range s.seats {
		if seat != failed && seat.At == srv && seat.holdsWire() {
			others++
		}
	}
	if slower && others == 0 {
		s.rate.Slow() // where others live it is about their number
	}
	srv.source.stale = true
	until, refused := srv.host.LoginRefused()
	srv.welcomed = srv.welcomed && refused == nil
	switch {
	case others > 0:
		before := srv.limit.Now()
		srv.limit.Capped(others, now)
		s.tellLimit(srv, before)
	case refused != nil:
		s.lockOut(srv, err, until)
	case srv.served != failed.since:
		srv.health.GaveUp()
	default:
		srv.health.Failed(now, rand.Float64())
		srv.err = err
		s.hooks.Changed(srv, WentDown)
	}
}

// lockOut leaves a server alone that refuses our credentials. No attempt is burnt before the time that is set for that.
func (s *Scheduler) lockOut(srv *Server, err error, until time.Time) {
	srv.health.FailedUntil(until)
	srv.err = err
	s.hooks.Changed(srv, WentDown)
}

// tellLimit tells of a limit that is not what it was before.
func (s *Scheduler) tellLimit(srv *Server, before int) {
	if srv.limit.Now() != before {
		s.hooks.Changed(srv, LimitChanged)
	}
}

// Answered tells that a message has ended with the server's answers. Those to recipients are told by Sample, and
// WentWell or Busy says whether there are too many messages.
func (s *Scheduler) Answered(w *Waiter) {
	w.seat.At.served++
	s.rate.Passed(1)
}

// Sample tells whether the answer to one recipient may ask for less; it reports whether the server does.
func (w *Waiter) Sample(throttled bool) bool { return w.seat.At.throttle.count(throttled, time.Now()) }

// WentWell tells that the server did not ask for less at a message that has ended.
func (s *Scheduler) WentWell(w *Waiter) {
	srv, inUse := w.seat.At, 0
	for _, seat := range s.seats {
		if seat.At == srv && seat.taken > 0 {
			inUse++
		}
	}
	before := srv.limit.Now()
	srv.limit.Succeeded(w.mark, inUse, time.Now())
	s.tellLimit(srv, before)
}

// Busy tells that a server asks for less: it gets fewer connections, and slower mail when even one is too much. Where
// that was so, a reply that may be about the rate is: one of the two is lowered, not both.
func (s *Scheduler) Busy(w *Waiter, r Reply) {
	srv, signal := w.seat.At, pace.Fewer
	if r.AsksForSlower() {
		signal = pace.Slower
	}
	if signal == pace.Slower && s.rate.Slowed() {
		s.rate.Slow()
		return
	}
	before := srv.limit.Now()
	if !srv.limit.Throttled(w.mark, signal, time.Now()) {
		return
	}
	if before == 1 {
		s.rate.Slow()
	}
	s.retireReserve(srv, before)
	s.tellLimit(srv, before)
}

// Reply is what the scheduler looks at in a server's reply.
type Reply struct {
	Code     int
	Enhanced [3]int
}

// AsksForLess reports the replies by which a server wants fewer connections or slower mail.
func (r Reply) AsksForLess() bool {
	return r.Code == 421 && r.Enhanced != [3]int{4, 4, 2} || r.AboutServer() || r.AsksForSlower() ||
		r.Enhanced == [3]int{4, 3, 1}
}

// AboutServer reports the replies that are about the server as a whole, whatever they answer: it does not accept mail,
// or its network is under load (RFC 3463 §3.4, §3.5). Storage that is full (4.3.1), which busy servers say, is
// sometimes that of one mailbox.
func (r Reply) AboutServer() bool {
	return r.Enhanced == [3]int{4, 3, 2} || r.Enhanced == [3]int{4, 4, 5}
}

// AsksForSlower reports the replies by which a server wants slower mail: a policy that time mends (RFC 3463 §3.8), and
// no time for AUTH (RFC 4954 §6).
func (r Reply) AsksForSlower() bool {
	return r.Code == 454 || r.Code/100 == 4 && r.Enhanced[0] == 4 && r.Enhanced[1] == 7
}

// throttleSample tells throttling at RCPT from greylisting: only when most of sampleSize recipients got a throttle
// reply, it is the server that asks for less. For a while after that each such reply says so: fewer are refused as the
// limit falls.
type throttleSample struct {
	throttled, all int
	until          time.Time
}

const (
	sampleSize  = 16
	sampleValid = time.Minute
)

// count counts a recipient; it reports whether the server asks for less.
func (t *throttleSample) count(throttled bool, now time.Time) bool {
	t.all++
	if throttled {
		t.throttled++
	}
	if t.all == sampleSize {
		if t.throttled > sampleSize/2 {
			t.until = now.Add(sampleValid)
		}
		t.throttled, t.all = 0, 0
	}
	return throttled && now.Before(t.until)
}
