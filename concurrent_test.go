package postrider_test

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
	"github.com/postrider/postrider/smtptest"
)

// Many goroutines on one Connection.

// Messages go out in the order of the calls, whatever the wire does.
func TestConcurrentSendsKeepTheirOrder(t *testing.T) {
	for _, chunking := range []bool{false, true} {
		t.Run(fmt.Sprint("chunking ", chunking), func(t *testing.T) {
			inEverySetting(t, func(t *testing.T, s setting) {
				r := s.start(t, options{
					server: func(s *smtptest.Server) {
						if s.Extensions.Chunking = chunking; !chunking { // behind whose 421 nothing unread has ended
							s.MaxTransactions = 7
						}
					},
					client: func(cfg *postrider.Config) { cfg.MaxTransactions = 11 },
					faults: []smtptest.Fault{{Command: ".", Nth: 1, Delay: 9 * time.Minute}},
				})
				var came []<-chan string
				for i := range 50 {
					came = append(came, r.after(time.Duration(i)*time.Second, fmt.Sprintf("bart%d@example.com", i)))
				}
				for _, c := range came {
					r.equal("outcome", <-c, "accepted content 250")
				}
				for i, m := range r.server.Messages() {
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
	if testing.Short() || raced {
		seeds = 2
	}
	for _, chunking := range []bool{false, true} {
		for seed := range seeds {
			t.Run(fmt.Sprint("chunking ", chunking, " ", seed), func(t *testing.T) {
				inEverySetting(t, func(t *testing.T, s setting) {
					storm(t, s, chunking, rand.New(rand.NewPCG(uint64(seed), 1)))
				})
			})
		}
	}
}

// stormFault gives what goes wrong on one wire.
func stormFault(rnd *rand.Rand, connection int) smtptest.Fault {
	pick := func(of ...string) string { return of[rnd.IntN(len(of))] }
	f := smtptest.Fault{Connection: connection, Nth: 1 + rnd.IntN(12), Then: []smtptest.Then{smtptest.Close, smtptest.Abort, smtptest.Hang}[rnd.IntN(3)]}
	switch rnd.IntN(6) {
	case 0:
		f.AfterRead, f.Nth = 1+rnd.Int64N(200_000), 0
	case 1:
		f.AfterWritten, f.Nth = 1+rnd.Int64N(4000), 0
	case 2: // no reply, or half a one
		f.Command = pick("MAIL", "RCPT", "DATA", ".", "BDAT", "RSET", "QUIT")
		f.Answer = []smtptest.Answer{smtptest.None, smtptest.Half}[rnd.IntN(2)]
	case 3: // declined, and ended
		f.Command, f.Reply = pick("MAIL", "RCPT", "DATA", "."), pick("421 4.3.2 bye", "451 4.4.2 slow")
		f.Then = []smtptest.Then{smtptest.Proceed, smtptest.Close, smtptest.KeepOpen}[rnd.IntN(3)]
	case 4: // refused, and no more
		f.Command, f.Then = pick("MAIL", "RCPT", "DATA", ".", "BDAT"), smtptest.Proceed
		f.Reply = pick("550 5.7.1 no", "450 4.3.0 later", "452 4.5.3 too many", "552 5.3.4 too big", "530 5.7.0 login", "503 5.5.1 what", "hello", "354 what")
	case 5:
		f.Command, f.Then, f.Delay = pick("MAIL", "RCPT", "DATA", "."), smtptest.Proceed, time.Duration(rnd.Int64N(int64(20*time.Minute)))
	}
	return f
}

// stormMessage gives a message; the content tells its number, and so does From.
func stormMessage(rnd *rand.Rand, number int) *postrider.Message {
	m := &postrider.Message{From: fmt.Sprintf("storm%d@example.com", number)}
	for i := range 1 + rnd.IntN(4) {
		m.To = append(m.To, fmt.Sprintf("%s%d@example.com", []string{"yes", "yes", "yes", "no", "later"}[rnd.IntN(5)], i))
	}
	lines := []int{0, 1, 50, 1000, 20_000}[rnd.IntN(5)]
	m.Content = postrider.Bytes(stormContent(number, lines))
	return m
}

func stormContent(number, lines int) []byte {
	return bytes.Repeat(fmt.Appendf(nil, ".%d\r\n", number), lines)
}

func storm(t *testing.T, s setting, chunking bool, rnd *rand.Rand) {
	r := s.start(t, options{
		server: func(s *smtptest.Server) {
			s.Extensions.Chunking, s.Policy, s.IdleTimeout = chunking, stormPolicy, -1
			for i := range 60 {
				if rnd.IntN(4) > 0 {
					s.Faults = append(s.Faults, stormFault(rnd, i+1))
				}
			}
		},
		client: func(cfg *postrider.Config) { cfg.AuthRetryAfter = time.Nanosecond },
	})
	var mu sync.Mutex
	told := map[string]*postrider.Result{}
	var senders sync.WaitGroup
	for g := range 8 {
		rnd := rand.New(rand.NewPCG(rnd.Uint64(), 2))
		senders.Go(func() {
			for i := range 12 {
				m := stormMessage(rnd, g*100+i)
				patience := []time.Duration{0, time.Millisecond, time.Minute, 10 * time.Minute, guard}[rnd.IntN(5)]
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				if rnd.IntN(20) == 0 {
					r.conn.Quit(ctx)
				}
				start := time.Now()
				result, err := r.conn.Send(ctx, m)
				if took := time.Since(start); took > patience || took >= guard {
					t.Errorf("Send took %v of %v", took, patience)
				}
				cancel()
				checkAnswer(t, m, result, err)
				mu.Lock()
				told[m.From] = result
				mu.Unlock()
				time.Sleep(time.Duration(rnd.Int64N(int64(time.Minute))))
			}
		})
	}
	senders.Wait()
	r.quit()
	r.conn.Close()
	time.Sleep(time.Hour)
	r.compare(told)
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
func (r *rig) compare(told map[string]*postrider.Result) {
	r.t.Helper()
	taken := map[string]int{}
	for _, m := range r.server.Messages() {
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
				r.t.Errorf("%s arrived with %d octets instead of %d", m.From, len(m.Content), want.Len())
			}
		} else {
			r.t.Errorf("%s arrived with %d octets", m.From, len(m.Content))
		}
	}
	var counts [5]int64
	for from, result := range told {
		for _, o := range result.Outcomes {
			counts[o.State]++
			n := taken[from+" "+o.Recipient]
			if n > 1 || n == 1 && o.State != postrider.Accepted && o.State != postrider.Unknown || n == 0 && o.State == postrider.Accepted {
				r.t.Errorf("%s: taken %d times, and told as %v", from, n, o)
			}
		}
	}
	st := r.conn.Stats()
	if got := [5]int64{st.Untried, st.Accepted, st.Deferred, st.Refused, st.Unknown}; got != counts {
		r.t.Errorf("Stats count %v, and the results %v", got, counts)
	}
	if st.Open || st.InFlight > 0 || st.Queued > 0 {
		r.t.Errorf("something is left: %+v", st)
	}
	synctest.Wait()
}
