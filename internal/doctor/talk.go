package doctor

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/hint"
	"github.com/postrider/postrider/internal/session"
	"github.com/postrider/postrider/internal/text"
	"github.com/postrider/postrider/internal/wire"
)

// talk is one conversation with the server.
type talk struct {
	e      *exam
	way    way
	silent bool // its steps are no findings
	// lenient takes any certificate, to look further; no secret goes out on it.
	lenient bool
	version uint16 // of TLS, and no other; 0: any. Only for lenient ones

	s        *session.Session
	stop     func() bool       // of the context's hold on the socket
	before   wire.Capabilities // of the EHLO before STARTTLS
	helloSay string            // the name in EHLO
}

// trouble is why a conversation does not go on.
type trouble struct {
	step  hint.Step
	reply wire.Reply // code 0 if there was none
	err   error
	set   hint.Hint
	took  time.Duration
}

// saw is the trouble as the server gave it.
func (b *trouble) saw() string {
	switch {
	case b.reply.Code == 0:
		return words(b.err)
	case b.err != nil:
		return said(b.reply) + " (" + words(b.err) + ")"
	}
	return said(b.reply)
}

// meaning is what a trouble at each step means for mail.
var meaning = map[hint.Step]string{
	hint.Dial:      "no mail goes out: there is no connection",
	hint.Handshake: "no mail goes out: there is no TLS that can be trusted",
	hint.Greeting:  "no mail goes out: the server does not begin to talk",
	hint.Hello:     "no mail goes out: the server does not take this client",
	hint.StartTLS:  "no mail goes out, because it would go in the clear",
	hint.Auth:      "no mail goes out: there is no login",
	hint.Mail:      "no mail of this sender goes out",
	hint.Rcpt:      "no mail goes to this recipient",
	hint.Data:      "the message is not taken",
	hint.Content:   "the message is not taken",
}

// open begins a conversation. The context closes its socket when it is done.
func (e *exam) open(ctx context.Context, t *talk) *trouble {
	t.e, t.s = e, e.session(e.target(t.way), t.tls(e))
	t.s.Name = func(ctx context.Context, own net.Addr) string {
		t.helloSay = e.helloName.For(ctx, own)
		return t.helloSay
	}
	start := time.Now()
	if failed := t.s.Dial(ctx); failed != nil {
		return t.trouble(failed, start)
	}
	t.stop = context.AfterFunc(ctx, func() { t.s.Raw.Close() })
	bad := t.introduce(ctx)
	if bad != nil && ctx.Err() != nil {
		bad.err = context.Cause(ctx)
	}
	return bad
}

// tls is the configuration of its handshake.
func (t *talk) tls(e *exam) *tls.Config {
	if !t.lenient {
		return e.tls
	}
	cfg := e.anyTLS()
	if t.version != 0 {
		cfg.MinVersion, cfg.MaxVersion = t.version, t.version
	}
	return cfg
}

// target is where a way begins: the address that answered, with the way's port.
func (e *exam) target(w way) string {
	host, _, err := net.SplitHostPort(cmp.Or(e.server, e.address.Target()))
	if err != nil {
		return e.address.Target() // a unix socket
	}
	return net.JoinHostPort(host, w.Port)
}

// close ends the conversation, with a QUIT where that can be understood.
func (t *talk) close() {
	if t.s.Raw == nil {
		return
	}
	if !t.s.Lost {
		_, _ = t.s.Ask(hint.Hello, t.e.limit(hint.Hello), "QUIT")
	}
	t.stop()
	t.s.Raw.Close()
}

// introduce is everything between the dial and the first MAIL.
func (t *talk) introduce(ctx context.Context) *trouble {
	if t.way.Mode == postrider.ImplicitTLS {
		if bad := t.handshake(ctx); bad != nil {
			return bad
		}
	}
	if bad := t.greeting(ctx); bad != nil {
		return bad
	}
	if bad := t.hello(ctx); bad != nil || t.way.Mode != postrider.StartTLS {
		return bad
	}
	if bad := t.startTLS(ctx); bad != nil {
		return bad
	}
	return t.hello(ctx)
}

// ask writes a command and reads its reply.
func (t *talk) ask(step hint.Step, line string) (wire.Reply, *trouble) {
	start := time.Now()
	r, failed := t.s.Ask(step, t.e.limit(step), line)
	if failed != nil {
		return r, t.trouble(failed, start)
	}
	return r, nil
}

// trouble looks the hint up.
func (t *talk) trouble(failed *session.Error, start time.Time) *trouble {
	r, err := failed.Reply, failed.Err
	f := t.e.failure(t.way, failed.Step)
	f.Err, f.Code, f.Text, f.Enhanced = err, r.Code, r.Text, enhanced(r)
	f.Encrypted, f.OfferedStartTLS = t.s.Encrypted, t.s.Caps.StartTLS
	f.OfferedAuth, f.Mechanisms = len(t.s.Caps.Auth) > 0, t.s.Caps.Auth
	if t.s.Raw != nil && t.s.Raw.RemoteAddr() != nil {
		f.Remote = t.s.Raw.RemoteAddr().String()
	}
	set := hint.For(f).Hidden(t.e.secrets.Hide) // it may name what EHLO offered
	return &trouble{step: failed.Step, reply: r, err: err, set: set, took: time.Since(start)}
}

// refused is the trouble of a reply that does not accept a command.
func (t *talk) refused(step hint.Step, r wire.Reply, start time.Time) *trouble {
	return t.trouble(&session.Error{Step: step, Reply: r}, start)
}

// failure is what is known of a failure before it has a cause.
func (e *exam) failure(w way, step hint.Step) hint.Failure {
	return hint.Failure{Step: step, Mode: w.Mode.String(), Host: e.address.Host, Port: w.Port,
		ServerName: e.Config.ServerName}
}

// found is a finding of this conversation.
func (t *talk) found(f Finding) {
	if !t.silent {
		t.e.found(f)
	}
}

// blame makes a finding of a trouble.
func (t *talk) blame(bad *trouble) {
	t.found(Finding{
		Check: checkOf[bad.step], Stage: bad.step, Level: Problem, Saw: bad.saw(), Means: meaning[bad.step],
		Set: bad.set, Took: bad.took,
	})
}

// checkOf is the check that a step belongs to.
var checkOf = map[hint.Step]string{
	hint.Dial: "connect", hint.Handshake: "TLS", hint.Greeting: "greeting", hint.Hello: "EHLO",
	hint.StartTLS: "STARTTLS",
	hint.Auth:     "login", hint.Mail: "sender", hint.Rcpt: "recipient", hint.Data: "message", hint.Content: "message",
}

// words is an error as it can be shown.
func words(err error) string {
	if err == nil {
		return "nothing"
	}
	return text.Words(strings.TrimPrefix(err.Error(), "postrider: "))
}

// said is a reply on one line.
func said(r wire.Reply) string {
	return text.Words(strings.TrimSpace(fmt.Sprintf("%d %s", r.Code, strings.ReplaceAll(r.Text, "\n", " / "))))
}

// enhanced is the enhanced code as the table of hints wants it.
func enhanced(r wire.Reply) string {
	e := r.Enhanced()
	if e[0] == 0 {
		return ""
	}
	return fmt.Sprintf("%d.%d.%d", e[0], e[1], e[2])
}

func timedOut(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}
