package postrider

import (
	"slices"
	"time"
)

// Stats is a snapshot of what a connection has done so far. Of the recipients' counts each recipient of each Send that
// has returned is in exactly one.
type Stats struct {
	Dials        int64 // attempts to open a wire
	DialFailures int64 // of them, those that did not come as far as the first MAIL: dial, TLS, EHLO, AUTH
	Transactions int64 // MAIL commands
	Reuses       int64 // of them, those on a wire that had carried one before
	Resends      int64 // transactions that were repeated on another wire
	Fallbacks    int64 // faults of the server that were recognised, and are met by doing without
	TurnedAway   int64 // wires on which the server said that it closes: 421, 451 4.4.2

	// Wires that ended, by the reason; those that Quit and Close ended are not counted.
	EndedByCount  int64 // they had carried what they may: MaxTransactions, MAILMAX, what was learnt
	EndedByAge    int64
	EndedByIdle   int64
	EndedByServer int64 // it hung up, with a 421 or without
	EndedByFault  int64 // a timeout, replies out of step, a message that broke off

	Accepted, Deferred, Refused, Untried, Unknown int64 // recipients

	Open     bool // is a wire open now
	InFlight int  // transactions begun and not ended
	Queued   int  // Sends that wait for their turn
}

// Stats returns a snapshot of the connection's counters.
func (c *Connection) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	for i := range c.queue.Len() {
		if c.queue.At(i).quit == nil {
			s.Queued++
		}
	}
	if c.wire != nil {
		s.Open, s.InFlight = true, len(c.wire.inFlight)
	}
	return s
}

// PoolStats is a snapshot of what a pool has done so far.
type PoolStats struct {
	// Stats are the sums over all connections, those that are gone included. Open says that at least one wire is open;
	// Queued counts the Sends that wait for a place. The recipients' counts are those of [Pool.Send], where each
	// recipient is in exactly one.
	Stats

	Connections int           // wires that are open or being opened
	Waits       int64         // Sends that had to wait for a place on a connection
	WaitTime    time.Duration // how long they did, together
	Moves       int64         // messages that went on to another connection or server, because of a server

	MessageRate float64 // messages a second that are let through now; 0: no limit

	Servers []ServerStats // in the order in which they are used
}

// ServerStats is how one server of a pool fares.
type ServerStats struct {
	Address     string
	Connections int       // wires that are open or being opened
	Limit       int       // connections that it gets at most, as things are
	Down        bool      // it is left alone
	Until       time.Time // if it is down: when it is tried again
	Reason      error     // if it is down: what happened
}

// Stats returns a snapshot of the pool's counters.
func (p *Pool) Stats() PoolStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	counts := s.Stats
	s.Stats = p.past
	s.MessageRate = p.messages.Current()
	now := time.Now()
	servers := p.seats.Servers()
	for _, srv := range servers {
		one := ServerStats{Address: srv.Host().(*poolServer).name, Limit: srv.Limit()}
		one.Down, one.Until, one.Reason = srv.Down(now)
		s.Servers = append(s.Servers, one)
	}
	for _, seat := range p.seats.Seats() {
		c := seat.Conn.(pooled)
		s.Stats.add(c.Stats())
		if !c.Active() {
			continue
		}
		s.Connections++
		if i := slices.Index(servers, seat.At); i >= 0 {
			s.Servers[i].Connections++
		}
	}
	s.Queued = p.seats.Waiting()
	s.Accepted, s.Deferred, s.Refused = counts.Accepted, counts.Deferred, counts.Refused
	s.Untried, s.Unknown = counts.Untried, counts.Unknown
	return s
}

// add sums up.
func (s *Stats) add(o Stats) {
	s.Dials += o.Dials
	s.DialFailures += o.DialFailures
	s.Transactions += o.Transactions
	s.Reuses += o.Reuses
	s.Resends += o.Resends
	s.Fallbacks += o.Fallbacks
	s.TurnedAway += o.TurnedAway
	s.EndedByCount += o.EndedByCount
	s.EndedByAge += o.EndedByAge
	s.EndedByIdle += o.EndedByIdle
	s.EndedByServer += o.EndedByServer
	s.EndedByFault += o.EndedByFault
	s.Open = s.Open || o.Open
	s.InFlight += o.InFlight
}

// count adds the outcomes of a Send that has ended.
func (s *Stats) count(outcomes []Outcome) {
	counters := [...]*int64{
		Untried: &s.Untried, Accepted: &s.Accepted, Deferred: &s.Deferred, Refused: &s.Refused, Unknown: &s.Unknown,
	}
	for i := range outcomes {
		*counters[outcomes[i].State]++
	}
}

// countEnding adds a wire that has ended.
func (s *Stats) countEnding(e ending) {
	counters := [...]*int64{
		endCount: &s.EndedByCount, endAge: &s.EndedByAge, endIdle: &s.EndedByIdle,
		endServer: &s.EndedByServer, endFault: &s.EndedByFault,
	}
	if counters[e] != nil {
		*counters[e]++
	}
}
