package pool_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/test/ci"
	"github.com/postrider/postrider/internal/test/rig"
	"github.com/postrider/postrider/smtptest"
)

// Storms over a Pool: three servers with faults, contexts that end anywhere, and a
// Close in the middle. Whatever happens, every Send and Close return in time and tell the truth.
func TestPoolStormWithClose(t *testing.T) {
	seeds := uint64(40)
	if !ci.On() {
		seeds = 10
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { poolStorm(t, rand.New(rand.NewPCG(seed, 7))) })
		})
	}
}

func poolStorm(t *testing.T, rnd *rand.Rand) {
	cfg := postrider.PoolConfig{MaxConnections: 1 + rnd.IntN(5)}
	weights := [][]int{nil, {2, 1, 1}, {1}}[rnd.IntN(3)]
	if rnd.IntN(3) == 0 {
		cfg.MessageRate, cfg.RecipientRate = 5, 5
	}
	f := rig.StartFleet(t, rig.FleetOptions{Servers: 3,
		Mode: []postrider.SecureMode{postrider.Insecure, postrider.StartTLS}[rnd.IntN(2)], Pool: cfg, Weights: weights,
		Server: func(_ int, s *smtptest.Server) {
			for c := range 12 {
				s.Faults = append(s.Faults, rig.StormFault(rnd, c))
			}
			if rnd.IntN(3) == 0 {
				s.Extensions = smtptest.Extensions{EightBitMIME: true} // no PIPELINING: the engine reads for itself
			}
			s.MaxConnections, s.MaxTransactions = rnd.IntN(3), rnd.IntN(20)
		},
		Client: func(_ int, cfg *postrider.Config) { cfg.IdleTimeout = 5 * time.Second },
	})
	const n = 120
	results := make([]*postrider.Result, n)
	var senders sync.WaitGroup
	for i := range n {
		begin := time.Duration(rnd.Int64N(int64(time.Minute)))
		patience := time.Duration(1 + rnd.Int64N(int64(10*time.Minute)))
		senders.Go(func() {
			time.Sleep(begin)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			m := rig.NumberedMail(i)
			began := time.Now()
			r, err := f.Pool.Send(ctx, m)
			if late := time.Since(began) - patience; late > 0 {
				t.Errorf("Send %d returned %v late", i, late)
			}
			rig.CheckAnswer(t, m, r, err)
			results[i] = r
		})
	}
	time.Sleep(time.Duration(rnd.Int64N(int64(90 * time.Second))))
	patience := time.Duration(rnd.Int64N(int64(20 * time.Second)))
	if took := rig.Within(func() { f.Close(patience) }); took > patience+2*time.Second {
		t.Errorf("Close took %v instead of %v", took, patience)
	}
	senders.Wait()
	for _, s := range f.Servers {
		s.Close()
	}
	f.Compare(results)
	if st := f.Pool.Stats(); st.Connections > 0 || st.Queued > 0 {
		t.Errorf("left behind: %+v", st)
	}
}
