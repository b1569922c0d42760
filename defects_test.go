package postrider_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/smtptest"
)

// What was seen to go wrong in other clients, each as a test that it does not go
// wrong here.

// failing is a content that breaks off after so many octets.
func failing(after int64, why error) postrider.Content {
	return postrider.Func(func() (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(io.LimitReader(zeros{}, after), errorReader{why})), nil
	})
}

type errorReader struct{ error }

func (e errorReader) Read([]byte) (int, error) { return 0, e.error }

var errGenerator = errors.New("the generator ran out of ideas")

// Clients that end a failed message politely, with QUIT or RSET, end it: the line
// becomes content, or brings the dot with it, and the half is delivered.
func TestDefectHalfAMessageIsNeverDelivered(t *testing.T) {
	inEverySetting(t, func(t *testing.T, s setting) {
		r := s.start(t, options{})
		for _, size := range []int64{0, 1, 1000, 64 << 10, 64<<10 + 1, 128 << 10, 1 << 20} {
			m := mail("bart@example.com", "cate@example.com")
			m.Content = failing(size, errGenerator)
			result, err := r.deliver(m)
			if result.Count(postrider.Untried) != 2 || !errors.Is(err, errGenerator) {
				t.Errorf("content that fails after %d octets: %v, %v", size, fates(result), err)
			}
		}
		if n := len(r.server.Messages()); n != 0 {
			t.Errorf("the server took %d halves", n)
		}
		for i := range int(r.conn.Stats().Dials) {
			if said := r.said(i + 1); !strings.HasSuffix(said, "DATA …") {
				t.Errorf("behind half a content the client said more: %s", said)
			}
		}
		r.accepted("dirk@example.com")
	})
}

// A provider that allows so many messages a connection says 421 to the next MAIL.
// Four clients of five lost that message, and every other one.
func TestDefect421AtAPerConnectionCapLosesNothing(t *testing.T) {
	for limit := 1; limit <= 3; limit++ {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			inEverySetting(t, func(t *testing.T, s setting) {
				r := s.start(t, options{server: func(s *smtptest.Server) { s.MaxTransactions = limit }})
				for i := range 8 {
					r.accepted(fmt.Sprintf("bart%d@example.com", i))
				}
				if n := len(r.server.Messages()); n != 8 {
					t.Errorf("%d of 8 messages arrived", n)
				}
			})
		})
	}
}

// A server that accepts and then says nothing held other clients, and the slots
// of their pools, for ever.
func TestDefectASilentServerHangsNobody(t *testing.T) {
	inEverySetting(t, func(t *testing.T, s setting) {
		for _, point := range []string{smtptest.Greeting, "EHLO", "MAIL", "RCPT", "DATA", smtptest.Terminator} {
			r := s.start(t, options{
				faults: []smtptest.Fault{{Command: point, Connection: 1, Answer: smtptest.None, Then: smtptest.Hang}, {Command: point, Connection: 2, Answer: smtptest.None, Then: smtptest.Hang}},
			})
			for range 2 {
				if result, err := r.send("bart@example.com"); err == nil {
					t.Errorf("silence at %s: %v", point, result.Outcomes)
				}
			}
			r.accepted("bart@example.com") // the next wire is sound, and free
		}
	})
}

