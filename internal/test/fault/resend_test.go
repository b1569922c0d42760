package fault_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/test/rig"
	"github.com/postrider/postrider/smtptest"
)

// May this be sent again? The table of docs/flow.md, row by row.

// endings of a wire by the server's doing.
var thens = map[string]smtptest.Then{"FIN": smtptest.ThenClose, "RST": smtptest.ThenAbort, "silence": smtptest.ThenHang}

// Before the first octet of the terminator: yes, on a wire that has served.
func TestResendBeforeTheEndOfTheMessage(t *testing.T) {
	for name, then := range thens {
		for _, command := range []string{"MAIL", "RCPT", "DATA"} {
			for _, answer := range []smtptest.Answer{smtptest.AnswerNone, smtptest.AnswerHalf, smtptest.AnswerWhole} {
				if answer == smtptest.AnswerWhole && then == smtptest.ThenHang {
					continue // that is silence at the next command
				}
				t.Run(fmt.Sprint(name, " at ", command, answer), func(t *testing.T) {
					rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
						r := s.Start(t, rig.Options{Faults: rig.OnFirstWire([]smtptest.Fault{
							{Command: command, Nth: 2, Answer: answer, Then: then},
						})})
						r.Accepted("bart@example.com")
						result, err := r.Send("cate@example.com")
						// With the 354 read, the end may have left before the FIN was seen.
						if late := command == "DATA" && answer == smtptest.AnswerWhole; !late && err != nil || late &&
							result.Count(postrider.Untried) > 0 {
							t.Errorf("%v, %v", result.Outcomes, err)
						}
						if n := len(r.Server.Messages()); n+result.Count(postrider.Unknown) != 2 {
							t.Errorf("the server took %d", n)
						}
					})
				})
			}
		}
	}
}

// In the middle of a content, however much of it has left.
func TestResendInTheMiddleOfAContent(t *testing.T) {
	for name, then := range thens {
		t.Run(name, func(t *testing.T) {
			rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
				r := s.Start(t, rig.Options{Faults: []smtptest.Fault{{AfterRead: 300_000, Nth: 1, Then: then}}})
				r.Accepted("bart@example.com")
				m := rig.Mail("cate@example.com", "dirk@example.com")
				m.Content = postrider.Bytes([]byte(strings.Repeat("0123456789\r\n", 100_000)))
				result, err := r.Deliver(m)
				if then == smtptest.ThenClose && result.Count(postrider.Unknown) == 2 {
					return // the rest had left before the FIN was seen
				}
				if err != nil {
					t.Errorf("%v, %v", result.Outcomes, err)
				}
				if got := r.Contents(); len(got) != 2 || got[1] != strings.Repeat("0123456789\r\n", 100_000) {
					t.Errorf("the server took %d messages", len(got))
				}
				if len(result.Transactions) != 2 || result.Transactions[0].Wire != 1 ||
					result.Transactions[1].Wire != 2 {
					t.Errorf("transactions %+v", result.Transactions)
				}
			})
		})
	}
}

// Not on a first wire that has taken nothing: whoever waits is told why at once.
func TestNoResendOnAWireThatHasNotServed(t *testing.T) {
	faults := map[string]smtptest.Fault{
		"421":     {Command: "MAIL", Reply: "421 4.7.0 not you"},
		"451":     {Command: "RCPT", Reply: "451 4.4.2 slow", Then: smtptest.ThenClose},
		"garbage": {Command: "DATA", Reply: "what?"}, "greeting": {Command: smtptest.Greeting, Reply: "421 4.3.2 full"},
		"EHLO": {Command: "EHLO", Answer: smtptest.AnswerNone, Then: smtptest.ThenClose},
	}
	for name, then := range thens {
		for _, command := range []string{"MAIL", "RCPT", "DATA"} {
			faults[name+" at "+command] = smtptest.Fault{Command: command, Answer: smtptest.AnswerNone, Then: then}
		}
	}
	for name, f := range faults {
		t.Run(name, func(t *testing.T) {
			rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
				r := s.Start(t, rig.Options{Faults: []smtptest.Fault{f}})
				came := []<-chan string{
					r.After(0, "a@example.com"), r.After(0, "b@example.com"), r.After(0, "c@example.com"),
				}
				for _, c := range came {
					if got := <-c; !strings.HasPrefix(got, "untried") {
						t.Errorf("outcome %s", got)
					}
				}
				if st := r.Conn.Stats(); st.Dials > 3 || st.Resends > 0 {
					t.Errorf("%+v", st)
				}
			})
		})
	}
}

