package session

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/cause"
	"github.com/postrider/postrider/internal/detach"
	"github.com/postrider/postrider/internal/dial"
	"github.com/postrider/postrider/internal/hint"
	"github.com/postrider/postrider/internal/wire"
)

// Dial opens the socket. It does not outlast its context, whatever the Dial of the Settings does.
func (s *Session) Dial(ctx context.Context) *Error {
	limit := s.Timeouts.Connect
	late := fmt.Errorf("no connection within %v: %w", limit, context.DeadlineExceeded)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, late)
	defer cancel()
	start := time.Now()
	conn, err := dial.Open(ctx, func() (net.Conn, error) { return s.Settings.Dial(ctx) })
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	s.tellOf(Event{Kind: Dialed, Conn: conn, Took: time.Since(start), Err: err})
	if err != nil {
		s.Lost = true
		return &Error{Step: hint.Dial, Err: err}
	}
	s.Raw, s.Local = conn, dial.Local(conn)
	s.use(conn)
	return nil
}

// Greeting waits for the server's 220 (RFC 5321 §3.1). After it has timed out it may be called again.
func (s *Session) Greeting(within time.Duration) *Error {
	r, err := s.Hear(within)
	if err != nil {
		return &Error{Step: hint.Greeting, Err: err}
	}
	s.Exim = strings.Contains(r.Text, "Exim")
	if r.Code != 220 {
		return refusal(hint.Greeting, wire.Greeting, r)
	}
	return nil
}

// Hello says EHLO, and HELO to a server that does not know EHLO (RFC 5321 §4.1.1.1). The capabilities are those of the
// newest reply, and no others. They are read to the letter: a password may be called PIPELINING.
func (s *Session) Hello(ctx context.Context) *Error {
	name := s.Name(ctx, s.Raw.LocalAddr())
	exact, failed := s.askExactly(hint.Hello, s.Timeouts.Hello, "EHLO "+name)
	if failed != nil {
		return failed
	}
	r := exact.Redacted(s.Secrets.Hide)
	s.Caps, s.HelloText, s.EHLO = wire.Capabilities{}, "", r.Code == 250
	switch r.Code {
	case 500, 501, 502, 504:
		if r, failed = s.Ask(hint.Hello, s.Timeouts.Hello, "HELO "+name); failed != nil {
			return failed
		}
	}
	if r.Code != 250 {
		return refusal(hint.Hello, wire.Hello, r)
	}
	if s.EHLO {
		s.Caps, s.HelloText = wire.ParseCapabilities(exact.Text), exact.Text
		s.tellOf(Event{Kind: Hello, Text: r.Text})
	}
	return nil
}

// errInjected: somebody put words into the server's mouth before the encryption began (RFC 3207 §6).
var errInjected = errors.New("the server sent octets in the clear behind its reply to STARTTLS; they may be injected")

// StartTLS asks for TLS, and never falls back: a server without STARTTLS gets no mail. Handshake comes next, and Hello
// behind it.
func (s *Session) StartTLS() *Error {
	if !s.Caps.StartTLS {
		return &Error{Step: hint.StartTLS, Err: hint.ErrNoStartTLS}
	}
	r, failed := s.Ask(hint.StartTLS, s.Timeouts.TLS, "STARTTLS")
	switch {
	case failed != nil:
		return failed
	case r.Code != 220:
		return refusal(hint.StartTLS, wire.StartTLS, r)
	case s.In.Buffered() > 0:
		s.Lost = true
		return &Error{Step: hint.StartTLS, Err: cause.Lasting{Err: errInjected}}
	}
	return nil
}

// Handshake begins TLS. Hooks of the caller's tls.Config that do not return are left behind, and with them the socket,
// which is to be closed.
func (s *Session) Handshake(ctx context.Context) *Error {
	limit := s.Timeouts.TLS
	late := fmt.Errorf("no TLS handshake within %v: %w", limit, context.DeadlineExceeded)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, late)
	defer cancel()
	s.Raw.SetDeadline(time.Time{})
	conn := tls.Client(s.Raw, s.TLS)
	// If a hook does not return, the state cannot be had either.
	state, err := detach.Until(ctx, func() (tls.ConnectionState, error) {
		err := conn.HandshakeContext(ctx)
		return conn.ConnectionState(), err
	}, nil)
	switch {
	case err != nil && ctx.Err() != nil:
		err = context.Cause(ctx)
	case err == io.EOF:
		err = ErrHungUp
	}
	s.tellOf(Event{Kind: TLSDone, State: state, Err: err})
	if err != nil {
		s.Lost = true
		return &Error{Step: hint.Handshake, Err: dial.Explain(err)}
	}
	s.Encrypted, s.TLSState = true, state
	s.use(conn)
	return nil
}

// Opened is the last step: whatever was said that nobody asked for would be taken for the reply to MAIL, and every
// reply after it for the next.
func (s *Session) Opened() *Error {
	if s.In.Buffered() > 0 {
		s.Lost = true
		return &Error{Step: hint.Hello, Err: ErrSurplus}
	}
	return nil
}