// A deadline that was set before STARTTLS and never again killed other clients'
// connections 30 s later.
func TestDefectDeadlinesFromBeforeSTARTTLSDoNotKillTheWire(t *testing.T) {
	inEverySetting(t, func(t *testing.T, s setting) {
		r := s.start(t, options{client: func(cfg *postrider.Config) { cfg.IdleTimeout = -1 }, server: func(s *smtptest.Server) { s.IdleTimeout = -1 }})
		for _, pause := range []time.Duration{0, 32 * time.Second, time.Minute, 4 * time.Minute, 6 * time.Minute, 24 * time.Hour} {
			time.Sleep(pause)
			r.accepted("bart@example.com")
		}
		// A body that takes longer than any deadline, block by block.
		m := mail("bart@example.com")
		m.Content = postrider.Reader(&slowReader{blocks: 20, pause: time.Minute})
		if result, err := r.deliver(m); err != nil {
			t.Errorf("a slow body: %v, %v", result.Outcomes, err)
		}
		if n := r.server.ConnectionCount(); n != 1 {
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
	return zeros{}.Read(p[:min(len(p), 64<<10)])
}

// Extensions that were offered in the clear say nothing about those under TLS
// (RFC 3207 §4.2).
func TestDefectCapabilitiesFromBeforeTLSAreForgotten(t *testing.T) {
	all := smtptest.AllExtensions()
	all.Size, all.Limits = 100, "MAILMAX=1 RCPTMAX=1"
	for _, pipelining := range []bool{false, true} {
		inBubble(t, setting{postrider.StartTLS, pipelining}.String(), func(t *testing.T) {
			s := setting{postrider.StartTLS, pipelining}
			r := s.start(t, options{server: func(s *smtptest.Server) {
				s.BeforeTLS = &all
				s.Extensions = smtptest.Extensions{Pipelining: pipelining}
			}})
			m := mail("bart@example.com", "cate@example.com")
			m.Content = postrider.Bytes(make([]byte, 1000)) // more than SIZE was
			m.DSN = postrider.DSN{Notify: "NEVER", Return: "HDRS", EnvelopeID: "x"}
			for range 2 { // more than MAILMAX was
				if result, err := r.deliver(m); err != nil || len(result.Transactions) != 1 {
					t.Errorf("%v, %v, %v", result.Outcomes, result.Transactions, err)
				}
			}
			r.equal("said", r.wires(), "MAIL RCPT RCPT DATA . MAIL RCPT RCPT DATA .")
			for _, line := range append(r.lines(1, "MAIL"), r.lines(1, "RCPT")...) {
				if !strings.HasSuffix(line, ">") {
					t.Errorf("a parameter that is not offered any more: %s", line)
				}
			}
		})
	}
}

// Nor do those of an EHLO that was answered before hold when only HELO is.
func TestDefectCapabilitiesAreForgottenAtHELO(t *testing.T) {
	inBubble(t, "starttls", func(t *testing.T) {
		r := setting{postrider.StartTLS, true}.start(t, options{faults: []smtptest.Fault{{Command: "EHLO", Nth: 2, Reply: "502 5.5.1 what"}}})
		r.accepted("bart@example.com")
		if got := r.lines(1, "MAIL")[0]; !strings.HasSuffix(got, ">") {
			t.Errorf("a parameter that is not offered any more: %s", got)
		}
		if said := r.said(1); said != "EHLO STARTTLS EHLO HELO MAIL RCPT DATA ." {
			t.Errorf("said %s", said)
		}
	})
}

// A client told success of every message while its server was down.
func TestDefectAServerThatIsDownIsNoSuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := setting{}.start(t, options{})
		r.server.Close()
		for range 3 {
			result, err := r.send("bart@example.com", "cate@example.com")
			r.equal("outcomes", fates(result), "untried connect 0, untried connect 0")
			if !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("error %v", err)
			}
			refused, err := r.conn.SendMail(t.Context(), "a@example.com", []string{"bart@example.com"}, nil)
			if err == nil || len(refused) > 0 {
				t.Errorf("SendMail: %v, %v", refused, err)
			}
		}
	})
}

// What happens behind the 250 of a message does not make it a failure.
func TestDefectADeliveredMessageIsNotReportedAsFailed(t *testing.T) {
	for name, f := range map[string]smtptest.Fault{
		"the server closes":        {Command: ".", Then: smtptest.Close},
		"the server says 421":      {Command: ".", Reply: "250 2.0.0 taken\n421 4.3.2 and now I go", Then: smtptest.Close},
		"a surplus reply":          {Command: ".", Reply: "250 2.0.0 taken\n250 2.0.0 taken"},
		"a surplus refusal":        {Command: ".", Reply: "250 2.0.0 taken\n554 5.3.0 oh no"},
		"garbage":                  {Command: ".", Reply: "250 2.0.0 taken\n\x00\xffoops"},
		"the next RSET is refused": {Command: "RSET", Reply: "502 5.5.1 what"},
		"NOOP is refused":          {Command: "NOOP", Reply: "502 5.5.1 what"},
		"QUIT is refused":          {Command: "QUIT", Reply: "502 5.5.1 what"},
		"QUIT is not answered":     {Command: "QUIT", Answer: smtptest.None, Then: smtptest.Hang},
	} {
		t.Run(name, func(t *testing.T) {
			inEverySetting(t, func(t *testing.T, s setting) {
				r := s.start(t, options{faults: []smtptest.Fault{f}})
				for range 3 {
					r.accepted("bart@example.com", "cate@example.com")
				}
				r.quit()
				if n := len(r.server.Messages()); n != 3 {
					t.Errorf("the server took %d messages", n)
				}
			})
		})
	}
}

