package postrider_test

import (
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/postrider/postrider/smtptest"
)

// What becomes of a message when its own transaction is refused or breaks off:
// facts 65 to 73, 81 to 84, 90 and 91.

func at(command string, nth int, reply string) []smtptest.Fault {
	return []smtptest.Fault{{Command: command, Nth: nth, Reply: reply}}
}

func TestFact65MAILRefusedKeepsTheWire(t *testing.T) {
	const wires, pipelined = "MAIL RSET MAIL RCPT DATA . QUIT", "MAIL RCPT RCPT DATA RSET MAIL RCPT DATA . QUIT"
	inEveryRow(t, []row{
		{
			name: "550", faults: at("MAIL", 1, "550 5.7.1 not from you"),
			fates: "refused mail 550, refused mail 550", trouble: "mail MAIL 550 lasts", says: "550 5.7.1 not from you",
			wires: wires, pipelined: pipelined,
		},
		{
			name: "451", faults: at("MAIL", 1, "451 4.3.0 later"),
			fates: "deferred mail 451, deferred mail 451", trouble: "mail MAIL 451 passes",
			wires: wires, pipelined: pipelined,
		},
		{
			name: "552 is the message's size", faults: at("MAIL", 1, "552 too big"),
			fates: "refused mail 552, refused mail 552", trouble: "mail MAIL 552 lasts",
			wires: wires, pipelined: pipelined,
		},
		{
			// RFC 4954 §6: nothing about the sender or the recipients.
			name: "530", faults: at("MAIL", 1, "530 5.7.0 authentication required"),
			fates: "untried mail 530, untried mail 530", trouble: "mail MAIL 530 lasts", says: "smtp_user",
			wires: wires, pipelined: pipelined,
		},
		{
			name: "421", faults: at("MAIL", 1, "421 4.3.2 going down"),
			fates: "untried mail 421, untried mail 421", trouble: "mail MAIL 421 passes",
			wires: "MAIL | MAIL RCPT DATA . QUIT",
		},
		{
			name: "421 and the server stays", faults: []smtptest.Fault{{Command: "MAIL", Nth: 1, Reply: "421 4.3.2 going down", Then: smtptest.KeepOpen}},
			fates: "untried mail 421, untried mail 421", trouble: "mail MAIL 421 passes",
			wires: "MAIL | MAIL RCPT DATA . QUIT", pipelined: "MAIL RCPT RCPT DATA | MAIL RCPT DATA . QUIT",
		},
		{
			name: "421 on a wire that served costs a resend", served: true, faults: at("MAIL", 2, "421 4.3.2 going down"),
			fates: "accepted content 250, accepted content 250", trouble: "<nil>",
			wires: "MAIL | MAIL RCPT RCPT DATA . MAIL RCPT DATA . QUIT",
		},
	})
}

// RFC 5321 §4.2: the first digit decides. Mailman wants exactly 250.
func TestFact65And73TheFirstDigitDecides(t *testing.T) {
	const wires = "MAIL RCPT RCPT DATA . MAIL RCPT DATA . QUIT"
	inEveryRow(t, []row{
		{name: "MAIL 259", faults: at("MAIL", 1, "259 ok"), fates: "accepted content 250, accepted content 250", trouble: "<nil>", wires: wires},
		{name: "MAIL 299", faults: at("MAIL", 1, "299 ok"), fates: "accepted content 250, accepted content 250", trouble: "<nil>", wires: wires},
		{name: "final 259", faults: at(".", 1, "259 ok"), fates: "accepted content 259, accepted content 259", trouble: "<nil>", wires: wires},
		{name: "final 499", faults: at(".", 1, "499 no"), fates: "deferred content 499, deferred content 499", trouble: "content content 499 passes", wires: wires},
		{name: "final 599", faults: at(".", 1, "599 no"), fates: "refused content 599, refused content 599", trouble: "content content 599 lasts", wires: wires},
	})
}

