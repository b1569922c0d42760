package pace

import "time"

// Limit is how many connections one MTA gets at a time: never more than Max, one less for each signal that it has
// enough, and one more when it took that many messages gladly (the scheduler of Postfix's queue manager,
// SCHEDULER_README: additive increase, and a decrease with hysteresis).
//
// A signal that says nothing of numbers (a throttle reply) takes one away for a moment; Rate does the rest. A connection
// that is refused while others live says how many are allowed: that number is held for a while. After each hold the limit
// probes upwards, one at a time; a probe that fails makes the next hold twice as long.
type Limit struct {
	Max int // at least 1

	now       int // 0: not asked yet, which is Max
	successes int // since the limit changed
	deaf      int // results that are not listened to: they were underway when the limit last fell
	held      time.Time
	hold      time.Duration // of the last refused connection
}

const (
	firstHold = 10 * time.Second
	maxHold   = 5 * time.Minute
	moment    = 2 * time.Second
)

// Now is the limit in force.
func (l *Limit) Now() int {
	if l.now == 0 {
		l.now = max(1, l.Max)
	}
	return l.now
}

// Succeeded tells of a message that was answered without a signal.
func (l *Limit) Succeeded(t time.Time) {
	if l.deaf > 0 {
		l.deaf--
		return
	}
	if l.Now() >= l.Max || t.Before(l.held) {
		return
	}
	if l.successes++; l.successes >= l.now {
		l.now++
		l.successes = 0
		// Up again: if this was too much, the next result says so, and holds for longer.
		l.held = t.Add(l.hold / 10)
		if l.now == l.Max {
			l.hold = 0
		}
	}
}

// Throttled tells of a reply by which the MTA asks for less. Of the replies that were underway together only the
// first counts.
func (l *Limit) Throttled(t time.Time) {
	if l.deaf > 0 {
		l.deaf--
		return
	}
	l.deaf = l.Now() - 1
	l.now, l.successes = max(1, l.now-1), 0
	l.held = later(l.held, t.Add(moment))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Capped tells that the MTA refused a connection while n others lived.
func (l *Limit) Capped(n int, t time.Time) {
	if n >= l.Now() {
		return
	}
	l.now, l.successes = max(1, n), 0
	l.hold = min(max(firstHold, 2*l.hold), maxHold)
	l.held = t.Add(l.hold)
}
