package prometheus_test

import (
	"context"
	"errors"
	"iter"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	client "github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/metrics/prometheus"
	"github.com/postrider/postrider/smtptest"
)

// histograms gives count and sum of each.
func histograms(t *testing.T, l *prometheus.Latency) map[string]*dto.Histogram {
	t.Helper()
	registry := client.NewPedanticRegistry()
	registry.MustRegister(l)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]*dto.Histogram{}
	for _, f := range families {
		found[f.GetName()] = f.GetMetric()[0].GetHistogram()
	}
	return found
}

// inMemory starts a server inside a bubble.
func inMemory(t *testing.T, faults ...smtptest.Fault) (*smtptest.Server, postrider.Config) {
	t.Helper()
	s := smtptest.NewUnstartedServer()
	s.Listener = smtptest.InMemory("mx:25")
	s.Start()
	t.Cleanup(s.Close)
	for _, f := range faults {
		s.Inject(f)
	}
	cfg := s.Config()
	cfg.LocalName = "client.example.com"
	return s, cfg
}

// A transaction lasts from its own MAIL to its own end, also when several are
// underway at a time, and when the wire is lost.
func TestLatencyOfTransactions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, cfg := inMemory(t,
			smtptest.Fault{Command: "RCPT", Address: "slow@example.com", Delay: 3 * time.Second},
			smtptest.Fault{Command: "RCPT", Address: "lost@example.com", Delay: 5 * time.Second,
				Answer: smtptest.AnswerNone, Then: smtptest.ThenClose})
		l := prometheus.NewLatency(nil)
		cfg.Trace = &postrider.Trace{Event: l.Observe}
		conn, err := postrider.NewConnection(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		send := func(to string) {
			_, _ = conn.SendMail(t.Context(), "anne@example.com", []string{to}, []byte("Subject: x\r\n\r\n"))
		}
		send("bart@example.com")
		send("slow@example.com")
		send("bart@example.com")
		h := histograms(t, l)["postrider_transaction_duration_seconds"]
		if h.GetSampleCount() != 3 || h.GetSampleSum() != 3 {
			t.Errorf("%d transactions, %v s; want 3 and 3 s", h.GetSampleCount(), h.GetSampleSum())
		}
		send("lost@example.com") // twice, by the rule of resending
		h = histograms(t, l)["postrider_transaction_duration_seconds"]
		n := conn.Stats().Transactions
		if want := 3 + 5*float64(n-3); n < 4 || h.GetSampleCount() != uint64(n) || h.GetSampleSum() != want {
			t.Errorf("%d of %d transactions, %v s; want %v s", h.GetSampleCount(), n, h.GetSampleSum(), want)
		}
	})
}

// BenchmarkLatency is what measuring costs.
func BenchmarkLatency(b *testing.B) {
	for name, trace := range map[string]*postrider.Trace{"without": nil,
		"with": {Event: prometheus.NewLatency(nil).Observe}} {
		b.Run(name, func(b *testing.B) {
			server := smtptest.NewUnstartedServer()
			server.Discard = true
			server.Start()
			defer server.Close()
			cfg := server.Config()
			cfg.Trace = trace
			conn, err := postrider.NewConnection(cfg)
			if err != nil {
				b.Fatal(err)
			}
			defer conn.Close()
			m := &postrider.Message{From: "anne@example.com", To: []string{"bart@example.com"},
				Content: postrider.Bytes(make([]byte, 1024))}
			var messages iter.Seq[*postrider.Message] = func(yield func(*postrider.Message) bool) {
				for b.Loop() && yield(m) {
				}
			}
			for _, err := range conn.SendAll(b.Context(), messages) {
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// A dial that succeeds is measured, one that fails is not.
func TestLatencyOfDials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, cfg := inMemory(t)
		dial, tries := cfg.Dial, 0
		cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			time.Sleep(2 * time.Second)
			if tries++; tries == 1 {
				return nil, errors.New("no way")
			}
			return dial(ctx, network, address)
		}
		l := prometheus.NewLatency([]float64{1, 4})
		cfg.Trace = &postrider.Trace{Event: l.Observe}
		conn, err := postrider.NewConnection(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		for range 2 {
			_, _ = conn.SendMail(t.Context(), "anne@example.com", []string{"bart@example.com"}, nil)
		}
		h := histograms(t, l)["postrider_dial_duration_seconds"]
		if h.GetSampleCount() != 1 || h.GetSampleSum() != 2 || h.GetBucket()[0].GetCumulativeCount() != 0 ||
			h.GetBucket()[1].GetCumulativeCount() != 1 {
			t.Errorf("%v; want one of 2 s, in the second of two buckets", h)
		}
	})
}

// A program measures and has hooks of its own: what is measured is measured, and nothing is kept
// from its hooks.
func TestLatencyBesideOwnHooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, cfg := inMemory(t)
		latency := prometheus.NewLatency(nil)
		var called []string
		note := func(name string) { called = append(called, name) }
		cfg.Trace = &postrider.Trace{
			Event: func(e postrider.Event) {
				latency.Observe(e)
				note(e.Kind.String())
			},
			Dialogue: func(e postrider.Event) {
				latency.Observe(e)
				if e.Kind == postrider.EventCommand {
					note(strings.Fields(e.Line)[0])
				}
			},
		}
		conn, err := postrider.NewConnection(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.SendMail(t.Context(), "anne@example.com", []string{"bart@example.com"}, nil); err != nil {
			t.Error(err)
		}
		_ = conn.Quit(t.Context())
		conn.Close()
		want := []string{"dialed", "EHLO", "hello", "MAIL", "RCPT", "DATA", ".", "transaction", "QUIT", "closed"}
		if !slices.Equal(called, want) {
			t.Errorf("called: %v\nwant:   %v", called, want)
		}
		for name, h := range histograms(t, latency) {
			if h.GetSampleCount() != 1 {
				t.Errorf("%s has %d", name, h.GetSampleCount())
			}
		}
	})
}
