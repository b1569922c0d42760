package flow_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/test/rig"
	"github.com/postrider/postrider/smtptest"
)

// What a server limits, and what it is told beforehand: LIMITS (RFC 9422), the
// number of recipients (RFC 5321 §4.5.3.1.10), SIZE (RFC 1870), DSN (RFC 3461).

// offering lets the server offer more than it does by itself.
func offering(limits string) func(*smtptest.Server) {
	return func(s *smtptest.Server) { s.Extensions.Limits = limits }
}

func TestMAILMAXChangesTheWireInTime(t *testing.T) {
	for name, c := range map[string]struct {
		limits string
		own    int
		want   []int
	}{
		"MAILMAX":         {"MAILMAX=2", 0, []int{1, 1, 2, 2, 3}},
		"its own is less": {"MAILMAX=4", 2, []int{1, 1, 2, 2, 3}},
		"its own is more": {"MAILMAX=2", 4, []int{1, 1, 2, 2, 3}},
		"lower case":      {"mailmax=2", 0, []int{1, 1, 2, 2, 3}},
		"and others":      {"RCPTMAX=7 X-OTHER=1 MAILMAX=2", 0, []int{1, 1, 2, 2, 3}},
		// RFC 9422 §4: a bad value is ignored, a list with bad syntax as a whole.
		"zero":       {"MAILMAX=0", 0, []int{1, 1, 1, 1, 1}},
		"words":      {"MAILMAX=two", 0, []int{1, 1, 1, 1, 1}},
		"empty":      {"MAILMAX=2 RCPTMAX=", 0, []int{1, 1, 1, 1, 1}},
		"no value":   {"MAILMAX=2 X-OTHER", 0, []int{1, 1, 2, 2, 3}},
		"seven long": {"MAILMAX=1000000", 0, []int{1, 1, 1, 1, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
				// The line itself, so that the server does not judge what it says.
				r := s.Start(t, rig.Options{
					Server: func(s *smtptest.Server) { s.Extensions.Lines = []string{"LIMITS " + c.limits} },
					Client: func(cfg *postrider.Config) { cfg.MaxTransactions = c.own },
				})
				if got := r.Counts(5); !slices.Equal(got, c.want) {
					t.Errorf("counts %v; want %v", got, c.want)
				}
			})
		})
	}
}

// A server that enforces its MAILMAX never has to.
func TestMAILMAXIsNeverExceeded(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{
			Server: offering("MAILMAX=3"), Faults: []smtptest.Fault{{Command: "MAIL", Nth: 2, Reply: "550 5.7.1 no"}},
		})
		for i := range 7 {
			if _, err := r.Send("bart@example.com"); (err != nil) != (i == 1) {
				t.Errorf("Send %d: %v", i, err)
			}
		}
		if n, mails := r.Server.ConnectionCount(), r.Server.Commands("MAIL"); n != 3 || mails != 7 {
			t.Errorf("%d connections, %d MAIL commands", n, mails)
		}
	})
}

func TestLIMITSBeforeSTARTTLSAreForgotten(t *testing.T) {
	rig.InBubble(t, "starttls", func(t *testing.T) {
		r := rig.Setting{Mode: postrider.StartTLS}.Start(t, rig.Options{Server: func(s *smtptest.Server) {
			s.BeforeTLS = &smtptest.Extensions{Limits: "MAILMAX=1 RCPTMAX=1", Size: 10}
		}})
		if got := r.Counts(3); !slices.Equal(got, []int{1, 1, 1}) {
			t.Errorf("counts %v", got)
		}
		r.Accepted("bart@example.com", "cate@example.com")
		if n := r.Server.Transactions(); n != 4 {
			t.Errorf("%d transactions", n)
		}
	})
}

// sizes returns how many recipients each transaction had.
func sizes(r *postrider.Result) (n []int) {
	for _, tx := range r.Transactions {
		n = append(n, tx.Recipients)
	}
	return n
}

