package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/hint"
	"github.com/postrider/postrider/internal/text"
	"github.com/postrider/postrider/internal/wire"
)

// greeting waits for the 220. A server that is silent is tried with a ClientHello
// on a second connection, before more time is spent: on a TLS port both sides wait
// for the other until one gives up.
func (t *talk) greeting(ctx context.Context) *trouble {
	start, limit := time.Now(), t.e.limit(hint.Greeting)
	r, err := t.hear(min(limit, t.e.Hush))
	if t.way.Mode != postrider.ImplicitTLS && (timedOut(err) || errors.Is(err, io.EOF)) && t.e.speaksTLS(ctx, t.way) {
		t.broken = true
		return t.trouble(hint.Greeting, wire.Reply{}, hint.ErrTLSPort, start)
	}
	if timedOut(err) {
		if r, err = t.hear(limit - time.Since(start)); timedOut(err) && t.way.Mode != postrider.ImplicitTLS {
			err = fmt.Errorf("%w: %w", hint.ErrNoGreeting, err)
		}
	}
	if err != nil {
		t.broken = true
		return t.trouble(hint.Greeting, wire.Reply{}, err, start)
	}
	if r.Code != 220 { // RFC 5321 §3.1
		return t.trouble(hint.Greeting, r, nil, start)
	}
	f := Finding{Check: "greeting", Stage: hint.Greeting, Level: OK, Saw: said(r), Took: time.Since(start)}
	if f.Took > t.e.Hush {
		f.Level, f.Means = Warning, "every new connection waits as long: the server delays clients that it does not know, or cannot look them up"
		f.Set = inSettings("keep Config.Timeouts.Greeting ([postrider] timeout_greeting) above that; reuse of connections saves most of it; its log tells why")
	}
	t.found(f)
	return nil
}

// speaksTLS reports whether a port answers a ClientHello: by a handshake, or by an
// alert, which is TLS as well.
func (e *exam) speaksTLS(ctx context.Context, w way) bool {
	conn, err := e.dial(ctx, e.target(w))
	if err != nil {
		return false
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, e.Hush)
	defer cancel()
	err = tls.Client(conn, e.anyTLS()).HandshakeContext(ctx)
	var alert *net.OpError
	return err == nil || errors.As(err, &alert) && alert.Op == "remote error"
}

// hello says EHLO, and HELO to a server that does not know that (RFC 5321 §4.1.1.1).
func (t *talk) hello(ctx context.Context) *trouble {
	start := time.Now()
	name := t.helloName(ctx)
	exact, bad := t.askExactly(hint.Hello, "EHLO "+name)
	if bad != nil {
		return bad
	}
	r := exact.Redacted(t.e.secrets.Hide)
	t.before, t.caps = t.caps, wire.Capabilities{}
	known := r.Code/100 == 2
	if r.Code == 500 || r.Code == 501 || r.Code == 502 || r.Code == 504 {
		if r, bad = t.ask(hint.Hello, "HELO "+name); bad != nil {
			return bad
		}
	}
	if r.Code/100 != 2 {
		return t.trouble(hint.Hello, r, nil, start)
	}
	f := Finding{Check: "EHLO", Stage: hint.Hello, Level: OK, Saw: "answered to the name " + name + ": " + offers(r.Text), Took: time.Since(start)}
	if t.encrypted {
		f.Check = "EHLO after TLS"
	}
	if known {
		t.caps = wire.ParseCapabilities(exact.Text)
	} else {
		f.Level, f.Saw = Warning, "it knows HELO only"
		f.Means, f.Set = "no TLS, no login and one command at a time: that is SMTP as it was before 1995", "something between here and the server may interfere, a firewall that \"fixes\" SMTP for one: switch that off"
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
		{"PIPELINING", t.caps.Pipelining, "each command waits for its reply, which makes mail slow over a long way"},
		{"CHUNKING", t.caps.Chunking, "several messages cannot be underway at a time"},
		{"8BITMIME", t.caps.EightBitMIME, "text that is not ASCII goes out undeclared"},
		{"SMTPUTF8", t.caps.SMTPUTF8, "addresses with a local part that is not ASCII are refused"},
		{"DSN", t.caps.DSN, "delivery status notifications cannot be asked for"},
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
	if n := t.caps.Size; n > 0 {
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
	}{{"transactions a connection", t.caps.MailMax}, {"recipients a transaction", t.caps.RcptMax}, {"domains a connection", t.caps.RcptDomainMax}} {
		if l.n > 0 {
			shown = append(shown, fmt.Sprintf("%d %s", l.n, l.name))
		}
	}
	if shown != nil {
		t.found(Finding{Check: "limits", Stage: hint.Hello, Level: OK, Saw: "at most " + strings.Join(shown, ", "), Means: "they are kept to by themselves"})
	}
}
