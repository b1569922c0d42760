package postrider

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/detach"
	"github.com/postrider/postrider/internal/dial"
	"github.com/postrider/postrider/internal/hint"
	smtp "github.com/postrider/postrider/internal/wire"
)

// open brings a wire to where it can carry transactions: dial, TLS, greeting,
// EHLO, STARTTLS, EHLO again, AUTH. Step by step, one reply after the other.
func (c *Connection) open(ctx context.Context, id int) (*wire, *Error) {
	w := &wire{c: c, id: id, address: c.name, progress: make(chan struct{}, 1), ended: make(chan struct{})}
	if err := w.dial(ctx); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { w.raw.Close() })
	err := w.introduce(ctx)
	if !stop() && err == nil {
		err = w.openError(hint.Greeting, smtp.Reply{}, context.Cause(ctx))
	}
	if err != nil {
		w.raw.Close()
		return nil, err
	}
	w.conn.SetDeadline(time.Time{})
	w.opened, w.heard, w.window = time.Now(), time.Now(), 1
	w.recallDiscard()
	w.maxTransactions, w.maxAge, w.maxIdle = jitter(c.server, c.cfg.MaxTransactions), jitter(c.server, c.cfg.MaxAge), jitter(c.server, c.idleTimeout())
	return w, nil
}

func (w *wire) dial(ctx context.Context) *Error {
	ctx, cancel := context.WithTimeoutCause(ctx, w.c.timeouts.Connect, fmt.Errorf("no connection within %v: %w", w.c.timeouts.Connect, context.DeadlineExceeded))
	defer cancel()
	start := time.Now()
	conn, err := dial.Open(ctx, func() (net.Conn, error) {
		return w.c.dial(ctx, w.c.address.Network, w.c.address.Target())
	})
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	w.c.observeDial(w, conn, time.Since(start), err)
	if err != nil {
		return w.openError(hint.Dial, smtp.Reply{}, err)
	}
	w.raw, w.local = w.c.loosen(conn), dial.Local(conn)
	w.use(w.raw)
	return nil
}

// use speaks on conn from now on. Nothing that was read ahead survives.
func (w *wire) use(conn net.Conn) {
	w.conn, w.in = conn, smtp.NewReplyReader(conn)
	w.in.Hide = w.c.secrets.Hide
}

// introduce is everything between the dial and the first MAIL.
func (w *wire) introduce(ctx context.Context) *Error {
	if w.c.cfg.Mode == ImplicitTLS {
		if err := w.handshake(ctx); err != nil {
			return err
		}
	}
	if err := w.greeting(); err != nil {
		return err
	}
	err := w.sayHello(ctx)
	if err == nil && w.c.cfg.Mode == StartTLS {
		if err = w.startTLS(ctx); err == nil {
			err = w.sayHello(ctx)
		}
	}
	if err == nil && w.c.logins != nil {
		err = w.authenticate(ctx)
	}
	if err == nil && w.in.Buffered() > 0 {
		// It would be taken for the reply to MAIL, and every one after it for the next.
		err = w.openError(hint.Hello, smtp.Reply{}, errSurplus)
	}
	if err != nil && err.Step != StepHandshake {
		w.tell("QUIT") // a courtesy; its reply is not waited for
	}
	return err
}

// tell writes one line.
func (w *wire) tell(line string) error {
	return w.tellMasked(line, line)
}

// tellMasked writes a line that is shown otherwise.
func (w *wire) tellMasked(line, shown string) error {
	w.c.observeLine(w.id, line, shown)
	w.early = w.in.Buffered() > 0
	w.conn.SetWriteDeadline(time.Now().Add(w.c.timeouts.Block))
	_, err := w.conn.Write([]byte(line + "\r\n"))
	return err
}

// hear reads one reply, as others may see it.
func (w *wire) hear(timeout time.Duration) (smtp.Reply, error) {
	r, err := w.hearExactly(timeout)
	return r.Redacted(w.c.secrets.Hide), err
}

// hearExactly reads one to the letter. Others are told of it without our secrets.
func (w *wire) hearExactly(timeout time.Duration) (smtp.Reply, error) {
	r, err := w.overhear(timeout)
	if err == nil {
		w.c.observeReply(w.id, r.Redacted(w.c.secrets.Hide))
	}
	return r, err
}

// overhear reads a reply that nobody is told of yet, to the letter.
func (w *wire) overhear(timeout time.Duration) (smtp.Reply, error) {
	w.conn.SetReadDeadline(time.Now().Add(timeout))
	r, err := w.in.Read()
	if err == nil {
		if w.early && r.Code < 400 { // a farewell may come early
			err = errSurplus
		}
		return r, err
	}
	var late net.Error
	if errors.As(err, &late) && late.Timeout() {
		err = fmt.Errorf("no reply within %v: %w", timeout, err)
	}
	return r, err
}

// ask writes a line and reads its reply, as others may see it.
func (w *wire) ask(step hint.Step, timeout time.Duration, line string) (smtp.Reply, *Error) {
	r, err := w.askExactly(step, timeout, line)
	return r.Redacted(w.c.secrets.Hide), err
}

