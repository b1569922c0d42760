package main

import (
	"math"
	"time"
)

// pings are round trips and nothing else, on a connection of their own beside that
// of a client under measurement. They go through the same delay at the same time,
// so that a busy machine delays both.
type pings struct {
	enough chan struct{}
	took   chan float64
}

// startPings begins, on a goroutine that ends with stop.
func startPings(address string) *pings {
	p := &pings{make(chan struct{}), make(chan float64, 1)}
	go func() { p.took <- median(p.measure(address)) }()
	return p
}

// measure stops silently on an error: without pings there are no round trips in the table,
// and nothing else is lost.
func (p *pings) measure(address string) (seconds []float64) {
	w, err := connect(address)
	if err != nil {
		return nil
	}
	defer w.conn.Close()
	for {
		select {
		case <-p.enough:
			return seconds
		default:
		}
		start := time.Now()
		if w.say("NOOP\r\n", 1) != nil {
			return seconds
		}
		seconds = append(seconds, time.Since(start).Seconds())
	}
}

// stop returns the median round-trip time in seconds, or NaN.
func (p *pings) stop() float64 {
	if p == nil {
		return math.NaN()
	}
	close(p.enough)
	return <-p.took
}