func TestFact66SomeRecipientsRefused(t *testing.T) {
	inEveryRow(t, []row{
		{
			name: "the first for good", faults: at("RCPT", 1, "550 5.1.1 no such user"),
			fates: "refused rcpt 550, accepted content 250", trouble: "<nil>",
			wires: "MAIL RCPT RCPT DATA . MAIL RCPT DATA . QUIT",
		},
		{
			name: "the last for now", faults: at("RCPT", 2, "450 4.2.1 mailbox busy"),
			fates: "accepted content 250, deferred rcpt 450", trouble: "<nil>",
			wires: "MAIL RCPT RCPT DATA . MAIL RCPT DATA . QUIT",
		},
	})
}

func TestFact67AllRecipientsRefused(t *testing.T) {
	const wires, pipelined = "MAIL RCPT RCPT RSET MAIL RCPT DATA . QUIT", "MAIL RCPT RCPT DATA RSET MAIL RCPT DATA . QUIT"
	inEveryRow(t, []row{
		{
			name: "550", faults: []smtptest.Fault{{Command: "RCPT", Address: "bart@example.com", Reply: "550 5.1.1 no bart"}, {Command: "RCPT", Address: "cate@example.com", Reply: "551 5.1.6 cate moved"}},
			fates: "refused rcpt 550, refused rcpt 551", trouble: "rcpt RCPT 550 lasts", says: "no bart",
			wires: wires, pipelined: pipelined,
		},
		{
			name: "a deferral leaves hope", faults: []smtptest.Fault{{Command: "RCPT", Nth: 1, Reply: "550 5.1.1 no"}, {Command: "RCPT", Nth: 2, Reply: "450 4.2.0 later"}},
			fates: "refused rcpt 550, deferred rcpt 450", trouble: "rcpt RCPT 450 passes", says: "later",
			wires: wires, pipelined: pipelined,
		},
	})
}

// A server may answer 354 to the DATA that was in the flight, although it refused
// everybody. A lone dot gets out of it (RFC 2920 §3.1), and its reply decides
// nothing: neither does a 250 accept, nor a 451 defer.
func TestFact67A354ForNobodyIsEndedByALoneDot(t *testing.T) {
	for _, reply := range []string{"250 2.0.0 queued for nobody", "554 5.5.1 no recipients"} {
		inBubble(t, reply[:3], func(t *testing.T) {
			p := playServer(t, func(p *peer) {
				p.say("220 x")
				p.hear("EHLO")
				p.say("250-x\r\n250 PIPELINING")
				p.hear("MAIL", "RCPT", "RCPT", "DATA")
				p.say("250 ok\r\n550 5.1.1 no\r\n550 5.1.1 no\r\n354 go")
				p.hear(".")
				p.say(reply)
				p.hear("MAIL", "RCPT", "DATA")
				p.say("250 ok\r\n250 ok\r\n354 go")
				p.hear("From:", "To:", "Subject:", "", ".")
				p.say("250 ok")
				p.hear("QUIT")
				p.say("221 bye")
			})
			result, err := p.send("bart@example.com", "cate@example.com")
			if fates(result) != "refused rcpt 550, refused rcpt 550" || trouble(err) != "rcpt RCPT 550 lasts" {
				t.Errorf("%v, %v", fates(result), err)
			}
			if result, err := p.send("dirk@example.com"); err != nil {
				t.Errorf("the wire was not kept: %v, %v", result.Outcomes, err)
			}
			p.quit()
		})
	}
}

func TestFact68Any2yzToRCPTIsAcceptance(t *testing.T) {
	const wires = "MAIL RCPT RCPT DATA . MAIL RCPT DATA . QUIT"
	var rows []row
	for _, code := range []string{"250", "251", "252", "259"} {
		rows = append(rows, row{
			name: code, faults: at("RCPT", 1, code+" fine"),
			fates: "accepted content 250, accepted content 250", trouble: "<nil>", wires: wires,
		})
	}
	inEveryRow(t, rows)
}