// A server that says 421 to every command, one by one, and closes: the message's
// own end makes no wire one that has served.
func TestAServerThatDeclinesEverythingIsDialledOnce(t *testing.T) {
	for _, reply := range []string{"421 4.3.2 no", "503 5.5.1 no"} {
		t.Run(reply[:3], func(t *testing.T) {
			rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
				r := s.Start(t, rig.Options{Faults: []smtptest.Fault{
					{Command: "MAIL", Reply: "421 4.3.2 no", Then: smtptest.ThenKeepOpen},
					{Command: "RCPT", Reply: reply, Delay: time.Millisecond, Then: smtptest.ThenKeepOpen},
					{Command: "DATA", Reply: reply, Delay: time.Millisecond, Then: smtptest.ThenClose},
				}})
				result, err := r.Send("bart@example.com")
				r.Equal("outcome", rig.Fates(result), "untried mail 421")
				r.Equal("error", rig.Trouble(err), "mail MAIL 421 passes")
				if st := r.Conn.Stats(); st.Dials != 1 || st.Resends != 0 {
					t.Errorf("%+v", st)
				}
			})
		})
	}
}

// The message whose own command met the failure is sent again once.
func TestResendOnce(t *testing.T) {
	for name, f := range map[string]smtptest.Fault{
		"FIN": {Command: "RCPT", Address: "poison@example.com", Answer: smtptest.AnswerNone, Then: smtptest.ThenClose},
		"421": {Command: "RCPT", Address: "poison@example.com", Reply: "421 4.3.2 ouch"},
		"452": {Command: "MAIL", Reply: "452 4.5.3 this wire is used up"},
	} {
		t.Run(name, func(t *testing.T) {
			rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
				r := s.Start(t, rig.Options{})
				r.Accepted("bart@example.com")
				r.Server.Inject(f)
				result, _ := r.Send("poison@example.com")
				want := "untried"
				if name == "452" {
					want = "deferred" // on a wire that has carried nothing it is about the message
				}
				if got := rig.Fates(result); !strings.HasPrefix(got, want) {
					t.Errorf("outcome %s", got)
				}
				if st := r.Conn.Stats(); st.Dials != 2 || st.Resends != 1 || len(result.Transactions) != 2 {
					t.Errorf("%+v, %v", st, result.Transactions)
				}
			})
		})
	}
}

// Once is once, also if the new wire has completed a transaction before that command comes again: what it completed has
// not ended a message of ours.
func TestResendOnceBehindARefusal(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{Client: func(cfg *postrider.Config) { cfg.MaxRecipients = 1 }})
		r.Accepted("bart@example.com")
		for _, f := range []smtptest.Fault{
			{Command: "RCPT", Address: "poison@example.com", Answer: smtptest.AnswerNone, Then: smtptest.ThenClose},
			{Command: "RCPT", Address: "nobody@example.com", Reply: "550 5.1.1 nobody"},
		} {
			r.Server.Inject(f)
		}
		result, _ := r.Send("poison@example.com", "nobody@example.com")
		if got := rig.Fates(result); !strings.HasPrefix(got, "untried") || !strings.Contains(got, "refused rcpt 550") {
			t.Errorf("outcomes %s", got)
		}
		if st := r.Conn.Stats(); st.Dials != 2 || st.Resends != 1 {
			t.Errorf("%+v", st)
		}
	})
}

// A Quit whose time is over while a lost wire is still listened to sends nothing again, and counts nothing as sent
// again: what stopped the message is the wire.
func TestNothingIsResentBehindAQuitThatIsOutOfTime(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{Client: func(cfg *postrider.Config) { cfg.Timeouts.Mail = time.Second }})
		r.Accepted("bart@example.com")
		r.Server.Inject(silence("MAIL", 1))
		came := r.After(0, "cate@example.com")
		synctest.Wait()
		// The wire is lost after one second, and done with after three.
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if err := r.Conn.Quit(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Quit: %v", err)
		}
		r.Equal("outcome", <-came, "untried mail 0")
		if st := r.Conn.Stats(); st.Dials != 1 || st.Resends != 0 {
			t.Errorf("%+v", st)
		}
	})
}

