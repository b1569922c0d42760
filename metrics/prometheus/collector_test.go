package prometheus_test

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	client "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/metrics/prometheus"
)

// stats has a different number in each place.
func stats() postrider.PoolStats {
	return postrider.PoolStats{
		Stats: postrider.Stats{
			Dials: 1, DialFailures: 2, Transactions: 3, Reuses: 4, Resends: 5, Fallbacks: 6, TurnedAway: 7,
			EndedByCount: 8, EndedByAge: 9, EndedByIdle: 10, EndedByServer: 11, EndedByFault: 12,
			Accepted: 13, Deferred: 14, Refused: 15, Untried: 16, Unknown: 17,
			Open: true, InFlight: 18, Queued: 19,
		},
		Connections: 20, Waits: 21, WaitTime: 1500 * time.Millisecond, Moves: 22, MessageRate: 2.5,
		Servers: []postrider.ServerStats{
			{Address: "mx1:25", Connections: 23, Limit: 24},
			{Address: "mx2:25", Connections: 25, Limit: 26, Down: true, Until: time.Unix(1, 0),
				Reason: errors.New("x")},
		},
	}
}

const ofConnection = `
# HELP postrider_dials_total Attempts to open a connection.
# TYPE postrider_dials_total counter
postrider_dials_total 1
# HELP postrider_dial_failures_total Attempts to open a connection that failed before the first MAIL.
# TYPE postrider_dial_failures_total counter
postrider_dial_failures_total 2
# HELP postrider_transactions_total MAIL commands.
# TYPE postrider_transactions_total counter
postrider_transactions_total 3
# HELP postrider_reuses_total Transactions on a connection that had already carried one.
# TYPE postrider_reuses_total counter
postrider_reuses_total 4
# HELP postrider_resends_total Transactions that were repeated on another connection.
# TYPE postrider_resends_total counter
postrider_resends_total 5
# HELP postrider_fallbacks_total Faults of a server that were avoided by doing without a feature.
# TYPE postrider_fallbacks_total counter
postrider_fallbacks_total 6
# HELP postrider_turned_away_total Connections that the server announced to close, with 421 or 451 4.4.2.
# TYPE postrider_turned_away_total counter
postrider_turned_away_total 7
# HELP postrider_connections_ended_total Connections that have ended, by reason.
# TYPE postrider_connections_ended_total counter
postrider_connections_ended_total{reason="age"} 9
postrider_connections_ended_total{reason="count"} 8
postrider_connections_ended_total{reason="fault"} 12
postrider_connections_ended_total{reason="idle"} 10
postrider_connections_ended_total{reason="server"} 11
# HELP postrider_recipients_total Recipients of finished Sends, by outcome.
# TYPE postrider_recipients_total counter
postrider_recipients_total{state="accepted"} 13
postrider_recipients_total{state="deferred"} 14
postrider_recipients_total{state="refused"} 15
postrider_recipients_total{state="unknown"} 17
postrider_recipients_total{state="untried"} 16
# HELP postrider_transactions_in_flight Transactions that have begun and not ended.
# TYPE postrider_transactions_in_flight gauge
postrider_transactions_in_flight 18
# HELP postrider_sends_queued Sends that wait for a place.
# TYPE postrider_sends_queued gauge
postrider_sends_queued 19
# HELP postrider_connections Open connections; for a pool including those being opened.
# TYPE postrider_connections gauge
postrider_connections `

const ofPool = `
# HELP postrider_waits_total Sends that had to wait for a place.
# TYPE postrider_waits_total counter
postrider_waits_total 21
# HELP postrider_wait_seconds_total Total time that Sends have waited for a place.
# TYPE postrider_wait_seconds_total counter
postrider_wait_seconds_total 1.5
# HELP postrider_moves_total Messages that were moved to another connection or server because of a server.
# TYPE postrider_moves_total counter
postrider_moves_total 22
# HELP postrider_message_rate_limit Messages allowed per second; 0 is no limit.
# TYPE postrider_message_rate_limit gauge
postrider_message_rate_limit 2.5
# HELP postrider_server_connections Connections to the server that are open or being opened.
# TYPE postrider_server_connections gauge
postrider_server_connections{server="mx1:25"} 23
postrider_server_connections{server="mx2:25"} 25
# HELP postrider_server_connection_limit Current limit on connections to the server.
# TYPE postrider_server_connection_limit gauge
postrider_server_connection_limit{server="mx1:25"} 24
postrider_server_connection_limit{server="mx2:25"} 26
# HELP postrider_server_down 1 while the server is not used because it failed, else 0.
# TYPE postrider_server_down gauge
postrider_server_down{server="mx1:25"} 0
postrider_server_down{server="mx2:25"} 1
`

