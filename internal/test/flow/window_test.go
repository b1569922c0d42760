package flow_test

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

// Transactions that follow each other unread: RFC 2920, RFC 3030, and the design of
// docs/pipelining.md.

// plain with PIPELINING; the window tests set CHUNKING themselves.
var windowSetting = rig.Setting{Mode: postrider.Insecure, Pipelining: true}

func chunking(s *smtptest.Server) { s.Extensions.Chunking = true }

// slow lets every terminator wait for a second, so that messages pile up.
var slow = smtptest.Fault{Command: smtptest.Terminator, Delay: time.Second}

// numbered is the message for one recipient, with a body of its own.
func numbered(i int, to ...string) *postrider.Message {
	if len(to) == 0 {
		to = []string{fmt.Sprintf("member%d@example.com", i)}
	}
	return &postrider.Message{From: "anne@example.com", To: to,
		Content: postrider.Bytes(fmt.Appendf(nil, "Subject: %d\r\n\r\nletter %d\r\n.\r\n", i, i))}
}

// answer is what one Send said.
type answer struct {
	result *postrider.Result
	err    error
}

// together sends messages by as many goroutines, in their order: each is in the
// queue before the next one comes.
func together(r *rig.Pair, ctx context.Context, messages ...*postrider.Message) []answer {
	answers := make([]answer, len(messages))
	var wg sync.WaitGroup
	for i, m := range messages {
		wg.Go(func() { answers[i].result, answers[i].err = r.Conn.Send(ctx, m) })
		synctest.Wait() // it is where it waits, and no time has passed
	}
	wg.Wait()
	for i, m := range messages {
		rig.CheckAnswer(r.T, m, answers[i].result, answers[i].err)
	}
	return answers
}

func numberedMails(n int) []*postrider.Message {
	all := make([]*postrider.Message, n)
	for i := range all {
		all[i] = numbered(i)
	}
	return all
}

// checkTaken compares what was reported with what the server took: nothing twice,
// Accepted only if taken, taken only if Accepted or Unknown.
func checkTaken(r *rig.Pair, answers []answer) (unknown int) {
	r.T.Helper()
	taken := map[string]int{}
	for _, m := range r.Server.Messages() {
		for _, to := range m.To {
			taken[to]++
		}
	}
	for i, a := range answers {
		for _, o := range a.result.Outcomes {
			n := taken[o.Recipient]
			switch {
			case n > 1:
				r.T.Errorf("letter %d reached %s %d times", i, o.Recipient, n)
			case o.State == postrider.Unknown:
				unknown++
			case (o.State == postrider.Accepted) != (n == 1):
				r.T.Errorf("letter %d: %v, and the server took it %d times", i, o, n)
			}
		}
	}
	return unknown
}

// flights follows how many transactions are begun and not ended.
type flights struct {
	mu        sync.Mutex
	now, most int
	order     []string
}

func (f *flights) trace() *postrider.Trace {
	return &postrider.Trace{
		Dialogue: func(e postrider.Event) {
			f.mu.Lock()
			defer f.mu.Unlock()
			if strings.HasPrefix(e.Line, "MAIL") {
				f.now++
				f.most = max(f.most, f.now)
			}
			if e.Kind == postrider.EventCommand {
				verb, _, _ := strings.Cut(e.Line, " ")
				f.order = append(f.order, verb)
			} else if strings.Contains(e.Reply.Text, "queued as") {
				f.order = append(f.order, "queued")
			}
		},
		Event: func(e postrider.Event) {
			if e.Kind == postrider.EventTransaction {
				f.mu.Lock()
				defer f.mu.Unlock()
				f.now--
			}
		},
	}
}

func TestWindowGrowsToItsLimitAndNotBeyond(t *testing.T) {
	for _, limit := range []int{1, 2, 8, 64} {
		rig.InBubble(t, fmt.Sprint(limit), func(t *testing.T) {
			var f flights
			r := windowSetting.Start(t,
				rig.Options{Server: chunking, Faults: []smtptest.Fault{slow}, Client: func(cfg *postrider.Config) {
					cfg.Window, cfg.Trace = limit, f.trace()
				}})
			answers := together(r, t.Context(), numberedMails(3*limit+20)...)
			if n := checkTaken(r, answers); n > 0 {
				t.Errorf("%d Unknown", n)
			}
			if f.most != limit {
				t.Errorf("%d transactions were in flight at a time, want %d", f.most, limit)
			}
		})
	}
}