// A refusal for now of the finished message is an answer; so is 421.
func TestNoResendOfAFinishedMessage(t *testing.T) {
	for _, reply := range []string{
		"421 4.3.2 bye", "451 4.4.2 slow", "451 4.3.0 disk full", "452 4.5.3 used up", "450 later",
	} {
		t.Run(reply, func(t *testing.T) {
			rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
				r := s.Start(t, rig.Options{Faults: []smtptest.Fault{{Command: ".", Nth: 2, Reply: reply}}})
				r.Accepted("bart@example.com")
				result, _ := r.Send("cate@example.com")
				r.Equal("outcome", rig.Fates(result), "deferred content "+reply[:3])
				if n := r.Server.Commands("DATA"); n != 2 || r.Conn.Stats().Resends != 0 {
					t.Errorf("%d DATAs", n)
				}
				r.Accepted("dirk@example.com")
			})
		})
	}
}

// Those who wait in the queue go on, as long as every new wire takes a message.
func TestTheQueueGoesOnWhileEveryWireTakesOne(t *testing.T) {
	for name, f := range map[string]smtptest.Fault{
		"421 to the second MAIL": {Command: "MAIL", Nth: 2, Reply: "421 4.7.0 one is enough"},
		"FIN at the second MAIL": {Command: "MAIL", Nth: 2, Answer: smtptest.AnswerNone, Then: smtptest.ThenClose},
		"FIN behind a message":   {Command: ".", Nth: 1, Then: smtptest.ThenClose},
		"421 behind a message": {Command: ".", Nth: 1, Reply: "250 2.0.0 ok\n421 4.3.2 bye",
			Then: smtptest.ThenClose},
	} {
		f.Connection = smtptest.EachConnection
		t.Run(name, func(t *testing.T) {
			rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
				r := s.Start(t,
					rig.Options{Faults: []smtptest.Fault{f}, Client: func(cfg *postrider.Config) { cfg.Window = 1 }})
				var came []<-chan string
				for i := range 10 {
					came = append(came, r.After(0, fmt.Sprintf("bart%d@example.com", i)))
				}
				for _, c := range came {
					r.Equal("outcome", <-c, "accepted content 250")
				}
				if n := len(r.Server.Messages()); n != 10 {
					t.Errorf("the server took %d of 10", n)
				}
			})
		})
	}
}

// And they stop when a wire takes none.
func TestTheQueueStopsWhenAWireTakesNone(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{})
		r.Accepted("anne@example.com")
		r.Server.Inject(smtptest.Fault{
			Command: "MAIL", Delay: time.Second, Answer: smtptest.AnswerNone, Then: smtptest.ThenClose,
		})
		var came []<-chan string
		for range 10 {
			came = append(came, r.After(0, "bart@example.com"))
		}
		for _, c := range came {
			r.Equal("outcome", <-c, "untried mail 0")
		}
		if st := r.Conn.Stats(); st.Dials != 2 {
			t.Errorf("%+v", st)
		}
	})
}

// A resend is within the context of its Send.
func TestAResendIsWithinItsContext(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{Faults: []smtptest.Fault{
			{Command: "MAIL", Nth: 2, Answer: smtptest.AnswerNone, Then: smtptest.ThenClose},
			{Command: smtptest.Greeting, Connection: 2, Answer: smtptest.AnswerNone, Then: smtptest.ThenHang},
		}})
		r.Accepted("bart@example.com")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var result *postrider.Result
		var err error
		if took := rig.Within(func() {
			result, err = r.Conn.Send(ctx, rig.Mail("cate@example.com"))
		}); took != time.Second {
			t.Errorf("it took %v", took)
		}
		if result.Count(postrider.Untried) != 1 || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v, %v", result.Outcomes, err)
		}
	})
}

