package pool_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/test/rig"
	"github.com/postrider/postrider/smtptest"
)

// A soak: three real servers on loopback, whose faults change all the time, and a
// mailing that goes on for as long as POSTRIDER_SOAK says. POSTRIDER_SEED repeats one.
//
//	POSTRIDER_SOAK=10m go test ./internal/test/pool -run TestPoolSoak -timeout 20m -v
func TestPoolSoak(t *testing.T) {
	length, err := time.ParseDuration(os.Getenv("POSTRIDER_SOAK"))
	if err != nil {
		t.Skip("set POSTRIDER_SOAK to a duration such as 10m")
	}
	seed := uint64(time.Now().UnixNano())
	fmt.Sscan(os.Getenv("POSTRIDER_SEED"), &seed)
	t.Logf("POSTRIDER_SEED=%d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))

	s := startSoak(t)
	stop := time.After(length)
	faults := time.NewTicker(500 * time.Millisecond)
	defer faults.Stop()
	var senders sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	for range 32 {
		own := rand.New(rand.NewPCG(rnd.Uint64(), 1))
		senders.Go(func() { s.mail(ctx, t, own) })
	}
	for running := true; running; {
		select {
		case <-faults.C:
			s.trouble(rnd)
		case <-stop:
			running = false
		}
	}
	cancel()
	senders.Wait()
	s.report(t)
}

// soak is what a soak has sent, and what the servers took.
type soak struct {
	servers []*smtptest.Server
	pool    *postrider.Pool
	next    atomic.Int64

	mu     sync.Mutex
	told   map[string]postrider.State // by message
	taken  map[string]int
	states [5]int
	late   int
}

func startSoak(t *testing.T) *soak {
	t.Helper()
	s := &soak{told: map[string]postrider.State{}, taken: map[string]int{}}
	var configs []postrider.Config
	modes := []postrider.SecureMode{postrider.Insecure, postrider.StartTLS, postrider.ImplicitTLS}
	for i := range 3 {
		srv := smtptest.NewUnstartedServer()
		// no cap on connections: those that hang would fill it
		srv.Mode, srv.Discard, srv.MaxTransactions = modes[i], true, 50+i*20
		srv.IdleTimeout = time.Second
		srv.OnMessage = func(m *smtptest.Message) {
			s.mu.Lock()
			s.taken[m.From]++
			s.mu.Unlock()
		}
		srv.Start()
		t.Cleanup(srv.Close)
		s.servers = append(s.servers, srv)
		cfg := srv.Config()
		short := 2 * time.Second
		cfg.Timeouts = postrider.Timeouts{Connect: short, Greeting: short, Hello: short, TLS: short, Auth: short,
			Mail: short, Rcpt: short, Data: short, Block: short, Final: short, Quit: short}
		cfg.MaxAge, cfg.IdleTimeout, cfg.ProbeAfter = 20*time.Second, 3*time.Second, 500*time.Millisecond
		cfg.Weight = []int{2, 1, 1}[i]
		configs = append(configs, cfg)
	}
	var err error
	if s.pool, err = postrider.NewPool(postrider.PoolConfig{MaxConnections: 8}, configs...); err != nil {
		t.Fatal(err)
	}
	return s
}

// trouble changes what goes wrong.
func (s *soak) trouble(rnd *rand.Rand) {
	srv := s.servers[rnd.IntN(len(s.servers))]
	srv.ClearFaults()
	for range rnd.IntN(3) {
		f := rig.StormFault(rnd, smtptest.EachConnection)
		if f.AfterRead+f.AfterWritten > 0 {
			f.Connection = 0
		}
		f.Delay = min(f.Delay, time.Duration(rnd.Int64N(int64(3*time.Second))))
		srv.Inject(f)
	}
}

func (s *soak) mail(ctx context.Context, t *testing.T, rnd *rand.Rand) {
	for ctx.Err() == nil {
		m := rig.NumberedMail(int(s.next.Add(1)))
		patience := []time.Duration{50 * time.Millisecond, time.Second, time.Minute, time.Minute}[rnd.IntN(4)]
		sending, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		began := time.Now()
		r, err := s.pool.Send(sending, m)
		late := time.Since(began) > patience+5*time.Second
		cancel()
		rig.CheckAnswer(t, m, r, err)
		s.mu.Lock()
		s.told[m.From] = r.Outcomes[0].State
		s.states[r.Outcomes[0].State]++
		if late {
			s.late++
		}
		s.mu.Unlock()
		time.Sleep(time.Duration(rnd.Int64N(int64(100 * time.Millisecond))))
	}
}

func (s *soak) report(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := s.pool.Shutdown(ctx); err != nil {
		t.Errorf("Close: %v", err)
	}
	for _, srv := range s.servers {
		srv.Close()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for from, state := range s.told {
		n := s.taken[from]
		if n > 1 || n == 1 && state != postrider.Accepted && state != postrider.Unknown || n == 0 &&
			state == postrider.Accepted {
			t.Errorf("%s was taken %d times, and told as %v", from, n, state)
		}
	}
	if s.late > 0 {
		t.Errorf("%d Sends returned long after their context was done", s.late)
	}
	st := s.pool.Stats()
	t.Logf("%d messages; untried, accepted, deferred, refused, unknown: %v", len(s.told), s.states)
	t.Logf("%+v", st)
}
