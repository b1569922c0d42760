package pool_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/test/rig"
	"github.com/postrider/postrider/smtptest"
)

// Bounds, turns and the end of a Pool.

// Never more than MaxConnections are open or being opened, however many Sends there
// are, whatever the server does, and with several servers too.
func TestPoolBoundHolds(t *testing.T) {
	for _, pipelining := range []bool{true, false} {
		rig.InFleetBubble(t, fmt.Sprint("pipelining ", pipelining), func(t *testing.T, mode postrider.SecureMode) {
			dialling := newGauge()
			f := rig.StartFleet(t, rig.FleetOptions{
				Servers: 2, Mode: mode, Pool: postrider.PoolConfig{MaxConnections: 3}, Weights: []int{2, 1},
				Server: func(_ int, s *smtptest.Server) {
					s.Extensions.Pipelining, s.MaxTransactions = pipelining, 10
					s.Faults = []smtptest.Fault{{Command: smtptest.Greeting, Delay: time.Second}, {
						Command: "MAIL", Delay: 20 * time.Millisecond,
					}}
				},
				Client: func(_ int, cfg *postrider.Config) { cfg.Dial = dialling.wrap(cfg.Dial) },
			})
			f.AllAccepted(f.SendAll(200, 64))
			if dialling.most != 3 {
				t.Errorf("%d connections were open at a time; want 3", dialling.most)
			}
			for _, s := range f.Servers {
				if len(s.Messages()) == 0 {
					t.Errorf("%s got nothing", s.Hostname)
				}
			}
		})
	}
}

// Those who wait are served in the order of their calls.
func TestPoolWaitersAreServedInTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := rig.StartFleet(t,
			rig.FleetOptions{Pool: postrider.PoolConfig{MaxConnections: 2}, Server: func(_ int, s *smtptest.Server) {
				s.Extensions.Pipelining = false
				s.Faults = []smtptest.Fault{{Command: ".", Delay: time.Minute}}
			}})
		var senders sync.WaitGroup
		for i := range 20 {
			senders.Go(func() { f.Send(rig.NumberedMail(i)) })
			time.Sleep(time.Second)
		}
		senders.Wait()
		for i, m := range f.Servers[0].Messages() {
			if want := fmt.Sprintf("m%d@example.com", i); m.From != want {
				t.Fatalf("message %d is %s", i, m.From)
			}
		}
	})
}

// A Send that waits leaves when its context is done, at once, and those behind it
// move up.
func TestPoolWaiterLeavesWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := rig.StartFleet(t,
			rig.FleetOptions{Pool: postrider.PoolConfig{MaxConnections: 1}, Server: func(_ int, s *smtptest.Server) {
				s.Extensions.Pipelining = false
				s.Faults = []smtptest.Fault{{Command: ".", Nth: 1, Delay: 5 * time.Minute}}
			}})
		var senders sync.WaitGroup
		senders.Go(func() { f.Send(rig.NumberedMail(0)) })
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		senders.Go(func() {
			began := time.Now()
			r, err := f.Pool.Send(ctx, rig.NumberedMail(1))
			if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took != time.Minute ||
				r.Outcomes[0].State != postrider.Untried {
				t.Errorf("after %v: %v, %v", took, r.Outcomes, err)
			}
		})
		synctest.Wait()
		senders.Go(func() {
			if _, err := f.Send(rig.NumberedMail(2)); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		if n := f.Pool.Stats().Queued; n != 2 {
			t.Errorf("%d wait", n)
		}
		senders.Wait()
	})
}

// One wire's window, here 64, is filled to the half before the next is dialled.
func TestPoolFillsHalfAWindowBeforeTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := rig.StartFleet(t, rig.FleetOptions{
			Pool: postrider.PoolConfig{MaxConnections: 8},
			Server: func(_ int, s *smtptest.Server) {
				s.Faults = []smtptest.Fault{{Command: "BDAT", Delay: time.Second}, {Command: ".", Delay: time.Second}}
			},
		})
		f.SendFrom(0, 200, 1) // the window opens
		for _, at := range []struct{ once, connections int }{{32, 1}, {33, 2}} {
			f.SendFrom(200, at.once, at.once)
			if n := f.Pool.Stats().Connections; n != at.connections {
				t.Errorf("%d connections for %d messages", n, at.once)
			}
		}
	})
}

