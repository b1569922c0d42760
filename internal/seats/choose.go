package seats

import (
	"slices"
	"time"

	"github.com/postrider/postrider/internal/pace"
)

// choose finds a place for a message at the servers of the best priority that has one which is not down. Without a
// place, possible tells whether there will be one.
func (s *Scheduler) choose(w *Waiter, now time.Time) (seat *Seat, possible bool) {
	for rest := s.servers; len(rest) > 0 && !possible; {
		n := 1
		for n < len(rest) && rest[n].Priority == rest[0].Priority {
			n++
		}
		if seat, possible = s.chooseAmong(rest[:n], w, now); seat != nil {
			return seat, true
		}
		rest = rest[n:]
	}
	return nil, possible
}

// patience is how long a message whose turn it is at one of several servers waits for the first wire to it, before
// another server takes the turn.
const patience = time.Second

// maxCredit is how many turns of its own a server may have in hand, since it was full.
const maxCredit = 32

// chooseAmong spreads messages over the servers of one priority by their weights: each gains its weight with every
// message, and the one that has most pays for it. One that is full, or late with its first wire, loses its turn to the
// next.
func (s *Scheduler) chooseAmong(group []*Server, w *Waiter, now time.Time) (seat *Seat, possible bool) {
	if len(group) == 1 {
		return s.place(group[0], w, now)
	}
	order := slices.Clone(group)
	slices.SortStableFunc(order, func(a, b *Server) int { return b.credit + b.Weight - a.credit - a.Weight })
	for _, srv := range order {
		var mayBe bool
		seat, mayBe = s.place(srv, w, now)
		possible = possible || mayBe
		if seat != nil {
			s.charge(group, srv, now)
			return seat, true
		}
		if mayBe && s.awaited(srv, now) {
			return nil, true
		}
	}
	return nil, possible
}

// charge settles a turn that srv had. Servers that are down, or were not opened in time, gain nothing, so that they do
// not get everything when they come back. Neither do those that have as many turns in hand as they may: the others do
// not pay for what nobody gains, or else they would fall behind without a bound.
func (s *Scheduler) charge(group []*Server, srv *Server, now time.Time) {
	all, total := 0, 0
	takesPart := func(other *Server) bool {
		return other.health.At(now) == pace.Up && (other == srv || s.inReach(other, now))
	}
	for _, other := range group {
		if takesPart(other) {
			all += other.Weight
		}
	}
	for _, other := range group {
		if takesPart(other) && (other == srv || other.credit < maxCredit*all) {
			other.credit += other.Weight
			total += other.Weight
		}
	}
	srv.credit -= total
	for _, other := range group {
		other.credit = min(other.credit, maxCredit*max(all, other.Weight))
	}
}

// has reports that one of a server's connections is like that.
func (s *Scheduler) has(srv *Server, like func(*Seat) bool) bool {
	return slices.ContainsFunc(s.seats, func(seat *Seat) bool { return seat.At == srv && like(seat) })
}

// awaited reports that the first wire to a server is being opened, and is not late.
func (s *Scheduler) awaited(srv *Server, now time.Time) bool {
	return !s.hasOpenWire(srv) && s.has(srv, func(seat *Seat) bool {
		return seat.opening && now.Before(seat.asked.Add(patience))
	})
}

// inReach reports that a server has a wire, or is not late with its first one.
func (s *Scheduler) inReach(srv *Server, now time.Time) bool {
	return s.hasOpenWire(srv) || s.awaited(srv, now) || !s.has(srv, func(seat *Seat) bool { return seat.opening })
}

func (s *Scheduler) hasOpenWire(srv *Server) bool {
	return s.has(srv, func(seat *Seat) bool { return seat.Conn.Room() > 0 })
}

// hasWire reports that a wire to a server is open or being opened.
func (s *Scheduler) hasWire(srv *Server) bool { return s.has(srv, (*Seat).holdsWire) }

// place finds a place at one server: on a wire that is not half full, or on any that has room, while another one is
// opened.
func (s *Scheduler) place(srv *Server, w *Waiter, now time.Time) (seat *Seat, possible bool) {
	state := srv.health.At(now)
	if state == pace.Down || !w.mayTry(srv) {
		return nil, false
	}
	if seat = s.free(srv, func(room int) int { return max(1, room/2) }); seat != nil {
		return seat, true
	}
	until, refused := srv.host.LoginRefused()
	if refused != nil && state == pace.Up && !s.hasWire(srv) {
		s.lockOut(srv, refused, until) // the last wire that was let in is gone
		return nil, false
	}
	switch state {
	case pace.Up:
		for (s.opening() < s.waiters.Len() || !s.hasWire(srv)) && s.connect(srv, srv.limit.Now()) {
		}
	case pace.Probe:
		if s.connect(srv, 1) {
			srv.health.Try()
		}
	}
	return s.free(srv, func(room int) int { return room }), true
}

// free is a connection of a server that has a wire and less than its share of places taken: the first, so that the
// last ones go idle, and the emptiest where the server limits their number, so that all that it allows are used.
func (s *Scheduler) free(srv *Server, share func(room int) int) (best *Seat) {
	spare := s.spare(srv)
	for _, seat := range s.seats {
		room := srv.limit.Places(seat.Conn.Room())
		switch {
		case seat.At != srv || seat.leaving || room == 0 || seat.taken >= share(room):
		case spare < 0 || spare == 0 && seat.taken == 0:
		case !srv.limit.Pressed():
			return seat
		case best == nil || seat.taken < best.taken:
			best = seat
		}
	}
	return best
}

// spare is how many of a server's open wires may be used beside those that are. Below 0 more are in use than the limit
// allows, since it fell: until they are drained, nobody gets a place. A connection that waits for its next wire counts
// too, but leaves the others at least one: its server may keep it waiting.
func (s *Scheduler) spare(srv *Server) int {
	used, wireless := 0, 0
	for _, seat := range s.seats {
		switch {
		case seat.At != srv || seat.taken == 0:
		case seat.Conn.Room() == 0:
			wireless++
		default:
			used++
		}
	}
	return max(1, srv.limit.Now()-wireless) - used
}
