package seats

import (
	"cmp"
	"slices"
	"time"
)

func (s *Scheduler) opening() (n int) {
	for _, seat := range s.seats {
		if seat.opening {
			n++
		}
	}
	return n
}

// connect has a connection open a wire, if there may be one more; it reports whether. One that is idle at another
// server, which is not needed, is ended for that.
func (s *Scheduler) connect(srv *Server, limit int) bool {
	all, here := 0, 0
	var unused, idle *Seat
	for _, seat := range s.seats {
		resting := seat.taken == 0 && !seat.opening && !seat.leaving // with a wire, between two, or without
		switch {
		case seat.At == srv && resting && seat.Conn.Room() == 0:
			unused = cmp.Or(unused, seat)
		case !seat.Active():
		default:
			all++
			if seat.At == srv {
				here++
			} else if resting {
				idle = seat
			}
		}
	}
	switch {
	case here >= limit || srv.refused():
		return false
	case here > 0 && srv.host.LogsIn() && !srv.welcomed: // a wrong password must not be tried on each wire
		return false
	case all >= s.max:
		if idle != nil {
			s.retire(idle)
		}
		return false
	case unused == nil:
		unused = s.add(srv)
	}
	s.open(unused)
	return true
}

// open has a connection open a wire. Where there are servers beside its own, messages that wait for it get a place
// elsewhere when it is late.
func (s *Scheduler) open(seat *Seat) {
	seat.opening, seat.since, seat.asked = true, seat.At.served, time.Now()
	if len(s.servers) > 1 {
		seat.late = time.AfterFunc(patience, s.hooks.Late)
	}
	seat.Conn.Connect()
}

// add makes a connection. One that has no wire, at another server, goes for it, so that there are never more of them
// than may be open.
func (s *Scheduler) add(srv *Server) *Seat {
	if len(s.seats) >= s.max {
		// Fewer than max are active, as connect has counted, so there is one that is not.
		if i := slices.IndexFunc(s.seats, func(seat *Seat) bool { return !seat.Active() }); i >= 0 {
			s.drop(s.seats[i])
		}
	}
	seat := &Seat{At: srv}
	seat.Conn = srv.host.NewConnection(seat)
	s.seats = append(s.seats, seat)
	return seat
}

// retireReserve ends idle connections beyond a limit that was too high all the same: they may be what the server
// counts.
func (s *Scheduler) retireReserve(srv *Server, limit int) {
	wires := 0
	for _, seat := range slices.Clone(s.seats) {
		if seat.At != srv || !seat.Active() || seat.leaving {
			continue
		}
		if wires++; wires > limit && seat.taken == 0 && !seat.opening {
			s.retire(seat)
		}
	}
}

// retireUnlisted ends an idle connection to a server that SRV records do not name any more.
func (s *Scheduler) retireUnlisted(seat *Seat) {
	if seat.taken == 0 && !seat.leaving && !slices.Contains(s.servers, seat.At) {
		s.retire(seat)
	}
}
