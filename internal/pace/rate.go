package pace

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// Rate limits events a second: to as many as are allowed, and to fewer for a while after the MTA asked for it.
// A Rate is safe for concurrent use, and serves goroutines in the order of their calls.
type Rate struct {
	allowed rate.Limit // rate.Inf: no limit of our own
	slow    atomic.Bool

	limiter *rate.Limiter
	turn    chan struct{} // held by the goroutine that waits for the limiter; capacity 1

	mu      sync.Mutex
	current rate.Limit // in force; allowed, when it is not slow
	peak    rate.Limit // what the MTA took when it was slowed last
	changed time.Time
	calm    int // quiet seconds since the last throttle reply
	meter   meter
}

const (
	slowest  = rate.Limit(1) // a second: a server that wants less defers, and the sender tries again later
	quiet    = time.Second   // without a throttle reply before it goes faster
	oneBurst = quiet / 4     // after a throttle reply: further ones within this time count as the same
	faster   = 1.25          // up to nearly what the MTA has taken before
	gently   = 1.03          // beyond that; twice as much more for each quiet second
	fastest  = 2
)

// NewRate allows this many events a second, and burst of them at once. 0 a second is no limit; the burst is at least 1.
func NewRate(perSecond float64, burst int) *Rate {
	allowed := rate.Limit(perSecond)
	if perSecond <= 0 {
		allowed = rate.Inf
	}
	return &Rate{
		allowed: allowed, current: allowed,
		limiter: rate.NewLimiter(allowed, max(1, burst)), turn: make(chan struct{}, 1),
	}
}

// Limits reports whether Wait may wait at all.
func (r *Rate) Limits() bool { return r.allowed != rate.Inf || r.slow.Load() }

// Slowed reports whether the rate is lower than allowed, because the MTA asked for it.
func (r *Rate) Slowed() bool { return r.slow.Load() }

// Wait waits until n events may happen, or until ctx is done; n may be more than the burst. One at a time waits for the
// limiter, so that no goroutine waits for a time that was set before the rate rose.
func (r *Rate) Wait(ctx context.Context, n int) error {
	if !r.Limits() {
		return nil
	}
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if r.slow.Load() {
		r.speedUp()
	}
	if !r.Limits() {
		return nil
	}
	for burst := r.limiter.Burst(); n > 0; n -= burst {
		if err := r.limiter.WaitN(ctx, min(n, burst)); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return err // the deadline comes before the turn would
		}
	}
	return nil
}

// Passed counts n events that the MTA accepted.
func (r *Rate) Passed(n int) {
	r.mu.Lock()
	r.meter.add(time.Now(), n)
	r.mu.Unlock()
}

// Slow lowers the rate to a little less than what the MTA has accepted of late, because it asks for that. Replies that
// come together count once.
func (r *Rate) Slow() {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if r.slow.Load() && now.Sub(r.changed) < oneBurst {
		return
	}
	passed := r.meter.perSecond(now)
	if r.current == rate.Inf {
		r.current = max(passed, 1) // what is too much, as far as we know
	}
	r.peak = max(passed, slowest)
	// The measure is of a second or two, in which few may have passed by chance.
	r.current, r.changed = max(slowest, 0.7*r.current, 0.9*min(r.current, passed)), now
	r.calm = 0
	r.limiter.SetLimitAt(now, r.current)
	r.slow.Store(true)
}

// Current is how many events a second are let through now; 0 is no limit.
func (r *Rate) Current() float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.current == rate.Inf {
		return 0
	}
	return float64(r.current)
}

// speedUp raises the rate again, a step for each quiet second, and ends the slowing when the rate is above what was
// measured before.
func (r *Rate) speedUp() {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	for r.slow.Load() && now.Sub(r.changed) >= quiet {
		if r.current*faster < 0.9*r.peak {
			r.current *= faster
		} else {
			r.current *= min(fastest, 1+(gently-1)*rate.Limit(uint(1)<<min(r.calm, 16)))
			r.calm++
		}
		r.changed = r.changed.Add(quiet)
		if r.current >= r.allowed || r.allowed == rate.Inf && r.current >= 2*r.peak {
			r.slow.Store(false)
			r.current = r.allowed
		}
	}
	r.limiter.SetLimitAt(now, r.current)
}

// meter measures a rate over the last second or two.
type meter struct {
	since       time.Time // when this second began
	this, last  int
	lastElapsed time.Duration
}

func (m *meter) add(now time.Time, n int) {
	if m.since.IsZero() {
		m.since = now
	}
	if elapsed := now.Sub(m.since); elapsed >= time.Second {
		m.last, m.lastElapsed = m.this, min(elapsed, 2*time.Second)
		m.this, m.since = 0, now
	}
	m.this += n
}

func (m *meter) perSecond(now time.Time) rate.Limit {
	elapsed := now.Sub(m.since) + m.lastElapsed
	if elapsed > 10*time.Second {
		return 0
	}
	return rate.Limit(float64(m.this+m.last) / max(elapsed.Seconds(), 0.1))
}
