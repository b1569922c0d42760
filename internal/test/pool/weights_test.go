package pool_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/test/rig"
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

// Each server has its share from the first message on, also when its first wire takes half a second. With several
// Sends at a time one that is full loses its turn, and makes up for it with the turns that it has in hand.
func TestWeightsHoldFromTheStart(t *testing.T) {
	for _, tt := range []struct{ goroutines, messages, least, most int }{{1, 8, 2, 2}, {4, 400, 80, 120}} {
		synctest.Test(t, func(t *testing.T) {
			p, servers := startTwo(t, time.Second/2, 3, 1)
			var senders sync.WaitGroup
			for g := range tt.goroutines {
				senders.Go(func() {
					for i := range tt.messages / tt.goroutines {
						if _, err := p.Send(t.Context(), rig.NumberedMail(1000*g+i)); err != nil {
							t.Error(err)
						}
					}
				})
			}
			senders.Wait()
			a, b := len(servers[0].Messages()), len(servers[1].Messages())
			if a+b != tt.messages || b < tt.least || b > tt.most {
				t.Errorf("%d goroutines: of %d messages the servers took %d and %d", tt.goroutines, tt.messages, a, b)
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
				if _, err := p.Send(t.Context(), rig.NumberedMail(0)); err != nil {
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
