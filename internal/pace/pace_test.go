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
		l.Succeeded(l.Mark(), l.Now(), now.Add(firstHold-1))
	}
	if l.Now() != 3 {
		t.Errorf("%d while it is held", l.Now())
	}
	now = now.Add(firstHold)
	for range 3 {
		l.Succeeded(l.Mark(), l.Now(), now)
	}
	if l.Now() != 4 {
		t.Errorf("%d after three successes; it grows by one for as many as it is", l.Now())
	}
	// The probe fails: the next hold is twice as long.
	l.Capped(3, now)
	for range 100 {
		l.Succeeded(l.Mark(), l.Now(), now.Add(2*firstHold-1))
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
		l.Succeeded(l.Mark(), l.Now(), now)
		if l.Now() > 2 {
			t.Fatalf("%d of 2", l.Now())
		}
	}
	for range 50 {
		now = now.Add(time.Hour)
		l.Throttled(l.Mark(), Slower, now)
		l.Capped(0, now)
		if l.Now() < 1 {
			t.Fatal("no connection is left")
		}
	}
}

// Of the results of messages that were underway together one counts: those that went out
// before the limit fell tell nothing of the one in force, gladly taken ones neither.
func TestLimitHearsOneReplyOfThoseUnderway(t *testing.T) {
	l := Limit{Max: 8}
	mark := l.Mark()
	heard := 0
	for range 8 {
		if l.Throttled(mark, Fewer, start) {
			heard++
		}
	}
	if l.Now() != 7 || heard != 1 {
		t.Errorf("%d after 8 at a time, of which %d were heard", l.Now(), heard)
	}
	for range 100 {
		l.Succeeded(mark, l.Now(), start.Add(time.Minute))
	}
	if l.Now() != 7 {
		t.Errorf("%d by messages that are older than the limit", l.Now())
	}
}

// Signals without a success between them take 1, 2, 4 connections, and never more than
// half: from 20 to 3 it takes five of them, not seventeen.
func TestLimitFallsFasterWhileNothingSucceeds(t *testing.T) {
	l := Limit{Max: 20}
	for _, want := range []int{19, 17, 13, 7, 4, 2, 1, 1} {
		l.Throttled(l.Mark(), Slower, start)
		if l.Now() != want {
			t.Fatalf("%d; want %d", l.Now(), want)
		}
	}
	l = Limit{Max: 20}
	l.Throttled(l.Mark(), Slower, start)
	l.Throttled(l.Mark(), Slower, start)
	l.Succeeded(l.Mark(), l.Now(), start)
	if l.Throttled(l.Mark(), Slower, start); l.Now() != 16 {
		t.Errorf("%d behind a success; want 16", l.Now())
	}
}

// failedProbe lets a limit of 3 be tried with 4 as soon as it may, and fail; it gives how
// long that took.
func failedProbe(l *Limit, s Signal, now *time.Time) time.Duration {
	began := *now
	for l.Now() == 3 {
		l.Succeeded(l.Mark(), l.Now(), *now)
		*now = now.Add(time.Second / 10)
	}
	l.Throttled(l.Mark(), s, *now)
	return now.Sub(began).Truncate(time.Second)
}

// A limit that fails again and again is held for longer, if it is about what is underway;
// a reply that may be about the rate takes connections away for a moment only.
func TestLimitIsHeldLongerEachTimeAProbeFails(t *testing.T) {
	for _, tt := range []struct {
		signal Signal
		want   []time.Duration
	}{{Fewer, []time.Duration{2, 4, 8, 16, 32, 60, 60}}, {Slower, []time.Duration{2, 2, 2}}} {
		l := Limit{Max: 4}
		now := start
		l.Throttled(l.Mark(), tt.signal, now)
		for i, want := range tt.want {
			if got := failedProbe(&l, tt.signal, &now); got != want*time.Second {
				t.Errorf("signal %v: probe %d came after %v; want %v", tt.signal, i+1, got, want*time.Second)
			}
		}
	}
}

// When more than one connection was won, the MTA takes more: holds are short again.
func TestLimitForgetsHoldsWhenTheMTATakesMore(t *testing.T) {
	l := Limit{Max: 5}
	now := start
	l.Throttled(l.Mark(), Fewer, now)
	l.Throttled(l.Mark(), Fewer, now)
	l.Throttled(l.Mark(), Fewer, now)
	for l.Now() < 4 {
		l.Succeeded(l.Mark(), l.Now(), now)
		now = now.Add(time.Second / 10)
	}
	l.Throttled(l.Mark(), Fewer, now)
	for _, want := range []time.Duration{2, 4} {
		if got := failedProbe(&l, Fewer, &now); got != want*time.Second {
			t.Errorf("probed after %v; want %v", got, want*time.Second)
		}
	}
}

// After a throttle reply few messages are on each connection, and one only if a single
// connection was too much; each round of successes doubles them.
func TestLimitNarrowsConnections(t *testing.T) {
	l := Limit{Max: 2}
	if l.Places(64) != 64 {
		t.Errorf("%d places before anything happened", l.Places(64))
	}
	l.Throttled(l.Mark(), Fewer, start)
	if l.Places(64) != 2 || l.Places(1) != 1 {
		t.Errorf("%d and %d places", l.Places(64), l.Places(1))
	}
	l.Throttled(l.Mark(), Fewer, start)
	for _, want := range []int{1, 2, 4, 8} {
		if l.Places(64) != want {
			t.Errorf("%d places; want %d", l.Places(64), want)
		}
		for range want {
			l.Succeeded(l.Mark(), l.Now(), start)
		}
	}
	for range 10_000 {
		l.Succeeded(l.Mark(), l.Now(), start)
	}
	if l.Places(5000) != 5000 {
		t.Errorf("%d places of 5000 after a long calm", l.Places(5000))
	}
}

// Connections that are refused together tell one thing, and lengthen the hold once.
func TestLimitHoldsOnceForRefusalsTogether(t *testing.T) {
	l := Limit{Max: 20}
	for n := 19; n >= 3; n-- {
		l.Capped(n, start)
	}
	now := start.Add(firstHold)
	for range 3 {
		l.Succeeded(l.Mark(), l.Now(), now)
	}
	if l.Now() != 4 {
		t.Errorf("%d when the first hold is over", l.Now())
	}
}

// When it is up at the maximum for good, the next trouble is a first one again.
func TestLimitForgetsLongHolds(t *testing.T) {
	l := Limit{Max: 2}
	now := start
	for range 5 {
		l.Capped(1, now)
		now = now.Add(maxHold)
		l.Succeeded(l.Mark(), l.Now(), now)
	}
	if l.Now() != 2 {
		t.Fatalf("%d", l.Now())
	}
	l.Capped(1, now)
	l.Succeeded(l.Mark(), l.Now(), now.Add(firstHold))
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
		if err := r.Wait(t.Context(), 20); err != nil ||
			time.Since(begin).Round(time.Millisecond) != 6500*time.Millisecond {
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

func TestJitterTakesAtMostATenth(t *testing.T) {
	for _, most := range []time.Duration{-1, 0, 9} {
		if got := Jitter(most); got != most {
			t.Errorf("%d became %d", most, got)
		}
	}
	seen := map[int]bool{}
	for range 1000 {
		n := Jitter(100)
		seen[n] = true
		if n < 90 || n > 100 {
			t.Fatalf("100 became %d", n)
		}
	}
	if len(seen) < 2 {
		t.Error("it is always the same")
	}
}
