package postrider

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"slices"
	"strings"
	"syscall"

	"github.com/postrider/postrider/internal/session"
	"github.com/postrider/postrider/internal/text"
	smtp "github.com/postrider/postrider/internal/wire"
)

// ErrClosed is the cause of errors after the Close or Shutdown of a Connection or a Pool.
var ErrClosed = errors.New("the connection or pool is closed")

// ErrProtocol is what errors.Is finds in an [Error] about a server that does not speak
// SMTP: what it said is no reply, or not one that can answer the command.
var ErrProtocol = errors.New("the server does not speak SMTP")

// Step is what was being done when a message was stopped. Its text is fit for a log;
// later versions may add steps.
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

// Error says what stopped a message: at which stage, with which server and
// reply, and what to do about it. Refusals of single recipients are not errors;
// they stand in the Result's outcomes.
//
// Each Send returns an Error of its own, and its outcomes have theirs: whoever changes
// one changes no other.
type Error struct {
	Stage   Stage
	Step    Step   // what was being done
	Address string // the server; "" for a local verdict
	Reply   Reply  // the server's refusal, if there was one
	Hint    Hint   // what to set or to mend, if that is known
	Unknown bool   // a recipient is Unknown: sending again may duplicate
	Err     error  // the cause, if it was not a reply
}

// Error is one line for an operator. Of what the server said, and of what the cause
// says, it has up to 2,000 octets each, and says how many it left out; Reply and Err
// have all of them.
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

// causeText is a cause as an operator can read it: a bare EOF says who closed, and
// our own name stands once in a line.
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
		errors.Is(e.Err, smtp.ErrSyntax) || errors.Is(e.Err, session.ErrOutOfStep) || errors.Is(e.Err, session.ErrSurplus)
}

// Temporary reports whether the recipients that are [Untried] or [Deferred] may be
// accepted later without anybody changing the message or the configuration (see
// [Result.Remaining]): after a 4yz reply, a failure of the network or the resolver
// that time mends, an end of the conversation by the server, or the end of the
// context. Everything else is not temporary, and nothing is if a recipient is
// [Unknown], because sending again may then duplicate.
func (e *Error) Temporary() bool {
	switch {
	case e.Unknown:
		return false
	case e.Reply.Code != 0:
		return e.Reply.Temporary()
	case e.Stage == StageLocal:
		return isContext(e.Err)
	}
	return timeMends(e.Err)
}

func isContext(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// timeMends reports whether a cause is one that may pass without anybody's doing. Of
// several causes, such as one for each server of a pool, one that passes suffices.
func timeMends(err error) bool {
	switch e := err.(type) {
	case nil, permanentError, session.Lasting: // whatever lies behind it
		return false
	case *Error:
		return e.Temporary()
	case *net.DNSError:
		return e.IsTimeout || e.IsTemporary || !e.IsNotFound
	case *net.OpError:
		return networkMends(e)
	case syscall.Errno:
		return e.Timeout() || slices.Contains(passingErrnos, e)
	case interface{ Unwrap() error }:
		return isPassing(err) || timeMends(e.Unwrap())
	case interface{ Unwrap() []error }:
		return slices.ContainsFunc(e.Unwrap(), timeMends)
	}
	return isPassing(err)
}

// isPassing knows the single errors that time mends. A wrapped one is met by timeMends
// on its way down.
func isPassing(err error) bool {
	switch err {
	case io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, net.ErrClosed, context.Canceled, context.DeadlineExceeded:
		return true
	}
	late, ok := err.(net.Error)
	return ok && late.Timeout()
}

// networkMends is about dialling, reading and writing. crypto/tls uses the same type
// for its alerts, which are about what was agreed on; and an address that means
// nothing, or a socket that we may not open, is the same tomorrow.
func networkMends(e *net.OpError) bool {
	if e.Op == "remote error" || e.Op == "local error" {
		return false
	}
	switch cause := e.Err.(type) {
	case *net.DNSError:
		return timeMends(cause)
	case *net.AddrError, *net.ParseError, net.UnknownNetworkError, net.InvalidAddrError:
		return false
	}
	return !errors.Is(e.Err, fs.ErrPermission)
}

// passingErrnos are what a Dial or a net.Conn of the caller's may return bare.
var passingErrnos = []syscall.Errno{
	syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE,
	syscall.EHOSTUNREACH, syscall.ENETUNREACH,
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