func TestRCPTMAXSplitsTheMessage(t *testing.T) {
	for name, c := range map[string]struct {
		limits string
		own    int
		want   []int
	}{
		"RCPTMAX": {"RCPTMAX=2", 0, []int{2, 2, 1}}, "its own is less": {"RCPTMAX=4", 2, []int{2, 2, 1}},
		"its own is more": {"RCPTMAX=3", 4, []int{3, 2}},
		"only its own":    {"", 2, []int{2, 2, 1}}, "none": {"", 0, []int{5}}, "negative": {"", -1, []int{5}},
	} {
		t.Run(name, func(t *testing.T) {
			rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
				r := s.Start(t, rig.Options{
					Server: offering(c.limits), Client: func(cfg *postrider.Config) { cfg.MaxRecipients = c.own },
				})
				result, err := r.Send(rig.People(5)...)
				if err != nil || !slices.Equal(sizes(result), c.want) {
					t.Errorf("transactions of %v, %v", sizes(result), err)
				}
				var got []string
				for _, m := range r.Server.Messages() {
					got = append(got, m.To...)
				}
				if !slices.Equal(got, rig.People(5)) {
					t.Errorf("the server took %v", got)
				}
			})
		})
	}
}

// Further domains wait for the next wire.
func TestRCPTDOMAINMAXWaitsForTheNextWire(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{Server: offering("RCPTDOMAINMAX=2")})
		r.Accepted("a@one.example", "b@two.example", "c@three.example", "d@ONE.example", "e@four.example")
		var got [][]string
		for _, m := range r.Server.Messages() {
			got = append(got, append([]string{fmt.Sprint(m.Connection)}, m.To...))
		}
		want := [][]string{
			{"1", "a@one.example", "b@two.example", "d@ONE.example"}, {"2", "c@three.example", "e@four.example"},
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("the server took %v; want %v", got, want)
		}
	})
}

// A server that takes no more recipients without having said so: the rest goes
// into the next transaction at once, and the limit is learnt for this wire.
func TestTooManyRecipientsMoveToTheNextTransaction(t *testing.T) {
	for _, reply := range []string{
		"452 too many recipients", "452 4.5.3 too many recipients", "552 too many recipients",
		"552 5.5.3 too many recipients",
	} {
		t.Run(reply, func(t *testing.T) {
			rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
				r := s.Start(t, rig.Options{Server: refusingBeyond(2, reply)})
				result, err := r.Send(rig.People(5)...)
				if err != nil || result.Count(postrider.Accepted) != 5 {
					t.Errorf("%v, %v", result.Outcomes, err)
				}
				first, second := []int{5, 2, 1}, []int{2, 2, 2}
				if !strings.Contains(reply, ".5.3") { // what is not said is believed the second time
					first, second = []int{5, 3, 1}, []int{6, 2, 2}
				}
				if got := sizes(result); !slices.Equal(got, first) {
					t.Errorf("transactions of %v, want %v", got, first)
				}
				result, err = r.Send(rig.People(6)...)
				if err != nil || !slices.Equal(sizes(result), second) {
					t.Errorf("the next message: transactions of %v, want %v, %v", sizes(result), second, err)
				}
			})
		})
	}
}

// One full mailbox among many is no limit on their number, however often it is met: the
// recipients behind it were accepted.
func TestAFullMailboxAmongOthersIsNoLimit(t *testing.T) {
	for _, reply := range []string{"552 mailbox full", "452 mailbox full"} {
		rig.InBubble(t, reply, func(t *testing.T) {
			r := windowSetting.Start(t,
				rig.Options{Faults: []smtptest.Fault{{Command: "RCPT", Address: rig.People(10)[1], Reply: reply}}})
			for range 3 {
				result, _ := r.Send(rig.People(10)...)
				if result.Count(postrider.Accepted) != 9 || result.Count(postrider.Deferred) != 1 {
					t.Errorf("%v", result.Outcomes)
				}
			}
			result, err := r.Send(rig.People(30)[10:]...)
			if err != nil || !slices.Equal(sizes(result), []int{20}) {
				t.Errorf("twenty others: transactions of %v, %v", sizes(result), err)
			}
		})
	}
}

