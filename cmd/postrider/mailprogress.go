package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/mailing"
)

// tally counts what became of recipients while a mailing is sent.
type tally struct {
	mu     sync.Mutex
	states map[int]postrider.State // of those whose last outcome is not Accepted, by place
	counts [postrider.Unknown + 1]int
	sends  int // without those that left every recipient untried: they reached no server
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

// follow shows how far it is, of total recipients: where there is no terminal in a line every ten seconds.
func (t *tally) follow(w io.Writer, total int) (wipe func()) {
	p := newProgress(w)
	p.every = 10 * time.Second
	return p.follow(func(passed time.Duration) string { return t.line(total, passed) })
}

// line is how far it is, of total recipients, when this much time has passed.
func (t *tally) line(total int, passed time.Duration) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, c := range t.counts {
		n += c
	}
	perSecond := float64(n) / passed.Seconds()
	b := fmt.Sprintf("%s %d of %d, %.0f a second", bar(n, total), n, total, perSecond)
	if left := total - n; left > 0 && n > 0 {
		b += fmt.Sprintf(", %v left", time.Duration(float64(left)/perSecond*float64(time.Second)).Round(time.Second))
	}
	return b + fmt.Sprintf("; accepted %d, deferred %d, refused %d, untried %d, unknown %d",
		t.counts[postrider.Accepted], t.counts[postrider.Deferred], t.counts[postrider.Refused],
		t.counts[postrider.Untried], t.counts[postrider.Unknown])
}
