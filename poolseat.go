package postrider

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/postrider/postrider/internal/pace"
	"github.com/postrider/postrider/internal/ring"
)

// Who gets which connection: members are the pool's connections, and a Send takes a
// seat in one before it gives its message to it.

// member is a connection of a pool. Guarded by Pool.mu.
type member struct {
	conn    *Connection
	at      *endpoint
	taken   int         // seats
	since   int         // how many messages its server had answered when it was asked to open a wire
	asked   time.Time   // when that was
	late    *time.Timer // looks again when it is late; nil: nobody waits for it before others
	opening bool
	leaving bool // it is being ended, to make room for a connection elsewhere
}

// active reports that it has, or may have, a wire.
func (m *member) active() bool { return m.taken > 0 || m.opening || m.leaving || m.conn.running.Load() }

// holdsWire reports that it has a wire, or is opening one: for those who sit in it,
// if not for those who wait.
func (m *member) holdsWire() bool { return m.opening || m.taken > 0 || m.conn.room.Load() > 0 }

// waiter is a Send that wants a seat.
type waiter struct {
	ready chan struct{} // it was answered; capacity 1
	met   []encounter   // where it was tried before

	carried int // transactions that it had before this seat

	// The answer, guarded by Pool.mu until ready has a token.
	seat     *member // nil again when it was given back
	mark     int     // of the limit that was in force when the seat was given
	err      *Error
	answered bool
}

// encounter is what a Send met at a server.
type encounter struct {
	at    *endpoint
	times int
	err   *Error
	final bool // no use in trying again
}

func (w *waiter) answer(m *member, err *Error) {
	w.seat, w.err, w.answered = m, err, true
	if m != nil {
		m.taken++
		w.mark = m.at.limit.Mark()
	}
	ring.Signal(w.ready)
}

func (w *waiter) encounter(e *endpoint) *encounter {
	for i := range w.met {
		if w.met[i].at == e {
			return &w.met[i]
		}
	}
	return nil
}

// maxEncounters is how often one Send is tried at one server.
const maxEncounters = 3

// mayTry reports that a Send may be tried at a server, as far as it met it before.
func (w *waiter) mayTry(e *endpoint) bool {
	met := w.encounter(e)
	return met == nil || !met.final && met.times < maxEncounters
}

// seat waits for a place on a connection, in the order of the calls; a Send that
// comes back goes before all others.
func (p *Pool) seat(ctx context.Context, w *waiter) (*member, *Error) {
	if err := p.refresh(ctx); err != nil {
		return nil, err
	}
	p.mu.Lock()
	if p.stage == poolBroken {
		p.mu.Unlock()
		return nil, closedError(p.String())
	}
	w.answered = false
	if len(w.met) > 0 {
		p.waiters.Unpop(w)
	} else {
		p.waiters.Push(w)
	}
	p.dispatchLocked()
	began := time.Now()
	waits := !w.answered
	if waits {
		p.stats.Waits++
	}
	p.unlock()
	if waits {
		select {
		case <-w.ready:
		case <-ctx.Done():
		}
		return p.leaveQueue(ctx, w, began)
	}
	<-w.ready
	return w.seat, w.err
}

// leaveQueue ends a wait, with a seat or because the context is done.
func (p *Pool) leaveQueue(ctx context.Context, w *waiter, began time.Time) (*member, *Error) {
	p.mu.Lock()
	defer p.unlock()
	p.stats.WaitTime += time.Since(began)
	if w.answered {
		select {
		case <-w.ready:
		default:
		}
		return w.seat, w.err
	}
	p.waiters.Remove(func(other *waiter) bool { return other == w })
	p.dispatchLocked() // whoever was behind it
	return nil, &Error{Stage: StageLocal, Step: StepSend, Address: p.String(), Err: context.Cause(ctx)}
}

// standLocked frees a Send's seat, if it has one.
func (p *Pool) standLocked(w *waiter) {
	m := w.seat
	if m == nil {
		return
	}
	w.seat = nil
	if m.taken--; m.taken == 0 && !m.leaving && !slices.Contains(p.endpoints, m.at) {
		p.retireLocked(m) // SRV records do not name its server any more
	}
}

// giveBack ends what a Send has of the pool: its place in the line, or a seat on which
// nothing was sent.
func (p *Pool) giveBack(w *waiter) {
	p.mu.Lock()
	defer p.unlock()
	p.waiters.Remove(func(other *waiter) bool { return other == w })
	p.standLocked(w)
	p.dispatchLocked()
}

// dispatchLocked gives seats to those who wait, in their order, as far as there are any.
func (p *Pool) dispatchLocked() {
	now := time.Now()
	for p.waiters.Len() > 0 {
		w := p.waiters.Front()
		m, possible := p.chooseLocked(w, now)
		switch {
		case m != nil:
			p.waiters.Pop().answer(m, nil)
		case !possible:
			p.waiters.Pop().answer(nil, p.allDownLocked(w, now))
		default:
			return
		}
	}
}

