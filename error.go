package postrider

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/postrider/postrider/internal/cause"
	"github.com/postrider/postrider/internal/hint"
	"github.com/postrider/postrider/internal/session"
	"github.com/postrider/postrider/internal/text"
	smtp "github.com/postrider/postrider/internal/wire"
)

// ErrClosed is the cause of errors after the Close or Shutdown of a Connection or a Pool.
var ErrClosed = errors.New("the connection or pool is closed")

// ErrProtocol is what errors.Is finds in an [Error] about a server that does not speak
// SMTP: what it said is no reply, or not one that can answer the command.
var ErrProtocol = errors.New("the server does not speak SMTP")

// Step is what was being done when a message was stopped. Its text is fit for a log; later versions may add steps.
type Step string

// The steps: those that come before the conversation, those of the conversation (RFC
// 5321, 3207, 4954 and 3030), and what may befall a wire between them.
const (
	StepConfiguration Step = "configuration" // the Config was checked
	StepMessage       Step = "message"       // the Message was checked
	StepSend          Step = "send"          // the message waited for its turn
	StepClose         Step = "close"         // the Connection or the Pool was ended
	StepLookup        Step = "SRV"           // the DNS was asked for the servers of a domain
	StepDial          Step = "dial"
	StepGreeting      Step = "greeting"
	StepHello         Step = "EHLO" // or HELO
	StepStartTLS      Step = "STARTTLS"
	StepHandshake     Step = "TLS handshake"
	StepAuth          Step = "AUTH"
	StepMail          Step = "MAIL"
	StepRcpt          Step = "RCPT"
	StepData          Step = "DATA"    // the command and its reply
	StepChunk         Step = "BDAT"    // the message by BDAT, and the reply to it
	StepContent       Step = "content" // the message behind DATA, and the reply to its end
	StepReset         Step = "RSET"
	StepQuit          Step = "QUIT"
	StepWrite         Step = "write"     // what was to be written did not leave
	StepIdle          Step = "idle wire" // nothing: the wire was open, and no reply was due
)

// Error says what stopped a message: at which stage, with which server and reply, and what to do about it. Refusals of
// single recipients are not errors; they stand in the Result's outcomes.
//
// Each Send returns an Error of its own, and its outcomes have theirs: whoever changes one changes no other.
type Error struct {
	Stage   Stage
	Step    Step   // what was being done
	Address string // the server; "" for a local verdict
	Reply   Reply  // the server's refusal, if there was one
	Hint    Hint   // what to set or to mend, if that is known
	Unknown bool   // a recipient is Unknown: sending again may duplicate
	Err     error  // the cause, if it was not a reply
}

// Error is one line for an operator. Of what the server said, and of what the cause says, it has up to 2,000 octets
// each, and says how many it left out; Reply and Err have all of them.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("postrider: ")
	if e.Address != "" {
		b.WriteString(text.Words(e.Address) + ": ") // as many servers as the DNS names
	}
	if e.Step != "" {
		b.WriteString(string(e.Step) + ": ")
	}
	switch {
	case e.Reply.Code != 0 && e.Err != nil:
		fmt.Fprintf(&b, "%s (%s)", e.Reply, causeText(e.Err))
	case e.Reply.Code != 0:
		b.WriteString(e.Reply.String())
	case e.Err != nil:
		b.WriteString(causeText(e.Err))
	}
	if e.Hint.Text != "" {
		b.WriteString("; " + e.Hint.Text)
	}
	return b.String()
}

// causeText is a cause as an operator can read it: a bare EOF says who closed, and our own name stands once in a line.
func causeText(err error) string {
	switch err {
	case io.EOF, errHungUp:
		return "the server closed the connection"
	case io.ErrUnexpectedEOF:
		return "the server closed the connection in the middle of a reply"
	}
	return text.Words(strings.TrimPrefix(err.Error(), "postrider: "))
}