// refusingBeyond lets the server take n recipients in each transaction.
func refusingBeyond(n int, reply string) func(*smtptest.Server) {
	return func(s *smtptest.Server) {
		taken := 0
		s.Policy = func(c smtptest.Command) string {
			switch c.Verb {
			case "MAIL":
				taken = 0
			case "RCPT":
				if taken++; taken > n {
					return reply
				}
			}
			return ""
		}
	}
}

// Other reasons for 452 and 552 are a matter of that recipient.
func TestAFullMailboxIsNotTooManyRecipients(t *testing.T) {
	for reply, want := range map[string]string{
		"452 4.2.2 mailbox full": "accepted content 250, deferred rcpt 452",
		"552 5.2.2 mailbox full": "accepted content 250, refused rcpt 552",
		"452 4.3.1 no space":     "accepted content 250, deferred rcpt 452",
		"450 4.5.3 too many":     "accepted content 250, deferred rcpt 450",
	} {
		t.Run(reply, func(t *testing.T) {
			rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
				r := s.Start(t, rig.Options{Server: refusingBeyond(1, reply)})
				result, err := r.Send(rig.People(2)...)
				r.Equal("outcomes", rig.Fates(result), want)
				r.Equal("error", rig.Trouble(err), "<nil>")
				if len(result.Transactions) != 1 {
					t.Errorf("transactions %v", result.Transactions)
				}
			})
		})
	}
}

// A transaction that got nobody is not tried again and again.
func TestTooManyRecipientsWithNobodyAcceptedIsADeferral(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{Server: refusingBeyond(0, "452 4.5.3 too many recipients")})
		result, err := r.Send(rig.People(3)...)
		r.Equal("outcomes", rig.Fates(result), "deferred rcpt 452, deferred rcpt 452, deferred rcpt 452")
		r.Equal("error", rig.Trouble(err), "rcpt RCPT 452 passes")
		if len(result.Transactions) != 1 {
			t.Errorf("transactions %v", result.Transactions)
		}
	})
}

// What is over the server's SIZE is refused before its MAIL, and the wire stays.
//
// Fact 52
func TestSIZEIsCheckedBeforeSending(t *testing.T) {
	file := filepath.Join(t.TempDir(), "large.eml")
	large := bytes.Repeat([]byte("x"), 200_000)
	if err := os.WriteFile(file, large, 0o600); err != nil {
		t.Fatal(err)
	}
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{Server: func(s *smtptest.Server) { s.Extensions.Size = 100_000 }})
		for name, c := range map[string]postrider.Content{
			"bytes": postrider.Bytes(large), "file": postrider.File(file),
			// LF becomes CRLF: 60,000 octets are 120,000.
			"small before repair": postrider.Bytes(bytes.Repeat([]byte("\n"), 60_000)),
		} {
			m := rig.Mail("bart@example.com", "cate@example.com")
			m.Content = c
			result, err := r.Deliver(m)
			r.Equal(name+" outcomes", rig.Fates(result), "refused local 0, refused local 0")
			r.Equal(name+" error", rig.Trouble(err), "local message 0 lasts")
			if err == nil || !strings.Contains(rig.Text(err), "100000") ||
				!strings.Contains(rig.Text(err), "message_size_limit") {
				t.Errorf("%s: %v", name, err)
			}
		}
		m := rig.Mail("bart@example.com")
		m.Content = postrider.Bytes(append(bytes.Repeat([]byte("x"), 99_998), "\r\n"...))
		if _, err := r.Deliver(m); err != nil {
			t.Errorf("exactly SIZE octets: %v", err)
		}
		if n := r.Server.Commands("MAIL"); n != 1 || r.Server.ConnectionCount() != 1 {
			t.Errorf("%d MAIL commands", n)
		}
	})
}

