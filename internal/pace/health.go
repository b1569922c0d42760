package pace

import "time"

// Health is whether an MTA can be used at all. A failure of the host takes it down, for longer each time; when that
// time is over, one connection tries it (half open), and its result decides.
type Health struct {
	down     bool
	probing  bool
	until    time.Time
	failures int // in a row
}

// State is whether an MTA can be used.
type State int

// The states of an MTA.
const (
	Up      State = iota
	Down          // not to be asked before Until
	Probe         // down for long enough: one may try
	Probing       // one is trying
)

const (
	firstRest = time.Second
	maxRest   = time.Minute
)

// At returns the state at a time.
func (h *Health) At(t time.Time) State {
	switch {
	case !h.down:
		return Up
	case h.probing:
		return Probing
	case t.Before(h.until):
		return Down
	}
	return Probe
}

// Until is when an MTA that is down may be tried again.
func (h *Health) Until() time.Time { return h.until }

// Try marks that an MTA in state Probe is being tried.
func (h *Health) Try() { h.probing = h.down }

// GaveUp ends a try that brought no result: its caller went away.
func (h *Health) GaveUp() { h.probing = false }

// Succeeded brings the MTA up; it reports whether it was down.
func (h *Health) Succeeded() (wasDown bool) {
	wasDown = h.down
	*h = Health{}
	return wasDown
}

// Failed takes the MTA down, or leaves it there, for a time that doubles with each failure in a row: 1 s to 1 minute,
// times jitter, which lies between 0 and 1 and takes up to half of it away, so that many clients do not come back at
// once. Failures that were underway together count once.
func (h *Health) Failed(t time.Time, jitter float64) {
	if h.down && !h.probing && t.Before(h.until) {
		return
	}
	rest := maxRest
	if h.failures < 6 {
		rest = firstRest << h.failures
	}
	h.failures++
	h.rest(t.Add(rest - time.Duration(jitter*float64(rest)/2)))
}

// FailedUntil takes the MTA down until a time that the caller sets.
func (h *Health) FailedUntil(until time.Time) { h.rest(until) }

func (h *Health) rest(until time.Time) {
	h.down, h.probing, h.until = true, false, until
}