// A content that can be read once is sent once; but what was held in memory, or
// not read yet, can be sent again.
func TestAOneShotContentIsResentIfItWasNotRead(t *testing.T) {
	before := smtptest.Fault{Command: "DATA", Nth: 4, Answer: smtptest.AnswerNone, Then: smtptest.ThenClose}
	within := smtptest.Fault{AfterRead: 300_000, Nth: 1, Then: smtptest.ThenAbort}
	for name, c := range map[string]struct {
		size  int64
		fault smtptest.Fault
		want  string
	}{
		"small":                 {1000, before, "accepted content 250"},
		"large and not read":    {1 << 20, before, "accepted content 250"},
		"large and partly read": {1 << 20, within, "untried local 0"},
	} {
		t.Run(name, func(t *testing.T) {
			rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
				r := s.Start(t, rig.Options{Faults: []smtptest.Fault{c.fault}})
				for range 3 {
					r.Accepted("bart@example.com")
				}
				m := rig.Mail("cate@example.com")
				m.Content = postrider.Reader(io.LimitReader(rig.Zeros{}, c.size))
				result, err := r.Deliver(m)
				r.Equal("outcome", rig.Fates(result), c.want)
				if result.Count(postrider.Untried) > 0 && !strings.Contains(err.Error(), "only once") {
					t.Errorf("error %v", err)
				}
			})
		})
	}
}

// With messages that follow each other unread, the wire is lost under several.
// Those whose end had left are Unknown, unless their own replies show that they were
// not taken: a 421 that was said to another one shows nothing.
func TestAWindowThatIsLost(t *testing.T) {
	const n = 6
	for name, c := range map[string]struct {
		fault            smtptest.Fault
		accepted, others string
	}{
		"FIN": {
			smtptest.Fault{Command: ".", Nth: 3, Answer: smtptest.AnswerNone, Then: smtptest.ThenClose}, "accepted",
			"unknown",
		},
		// it may swallow replies
		"RST": {
			smtptest.Fault{Command: ".", Nth: 3, Answer: smtptest.AnswerNone, Then: smtptest.ThenAbort}, "", "unknown",
		},
		"421 to MAIL and FIN": {smtptest.Fault{Command: "MAIL", Nth: 3, Reply: "421 4.3.2 bye"}, "accepted", "unknown"},
		"421 to RCPT and FIN": {smtptest.Fault{Command: "RCPT", Nth: 3, Reply: "421 4.3.2 bye"}, "accepted", "unknown"},
		// our FIN ends it
		"421 and silence": {
			smtptest.Fault{Command: "MAIL", Nth: 3, Reply: "421 4.3.2 bye", Then: smtptest.ThenHang}, "accepted",
			"unknown",
		},
		"421 and words": {
			smtptest.Fault{Command: "MAIL", Nth: 3, Reply: "421 4.3.2 bye\n503 no", Then: smtptest.ThenClose},
			"accepted",
			"unknown",
		},
		"421 and it goes on": {smtptest.Fault{Command: "MAIL", Nth: 3, Reply: "421 4.3.2 bye\n503 what\n503 " +
			"what\n250 ok\n250 ok\n250 ok", Then: smtptest.ThenClose}, "accepted", "unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := rig.Setting{Pipelining: true}.Start(t,
					rig.Options{Server: func(s *smtptest.Server) { s.Extensions.Chunking = true }})
				for range 15 {
					r.Accepted("anne@example.com") // the window grows
				}
				r.Server.Clear()
				// The first holds the reply up until all have left.
				r.Server.Inject(c.fault, smtptest.Fault{Command: ".", Nth: 1, Delay: time.Minute})
				var sends sync.WaitGroup
				states := make([]postrider.State, n)
				for i := range n {
					sends.Go(func() {
						time.Sleep(time.Duration(i) * time.Second)
						result, _ := r.Conn.Send(t.Context(), rig.Mail(fmt.Sprintf("bart%d@example.com", i)))
						states[i] = result.Outcomes[0].State
					})
				}
				sends.Wait()
				taken := map[string]int{}
				for _, m := range r.Server.Messages() {
					taken[m.To[0]]++
				}
				for i, state := range states {
					want := c.others
					if i < 2 || i == 2 && strings.HasPrefix(name, "421") { // its own MAIL or RCPT was refused
						want = c.accepted
					}
					if want != "" && state.String() != want {
						t.Errorf("message %d is %v, not %s", i, state, want)
					}
					if k := taken[fmt.Sprintf("bart%d@example.com", i)]; k > 1 || k == 0 &&
						state == postrider.Accepted {
						t.Errorf("message %d was taken %d times and is %v", i, k, state)
					}
				}
			})
		})
	}
}
