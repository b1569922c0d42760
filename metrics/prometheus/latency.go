package prometheus

import (
	"github.com/postrider/postrider"
	client "github.com/prometheus/client_golang/prometheus"
)

// Latency is two histograms of what the network and the servers take, as the events of a
// [postrider.Trace] report it: postrider_dial_duration_seconds and
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
		return client.NewHistogram(client.HistogramOpts{Namespace: "postrider", Name: name, Help: help,
			Buckets: buckets})
	}
	return &Latency{
		dials: histogram("dial_duration_seconds",
			"How long it took to open a network connection, where that succeeded."),
		transactions: histogram("transaction_duration_seconds",
			"From MAIL to the end of the transaction, whatever its end was."),
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

// Observe measures by an event. It is the hook Event of a [postrider.Trace], for any number of
// Configs, or is called by your own:
//
//	cfg.Trace = &postrider.Trace{Event: latency.Observe}
func (l *Latency) Observe(e postrider.Event) {
	switch {
	case e.Kind == postrider.EventDialed && e.Err == nil:
		l.dials.Observe(e.Took.Seconds())
	case e.Kind == postrider.EventTransaction:
		l.transactions.Observe(e.Took.Seconds())
	}
}