func TestFact69A421AtRCPTLeavesNobodyOut(t *testing.T) {
	inEveryRow(t, []row{
		{
			name: "behind an accepted one", faults: at("RCPT", 2, "421 4.7.0 too many"),
			fates: "untried rcpt 421, untried rcpt 421", trouble: "rcpt RCPT 421 passes",
			wires: "MAIL RCPT RCPT | MAIL RCPT DATA . QUIT",
		},
		{
			name: "behind a refused one", faults: []smtptest.Fault{{Command: "RCPT", Nth: 1, Reply: "550 5.1.1 no"}, {Command: "RCPT", Nth: 2, Reply: "421 4.7.0 too many"}},
			fates: "refused rcpt 550, untried rcpt 421", trouble: "rcpt RCPT 421 passes",
			wires: "MAIL RCPT RCPT | MAIL RCPT DATA . QUIT",
		},
		{
			name: "at the first of two", faults: at("RCPT", 1, "421 4.7.0 too many"),
			fates: "untried rcpt 421, untried rcpt 421", trouble: "rcpt RCPT 421 passes",
			wires: "MAIL RCPT | MAIL RCPT DATA . QUIT",
		},
		{
			name: "the refusal stands when the rest is sent again", served: true,
			faults: []smtptest.Fault{{Command: "RCPT", Nth: 2, Reply: "550 5.1.1 no"}, {Command: "RCPT", Nth: 3, Reply: "421 4.7.0 too many"}},
			fates:  "refused rcpt 550, accepted content 250", trouble: "<nil>",
			wires: "MAIL RCPT RCPT | MAIL RCPT DATA . MAIL RCPT DATA . QUIT",
		},
	})
}

func TestFact70NoRecipientsIsSaidBeforeAnythingIsDialled(t *testing.T) {
	inEverySetting(t, func(t *testing.T, s setting) {
		r := s.start(t, options{})
		result, err := r.send()
		r.equal("error", trouble(err), "local message 0 lasts")
		if len(result.Outcomes) != 0 || !strings.Contains(text(err), "no recipient") {
			t.Errorf("%v, %v", result.Outcomes, err)
		}
		if n := r.server.ConnectionCount(); n != 0 {
			t.Errorf("%d connections for nobody", n)
		}
	})
}

func TestFact71DuplicatesAreKept(t *testing.T) {
	inEverySetting(t, func(t *testing.T, s setting) {
		r := s.start(t, options{faults: []smtptest.Fault{{Command: "RCPT", Address: "no@example.com", Reply: "550 5.1.1 no"}}})
		result, err := r.send("no@example.com", "no@example.com")
		r.equal("outcomes", fates(result), "refused rcpt 550, refused rcpt 550")
		r.equal("error", trouble(err), "rcpt RCPT 550 lasts")
		result, err = r.send("bart@example.com", "bart@example.com", "no@example.com")
		r.equal("outcomes", fates(result), "accepted content 250, accepted content 250, refused rcpt 550")
		r.equal("error", trouble(err), "<nil>")
		if m := r.server.Messages(); len(m) != 1 || len(m[0].To) != 2 {
			t.Errorf("the server took %v", m)
		}
	})
}

func TestFact72DATARefused(t *testing.T) {
	inEveryRow(t, []row{
		{
			name: "451", faults: at("DATA", 1, "451 4.3.0 no room"),
			fates: "deferred content 451, deferred content 451", trouble: "content content 451 passes",
			wires: "MAIL RCPT RCPT DATA RSET MAIL RCPT DATA . QUIT",
		},
		{
			name: "554", faults: at("DATA", 1, "554 5.7.1 no"),
			fates: "refused content 554, refused content 554", trouble: "content content 554 lasts",
			wires: "MAIL RCPT RCPT DATA RSET MAIL RCPT DATA . QUIT",
		},
		{
			name: "a refused recipient stays refused", faults: append(at("RCPT", 1, "550 5.1.1 no"), at("DATA", 1, "451 4.3.0 no room")...),
			fates: "refused rcpt 550, deferred content 451", trouble: "content content 451 passes",
			wires: "MAIL RCPT RCPT DATA RSET MAIL RCPT DATA . QUIT",
		},
		{
			name: "421", faults: at("DATA", 1, "421 4.3.2 going down"),
			fates: "untried content 421, untried content 421", trouble: "content DATA 421 passes",
			wires: "MAIL RCPT RCPT DATA | MAIL RCPT DATA . QUIT",
		},
		{
			// RFC 5321 §3.3: only 354 asks for content.
			name: "250", faults: at("DATA", 1, "250 ok"),
			fates: "untried content 250, untried content 250", trouble: "content DATA 250 passes", says: "out of step",
			wires: "MAIL RCPT RCPT DATA | MAIL RCPT DATA . QUIT",
		},
	})
}