func TestSIZEWithoutALimitLimitsNothing(t *testing.T) {
	for _, line := range []string{"SIZE", "SIZE 0"} {
		rig.InBubble(t, line, func(t *testing.T) {
			var declared string
			p := rig.PlayServer(t, func(p *rig.Peer) {
				p.Hello(line)
				declared = p.Hear("MAIL")
				p.Say("250 ok")
				p.Hear("RCPT")
				p.Say("550 no")
			})
			_, _ = p.Send("bart@example.com")
			if declared != "MAIL FROM:<anne@example.com> SIZE=68" {
				t.Errorf("MAIL was %q", declared)
			}
		})
	}
}

// A stream of unknown length declares nothing: a wrong SIZE is worse than none.
//
// Fact 52
func TestSIZEIsNotDeclaredWhereItIsNotKnown(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{})
		m := rig.Mail("bart@example.com")
		m.Content = postrider.Func(func() (io.ReadCloser, error) {
			return io.NopCloser(io.LimitReader(rig.Zeros{}, 200_000)), nil
		})
		if _, err := r.Deliver(m); err != nil {
			t.Fatal(err)
		}
		got := r.Server.Messages()[0]
		if _, declared := got.MailParams["SIZE"]; declared || len(got.Content) < 200_000 {
			t.Errorf("%v, %d octets", got.MailParams, len(got.Content))
		}
	})
}

// BODY=8BITMIME whenever it is offered; what is 8-bit goes out as it is where it
// is not. Nothing is converted.
//
// Fact 52
func Test8BITMIME(t *testing.T) {
	for _, offered := range []bool{true, false} {
		rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
			r := s.Start(t, rig.Options{Server: func(s *smtptest.Server) { s.Extensions.EightBitMIME = offered }})
			for _, body := range []string{"Subject: x\r\n\r\nascii\r\n", "Subject: x\r\n\r\n\xe4\r\n"} {
				r.Server.Clear()
				m := rig.Mail("bart@example.com")
				m.Content = postrider.Bytes([]byte(body))
				if _, err := r.Deliver(m); err != nil {
					t.Fatal(err)
				}
				want := map[bool]string{true: "8BITMIME"}[offered]
				if got := r.Server.Messages()[0]; got.MailParams["BODY"] != want || string(got.Content) != body {
					t.Errorf("BODY=%q, %q", got.MailParams["BODY"], got.Content)
				}
			}
		})
	}
}

func TestDSNParameters(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{})
		for _, c := range []struct {
			dsn        postrider.DSN
			options    postrider.RecipientOptions
			mail, rcpt string
		}{
			{},
			{dsn: postrider.DSN{Return: "FULL"}, mail: " RET=FULL", rcpt: " ORCPT=rfc822;a+2Bb@example.com"},
			{
				dsn:  postrider.DSN{Return: "hdrs", EnvelopeID: "a+b=c d"},
				mail: " RET=HDRS ENVID=a+2Bb+3Dc+20d", rcpt: " ORCPT=rfc822;a+2Bb@example.com",
			},
			{options: postrider.RecipientOptions{Notify: "never"},
				rcpt: " NOTIFY=NEVER ORCPT=rfc822;a+2Bb@example.com"},
			{
				options: postrider.RecipientOptions{Notify: "FAILURE,delay"},
				rcpt:    " NOTIFY=FAILURE,DELAY ORCPT=rfc822;a+2Bb@example.com",
			},
			{options: postrider.RecipientOptions{ORCPT: "rfc822;c=d@example.com"},
				rcpt: " ORCPT=rfc822;c+3Dd@example.com"},
			{options: postrider.RecipientOptions{ORCPT: "X-Id;42"}, rcpt: " ORCPT=X-Id;42"},
		} {
			before := len(r.Lines(1, "MAIL"))
			m := rig.Mail("a+b@example.com")
			m.DSN, m.Options = c.dsn, []postrider.RecipientOptions{c.options}
			if _, err := r.Deliver(m); err != nil {
				t.Fatal(err)
			}
			r.Equal("MAIL", r.Lines(1, "MAIL")[before], "MAIL FROM:<anne@example.com> SIZE=68 BODY=8BITMIME"+c.mail)
			r.Equal("RCPT", r.Lines(1, "RCPT")[before], "RCPT TO:<a+b@example.com>"+c.rcpt)
		}
		for _, bad := range []postrider.DSN{
			{Return: "ALL"}, {EnvelopeID: "a\r\nb"}, {EnvelopeID: strings.Repeat("x", 101)}, {EnvelopeID: "ä"},
			{Return: "FULL SIZE=1"},
		} {
			m := rig.Mail("bart@example.com")
			m.DSN = bad
			result, err := r.Deliver(m)
			if rig.Fates(result) != "untried local 0" || rig.Trouble(err) != "local message 0 lasts" {
				t.Errorf("%+v: %v, %v", bad, result.Outcomes, err)
			}
		}
	})
}