// A terminator does not wait for a next message, and a next envelope does not wait
// for the terminator's reply.
func TestWithPIPELININGAloneContentAndNextEnvelopeShareAFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f flights
		r := windowSetting.Start(t,
			rig.Options{Faults: []smtptest.Fault{slow}, Client: func(cfg *postrider.Config) { cfg.Trace = f.trace() }})
		checkTaken(r, together(r, t.Context(), numberedMails(5)...))
		got := strings.Join(f.order, " ")
		// The first alone; then the content of each and the envelope of the next.
		want := "EHLO MAIL RCPT DATA . queued " +
			"MAIL RCPT DATA . MAIL RCPT DATA queued . MAIL RCPT DATA queued . MAIL RCPT DATA queued . queued"
		r.Equal("order", got, want)
	})
}

// RSET stands before each MAIL behind an unread BDAT LAST, not on a fresh wire and
// not behind the content of DATA.
func TestRSETStandsBehindAnUnreadBDATOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := windowSetting.Start(t, rig.Options{Server: chunking, Faults: []smtptest.Fault{slow}})
		checkTaken(r, together(r, t.Context(), numberedMails(4)...))
		r.Accepted("last@example.com")
		r.Quit()
		// The first is alone; the second follows DATA; the last comes when all is read.
		r.Equal("said", r.Said(1),
			"EHLO MAIL RCPT DATA . MAIL RCPT BDAT … RSET MAIL RCPT BDAT … RSET MAIL RCPT BDAT … MAIL RCPT DATA . QUIT")
	})
}

func TestARefusedNeighbourDisturbsNobody(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault smtptest.Fault
		stage postrider.Stage
	}{
		{"MAIL", smtptest.Fault{Command: "MAIL", Nth: 4, Reply: "550 5.7.1 not from you"}, postrider.StageMail},
		{"all RCPTs", smtptest.Fault{Command: "RCPT", Address: "member3@example.com", Reply: "550 5.1.1 nobody"},
			postrider.StageRcpt},
		{"content", smtptest.Fault{Command: smtptest.Terminator, Nth: 4, Reply: "554 5.7.1 spam", Delay: time.Second},
			postrider.StageContent},
	} {
		for _, chunks := range []bool{true, false} {
			rig.InBubble(t, fmt.Sprintf("%s,chunking=%t", tt.name, chunks), func(t *testing.T) {
				r := windowSetting.Start(t, rig.Options{
					Server: func(s *smtptest.Server) { s.Extensions.Chunking = chunks },
					Faults: []smtptest.Fault{tt.fault, slow},
				})
				answers := together(r, t.Context(), numberedMails(12)...)
				checkTaken(r, answers)
				for i, a := range answers {
					o := a.result.Outcomes[0]
					if i == 3 {
						if o.State != postrider.Refused || o.Stage != tt.stage {
							t.Errorf("letter 3: %v", o)
						}
					} else if o.State != postrider.Accepted {
						t.Errorf("letter %d: %v", i, o)
					}
				}
				r.Quit()
				if n := r.Server.ConnectionCount(); n != 1 {
					t.Errorf("%d connections", n)
				}
			})
		}
	}
}