// A context of a second ends a Send after a second, whatever the server does not
// say. Other clients look at theirs while dialling only.
func TestDefectTheContextBoundsTheConversation(t *testing.T) {
	inEverySetting(t, func(t *testing.T, s setting) {
		for _, point := range []string{smtptest.Greeting, "EHLO", "MAIL", "RCPT", "DATA", smtptest.Terminator} {
			r := s.start(t, options{faults: []smtptest.Fault{{Command: point, Answer: smtptest.None, Then: smtptest.Hang}}})
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			start := time.Now()
			result, err := r.conn.Send(ctx, mail("bart@example.com"))
			if took := time.Since(start); took != time.Second || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("silence at %s: %v, %v after %v", point, result.Outcomes, err, took)
			}
			cancel()
		}
	})
}

// Each recipient's ORCPT is its own; a client ran them together.
func TestDefectEachRecipientHasItsOwnORCPT(t *testing.T) {
	inEverySetting(t, func(t *testing.T, s setting) {
		r := s.start(t, options{})
		m := mail("one@example.com", "two@example.com", "three@example.com")
		m.DSN = postrider.DSN{Notify: "FAILURE"}
		if _, err := r.deliver(m); err != nil {
			t.Fatal(err)
		}
		got := r.server.Messages()[0]
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
			inEverySetting(t, func(t *testing.T, s setting) {
				r := s.start(t, options{faults: []smtptest.Fault{f}})
				result, _ := r.send("bart@example.com")
				if result.Count(postrider.Refused) != 1 {
					t.Errorf("%v", result.Outcomes)
				}
				for range 3 {
					r.accepted("cate@example.com")
				}
				if n := r.server.ConnectionCount(); n != 1 {
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
			inEverySetting(t, func(t *testing.T, s setting) {
				r := s.start(t, options{faults: []smtptest.Fault{{Command: ".", Nth: 1, Delay: c.late}}})
				result, err := r.send("bart@example.com")
				r.equal("outcomes", fates(result), c.want)
				if unknown := c.want[0] == 'u'; unknown != errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("error %v", err)
				}
				time.Sleep(2 * time.Hour)
				if n := len(r.server.Messages()); n != 1 {
					t.Errorf("the server took it %d times", n)
				}
			})
		})
	}
}

// Bookkeeping that went to a copy: a pool never saw when a connection had been
// used last, and lost one that came back after its Close.
func TestDefectTheIdleTimeIsThatOfTheLastUse(t *testing.T) {
	inEverySetting(t, func(t *testing.T, s setting) {
		r := s.start(t, options{})
		for range 10 {
			r.accepted("bart@example.com")
			time.Sleep(119 * time.Second) // IdleTimeout is 2 minutes
		}
		if n := r.server.ConnectionCount(); n != 1 || !r.conn.Stats().Open {
			t.Errorf("%d connections for a wire in use", n)
		}
		time.Sleep(2 * time.Second)
		if r.conn.Stats().Open {
			t.Error("an idle wire was kept")
		}
	})
}

func TestDefectAWireThatOpensDuringCloseIsNotLeaked(t *testing.T) {
	inEverySetting(t, func(t *testing.T, s setting) {
		opened := 0
		r := s.start(t, options{client: func(cfg *postrider.Config) {
			dial := cfg.Dial
			cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				opened++
				time.Sleep(time.Second) // and does not look at ctx
				return dial(context.WithoutCancel(ctx), network, address)
			}
		}})
		done := make(chan error)
		go func() {
			_, err := r.conn.Send(t.Context(), mail("bart@example.com"))
			done <- err
		}()
		synctest.Wait()
		if took := within(func() { r.conn.Close() }); took > 0 {
			t.Errorf("Close took %v", took)
		}
		if err := <-done; !errors.Is(err, postrider.ErrClosed) || opened != 1 {
			t.Errorf("%d wires, %v", opened, err)
		}
		time.Sleep(time.Second) // it opens now, and is closed
		synctest.Wait()
		if st := r.conn.Stats(); st.Open || st.Queued > 0 {
			t.Errorf("something is left: %+v", st) // a goroutine would fail the bubble
		}
	})
}

