package prometheus

import (
	"strings"

	"github.com/postrider/postrider"
	client "github.com/prometheus/client_golang/prometheus"
)

// Pool returns a collector of the statistics of a pool and the state of its servers.
// stats is usually the method Stats of a [postrider.Pool]; it is called at each
// scrape, possibly by several goroutines. The label server has a server's address.
func Pool(stats func() postrider.PoolStats) client.Collector {
	return &collector{stats: stats, metrics: append(connectionMetrics(), poolMetrics()...)}
}

// Connection returns a collector of the statistics of a single connection, with the
// metric names of Pool, except for those that only a pool has. stats is usually the
// method Stats of a [postrider.Connection].
func Connection(stats func() postrider.Stats) client.Collector {
	return &collector{metrics: connectionMetrics(), stats: func() postrider.PoolStats {
		s := postrider.PoolStats{Stats: stats()}
		if s.Open {
			s.Connections = 1
		}
		return s
	}}
}

type collector struct {
	stats   func() postrider.PoolStats
	metrics []metric
}

// metric is a row of docs/metrics.md.
type metric struct {
	desc   *client.Desc
	kind   client.ValueType
	values func(s *postrider.PoolStats, give giver)
}

// giver takes a value, with that of the metric's label if it has one.
type giver func(value float64, label ...string)

// Describe sends the descriptions of all metrics, including those of servers that are not known yet.
func (c *collector) Describe(descs chan<- *client.Desc) {
	for _, m := range c.metrics {
		descs <- m.desc
	}
}

// Collect sends the values of one snapshot.
func (c *collector) Collect(values chan<- client.Metric) {
	s := c.stats()
	s.Servers = byAddress(s.Servers)
	for _, m := range c.metrics {
		m.values(&s, func(value float64, label ...string) {
			values <- client.MustNewConstMetric(m.desc, m.kind, value, label...)
		})
	}
}

// byAddress merges servers with the same address, of which there may be several with
// a user each: Prometheus refuses a whole scrape in which two series have the same
// labels.
func byAddress(servers []postrider.ServerStats) (merged []postrider.ServerStats) {
	at := map[string]int{}
	for _, s := range servers {
		s.Address = strings.ToValidUTF8(s.Address, "?") // Prometheus refuses other values
		i, known := at[s.Address]
		if !known {
			at[s.Address] = len(merged)
			merged = append(merged, s)
			continue
		}
		m := &merged[i]
		m.Connections += s.Connections
		m.Limit += s.Limit
		m.Down = m.Down && s.Down
	}
	return merged
}
