package flow_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/test/ci"
	"github.com/postrider/postrider/internal/test/rig"
	"github.com/postrider/postrider/smtptest"
)

// Many goroutines on one Connection.

// Messages go out in the order of the calls, whatever the wire does.
func TestConcurrentSendsKeepTheirOrder(t *testing.T) {
	for _, chunking := range []bool{false, true} {
		t.Run(fmt.Sprint("chunking ", chunking), func(t *testing.T) {
			rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
				r := s.Start(t, rig.Options{
					Server: func(s *smtptest.Server) {
						if s.Extensions.Chunking = chunking; !chunking { // behind whose 421 nothing unread has ended
							s.MaxTransactions = 7
						}
					},
					Client: func(cfg *postrider.Config) { cfg.MaxTransactions = 11 },
					Faults: []smtptest.Fault{{Command: ".", Nth: 1, Delay: 9 * time.Minute}},
				})
				var came []<-chan string
				for i := range 50 {
					came = append(came, r.After(time.Duration(i)*time.Second, fmt.Sprintf("bart%d@example.com", i)))
				}
				for _, c := range came {
					r.Equal("outcome", <-c, "accepted content 250")
				}
				for i, m := range r.Server.Messages() {
					if want := fmt.Sprintf("bart%d@example.com", i); m.To[0] != want {
						t.Fatalf("message %d is the one for %s", i, m.To[0])
					}
				}
			})
		})
	}
}

// A storm: goroutines with and without patience, large and small contents, good and
// bad recipients, Quits in between, and a server that fails on nearly every wire.
// What is said is held against what the server took.
func TestAStormOfSends(t *testing.T) {
	seeds := 5
	if rig.Raced || !ci.On() {
		seeds = 2
	}
	for _, chunking := range []bool{false, true} {
		for seed := range seeds {
			t.Run(fmt.Sprint("chunking ", chunking, " ", seed), func(t *testing.T) {
				rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
					storm(t, s, chunking, rand.New(rand.NewPCG(uint64(seed), 1)))
				})
			})
		}
	}
}

// stormMessage returns a message; the content tells its number, and so does From.
func stormMessage(rnd *rand.Rand, number int) *postrider.Message {
	m := &postrider.Message{From: fmt.Sprintf("storm%d@example.com", number)}
	for i := range 1 + rnd.IntN(4) {
		m.To = append(m.To,
			fmt.Sprintf("%s%d@example.com", []string{"yes", "yes", "yes", "no", "later"}[rnd.IntN(5)], i))
	}
	lines := []int{0, 1, 50, 1000, 20_000}[rnd.IntN(5)]
	m.Content = postrider.Bytes(stormContent(number, lines))
	return m
}

func stormContent(number, lines int) []byte {
	return bytes.Repeat(fmt.Appendf(nil, ".%d\r\n", number), lines)
}

func storm(t *testing.T, s rig.Setting, chunking bool, rnd *rand.Rand) {
	r := s.Start(t, rig.Options{
		Server: func(s *smtptest.Server) {
			s.Extensions.Chunking, s.Policy, s.IdleTimeout = chunking, stormPolicy, -1
			for i := range 60 {
				if rnd.IntN(4) > 0 {
					s.Faults = append(s.Faults, rig.StormFault(rnd, i+1))
				}
			}
		},
		Client: func(cfg *postrider.Config) { cfg.AuthRetryAfter = time.Nanosecond },
	})
	var mu sync.Mutex
	told := map[string]*postrider.Result{}
	var senders sync.WaitGroup
	for g := range 8 {
		rnd := rand.New(rand.NewPCG(rnd.Uint64(), 2))
		senders.Go(func() {
			for i := range 12 {
				m := stormMessage(rnd, g*100+i)
				patience := []time.Duration{0, time.Millisecond, time.Minute, 10 * time.Minute, rig.Guard}[rnd.IntN(5)]
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				if rnd.IntN(20) == 0 {
					r.Conn.Quit(ctx)
				}
				start := time.Now()
				result, err := r.Conn.Send(ctx, m)
				if took := time.Since(start); took > patience || took >= rig.Guard {
					t.Errorf("Send took %v of %v", took, patience)
				}
				cancel()
				rig.CheckAnswer(t, m, result, err)
				mu.Lock()
				told[m.From] = result
				mu.Unlock()
				time.Sleep(time.Duration(rnd.Int64N(int64(time.Minute))))
			}
		})
	}
	senders.Wait()
	r.Quit()
	r.Conn.Close()
	time.Sleep(time.Hour)
	compare(r, told)
}

func stormPolicy(c smtptest.Command) string {
	switch {
	case strings.HasPrefix(c.Address, "no"):
		return "550 5.1.1 no such user"
	case strings.HasPrefix(c.Address, "later"):
		return "450 4.2.1 mailbox busy"
	}
	return ""
}

// compare holds what was told of messages against what the server took.
func compare(r *rig.Pair, told map[string]*postrider.Result) {
	r.T.Helper()
	taken := map[string]int{}
	for _, m := range r.Server.Messages() {
		for _, to := range m.To {
			taken[m.From+" "+to]++
		}
		var number int
		fmt.Sscanf(m.From, "storm%d@", &number)
		line := fmt.Sprintf(".%d\r\n", number)
		if sent, _ := told[m.From].Message.Content.Open(); sent != nil && len(m.Content)%len(line) == 0 {
			var want bytes.Buffer
			want.ReadFrom(sent)
			if !bytes.Equal(m.Content, want.Bytes()) {
				r.T.Errorf("%s arrived with %d octets instead of %d", m.From, len(m.Content), want.Len())
			}
		} else {
			r.T.Errorf("%s arrived with %d octets", m.From, len(m.Content))
		}
	}
	var counts [5]int64
	for from, result := range told {
		for _, o := range result.Outcomes {
			counts[o.State]++
			n := taken[from+" "+o.Recipient]
			if n > 1 || n == 1 && o.State != postrider.Accepted && o.State != postrider.Unknown || n == 0 &&
				o.State == postrider.Accepted {
				r.T.Errorf("%s: taken %d times, and told as %v", from, n, o)
			}
		}
	}
	st := r.Conn.Stats()
	if got := [5]int64{st.Untried, st.Accepted, st.Deferred, st.Refused, st.Unknown}; got != counts {
		r.T.Errorf("Stats count %v, and the results %v", got, counts)
	}
	if st.Open || st.InFlight > 0 || st.Queued > 0 {
		r.T.Errorf("something is left: %+v", st)
	}
	synctest.Wait()
}
