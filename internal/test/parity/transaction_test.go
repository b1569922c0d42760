package parity_test

import (
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/test/rig"
	"github.com/postrider/postrider/smtptest"
)

// What becomes of a message when its own transaction is refused or breaks off:
// facts 65 to 73, 81 to 84, 90 and 91.

// Fact 65
func TestMAILRefusedKeepsTheWire(t *testing.T) {
	const wires, pipelined = "MAIL RSET MAIL RCPT DATA . QUIT", "MAIL RCPT RCPT DATA RSET MAIL RCPT DATA . QUIT"
	rig.InEveryRow(t, []rig.Row{
		{
			Name: "550", Faults: rig.At("MAIL", 1, "550 5.7.1 not from you"),
			Fates: "refused mail 550, refused mail 550", Trouble: "mail MAIL 550 lasts", Says: "550 5.7.1 not from you",
			Wires: wires, Pipelined: pipelined,
		},
		{
			Name: "451", Faults: rig.At("MAIL", 1, "451 4.3.0 later"),
			Fates: "deferred mail 451, deferred mail 451", Trouble: "mail MAIL 451 passes",
			Wires: wires, Pipelined: pipelined,
		},
		{
			Name: "552 is the message's size", Faults: rig.At("MAIL", 1, "552 too big"),
			Fates: "refused mail 552, refused mail 552", Trouble: "mail MAIL 552 lasts",
			Wires: wires, Pipelined: pipelined,
		},
		{
			// RFC 4954 §6: nothing about the sender or the recipients.
			Name: "530", Faults: rig.At("MAIL", 1, "530 5.7.0 authentication required"),
			Fates: "untried mail 530, untried mail 530", Trouble: "mail MAIL 530 lasts", Says: "Config.User",
			Wires: wires, Pipelined: pipelined,
		},
		{
			Name: "421", Faults: rig.At("MAIL", 1, "421 4.3.2 going down"),
			Fates: "untried mail 421, untried mail 421", Trouble: "mail MAIL 421 passes",
			Wires: "MAIL | MAIL RCPT DATA . QUIT",
		},
		{
			Name: "421 and the server stays", Faults: []smtptest.Fault{
				{Command: "MAIL", Nth: 1, Reply: "421 4.3.2 going down", Then: smtptest.ThenKeepOpen},
			},
			Fates: "untried mail 421, untried mail 421", Trouble: "mail MAIL 421 passes",
			Wires: "MAIL | MAIL RCPT DATA . QUIT", Pipelined: "MAIL RCPT RCPT DATA | MAIL RCPT DATA . QUIT",
		},
		{
			Name: "421 on a wire that served costs a resend", Served: true,
			Faults: rig.At("MAIL", 2, "421 4.3.2 going down"),
			Fates:  "accepted content 250, accepted content 250", Trouble: "<nil>",
			Wires: "MAIL | MAIL RCPT RCPT DATA . MAIL RCPT DATA . QUIT",
		},
	})
}

// RFC 5321 §4.2: the first digit decides. Mailman wants exactly 250.
//
// Facts 65, 73
func TestTheFirstDigitDecides(t *testing.T) {
	const wires = "MAIL RCPT RCPT DATA . MAIL RCPT DATA . QUIT"
	rig.InEveryRow(t, []rig.Row{
		{Name: "MAIL 259", Faults: rig.At("MAIL", 1, "259 ok"), Fates: "accepted content 250, accepted content 250",
			Trouble: "<nil>", Wires: wires},
		{Name: "MAIL 299", Faults: rig.At("MAIL", 1, "299 ok"), Fates: "accepted content 250, accepted content 250",
			Trouble: "<nil>", Wires: wires},
		{Name: "final 259", Faults: rig.At(".", 1, "259 ok"), Fates: "accepted content 259, accepted content 259",
			Trouble: "<nil>", Wires: wires},
		{Name: "final 499", Faults: rig.At(".", 1, "499 no"), Fates: "deferred content 499, deferred content 499",
			Trouble: "content content 499 passes", Wires: wires},
		{Name: "final 599", Faults: rig.At(".", 1, "599 no"), Fates: "refused content 599, refused content 599",
			Trouble: "content content 599 lasts", Wires: wires},
	})
}

