package parity_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/test/rig"
	"github.com/postrider/postrider/smtptest"
)

// What a Send does and in which order, and how the wires are counted: facts 47 to
// 59.

// Everything that is wrong in itself is found before anything is dialled.
//
// Fact 47
func TestAWrongMessageIsToldBeforeDialling(t *testing.T) {
	broken := errors.New("the disk is gone")
	for name, m := range map[string]*postrider.Message{
		"sender": {From: "a b@example.com", To: []string{"bart@example.com"}},
		"DSN":    {From: "a@example.com", To: []string{"bart@example.com"}, DSN: postrider.DSN{Return: "ALL"}},
		"options": {
			From: "a@example.com", To: []string{"bart@example.com"}, Options: []postrider.RecipientOptions{{}, {}},
		},
		"no options": {
			From: "a@example.com", To: []string{"bart@example.com"}, Options: []postrider.RecipientOptions{},
		},
		"content": {
			From: "a@example.com", To: []string{"bart@example.com"}, Content: postrider.Reader(brokenReader{broken}),
		},
		"missing file": {
			From: "a@example.com", To: []string{"bart@example.com"}, Content: postrider.File("/does/not/exist"),
		},
		"nobody":        {From: "a@example.com"},
		"bad recipient": {From: "a@example.com", To: []string{"bart@example.com>"}},
	} {
		rig.InBubble(t, name, func(t *testing.T) {
			r := rig.Setting{}.Start(t, rig.Options{})
			result, err := r.Deliver(m)
			if len(result.Outcomes) > 0 && result.Outcomes[0].Stage != postrider.StageLocal {
				t.Errorf("outcomes %v", result.Outcomes)
			}
			r.Equal("error", rig.Trouble(err), "local message 0 lasts")
			if name == "content" && !errors.Is(err, broken) {
				t.Errorf("the error lost its cause: %v", err)
			}
			if st := r.Conn.Stats(); st.Dials != 0 {
				t.Errorf("%d dials", st.Dials)
			}
		})
	}
}

type brokenReader struct{ err error }

func (r brokenReader) Read([]byte) (int, error) { return 0, r.err }

// Redirect is asked once per Send. On without a usable address it fails the Send
// before dialling, and nobody gets anything.
//
// Fact 48
func TestRedirectIsAskedOncePerSend(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		asked, to, on := 0, "dev@example.com", true
		r := s.Start(t, rig.Options{Client: func(cfg *postrider.Config) {
			cfg.MaxRecipients = 1 // several transactions, and still one question
			cfg.Redirect = func() (string, bool) { asked++; return to, on }
		}})
		r.Accepted("bart@example.com", "cate@example.com", "not an address")
		if asked != 1 {
			t.Errorf("asked %d times", asked)
		}
		for _, m := range r.Server.Messages() {
			if m.From != "anne@example.com" || !slices.Equal(m.To, []string{"dev@example.com"}) {
				t.Errorf("the server took a message from %q to %v", m.From, m.To)
			}
		}
		for _, bad := range []string{
			"", "Dev <dev@example.com>", "dev@", "dev@example.com\r\nRCPT TO:<x@example.com>",
		} {
			to = bad
			dials := r.Conn.Stats().Transactions
			result, err := r.Send("bart@example.com", "cate@example.com")
			r.Equal("outcomes", rig.Fates(result), "untried local 0, untried local 0")
			r.Equal("error", rig.Trouble(err), "local message 0 lasts")
			if r.Conn.Stats().Transactions != dials {
				t.Errorf("redirected to %q, something was sent", bad)
			}
		}
		on = false
		r.Accepted("bart@example.com")
		if m := r.Server.Messages(); m[len(m)-1].To[0] != "bart@example.com" {
			t.Errorf("with Redirect off the server took a message to %v", m[len(m)-1].To)
		}
	})
}

