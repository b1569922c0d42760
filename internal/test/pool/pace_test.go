package pool_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/test/rig"
	"github.com/postrider/postrider/smtptest"
)

// How hard a Pool presses its servers: caps, throttling, rates.

// The rate is exact, and counts messages and recipients.
func TestPoolRateIsExact(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  postrider.PoolConfig
		want time.Duration
	}{
		{"messages", postrider.PoolConfig{MessageRate: 10, MessageBurst: 5}, 4500 * time.Millisecond},
		{"recipients", postrider.PoolConfig{RecipientRate: 10, RecipientBurst: 10}, 14 * time.Second},
		{"none", postrider.PoolConfig{}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := rig.StartFleet(t, rig.FleetOptions{Pool: tt.cfg})
				began := time.Now()
				var senders sync.WaitGroup
				for i := range 50 {
					senders.Go(func() {
						f.Send(rig.NumberedMail(i, "a@example.com", "b@example.com", "c@example.com"))
					})
				}
				senders.Wait()
				if got := time.Since(began).Round(time.Millisecond); got != tt.want {
					t.Errorf("50 messages for 3 each took %v; want %v", got, tt.want)
				}
			})
		})
	}
}

// A Send that waits for its turn leaves with its context, and nothing is sent.
func TestPoolRateWaitEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := rig.StartFleet(t, rig.FleetOptions{Pool: postrider.PoolConfig{MessageRate: 1.0 / 3600}})
		f.Send(rig.NumberedMail(0))
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		r, err := f.Pool.Send(ctx, rig.NumberedMail(1))
		if err == nil || r.Outcomes[0].State != postrider.Untried || !strings.Contains(err.Error(), "rate limit") {
			t.Errorf("%v, %v", r.Outcomes, err)
		}
		wantShares(f, 1)
	})
}

// How many connections a server takes is learnt from its refusals, held, and tried
// again later; it is never more than was allowed.
func TestPoolLearnsACapOnConnections(t *testing.T) {
	rig.InFleetBubble(t, "", func(t *testing.T, mode postrider.SecureMode) {
		var mu sync.Mutex
		var limits []int
		f := rig.StartFleet(t, rig.FleetOptions{
			Mode: mode, Pool: postrider.PoolConfig{MaxConnections: 10},
			Server: func(_ int, s *smtptest.Server) {
				s.MaxConnections, s.Extensions.Pipelining = 3, false
				s.Faults = []smtptest.Fault{{Command: ".", Delay: 10 * time.Millisecond}}
			},
			Client: func(_ int, cfg *postrider.Config) {
				cfg.MaxAge = -1
				cfg.Trace = rig.OnEvent(postrider.EventLimitChanged, func(e postrider.Event) {
					mu.Lock()
					limits = append(limits, e.Connections)
					mu.Unlock()
				})
			},
		})
		f.AllAccepted(f.SendFrom(0, 1000, 50)) // 3.3 seconds: within the first hold
		st := f.Pool.Stats()
		if st.Servers[0].Limit != 3 || st.DialFailures == 0 || st.DialFailures > 7 {
			t.Errorf("learnt %d, by %d refused connections; limits %v", st.Servers[0].Limit, st.DialFailures, limits)
		}
		f.SendFrom(1000, 100_0, 50)
		time.Sleep(10 * time.Minute)
		f.SendFrom(2000, 3000, 50)
		mu.Lock()
		defer mu.Unlock()
		probes := 0
		for i, n := range limits {
			if n > 10 {
				t.Errorf("the limit was %d", n)
			}
			if i > 0 && n > limits[i-1] {
				probes++
			}
		}
		if probes == 0 {
			t.Errorf("it never tried for more: %v", limits)
		}
	})
}

// A server that ends wires after k transactions with a 421 is met by changing
// before: only the first wires meet it.
func TestPoolLearnsACapOnTransactions(t *testing.T) {
	rig.InFleetBubble(t, "", func(t *testing.T, mode postrider.SecureMode) {
		f := rig.StartFleet(t,
			rig.FleetOptions{Mode: mode, Server: func(_ int, s *smtptest.Server) { s.MaxTransactions = 7 }})
		f.AllAccepted(f.SendFrom(0, 1000, 32))
		if st := f.Pool.Stats(); st.TurnedAway > 12 || st.EndedByCount < 100 {
			t.Errorf("%d wires met the 421, %d were changed before", st.TurnedAway, st.EndedByCount)
		}
	})
}

// One greylisted recipient slows nobody; a server that puts off most recipients by
// policy does.
func TestPoolTellsGreylistingFromThrottling(t *testing.T) {
	for _, tt := range []struct {
		share int // of recipients that are put off, in tenths
		slow  bool
	}{{1, false}, {4, false}, {9, true}} {
		rig.InFleetBubble(t, fmt.Sprint(tt.share), func(t *testing.T, mode postrider.SecureMode) {
			f := rig.StartFleet(t, rig.FleetOptions{Mode: mode, Server: func(_ int, s *smtptest.Server) {
				var n atomic.Int64
				s.Policy = func(c smtptest.Command) string {
					if c.Verb == "RCPT" && int(n.Add(1))%10 < tt.share {
						return "451 4.7.1 later"
					}
					return ""
				}
			}})
			began := time.Now()
			f.SendFrom(0, 60, 4)
			if took := time.Since(began); took > 0 != tt.slow { // the server itself needs no time
				t.Errorf("it took %v", took)
			}
		})
	}
}