// Fact 66
func TestSomeRecipientsRefused(t *testing.T) {
	rig.InEveryRow(t, []rig.Row{
		{
			Name: "the first for good", Faults: rig.At("RCPT", 1, "550 5.1.1 no such user"),
			Fates: "refused rcpt 550, accepted content 250", Trouble: "<nil>",
			Wires: "MAIL RCPT RCPT DATA . MAIL RCPT DATA . QUIT",
		},
		{
			Name: "the last for now", Faults: rig.At("RCPT", 2, "450 4.2.1 mailbox busy"),
			Fates: "accepted content 250, deferred rcpt 450", Trouble: "<nil>",
			Wires: "MAIL RCPT RCPT DATA . MAIL RCPT DATA . QUIT",
		},
	})
}

// Fact 67
func TestAllRecipientsRefused(t *testing.T) {
	const wires, pipelined = "MAIL RCPT RCPT RSET MAIL RCPT DATA . QUIT",
		"MAIL RCPT RCPT DATA RSET MAIL RCPT DATA . QUIT"
	rig.InEveryRow(t, []rig.Row{
		{
			Name: "550", Faults: []smtptest.Fault{
				{Command: "RCPT", Address: "bart@example.com", Reply: "550 5.1.1 no bart"},
				{Command: "RCPT", Address: "cate@example.com", Reply: "551 5.1.6 cate moved"},
			},
			Fates: "refused rcpt 550, refused rcpt 551", Trouble: "rcpt RCPT 550 lasts", Says: "no bart",
			Wires: wires, Pipelined: pipelined,
		},
		{
			Name: "a deferral leaves hope", Faults: []smtptest.Fault{
				{Command: "RCPT", Nth: 1, Reply: "550 5.1.1 no"}, {Command: "RCPT", Nth: 2, Reply: "450 4.2.0 later"},
			},
			Fates: "refused rcpt 550, deferred rcpt 450", Trouble: "rcpt RCPT 450 passes", Says: "later",
			Wires: wires, Pipelined: pipelined,
		},
	})
}

// A server may answer 354 to the DATA that was in the flight, although it refused
// everybody. A lone dot gets out of it (RFC 2920 §3.1), and its reply decides
// nothing: neither does a 250 accept, nor a 451 defer.
//
// Fact 67
func TestA354ForNobodyIsEndedByALoneDot(t *testing.T) {
	for _, reply := range []string{"250 2.0.0 queued for nobody", "554 5.5.1 no recipients"} {
		rig.InBubble(t, reply[:3], func(t *testing.T) {
			p := rig.PlayServer(t, func(p *rig.Peer) {
				p.Say("220 x")
				p.Hear("EHLO")
				p.Say("250-x\r\n250 PIPELINING")
				p.Hear("MAIL", "RCPT", "RCPT", "DATA")
				p.Say("250 ok\r\n550 5.1.1 no\r\n550 5.1.1 no\r\n354 go")
				p.Hear(".")
				p.Say(reply)
				p.Hear("MAIL", "RCPT", "DATA")
				p.Say("250 ok\r\n250 ok\r\n354 go")
				p.Hear("From:", "To:", "Subject:", "", ".")
				p.Say("250 ok")
				p.Hear("QUIT")
				p.Say("221 bye")
			})
			result, err := p.Send("bart@example.com", "cate@example.com")
			if rig.Fates(result) != "refused rcpt 550, refused rcpt 550" || rig.Trouble(err) != "rcpt RCPT 550 lasts" {
				t.Errorf("%v, %v", rig.Fates(result), err)
			}
			if result, err := p.Send("dirk@example.com"); err != nil {
				t.Errorf("the wire was not kept: %v, %v", result.Outcomes, err)
			}
			p.Quit()
		})
	}
}

// Fact 68
func TestAny2yzToRCPTIsAcceptance(t *testing.T) {
	const wires = "MAIL RCPT RCPT DATA . MAIL RCPT DATA . QUIT"
	var rows []rig.Row
	for _, code := range []string{"250", "251", "252", "259"} {
		rows = append(rows, rig.Row{
			Name: code, Faults: rig.At("RCPT", 1, code+" fine"),
			Fates: "accepted content 250, accepted content 250", Trouble: "<nil>", Wires: wires,
		})
	}
	rig.InEveryRow(t, rows)
}

