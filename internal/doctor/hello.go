package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/hint"
	"github.com/postrider/postrider/internal/text"
)

// greeting waits for the 220. A server that is silent is tried with a ClientHello on a second connection, before more
// time is spent: on a TLS port both sides wait for the other until one gives up.
func (t *talk) greeting(ctx context.Context) *trouble {
	start, limit := time.Now(), t.e.limit(hint.Greeting)
	plain := t.way.Mode != postrider.ImplicitTLS
	failed := t.s.Greeting(min(limit, t.e.Hush))
	switch {
	case failed == nil:
	case plain && silent(failed) && t.e.speaksTLS(ctx, t.way):
		failed.Err = hint.ErrTLSPort
	case timedOut(failed):
		failed = t.s.Greeting(limit - time.Since(start))
		if plain && failed != nil && timedOut(failed) {
			failed.Err = fmt.Errorf("%w: %w", hint.ErrNoGreeting, failed.Err)
		}
	}
	if failed != nil {
		return t.trouble(failed, start)
	}
	f := Finding{Check: "greeting", Stage: hint.Greeting, Level: OK, Saw: said(t.s.Last), Took: time.Since(start)}
	if f.Took > t.e.Hush {
		f.Level, f.Set = Warning, hint.GreetingIsLate()
		f.Means = "every new connection waits as long: the server delays clients that it does not know, or cannot " +
			"look them up"
	}
	t.found(f)
	return nil
}

// silent: the server said nothing at all, whether it hung up or not.
func silent(err error) bool { return timedOut(err) || errors.Is(err, io.EOF) }

// speaksTLS reports whether a port answers a ClientHello: by a handshake, or by an alert, which is TLS as well.
func (e *exam) speaksTLS(ctx context.Context, w way) bool {
	s := e.session(e.target(w), e.anyTLS())
	if s.Dial(ctx) != nil {
		return false
	}
	defer s.Raw.Close()
	s.Timeouts.TLS = e.Hush
	failed := s.Handshake(ctx)
	var alert *net.OpError
	return failed == nil || errors.As(failed, &alert) && alert.Op == "remote error"
}

// hello is EHLO, or HELO with a server that knows no better.
func (t *talk) hello(ctx context.Context) *trouble {
	start := time.Now()
	t.before = t.s.Caps
	if failed := t.s.Hello(ctx); failed != nil {
		return t.trouble(failed, start)
	}
	f := Finding{Check: "EHLO", Stage: hint.Hello, Level: OK, Took: time.Since(start)}
	f.Saw = "answered to the name " + t.helloSay + ": " + offers(t.s.Last.Text)
	if t.s.Encrypted {
		f.Check = "EHLO after TLS"
	}
	if !t.s.EHLO {
		f.Level, f.Saw = Warning, "it knows HELO only"
		f.Means = "no TLS, no login and one command at a time: that is SMTP as it was before 1995"
		f.Set = "something between here and the server may interfere, such as a firewall that \"fixes\" SMTP: switch " +
			"that off"
	}
	t.found(f)
	return nil
}

// offers is the EHLO reply without the server's greeting.
func offers(reply string) string {
	lines := strings.Split(reply, "\n")[1:]
	if len(lines) == 0 {
		return "no extensions"
	}
	return text.Printable(strings.Join(lines, ", "))
}

// extensions says what those that the server has and lacks mean for mail.
func (t *talk) extensions() {
	var has, details []string
	for _, x := range []struct {
		name    string
		offered bool
		without string
	}{
		{"PIPELINING", t.s.Caps.Pipelining, "each command waits for its reply, which makes mail slow over a long way"},
		{"CHUNKING", t.s.Caps.Chunking, "several messages cannot be underway at a time"},
		{"8BITMIME", t.s.Caps.EightBitMIME, "text that is not ASCII goes out undeclared"},
		{"SMTPUTF8", t.s.Caps.SMTPUTF8, "addresses with a local part that is not ASCII are refused"},
		{"DSN", t.s.Caps.DSN, "delivery status notifications cannot be asked for"},
	} {
		if x.offered {
			has = append(has, x.name)
		} else {
			details = append(details, "no "+x.name+": "+x.without)
		}
	}
	saw := "none"
	if has != nil {
		saw = strings.Join(has, ", ")
	}
	t.found(Finding{Check: "extensions", Stage: hint.Hello, Level: OK, Saw: saw, Details: details})
	t.size()
	t.limits()
}

// small is a limit that letters with a picture in them meet.
const small = 1 << 20

func (t *talk) size() {
	f := Finding{Check: "size", Stage: hint.Hello, Level: OK, Saw: "no limit is stated"}
	if n := t.s.Caps.Size; n > 0 {
		f.Saw, f.Means = fmt.Sprintf("messages of up to %d octets", n), "larger ones are refused before they are sent"
		if n < small {
			f.Level, f.Set = Warning, "raise the server's limit (Postfix and Exim: message_size_limit)"
		}
	}
	t.found(f)
}

// limits are those of RFC 9422.
func (t *talk) limits() {
	var shown []string
	for _, l := range []struct {
		name string
		n    int
	}{
		{"transactions a connection", t.s.Caps.MailMax},
		{"recipients a transaction", t.s.Caps.RcptMax},
		{"domains a connection", t.s.Caps.RcptDomainMax},
	} {
		if l.n > 0 {
			shown = append(shown, fmt.Sprintf("%d %s", l.n, l.name))
		}
	}
	if shown != nil {
		t.found(Finding{
			Check: "limits", Stage: hint.Hello, Level: OK, Saw: "at most " + strings.Join(shown, ", "),
			Means: "they are kept automatically",
		})
	}
}
