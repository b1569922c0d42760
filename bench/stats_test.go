package main

import (
	"bytes"
	"math"
	"strings"
	"testing"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{
		{[]float64{7}, 7},
		{[]float64{9, 1, 5}, 5},
		{[]float64{4, 1, 3, 2}, 2.5},
		{[]float64{1000, 1, 2, 3, 0}, 2},
	} {
		if got := median(c.values); got != c.want {
			t.Errorf("median(%v) = %v, want %v", c.values, got, c.want)
		}
	}
	if got := median(nil); !math.IsNaN(got) {
		t.Errorf("the median of nothing is %v", got)
	}
	values := []float64{3, 1, 2}
	median(values)
	if values[0] != 3 {
		t.Error("median has sorted its argument")
	}
}

// run is a run of a second.
func run1(messages int) *sample { return &sample{tally: tally{Messages: messages, Seconds: 1}} }

// A machine that is slower in some rounds is so for both: it does not move the
// ratio, though the ratio of the medians would be 2000/100.
func TestRatioIsWithinRounds(t *testing.T) {
	ours := rounds{run1(1000), run1(2000), run1(4000)}
	peer := rounds{run1(100), run1(50), run1(400)}
	if got := ratio(ours, peer, (*sample).rate); got != 10 {
		t.Errorf("ratio = %v, want 10, the median of 10, 40 and 10", got)
	}
}

func TestRatioLeavesOutFailures(t *testing.T) {
	ours := rounds{run1(1000), nil, run1(3000)}
	peer := rounds{nil, run1(1), run1(1000)}
	if got := ratio(ours, peer, (*sample).rate); got != 3 {
		t.Errorf("ratio = %v, want 3, that of the one round in which both ran", got)
	}
	if got := ratio(ours, rounds{nil, nil, nil}, (*sample).rate); !math.IsNaN(got) {
		t.Errorf("ratio to nothing = %v", got)
	}
}

func TestMetrics(t *testing.T) {
	s := &sample{tally{Messages: 50, Seconds: 2, CPU: 0.5}, 0.020, 0}
	if s.rate() != 25 || s.cpu() != 0.01 || math.Abs(s.trips()-2) > 1e-9 {
		t.Errorf("rate %v, CPU %v, round trips %v; want 25, 0.01, 2", s.rate(), s.cpu(), s.trips())
	}
}

// The heap is measured in one round only, and the worst counts.
func TestHeap(t *testing.T) {
	r := rounds{{tally: tally{Heap: 3}}, nil, {tally: tally{Heap: 5}}, {}}
	if got := r.heap(); got != 5 {
		t.Errorf("heap = %v, want 5", got)
	}
	if got := (rounds{{}, nil}).heap(); !math.IsNaN(got) {
		t.Errorf("heap = %v where none was measured", got)
	}
}

func TestShort(t *testing.T) {
	for x, want := range map[float64]string{
		0.0163: "0.016", 1.054: "1.05", 9.994: "9.99", 12.34: "12.3", 99.96: "100", 317.4: "317", 5541: "5541",
		9999.6: "10k", 310_600: "311k", 999_600: "1M", 2_345_000: "2.35M", math.NaN(): "–", math.Inf(1): "∞",
	} {
		if got := short(x); got != want {
			t.Errorf("short(%v) = %q, want %q", x, got, want)
		}
	}
}

func TestTable(t *testing.T) {
	tab := &table{}
	tab.add("client", "×")
	tab.add("Send×64", "1.5")
	tab.add("a", "12345")
	var b bytes.Buffer
	tab.write(&b)
	want := `
| client  |     × |
| ------- | ----: |
| Send×64 |   1.5 |
| a       | 12345 |
`
	if got := "\n" + b.String(); got != want {
		t.Errorf("got%s\nwant%s", got, want)
	}
}

func TestGoals(t *testing.T) {
	least, most := &goal{limit: 20}, &goal{limit: 0.05, atMost: true}
	for _, c := range []struct {
		g    *goal
		x    float64
		want string
	}{
		{least, 20, "reached"}, {least, 31, "reached"}, {least, 19.9, "**not reached**"},
		{most, 0.05, "reached"}, {most, 0.02, "reached"}, {most, 0.06, "**not reached**"},
		{least, math.NaN(), "not measured"}, {most, math.NaN(), "not measured"},
	} {
		if got := c.g.reached(c.x); got != c.want {
			t.Errorf("%v for a goal of %v (at most: %v) is %q, want %q", c.x, c.g.limit, c.g.atMost, got, c.want)
		}
	}
}

// The best Go peer is another one each time; other languages are not asked.
func TestGoalAgainstTheBestPeer(t *testing.T) {
	b := &bench{}
	b.prepare()
	r := &result{runs: map[string]rounds{
		"SendAll/chunking": {run1(4000)}, "net/smtp": {run1(50)}, "go-smtp": {run1(100)}, "smtplib": {run1(1000)},
	}}
	r.clients = []string{"SendAll/chunking", "net/smtp", "go-smtp", "smtplib"}
	g := b.best("S1", "SendAll/chunking", 20)
	if got := g.measured(r); got != 40 {
		t.Errorf("measured %v, want 40", got)
	}
}

// Every goal names rows that exist, in the quick tables too: a goal about nothing
// would never be missed.
func TestGoalsAreMeasured(t *testing.T) {
	b := &bench{}
	b.prepare()
	byName := map[string]scenario{}
	for _, s := range allScenarios() {
		for _, name := range s.clients {
			if b.clients[name] == nil {
				t.Errorf("%s has a row %q, and there is no such client", s.name, name)
			}
		}
		if s.quick != nil {
			s.clients = s.quick
		}
		byName[s.name] = s
	}
	for _, g := range b.goals() {
		r := &result{scenario: byName[g.scenario], runs: map[string]rounds{}}
		if g.scenario == "S7r" && g.who == "Send×64/chunking" {
			continue // takes too long for it
		}
		for _, name := range r.clients {
			one := run1(1)
			one.CPU, one.Heap, one.roundTrip = 1, 1, 1
			r.runs[name] = rounds{one}
		}
		if x := g.measured(r); math.IsNaN(x) {
			t.Errorf("%s %s %s is not measured by --quick", g.scenario, g.who, g.what)
		}
	}
}

func TestText(t *testing.T) {
	for _, size := range []int{kib, 4 * kib, 100 * kib, mib} {
		j := &job{Size: size, Recipients: 2}
		c := string(j.content())
		if len(c) != size || !strings.HasPrefix(c, header) || !strings.HasSuffix(c, "\r\n") {
			t.Errorf("the content has %d octets, want %d, from the header to CRLF", len(c), size)
		}
		if rest := strings.ReplaceAll(c, "\r\n", ""); strings.ContainsAny(rest, "\r\n") ||
			strings.Contains(c, "\r\n.") {
			t.Error("the content needs repair, which would be measured too")
		}
		heap := &job{Size: size, Heap: true}
		if string(heap.content()) != c {
			t.Error("the content outside of the heap is another one")
		}
	}
}
