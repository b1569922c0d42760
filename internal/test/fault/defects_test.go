package fault_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/test/rig"
	"github.com/postrider/postrider/smtptest"
)

// What was seen to go wrong in other clients, each as a test that it does not go
// wrong here.

// failing is a content that breaks off after this many octets.
func failing(after int64, why error) postrider.Content {
	return postrider.Func(func() (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(io.LimitReader(rig.Zeros{}, after), errorReader{why})), nil
	})
}

type errorReader struct{ error }

func (e errorReader) Read([]byte) (int, error) { return 0, e.error }

var errGenerator = errors.New("the generator ran out of ideas")

// Clients that end a failed message politely, with QUIT or RSET, end it: the line
// becomes content, or brings the dot with it, and the half is delivered.
func TestDefectHalfAMessageIsNeverDelivered(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{})
		for _, size := range []int64{0, 1, 1000, 64 << 10, 64<<10 + 1, 128 << 10, 1 << 20} {
			m := rig.Mail("bart@example.com", "cate@example.com")
			m.Content = failing(size, errGenerator)
			result, err := r.Deliver(m)
			if result.Count(postrider.Untried) != 2 || !errors.Is(err, errGenerator) {
				t.Errorf("content that fails after %d octets: %v, %v", size, rig.Fates(result), err)
			}
		}
		if n := len(r.Server.Messages()); n != 0 {
			t.Errorf("the server took %d halves", n)
		}
		for i := range int(r.Conn.Stats().Dials) {
			if said := r.Said(i + 1); !strings.HasSuffix(said, "DATA …") {
				t.Errorf("behind half a content the client said more: %s", said)
			}
		}
		r.Accepted("dirk@example.com")
	})
}

// A provider that allows this many messages a connection says 421 to the next MAIL.
// Four clients of five lost that message, and every other one.
func TestDefect421AtAPerConnectionCapLosesNothing(t *testing.T) {
	for limit := 1; limit <= 3; limit++ {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
				r := s.Start(t, rig.Options{Server: func(s *smtptest.Server) { s.MaxTransactions = limit }})
				for i := range 8 {
					r.Accepted(fmt.Sprintf("bart%d@example.com", i))
				}
				if n := len(r.Server.Messages()); n != 8 {
					t.Errorf("%d of 8 messages arrived", n)
				}
			})
		})
	}
}

// A server that accepts and then says nothing held other clients, and the slots
// of their pools, for ever.
func TestDefectASilentServerHangsNobody(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		for _, point := range []string{smtptest.Greeting, "EHLO", "MAIL", "RCPT", "DATA", smtptest.Terminator} {
			r := s.Start(t, rig.Options{
				Faults: []smtptest.Fault{
					{Command: point, Connection: 1, Answer: smtptest.AnswerNone, Then: smtptest.ThenHang},
					{Command: point, Connection: 2, Answer: smtptest.AnswerNone, Then: smtptest.ThenHang},
				},
			})
			for range 2 {
				if result, err := r.Send("bart@example.com"); err == nil {
					t.Errorf("silence at %s: %v", point, result.Outcomes)
				}
			}
			r.Accepted("bart@example.com") // the next wire is sound, and free
		}
	})
}

// A deadline that was set before STARTTLS and never again killed other clients'
// connections 30 s later.
func TestDefectDeadlinesFromBeforeSTARTTLSDoNotKillTheWire(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{
			Client: func(cfg *postrider.Config) { cfg.IdleTimeout = -1 },
			Server: func(s *smtptest.Server) { s.IdleTimeout = -1 },
		})
		for _, pause := range []time.Duration{
			0, 32 * time.Second, time.Minute, 4 * time.Minute, 6 * time.Minute, 24 * time.Hour,
		} {
			time.Sleep(pause)
			r.Accepted("bart@example.com")
		}
		// A body that takes longer than any deadline, block by block.
		m := rig.Mail("bart@example.com")
		m.Content = postrider.Reader(&slowReader{blocks: 20, pause: time.Minute})
		if result, err := r.Deliver(m); err != nil {
			t.Errorf("a slow body: %v, %v", result.Outcomes, err)
		}
		if n := r.Server.ConnectionCount(); n != 1 {
			t.Errorf("%d connections", n)
		}
	})
}

