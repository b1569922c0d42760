// Package prometheus exports the statistics of a [postrider.Pool] or a
// [postrider.Connection] as Prometheus metrics:
//
//	registry.MustRegister(prometheus.Pool(pool.Stats))
//
// Each scrape takes one snapshot, so that its figures are consistent, and nothing
// is counted twice. How long things take, which a snapshot does not contain, is
// measured by [Latency] from the events of a [postrider.Trace].
//
// If a registry has several pools, wrap it to add a label of your own to each:
//
//	client.WrapRegistererWith(client.Labels{"pool": "bulk"}, registry).MustRegister(…)
//
// Every metric is described in docs/metrics.md. The package is a module of its own,
// so that programs without it do not depend on Prometheus.
package prometheus
