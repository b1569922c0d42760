package pool_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/test/rig"
	"github.com/postrider/postrider/smtptest"
)

// What a Pool must not do in the corners where two things happen at once.

// A hook may look at the pool, also while the next event is there already.
func TestPoolHooksMayAskForStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f *rig.Fleet
		var told []string
		f = rig.StartFleet(t, rig.FleetOptions{Servers: 3, Client: func(i int, cfg *postrider.Config) {
			if i < 2 {
				cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
					time.Sleep(time.Duration(i) * time.Second) // the second fails while the first's hook is called
					return refuseDial(ctx, network, address)
				}
			}
			cfg.Trace = rig.OnEvent(postrider.EventServerDown, func(e postrider.Event) {
				time.Sleep(2 * time.Second)
				told = append(told, e.Server)
				f.Pool.Stats()
			})
		}})
		f.AllAccepted(f.SendFrom(0, 8, 8))
		f.Close(time.Minute) // ends whoever calls hooks
		if len(told) < 2 {
			t.Errorf("told %q", told)
		}
	})
}

// closeWhile closes a pool at once, while something keeps a Send, and expects both back at once.
func closeWhile(t *testing.T, pool *postrider.Pool, sends int) {
	t.Helper()
	var senders sync.WaitGroup
	for i := range sends {
		senders.Go(func() {
			m := rig.NumberedMail(i)
			r, err := pool.Send(context.Background(), m)
			if err != nil && !errors.Is(err, postrider.ErrClosed) {
				t.Errorf("Send %d: %v", i, err)
			}
			rig.CheckAnswer(t, m, r, err)
		})
	}
	synctest.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if took := rig.Within(func() {
		if err := pool.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close: %v", err)
		}
		senders.Wait()
	}); took > 5*time.Second {
		t.Errorf("Close took %v", took)
	}
}

func TestPoolCloseEndsTheWaitForTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := rig.StartFleet(t, rig.FleetOptions{Pool: postrider.PoolConfig{MessageRate: 0.001}})
		closeWhile(t, f.Pool, 5)
	})
}

func TestPoolCloseEndsALookUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool, err := postrider.NewPool(postrider.PoolConfig{
			LookupSRV: func(ctx context.Context, _, _, _ string) (string, []*net.SRV, error) {
				<-ctx.Done()
				return "", nil, ctx.Err()
			},
		}, postrider.Config{Address: "srv:localhost"})
		if err != nil {
			t.Fatal(err)
		}
		closeWhile(t, pool, 5)
	})
}

// A look-up that ends after Close has broken everything off must not begin again.
func TestPoolOpensNothingBehindClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool, err := postrider.NewPool(postrider.PoolConfig{
			LookupSRV: func(context.Context, string, string, string) (string, []*net.SRV, error) {
				time.Sleep(2 * time.Second) // it does not listen to its context
				return "", []*net.SRV{{Target: "mx1.example.com.", Port: 465}}, nil
			},
		}, postrider.Config{Address: "srv:localhost", Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			t.Error("dialled behind Close")
			<-ctx.Done()
			return nil, ctx.Err()
		}})
		if err != nil {
			t.Fatal(err)
		}
		closeWhile(t, pool, 1)
		time.Sleep(2 * time.Second) // the look-ups that were left behind end
	})
}

// A Send whose context is done is at its end, also if it has met a server's failure
// before: what it has on a wire must not be on another one at the same time.
func TestPoolMovesNothingThatWasCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := rig.StartFleet(t, rig.FleetOptions{
			Server: func(_ int, s *smtptest.Server) {
				s.Faults = []smtptest.Fault{
					{Command: "BDAT", Connection: 1, Nth: 1, Answer: smtptest.AnswerNone, Then: smtptest.ThenClose},
					{Command: "MAIL", Connection: 2, Delay: time.Minute},
				}
			},
			Client: func(_ int, cfg *postrider.Config) {
				cfg.MaxRecipients, cfg.Window, cfg.Chunking = 1, 2, postrider.UseTrusted
			},
		})
		f.AllAccepted(f.SendFrom(0, 8, 1))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		m := rig.NumberedMail(8, "a@example.com", "b@example.com", "c@example.com", "d@example.com", "e@example.com")
		r, err := f.Pool.Send(ctx, m)
		rig.CheckAnswer(t, m, r, err)
		if st := f.Pool.Stats(); r.Count(postrider.Unknown) == 0 || r.Count(postrider.Untried) == 0 || st.Moves > 0 {
			t.Errorf("moved %d times: %v", st.Moves, r.Outcomes)
		}
	})
}

// A Send that comes back from a server when Close has broken everything off already
// does not go to the next one.
func TestPoolMovesNothingBehindClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := rig.StartFleet(t, rig.FleetOptions{Servers: 2,
			Server: func(i int, s *smtptest.Server) {
				if i == 0 {
					s.Faults = []smtptest.Fault{{
						Command: "MAIL", Connection: smtptest.EachConnection, Answer: smtptest.AnswerNone,
						Then: smtptest.ThenClose,
					}}
				}
			},
			Client: func(i int, cfg *postrider.Config) {
				cfg.Trace = rig.OnEvent(postrider.EventTransaction,
					func(postrider.Event) { time.Sleep(2 * time.Second) })
			}})
		closeWhile(t, f.Pool, 1)
		wantShares(f, 0, 0)
	})
}