// A refusal of the safe address is told by the caller's recipients, never by it;
// and no ORCPT tells the server who they are.
//
// Fact 48
func TestRedirectedOutcomesNameTheCallersRecipients(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{
			Client: func(cfg *postrider.Config) {
				cfg.Redirect = func() (string, bool) { return "dev@example.com", true }
			},
			Faults: rig.At("RCPT", 2, "550 5.1.1 once is enough"),
		})
		m := rig.Mail("bart@example.com", "cate@example.com")
		m.Options = slices.Repeat([]postrider.RecipientOptions{{Notify: "FAILURE"}}, len(m.To))
		result, err := r.Deliver(m)
		r.Equal("outcomes", rig.Fates(result), "accepted content 250, refused rcpt 550")
		r.Equal("error", rig.Trouble(err), "<nil>")
		if talk := r.Server.Transcript(1); strings.Contains(talk, "bart") || strings.Contains(talk, "cate") {
			t.Errorf("the server heard of the real recipients:\n%s", talk)
		}
	})
}

// CRLF always: bare LF and bare CR become CRLF, a missing last one is added,
// leading dots are stuffed, and nothing else is touched.
//
// Facts 49–51
func TestLineEndsBecomeCRLF(t *testing.T) {
	long := strings.Repeat("x", 5000)
	contents := map[string][2]string{
		"canonical": {"A: b\r\n\r\nc\r\n", "A: b\r\n\r\nc\r\n"},
		"LF":        {"A: b\n\nc\n", "A: b\r\n\r\nc\r\n"},
		"CR":        {"A: b\r\rc\r", "A: b\r\n\r\nc\r\n"},
		"mixed":     {"A: b\r\n\nc\rd\n\re", "A: b\r\n\r\nc\r\nd\r\n\r\ne\r\n"},
		"no end":    {"A: b\n\nc", "A: b\r\n\r\nc\r\n"},
		"dots":      {".\n..\n.a\n\n.\nb.\n", ".\r\n..\r\n.a\r\n\r\n.\r\nb.\r\n"},
		"a smuggled end": {
			"A: b\n\nc\n.\nMAIL FROM:<x@example.com>\n", "A: b\r\n\r\nc\r\n.\r\nMAIL FROM:<x@example.com>\r\n",
		},
		"a smuggled end CR": {"c\r.\rMAIL", "c\r\n.\r\nMAIL\r\n"},
		"CR CRLF":           {"a\r\r\nb", "a\r\n\r\nb\r\n"},
		"8 bit and NUL":     {"A: b\n\n\xff\x00\xe9\n", "A: b\r\n\r\n\xff\x00\xe9\r\n"},
		"From and Bcc": {
			"Bcc: cate@example.com\n\nFrom here on\n", "Bcc: cate@example.com\r\n\r\nFrom here on\r\n",
		},
		"a long line": {"A: b\n\n" + long, "A: b\r\n\r\n" + long + "\r\n"},
		"empty":       {"", ""},
		"only an end": {"\n", "\r\n"},
	}
	kinds := map[string]func(string) postrider.Content{
		"bytes": func(s string) postrider.Content { return postrider.Bytes([]byte(s)) },
		"reader": func(s string) postrider.Content {
			return postrider.Reader(strings.NewReader(s))
		},
	}
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{Server: func(s *smtptest.Server) { s.RejectBareLineEnds = true }})
		for name, c := range contents {
			for kind, content := range kinds {
				r.Server.Clear()
				m := rig.Mail("bart@example.com")
				m.Content = content(c[0])
				if _, err := r.Deliver(m); err != nil {
					t.Errorf("%s as %s: %v", name, kind, err)
					continue
				}
				got := r.Server.Messages()[0]
				if string(got.Content) != c[1] {
					t.Errorf("%s as %s: the server took %q; want %q", name, kind, got.Content, c[1])
				}
				// SIZE is what comes out (RFC 1870 §5), not what went in.
				if size := got.MailParams["SIZE"]; c[1] != "" && size != fmt.Sprint(len(c[1])) {
					t.Errorf("%s as %s: SIZE=%s for %d octets", name, kind, size, len(c[1]))
				}
			}
		}
	})
}

