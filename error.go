package postrider

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/postrider/postrider/internal/text"
)

// ErrClosed is what a Connection or a Pool answers after Close.
var ErrClosed = errors.New("postrider: it is closed")

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
type Error struct {
	Stage   Stage
	Step    Step   // what was being done
	Address string // the server; "" for a local verdict
	Reply   Reply  // the server's refusal, if there was one
	Hint    Hint   // what to set or to mend, if that is known
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
		fmt.Fprintf(&b, "%s (%s)", e.Reply, text.Words(e.Err.Error()))
	case e.Reply.Code != 0:
		b.WriteString(e.Reply.String())
	case e.Err != nil:
		b.WriteString(text.Words(e.Err.Error()))
	}
	if e.Hint.Text != "" {
		b.WriteString("; " + e.Hint.Text)
	}
	return b.String()
}

// Unwrap gives the cause, so that errors.Is finds context and network errors.
func (e *Error) Unwrap() error { return e.Err }

// Temporary reports whether the same message may succeed later without anybody
// changing it or the configuration: after a 4yz reply, a network failure, or a
// server that lost the thread. A certificate that does not verify, a refused
// password, a message or address that is wrong in itself are not temporary.
func (e *Error) Temporary() bool {
	switch {
	case e.Reply.Temporary(), e.Reply.Permanent():
		return e.Reply.Temporary()
	case e.Stage == StageLocal:
		return errors.Is(e.Err, context.DeadlineExceeded) || errors.Is(e.Err, context.Canceled)
	}
	return !isSetting(e.Err)
}

// refusesLogin reports that a server refuses our credentials for good.
func (e *Error) refusesLogin() bool {
	return e.Step == StepAuth && e.Reply.Permanent()
}
