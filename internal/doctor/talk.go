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
	"github.com/postrider/postrider/internal/dial"
	"github.com/postrider/postrider/internal/hint"
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

	raw, conn net.Conn
	in        *wire.ReplyReader
	stop      func() bool // of the context's hold on raw

	caps, before wire.Capabilities // of the newest EHLO, and of that before STARTTLS
	encrypted    bool
	state        tls.ConnectionState
	early        bool // what is read next was said before its command
	broken       bool // replies and commands are out of step, or there are no more
}

// trouble is why a conversation does not go on.
type trouble struct {
	step  hint.Step
	reply wire.Reply // code 0 if there was none
	err   error
	set   string // from the table of hints, in keys and flags
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

// errSurplus: what was said before the command was is no answer to it.
var errSurplus = errors.New("the server said more than it was asked for: replies and commands are out of step")

var errNoAnswer = fmt.Errorf("no answer in time: %w", context.DeadlineExceeded)

// open begins a conversation. The context closes its socket when it is done.
func (e *exam) open(ctx context.Context, t *talk) *trouble {
	t.e = e
	start := time.Now()
	conn, err := e.dial(ctx, e.target(t.way))
	if err != nil {
		return t.trouble(hint.Dial, wire.Reply{}, err, start)
	}
	t.raw = conn
	t.stop = context.AfterFunc(ctx, func() { conn.Close() })
	t.use(conn)
	bad := t.introduce(ctx)
	if bad != nil && ctx.Err() != nil {
		bad.err = context.Cause(ctx)
	}
	return bad
}

// target is where a way begins: the address that answered, with the way's port.
func (e *exam) target(w way) string {
	host, _, err := net.SplitHostPort(cmp.Or(e.server, e.address.Target()))
	if err != nil {
		return e.address.Target() // a unix socket
	}
	return net.JoinHostPort(host, w.Port)
}

// use speaks on conn from now on. Nothing that was read ahead survives (RFC 3207 §4.2).
func (t *talk) use(conn net.Conn) {
	t.conn, t.in = conn, wire.NewReplyReader(conn)
	t.in.Hide = t.e.secrets.Hide
}

// close ends the conversation, with a QUIT where that can be understood.
func (t *talk) close() {
	if t.conn == nil {
		return
	}
	if !t.broken {
		_, _ = t.ask(hint.Hello, "QUIT")
	}
	t.stop()
	t.raw.Close()
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

// hear reads one reply, without what the server repeats of our secrets: so nothing that is found has them.
func (t *talk) hear(limit time.Duration) (wire.Reply, error) {
	r, err := t.hearExactly(limit)
	return r.Redacted(t.e.secrets.Hide), err
}

// hearExactly reads one to the letter.
func (t *talk) hearExactly(limit time.Duration) (wire.Reply, error) {
	t.conn.SetReadDeadline(time.Now().Add(limit))
	r, err := t.in.Read()
	if err == nil && t.early && r.Code < 400 { // a farewell may come early
		err = errSurplus
	}
	return r, err
}

// tell writes commands.
func (t *talk) tell(lines string) error {
	t.early = t.in.Buffered() > 0
	t.conn.SetWriteDeadline(time.Now().Add(t.e.Patience))
	_, err := t.conn.Write([]byte(lines + "\r\n"))
	return err
}

// ask writes a command and reads its reply, as hear does.
func (t *talk) ask(step hint.Step, line string) (wire.Reply, *trouble) {
	r, bad := t.askExactly(step, line)
	return r.Redacted(t.e.secrets.Hide), bad
}

// askExactly reads the reply to the letter. A server that hung up has often said
// why, so that it is looked for even if the command could not be written.
func (t *talk) askExactly(step hint.Step, line string) (wire.Reply, *trouble) {
	start := time.Now()
	wrote := t.tell(line)
	r, err := t.hearExactly(t.e.limit(step))
	if err == nil {
		return r, nil
	}
	if wrote != nil {
		err = wrote
	}
	t.broken = true
	return r, t.trouble(step, wire.Reply{}, err, start)
}

// trouble looks the hint up.
func (t *talk) trouble(step hint.Step, r wire.Reply, err error, start time.Time) *trouble {
	f := t.e.failure(t.way, step)
	f.Err, f.Code, f.Text, f.Enhanced = err, r.Code, r.Text, enhanced(r)
	f.Encrypted, f.OfferedStartTLS = t.encrypted, t.caps.StartTLS
	f.OfferedAuth, f.Mechanisms = len(t.caps.Auth) > 0, t.caps.Auth
	if t.raw != nil && t.raw.RemoteAddr() != nil {
		f.Remote = t.raw.RemoteAddr().String()
	}
	set := t.e.secrets.Hide(inSettings(hint.For(f))) // it may name what EHLO offered
	return &trouble{step: step, reply: r, err: err, set: set, took: time.Since(start)}
}

// failure is what is known of a failure before it has a cause.
func (e *exam) failure(w way, step hint.Step) hint.Failure {
	return hint.Failure{Step: step, Mode: w.Mode.String(), Host: e.address.Host, Port: w.Port, ServerName: e.Config.ServerName}
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
		Check: checkOf[bad.step], Stage: bad.step, Level: Problem, Saw: bad.saw(), Means: meaning[bad.step], Set: bad.set, Took: bad.took,
	})
}

// checkOf is the check that a step belongs to.
var checkOf = map[hint.Step]string{
	hint.Dial: "connect", hint.Handshake: "TLS", hint.Greeting: "greeting", hint.Hello: "EHLO", hint.StartTLS: "STARTTLS",
	hint.Auth: "login", hint.Mail: "sender", hint.Rcpt: "recipient", hint.Data: "message", hint.Content: "message",
}

// helloName is what the library says in EHLO.
func (t *talk) helloName(ctx context.Context) string {
	e := t.e
	if e.ownName = cmp.Or(e.Config.LocalName, e.ownName); e.ownName == "" {
		e.ownName = dial.LocalName(ctx)
	}
	return cmp.Or(e.ownName, dial.AddressLiteral(t.raw.LocalAddr()))
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