// The second message of a connection must get its reply as the first did; a client
// waited 12 minutes for it.
func TestDefectTheSecondMessageDoesNotHang(t *testing.T) {
	inEverySetting(t, func(t *testing.T, s setting) {
		r := s.start(t, options{})
		start := time.Now()
		for range 20 {
			r.accepted("bart@example.com", "cate@example.com", "dirk@example.com")
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
		"FIN":            {Idle: time.Minute, Answer: smtptest.None, Then: smtptest.Close},
		"RST":            {Idle: time.Minute, Answer: smtptest.None, Then: smtptest.Abort},
		"421":            {Idle: time.Minute, Reply: "421 4.4.2 timed out"},
		"421 and no FIN": {Idle: time.Minute, Reply: "421 4.4.2 timed out", Then: smtptest.Hang},
		"451 4.4.2":      {Idle: time.Minute, Reply: "451 4.4.2 timed out", Then: smtptest.Close},
		"half a 421":     {Idle: time.Minute, Reply: "421 4.4.2 timed out", Answer: smtptest.Half, Then: smtptest.Close},
		"silent death":   {Idle: time.Minute, Answer: smtptest.None, Then: smtptest.Hang},
		"421 to MAIL":    {Command: "MAIL", Nth: 2, Reply: "421 4.4.2 you were idle"},
		"451 to MAIL":    {Command: "MAIL", Nth: 2, Reply: "451 4.4.2 you were idle", Then: smtptest.Close},
		"FIN to MAIL":    {Command: "MAIL", Nth: 2, Answer: smtptest.None, Then: smtptest.Close},
		"RST to MAIL":    {Command: "MAIL", Nth: 2, Answer: smtptest.None, Then: smtptest.Abort},
	} {
		t.Run(name, func(t *testing.T) {
			inEverySetting(t, func(t *testing.T, s setting) {
				r := s.start(t, options{faults: onFirstWire([]smtptest.Fault{f})})
				r.accepted("bart@example.com")
				time.Sleep(90 * time.Second)
				r.accepted("cate@example.com")
				r.accepted("dirk@example.com")
				if n := len(r.server.Messages()); n != 3 {
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
		"taken":     {Command: ".", Nth: 2, Answer: smtptest.None, Then: smtptest.Hang},
		"not taken": {Command: ".", Nth: 2, Reply: "451 no", Answer: smtptest.None, Then: smtptest.Hang},
		"too late":  {Command: ".", Nth: 2, Delay: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			inEverySetting(t, func(t *testing.T, s setting) {
				r := s.start(t, options{faults: []smtptest.Fault{f}})
				r.accepted("bart@example.com")
				result, err := r.send("cate@example.com", "dirk@example.com")
				r.equal("outcomes", fates(result), "unknown content 0, unknown content 0")
				r.equal("error", trouble(err), "content content 0 passes")
				time.Sleep(2 * time.Hour)
				if n := r.server.Commands(smtptest.Terminator); n != 2 {
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
			inEverySetting(t, func(t *testing.T, s setting) {
				r := s.start(t, options{faults: onFirstWire([]smtptest.Fault{{Command: command, Nth: 2, Delay: 11 * time.Minute}, {Command: "RCPT", Address: "no@example.com", Reply: "550 5.1.1 no"}})})
				r.accepted("anne@example.com")
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if _, err := r.conn.Send(ctx, mail("bart@example.com")); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("error %v", err)
				}
				// Now the 250 for bart is on its way.
				r.server.Inject(smtptest.Fault{Command: "RCPT", Address: "cate@example.com", Reply: "550 5.1.1 no cate"})
				result, _ := r.send("cate@example.com")
				r.equal("outcomes", fates(result), "refused rcpt 550")
				time.Sleep(time.Hour)
				r.accepted("dirk@example.com")
			})
		})
	}
}

// A failed transaction poisons the session: RSET mends that, NOOP does not see it,
// and a RSET that is not answered with 250 mends nothing.
func TestDefectAFailedTransactionDoesNotPoisonTheSession(t *testing.T) {
	for name, reset := range map[string]smtptest.Fault{
		"250": {Command: "RSET", Reply: "250 2.0.0 reset"}, "251": {Command: "RSET", Reply: "251 hm"}, "502": {Command: "RSET", Reply: "502 5.5.1 what"},
		"354": {Command: "RSET", Reply: "354 go"}, "421": {Command: "RSET", Reply: "421 4.3.2 enough"}, "silence": {Command: "RSET", Answer: smtptest.None, Then: smtptest.Hang},
	} {
		t.Run(name, func(t *testing.T) {
			inEverySetting(t, func(t *testing.T, s setting) {
				r := s.start(t, options{faults: onFirstWire([]smtptest.Fault{{Command: "RCPT", Address: "no@example.com", Reply: "550 5.1.1 no"}, reset})})
				r.accepted("bart@example.com")
				result, _ := r.send("no@example.com")
				r.equal("outcomes", fates(result), "refused rcpt 550")
				r.accepted("cate@example.com")
				want := 2
				if name == "250" {
					want = 1
				}
				if n := r.server.ConnectionCount(); n != want || r.server.Commands("NOOP") > 0 {
					t.Errorf("%d connections, %d NOOPs", n, r.server.Commands("NOOP"))
				}
			})
		})
	}
}
