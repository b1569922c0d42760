package prometheus_test

import (
	"context"
	"fmt"

	client "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/metrics/prometheus"
	"github.com/postrider/postrider/smtptest"
)

func Example() {
	server := smtptest.NewServer()
	defer server.Close()
	server.Inject(smtptest.Fault{Command: "RCPT", Address: "nobody@example.com", Reply: "550 5.1.1 no such user"})

	latency := prometheus.NewLatency(nil)
	cfg := server.Config()
	cfg.Trace = &postrider.Trace{Event: latency.Observe} // or call it in a hook of your own
	pool, err := postrider.NewPool(postrider.PoolConfig{}, cfg)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pool.Shutdown(context.Background())

	registry := client.NewRegistry() // or client.DefaultRegisterer
	registry.MustRegister(prometheus.Pool(pool.Stats), latency)

	to := []string{"anne@example.com", "nobody@example.com"}
	if _, err := pool.SendMail(context.Background(), "app@example.com", to,
		[]byte("Subject: hello\r\n\r\nhello\r\n")); err != nil {
		fmt.Println(err)
	}
	text, err := testutil.GatherAndFormat(registry, expfmt.TypeTextPlain, "postrider_recipients_total")
	if err != nil {
		fmt.Println(err)
	}
	fmt.Print(string(text))
	// Output:
	// # HELP postrider_recipients_total Recipients of finished Sends, by outcome.
	// # TYPE postrider_recipients_total counter
	// postrider_recipients_total{state="accepted"} 1
	// postrider_recipients_total{state="deferred"} 0
	// postrider_recipients_total{state="refused"} 1
	// postrider_recipients_total{state="unknown"} 0
	// postrider_recipients_total{state="untried"} 0
}

// A single connection has the same metrics but those of a pool.
func ExampleConnection() {
	server := smtptest.NewServer()
	defer server.Close()
	conn, err := postrider.NewConnection(server.Config())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	c := prometheus.Connection(conn.Stats)
	client.NewRegistry().MustRegister(c)
	for range 3 {
		if _, err := conn.SendMail(context.Background(), "app@example.com", []string{"anne@example.com"},
			nil); err != nil {
			fmt.Println(err)
		}
	}
	text, err := testutil.CollectAndFormat(c, expfmt.TypeTextPlain, "postrider_transactions_total")
	if err != nil {
		fmt.Println(err)
	}
	fmt.Print(string(text))
	// Output:
	// # HELP postrider_transactions_total MAIL commands.
	// # TYPE postrider_transactions_total counter
	// postrider_transactions_total 3
}