// Fact 69
func TestA421AtRCPTLeavesNobodyOut(t *testing.T) {
	rig.InEveryRow(t, []rig.Row{
		{
			Name: "behind an accepted one", Faults: rig.At("RCPT", 2, "421 4.7.0 too many"),
			Fates: "untried rcpt 421, untried rcpt 421", Trouble: "rcpt RCPT 421 passes",
			Wires: "MAIL RCPT RCPT | MAIL RCPT DATA . QUIT",
		},
		{
			Name: "behind a refused one", Faults: []smtptest.Fault{{Command: "RCPT", Nth: 1, Reply: "550 5.1.1 no"}, {
				Command: "RCPT", Nth: 2, Reply: "421 4.7.0 too many",
			}},
			Fates: "refused rcpt 550, untried rcpt 421", Trouble: "rcpt RCPT 421 passes",
			Wires: "MAIL RCPT RCPT | MAIL RCPT DATA . QUIT",
		},
		{
			Name: "at the first of two", Faults: rig.At("RCPT", 1, "421 4.7.0 too many"),
			Fates: "untried rcpt 421, untried rcpt 421", Trouble: "rcpt RCPT 421 passes",
			Wires: "MAIL RCPT | MAIL RCPT DATA . QUIT",
		},
		{
			Name: "the refusal stands when the rest is sent again", Served: true,
			Faults: []smtptest.Fault{{Command: "RCPT", Nth: 2, Reply: "550 5.1.1 no"}, {
				Command: "RCPT", Nth: 3, Reply: "421 4.7.0 too many",
			}},
			Fates: "refused rcpt 550, accepted content 250", Trouble: "<nil>",
			Wires: "MAIL RCPT RCPT | MAIL RCPT DATA . MAIL RCPT DATA . QUIT",
		},
	})
}

// Fact 70
func TestNoRecipientsIsSaidBeforeAnythingIsDialled(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{})
		result, err := r.Send()
		r.Equal("error", rig.Trouble(err), "local message 0 lasts")
		if len(result.Outcomes) != 0 || !strings.Contains(rig.Text(err), "no recipient") {
			t.Errorf("%v, %v", result.Outcomes, err)
		}
		if n := r.Server.ConnectionCount(); n != 0 {
			t.Errorf("%d connections for nobody", n)
		}
	})
}

// Fact 71
func TestDuplicatesAreKept(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t,
			rig.Options{Faults: []smtptest.Fault{{Command: "RCPT", Address: "no@example.com", Reply: "550 5.1.1 no"}}})
		result, err := r.Send("no@example.com", "no@example.com")
		r.Equal("outcomes", rig.Fates(result), "refused rcpt 550, refused rcpt 550")
		r.Equal("error", rig.Trouble(err), "rcpt RCPT 550 lasts")
		result, err = r.Send("bart@example.com", "bart@example.com", "no@example.com")
		r.Equal("outcomes", rig.Fates(result), "accepted content 250, accepted content 250, refused rcpt 550")
		r.Equal("error", rig.Trouble(err), "<nil>")
		if m := r.Server.Messages(); len(m) != 1 || len(m[0].To) != 2 {
			t.Errorf("the server took %v", m)
		}
	})
}

// Fact 72
func TestDATARefused(t *testing.T) {
	rig.InEveryRow(t, []rig.Row{
		{
			Name: "451", Faults: rig.At("DATA", 1, "451 4.3.0 no room"),
			Fates: "deferred content 451, deferred content 451", Trouble: "content DATA 451 passes",
			Wires: "MAIL RCPT RCPT DATA RSET MAIL RCPT DATA . QUIT",
		},
		{
			Name: "554", Faults: rig.At("DATA", 1, "554 5.7.1 no"),
			Fates: "refused content 554, refused content 554", Trouble: "content DATA 554 lasts",
			Wires: "MAIL RCPT RCPT DATA RSET MAIL RCPT DATA . QUIT",
		},
		{
			Name:   "a refused recipient stays refused",
			Faults: append(rig.At("RCPT", 1, "550 5.1.1 no"), rig.At("DATA", 1, "451 4.3.0 no room")...),
			Fates:  "refused rcpt 550, deferred content 451", Trouble: "content DATA 451 passes",
			Wires: "MAIL RCPT RCPT DATA RSET MAIL RCPT DATA . QUIT",
		},
		{
			Name: "421", Faults: rig.At("DATA", 1, "421 4.3.2 going down"),
			Fates: "untried content 421, untried content 421", Trouble: "content DATA 421 passes",
			Wires: "MAIL RCPT RCPT DATA | MAIL RCPT DATA . QUIT",
		},
		{
			// RFC 5321 §3.3: only 354 asks for content.
			Name: "250", Faults: rig.At("DATA", 1, "250 ok"),
			Fates: "untried content 250, untried content 250", Trouble: "content DATA 250 lasts", Says: "out of step",
			Wires: "MAIL RCPT RCPT DATA | MAIL RCPT DATA . QUIT",
		},
	})
}

