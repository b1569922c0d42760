package main

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/mailing"
)

// tally counts what became of recipients while a mailing is sent.
type tally struct {
	start time.Time
	total int

	mu     sync.Mutex
	states map[int]postrider.State // of those whose last outcome is not Accepted, by place
	counts [postrider.Unknown + 1]int
	sends  int // without those that left everybody untried: they came to no server
}

// add enters an attempt. Who is tried again is counted once, by the last outcome.
func (t *tally) add(a *mailing.Attempt) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.states == nil {
		t.states = map[int]postrider.State{}
	}
	if a.Result.Count(postrider.Untried) < len(a.Result.Outcomes) {
		t.sends++
	}
	for i := range a.Result.Outcomes {
		at, s := a.Index[i], a.Result.Outcomes[i].State
		if before, again := t.states[at]; again {
			t.counts[before]--
			delete(t.states, at)
		}
		t.counts[s]++
		if s != postrider.Accepted {
			t.states[at] = s
		}
	}
}

// follow shows how far it is: on a terminal a line that is written over, four times a
// second; elsewhere a line of its own, every ten seconds.
func (t *tally) follow(std streams, total int) (wipe func()) {
	t.start, t.total = time.Now(), total
	pace, before, after, last := 10*time.Second, "postrider: ", "\n", ""
	if terminal(std.err) {
		pace, before, after, last = 250*time.Millisecond, "\r\x1b[K", "", "\r\x1b[K"
	}
	ticker, done, gone := time.NewTicker(pace), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		for {
			select {
			case <-ticker.C:
				fmt.Fprint(std.err, before, t.line(time.Since(t.start)), after)
			case <-done:
				fmt.Fprint(std.err, last)
				return
			}
		}
	}()
	return func() { ticker.Stop(); close(done); <-gone }
}

// line is how far it is after so long.
func (t *tally) line(passed time.Duration) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, c := range t.counts {
		n += c
	}
	perSecond := float64(n) / passed.Seconds()
	const width = 20
	filled := width * n / max(1, t.total)
	b := fmt.Sprintf("[%s%s] %d of %d, %.0f a second", strings.Repeat("#", filled), strings.Repeat("-", width-filled), n, t.total, perSecond)
	if left := t.total - n; left > 0 && n > 0 {
		b += fmt.Sprintf(", %v left", time.Duration(float64(left)/perSecond*float64(time.Second)).Round(time.Second))
	}
	return b + fmt.Sprintf("; accepted %d, deferred %d, refused %d, untried %d, unknown %d", t.counts[postrider.Accepted],
		t.counts[postrider.Deferred], t.counts[postrider.Refused], t.counts[postrider.Untried], t.counts[postrider.Unknown])
}