// chooseLocked finds a seat for a Send among the servers of the best priority that
// has one which is not down. Without a seat, possible tells whether there will be one.
func (p *Pool) chooseLocked(w *waiter, now time.Time) (m *member, possible bool) {
	for rest := p.endpoints; len(rest) > 0 && !possible; {
		n := 1
		for n < len(rest) && rest[n].priority == rest[0].priority {
			n++
		}
		if m, possible = p.chooseAmongLocked(rest[:n], w, now); m != nil {
			return m, true
		}
		rest = rest[n:]
	}
	return nil, possible
}

// patience is how long a Send whose turn it is at one of several servers waits for the
// first wire to it, before another one takes its turn.
const patience = time.Second

// maxCredit is how many turns of its own a server may have in hand, since it was full.
const maxCredit = 32

// chooseAmongLocked spreads over the servers of one priority by their weights: each
// gains its weight with every message, and the one that has most pays for it. One that
// is full, or late with its first wire, loses its turn to the next.
func (p *Pool) chooseAmongLocked(group []*endpoint, w *waiter, now time.Time) (m *member, possible bool) {
	if len(group) == 1 {
		return p.placeLocked(group[0], w, now)
	}
	order := slices.Clone(group)
	slices.SortStableFunc(order, func(a, b *endpoint) int { return b.gained + b.weight - a.gained - a.weight })
	for _, e := range order {
		var mayBe bool
		m, mayBe = p.placeLocked(e, w, now)
		possible = possible || mayBe
		if m != nil {
			p.payLocked(group, e, now)
			return m, true
		}
		if mayBe && p.awaitedLocked(e, now) {
			return nil, true
		}
	}
	return nil, possible
}

// payLocked settles a turn that e had. Servers that are down, or were not opened in
// time, gain nothing, so that they do not get everything when they come back.
func (p *Pool) payLocked(group []*endpoint, e *endpoint, now time.Time) {
	total := 0
	for _, other := range group {
		if other.health.At(now) == pace.Up && (other == e || p.inReachLocked(other, now)) {
			other.gained += other.weight
			total += other.weight
		}
	}
	e.gained -= total
	for _, other := range group {
		other.gained = min(other.gained, maxCredit*max(total, other.weight))
	}
}

// awaitedLocked reports that the first wire to a server is being opened, and is not late.
func (p *Pool) awaitedLocked(e *endpoint, now time.Time) bool {
	return !p.hasOpenWireLocked(e) && slices.ContainsFunc(p.members, func(m *member) bool {
		return m.at == e && m.opening && now.Before(m.asked.Add(patience))
	})
}

// inReachLocked reports that a server has a wire, or is not late with its first one.
func (p *Pool) inReachLocked(e *endpoint, now time.Time) bool {
	return p.hasOpenWireLocked(e) || p.awaitedLocked(e, now) ||
		!slices.ContainsFunc(p.members, func(m *member) bool { return m.at == e && m.opening })
}

func (p *Pool) hasOpenWireLocked(e *endpoint) bool {
	return slices.ContainsFunc(p.members, func(m *member) bool { return m.at == e && m.conn.room.Load() > 0 })
}

// placeLocked finds a seat at one server: on a wire that is not half full, or on any
// that has room, while another one is opened.
func (p *Pool) placeLocked(e *endpoint, w *waiter, now time.Time) (m *member, possible bool) {
	state := e.health.At(now)
	if state == pace.Down || !w.mayTry(e) {
		return nil, false
	}
	if m = e.freeLocked(p.members, func(room int) int { return max(1, room/2) }); m != nil {
		return m, true
	}
	if refused := e.loginRefused(); refused != nil && state == pace.Up && !p.hasWireLocked(e) {
		p.lockedOutLocked(e, refused) // the last wire that was let in is gone
		return nil, false
	}
	switch state {
	case pace.Up:
		for (p.openingLocked() < p.waiters.Len() || !p.hasWireLocked(e)) && p.connectLocked(e, e.limit.Now()) {
		}
	case pace.Probe:
		if p.connectLocked(e, 1) {
			e.health.Try()
		}
	}
	return e.freeLocked(p.members, func(room int) int { return room }), true
}

// freeLocked is a connection of the server that has a wire and less than its share of
// seats taken: the first, so that the last ones go idle, and the emptiest where the
// server limits their number, so that all that it allows are used.
func (e *endpoint) freeLocked(members []*member, share func(room int) int) (best *member) {
	spare := e.spareLocked(members)
	for _, m := range members {
		room := e.limit.Places(int(m.conn.room.Load()))
		switch {
		case m.at != e || m.leaving || room == 0 || m.taken >= share(room):
		case spare < 0 || spare == 0 && m.taken == 0:
		case !e.limit.Pressed():
			return m
		case best == nil || m.taken < best.taken:
			best = m
		}
	}
	return best
}