// Commands in upper case, one EHLO per wire, nothing between transactions.
//
// Fact 52
func TestTheDialogue(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{})
		r.Accepted("bart@example.com", "cate@example.com")
		r.Accepted("dirk@example.com")
		r.Quit()
		const first = "MAIL FROM:<anne@example.com> SIZE=68 BODY=8BITMIME"
		want := []string{
			first, "RCPT TO:<bart@example.com>", "RCPT TO:<cate@example.com>", "DATA", "(68 octets and the final dot)",
			first, "RCPT TO:<dirk@example.com>", "DATA", "(68 octets and the final dot)", "QUIT",
		}
		got := r.Lines(1, "")
		for _, hello := range strings.Fields(s.Intro()) {
			if line := got[0]; line != hello && line != hello+" client.example.com" {
				t.Errorf("introduced by %q", line)
			}
			got = got[1:]
		}
		if !slices.Equal(got, want) {
			t.Errorf("said\n%s", strings.Join(got, "\n"))
		}
	})
}

// Fact 52
func TestNothingIsDeclaredThatWasNotOffered(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{
			Server: func(srv *smtptest.Server) { srv.Extensions = smtptest.Extensions{Pipelining: s.Pipelining} },
		})
		m := rig.Mail("bart@example.com")
		m.DSN = postrider.DSN{Return: "HDRS", EnvelopeID: "x"}
		m.Options = slices.Repeat([]postrider.RecipientOptions{{Notify: "FAILURE", ORCPT: "rfc822;secret@example.com"}},
			len(m.To))
		if _, err := r.Deliver(m); err != nil {
			t.Error(err)
		}
		r.Equal("MAIL and RCPT", strings.Join(append(r.Lines(1, "MAIL"), r.Lines(1, "RCPT")...), "; "),
			"MAIL FROM:<anne@example.com>; RCPT TO:<bart@example.com>")
	})
}

// The EHLO name can be set; without it and without a name of the machine it is
// the address literal, as the default of a Connection is not Mailman's alone.
//
// Fact 52
func TestTheEHLONameIsConfigurable(t *testing.T) {
	rig.InBubble(t, "set", func(t *testing.T) {
		r := rig.Setting{}.Start(t,
			rig.Options{Client: func(cfg *postrider.Config) { cfg.LocalName = "lists.example.org" }})
		r.Accepted("bart@example.com")
		r.Equal("EHLO", strings.Join(r.Lines(1, "EHLO"), ""), "EHLO lists.example.org")
	})
	for _, bad := range []string{"a b", "a\r\nRSET", "bücher.example"} {
		if _, err := postrider.NewConnection(postrider.Config{
			LocalName: bad,
		}); rig.Trouble(err) != "local configuration 0 lasts" {
			t.Errorf("LocalName %q: %v", bad, err)
		}
	}
}

// Addresses are bare. What Mailman would take out of the angle brackets is named
// in the error instead. A bad recipient fails alone, a bad sender fails the Send.
//
// Fact 53
func TestADisplayNameIsAnErrorThatNamesTheAddress(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{})
		result, err := r.Send("Bart <bart@example.com>", "cate@example.com", "<dirk@example.com>")
		r.Equal("outcomes", rig.Fates(result), "refused local 0, accepted content 250, refused local 0")
		r.Equal("error", rig.Trouble(err), "<nil>")
		for i, want := range map[int]string{0: "bart@example.com", 2: "dirk@example.com"} {
			if e := result.Outcomes[i].Err; e == nil || !strings.HasSuffix(e.Error(), "write only "+want) {
				t.Errorf("outcome %d: %v", i, e)
			}
		}
		m := rig.Mail("cate@example.com")
		m.From = "Anne <anne@example.com>"
		result, err = r.Deliver(m)
		r.Equal("outcomes", rig.Fates(result), "untried local 0")
		if rig.Trouble(err) != "local message 0 lasts" ||
			!strings.Contains(rig.Text(err), "write only anne@example.com") {
			t.Error(err)
		}
		r.Equal("said", r.Wires(), "MAIL RCPT DATA .")
	})
}

// Fact 53
func TestTheNullPathAndLocalNames(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{})
		m := rig.Mail("postmaster")
		m.From = ""
		if _, err := r.Deliver(m); err != nil {
			t.Error(err)
		}
		r.Equal("MAIL", strings.Join(r.Lines(1, "MAIL"), ""), "MAIL FROM:<> SIZE=68 BODY=8BITMIME")
		r.Equal("RCPT", strings.Join(r.Lines(1, "RCPT"), ""), "RCPT TO:<postmaster>")
	})
}

