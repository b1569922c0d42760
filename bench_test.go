package postrider_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/test/rig"
	"github.com/postrider/postrider/smtptest"
)

// A goroutine that outlives the tests fails them.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestSmoke sends one mail and quits. The other tests are in internal/test, one package a subject.
func TestSmoke(t *testing.T) {
	server := smtptest.NewServer()
	defer server.Close()
	conn, err := postrider.NewConnection(server.Config())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	result, err := conn.Send(t.Context(), &postrider.Message{
		From:    "anne@example.com",
		To:      []string{"bart@example.com"},
		Content: postrider.Bytes([]byte("Subject: aardvarks\r\n\r\nThey are coming.\r\n")),
	})
	if err != nil || result.Outcomes[0].State != postrider.Accepted {
		t.Errorf("Send: %v, %v; want it accepted", result.Outcomes, err)
	}
	if err := conn.Quit(t.Context()); err != nil {
		t.Errorf("Quit: %v", err)
	}
	if n := len(server.Messages()); n != 1 {
		t.Errorf("the server took %d messages, want 1", n)
	}
}

// One Connection on a loopback socket, one Send after the other.

func BenchmarkConnection(b *testing.B) {
	for _, size := range []struct {
		name   string
		octets int
	}{{"1KiB", 1 << 10}, {"100KiB", 100 << 10}, {"10MiB", 10 << 20}} {
		for _, recipients := range []int{1, 50} {
			b.Run(fmt.Sprintf("%s/%drcpt", size.name, recipients), func(b *testing.B) {
				benchmarkSend(b, rig.Clean(size.octets), recipients)
			})
		}
	}
}

func benchmarkSend(b *testing.B, content []byte, recipients int) {
	conn := rig.Discarding(b, postrider.Insecure)
	m := &postrider.Message{From: "anne@example.com", Content: postrider.Bytes(content)}
	for i := range recipients {
		m.To = append(m.To, fmt.Sprintf("recipient%d@example.com", i))
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(content)))
	for b.Loop() {
		if result, err := conn.Send(b.Context(), m); err != nil {
			b.Fatal(err, result.Outcomes)
		}
	}
}

// A Pool beside what database/sql does and most mail pools do: a connection is
// checked out, carries one message, and is put back.

// checkout is a pool of that kind, of our own Connections.
type checkout chan *postrider.Connection

func (c checkout) Send(ctx context.Context, m *postrider.Message) (*postrider.Result, error) {
	select {
	case conn := <-c:
		defer func() { c <- conn }()
		return conn.Send(ctx, m)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// rivals are both, with so many connections to the server.
func rivals(b *testing.B, cfg postrider.Config, connections int) map[string]postrider.Sender {
	b.Helper()
	pool, err := postrider.NewPool(postrider.PoolConfig{MaxConnections: connections}, cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { pool.Shutdown(context.Background()) })
	c := make(checkout, connections)
	for range connections {
		conn, err := postrider.NewConnection(cfg)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { conn.Close() })
		c <- conn
	}
	return map[string]postrider.Sender{"Pool": pool, "checkout": c}
}

func benchServer(b *testing.B, faults ...smtptest.Fault) postrider.Config {
	b.Helper()
	server := smtptest.NewUnstartedServer()
	server.Discard, server.Faults = true, faults
	server.Start()
	b.Cleanup(server.Close)
	cfg := server.Config()
	cfg.LocalName = "client.example.com"
	return cfg
}

// 64 goroutines share four connections: to a server that answers at once, where the
// processors are the limit, and to one that takes a millisecond for each message.
func BenchmarkPoolContention(b *testing.B) {
	slow := []smtptest.Fault{
		{Command: "BDAT", Delay: time.Millisecond}, {Command: smtptest.Terminator, Delay: time.Millisecond},
	}
	for server, faults := range map[string][]smtptest.Fault{"server=swift": nil, "server=1ms": slow} {
		for name, sender := range rivals(b, benchServer(b, faults...), 4) {
			b.Run(server+"/"+name, func(b *testing.B) {
				m := rig.NumberedMail(1)
				next := make(chan struct{})
				var senders sync.WaitGroup
				for range 64 {
					senders.Go(func() {
						for range next {
							if _, err := sender.Send(b.Context(), m); err != nil {
								b.Error(err)
							}
						}
					})
				}
				b.ReportAllocs()
				for b.Loop() {
					next <- struct{}{}
				}
				close(next)
				senders.Wait()
			})
		}
	}
}

// What the way through a pool costs one goroutine, above a bare Connection.
func BenchmarkPoolAcquire(b *testing.B) {
	cfg := benchServer(b)
	senders := rivals(b, cfg, 4)
	conn, err := postrider.NewConnection(cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	senders["Connection"] = conn
	for name, sender := range senders {
		b.Run(name, func(b *testing.B) {
			m := rig.NumberedMail(1)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := sender.Send(b.Context(), m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkPoolIdleMemory reports what a connection holds that has carried mail and
// is idle: heap and stacks, in plain and under TLS. The server runs in the same
// process, and its half is in it.
func BenchmarkPoolIdleMemory(b *testing.B) {
	const connections = 200
	for _, mode := range []postrider.SecureMode{postrider.Insecure, postrider.ImplicitTLS} {
		b.Run(mode.String(), func(b *testing.B) {
			for b.Loop() {
				b.ReportMetric(idleMemory(b, mode, connections), "B/connection")
			}
		})
	}
}

func idleMemory(b *testing.B, mode postrider.SecureMode, connections int) (each float64) {
	b.Helper()
	server := smtptest.NewUnstartedServer()
	server.Discard, server.Mode = true, mode
	server.Start()
	defer server.Close()
	before := inUse()
	pools := make([]*postrider.Pool, connections) // of one each, so that each carries something
	for i := range pools {
		pool, err := postrider.NewPool(postrider.PoolConfig{MaxConnections: 1}, server.Config())
		if err != nil {
			b.Fatal(err)
		}
		defer pool.Shutdown(context.Background())
		if _, err := pool.Send(b.Context(), rig.NumberedMail(1)); err != nil {
			b.Fatal(err)
		}
		pools[i] = pool
	}
	each = float64(inUse()-before) / float64(connections)
	runtime.KeepAlive(pools)
	return each
}

// inUse is the memory that is reachable, and the goroutines' stacks.
func inUse() uint64 {
	runtime.GC()
	runtime.GC() // the first one only empties what sync.Pool keeps
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}
