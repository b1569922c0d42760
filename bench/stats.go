package main

import (
	"fmt"
	"math"
	"slices"
)

// sample is one run of one client.
type sample struct {
	tally
	roundTrip float64 // seconds, of the pings beside it; NaN without
	sinkCPU   float64 // seconds of the sink's processor time a message
}

// rate is messages a second.
func (s *sample) rate() float64 { return float64(s.Messages) / s.Seconds }

// trips is how many round trips a message takes: its time in that of the pings.
func (s *sample) trips() float64 { return s.Seconds / float64(s.Messages) / s.roundTrip }

// sink is seconds of the sink's processor time a message.
func (s *sample) sink() float64 { return s.sinkCPU }

// cpu is seconds of the client's processor time a message.
func (s *sample) cpu() float64 { return s.CPU / float64(s.Messages) }

// rounds are the runs of one client, one in each round; nil where it failed.
type rounds []*sample

// metric is something that a run measures; a method of *sample.
type metric func(*sample) float64

// each returns the metric of every run that there is.
func (r rounds) each(m metric) (values []float64) {
	for _, s := range r {
		if s != nil {
			values = append(values, m(s))
		}
	}
	return values
}

// heap is the largest that was measured, which not every round does; NaN if none.
func (r rounds) heap() float64 {
	largest := math.NaN()
	for _, h := range r.each(func(s *sample) float64 { return float64(s.Heap) }) {
		if h > 0 && !(largest > h) {
			largest = h
		}
	}
	return largest
}

// median is over the runs that there are.
func (r rounds) median(m metric) float64 { return median(r.each(m)) }

// median is NaN if there is nothing.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	mid := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[mid]
	}
	return (sorted[mid-1] + sorted[mid]) / 2
}

// ratio is the median of the ratios within each round. What changes on the machine
// from round to round changes both sides, so this is steadier than the ratio of the
// medians.
func ratio(a, b rounds, m metric) float64 {
	var ratios []float64
	for i := range min(len(a), len(b)) {
		if a[i] != nil && b[i] != nil {
			ratios = append(ratios, m(a[i])/m(b[i]))
		}
	}
	return median(ratios)
}

// short writes a number with three digits that count; "–" if there is none.
func short(x float64) string {
	switch abs := math.Abs(x); {
	case math.IsNaN(x):
		return "–"
	case math.IsInf(x, 0):
		return "∞"
	case abs >= 999.5e3:
		return fmt.Sprintf("%.3gM", x/1e6)
	case abs >= 9999.5:
		return fmt.Sprintf("%.0fk", x/1e3)
	case abs >= 99.95:
		return fmt.Sprintf("%.0f", x)
	case abs >= 9.995:
		return fmt.Sprintf("%.1f", x)
	case abs >= 0.9995:
		return fmt.Sprintf("%.2f", x)
	}
	return fmt.Sprintf("%.3f", x)
}

// octetCount is "1 KiB".
func octetCount(n int) string {
	if n >= mib {
		return fmt.Sprintf("%d MiB", n/mib)
	}
	return fmt.Sprintf("%d KiB", n/kib)
}