// RFC 5321 §4.5.3.1.4: no server need take a command of more than 512 octets. A recipient that would need one is
// refused here, and the others get their mail; a sender fails the call. The 64 octets of a local part are no limit.
func TestAddressesThatNoCommandCanHold(t *testing.T) {
	long := func(octets int, domain string) string { return strings.Repeat("x", octets-len(domain)) + domain }
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{})
		fits, tooLong := long(512-len("RCPT TO:<>\r\n"), "@example.com"),
			long(513-len("RCPT TO:<>\r\n"), "@example.com")
		wide := long(498, "@b\u00fccher.example") // it fits, and its A-labels do not
		huge := long(1_000_000, "@example.com")
		result, err := r.Send(fits, tooLong, "bart@example.com", wide, huge)
		r.Equal("outcomes", rig.Fates(result),
			"accepted content 250, refused local 0, accepted content 250, refused local 0, refused local 0")
		if o := result.Outcomes[1]; err != nil || o.Err == nil || !strings.Contains(o.Err.Error(), "RCPT") ||
			len(o.Err.Error()) > 200 {
			t.Errorf("%v, %.300v", err, o.Err)
		}
		m := rig.Mail("bart@example.com")
		m.From = long(512-len("MAIL FROM:<>\r\n"), "@example.com")
		if _, err := r.Deliver(m); err != nil {
			t.Errorf("%.300v", err)
		}
		m.From = "x" + m.From
		result, err = r.Deliver(m)
		r.Equal("outcomes", rig.Fates(result), "untried local 0")
		if !strings.Contains(rig.Text(err), "sender") || !strings.Contains(rig.Text(err), "MAIL") ||
			len(rig.Text(err)) > 300 {
			t.Errorf("%.400v", err)
		}
	})
	for what, cfg := range map[string]postrider.Config{"LocalName": {LocalName: strings.Repeat("x", 506)}} {
		if _, err := postrider.NewConnection(cfg); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%.300v", err)
		}
	}
	if c, err := postrider.NewConnection(postrider.Config{LocalName: strings.Repeat("x", 505)}); err != nil {
		t.Error(err)
	} else {
		c.Close()
	}
	rig.InBubble(t, "development mode", func(t *testing.T) {
		r := rig.Setting{}.Start(t, rig.Options{Client: func(cfg *postrider.Config) {
			cfg.Redirect = func() (string, bool) { return long(501, "@example.com"), true }
		}})
		result, err := r.Send("bart@example.com")
		r.Equal("outcomes", rig.Fates(result), "untried local 0")
		if !strings.Contains(rig.Text(err), "development mode") || len(rig.Text(err)) > 300 {
			t.Errorf("%.400v", err)
		}
	})
}