// Fact 73
func TestTheFinalReply(t *testing.T) {
	const wires = "MAIL RCPT RCPT DATA . MAIL RCPT DATA . QUIT"
	rig.InEveryRow(t, []rig.Row{
		{
			Name: "550", Faults: rig.At(".", 1, "550 5.7.1 spam"),
			Fates: "refused content 550, refused content 550", Trouble: "content content 550 lasts", Wires: wires,
		},
		{
			Name: "451", Faults: rig.At(".", 1, "451 4.3.0 disk full"),
			Fates: "deferred content 451, deferred content 451", Trouble: "content content 451 passes", Wires: wires,
		},
		{
			Name:   "refused recipients are not lost",
			Faults: append(rig.At("RCPT", 1, "550 5.1.1 no"), rig.At(".", 1, "451 4.3.0 disk full")...),
			Fates:  "refused rcpt 550, deferred content 451", Trouble: "content content 451 passes", Wires: wires,
		},
		{
			// Nothing about the message or its recipients (RFC 4954 §6).
			Name: "530", Faults: rig.At(".", 1, "530 5.7.0 authentication required"),
			Fates: "untried content 530, untried content 530", Trouble: "content content 530 lasts", Wires: wires,
		},
		{
			// The server has read the message and did not take it; not resent even on
			// a wire that served.
			Name: "421", Served: true, Faults: rig.At(".", 2, "421 4.3.2 going down"),
			Fates: "deferred content 421, deferred content 421", Trouble: "content content 421 passes",
			Wires: "MAIL RCPT RCPT DATA . | MAIL RCPT DATA . QUIT",
		},
	})
}

// The server hangs up, resets or falls silent instead of a reply. The delay lets the
// earlier replies of the flight be read, which a reset would else throw away.
//
// Fact 81
func TestTheWireBreaks(t *testing.T) {
	steps := []struct {
		command, fates, trouble, wires string
	}{
		{"MAIL", "untried mail 0, untried mail 0", "mail MAIL 0 passes", "MAIL"},
		{"RCPT", "untried rcpt 0, untried rcpt 0", "rcpt RCPT 0 passes", "MAIL RCPT"},
		{"DATA", "untried content 0, untried content 0", "content DATA 0 passes", "MAIL RCPT RCPT DATA"},
		{".", "unknown content 0, unknown content 0", "content content 0 lasts", "MAIL RCPT RCPT DATA ."},
	}
	ways := []struct {
		name string
		then smtptest.Then
		is   error
	}{
		{"close", smtptest.ThenClose, io.EOF},
		{"reset", smtptest.ThenAbort, syscall.ECONNRESET},
		{"silence", smtptest.ThenHang, os.ErrDeadlineExceeded},
	}
	var rows []rig.Row
	for _, step := range steps {
		for _, way := range ways {
			row := rig.Row{
				Name: step.command + " " + way.name, Faults: []smtptest.Fault{
					{Command: step.command, Nth: 1, Delay: time.Second, Answer: smtptest.AnswerNone, Then: way.then},
				},
				Fates: step.fates, Trouble: step.trouble, Is: []error{way.is},
				Wires: step.wires + " | MAIL RCPT DATA . QUIT",
			}
			rows = append(rows, row)
		}
	}
	rig.InEveryRow(t, rows)
}

// Fact 81
func TestHalfAReplyIsNone(t *testing.T) {
	rig.InEveryRow(t, []rig.Row{
		{
			Name:   "MAIL",
			Faults: []smtptest.Fault{{Command: "MAIL", Nth: 1, Answer: smtptest.AnswerHalf, Then: smtptest.ThenClose}},
			Fates:  "untried mail 0, untried mail 0", Trouble: "mail MAIL 0 passes", Is: []error{io.ErrUnexpectedEOF},
			Wires: "MAIL | MAIL RCPT DATA . QUIT",
		},
		{
			Name:   "final",
			Faults: []smtptest.Fault{{Command: ".", Nth: 1, Answer: smtptest.AnswerHalf, Then: smtptest.ThenClose}},
			Fates:  "unknown content 0, unknown content 0", Trouble: "content content 0 lasts",
			Is:    []error{io.ErrUnexpectedEOF},
			Wires: "MAIL RCPT RCPT DATA . | MAIL RCPT DATA . QUIT",
		},
	})
}