// A message that is tried again goes before those that came later.
func TestPoolMovedMessagesKeepTheirTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := rig.StartFleet(t,
			rig.FleetOptions{Pool: postrider.PoolConfig{MaxConnections: 1}, Server: func(_ int, s *smtptest.Server) {
				s.Extensions.Pipelining = false
				s.Faults = []smtptest.Fault{{Command: "MAIL", Nth: 1, Delay: time.Minute, Reply: "421 4.3.2 bye"}}
			}})
		var senders sync.WaitGroup
		for i := range 4 {
			senders.Go(func() { f.Send(rig.NumberedMail(i)) })
			time.Sleep(time.Second)
		}
		senders.Wait()
		if m := f.Servers[0].Messages(); len(m) != 4 || m[0].From != "m0@example.com" {
			t.Errorf("the first of %d was %s", len(m), m[0].From)
		}
	})
}

// Idle connections at the end of the row close.
func TestPoolUsesFewConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := rig.StartFleet(t, rig.FleetOptions{
			Pool: postrider.PoolConfig{MaxConnections: 8},
			Server: func(_ int, s *smtptest.Server) {
				s.Faults = []smtptest.Fault{
					{Command: "BDAT", Delay: time.Millisecond}, {Command: ".", Delay: time.Millisecond},
				}
			},
			Client: func(_ int, cfg *postrider.Config) { cfg.IdleTimeout = time.Minute },
		})
		f.AllAccepted(f.SendAll(2000, 60)) // the windows open
		if n := f.Pool.Stats().Connections; n != 8 {
			t.Errorf("%d connections at first", n)
		}
		for range 20 { // 20 at a time fit into the half of one window
			f.SendAll(20, 20)
			time.Sleep(10 * time.Second)
		}
		if n := f.Pool.Stats().Connections; n != 1 {
			t.Errorf("%d connections for what one can do", n)
		}
		time.Sleep(2 * time.Minute)
		if st := f.Pool.Stats(); st.Connections != 0 || st.EndedByIdle != 8 {
			t.Errorf("%+v", st)
		}
	})
}

// Close finishes what was sent before, says QUIT, and refuses what comes later.
func TestPoolCloseDrains(t *testing.T) {
	rig.InFleetBubble(t, "", func(t *testing.T, mode postrider.SecureMode) {
		f := rig.StartFleet(t, rig.FleetOptions{Mode: mode, Pool: postrider.PoolConfig{
			MaxConnections: 2,
		}, Server: func(_ int, s *smtptest.Server) {
			s.Faults = []smtptest.Fault{{Command: ".", Delay: time.Second}, {Command: "BDAT", Delay: time.Second}}
		}})
		var results []*postrider.Result
		done := make(chan struct{})
		go func() {
			defer close(done)
			results = f.SendAll(20, 20)
		}()
		time.Sleep(time.Millisecond)
		if err := f.Close(rig.Guard); err != nil {
			t.Error(err)
		}
		<-done
		f.AllAccepted(results)
		if n := f.Servers[0].Commands("QUIT"); n != 2 {
			t.Errorf("%d QUITs", n)
		}
		r, err := f.Pool.Send(t.Context(), rig.NumberedMail(99))
		if !errors.Is(err, postrider.ErrClosed) || r.Outcomes[0].State != postrider.Untried {
			t.Errorf("after Close: %v, %v", r.Outcomes, err)
		}
		if err := f.Close(rig.Guard); err != nil {
			t.Errorf("the second Close: %v", err)
		}
	})
}

