package postrider

import (
	"context"
	"net"
	"time"

	"github.com/postrider/postrider/internal/detach"
	"github.com/postrider/postrider/internal/hint"
	"github.com/postrider/postrider/internal/pace"
	"github.com/postrider/postrider/internal/session"
)

// open brings a wire to where it can carry transactions: dial, TLS, greeting, EHLO, STARTTLS, EHLO again, AUTH. Step by
// step, one reply after the other.
func (c *Connection) open(ctx context.Context, id int) (*wire, *Error) {
	w := &wire{c: c, id: id, address: c.name, progress: make(chan struct{}, 1), ended: make(chan struct{})}
	s := c.newSession(w)
	if failed := s.Dial(ctx); failed != nil {
		return nil, w.openError(s, failed)
	}
	stop := context.AfterFunc(ctx, func() { s.Raw.Close() })
	failed := c.introduce(ctx, s)
	if !stop() && failed == nil {
		failed = &session.Error{Step: hint.Greeting, Err: context.Cause(ctx)}
	}
	if failed != nil {
		s.Raw.Close()
		return nil, w.openError(s, failed)
	}
	w.adopt(s)
	w.conn.SetDeadline(time.Time{})
	w.caps.Pipelining = w.caps.Pipelining && !c.quirks.NoPipelining.Holds()
	w.opened, w.heard, w.window = time.Now(), time.Now(), 1
	w.recallDiscard()
	w.maxTransactions, w.maxAge, w.maxIdle = c.cfg.MaxTransactions, c.cfg.MaxAge, c.idleTimeout()
	if c.jittered {
		w.maxTransactions, w.maxAge = pace.Jitter(w.maxTransactions), pace.Jitter(w.maxAge)
		w.maxIdle = pace.Jitter(w.maxIdle)
	}
	return w, nil
}

// newSession prepares a conversation with the server, and tells what happens in it as of this wire.
func (c *Connection) newSession(w *wire) *session.Session {
	var s *session.Session
	s = session.New(session.Settings{
		Dial: func(ctx context.Context) (net.Conn, error) {
			conn, err := c.dial(ctx, c.address.Network, c.address.Target())
			if conn == nil || err != nil || c.cfg.Dial == nil {
				return conn, err
			}
			return detach.NewConn(conn, c.ended), nil
		},
		TLS: c.tls, Verified: c.verified, Host: c.address.Host, Port: c.address.Port, Name: c.helloName.For,
		Mechanisms: c.cfg.AuthMechanisms, AllowPlaintextAuth: c.cfg.AllowPlaintextAuth, Secrets: &c.secrets,
		Timeouts: session.Timeouts{
			Connect: c.timeouts.Connect, Hello: c.timeouts.Hello, TLS: c.timeouts.TLS, Auth: c.timeouts.Auth,
			Block: c.timeouts.Block,
		},
		Observe: func(e session.Event) { w.observe(s, e) },
	})
	return s
}

// introduce is everything between the dial and the first MAIL.
func (c *Connection) introduce(ctx context.Context, s *session.Session) *session.Error {
	if c.cfg.Mode == ImplicitTLS {
		if failed := s.Handshake(ctx); failed != nil {
			return failed
		}
	}
	if failed := s.Greeting(c.timeouts.Greeting); failed != nil {
		return failed
	}
	failed := s.Hello(ctx)
	if failed == nil && c.cfg.Mode == StartTLS {
		failed = c.startTLS(ctx, s)
	}
	if failed == nil && c.logins != nil {
		failed = s.Login(ctx, c.logins)
	}
	if failed == nil {
		failed = s.Opened()
	}
	if failed != nil && failed.Step != hint.Handshake {
		s.Tell("QUIT") // a courtesy; its reply is not waited for
	}
	return failed
}

// startTLS goes on in TLS, where nothing of what was said in the clear counts any more (RFC 3207 §4.2).
func (c *Connection) startTLS(ctx context.Context, s *session.Session) *session.Error {
	if failed := s.StartTLS(); failed != nil {
		return failed
	}
	if failed := s.Handshake(ctx); failed != nil {
		return failed
	}
	return s.Hello(ctx)
}

// adopt takes over what a session has come to.
func (w *wire) adopt(s *session.Session) {
	w.conn, w.raw, w.in = s.Conn, s.Raw, s.In
	w.caps, w.hello, w.helloText = s.Caps, s.EHLO, s.HelloText
	w.exim, w.encrypted, w.loggedIn = s.Exim, s.Encrypted, s.LoggedIn
}

// observe passes on what happens while a wire is opened.
func (w *wire) observe(s *session.Session, e session.Event) {
	c := w.c
	switch e.Kind {
	case session.Dialed:
		c.observeDial(w, e.Conn, e.Took, e.Err)
	case session.Command:
		c.observeLine(w.id, e.Line, e.Shown)
	case session.Reply:
		c.observeReply(w.id, e.Reply)
	case session.TLSDone:
		c.observeTLS(w.id, e.State, e.Err)
		if e.Err == nil && !c.verified {
			c.warnUnverified()
		}
	case session.Hello:
		c.observeHello(w.id, e.Text)
	case session.Authenticated:
		var failed *Error
		if e.Failed != nil {
			failed = w.openError(s, e.Failed)
		}
		c.observeAuth(w.id, e.Mechanism, failed)
	}
}

// openError describes a failure before the first MAIL. It says nothing about any recipient.
func (w *wire) openError(s *session.Session, failed *session.Error) *Error {
	w.adopt(s)
	e := &Error{
		Stage: StageConnect, Step: Step(failed.Step), Address: w.address, Reply: replyFrom(failed.Reply),
		Err: failed.Err,
	}
	e.Hint = hintFor(e, w)
	return e
}