// 421 in the middle, and a wire that is lost: what its own replies show not to have
// been taken is sent again, the rest is told as it is.
func TestAWireThatEndsInTheMiddleOfAWindow(t *testing.T) {
	for name, fault := range map[string]smtptest.Fault{
		"421 to MAIL":       {Command: "MAIL", Nth: 9, Connection: 1, Reply: "421 4.3.2 enough"},
		"421 to RCPT":       {Command: "RCPT", Nth: 9, Connection: 1, Reply: "421 4.3.2 enough"},
		"421 to terminator": {Command: smtptest.Terminator, Nth: 9, Connection: 1, Reply: "421 4.3.2 enough"},
		"lost at MAIL": {Command: "MAIL", Nth: 9, Connection: 1, Answer: smtptest.AnswerNone,
			Then: smtptest.ThenClose},
		"reset at BDAT": {
			Command: smtptest.Terminator, Nth: 9, Connection: 1, Answer: smtptest.AnswerNone, Then: smtptest.ThenAbort,
		},
		"hung at BDAT": {
			Command: smtptest.Terminator, Nth: 9, Connection: 1, Answer: smtptest.AnswerNone, Then: smtptest.ThenHang,
		},
	} {
		for _, chunks := range []bool{true, false} {
			rig.InBubble(t, fmt.Sprintf("%s,chunking=%t", name, chunks), func(t *testing.T) {
				r := windowSetting.Start(t, rig.Options{
					Server: func(s *smtptest.Server) { s.Extensions.Chunking = chunks },
					Faults: []smtptest.Fault{fault, slow},
				})
				answers := together(r, t.Context(), numberedMails(24)...)
				unknown := checkTaken(r, answers)
				if strings.HasPrefix(name, "421") && !chunks && unknown > 0 {
					t.Errorf("%d Unknown, although nothing was behind the 421 but an envelope", unknown)
				}
				if o := answers[8].result.Outcomes[0]; o.State == postrider.Unknown && strings.HasPrefix(name, "421") {
					t.Errorf("the one that was told 421: %v", o)
				}
				var deferred, left int
				for _, a := range answers {
					deferred += a.result.Count(postrider.Deferred)
					left += a.result.Count(postrider.Untried)
				}
				if want := map[bool]int{true: 1}[name == "421 to terminator"]; deferred != want || left > 0 {
					t.Errorf("%d deferred, want %d; %d untried", deferred, want, left)
				}
				if unknown > 64 {
					t.Errorf("%d Unknown, more than a window", unknown)
				}
			})
		}
	}
}

func TestACancelledSendChangesOnlyWhatItReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := windowSetting.Start(t, rig.Options{Server: chunking, Faults: []smtptest.Fault{slow}})
		checkTaken(r, together(r, t.Context(), numberedMails(8)...)) // the window is open
		r.Server.Clear()
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		m := numbered(100)
		var lost answer
		var wg sync.WaitGroup
		wg.Go(func() { lost.result, lost.err = r.Conn.Send(ctx, m) })
		synctest.Wait()
		answers := together(r, t.Context(), numberedMails(6)...)
		wg.Wait()
		rig.CheckAnswer(t, m, lost.result, lost.err)
		if o := lost.result.Outcomes[0]; o.State != postrider.Unknown ||
			!errors.Is(lost.err, context.DeadlineExceeded) {
			t.Errorf("the cancelled one: %v, %v", o, lost.err)
		}
		checkTaken(r, answers)
		for i, a := range answers {
			if a.err != nil {
				t.Errorf("letter %d: %v", i, a.err)
			}
		}
		if n := r.Server.ConnectionCount(); n != 1 {
			t.Errorf("%d connections: the neighbours' wire was cut", n)
		}
	})
}

func TestCapsAreMetInTheMiddleOfAWindow(t *testing.T) {
	for _, tt := range []struct {
		name   string
		server func(*smtptest.Server)
		client func(*postrider.Config)
	}{
		{"MaxTransactions", chunking, func(c *postrider.Config) { c.MaxTransactions = 7 }},
		{"MAILMAX", func(s *smtptest.Server) { chunking(s); s.Extensions.Limits = "MAILMAX=7" }, nil},
	} {
		rig.InBubble(t, tt.name, func(t *testing.T) {
			r := windowSetting.Start(t,
				rig.Options{Server: tt.server, Client: tt.client, Faults: []smtptest.Fault{slow}})
			checkTaken(r, together(r, t.Context(), numberedMails(28)...))
			s := r.Conn.Stats()
			if s.Dials != 4 || s.Accepted != 28 || s.Resends != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// A server that ends wires after seven transactions is met with 421 on two wires;
// from then on wires change before that.
func TestACapIsLearntFromTwoWiresThatAgree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := windowSetting.Start(t,
			rig.Options{Server: func(s *smtptest.Server) { chunking(s); s.MaxTransactions = 7 }})
		for i := range 35 {
			r.Accepted(fmt.Sprintf("member%d@example.com", i))
		}
		if s := r.Conn.Stats(); s.Resends != 2 || s.Dials != 5 {
			t.Errorf("%d resends and %d dials, want 2 and 5", s.Resends, s.Dials)
		}
		time.Sleep(2 * time.Hour) // it is asked again some time
		r.Server.ClearFaults()
		for i := range 8 {
			r.Accepted(fmt.Sprintf("member%d@example.com", i))
		}
		if s := r.Conn.Stats(); s.Resends != 3 {
			t.Errorf("%d resends after two hours, want 3: what was learnt is forgotten", s.Resends)
		}
	})
}

// A server that is busy for a moment says nothing of how much a wire may carry.
func TestABusyServerTeachesNoCap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		busy := smtptest.Fault{Command: "MAIL", Nth: 2, Reply: "421 4.3.2 busy"}
		first, second := busy, busy
		first.Connection, second.Connection = 1, 2
		r := windowSetting.Start(t, rig.Options{Faults: []smtptest.Fault{first, second}})
		for i := range 20 {
			r.Accepted(fmt.Sprintf("member%d@example.com", i))
		}
		if s := r.Conn.Stats(); s.Dials != 3 || s.EndedByCount != 0 {
			t.Errorf("%d dials, %d wires left for their count", s.Dials, s.EndedByCount)
		}
	})
}