// Fact 54
func TestNothingIsInjectedByAnAddress(t *testing.T) {
	bad := []string{
		"bart@example.com\r\nRCPT TO:<eve@example.com>", "bart@example.com\n", "bart\r@example.com",
		"bart\x00@example.com", "b\x7fart@example.com",
		"bart@example.com> NOTIFY=NEVER", "bart@example.com>", "<bart@example.com", "bart @example.com",
		"bart@exam ple.com", "bart@example.com NOTIFY=NEVER",
		`"bart@example.com`, `"bart"x@example.com`, "bart@", "@example.com", "", "\xff@example.com", "bart@[1.2.3.4",
		"bart@.example.com", "bart@example..com",
	}
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{})
		for _, address := range bad {
			result, err := r.Send(address, "cate@example.com")
			if rig.Fates(result) != "refused local 0, accepted content 250" || err != nil {
				t.Errorf("recipient %q: %v, %v", address, result.Outcomes, err)
			}
			if address == "" {
				continue // the null path is a sender
			}
			m := rig.Mail("cate@example.com")
			m.From = address
			if result, err := r.Deliver(m); rig.Fates(result) != "untried local 0" ||
				rig.Trouble(err) != "local message 0 lasts" {
				t.Errorf("sender %q: %v, %v", address, result.Outcomes, err)
			}
		}
		for _, line := range r.Lines(1, "RCPT") {
			if line != "RCPT TO:<cate@example.com>" {
				t.Errorf("the server heard %q", line)
			}
		}
		if n := r.Server.ConnectionCount(); n != 1 {
			t.Errorf("%d connections: a bad address cost a wire", n)
		}
	})
}

// A quoted local part may hold what would end the command outside of it.
//
// Fact 54
func TestQuotedLocalPartsPass(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{})
		for _, address := range []string{
			`"bart simpson"@example.com`, `"a>b<c"@example.com`, `"a\"b\\c"@example.com`, "o'hara+x=y@[127.0.0.1]",
			"x@[IPv6:::1]",
		} {
			r.Server.Clear()
			r.Accepted(address)
			if m := r.Server.Messages(); len(m) != 1 || !slices.Equal(m[0].To, []string{address}) {
				t.Errorf("%s became %v", address, m)
			}
		}
	})
}

// MAIL commands count, and not successes as with Mailman: the RSET behind a
// refused one keeps its wire, and a server's own limit counts them as well.
//
// Facts 56, 57
func TestRefusedTransactionsCount(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{
			Client: func(cfg *postrider.Config) { cfg.MaxTransactions = 2 }, Faults: rig.At("MAIL", 1, "550 5.7.1 no"),
		})
		_, err := r.Send("bart@example.com")
		r.Equal("error", rig.Trouble(err), "mail MAIL 550 lasts")
		if got := r.Counts(3); !slices.Equal(got, []int{1, 2, 2}) {
			t.Errorf("counts %v", got)
		}
		refused := "MAIL"
		if s.Pipelining {
			refused = "MAIL RCPT DATA"
		}
		r.Equal("said", r.Wires(), refused+" RSET MAIL RCPT DATA . QUIT | MAIL RCPT DATA . MAIL RCPT DATA . QUIT")
	})
}

// With one transaction per wire each Send has its own; a message that needs
// several transactions takes as many wires.
//
// Facts 56, 57
func TestOneTransactionPerConnection(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t,
			rig.Options{Client: func(cfg *postrider.Config) { cfg.MaxTransactions, cfg.MaxRecipients = 1, 2 }})
		if got := r.Counts(3); !slices.Equal(got, []int{1, 2, 3}) {
			t.Errorf("counts %v", got)
		}
		result, err := r.Send("a@example.com", "b@example.com", "c@example.com")
		if err != nil || len(result.Transactions) != 2 || result.Transactions[0].Wire != 4 ||
			result.Transactions[1].Wire != 5 {
			t.Errorf("%v, %v", result.Transactions, err)
		}
		r.Equal("said", r.Wires(), "MAIL RCPT DATA . QUIT | MAIL RCPT DATA . QUIT | MAIL RCPT DATA . QUIT | MAIL "+
			"RCPT RCPT DATA . QUIT | MAIL RCPT DATA . QUIT")
	})
}