// A Close whose context ends breaks off what is left, says how much that was, and
// leaves nothing behind.
func TestPoolCloseBreaksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := rig.StartFleet(t,
			rig.FleetOptions{Pool: postrider.PoolConfig{MaxConnections: 2}, Server: func(_ int, s *smtptest.Server) {
				s.Extensions.Pipelining = false
				s.Faults = []smtptest.Fault{{Command: ".", Answer: smtptest.AnswerNone, Then: smtptest.ThenHang}}
			}})
		var results []*postrider.Result
		done := make(chan struct{})
		go func() {
			defer close(done)
			results = f.SendAll(5, 5)
		}()
		time.Sleep(time.Second)
		err := f.Close(time.Minute)
		if err == nil || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "5 Sends") {
			t.Errorf("Close: %v", err)
		}
		<-done
		if states := f.Compare(results); states[postrider.Unknown] != 2 || states[postrider.Untried] != 3 {
			t.Errorf("%v", states)
		}
	})
}

// Close does not wait for a server that is being dialled, or greets late.
func TestPoolCloseDoesNotWaitForAGreeting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := rig.StartFleet(t, rig.FleetOptions{Server: func(_ int, s *smtptest.Server) {
			s.Faults = []smtptest.Fault{{Command: smtptest.Greeting, Answer: smtptest.AnswerNone,
				Then: smtptest.ThenHang}}
		}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := f.Pool.Send(ctx, rig.NumberedMail(0)); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		began := time.Now()
		if err := f.Close(rig.Guard); err != nil || time.Since(began) != 0 {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// Development mode of any server is that of the pool: no failover leads past it.
func TestPoolRedirectsWhicheverServerIsUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := rig.StartFleet(t, rig.FleetOptions{Servers: 2, Client: func(i int, cfg *postrider.Config) {
			if i == 0 {
				cfg.Redirect = func() (string, bool) { return "dev@example.com", true }
				cfg.Dial = refuseDial
			}
		}})
		if _, err := f.Send(rig.NumberedMail(0, "bart@example.com", "cate@example.com")); err != nil {
			t.Fatal(err)
		}
		if to := f.Servers[1].Messages()[0].To; len(to) != 2 || to[0] != "dev@example.com" ||
			to[1] != "dev@example.com" {
			t.Errorf("it went to %v", to)
		}
	})
}

// Age ends wires first, and those that were opened together end one after the other;
// so does the count of transactions. Never later than was allowed.
func TestPoolChangesWiresByAgeNotAllAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		opened, lived := map[int]time.Time{}, map[time.Duration]int{}
		f := rig.StartFleet(t, rig.FleetOptions{
			Pool: postrider.PoolConfig{MaxConnections: 8},
			Server: func(_ int, s *smtptest.Server) {
				s.Extensions.Pipelining = false
				s.Faults = []smtptest.Fault{{Command: ".", Delay: 10 * time.Millisecond}}
			},
			Client: func(_ int, cfg *postrider.Config) {
				cfg.Trace = &postrider.Trace{Event: func(e postrider.Event) {
					mu.Lock()
					defer mu.Unlock()
					switch e.Kind {
					case postrider.EventDialed:
						opened[e.Wire] = time.Now()
					case postrider.EventClosed:
						if e.Err != nil {
							t.Errorf("wire %d: %v", e.Wire, e.Err)
						}
						lived[time.Since(opened[e.Wire]).Truncate(time.Second)]++
					}
				}}
			},
		})
		f.AllAccepted(f.SendFrom(0, 25_000, 8)) // half a minute, then some rest, and so on
		time.Sleep(4 * time.Minute)
		for i := range 40 {
			f.SendFrom(25_000+i*100, 100, 8)
			time.Sleep(10 * time.Second)
		}
		mu.Lock()
		defer mu.Unlock()
		for age := range lived {
			if age > 5*time.Minute {
				t.Errorf("a wire lived for %v", age)
			}
		}
		if len(lived) < 4 {
			t.Errorf("the wires ended together: %v", lived)
		}
		if st := f.Pool.Stats(); st.EndedByAge == 0 {
			t.Errorf("no wire ended by its age: %+v", st)
		}
	})
}
