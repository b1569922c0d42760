package prometheus

import (
	"github.com/postrider/postrider"
	client "github.com/prometheus/client_golang/prometheus"
)

// The names are part of the API, and docs/metrics.md lists them: dashboards and
// alerts are built on them.

func describe(name, help string, label ...string) *client.Desc {
	return client.NewDesc("postrider_"+name, help, label, nil)
}

// counter is a number that only grows.
func counter(name, help string, value func(*postrider.PoolStats) int64) metric {
	return metric{describe(name+"_total", help), client.CounterValue, func(s *postrider.PoolStats, give giver) {
		give(float64(value(s)))
	}}
}

// gauge is a current number.
func gauge(name, help string, value func(*postrider.PoolStats) float64) metric {
	return metric{describe(name, help), client.GaugeValue, func(s *postrider.PoolStats, give giver) { give(value(s)) }}
}

// perServer is a current number for each server.
func perServer(name, help string, value func(*postrider.ServerStats) int) metric {
	return metric{describe(name, help, "server"), client.GaugeValue, func(s *postrider.PoolStats, give giver) {
		for i := range s.Servers {
			give(float64(value(&s.Servers[i])), s.Servers[i].Address)
		}
	}}
}

// connectionMetrics are those that a single connection has as well.
func connectionMetrics() []metric {
	type stats = postrider.PoolStats
	return []metric{
		counter("dials", "Attempts to open a connection.", func(s *stats) int64 { return s.Dials }),
		counter("dial_failures", "Attempts to open a connection that failed before the first MAIL.",
			func(s *stats) int64 { return s.DialFailures }),
		counter("transactions", "MAIL commands.", func(s *stats) int64 { return s.Transactions }),
		counter("reuses", "Transactions on a connection that had already carried one.",
			func(s *stats) int64 { return s.Reuses }),
		counter("resends", "Transactions that were repeated on another connection.",
			func(s *stats) int64 { return s.Resends }),
		counter("fallbacks", "Faults of a server that were avoided by doing without a feature.",
			func(s *stats) int64 { return s.Fallbacks }),
		counter("turned_away", "Connections that the server announced to close, with 421 or 451 4.4.2.",
			func(s *stats) int64 { return s.TurnedAway }),
		{describe("connections_ended_total", "Connections that have ended, by reason.", "reason"),
			client.CounterValue, ended},
		{describe("recipients_total", "Recipients of finished Sends, by outcome.", "state"),
			client.CounterValue, recipients},
		gauge("connections", "Open connections; for a pool including those being opened.",
			func(s *stats) float64 { return float64(s.Connections) }),
		gauge("transactions_in_flight", "Transactions that have begun and not ended.",
			func(s *stats) float64 { return float64(s.InFlight) }),
		gauge("sends_queued", "Sends that wait for a place.", func(s *stats) float64 { return float64(s.Queued) }),
	}
}

// poolMetrics are those that only a pool has.
func poolMetrics() []metric {
	type stats = postrider.PoolStats
	type server = postrider.ServerStats
	return []metric{
		counter("waits", "Sends that had to wait for a place.", func(s *stats) int64 { return s.Waits }),
		{describe("wait_seconds_total", "Total time that Sends have waited for a place."), client.CounterValue,
			func(s *stats, give giver) { give(s.WaitTime.Seconds()) }},
		counter("moves", "Messages that were moved to another connection or server because of a server.",
			func(s *stats) int64 { return s.Moves }),
		gauge("message_rate_limit", "Messages allowed per second; 0 is no limit.",
			func(s *stats) float64 { return s.MessageRate }),
		perServer("server_connections", "Connections to the server that are open or being opened.",
			func(s *server) int { return s.Connections }),
		perServer("server_connection_limit", "Current limit on connections to the server.",
			func(s *server) int { return s.Limit }),
		perServer("server_down", "1 while the server is not used because it failed, else 0.", func(s *server) int {
			if s.Down {
				return 1
			}
			return 0
		}),
	}
}

// ended reports every reason, also those that have not occurred: rates need the 0.
func ended(s *postrider.PoolStats, give giver) {
	give(float64(s.EndedByCount), "count")
	give(float64(s.EndedByAge), "age")
	give(float64(s.EndedByIdle), "idle")
	give(float64(s.EndedByServer), "server")
	give(float64(s.EndedByFault), "fault")
}

// recipients has the words of [postrider.State].
func recipients(s *postrider.PoolStats, give giver) {
	give(float64(s.Accepted), postrider.Accepted.String())
	give(float64(s.Deferred), postrider.Deferred.String())
	give(float64(s.Refused), postrider.Refused.String())
	give(float64(s.Untried), postrider.Untried.String())
	give(float64(s.Unknown), postrider.Unknown.String())
}
