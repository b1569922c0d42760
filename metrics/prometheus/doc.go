// Package prometheus shows to Prometheus what a [postrider.Pool] or a
// [postrider.Connection] does:
//
//	registry.MustRegister(prometheus.Pool(pool.Stats))
//
// Each scrape takes one snapshot, so that the figures of one scrape belong together,
// and nothing is counted twice. What a snapshot cannot tell, how long things take,
// is measured by [Latency], from the events of a [postrider.Trace].
//
// Two pools in one registry are told apart by a label that the program gives them:
//
//	client.WrapRegistererWith(client.Labels{"pool": "bulk"}, registry).MustRegister(…)
//
// docs/metrics.md has every metric. The package is a module of its own: whoever does
// not use it gets no dependency from it.
package prometheus
