package pace

import "time"

// Limit is how many connections one MTA gets at a time, and how many messages each of them: never more than Max
// connections, fewer after each signal that it has enough, and one more when it took as many messages as there are
// connections gladly (the scheduler of Postfix's queue manager, SCHEDULER_README: additive increase, and a decrease
// with hysteresis).
//
// A throttle reply does not say how many connections are too many. The first takes one away, and each that follows
// without a success between twice as many as the one before, up to half. It also takes away all but a few of the
// messages that may wait on each connection, so that the next result soon shows the effect of the new limit; that
// number doubles with each round of successes. A connection that is refused while others are open shows how many are
// allowed: that number is held for a while. After each hold the limit probes upwards, one at a time; a probe that fails
// makes the next hold twice as long.
type Limit struct {
	Max int // at least 1

	now       int // 0: not asked yet, which is Max
	changes   int // how often it fell by throttle replies, or was raised
	fell      int // which of them was the last fall
	step      int // how many connections the last fall took, if nothing has succeeded since
	successes int // since the limit changed
	raised    int // how often it was raised since it fell
	raisedAt  time.Time

	places int // messages that a connection gets at a time; 0: as many as it can carry
	gladly int // successes since places changed

	held      time.Time
	hold      time.Duration // of the last refused connection
	tightened time.Duration // of the last Fewer
}

// Signal is what a throttle reply asks for.
type Signal int

// Slower may be about the rate as well as about connections: the limit falls for a moment, and Rate does the rest.
// Fewer is about what is underway: a limit that fails again is held for longer.
const (
	Slower Signal = iota
	Fewer
)

const (
	firstHold  = 10 * time.Second
	maxHold    = 5 * time.Minute
	moment     = 2 * time.Second
	maxMoment  = time.Minute
	fewPlaces  = 2    // one that is answered, and one behind it
	manyPlaces = 1024 // no connection can carry more
)

// Now is the limit in force.
func (l *Limit) Now() int {
	if l.now == 0 {
		l.now = max(1, l.Max)
	}
	return l.now
}

// Places is how many messages a connection gets at a time, if it can carry that many.
func (l *Limit) Places(most int) int {
	if l.places == 0 {
		return most
	}
	return min(l.places, most)
}

// Mark belongs to a message that is handed over now. The limit listens only to results of messages that were handed
// over since it last fell, and is raised only by those since it last changed: the others were under a limit that is no
// longer in force.
func (l *Limit) Mark() int { return l.changes }

// Pressed reports whether the MTA gets fewer connections than it might.
func (l *Limit) Pressed() bool { return l.Now() < l.Max }

// Succeeded takes account of a message that was answered without a signal, while this many connections were in use. A
// limit that is not reached is not raised: nothing was tried.
func (l *Limit) Succeeded(mark, used int, t time.Time) {
	if mark < l.fell {
		return
	}
	l.step = 0
	if l.places > 0 {
		l.widen()
	}
	if !l.Pressed() || used < l.now || mark != l.changes || t.Before(l.held) {
		return
	}
	if l.successes++; l.successes >= l.now {
		l.now++
		l.raised++
		l.changes++
		l.successes, l.raisedAt = 0, t
		l.places, l.gladly = fewPlaces, 0 // the fewer are refused if it is too much
		// Up again: if this was too much, the next result says so, and holds for longer.
		l.held = t.Add(l.hold / 10)
		if l.now == l.Max {
			l.hold = 0
		}
	}
}

// widen lets more messages wait on each connection, when each has taken as many as it gets.
func (l *Limit) widen() {
	if l.gladly++; l.gladly < l.places*l.Now() {
		return
	}
	l.gladly = 0
	if l.places *= 2; l.places > manyPlaces {
		l.places = 0
	}
}

// Throttled takes account of a reply by which the MTA asks for less; it reports whether the reply counted. Of the
// replies to messages that were underway together only the first counts.
func (l *Limit) Throttled(mark int, s Signal, t time.Time) (heard bool) {
	if mark < l.fell {
		return false
	}
	was := l.Now()
	l.step = max(1, min(2*l.step, was/2))
	l.now = max(1, was-l.step)
	l.changes++
	l.fell = l.changes
	l.successes, l.gladly = 0, 0
	l.places = fewPlaces
	if was == 1 {
		l.places = 1 // even one connection carries too much
	}
	l.held = later(l.held, t.Add(l.pause(s, t)))
	l.raised = 0
	return true
}

// pause is how long the limit stays after a throttle reply.
func (l *Limit) pause(s Signal, t time.Time) time.Duration {
	if s == Slower {
		return moment
	}
	switch failed := l.raised == 1 && t.Before(l.raisedAt.Add(l.tightened)); {
	case failed:
		l.tightened = min(2*l.tightened, maxMoment)
	case l.raised > 0 || l.tightened == 0: // it was right to raise it
		l.tightened = moment
	}
	return l.tightened
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Capped takes account of a connection that the MTA refused while n others were open. Of several that were tried
// together only the first makes the hold longer.
func (l *Limit) Capped(n int, t time.Time) {
	if n >= l.Now() {
		return
	}
	if l.hold == 0 || l.raised > 0 || !t.Before(l.held) {
		l.hold = min(max(firstHold, 2*l.hold), maxHold)
	}
	l.now, l.successes, l.raised = max(1, n), 0, 0
	l.held = t.Add(l.hold)
}