// askExactly writes a line and reads its reply to the letter.
func (w *wire) askExactly(step hint.Step, timeout time.Duration, line string) (smtp.Reply, *Error) {
	err := w.tell(line)
	if err != nil {
		timeout = linger // a server that hung up has often said why: a 421, a TLS alert
	}
	r, heard := w.hearExactly(timeout)
	if heard == nil {
		return r, nil
	}
	if err == nil || !errors.Is(heard, io.EOF) {
		err = heard
	}
	return smtp.Reply{}, w.openError(step, smtp.Reply{}, err)
}

func (w *wire) greeting() *Error {
	r, err := w.hear(w.c.timeouts.Greeting)
	if err != nil {
		return w.openError(hint.Greeting, smtp.Reply{}, err)
	}
	w.exim = strings.Contains(r.Text, "Exim")
	if r.Code != 220 { // RFC 5321 §3.1
		return w.openError(hint.Greeting, r, misfit(smtp.Greeting, r))
	}
	return nil
}

// errSurplus: what was said before the command was is no answer to it.
var errSurplus = errors.New("the server said more than it was asked for: replies and commands are out of step")

// misfit is what to say of a reply that cannot be an answer; nil if it is a refusal.
func misfit(c smtp.Command, r smtp.Reply) error {
	if c.CanAnswer(r.Code) {
		return nil
	}
	return errOutOfStep
}

// sayHello says EHLO, and HELO to a server that does not know EHLO (RFC 5321
// §4.1.1.1). The capabilities are those of the newest reply, and no others.
func (w *wire) sayHello(ctx context.Context) *Error {
	name := w.c.localName(ctx, w.raw.LocalAddr())
	exact, err := w.askExactly(hint.Hello, w.c.timeouts.Hello, "EHLO "+name)
	if err != nil {
		return err
	}
	r := exact.Redacted(w.c.secrets.Hide)
	w.caps, w.helloText, w.hello = smtp.Capabilities{}, "", r.Code == 250
	if r.Code == 500 || r.Code == 501 || r.Code == 502 || r.Code == 504 {
		if r, err = w.ask(hint.Hello, w.c.timeouts.Hello, "HELO "+name); err != nil {
			return err
		}
	}
	switch {
	case r.Code != 250:
		return w.openError(hint.Hello, r, misfit(smtp.Hello, r))
	case w.hello:
		w.caps, w.helloText = smtp.ParseCapabilities(exact.Text), exact.Text // a password may be called PIPELINING
		w.caps.Pipelining = w.caps.Pipelining && !w.c.quirks.NoPipelining.Holds()
		w.c.observeHello(w.id, r.Text)
	}
	return nil
}

// startTLS never falls back: a server without STARTTLS gets no mail.
func (w *wire) startTLS(ctx context.Context) *Error {
	if !w.caps.StartTLS {
		return w.openError(hint.StartTLS, smtp.Reply{}, hint.ErrNoStartTLS)
	}
	r, err := w.ask(hint.StartTLS, w.c.timeouts.TLS, "STARTTLS")
	switch {
	case err != nil:
		return err
	case r.Code != 220:
		return w.openError(hint.StartTLS, r, misfit(smtp.StartTLS, r))
	case w.in.Buffered() > 0:
		// Somebody put words into the server's mouth before the encryption began.
		return w.openError(hint.StartTLS, smtp.Reply{}, permanentError{errors.New("the server sent octets in the clear behind its reply to STARTTLS; they may be injected")})
	}
	return w.handshake(ctx)
}

func (w *wire) handshake(ctx context.Context) *Error {
	ctx, cancel := context.WithTimeoutCause(ctx, w.c.timeouts.TLS, fmt.Errorf("no TLS handshake within %v: %w", w.c.timeouts.TLS, context.DeadlineExceeded))
	defer cancel()
	w.raw.SetDeadline(time.Time{})
	conn := tls.Client(w.raw, w.c.tls)
	// It may call hooks of [Config.TLS] that do not return; then the state cannot be had either.
	state, err := detach.Until(ctx, func() (tls.ConnectionState, error) {
		err := conn.HandshakeContext(ctx)
		return conn.ConnectionState(), err
	}, nil)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	w.c.observeTLS(w.id, state, err)
	if err != nil {
		return w.openError(hint.Handshake, smtp.Reply{}, dial.Explain(err))
	}
	if !w.c.verified {
		w.c.warnUnverified()
	}
	w.encrypted = true
	w.use(conn)
	return nil
}

// openError describes a failure before the first MAIL. It says nothing about any
// recipient.
func (w *wire) openError(step hint.Step, r smtp.Reply, err error) *Error {
	e := &Error{Stage: StageConnect, Step: Step(step), Address: w.address, Reply: replyFrom(r), Err: err}
	e.Hint = w.c.secrets.Hide(hintFor(e, w)) // it may name what EHLO offered
	return e
}