// Unwrap returns the cause, so that errors.Is finds context and network errors.
func (e *Error) Unwrap() error { return e.Err }

// Is finds [ErrProtocol].
func (e *Error) Is(target error) bool {
	if target != ErrProtocol {
		return false
	}
	code := e.Reply.Code
	return 0 < code && code < 400 ||
		errors.Is(e.Err, smtp.ErrSyntax) || errors.Is(e.Err, session.ErrOutOfStep) ||
		errors.Is(e.Err, session.ErrSurplus)
}

// Temporary reports whether the recipients that are [Untried] or [Deferred] may be accepted later without anybody
// changing the message or the configuration (see [Result.Remaining]): after a 4yz reply, a failure of the network or
// the resolver that time mends, an end of the conversation by the server, or the end of the context. Everything else is
// not temporary, and nothing is if a recipient is [Unknown], because sending again may then duplicate.
func (e *Error) Temporary() bool {
	switch {
	case e.Unknown:
		return false
	case e.Reply.Code != 0:
		return e.Reply.Temporary()
	case e.Stage == StageLocal:
		return cause.IsContext(e.Err)
	}
	return cause.Passes(e.Err, judged)
}

// judged is what the error of a server says of itself, where it is one of several causes.
func judged(err error) (temporary, known bool) {
	e, known := err.(*Error)
	return known && e.Temporary(), known
}

// Hint is what to set or to mend about an [Error], in one or two short sentences without a full stop.
type Hint struct {
	Text  string // it names fields of Config: "set Config.Mode to StartTLS"
	Field string // the first of them: "Mode", "Timeouts.Hello"; "" if there is none

	marked hint.Hint // Text, with the fields told from the words
}

// String returns the text.
func (h Hint) String() string { return h.Text }

// In returns the text for people who do not set a [Config] but something else. For each field that it names, name is
// called with that and with the value that it is to have, in text as "starttls", "true" or "45s", or with "" where the
// text leaves the value open; it returns what stands in the text then. The function Setting of package config is one.
func (h Hint) In(name func(field, value string) string) string {
	if h.marked == "" {
		return h.Text
	}
	return h.marked.In(name)
}

// hintFor looks up what to do about an error; w is nil when there is no wire.
func hintFor(e *Error, w *wire) Hint {
	f := hint.Failure{
		Step: hint.Step(e.Step), Code: e.Reply.Code, Enhanced: e.Reply.Enhanced.String(), Text: e.Reply.Text,
		Err: e.Err,
	}
	hide := func(words string) string { return words }
	if w != nil {
		f.Mode, f.ServerName = w.c.cfg.Mode.String(), w.c.cfg.ServerName
		f.Host, f.Port = w.c.address.Host, w.c.address.Port
		f.Encrypted, f.OfferedStartTLS = w.encrypted, w.caps.StartTLS
		f.OfferedAuth, f.Mechanisms = len(w.caps.Auth) > 0, w.caps.Auth
		if w.raw != nil && w.raw.RemoteAddr() != nil {
			f.Remote = w.raw.RemoteAddr().String()
		}
		hide = w.c.secrets.Hide // it may name what EHLO offered
	}
	marked := hint.For(f).Hidden(hide)
	return Hint{Text: marked.String(), Field: marked.Field(), marked: marked}
}

// owner makes the errors of a result the caller's own. Its zero value is ready.
type owner struct {
	from, own *Error
	unknown   bool
}

// copy returns err as a copy; the same one for recipients that have one reason. What
// is not an Error belongs to one Send already.
func (o *owner) copy(err error, unknown bool) error {
	from, ok := err.(*Error)
	if !ok {
		return err
	}
	if from != o.from || unknown != o.unknown {
		own := *from
		own.Unknown = unknown
		*o = owner{from, &own, unknown}
	}
	return o.own
}

// refusesLogin reports that a server refuses our credentials for good.
func (e *Error) refusesLogin() bool {
	return e.Step == StepAuth && e.Reply.Permanent()
}
