package rig

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/smtptest"
)

// The tests of the Pool share what is here: several servers in memory, and a pool on them.

// Fleet is a pool and its servers.
type Fleet struct {
	T       *testing.T
	Servers []*smtptest.Server
	Pool    *postrider.Pool
}

// FleetOptions change a fleet before it starts. All may be zero.
type FleetOptions struct {
	Servers int // default 1
	Mode    postrider.SecureMode
	Pool    postrider.PoolConfig
	Weights []int // of the first servers
	Server  func(i int, s *smtptest.Server)
	Client  func(i int, cfg *postrider.Config)
}

// StartFleet starts servers that never hang up on their own, on a network in memory.
func StartFleet(t *testing.T, o FleetOptions) *Fleet {
	t.Helper()
	f := &Fleet{T: t}
	var configs []postrider.Config
	for i := range max(1, o.Servers) {
		s := smtptest.NewUnstartedServer()
		s.Listener = smtptest.InMemory(fmt.Sprintf("mx%d:25", i+1))
		s.Mode, s.IdleTimeout = o.Mode, -1
		s.Hostname = fmt.Sprintf("mx%d", i+1)
		s.Log = t.Logf
		if o.Server != nil {
			o.Server(i, s)
		}
		s.Start()
		t.Cleanup(s.Close)
		cfg := s.Config()
		cfg.ServerName = "localhost"
		if i < len(o.Weights) {
			cfg.Weight = o.Weights[i]
		}
		if o.Client != nil {
			o.Client(i, &cfg)
		}
		f.Servers = append(f.Servers, s)
		configs = append(configs, cfg)
	}
	pool, err := postrider.NewPool(o.Pool, configs...)
	if err != nil {
		t.Fatal(err)
	}
	f.Pool = pool
	t.Cleanup(func() { f.Close(time.Minute) })
	return f
}

// Close ends the pool as far as that is possible within d.
func (f *Fleet) Close(d time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return f.Pool.Shutdown(ctx)
}

// NumberedMail is a message that contains its number.
func NumberedMail(i int, to ...string) *postrider.Message {
	if len(to) == 0 {
		to = []string{"bart@example.com"}
	}
	from := fmt.Sprintf("m%d@example.com", i)
	return &postrider.Message{
		From: from, To: to, Content: postrider.Bytes(fmt.Appendf(nil, "Subject: %d\r\n\r\n%d\r\n", i, i)),
	}
}

// Send sends one message under the guard.
func (f *Fleet) Send(m *postrider.Message) (*postrider.Result, error) {
	f.T.Helper()
	ctx, cancel := context.WithTimeout(f.T.Context(), Guard)
	defer cancel()
	start := time.Now()
	result, err := f.Pool.Send(ctx, m)
	if time.Since(start) >= Guard {
		f.T.Errorf("Send of %s hung until its context was done", m.From)
	}
	CheckAnswer(f.T, m, result, err)
	return result, err
}

// SendAll sends n messages from this many goroutines, and returns the results by number.
func (f *Fleet) SendAll(n, goroutines int) []*postrider.Result {
	f.T.Helper()
	return f.SendFrom(0, n, goroutines)
}

// taken counts how often the servers took each message, by its sender and recipient.
func (f *Fleet) taken() map[string]int {
	n := map[string]int{}
	for _, s := range f.Servers {
		for _, m := range s.Messages() {
			for _, to := range m.To {
				n[m.From+" "+to]++
			}
		}
	}
	return n
}

// Compare checks what was reported of messages against what the servers accepted: no recipient twice, none reported
// Accepted that was not, none reported otherwise that was, except for
// Unknown. Compare returns how many recipients were in each state.
func (f *Fleet) Compare(results []*postrider.Result) (states [5]int) {
	f.T.Helper()
	return f.CompareBut(results, 0)
}

// CompareBut is Compare when this many Untried are not among the results.
func (f *Fleet) CompareBut(results []*postrider.Result, untried int) (states [5]int) {
	f.T.Helper()
	taken := f.taken()
	for i, r := range results {
		if r == nil {
			f.T.Fatalf("message %d has no result", i)
		}
		for _, o := range r.Outcomes {
			states[o.State]++
			n := taken[r.Message.From+" "+o.Recipient]
			if n > 1 || n == 1 && o.State != postrider.Accepted && o.State != postrider.Unknown || n == 0 &&
				o.State == postrider.Accepted {
				f.T.Errorf("message %d was taken %d times, and is told as %v %v", i, n, o, o.Err)
			}
		}
	}
	st := f.Pool.Stats()
	if got := [5]int{
		int(st.Untried) - untried, int(st.Accepted), int(st.Deferred), int(st.Refused), int(st.Unknown),
	}; got != states {
		f.T.Errorf("Stats count %v, and the results %v", got, states)
	}
	return states
}

// AllAccepted fails unless every recipient was accepted.
func (f *Fleet) AllAccepted(results []*postrider.Result) {
	f.T.Helper()
	if states := f.Compare(results); states[postrider.Accepted] != len(results) {
		f.T.Errorf("untried, accepted, deferred, refused, unknown: %v of %d", states, len(results))
		for _, r := range results {
			if o := r.Outcomes[0]; o.State != postrider.Accepted {
				f.T.Fatalf("for one: %v %v %v", o, o.Reply, o.Err)
			}
		}
	}
}

// InFleetBubble is a subtest in a bubble, in each of the three TLS modes.
func InFleetBubble(t *testing.T, name string, f func(t *testing.T, mode postrider.SecureMode)) {
	t.Helper()
	for _, mode := range []postrider.SecureMode{postrider.Insecure, postrider.StartTLS, postrider.ImplicitTLS} {
		t.Run(name+"/"+mode.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { f(t, mode) })
		})
	}
}

// SendFrom sends the messages from first to first+n-1.
func (f *Fleet) SendFrom(first, n, goroutines int) []*postrider.Result {
	f.T.Helper()
	results := make([]*postrider.Result, n)
	var next atomic.Int64
	var senders sync.WaitGroup
	for range goroutines {
		senders.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				results[i], _ = f.Send(NumberedMail(first + i))
			}
		})
	}
	senders.Wait()
	return results
}