// QUIT follows the last transaction at once, but Send does not wait for it, as it
// does in Mailman; a server that never answers it costs the next Send Timeouts.Quit.
//
// Fact 57
func TestASlowQUITDelaysNoAnswer(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{
			Client: func(cfg *postrider.Config) { cfg.MaxTransactions = 1 },
			Faults: []smtptest.Fault{{Command: "QUIT", Answer: smtptest.AnswerNone, Then: smtptest.ThenHang}},
		})
		start := time.Now()
		r.Accepted("bart@example.com")
		if took := time.Since(start); took != 0 {
			t.Errorf("Send waited %v for the QUIT", took)
		}
		r.Equal("said", r.Wires(), "MAIL RCPT DATA . QUIT")
		r.Accepted("bart@example.com")
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("the next Send waited %v", took)
		}
	})
}

// Fact 58
func TestAfterAFailureEverythingIsDoneAnew(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{
			Server: func(s *smtptest.Server) { s.Users, s.RequireAuth = map[string]string{"u": "p"}, true },
			Client: func(cfg *postrider.Config) { cfg.AuthMechanisms = []string{"PLAIN"} },
			Faults: []smtptest.Fault{{Command: "RCPT", Nth: 1, Answer: smtptest.AnswerNone, Then: smtptest.ThenClose}},
		})
		_, err := r.Send("bart@example.com")
		r.Equal("error", rig.Trouble(err), "rcpt RCPT 0 passes")
		r.Accepted("bart@example.com")
		r.Equal("said", r.Said(2), s.Intro()+" AUTH MAIL RCPT DATA .")
	})
}

// Fact 59
func TestQuitIsNeverAnError(t *testing.T) {
	for name, f := range map[string]smtptest.Fault{
		"500":     {Command: "QUIT", Reply: "500 what"},
		"close":   {Command: "QUIT", Answer: smtptest.AnswerNone, Then: smtptest.ThenClose},
		"reset":   {Command: "QUIT", Answer: smtptest.AnswerNone, Then: smtptest.ThenAbort},
		"silence": {Command: "QUIT", Answer: smtptest.AnswerNone, Then: smtptest.ThenHang},
		"garbage": {Command: "QUIT", Reply: "bye then"},
		"none":    {Command: "NOOP"},
	} {
		t.Run(name, func(t *testing.T) {
			rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
				r := s.Start(t, rig.Options{Faults: []smtptest.Fault{f}})
				r.Accepted("bart@example.com")
				start := time.Now()
				r.Quit()
				if took := time.Since(start); took > 10*time.Second {
					t.Errorf("Quit took %v", took)
				}
				if r.Conn.Stats().Open {
					t.Error("the wire is open")
				}
				r.Quit()
				r.Accepted("bart@example.com")
			})
		})
	}
}

// Quit lets what is underway finish, within its context.
//
// Fact 59
func TestQuitWaitsForWhatIsUnderway(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{Faults: []smtptest.Fault{{Command: ".", Delay: time.Minute}}})
		for _, limit := range []time.Duration{2 * time.Minute, 10 * time.Second} {
			var result *postrider.Result
			var sendErr error
			done := make(chan struct{})
			go func() {
				defer close(done)
				result, sendErr = r.Conn.Send(t.Context(), rig.Mail("bart@example.com"))
			}()
			synctest.Wait()
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			err := r.Conn.Quit(ctx)
			cancel()
			<-done
			if limit > time.Minute && (err != nil || rig.Fates(result) != "accepted content 250") {
				t.Errorf("Quit: %v; Send: %v, %v", err, result.Outcomes, sendErr)
			}
			if limit < time.Minute && (!errors.Is(err, context.DeadlineExceeded) ||
				rig.Fates(result) != "unknown content 0" || !errors.Is(sendErr, context.DeadlineExceeded)) {
				t.Errorf("Quit: %v; Send: %v, %v", err, result.Outcomes, sendErr)
			}
		}
	})
}