// simulated is what became of a mailing in a simulation.
type simulated struct {
	took    time.Duration
	dials   int64
	refused int64 // connections that were turned away, or messages that were put off
}

func (s simulated) String() string {
	return fmt.Sprintf("%v, %d dials, %d refused", s.took.Round(time.Second), s.dials, s.refused)
}

// mta is a server of the simulation. It counts what it had to turn away.
type mta struct {
	*smtptest.Server
	refused atomic.Int64
	dials   atomic.Int64
	away    atomic.Bool
}

// startMTA starts a server that needs 50 ms for a message.
func startMTA(t *testing.T, change func(*mta)) *mta {
	t.Helper()
	m := &mta{Server: smtptest.NewUnstartedServer()}
	m.Listener, m.IdleTimeout = smtptest.InMemory("localhost:25"), -1
	m.Extensions.Pipelining, m.Extensions.Chunking = false, false
	m.Faults = []smtptest.Fault{{Command: ".", Delay: 50 * time.Millisecond}}
	m.Log = t.Logf
	change(m)
	m.Start()
	t.Cleanup(m.Close)
	return m
}

func (m *mta) client() postrider.Config {
	cfg := m.Config()
	open := cfg.Dial
	cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if m.dials.Add(1); m.away.Load() {
			return refuseDial(ctx, network, address)
		}
		return open(ctx, network, address)
	}
	cfg.MaxAge = time.Minute
	return cfg
}

// mailing sends n messages by 20 goroutines over senders, one for each goroutine,
// each message again a second after it failed, until all are accepted.
func (m *mta) mailing(t *testing.T, n int, sender func(goroutine int) postrider.Sender) simulated {
	t.Helper()
	began := time.Now()
	var next atomic.Int64
	var workers sync.WaitGroup
	for g := range 20 {
		s := sender(g)
		workers.Go(func() {
			for i := int(next.Add(1)); i <= n; i = int(next.Add(1)) {
				for {
					if _, err := s.Send(t.Context(), rig.NumberedMail(i)); err == nil {
						break
					}
					m.refused.Add(1)
					time.Sleep(time.Second)
				}
			}
		})
	}
	workers.Wait()
	if got := len(m.Messages()); got != n {
		t.Errorf("%d messages arrived of %d", got, n)
	}
	return simulated{time.Since(began), m.dials.Load(), m.refused.Load()}
}

// simulate lets a pool and as many connections as it may have do the same mailing
// against the same kind of server.
func simulate(t *testing.T, n int, change func(*mta)) (pool, fixed simulated) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := startMTA(t, change)
		p, err := postrider.NewPool(postrider.PoolConfig{MaxConnections: 20}, m.client())
		if err != nil {
			t.Fatal(err)
		}
		pool = m.mailing(t, n, func(int) postrider.Sender { return p })
		p.Shutdown(t.Context())
	})
	synctest.Test(t, func(t *testing.T) {
		m := startMTA(t, change)
		fixed = m.mailing(t, n, func(int) postrider.Sender {
			c, err := postrider.NewConnection(m.client())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			return c
		})
	})
	t.Logf("pool: %v; 20 connections: %v", pool, fixed)
	return pool, fixed
}

// An MTA that takes three connections: the pool keeps to that after a few refusals,
// and is as fast as the MTA allows. Twenty connections are turned away again and again.
func TestSimulationOfAnMTAThatCaps(t *testing.T) {
	pool, fixed := simulate(t, 5000, func(m *mta) { m.MaxConnections = 3 })
	if limit := 5000 / 3 * 50 * time.Millisecond; pool.took > limit*12/10 {
		t.Errorf("the pool took %v; three connections need %v", pool.took, limit)
	}
	if pool.refused != 0 || pool.dials*10 > fixed.dials {
		t.Errorf("pool: %v; fixed: %v", pool, fixed)
	}
}

// An MTA that takes 40 messages a second, and puts off what is more: the pool slows
// down, and is put off far less often, in about the same time.
func TestSimulationOfAnMTAThatThrottles(t *testing.T) {
	pool, fixed := simulate(t, 4000, func(m *mta) {
		var mu sync.Mutex
		var second time.Time
		n := 0
		m.Policy = func(c smtptest.Command) string {
			if c.Verb != "MAIL" {
				return ""
			}
			mu.Lock()
			defer mu.Unlock()
			if now := time.Now().Truncate(time.Second); now != second {
				second, n = now, 0
			}
			if n++; n > 40 {
				return "450 4.7.1 slow down"
			}
			return ""
		}
	})
	if pool.refused*2 > fixed.refused || pool.took > 2*fixed.took {
		t.Errorf("pool: %v; fixed: %v", pool, fixed)
	}
}

// An MTA that goes away for five minutes: the pool asks a few times whether it is
// back, and not for every message.
func TestSimulationOfAnMTAThatGoesAway(t *testing.T) {
	pool, fixed := simulate(t, 2000, func(m *mta) {
		time.AfterFunc(2*time.Second, func() { m.away.Store(true) })
		time.AfterFunc(5*time.Minute, func() { m.away.Store(false) })
		m.Faults = append(m.Faults, smtptest.Fault{
			Command: "MAIL", Connection: smtptest.EachConnection, Nth: 30, Reply: "421 4.3.2 going down",
		})
	})
	if pool.took > 7*time.Minute || pool.dials > fixed.dials/2 {
		t.Errorf("pool: %v; fixed: %v", pool, fixed)
	}
}