func TestFact73TheFinalReply(t *testing.T) {
	const wires = "MAIL RCPT RCPT DATA . MAIL RCPT DATA . QUIT"
	inEveryRow(t, []row{
		{
			name: "550", faults: at(".", 1, "550 5.7.1 spam"),
			fates: "refused content 550, refused content 550", trouble: "content content 550 lasts", wires: wires,
		},
		{
			name: "451", faults: at(".", 1, "451 4.3.0 disk full"),
			fates: "deferred content 451, deferred content 451", trouble: "content content 451 passes", wires: wires,
		},
		{
			name: "refused recipients are not lost", faults: append(at("RCPT", 1, "550 5.1.1 no"), at(".", 1, "451 4.3.0 disk full")...),
			fates: "refused rcpt 550, deferred content 451", trouble: "content content 451 passes", wires: wires,
		},
		{
			// Nothing about the message or its recipients (RFC 4954 §6).
			name: "530", faults: at(".", 1, "530 5.7.0 authentication required"),
			fates: "untried content 530, untried content 530", trouble: "content content 530 lasts", wires: wires,
		},
		{
			// The server has read the message and did not take it; not resent even on
			// a wire that served.
			name: "421", served: true, faults: at(".", 2, "421 4.3.2 going down"),
			fates: "deferred content 421, deferred content 421", trouble: "content content 421 passes",
			wires: "MAIL RCPT RCPT DATA . | MAIL RCPT DATA . QUIT",
		},
	})
}

// The server hangs up, resets or falls silent instead of a reply. The delay lets the
// earlier replies of the flight be read, which a reset would else throw away.
func TestFact81TheWireBreaks(t *testing.T) {
	steps := []struct {
		command, fates, trouble, wires string
	}{
		{"MAIL", "untried mail 0, untried mail 0", "mail MAIL 0 passes", "MAIL"},
		{"RCPT", "untried rcpt 0, untried rcpt 0", "rcpt RCPT 0 passes", "MAIL RCPT"},
		{"DATA", "untried content 0, untried content 0", "content DATA 0 passes", "MAIL RCPT RCPT DATA"},
		{".", "unknown content 0, unknown content 0", "content content 0 passes", "MAIL RCPT RCPT DATA ."},
	}
	ways := []struct {
		name string
		then smtptest.Then
		is   error
	}{
		{"close", smtptest.Close, io.EOF},
		{"reset", smtptest.Abort, syscall.ECONNRESET},
		{"silence", smtptest.Hang, os.ErrDeadlineExceeded},
	}
	var rows []row
	for _, step := range steps {
		for _, way := range ways {
			row := row{
				name: step.command + " " + way.name, faults: []smtptest.Fault{{Command: step.command, Nth: 1, Delay: time.Second, Answer: smtptest.None, Then: way.then}},
				fates: step.fates, trouble: step.trouble, is: []error{way.is},
				wires: step.wires + " | MAIL RCPT DATA . QUIT",
			}
			rows = append(rows, row)
		}
	}
	inEveryRow(t, rows)
}

func TestFact81HalfAReplyIsNone(t *testing.T) {
	inEveryRow(t, []row{
		{
			name: "MAIL", faults: []smtptest.Fault{{Command: "MAIL", Nth: 1, Answer: smtptest.Half, Then: smtptest.Close}},
			fates: "untried mail 0, untried mail 0", trouble: "mail MAIL 0 passes", is: []error{io.ErrUnexpectedEOF},
			wires: "MAIL | MAIL RCPT DATA . QUIT",
		},
		{
			name: "final", faults: []smtptest.Fault{{Command: ".", Nth: 1, Answer: smtptest.Half, Then: smtptest.Close}},
			fates: "unknown content 0, unknown content 0", trouble: "content content 0 passes", is: []error{io.ErrUnexpectedEOF},
			wires: "MAIL RCPT RCPT DATA . | MAIL RCPT DATA . QUIT",
		},
	})
}

