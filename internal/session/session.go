// Package session is the opening half of an SMTP conversation with one address, a method a step: Dial, Greeting, Hello,
// StartTLS, Handshake, Auth, each followed by nothing until its reply was read. In what order they come, which address
// is next and what a failure means for mail is the caller's business: the library's, and that of the program's check.
//
// It logs nothing, counts nothing and knows no hints. One function is told of everything that happens.
package session

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/postrider/postrider/internal/hint"
	"github.com/postrider/postrider/internal/sasl"
	"github.com/postrider/postrider/internal/wire"
)

// Settings are what a client brings into a conversation.
type Settings struct {
	Dial func(context.Context) (net.Conn, error) // a call that goes on when its context is done is left behind

	TLS        *tls.Config // for Handshake
	Verified   bool        // a handshake that succeeds proves that the server is the right one
	Host, Port string      // the server, as the mechanisms of AUTH say it

	Name func(ctx context.Context, own net.Addr) string // what EHLO says

	Mechanisms         []string // of AUTH, in order of preference; empty: the order of package sasl
	AllowPlaintextAuth bool     // also to a server that is not on this machine
	Secrets            *sasl.Redactor

	Timeouts Timeouts
	Observe  func(Event) // nil: nobody
}

// Timeouts are the longest waits for the steps, each restarted with each reply. None may be zero.
type Timeouts struct {
	Connect time.Duration
	Hello   time.Duration // EHLO and HELO
	TLS     time.Duration // the reply to STARTTLS, and the handshake
	Auth    time.Duration
	Block   time.Duration // writing a line
}

// linger is how long a reply is waited for when the command could not be written: a server that hung up has often said
// why, by a 421 or a TLS alert.
const linger = 2 * time.Second

// Session is one conversation. Its steps are for one goroutine. Raw may be closed by another, which ends the step that
// is underway, but for Dial, which ends with its context.
type Session struct {
	Settings

	Raw  net.Conn // the socket
	Conn net.Conn // what is spoken on: TLS over Raw if there is TLS
	In   *wire.ReplyReader

	Local     bool // what is written to Raw stays on this machine
	Exim      bool // by the greeting
	EHLO      bool // it was accepted, not only HELO
	HelloText string
	Caps      wire.Capabilities   // of the newest EHLO, and of no other
	TLSState  tls.ConnectionState // if Encrypted
	Encrypted bool
	LoggedIn  bool
	Last      wire.Reply // the newest that was read, without our secrets

	// Lost: the last thing that was tried had no answer that can be trusted, so that nothing more is to be said.
	Lost bool

	early bool // what is read next was said before its command
}

// New returns a conversation that has not begun.
func New(s Settings) *Session { return &Session{Settings: s} }

// Kind is what an Event is about.
type Kind int

// The kinds of events.
const (
	Dialed        Kind = iota // Conn, Took, Err
	Command                   // a line is about to be written: Line, Shown
	Reply                     // one was read: Reply, without our secrets
	TLSDone                   // State, Err
	Hello                     // EHLO was accepted: Text, without our secrets
	Authenticated             // an attempt to log in ended: Mechanism, Failed
)

// Event is something that happened. Only the fields that its Kind names are set.
type Event struct {
	Kind        Kind
	Conn        net.Conn // nil if there is none
	Took        time.Duration
	Line, Shown string // as it goes out, and as others may see it
	Reply       wire.Reply
	State       tls.ConnectionState
	Text        string
	Mechanism   string
	Failed      *Error // nil: the server let us in
	Err         error
}

func (s *Session) tellOf(e Event) {
	if s.Observe != nil {
		s.Observe(e)
	}
}

// Error is why a step failed.
type Error struct {
	Step  hint.Step
	Reply wire.Reply // the refusal, without our secrets; code 0 if there was none
	Err   error      // the cause, if it was not the reply alone
}

// Error says the step and what went wrong at it.
func (e *Error) Error() string {
	switch {
	case e.Reply.Code == 0:
		return fmt.Sprintf("%s: %v", e.Step, e.Err)
	case e.Err == nil:
		return fmt.Sprintf("%s: %d %s", e.Step, e.Reply.Code, e.Reply.Text)
	}
	return fmt.Sprintf("%s: %d %s (%v)", e.Step, e.Reply.Code, e.Reply.Text, e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// What a server does that ends a conversation.
var (
	// ErrSurplus: what was said before the command was is no answer to it.
	ErrSurplus = errors.New("the server said more than it was asked for: replies and commands are out of step")

	// ErrOutOfStep: see wire.Command.CanAnswer.
	ErrOutOfStep = errors.New("this reply cannot answer the command: replies and commands are out of step")

	// ErrHungUp says who ended the connection, which io.EOF does not; ErrCutOff stands for io.ErrUnexpectedEOF.
	ErrHungUp error = hungUp{"the server closed the connection", io.EOF}
	ErrCutOff error = hungUp{"the server closed the connection in the middle of a reply", io.ErrUnexpectedEOF}
)

type hungUp struct {
	text string
	eof  error
}

func (e hungUp) Error() string { return e.text }
func (e hungUp) Unwrap() error { return e.eof }

// refusal is the error for a reply that does not accept the command. Its cause says so if it cannot be an answer at
// all.
func refusal(step hint.Step, c wire.Command, r wire.Reply) *Error {
	e := &Error{Step: step, Reply: r}
	if !c.CanAnswer(r.Code) {
		e.Err = ErrOutOfStep
	}
	return e
}
