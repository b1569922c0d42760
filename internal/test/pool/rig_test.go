package pool_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/test/rig"
	"github.com/postrider/postrider/smtptest"
)

// startServer starts a server that hangs up on nobody by itself, on a network in memory.
func startServer(t *testing.T, name string, change func(*smtptest.Server)) *smtptest.Server {
	t.Helper()
	s := smtptest.NewUnstartedServer()
	s.Listener = smtptest.InMemory(name)
	s.IdleTimeout, s.Log = -1, t.Logf
	if change != nil {
		change(s)
	}
	s.Start()
	t.Cleanup(s.Close)
	return s
}

func startPool(t *testing.T, cfg postrider.PoolConfig, servers ...postrider.Config) *postrider.Pool {
	t.Helper()
	p, err := postrider.NewPool(cfg, servers...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closePool(t, p) })
	return p
}

func closePool(t *testing.T, p *postrider.Pool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := p.Shutdown(ctx); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// traffic is what many goroutines send for a time, and what they were told.
type traffic struct {
	pool *postrider.Pool
	next atomic.Int64

	mu      sync.Mutex
	told    map[string]postrider.State // of the last Send of each message, by its sender
	longest time.Duration              // that a Send took
}

func newTraffic(p *postrider.Pool) *traffic {
	return &traffic{pool: p, told: map[string]postrider.State{}}
}

// send sends new messages from this many goroutines for a time. Whoever is put off waits for 10 ms, and sends the
// same message again.
func (tr *traffic) send(t *testing.T, goroutines int, d time.Duration) {
	t.Helper()
	end := time.Now().Add(d)
	var senders sync.WaitGroup
	for range goroutines {
		senders.Go(func() {
			for time.Now().Before(end) {
				tr.settle(t, rig.NumberedMail(int(tr.next.Add(1))), end)
			}
		})
	}
	senders.Wait()
}

// settle sends one message until it is accepted, or may have been, or the time is over.
func (tr *traffic) settle(t *testing.T, m *postrider.Message, end time.Time) {
	for {
		began := time.Now()
		r, err := tr.pool.Send(t.Context(), m)
		state := r.Outcomes[0].State
		if (err == nil) != (state == postrider.Accepted) {
			t.Errorf("%v, and err is %v", r.Outcomes, err)
		}
		tr.mu.Lock()
		tr.told[m.From] = state
		tr.longest = max(tr.longest, time.Since(began))
		tr.mu.Unlock()
		if state == postrider.Accepted || state == postrider.Unknown || !time.Now().Before(end) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// check holds what was told against what the servers took: nobody twice, nobody told accepted who was not, nobody told
// otherwise who was, but for Unknown. It gives how many are in each state.
func (tr *traffic) check(t *testing.T, servers ...*smtptest.Server) (states [5]int) {
	t.Helper()
	taken := map[string]int{}
	for _, s := range servers {
		for _, m := range s.Messages() {
			taken[m.From] += len(m.To)
		}
	}
	for from, state := range tr.told {
		states[state]++
		n := taken[from]
		if n > 1 || (n == 1) != (state == postrider.Accepted) && state != postrider.Unknown {
			t.Errorf("%s was taken %d times, and is told as %v", from, n, state)
		}
	}
	return states
}