// slowReader gives blocks of 64 KiB with a pause before each.
type slowReader struct {
	blocks int
	pause  time.Duration
}

func (s *slowReader) Read(p []byte) (int, error) {
	if s.blocks == 0 {
		return 0, io.EOF
	}
	s.blocks--
	time.Sleep(s.pause)
	return rig.Zeros{}.Read(p[:min(len(p), 64<<10)])
}

// Extensions that were offered in the clear say nothing about those under TLS
// (RFC 3207 §4.2).
func TestDefectCapabilitiesFromBeforeTLSAreForgotten(t *testing.T) {
	all := smtptest.AllExtensions()
	all.Size, all.Limits = 100, "MAILMAX=1 RCPTMAX=1"
	for _, pipelining := range []bool{false, true} {
		rig.InBubble(t, rig.Setting{Mode: postrider.StartTLS, Pipelining: pipelining}.String(), func(t *testing.T) {
			s := rig.Setting{Mode: postrider.StartTLS, Pipelining: pipelining}
			r := s.Start(t, rig.Options{Server: func(s *smtptest.Server) {
				s.BeforeTLS = &all
				s.Extensions = smtptest.Extensions{Pipelining: pipelining}
			}})
			m := rig.Mail("bart@example.com", "cate@example.com")
			m.Content = postrider.Bytes(make([]byte, 1000)) // more than SIZE was
			m.DSN = postrider.DSN{Return: "HDRS", EnvelopeID: "x"}
			m.Options = slices.Repeat([]postrider.RecipientOptions{{Notify: "NEVER"}}, len(m.To))
			for range 2 { // more than MAILMAX was
				if result, err := r.Deliver(m); err != nil || len(result.Transactions) != 1 {
					t.Errorf("%v, %v, %v", result.Outcomes, result.Transactions, err)
				}
			}
			r.Equal("said", r.Wires(), "MAIL RCPT RCPT DATA . MAIL RCPT RCPT DATA .")
			for _, line := range append(r.Lines(1, "MAIL"), r.Lines(1, "RCPT")...) {
				if !strings.HasSuffix(line, ">") {
					t.Errorf("a parameter that is not offered any more: %s", line)
				}
			}
		})
	}
}

// Nor do those of an EHLO that was answered before hold when only HELO is.
func TestDefectCapabilitiesAreForgottenAtHELO(t *testing.T) {
	rig.InBubble(t, "starttls", func(t *testing.T) {
		r := rig.Setting{Mode: postrider.StartTLS, Pipelining: true}.Start(t,
			rig.Options{Faults: []smtptest.Fault{{Command: "EHLO", Nth: 2, Reply: "502 5.5.1 what"}}})
		r.Accepted("bart@example.com")
		if got := r.Lines(1, "MAIL")[0]; !strings.HasSuffix(got, ">") {
			t.Errorf("a parameter that is not offered any more: %s", got)
		}
		if said := r.Said(1); said != "EHLO STARTTLS EHLO HELO MAIL RCPT DATA ." {
			t.Errorf("said %s", said)
		}
	})
}

// A client told success of every message while its server was down.
func TestDefectAServerThatIsDownIsNoSuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rig.Setting{}.Start(t, rig.Options{})
		r.Server.Close()
		for range 3 {
			result, err := r.Send("bart@example.com", "cate@example.com")
			r.Equal("outcomes", rig.Fates(result), "untried connect 0, untried connect 0")
			if !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("error %v", err)
			}
			refused, err := r.Conn.SendMail(t.Context(), "a@example.com", []string{"bart@example.com"}, nil)
			if err == nil || len(refused) > 0 {
				t.Errorf("SendMail: %v, %v", refused, err)
			}
		}
	})
}

