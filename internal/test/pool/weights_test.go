package pool_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/smtptest"
)

// startTwo starts a pool of two servers; the second needs a time to greet.
func startTwo(t *testing.T, greeting time.Duration, weights ...int) (*postrider.Pool, []*smtptest.Server) {
	t.Helper()
	first := startServer(t, "mx1:25", nil)
	second := startServer(t, "mx2:25", func(s *smtptest.Server) {
		s.Faults = []smtptest.Fault{{Command: smtptest.Greeting, Delay: greeting}}
	})
	p := startPool(t, postrider.PoolConfig{Weights: weights}, first.Config(), second.Config())
	return p, []*smtptest.Server{first, second}
}

// Each server has its share from the first message on, also when its first wire takes half a second.
func TestWeightsHoldFromTheStart(t *testing.T) {
	for _, goroutines := range []int{1, 4} {
		synctest.Test(t, func(t *testing.T) {
			p, servers := startTwo(t, time.Second/2, 3, 1)
			var senders sync.WaitGroup
			for g := range goroutines {
				senders.Go(func() {
					for i := range 8 / goroutines {
						if _, err := p.Send(t.Context(), numbered(8*g+i)); err != nil {
							t.Error(err)
						}
					}
				})
			}
			senders.Wait()
			if a, b := len(servers[0].Messages()), len(servers[1].Messages()); a != 6 || b != 2 {
				t.Errorf("%d goroutines: of 8 messages the servers took %d and %d", goroutines, a, b)
			}
		})
	}
}

// A server that greets after half a minute holds nobody up for longer than a second, once, and does not get everything
// when it is there.
func TestWeightsWaitForNoLateServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, servers := startTwo(t, 30*time.Second, 1, 1)
		send := func(n int) (longest time.Duration) {
			for range n {
				began := time.Now()
				if _, err := p.Send(t.Context(), numbered(0)); err != nil {
					t.Fatal(err)
				}
				longest = max(longest, time.Since(began))
			}
			return longest
		}
		if took := send(1000); took != time.Second {
			t.Errorf("a Send waited for %v; want 1s", took)
		}
		if n := len(servers[1].Messages()); n != 0 {
			t.Errorf("%d messages before the greeting", n)
		}
		time.Sleep(time.Minute)
		if took := send(100); took != 0 {
			t.Errorf("a Send waited for %v behind the greeting", took)
		}
		if n := len(servers[1].Messages()); n < 50 || n > 50+32 {
			t.Errorf("it took %d of 100 messages when it was there", n)
		}
	})
}