// Exim before 4.96 refused BDAT behind a message that it had refused.
func TestBDATThatIsRefusedWhereItIsDueIsDoneWithout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fell []string
		r := windowSetting.Start(t, rig.Options{Server: chunking, Faults: []smtptest.Fault{
			{Command: "BDAT", Nth: 2, Reply: "503 5.5.1 BDAT not allowed"}, slow,
		}, Client: func(c *postrider.Config) {
			c.Trace = rig.OnEvent(postrider.EventFellBack, func(e postrider.Event) { fell = append(fell, e.Fault) })
		}})
		answers := together(r, t.Context(), numberedMails(20)...)
		checkTaken(r, answers)
		for i, a := range answers {
			if a.err != nil {
				t.Errorf("letter %d: %v", i, a.err)
			}
		}
		if s := r.Conn.Stats(); s.Fallbacks != 1 || len(fell) != 1 {
			t.Errorf("fallbacks: %d, told %q", s.Fallbacks, fell)
		}
	})
}

// A server whose replies do not match what follows unread is served one message at
// a time, and for an hour only.
func TestAServerThatCannotKeepInStepGetsOneAtATime(t *testing.T) {
	for name, fault := range map[string]smtptest.Fault{
		"surplus reply": {Command: "MAIL", Nth: 6, Connection: 1, Reply: "250 2.1.0 ok\n354 what", Delay: time.Second},
		"hangs up": {Command: "MAIL", Nth: 3, Connection: 1, Answer: smtptest.AnswerNone,
			Then: smtptest.ThenClose},
		"falls silent": {Command: "MAIL", Nth: 3, Connection: 1, Answer: smtptest.AnswerNone, Then: smtptest.ThenHang},
	} {
		rig.InBubble(t, name, func(t *testing.T) {
			var f flights
			r := windowSetting.Start(t, rig.Options{
				Server: chunking, Faults: []smtptest.Fault{fault, slow},
				Client: func(c *postrider.Config) { c.Trace = f.trace() },
			})
			answers := together(r, t.Context(), numberedMails(12)...)
			checkTaken(r, answers)
			if s := r.Conn.Stats(); s.Fallbacks != 1 {
				t.Fatalf("%+v", s)
			}
			f.mu.Lock()
			f.now, f.most = 0, 0
			f.mu.Unlock()
			together(r, t.Context(), numberedMails(5)...)
			if f.most != 1 {
				t.Errorf("%d in flight after the fault, want 1", f.most)
			}
			time.Sleep(2 * time.Hour)
			together(r, t.Context(), numberedMails(12)...)
			if f.most < 2 {
				t.Errorf("%d in flight two hours later: the fault is held against it for ever", f.most)
			}
		})
	}
}

// On a wire that was silent for long, the end of a message is held back until one
// reply has come: a wire that died without a word costs a resend and no Unknown.
func TestProbeAfterSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := windowSetting.Start(t, rig.Options{Server: chunking, Faults: []smtptest.Fault{
			// the ninth and last came before
			{Command: "MAIL", Nth: 10, Connection: 1, Answer: smtptest.AnswerNone, Then: smtptest.ThenAbort},
		}, Client: func(c *postrider.Config) { c.IdleTimeout = -1 }})
		checkTaken(r, together(r, t.Context(), numberedMails(9)...))
		r.Server.Clear()
		time.Sleep(time.Minute)
		answers := together(r, t.Context(), numberedMails(4)...)
		if n := checkTaken(r, answers); n != 0 {
			t.Errorf("%d Unknown", n)
		}
		for i, a := range answers {
			if a.err != nil {
				t.Errorf("letter %d: %v", i, a.err)
			}
		}
	})
}

