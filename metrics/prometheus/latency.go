package prometheus

import (
	"strings"
	"sync"
	"time"

	"github.com/postrider/postrider"
	client "github.com/prometheus/client_golang/prometheus"
)

// Latency is two histograms of what the network and the servers take, as hooks of a
// [postrider.Trace] see it: postrider_dial_duration_seconds and
// postrider_transaction_duration_seconds. It is a collector to register; its zero
// value is not usable, see [NewLatency].
type Latency struct {
	dials, transactions client.Histogram
}

// NewLatency makes empty histograms. buckets are their upper bounds in seconds, in
// order; nil is 1 ms to two minutes. (A message that is scanned may take minutes: RFC
// 5321 §4.5.3.2.6 allows a server ten.)
func NewLatency(buckets []float64) *Latency {
	if buckets == nil {
		buckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120}
	}
	histogram := func(name, help string) client.Histogram {
		return client.NewHistogram(client.HistogramOpts{Namespace: "postrider", Name: name, Help: help, Buckets: buckets})
	}
	return &Latency{
		dials:        histogram("dial_duration_seconds", "How long it took to open a network connection, where that succeeded."),
		transactions: histogram("transaction_duration_seconds", "From MAIL to the end of the transaction, whatever its end was."),
	}
}

// Describe sends what the histograms are.
func (l *Latency) Describe(descs chan<- *client.Desc) {
	l.dials.Describe(descs)
	l.transactions.Describe(descs)
}

// Collect sends the histograms as they are.
func (l *Latency) Collect(values chan<- client.Metric) {
	l.dials.Collect(values)
	l.transactions.Collect(values)
}

// Trace is a set of hooks that measures, for the Trace of one [postrider.Config]; each
// Config, also each of one pool, gets a Trace of its own. Hooks of own are called as
// they would be without it; own may be nil, and is not changed.
func (l *Latency) Trace(own *postrider.Trace) *postrider.Trace {
	if own == nil {
		own = &postrider.Trace{}
	}
	begun := &stopwatch{wires: map[int][]time.Time{}}
	t := *own
	t.Dialed = func(wire int, address string, took time.Duration, err error) {
		if err == nil {
			l.dials.Observe(took.Seconds())
		}
		if own.Dialed != nil {
			own.Dialed(wire, address, took, err)
		}
	}
	t.Command = func(wire int, line string) {
		if strings.HasPrefix(line, "MAIL ") {
			begun.start(wire)
		}
		if own.Command != nil {
			own.Command(wire, line)
		}
	}
	t.TransactionDone = func(tx postrider.Transaction, outcomes []postrider.Outcome) {
		if start, ok := begun.stop(tx.Wire); ok {
			l.transactions.Observe(time.Since(start).Seconds())
		}
		if own.TransactionDone != nil {
			own.TransactionDone(tx, outcomes)
		}
	}
	t.WireClosed = func(wire, transactions int, reason error) {
		begun.forget(wire)
		if own.WireClosed != nil {
			own.WireClosed(wire, transactions, reason)
		}
	}
	return &t
}

// stopwatch knows when the transactions that are underway were begun. Those of a wire
// end in the order in which they began: their replies do (RFC 2920 §3.1).
type stopwatch struct {
	mu    sync.Mutex
	wires map[int][]time.Time // guarded by mu; the oldest first
}

func (s *stopwatch) start(wire int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wires[wire] = append(s.wires[wire], time.Now())
}

func (s *stopwatch) stop(wire int) (start time.Time, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	underway := s.wires[wire]
	if len(underway) == 0 {
		return start, false
	}
	s.wires[wire] = underway[1:]
	return underway[0], true
}

func (s *stopwatch) forget(wire int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.wires, wire)
}