func TestEachFigureHasItsMetric(t *testing.T) {
	if err := testutil.CollectAndCompare(prometheus.Pool(stats),
		strings.NewReader(ofConnection+"20\n"+ofPool)); err != nil {
		t.Error(err)
	}
	one := func() postrider.Stats { return stats().Stats }
	if err := testutil.CollectAndCompare(prometheus.Connection(one),
		strings.NewReader(ofConnection+"1\n")); err != nil {
		t.Error(err)
	}
}

// A figure that is new in PoolStats and has no metric is forgotten, unless it says
// what another one says: Open is Connections, and Until and Reason are no numbers.
func TestNoFigureIsForgotten(t *testing.T) {
	empty := export(t, postrider.PoolStats{})
	for _, f := range reflect.VisibleFields(reflect.TypeFor[postrider.PoolStats]()) {
		if f.Anonymous || f.Name == "Open" || f.Name == "Servers" {
			continue
		}
		var s postrider.PoolStats
		switch v := reflect.ValueOf(&s).Elem().FieldByIndex(f.Index); {
		case v.CanInt():
			v.SetInt(7)
		case v.CanFloat():
			v.SetFloat(7)
		default:
			t.Fatalf("PoolStats.%s is no number", f.Name)
		}
		if export(t, s) == empty {
			t.Errorf("no metric shows PoolStats.%s", f.Name)
		}
	}
}

// export is everything that a pool shows.
func export(t *testing.T, s postrider.PoolStats) string {
	t.Helper()
	registry := client.NewRegistry()
	registry.MustRegister(prometheus.Pool(func() postrider.PoolStats { return s }))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(families)
}

// all are the collectors of the package.
func all() map[string]client.Collector {
	return map[string]client.Collector{
		"Pool":       prometheus.Pool(stats),
		"Connection": prometheus.Connection(func() postrider.Stats { return stats().Stats }),
		"Latency":    prometheus.NewLatency(nil),
	}
}

// The names are as Prometheus wants them, and what comes is what was described.
func TestNamesAreGood(t *testing.T) {
	for name, c := range all() {
		problems, err := testutil.CollectAndLint(c)
		if err != nil || len(problems) > 0 {
			t.Errorf("%s: %v %v", name, problems, err)
		}
		strict := client.NewPedanticRegistry()
		strict.MustRegister(c)
		if _, err := strict.Gather(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// docs/metrics.md has a row for each metric, with its type, and for no other.
func TestMetricsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if cells := strings.Split(line, "|"); len(cells) > 3 && strings.HasPrefix(cells[1], " `postrider_") {
			name, _, _ := strings.Cut(strings.Trim(cells[1], " `"), "{")
			rows[name+" "+strings.TrimSpace(cells[2])] = true
		}
	}
	registry := client.NewRegistry()
	registry.MustRegister(prometheus.Pool(stats), prometheus.NewLatency(nil))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		row := f.GetName() + " " + strings.ToLower(f.GetType().String())
		if !rows[row] {
			t.Errorf("docs/metrics.md has no row for %s", row)
		}
		delete(rows, row)
	}
	for row := range rows {
		t.Errorf("docs/metrics.md has a row for %s, which does not exist", row)
	}
}

// Two servers of a pool may have one address, with a user each. Prometheus would
// refuse everything if both came by themselves.
func TestServersOfOneAddressAreOne(t *testing.T) {
	c := prometheus.Pool(func() postrider.PoolStats {
		return postrider.PoolStats{Servers: []postrider.ServerStats{
			{Address: "mx:25", Connections: 1, Limit: 2, Down: true},
			{Address: "mx:25", Connections: 3, Limit: 4},
			{Address: "\xff", Down: true},
		}}
	})
	want := `
# HELP postrider_server_connections Connections to the server that are open or being opened.
# TYPE postrider_server_connections gauge
postrider_server_connections{server="?"} 0
postrider_server_connections{server="mx:25"} 4
# HELP postrider_server_connection_limit Current limit on connections to the server.
# TYPE postrider_server_connection_limit gauge
postrider_server_connection_limit{server="?"} 0
postrider_server_connection_limit{server="mx:25"} 6
# HELP postrider_server_down 1 while the server is not used because it failed, else 0.
# TYPE postrider_server_down gauge
postrider_server_down{server="?"} 1
postrider_server_down{server="mx:25"} 0
`
	names := []string{"postrider_server_connections", "postrider_server_connection_limit", "postrider_server_down"}
	if err := testutil.CollectAndCompare(c, strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
}
