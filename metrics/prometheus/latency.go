package prometheus

import (
	"github.com/postrider/postrider"
	client "github.com/prometheus/client_golang/prometheus"
)

// Latency is a collector of two histograms of how long the network and the servers
// take, from the events of a [postrider.Trace]: postrider_dial_duration_seconds and
// postrider_transaction_duration_seconds. Make one with [NewLatency]; the zero value
// is not usable.
type Latency struct {
	dials, transactions client.Histogram
}

// NewLatency returns empty histograms. buckets are their upper bounds in seconds, in
// ascending order; nil means 1 ms to two minutes. (A message that is scanned may take
// minutes: RFC 5321 §4.5.3.2.6 allows a server ten.)
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
			"How long it took to open a network connection, if that succeeded."),
		transactions: histogram("transaction_duration_seconds",
			"From MAIL to the end of the transaction, however it ended."),
	}
}

// Describe sends the descriptions of the histograms.
func (l *Latency) Describe(descs chan<- *client.Desc) {
	l.dials.Describe(descs)
	l.transactions.Describe(descs)
}

// Collect sends the current histograms.
func (l *Latency) Collect(values chan<- client.Metric) {
	l.dials.Collect(values)
	l.transactions.Collect(values)
}

// Observe records the duration of an event. Use it as the hook Event of a
// [postrider.Trace], in any number of Configs, or call it from a hook of your own:
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
