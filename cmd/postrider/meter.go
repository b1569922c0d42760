package main

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/postrider/postrider"
)

// meter is what a load test measures.
type meter struct {
	sizes map[*postrider.Message]size // of all that may come

	mu       sync.Mutex
	latency  *hdrhistogram.Histogram // nanoseconds
	messages int64
	octets   int64 // of messages that were accepted for anybody
	first    time.Duration
	groups   map[verdict]*group
	err      error // the first that left recipients without a verdict
}

// verdict is what recipients may have in common.
type verdict struct {
	state postrider.State
	stage postrider.Stage
}

// group is the recipients with one verdict.
type group struct {
	count   int64
	outcome postrider.Outcome // of the first of them
}

// longest is the longest Send that is told from a longer one.
const longest = 24 * time.Hour

// newMeter measures to three digits, which takes a quarter of a megabyte however
// many messages there are.
func newMeter() *meter {
	return &meter{
		sizes:   map[*postrider.Message]size{},
		latency: hdrhistogram.New(1, int64(longest), 3),
		groups:  map[verdict]*group{},
	}
}

// record enters a message.
func (m *meter) record(took time.Duration, r *postrider.Result, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.messages++; m.messages == 1 {
		m.first = took
	}
	// Within its bounds the histogram takes every value.
	_ = m.latency.RecordValue(int64(min(took, longest)))
	var accepted, undecided bool
	for _, o := range r.Outcomes {
		v := verdict{o.State, o.Stage}
		if m.groups[v] == nil {
			m.groups[v] = &group{outcome: o}
		}
		m.groups[v].count++
		accepted = accepted || o.State == postrider.Accepted
		undecided = undecided || o.State == postrider.Untried || o.State == postrider.Unknown
	}
	if accepted {
		m.octets += int64(m.sizes[r.Message])
	}
	if undecided && m.err == nil {
		m.err = err
	}
}

func (m *meter) count() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.messages
}

// verdicts returns the kinds of outcomes, the good ones first.
func (m *meter) verdicts() []verdict {
	var all []verdict
	for v := range m.groups {
		all = append(all, v)
	}
	slices.SortFunc(all, func(a, b verdict) int {
		if good := a.state == postrider.Accepted; good != (b.state == postrider.Accepted) {
			if good {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(a.state, b.state), cmp.Compare(a.stage, b.stage))
	})
	return all
}

// result is all messages as one, with a recipient for each verdict: enough to tell
// the exit status. It is nil if there were none.
func (m *meter) result() *postrider.Result {
	if m.messages == 0 {
		return nil
	}
	r := &postrider.Result{}
	for _, v := range m.verdicts() {
		r.Outcomes = append(r.Outcomes, m.groups[v].outcome)
	}
	return r
}

// recipients is how many have the state.
func (m *meter) recipients(s postrider.State) (n int64) {
	for v, g := range m.groups {
		if v.state == s {
			n += g.count
		}
	}
	return n
}