func TestFact82And83WhatIsNoReplyPoisonsTheWire(t *testing.T) {
	long := "250 " + strings.Repeat("x", 9000)
	var rows []row
	for name, reply := range map[string]string{
		"a line of 9,004 octets": long, "words": "hello there", "no code": "ok 250", "a code of four digits": "2500 ok", "code 199": "199 hm", "two codes": "250-a\n251 b",
	} {
		// Where the server itself went on, it waits for a content that never ends.
		pipelined := "MAIL RCPT RCPT DATA"
		if reply[0] == '2' {
			pipelined += " …"
		}
		rows = append(rows,
			row{
				name: "MAIL " + name, faults: at("MAIL", 1, reply), says: "not an SMTP reply",
				fates: "untried mail 0, untried mail 0", trouble: "mail MAIL 0 passes",
				wires: "MAIL | MAIL RCPT DATA . QUIT", pipelined: pipelined + " | MAIL RCPT DATA . QUIT",
			},
			row{
				name: "final " + name, faults: at(".", 1, reply), says: "not an SMTP reply",
				fates: "unknown content 0, unknown content 0", trouble: "content content 0 passes",
				wires: "MAIL RCPT RCPT DATA . | MAIL RCPT DATA . QUIT",
			})
	}
	inEveryRow(t, rows)
}

// 354 answers nothing but DATA: the replies are out of step, and what is not read
// is not known.
func TestFact82And83AReplyThatCannotBeOnePoisonsTheWire(t *testing.T) {
	inEveryRow(t, []row{
		{
			name: "MAIL", faults: at("MAIL", 1, "354 go"), says: "out of step",
			fates: "untried mail 354, untried mail 354", trouble: "mail MAIL 354 passes",
			wires: "MAIL | MAIL RCPT DATA . QUIT", pipelined: "MAIL RCPT RCPT DATA | MAIL RCPT DATA . QUIT",
		},
		{
			name: "RCPT", faults: at("RCPT", 2, "354 go"), says: "out of step",
			fates: "untried rcpt 354, untried rcpt 354", trouble: "rcpt RCPT 354 passes",
			wires: "MAIL RCPT RCPT | MAIL RCPT DATA . QUIT", pipelined: "MAIL RCPT RCPT DATA … | MAIL RCPT DATA . QUIT",
		},
		{
			name: "final", faults: at(".", 1, "354 go"), says: "out of step",
			fates: "unknown content 354, unknown content 354", trouble: "content content 354 passes",
			wires: "MAIL RCPT RCPT DATA . | MAIL RCPT DATA . QUIT",
		},
	})
}

// The refusal before it has been told already; the RSET itself belongs to the
// next message, which goes out on a new wire and loses nothing.
func TestFact84ARSETThatFailsCostsNobodyAnything(t *testing.T) {
	for name, f := range map[string]smtptest.Fault{
		"close": {Command: "RSET", Answer: smtptest.None, Then: smtptest.Close}, "421": {Command: "RSET", Reply: "421 4.3.2 bye"}, "silence": {Command: "RSET", Answer: smtptest.None, Then: smtptest.Hang},
		"500": {Command: "RSET", Reply: "500 what"}, "251": {Command: "RSET", Reply: "251 hm"},
	} {
		t.Run(name, func(t *testing.T) {
			inEverySetting(t, func(t *testing.T, s setting) {
				r := s.start(t, options{faults: onFirstWire(append(at("MAIL", 1, "550 5.7.1 no"), f))})
				result, err := r.send("bart@example.com")
				r.equal("outcomes", fates(result), "refused mail 550")
				r.equal("error", trouble(err), "mail MAIL 550 lasts")
				r.accepted("cate@example.com")
				if n := r.server.ConnectionCount(); n != 2 {
					t.Errorf("%d connections", n)
				}
				if m := r.server.Messages(); len(m) != 1 {
					t.Errorf("the server took %d messages", len(m))
				}
			})
		})
	}
}