// What happens behind the 250 of a message does not make it a failure.
func TestDefectADeliveredMessageIsNotReportedAsFailed(t *testing.T) {
	for name, f := range map[string]smtptest.Fault{
		"the server closes": {Command: ".", Then: smtptest.ThenClose},
		"the server says 421": {
			Command: ".", Reply: "250 2.0.0 taken\n421 4.3.2 and now I go", Then: smtptest.ThenClose,
		},
		"a surplus reply":          {Command: ".", Reply: "250 2.0.0 taken\n250 2.0.0 taken"},
		"a surplus refusal":        {Command: ".", Reply: "250 2.0.0 taken\n554 5.3.0 oh no"},
		"garbage":                  {Command: ".", Reply: "250 2.0.0 taken\n\x00\xffoops"},
		"the next RSET is refused": {Command: "RSET", Reply: "502 5.5.1 what"},
		"NOOP is refused":          {Command: "NOOP", Reply: "502 5.5.1 what"},
		"QUIT is refused":          {Command: "QUIT", Reply: "502 5.5.1 what"},
		"QUIT is not answered":     {Command: "QUIT", Answer: smtptest.AnswerNone, Then: smtptest.ThenHang},
	} {
		t.Run(name, func(t *testing.T) {
			rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
				r := s.Start(t, rig.Options{Faults: []smtptest.Fault{f}})
				for range 3 {
					r.Accepted("bart@example.com", "cate@example.com")
				}
				r.Quit()
				if n := len(r.Server.Messages()); n != 3 {
					t.Errorf("the server took %d messages", n)
				}
			})
		})
	}
}

// A context of a second ends a Send after a second, whatever the server does not
// say. Other clients look at theirs while dialling only.
func TestDefectTheContextBoundsTheConversation(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		for _, point := range []string{smtptest.Greeting, "EHLO", "MAIL", "RCPT", "DATA", smtptest.Terminator} {
			r := s.Start(t, rig.Options{Faults: []smtptest.Fault{
				{Command: point, Answer: smtptest.AnswerNone, Then: smtptest.ThenHang},
			}})
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			start := time.Now()
			result, err := r.Conn.Send(ctx, rig.Mail("bart@example.com"))
			if took := time.Since(start); took != time.Second || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("silence at %s: %v, %v after %v", point, result.Outcomes, err, took)
			}
			cancel()
		}
	})
}

// Each recipient's ORCPT is its own; a client ran them together.
func TestDefectEachRecipientHasItsOwnORCPT(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{})
		m := rig.Mail("one@example.com", "two@example.com", "three@example.com")
		m.Options = slices.Repeat([]postrider.RecipientOptions{{Notify: "FAILURE"}}, len(m.To))
		if _, err := r.Deliver(m); err != nil {
			t.Fatal(err)
		}
		got := r.Server.Messages()[0]
		for i, to := range got.To {
			if orcpt := got.RcptParams[i]["ORCPT"]; orcpt != "rfc822;"+to {
				t.Errorf("%s has ORCPT=%s", to, orcpt)
			}
		}
	})
}

// Without a RSET behind a refused transaction every later message of the
// connection got "503 nested MAIL".
func TestDefectARefusedMessageDoesNotSpoilTheNext(t *testing.T) {
	for name, f := range map[string]smtptest.Fault{
		"MAIL": {Command: "MAIL", Nth: 1, Reply: "550 no"}, "RCPT": {Command: "RCPT", Nth: 1, Reply: "550 no"},
		"DATA": {Command: "DATA", Nth: 1, Reply: "550 no"}, "content": {Command: ".", Nth: 1, Reply: "550 no"},
	} {
		t.Run(name, func(t *testing.T) {
			rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
				r := s.Start(t, rig.Options{Faults: []smtptest.Fault{f}})
				result, _ := r.Send("bart@example.com")
				if result.Count(postrider.Refused) != 1 {
					t.Errorf("%v", result.Outcomes)
				}
				for range 3 {
					r.Accepted("cate@example.com")
				}
				if n := r.Server.ConnectionCount(); n != 1 {
					t.Errorf("%d connections", n)
				}
			})
		})
	}
}

// A client's timeout reported failure for what the server had accepted, so that
// its caller sent it again. A reply that is late counts while it may come; after
// that nobody knows, and that is what is said.
func TestDefectALateAcceptanceIsNoFailure(t *testing.T) {
	for _, c := range []struct {
		late time.Duration
		want string
	}{
		{9 * time.Minute, "accepted content 250"}, {10*time.Minute + time.Second, "accepted content 250"},
		{10*time.Minute + 3*time.Second, "unknown content 0"}, {time.Hour, "unknown content 0"},
	} {
		t.Run(c.late.String(), func(t *testing.T) {
			rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
				r := s.Start(t, rig.Options{Faults: []smtptest.Fault{{Command: ".", Nth: 1, Delay: c.late}}})
				result, err := r.Send("bart@example.com")
				r.Equal("outcomes", rig.Fates(result), c.want)
				if unknown := c.want[0] == 'u'; unknown != errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("error %v", err)
				}
				time.Sleep(2 * time.Hour)
				if n := len(r.Server.Messages()); n != 1 {
					t.Errorf("the server took it %d times", n)
				}
			})
		})
	}
}

