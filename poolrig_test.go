package postrider_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/smtptest"
)

// The tests of the Pool share what is here: several servers in memory, and a pool on them.

// fleet is a pool and its servers.
type fleet struct {
	t       *testing.T
	servers []*smtptest.Server
	pool    *postrider.Pool
}

// fleetOptions change a fleet before it starts. All may be zero.
type fleetOptions struct {
	servers int // default 1
	mode    postrider.SecureMode
	pool    postrider.PoolConfig
	server  func(i int, s *smtptest.Server)
	client  func(i int, cfg *postrider.Config)
}

// startFleet starts servers that hang up on nobody by themselves, on a network in memory.
func startFleet(t *testing.T, o fleetOptions) *fleet {
	t.Helper()
	f := &fleet{t: t}
	var configs []postrider.Config
	for i := range max(1, o.servers) {
		s := smtptest.NewUnstartedServer()
		s.Listener = smtptest.InMemory(fmt.Sprintf("mx%d:25", i+1))
		s.Mode, s.IdleTimeout = o.mode, -1
		s.Hostname = fmt.Sprintf("mx%d", i+1)
		s.Log = t.Logf
		if o.server != nil {
			o.server(i, s)
		}
		s.Start()
		t.Cleanup(s.Close)
		cfg := s.Config()
		cfg.ServerName = "localhost"
		if o.client != nil {
			o.client(i, &cfg)
		}
		f.servers = append(f.servers, s)
		configs = append(configs, cfg)
	}
	pool, err := postrider.NewPool(o.pool, configs...)
	if err != nil {
		t.Fatal(err)
	}
	f.pool = pool
	t.Cleanup(func() { f.close(time.Minute) })
	return f
}

// close ends the pool as far as that is possible within d.
func (f *fleet) close(d time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return f.pool.Shutdown(ctx)
}

// numberedMail is a message that tells which one it is.
func numberedMail(i int, to ...string) *postrider.Message {
	if len(to) == 0 {
		to = []string{"bart@example.com"}
	}
	from := fmt.Sprintf("m%d@example.com", i)
	return &postrider.Message{From: from, To: to, Content: postrider.Bytes(fmt.Appendf(nil, "Subject: %d\r\n\r\n%d\r\n", i, i))}
}

// send sends one message under the guard.
func (f *fleet) send(m *postrider.Message) (*postrider.Result, error) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), guard)
	defer cancel()
	start := time.Now()
	result, err := f.pool.Send(ctx, m)
	if time.Since(start) >= guard {
		f.t.Errorf("Send of %s hung until its context was done", m.From)
	}
	checkAnswer(f.t, m, result, err)
	return result, err
}

// sendAll sends n messages from so many goroutines, and gives the results by number.
func (f *fleet) sendAll(n, goroutines int) []*postrider.Result {
	f.t.Helper()
	return f.sendFrom(0, n, goroutines)
}

// taken counts how often the servers took each message, by its sender and recipient.
func (f *fleet) taken() map[string]int {
	n := map[string]int{}
	for _, s := range f.servers {
		for _, m := range s.Messages() {
			for _, to := range m.To {
				n[m.From+" "+to]++
			}
		}
	}
	return n
}

// compare holds what was told of messages against what the servers took: nobody
// twice, nobody told Accepted who was not, nobody told otherwise who was, but for
// Unknown. It gives how many recipients were in each state.
func (f *fleet) compare(results []*postrider.Result) (states [5]int) {
	f.t.Helper()
	return f.compareBut(results, 0)
}

// compareBut is compare when so many Untried are not among the results.
func (f *fleet) compareBut(results []*postrider.Result, untried int) (states [5]int) {
	f.t.Helper()
	taken := f.taken()
	for i, r := range results {
		if r == nil {
			f.t.Fatalf("message %d has no result", i)
		}
		for _, o := range r.Outcomes {
			states[o.State]++
			n := taken[r.Message.From+" "+o.Recipient]
			if n > 1 || n == 1 && o.State != postrider.Accepted && o.State != postrider.Unknown || n == 0 && o.State == postrider.Accepted {
				f.t.Errorf("message %d was taken %d times, and is told as %v %v", i, n, o, o.Err)
			}
		}
	}
	st := f.pool.Stats()
	if got := [5]int{int(st.Untried) - untried, int(st.Accepted), int(st.Deferred), int(st.Refused), int(st.Unknown)}; got != states {
		f.t.Errorf("Stats count %v, and the results %v", got, states)
	}
	return states
}

// allAccepted fails unless every recipient was accepted.
func (f *fleet) allAccepted(results []*postrider.Result) {
	f.t.Helper()
	if states := f.compare(results); states[postrider.Accepted] != len(results) {
		f.t.Errorf("untried, accepted, deferred, refused, unknown: %v of %d", states, len(results))
		for _, r := range results {
			if o := r.Outcomes[0]; o.State != postrider.Accepted {
				f.t.Fatalf("for one: %v %v %v", o, o.Reply, o.Err)
			}
		}
	}
}

// inFleetBubble is a subtest in a bubble, in each of the three TLS modes.
func inFleetBubble(t *testing.T, name string, f func(t *testing.T, mode postrider.SecureMode)) {
	t.Helper()
	for _, mode := range []postrider.SecureMode{postrider.Insecure, postrider.StartTLS, postrider.ImplicitTLS} {
		t.Run(name+"/"+mode.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { f(t, mode) })
		})
	}
}
