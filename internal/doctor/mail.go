package doctor

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/hint"
	"github.com/postrider/postrider/internal/session"
	"github.com/postrider/postrider/internal/wire"
)

// envelope goes as far as it was asked to, and takes it back: no mail is sent
// unless the whole was asked for.
func (t *talk) envelope() {
	if t.e.From == nil && t.e.To == nil {
		return
	}
	from, content := "", ""
	if t.e.From != nil {
		from = *t.e.From
	}
	send := t.e.Send && t.e.To != nil
	if send {
		content = t.testMessage(from)
	}
	if !t.mail(from, content) || t.e.To != nil && !t.rcpt(*t.e.To) {
		return
	}
	if send {
		t.data(content)
		return
	}
	_, _ = t.ask(hint.Mail, "RSET")
}

func (t *talk) mail(from, content string) bool {
	if err := cmp.Or(wire.CheckAddress(from), wire.CheckSenderLength(from)); from != "" && err != nil {
		t.blame(t.verdict(hint.Mail, err))
		return false
	}
	if t.s.Caps.Size > 0 && int64(len(content)) > t.s.Caps.Size {
		t.blame(t.verdict(hint.Mail, fmt.Errorf("%w: %d octets", hint.ErrTooBig, t.s.Caps.Size)))
		return false
	}
	p := wire.MailParams{}
	if t.s.Caps.HasSize {
		p.Size = int64(len(content))
	}
	return t.command("sender", hint.Mail, string(wire.AppendMail(nil, from, p)))
}

func (t *talk) rcpt(to string) bool {
	if err := cmp.Or(wire.CheckAddress(to), wire.CheckRecipientLength(to)); err != nil {
		t.blame(t.verdict(hint.Rcpt, err))
		return false
	}
	return t.command("recipient", hint.Rcpt, string(wire.AppendRcpt(nil, to, wire.RcptParams{})))
}

// verdict is the trouble of what was not even asked.
func (t *talk) verdict(step hint.Step, err error) *trouble {
	return t.trouble(&session.Error{Step: step, Err: err}, time.Now())
}

// command is one that 2yz accepts.
func (t *talk) command(check string, step hint.Step, line string) bool {
	start := time.Now()
	r, bad := t.ask(step, strings.TrimSuffix(line, "\r\n"))
	if bad == nil && r.Code/100 != 2 {
		bad = t.refused(step, r, start)
	}
	if bad != nil {
		t.blame(bad)
		return false
	}
	t.found(Finding{Check: check, Stage: step, Level: OK, Saw: said(r), Took: time.Since(start)})
	return true
}

// data hands the test message over.
func (t *talk) data(content string) {
	start := time.Now()
	r, bad := t.ask(hint.Data, "DATA")
	if bad == nil && r.Code != 354 {
		bad = t.refused(hint.Data, r, start)
	}
	if bad != nil {
		t.blame(bad)
		return
	}
	t.command("message", hint.Content, content+".")
}

// testMessage is harmless: no line begins with a dot, and all end in CRLF.
func (t *talk) testMessage(from string) string {
	if from == "" {
		from = "postmaster@localhost"
	}
	return fmt.Sprintf("From: <%s>\r\nTo: <%s>\r\nSubject: Test message of postrider check\r\nDate: %s\r\n"+
		"Message-ID: <%s@postrider.invalid>\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\nContent-Type: "+
		"text/plain; charset=us-ascii\r\n\r\n"+
		"This message was sent to see whether mail goes out by %s.\r\n",
		from, *t.e.To, time.Now().Format("Mon, 02 Jan 2006 15:04:05 -0700"), rand.Text(), t.e.report.Server)
}

// pipelining finds out whether two commands in one write have two replies. Some
// servers, and more of the boxes in front of them, lose the second.
func (t *talk) pipelining() {
	if !t.s.Caps.Pipelining || t.s.Lost {
		return
	}
	start := time.Now()
	err := t.s.Tell("RSET\r\nRSET")
	var got []string
	for range 2 {
		var r wire.Reply
		if err == nil {
			r, err = t.s.Hear(t.e.limit(hint.Mail))
		}
		if err == nil {
			got = append(got, fmt.Sprint(r.Code))
		}
	}
	f := Finding{Check: "pipelining", Stage: hint.Mail, Level: OK, Took: time.Since(start)}
	f.Saw = "two commands at once have two replies"
	// A server that wants TLS or a login first may refuse them, both.
	if err != nil || got[0] != got[1] {
		t.s.Lost = true
		f.Level, f.Saw = Warning, "RSET, RSET in one write: "+strings.Join(append(got, words(err)), ", then ")
		f.Means = "it is offered and does not work: every new connection finds that out again, " +
			"and then goes on command by command"
		f.Set = "switch PIPELINING off at the server, or mend what stands between"
	}
	t.found(f)
}

// idle waits for the server to hang up, and compares that with when the library
// does: it is better to be the first, because a wire that the server closes may be
// closed under a message.
func (t *talk) idle() {
	if t.e.Idle <= 0 || t.s.Lost {
		return
	}
	start := time.Now()
	r, err := t.s.Hear(t.e.Idle)
	waited := time.Since(start).Round(time.Second)
	f := Finding{Check: "idle", Stage: hint.Greeting, Level: OK,
		Saw: fmt.Sprintf("the server waits for %v and longer", waited)}
	if t.s.Lost = err == nil || !timedOut(err); t.s.Lost {
		last := "without a word"
		if err == nil {
			last = "with " + said(r)
		} else if !errors.Is(err, io.EOF) {
			last = "with " + words(err)
		}
		f.Saw = fmt.Sprintf("after %v the server hung up, %s", waited, last)
		if own := t.e.idleTimeout(); own < 0 || own >= waited {
			f.Level = Warning
			f.Means = "connections that wait for the next message are lost, and a message may be sent a second time " +
				"on a new one"
			f.Set = hint.LeaveFirst(max(waited*3/4, time.Second).Round(time.Second))
		}
	}
	t.found(f)
}

// idleTimeout is after how long the library closes an idle wire; negative: never.
func (e *exam) idleTimeout() time.Duration {
	if e.Config.IdleTimeout == 0 {
		return postrider.DefaultIdleTimeout
	}
	return e.Config.IdleTimeout
}