// Bookkeeping that went to a copy: a pool never saw when a connection had been
// used last, and lost one that came back after its Close.
func TestDefectTheIdleTimeIsThatOfTheLastUse(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{})
		for range 10 {
			r.Accepted("bart@example.com")
			time.Sleep(119 * time.Second) // IdleTimeout is 2 minutes
		}
		if n := r.Server.ConnectionCount(); n != 1 || !r.Conn.Stats().Open {
			t.Errorf("%d connections for a wire in use", n)
		}
		time.Sleep(2 * time.Second)
		if r.Conn.Stats().Open {
			t.Error("an idle wire was kept")
		}
	})
}

func TestDefectAWireThatOpensDuringCloseIsNotLeaked(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		opened := 0
		r := s.Start(t, rig.Options{Client: func(cfg *postrider.Config) {
			dial := cfg.Dial
			cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				opened++
				time.Sleep(time.Second) // and does not look at ctx
				return dial(context.WithoutCancel(ctx), network, address)
			}
		}})
		done := make(chan error)
		go func() {
			_, err := r.Conn.Send(t.Context(), rig.Mail("bart@example.com"))
			done <- err
		}()
		synctest.Wait()
		if took := rig.Within(func() { r.Conn.Close() }); took > 0 {
			t.Errorf("Close took %v", took)
		}
		if err := <-done; !errors.Is(err, postrider.ErrClosed) || opened != 1 {
			t.Errorf("%d wires, %v", opened, err)
		}
		time.Sleep(time.Second) // it opens now, and is closed
		synctest.Wait()
		if st := r.Conn.Stats(); st.Open || st.Queued > 0 {
			t.Errorf("something is left: %+v", st) // a goroutine would fail the bubble
		}
	})
}

// The second message of a connection must get its reply as the first did; a client
// waited 12 minutes for it.
func TestDefectTheSecondMessageDoesNotHang(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{})
		start := time.Now()
		for range 20 {
			r.Accepted("bart@example.com", "cate@example.com", "dirk@example.com")
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("it took %v", took)
		}
	})
}

// The most frequent complaint: the server closes an idle connection, and the next
// message fails or is lost.
func TestDefectAnIdleConnectionThatWasClosedLosesNothing(t *testing.T) {
	for name, f := range map[string]smtptest.Fault{
		"FIN":            {Idle: time.Minute, Answer: smtptest.AnswerNone, Then: smtptest.ThenClose},
		"RST":            {Idle: time.Minute, Answer: smtptest.AnswerNone, Then: smtptest.ThenAbort},
		"421":            {Idle: time.Minute, Reply: "421 4.4.2 timed out"},
		"421 and no FIN": {Idle: time.Minute, Reply: "421 4.4.2 timed out", Then: smtptest.ThenHang},
		"451 4.4.2":      {Idle: time.Minute, Reply: "451 4.4.2 timed out", Then: smtptest.ThenClose},
		"half a 421": {
			Idle: time.Minute, Reply: "421 4.4.2 timed out", Answer: smtptest.AnswerHalf, Then: smtptest.ThenClose,
		},
		"silent death": {Idle: time.Minute, Answer: smtptest.AnswerNone, Then: smtptest.ThenHang},
		"421 to MAIL":  {Command: "MAIL", Nth: 2, Reply: "421 4.4.2 you were idle"},
		"451 to MAIL":  {Command: "MAIL", Nth: 2, Reply: "451 4.4.2 you were idle", Then: smtptest.ThenClose},
		"FIN to MAIL":  {Command: "MAIL", Nth: 2, Answer: smtptest.AnswerNone, Then: smtptest.ThenClose},
		"RST to MAIL":  {Command: "MAIL", Nth: 2, Answer: smtptest.AnswerNone, Then: smtptest.ThenAbort},
	} {
		t.Run(name, func(t *testing.T) {
			rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
				r := s.Start(t, rig.Options{Faults: rig.OnFirstWire([]smtptest.Fault{f})})
				r.Accepted("bart@example.com")
				time.Sleep(90 * time.Second)
				r.Accepted("cate@example.com")
				r.Accepted("dirk@example.com")
				if n := len(r.Server.Messages()); n != 3 {
					t.Errorf("the server took %d of 3 messages", n)
				}
			})
		})
	}
}

