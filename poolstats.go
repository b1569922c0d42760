package postrider

import (
	"time"

	"github.com/postrider/postrider/internal/pace"
)

// PoolStats is a snapshot of what a pool has done so far.
type PoolStats struct {
	// Stats are the sums over all connections, those that are gone included. Open
	// says that at least one wire is open; Queued counts the Sends that wait for a
	// place. The recipients' counts are those of [Pool.Send], where each recipient is in exactly one.
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
	Limit       int       // connections that it gets at the most, as things are
	Down        bool      // it is left alone
	Until       time.Time // if it is down: when it is tried again
	Reason      error     // if it is down: what happened
}

// Stats gives a snapshot of the pool's counters.
func (p *Pool) Stats() PoolStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	counts := s.Stats
	s.Stats = p.past
	s.MessageRate = p.messages.Current()
	now := time.Now()
	for _, e := range p.endpoints {
		one := ServerStats{Address: e.name, Limit: e.limit.Now()}
		if e.health.At(now) != pace.Up {
			one.Down, one.Until = true, e.health.Until()
			if e.err != nil {
				one.Reason = e.err
			}
		}
		s.Servers = append(s.Servers, one)
	}
	for _, m := range p.members {
		s.Stats.add(m.conn.Stats())
		if !m.conn.running.Load() {
			continue
		}
		s.Connections++
		for i, e := range p.endpoints {
			if e == m.at {
				s.Servers[i].Connections++
			}
		}
	}
	s.Queued = p.waiters.Len()
	s.Accepted, s.Deferred, s.Refused, s.Untried, s.Unknown = counts.Accepted, counts.Deferred, counts.Refused, counts.Untried, counts.Unknown
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

// What happens in a pool is told to the Trace and the Logger of the server that it
// happened to, once Pool.mu is free.

func (p *Pool) tellDownLocked(e *endpoint) {
	until, reason := e.health.Until(), e.err
	p.told = append(p.told, func() {
		if t := e.cfg.Trace; t != nil && t.ServerDown != nil {
			t.ServerDown(e.name, until, reason)
		}
		e.log().Warn("server is down", "until", until, "reason", reason.Error())
	})
}

func (p *Pool) tellUpLocked(e *endpoint) {
	p.told = append(p.told, func() {
		if t := e.cfg.Trace; t != nil && t.ServerUp != nil {
			t.ServerUp(e.name)
		}
		e.log().Info("server is up again")
	})
}

func (p *Pool) tellLimitLocked(e *endpoint, before int) {
	now := e.limit.Now()
	if now == before {
		return
	}
	p.told = append(p.told, func() {
		if t := e.cfg.Trace; t != nil && t.LimitChanged != nil {
			t.LimitChanged(e.name, now)
		}
		e.log().Info("connection limit changed", "connections", now)
	})
}
