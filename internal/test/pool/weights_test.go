package pool_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
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
	servers := []postrider.Config{first.Config(), second.Config()}
	for i, w := range weights {
		servers[i].Weight = w
	}
	p := startPool(t, postrider.PoolConfig{}, servers...)
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

// Servers without a weight stand by, in their order, until all that have one are down.
func TestServersWithoutWeightStandBy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var servers []*smtptest.Server
		var configs []postrider.Config
		var down [4]bool
		for i := range 4 {
			s := startServer(t, fmt.Sprintf("mx%d:25", i), nil)
			cfg := s.Config()
			cfg.Weight = []int{0, 1, 0, 2}[i]
			dial := cfg.Dial
			cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				if down[i] {
					return refuseDial(ctx, network, address)
				}
				return dial(ctx, network, address)
			}
			cfg.IdleTimeout = time.Second
			servers, configs = append(servers, s), append(configs, cfg)
		}
		p := startPool(t, postrider.PoolConfig{}, configs...)
		for _, step := range []struct {
			down [4]bool
			want []int // what the servers took, in all
		}{
			{want: []int{0, 10, 0, 20}},
			{down: [4]bool{3: true}, want: []int{0, 40, 0, 20}},
			{down: [4]bool{1: true, 3: true}, want: []int{30, 40, 0, 20}},
			{down: [4]bool{true, true, false, true}, want: []int{30, 40, 30, 20}},
		} {
			time.Sleep(2 * time.Second) // the wires are idle, and end
			down = step.down
			for i := range 30 {
				if _, err := p.Send(t.Context(), rig.NumberedMail(i)); err != nil {
					t.Fatal(err)
				}
			}
			var got []int
			for _, s := range servers {
				got = append(got, len(s.Messages()))
			}
			if !slices.Equal(got, step.want) {
				t.Errorf("down %v: the servers took %v; want %v", down, got, step.want)
			}
		}
	})
}

// Only a pool looks at a weight: there a negative one is a mistake, whichever server has it.
func TestNegativeWeight(t *testing.T) {
	bad := postrider.Config{Weight: -1}
	for _, servers := range [][]postrider.Config{{bad}, {{}, bad}} {
		_, err := postrider.NewPool(postrider.PoolConfig{}, servers...)
		var e *postrider.Error
		if !errors.As(err, &e) || e.Step != postrider.StepConfiguration || !strings.Contains(err.Error(), "Weight") {
			t.Errorf("%d servers: %v", len(servers), err)
		}
	}
	if _, err := postrider.NewConnection(bad); err != nil {
		t.Error(err)
	}
	if err := bad.Validate(); err == nil || !strings.Contains(err.Error(), "Weight") {
		t.Errorf("Validate: %v", err)
	}
}