// Sending again after a timeout at the final dot made duplicates: whether the
// server has taken it or not, it is not done here, and the caller is told.
func TestDefectATimeoutAtTheFinalDotMakesNoDuplicate(t *testing.T) {
	for name, f := range map[string]smtptest.Fault{
		"taken":     {Command: ".", Nth: 2, Answer: smtptest.AnswerNone, Then: smtptest.ThenHang},
		"not taken": {Command: ".", Nth: 2, Reply: "451 no", Answer: smtptest.AnswerNone, Then: smtptest.ThenHang},
		"too late":  {Command: ".", Nth: 2, Delay: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
				r := s.Start(t, rig.Options{Faults: []smtptest.Fault{f}})
				r.Accepted("bart@example.com")
				result, err := r.Send("cate@example.com", "dirk@example.com")
				r.Equal("outcomes", rig.Fates(result), "unknown content 0, unknown content 0")
				r.Equal("error", rig.Trouble(err), "content content 0 lasts")
				time.Sleep(2 * time.Hour)
				if n := r.Server.Commands(smtptest.Terminator); n != 2 {
					t.Errorf("%d messages were ended", n)
				}
			})
		})
	}
}

// After a timeout the late reply to message k was read as that to message k+1.
func TestDefectALateReplyIsNotTakenForTheNextOne(t *testing.T) {
	for _, command := range []string{"MAIL", "RCPT", "DATA", "."} {
		t.Run(command, func(t *testing.T) {
			rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
				r := s.Start(t, rig.Options{Faults: rig.OnFirstWire([]smtptest.Fault{
					{Command: command, Nth: 2, Delay: 11 * time.Minute},
					{Command: "RCPT", Address: "no@example.com", Reply: "550 5.1.1 no"},
				})})
				r.Accepted("anne@example.com")
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if _, err := r.Conn.Send(ctx, rig.Mail("bart@example.com")); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("error %v", err)
				}
				// Now the 250 for bart is on its way.
				r.Server.Inject(smtptest.Fault{
					Command: "RCPT", Address: "cate@example.com", Reply: "550 5.1.1 no cate",
				})
				result, _ := r.Send("cate@example.com")
				r.Equal("outcomes", rig.Fates(result), "refused rcpt 550")
				time.Sleep(time.Hour)
				r.Accepted("dirk@example.com")
			})
		})
	}
}

// A failed transaction poisons the session: RSET mends that, NOOP does not see it,
// and a RSET that is not answered with 250 mends nothing.
func TestDefectAFailedTransactionDoesNotPoisonTheSession(t *testing.T) {
	for name, reset := range map[string]smtptest.Fault{
		"250": {Command: "RSET", Reply: "250 2.0.0 reset"}, "251": {Command: "RSET", Reply: "251 hm"},
		"502": {Command: "RSET", Reply: "502 5.5.1 what"},
		"354": {Command: "RSET", Reply: "354 go"}, "421": {Command: "RSET", Reply: "421 4.3.2 enough"},
		"silence": {Command: "RSET", Answer: smtptest.AnswerNone, Then: smtptest.ThenHang},
	} {
		t.Run(name, func(t *testing.T) {
			rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
				r := s.Start(t, rig.Options{Faults: rig.OnFirstWire([]smtptest.Fault{
					{Command: "RCPT", Address: "no@example.com", Reply: "550 5.1.1 no"}, reset,
				})})
				r.Accepted("bart@example.com")
				result, _ := r.Send("no@example.com")
				r.Equal("outcomes", rig.Fates(result), "refused rcpt 550")
				r.Accepted("cate@example.com")
				want := 2
				if name == "250" {
					want = 1
				}
				if n := r.Server.ConnectionCount(); n != want || r.Server.Commands("NOOP") > 0 {
					t.Errorf("%d connections, %d NOOPs", n, r.Server.Commands("NOOP"))
				}
			})
		})
	}
}