// spareLocked is how many of the server's open wires may be used beside those that are.
// Below 0 more are in use than the limit allows, since it fell: until they are drained,
// nobody is seated. A connection that waits for its next wire counts too, but leaves
// the others one at the least: its server may keep it waiting.
func (e *endpoint) spareLocked(members []*member) int {
	used, wireless := 0, 0
	for _, m := range members {
		switch {
		case m.at != e || m.taken == 0:
		case m.conn.room.Load() == 0:
			wireless++
		default:
			used++
		}
	}
	return max(1, e.limit.Now()-wireless) - used
}

// inUseLocked is how many of a server's connections have seats taken.
func (p *Pool) inUseLocked(e *endpoint) (n int) {
	for _, m := range p.members {
		if m.at == e && m.taken > 0 {
			n++
		}
	}
	return n
}

// hasWireLocked reports that a wire to a server is open or being opened.
func (p *Pool) hasWireLocked(e *endpoint) bool {
	return slices.ContainsFunc(p.members, func(m *member) bool { return m.at == e && m.holdsWire() })
}

func (p *Pool) openingLocked() (n int) {
	for _, m := range p.members {
		if m.opening {
			n++
		}
	}
	return n
}

// connectLocked lets a connection open a wire, if there may be one more; it reports
// whether. One that is idle at another server, which is not needed, is ended for that.
func (p *Pool) connectLocked(e *endpoint, limit int) bool {
	all, here := 0, 0
	var unused, idle *member
	for _, m := range p.members {
		resting := m.taken == 0 && !m.opening && !m.leaving // with a wire, between two, or without
		switch {
		case m.at == e && resting && m.conn.room.Load() == 0:
			unused = cmp.Or(unused, m)
		case !m.active():
		default:
			all++
			if m.at == e {
				here++
			} else if resting {
				idle = m
			}
		}
	}
	switch {
	case here >= limit || e.loginRefused() != nil:
		return false
	case here > 0 && e.logins != nil && !e.welcomed: // a wrong password must not be tried on each wire
		return false
	case all >= p.max:
		if idle != nil {
			p.retireLocked(idle)
		}
		return false
	case unused == nil:
		unused = p.newMemberLocked(e)
	}
	p.openLocked(unused)
	return true
}

// openLocked lets a connection open a wire. Where there are servers beside its own,
// those who wait for it are seated elsewhere when it is late.
func (p *Pool) openLocked(m *member) {
	m.opening, m.since, m.asked = true, m.at.served, time.Now()
	if len(p.endpoints) > 1 {
		m.late = time.AfterFunc(patience, func() {
			p.mu.Lock()
			defer p.unlock()
			p.dispatchLocked()
		})
	}
	m.conn.connect()
}

// newMemberLocked adds a connection. One that has no wire, at another server, goes
// for it, so that there are never more of them than may be open.
func (p *Pool) newMemberLocked(e *endpoint) *member {
	if len(p.members) >= p.max {
		// Fewer than max are active, as connectLocked has counted, so there is one that is not.
		if i := slices.IndexFunc(p.members, func(m *member) bool { return !m.active() }); i >= 0 {
			p.dropLocked(p.members[i])
		}
	}
	m := &member{conn: newConnection(e.server, &p.ids), at: e}
	m.conn.opened = func(err *Error) { p.opened(m, err) }
	p.members = append(p.members, m)
	return m
}

func (p *Pool) dropLocked(m *member) {
	p.past.add(m.conn.Stats())
	p.members = slices.DeleteFunc(p.members, func(other *member) bool { return other == m })
}

// retireReserveLocked ends idle connections beyond a limit that was too high all the
// same: they may be what the server counts.
func (p *Pool) retireReserveLocked(e *endpoint, limit int) {
	wires := 0
	for _, m := range slices.Clone(p.members) {
		if m.at != e || !m.active() || m.leaving {
			continue
		}
		if wires++; wires > limit && m.taken == 0 && !m.opening {
			p.retireLocked(m)
		}
	}
}

// retireLocked ends an idle connection, unless all are being ended.
func (p *Pool) retireLocked(m *member) {
	if p.stage >= poolLeaving {
		return
	}
	m.leaving = true
	p.work.Go(func() {
		ctx, cancel := context.WithTimeout(p.life, m.conn.timeouts.Quit)
		defer cancel()
		_ = m.conn.Quit(ctx)
		m.conn.Close()
		p.mu.Lock()
		defer p.unlock()
		p.dropLocked(m)
		p.dispatchLocked()
	})
}
