package pace

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func TestLimitHoldsWhatACapSaysAndProbesUpwards(t *testing.T) {
	l := Limit{Max: 8}
	now := start
	l.Capped(3, now)
	if l.Now() != 3 {
		t.Fatalf("%d after a cap of 3", l.Now())
	}
	for range 100 {
		l.Succeeded(now.Add(firstHold - 1))
	}
	if l.Now() != 3 {
		t.Errorf("%d while it is held", l.Now())
	}
	now = now.Add(firstHold)
	for range 3 {
		l.Succeeded(now)
	}
	if l.Now() != 4 {
		t.Errorf("%d after three successes; it grows by one for as many as it is", l.Now())
	}
	// The probe fails: the next hold is twice as long.
	l.Capped(3, now)
	for range 100 {
		l.Succeeded(now.Add(2*firstHold - 1))
	}
	if l.Now() != 3 {
		t.Errorf("%d: the second hold is as short as the first", l.Now())
	}
}

func TestLimitNeverExceedsMaxNorFallsBelowOne(t *testing.T) {
	l := Limit{Max: 2}
	now := start
	for range 50 {
		now = now.Add(time.Hour)
		l.Succeeded(now)
		if l.Now() > 2 {
			t.Fatalf("%d of 2", l.Now())
		}
	}
	for range 50 {
		now = now.Add(time.Hour)
		l.Throttled(now)
		l.Capped(0, now)
		if l.Now() < 1 {
			t.Fatal("no connection is left")
		}
	}
}

// Of the replies that were underway together one counts: the limit is not halved by
// the window that was sent before it fell.
func TestLimitHearsOneThrottleReplyOfAWindow(t *testing.T) {
	l := Limit{Max: 8}
	for range 8 {
		l.Throttled(start)
	}
	if l.Now() != 7 {
		t.Errorf("%d after one window of 8", l.Now())
	}
	l.Throttled(start)
	if l.Now() != 6 {
		t.Errorf("%d after the next", l.Now())
	}
}

// When it is up at the maximum for good, the next trouble is a first one again.
func TestLimitForgetsLongHolds(t *testing.T) {
	l := Limit{Max: 2}
	now := start
	for range 5 {
		l.Capped(1, now)
		now = now.Add(maxHold)
		l.Succeeded(now)
	}
	if l.Now() != 2 {
		t.Fatalf("%d", l.Now())
	}
	l.Capped(1, now)
	l.Succeeded(now.Add(firstHold))
	if l.Now() != 2 {
		t.Error("the first hold of a new trouble is a long one")
	}
}

func TestHealthRestsLongerEachTime(t *testing.T) {
	var h Health
	now := start
	if h.At(now) != Up {
		t.Fatal("not up at first")
	}
	for _, rest := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
		rest *= time.Second
		h.Failed(now, 0)
		if h.At(now.Add(rest-1)) != Down || h.At(now.Add(rest)) != Probe {
			t.Errorf("it does not rest for %v, but until %v", rest, h.Until().Sub(now))
		}
		now = now.Add(rest)
		h.Try()
		if h.At(now) != Probing {
			t.Error("a second one may try")
		}
	}
	if !h.Succeeded() || h.At(now) != Up || h.Succeeded() {
		t.Error("a success does not bring it up once")
	}
	h.Failed(now, 1)
	if got := h.Until().Sub(now); got != time.Second/2 {
		t.Errorf("with all jitter %v, the first again", got)
	}
}

func TestHealthFailuresTogetherCountOnce(t *testing.T) {
	var h Health
	for range 10 {
		h.Failed(start, 0)
	}
	if got := h.Until().Sub(start); got != time.Second {
		t.Errorf("%v", got)
	}
}

// The exact times of a token bucket: a burst at once, then one each tenth of a second.
func TestRateIsExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRate(10, 5)
		begin := time.Now()
		for i := range 50 {
			if err := r.Wait(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			want := time.Duration(max(0, i-4)) * time.Second / 10
			if got := time.Since(begin).Round(time.Millisecond); got != want {
				t.Fatalf("event %d came after %v; want %v", i, got, want)
			}
		}
		if err := r.Wait(t.Context(), 20); err != nil || time.Since(begin).Round(time.Millisecond) != 6500*time.Millisecond {
			t.Errorf("20 more than the burst: %v after %v", err, time.Since(begin))
		}
	})
}

func TestRateEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRate(1.0/60, 1)
		r.Wait(t.Context(), 1)
		ctx, cancel := context.WithCancelCause(t.Context())
		go func() {
			time.Sleep(time.Second)
			cancel(context.Canceled)
		}()
		if err := r.Wait(ctx, 1); err != context.Canceled {
			t.Error(err)
		}
	})
}

// A throttle reply takes it below what was passed; a quiet time brings it back to no limit.
func TestRateSlowsAndRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRate(0, 0)
		for range 300 {
			r.Wait(t.Context(), 1)
			r.Passed(1)
			time.Sleep(time.Second / 100)
		}
		r.Slow()
		if got := r.Current(); got < 85 || got > 92 {
			t.Fatalf("%v a second after 100 a second were passed", got)
		}
		r.Slow() // of the same time
		if got := r.Current(); got < 85 {
			t.Errorf("%v after the same reply twice", got)
		}
		begin := time.Now()
		for n := 0; r.Current() != 0; n++ {
			r.Wait(t.Context(), 1)
			if time.Since(begin) > time.Minute {
				t.Fatalf("still %v a second", r.Current())
			}
		}
		if took := time.Since(begin); took < 4*time.Second {
			t.Errorf("it recovered within %v", took)
		}
	})
}

func TestRateRecoversToWhatIsAllowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRate(10, 1)
		for range 30 {
			r.Wait(t.Context(), 1)
			r.Passed(1)
		}
		r.Slow()
		if got := r.Current(); got > 9 {
			t.Errorf("%v", got)
		}
		time.Sleep(time.Minute)
		r.Wait(t.Context(), 1)
		if got := r.Current(); got != 10 {
			t.Errorf("%v after a quiet minute", got)
		}
	})
}

// A throttle reply in a second in which nothing passed says nothing of what could have.
func TestRateDoesNotCollapse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRate(100, 1)
		r.Wait(t.Context(), 1)
		time.Sleep(time.Minute)
		r.Slow()
		if got := r.Current(); got < 70 {
			t.Errorf("from 100 to %v at once", got)
		}
	})
}
