package main

import (
	"fmt"
	"io"
	"math"
)

// goal is one of the ratios that Postrider is to reach.
type goal struct {
	scenario, who, what string
	limit               float64
	atMost              bool // else at least
	measured            func(r *result) float64
}

// reached judges a measured value.
func (g *goal) reached(x float64) string {
	switch {
	case math.IsNaN(x):
		return "not measured"
	case g.atMost == (x <= g.limit), x == g.limit:
		return "reached"
	}
	return "**not reached**"
}

// faster is a goal of speed against one peer.
func faster(scenario, who, peer string, limit float64) goal {
	return goal{scenario, who, "speed ÷ " + peer, limit, false, func(r *result) float64 {
		return ratio(r.runs[who], r.runs[peer], (*sample).rate)
	}}
}

// cheaper is a goal of processor time against one client.
func cheaper(scenario, who, peer string, limit float64) goal {
	return goal{scenario, who, "CPU ÷ " + peer, limit, true, func(r *result) float64 {
		return ratio(r.runs[who], r.runs[peer], (*sample).cpu)
	}}
}

// nearer is a goal of round trips.
func nearer(scenario, who string, limit float64) goal {
	return goal{scenario, who, "round trips", limit, true,
		func(r *result) float64 { return r.runs[who].median((*sample).trips) }}
}

// best is a goal of speed against the fastest Go library.
func (b *bench) best(scenario, who string, limit float64) goal {
	return goal{scenario, who, "speed ÷ best Go peer", limit, false, func(r *result) float64 {
		var fastest rounds
		for _, name := range r.clients {
			if runs := r.runs[name]; b.clients[name].kind == goKit &&
				(fastest == nil || runs.median((*sample).rate) > fastest.median((*sample).rate)) {
				fastest = runs
			}
		}
		return ratio(r.runs[who], fastest, (*sample).rate)
	}}
}

// goals are all that were set, each for SendAll and for 64 goroutines.
func (b *bench) goals() (list []goal) {
	for _, way := range []string{"SendAll", "Send×64"} {
		c, p, n := way+"/chunking", way+"/pipelining", way+"/plain"
		list = append(list,
			b.best("S1", c, 20), faster("S1", c, "mailman", 30), cheaper("S1", c, "net/smtp", 1./15),
			b.best("S1", p, 2),
			faster("S3", c, "net/smtp", 50), faster("S3", p, "net/smtp", 10),
			nearer("S4", c, 0.05), nearer("S4", p, 1.05),
			nearer("S5", c, 0.05), nearer("S5", p, 1.05),
			nearer("S7r", c, 9), // 64 not by --quick
			cheaper("S8", c, "limit-copy", 1.5),
			goal{"S8", c, "heap, MiB", 2, true, func(r *result) float64 { return r.runs[c].heap() / mib }},
			faster("S1", n, "net/smtp", 0.95),
			faster("P4r", c, "mailman", 20),
		)
	}
	list = append(list, faster("S1", "Send/plain", "net/smtp", 0.95))
	for _, s := range []string{"P1", "P8", "E1", "E8"} {
		list = append(list, faster(s, "Send/chunking", "net/smtp", 0.95))
	}
	return list
}

// reportGoals writes which goals were reached.
func (b *bench) reportGoals(w io.Writer) {
	t := &table{}
	t.add("goal", "wanted", "measured", "")
	for _, g := range b.goals() {
		x := math.NaN()
		if r := b.results[g.scenario]; r != nil {
			x = g.measured(r)
		}
		sign := "≥ "
		if g.atMost {
			sign = "≤ "
		}
		t.add(fmt.Sprintf("%s %s: %s", g.scenario, g.who, g.what), sign+short(g.limit), short(x), g.reached(x))
	}
	fmt.Fprint(w, "\n### Goals\n\n")
	t.write(w)
}
