package seats

import (
	"slices"
	"time"

	"github.com/postrider/postrider/internal/pace"
	"github.com/postrider/postrider/internal/ring"
)

// Scheduler hands out places on connections, in the order in which they are asked for.
type Scheduler struct {
	max     int        // connections, to all servers together
	rate    *pace.Rate // of messages: lowered when one connection is too much already
	hooks   Hooks
	sources []*Source
	servers []*Server // by priority
	seats   []*Seat
	waiters ring.Ring[*Waiter]
}

// New returns a Scheduler without servers, which opens at most this many connections.
func New(most int, rate *pace.Rate, hooks Hooks) *Scheduler {
	return &Scheduler{max: most, rate: rate, hooks: hooks}
}

// Seat is a connection with the messages that have a place on it.
type Seat struct {
	Conn Connection
	At   *Server

	taken   int         // places
	since   int         // how many messages its server had answered when it was asked to open a wire
	asked   time.Time   // when that was
	late    *time.Timer // looks again when it is late; nil: there is no other server to turn to
	opening bool
	leaving bool // it is being ended, to make room for a connection elsewhere
}

// Active reports that it has, or may have, a wire.
func (seat *Seat) Active() bool {
	return seat.taken > 0 || seat.opening || seat.leaving || seat.Conn.Active()
}

// holdsWire reports that it has a wire, or is opening one: for messages that have a place on it already, if not for
// those that wait.
func (seat *Seat) holdsWire() bool { return seat.opening || seat.taken > 0 || seat.Conn.Room() > 0 }

// Waiter is a message that wants a place.
type Waiter struct {
	Ready chan struct{} // gets a token with the answer; capacity 1

	attempts []attempt // at each server where it was tried before

	// The answer.
	seat     *Seat // nil again when it was given back
	mark     int   // of the limit that was in force when the place was given
	err      error
	answered bool
}

// attempt is what a message met at one server.
type attempt struct {
	at    *Server
	times int
	err   error
	final bool // no use in trying again
}

// maxAttempts is how often one message is tried at one server.
const maxAttempts = 3

// NewWaiter returns a Waiter that was tried nowhere yet.
func NewWaiter() *Waiter { return &Waiter{Ready: make(chan struct{}, 1)} }

// Answered reports that a message has got an answer.
func (w *Waiter) Answered() bool { return w.answered }

// Answer returns what it got: a place, or an error.
func (w *Waiter) Answer() (*Seat, error) { return w.seat, w.err }

func (w *Waiter) answer(seat *Seat, err error) {
	w.seat, w.err, w.answered = seat, err, true
	if seat != nil {
		seat.taken++
		w.Renew()
	}
	ring.Signal(w.Ready)
}

// Renew has the result of a message that was held up since it got its place tell of the limit that is in force now.
func (w *Waiter) Renew() { w.mark = w.seat.At.limit.Mark() }

func (w *Waiter) attemptAt(srv *Server) *attempt {
	for i := range w.attempts {
		if w.attempts[i].at == srv {
			return &w.attempts[i]
		}
	}
	return nil
}

// mayTry reports that a message may be tried at a server, as far as it was before.
func (w *Waiter) mayTry(srv *Server) bool {
	a := w.attemptAt(srv)
	return a == nil || !a.final && a.times < maxAttempts
}

// Met notes that the server where it has its place did not take the message, and whether it would be no use to try
// that server again.
func (w *Waiter) Met(err error, final bool) {
	a := w.attemptAt(w.seat.At)
	if a == nil {
		w.attempts = append(w.attempts, attempt{at: w.seat.At})
		a = &w.attempts[len(w.attempts)-1]
	}
	a.times++
	a.err, a.final = err, final
}

// Queue puts a message in line: behind all others, but before them when it comes back from a server. It reports
// whether the answer is there at once.
func (s *Scheduler) Queue(w *Waiter) (answered bool) {
	w.answered = false
	if len(w.attempts) > 0 {
		s.waiters.Unpop(w)
	} else {
		s.waiters.Push(w)
	}
	s.Dispatch()
	return w.answered
}

// Leave takes a message out of the line, or from its place.
func (s *Scheduler) Leave(w *Waiter) {
	s.waiters.Remove(func(other *Waiter) bool { return other == w })
	s.Stand(w)
}

// Stand frees the place of a message, if it has one.
func (s *Scheduler) Stand(w *Waiter) {
	if seat := w.seat; seat != nil {
		w.seat = nil
		seat.taken--
		s.retireUnlisted(seat)
	}
	s.Dispatch()
}

// Break answers all that wait with an error.
func (s *Scheduler) Break(err error) {
	for s.waiters.Len() > 0 {
		s.waiters.Pop().answer(nil, err)
	}
}

// Waiting is how many messages are in line.
func (s *Scheduler) Waiting() int { return s.waiters.Len() }

// Seats are the connections.
func (s *Scheduler) Seats() []*Seat { return s.seats }

// Servers are those that are in use now, in the order of their priorities.
func (s *Scheduler) Servers() []*Server { return s.servers }

// Dispatch hands out places to those that wait, in their order, as far as there are any.
func (s *Scheduler) Dispatch() {
	now := time.Now()
	for s.waiters.Len() > 0 {
		w := s.waiters.Front()
		seat, possible := s.choose(w, now)
		switch {
		case seat != nil:
			s.waiters.Pop().answer(seat, nil)
		case !possible:
			s.waiters.Pop().answer(nil, s.hooks.NoServer(s.reasons(w, now)))
		default:
			return
		}
	}
}

// reasons says why there is no server for a message: what it met at each, or what others met before.
func (s *Scheduler) reasons(w *Waiter, now time.Time) (all []Reason) {
	for _, srv := range s.servers {
		if a := w.attemptAt(srv); a != nil {
			all = append(all, Reason{Err: a.err})
		} else if srv.err != nil {
			all = append(all, Reason{Err: srv.err, Down: true, Rest: max(0, srv.health.Until().Sub(now))})
		}
	}
	for _, source := range s.sources {
		if source.err != nil {
			all = append(all, Reason{Err: source.err})
		}
	}
	return all
}

// Gone removes a connection that has ended.
func (s *Scheduler) Gone(seat *Seat) {
	s.drop(seat)
	s.Dispatch()
}

func (s *Scheduler) drop(seat *Seat) {
	s.hooks.Gone(seat.Conn)
	s.seats = slices.DeleteFunc(s.seats, func(other *Seat) bool { return other == seat })
}

// retire ends an idle connection.
func (s *Scheduler) retire(seat *Seat) { seat.leaving = s.hooks.Retire(seat) }