// RCPTMAX makes further transactions, RCPTDOMAINMAX further wires; the outcomes
// come in the caller's order.
func TestRecipientsThatDoNotFitTogether(t *testing.T) {
	to := []string{"a@one.example", "b@two.example", "c@one.example", "d@three.example", "e@two.example"}
	for limits, want := range map[string]struct{ wires, transactions int }{
		"RCPTMAX=2":                 {1, 3},
		"RCPTDOMAINMAX=1":           {3, 3},
		"RCPTDOMAINMAX=2":           {2, 2},
		"RCPTDOMAINMAX=1 RCPTMAX=1": {3, 5},
	} {
		rig.InBubble(t, limits, func(t *testing.T) {
			r := windowSetting.Start(t,
				rig.Options{Server: func(s *smtptest.Server) { chunking(s); s.Extensions.Limits = limits }})
			result, err := r.Send(to...)
			if err != nil || result.Count(postrider.Accepted) != len(to) {
				t.Fatalf("%v %v", result.Outcomes, err)
			}
			if n := int(r.Conn.Stats().Dials); n != want.wires || len(result.Transactions) != want.transactions {
				t.Errorf("%d wires and %d transactions, want %+v", n, len(result.Transactions), want)
			}
		})
	}
}

func TestQuitLetsAWindowFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := windowSetting.Start(t, rig.Options{Server: chunking, Faults: []smtptest.Fault{slow}})
		var wg sync.WaitGroup
		answers := make([]answer, 10)
		for i := range answers {
			wg.Go(func() { answers[i].result, answers[i].err = r.Conn.Send(t.Context(), numbered(i)) })
		}
		synctest.Wait()
		r.Quit()
		wg.Wait()
		for i, a := range answers {
			if a.err != nil {
				t.Errorf("letter %d: %v", i, a.err)
			}
		}
		if err := r.Conn.Close(); err != nil {
			t.Error(err)
		}
		if _, err := r.Conn.Send(t.Context(), numbered(1)); !errors.Is(err, postrider.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
}

// A server hangs up on the RSET that is one too many, with everything behind it unread,
// as Exim does. Whether it went on nobody knows; the next wires change before they get
// there.
func TestARSETThatIsOneTooMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var faults []smtptest.Fault
		for wire := 1; wire <= 2; wire++ {
			faults = append(faults, smtptest.Fault{
				Command: "RSET", Connection: wire, Nth: 20, Reply: "554 Too many nonmail commands",
				Then: smtptest.ThenClose,
			})
		}
		faults = append(faults,
			smtptest.Fault{Command: "RCPT", Address: "nobody@example.com", Reply: "550 5.1.1 nobody"}, slow)
		r := windowSetting.Start(t, rig.Options{Server: chunking, Faults: faults})
		messages := numberedMails(60)
		for i := range messages {
			if i%5 == 2 {
				messages[i].To = []string{"nobody@example.com"}
			}
		}
		answers := together(r, t.Context(), messages...)
		for i, a := range answers {
			want := postrider.Accepted
			if i%5 == 2 {
				want = postrider.Refused
			}
			if o := a.result.Outcomes[0]; o.State != want && o.State != postrider.Unknown {
				t.Errorf("letter %d: %v", i, o)
			}
		}
		if unknown := checkTaken(r, answers); unknown == 0 || unknown > 16 {
			t.Errorf("%d Unknown; the wire had one window of 16 behind the RSET", unknown)
		}
		if s := r.Conn.Stats(); s.Fallbacks != 0 {
			t.Errorf("%+v", s)
		}
		if n := strings.Count(r.Server.Transcript(2), "RSET"); n >= 20 {
			t.Errorf("%d RSETs on the second wire: nothing was learnt", n)
		}
	})
}

// One reply too many shifts all that follow: a 550 that was read for a recipient
// may be about nobody, and must not make an address look dead.
func TestASurplusReplyRefusesNobody(t *testing.T) {
	rig.InBubble(t, "pipelining", func(t *testing.T) {
		r := windowSetting.Start(t, rig.Options{
			Faults: []smtptest.Fault{{Command: "MAIL", Nth: 1, Reply: "250 2.1.0 ok\n550 5.1.1 no such user"}},
		})
		result, err := r.Send("bart@example.com", "cate@example.com")
		if result.Count(postrider.Untried) != 2 || err == nil {
			t.Errorf("%v, %v", result.Outcomes, err)
		}
		if n := len(r.Server.Messages()); n != 0 {
			t.Errorf("the server took %d", n)
		}
	})
}