// Facts 82, 83
func TestWhatIsNoReplyPoisonsTheWire(t *testing.T) {
	long := "250 " + strings.Repeat("x", 9000)
	var rows []rig.Row
	for name, reply := range map[string]string{
		"a line of 9,004 octets": long, "words": "hello there", "no code": "ok 250", "a code of four digits": "2500 ok",
		"code 199": "199 hm", "two codes": "250-a\n251 b",
	} {
		// Where the server itself went on, it waits for a content that never ends.
		pipelined := "MAIL RCPT RCPT DATA"
		if reply[0] == '2' {
			pipelined += " …"
		}
		rows = append(rows,
			rig.Row{
				Name: "MAIL " + name, Faults: rig.At("MAIL", 1, reply), Says: "not an SMTP reply",
				Fates: "untried mail 0, untried mail 0", Trouble: "mail MAIL 0 lasts",
				Wires: "MAIL | MAIL RCPT DATA . QUIT", Pipelined: pipelined + " | MAIL RCPT DATA . QUIT",
			},
			rig.Row{
				Name: "final " + name, Faults: rig.At(".", 1, reply), Says: "not an SMTP reply",
				Fates: "unknown content 0, unknown content 0", Trouble: "content content 0 lasts",
				Wires: "MAIL RCPT RCPT DATA . | MAIL RCPT DATA . QUIT",
			})
	}
	rig.InEveryRow(t, rows)
}

// 354 answers nothing but DATA: the replies are out of step, and what is not read
// is not known.
//
// Facts 82, 83
func TestAReplyThatCannotBeOnePoisonsTheWire(t *testing.T) {
	rig.InEveryRow(t, []rig.Row{
		{
			Name: "MAIL", Faults: rig.At("MAIL", 1, "354 go"), Says: "out of step",
			Fates: "untried mail 354, untried mail 354", Trouble: "mail MAIL 354 lasts",
			Wires: "MAIL | MAIL RCPT DATA . QUIT", Pipelined: "MAIL RCPT RCPT DATA | MAIL RCPT DATA . QUIT",
		},
		{
			Name: "RCPT", Faults: rig.At("RCPT", 2, "354 go"), Says: "out of step",
			Fates: "untried rcpt 354, untried rcpt 354", Trouble: "rcpt RCPT 354 lasts",
			Wires: "MAIL RCPT RCPT | MAIL RCPT DATA . QUIT", Pipelined: "MAIL RCPT RCPT DATA … | MAIL RCPT DATA . QUIT",
		},
		{
			Name: "final", Faults: rig.At(".", 1, "354 go"), Says: "out of step",
			Fates: "unknown content 354, unknown content 354", Trouble: "content content 354 lasts",
			Wires: "MAIL RCPT RCPT DATA . | MAIL RCPT DATA . QUIT",
		},
	})
}

// The refusal before it has been told already; the RSET itself belongs to the
// next message, which goes out on a new wire and loses nothing.
//
// Fact 84
func TestARSETThatFailsCostsNobodyAnything(t *testing.T) {
	for name, f := range map[string]smtptest.Fault{
		"close":   {Command: "RSET", Answer: smtptest.AnswerNone, Then: smtptest.ThenClose},
		"421":     {Command: "RSET", Reply: "421 4.3.2 bye"},
		"silence": {Command: "RSET", Answer: smtptest.AnswerNone, Then: smtptest.ThenHang},
		"500":     {Command: "RSET", Reply: "500 what"}, "251": {Command: "RSET", Reply: "251 hm"},
	} {
		t.Run(name, func(t *testing.T) {
			rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
				r := s.Start(t, rig.Options{Faults: rig.OnFirstWire(append(rig.At("MAIL", 1, "550 5.7.1 no"), f))})
				result, err := r.Send("bart@example.com")
				r.Equal("outcomes", rig.Fates(result), "refused mail 550")
				r.Equal("error", rig.Trouble(err), "mail MAIL 550 lasts")
				r.Accepted("cate@example.com")
				if n := r.Server.ConnectionCount(); n != 2 {
					t.Errorf("%d connections", n)
				}
				if m := r.Server.Messages(); len(m) != 1 {
					t.Errorf("the server took %d messages", len(m))
				}
			})
		})
	}
}