// Exim hangs up at the eleventh RSET: no more than it could refuse are in flight.
func TestEximHasNoMoreInFlightThanItsResets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f flights
		greeting := smtptest.Fault{
			Command: smtptest.Greeting, Connection: smtptest.EachConnection, Reply: "220 mx ESMTP Exim 4.96 Thu",
		}
		nobody := smtptest.Fault{Command: "RCPT", Address: "member7@example.com", Reply: "550 5.1.1 nobody"}
		r := windowSetting.Start(t, rig.Options{Server: chunking, Faults: []smtptest.Fault{greeting, nobody, slow},
			Client: func(cfg *postrider.Config) { cfg.Trace = f.trace() }})
		messages := numberedMails(100)
		for i := range messages {
			if i%9 == 8 {
				messages[i].To = []string{"member7@example.com"}
			}
		}
		checkTaken(r, together(r, t.Context(), messages...))
		if f.most != 8 { // the window grows to 8; by the time it could hold 9, one is refused
			t.Errorf("%d in flight, want 8", f.most)
		}
		if s := r.Conn.Stats(); s.EndedByCount != 2 || s.Unknown != 0 {
			t.Errorf("12 are refused, and each wire is left after five: %+v", s)
		}
	})
}

// The probe for discarding is a BDAT: in a transaction that is still open, here because
// its DATA was refused, it would be a message of its own.
func TestTheProbeIsNoMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// The first of all: a wire that has completed it would be probed before the second, if that were safe.
		// all wait by then
		refused := smtptest.Fault{Command: "DATA", Nth: 1, Reply: "451 4.3.0 not now", Delay: time.Second}
		r := windowSetting.Start(t, rig.Options{Server: chunking, Faults: []smtptest.Fault{refused, slow},
			Client: func(cfg *postrider.Config) { cfg.Chunking = postrider.UseAuto }})
		answers := together(r, t.Context(), numberedMails(30)...)
		checkTaken(r, answers)
		for _, m := range r.Server.Messages() {
			if !strings.HasPrefix(string(m.Content), "Subject: ") {
				t.Errorf("the server took %q for %q", m.Content, m.To)
			}
		}
		if !strings.Contains(r.Server.Transcript(1), "BDAT 6 LAST") {
			t.Error("the probe was never said: this test could not fail")
		}
	})
}

// A message whose own MAIL ends every wire is given up, and holds up nobody else. Three
// rules see to that, each alone: once for its own command, no wire that completed nothing,
// and nobody who waits behind such a one.
func TestAMessageThatEndsEachWireIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := windowSetting.Start(t, rig.Options{Server: func(s *smtptest.Server) {
			s.Policy = func(c smtptest.Command) string {
				if c.Verb == "MAIL" && c.Address == "poison@example.com" {
					return "421 4.3.0 no"
				}
				return ""
			}
		}})
		messages := numberedMails(12)
		messages[3].From = "poison@example.com"
		for i, a := range together(r, t.Context(), messages...) {
			want := postrider.Accepted
			if i == 3 {
				want = postrider.Untried
			}
			if o := a.result.Outcomes[0]; o.State != want {
				t.Errorf("letter %d: %v", i, o)
			}
		}
		if s := r.Conn.Stats(); s.Transactions > 12+1+2*4 {
			t.Errorf("%+v", s)
		}
	})
}

// A server that hangs up at the probe is asked once, and not on each wire again.
func TestAServerThatClosesAtTheProbeIsAskedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		closes := smtptest.Fault{
			Command: "BDAT", Connection: smtptest.EachConnection, Nth: 1, Answer: smtptest.AnswerNone,
			Then: smtptest.ThenClose,
		}
		r := windowSetting.Start(t, rig.Options{Server: chunking, Faults: []smtptest.Fault{closes, slow},
			Client: func(cfg *postrider.Config) { cfg.Chunking = postrider.UseAuto }})
		for range 2 {
			for i, a := range together(r, t.Context(), numberedMails(30)...) {
				if o := a.result.Outcomes[0]; o.State != postrider.Accepted {
					t.Errorf("letter %d: %v", i, o)
				}
			}
			r.Quit()
		}
		if n := r.Server.Commands("BDAT"); n != 1 {
			t.Errorf("it was probed %d times, want once", n)
		}
	})
}
