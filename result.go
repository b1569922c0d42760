package postrider

import (
	"fmt"

	"github.com/postrider/postrider/internal/text"
)

// State is what became of one recipient.
type State int

// The five outcomes. Only Untried recipients may be sent to again without a
// second thought; Deferred ones later; Unknown ones may have got the message.
const (
	// Untried: nothing was decided about the recipient.
	Untried State = iota
	// Accepted: the MTA took responsibility for the message to this recipient.
	Accepted
	// Deferred: a 4yz reply about this recipient or message.
	Deferred
	// Refused: a 5yz reply about this recipient or message, or a local verdict.
	Refused
	// Unknown: the message's last octets were handed over, at least in part, and
	// no reply to them was read (RFC 1047).
	Unknown
)

var stateWords = [...]string{"untried", "accepted", "deferred", "refused", "unknown"}

// String gives the state as a lower-case word.
func (s State) String() string { return word(stateWords[:], int(s), "State") }

// MarshalText gives the word of String.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Stage is where in the conversation something was decided.
type Stage int

// The stages, in the order of the conversation; Local is our own verdict, without
// the server.
const (
	StageLocal   Stage = iota // decided here: syntax, size, missing extension
	StageConnect              // dialling, greeting, EHLO, TLS, AUTH
	StageMail                 // MAIL
	StageRcpt                 // RCPT
	StageContent              // DATA or BDAT, and the terminator
)

var stageWords = [...]string{"local", "connect", "mail", "rcpt", "content"}

// String gives the stage as a lower-case word.
func (s Stage) String() string { return word(stageWords[:], int(s), "Stage") }

// MarshalText gives the word of String.
func (s Stage) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

func word(words []string, i int, kind string) string {
	if i < 0 || i >= len(words) {
		return fmt.Sprintf("%s(%d)", kind, i)
	}
	return words[i]
}

// Outcome is what became of one recipient.
type Outcome struct {
	Recipient string // the caller's address, also when redirected
	State     State
	Stage     Stage // where it was decided
	Reply     Reply // the server's words that decided it; code 0 if it was not the server
	Err       error // why, where no reply says it: a local verdict, or what befell the wire
}

// String is a line for a log: recipient, state, stage and the reason, control
// characters escaped.
func (o Outcome) String() string {
	s := fmt.Sprintf("%s: %s at %s", text.Printable(o.Recipient), o.State, o.Stage)
	switch {
	case o.Reply.Code != 0:
		return s + ": " + o.Reply.String()
	case o.Err != nil:
		return s + ": " + text.Words(o.Err.Error())
	}
	return s
}

// Result is what became of a message.
type Result struct {
	Message *Message

	// Outcomes has exactly one entry per recipient of Message.To, in that order,
	// also when Send returned an error.
	Outcomes []Outcome

	// Transactions are those that were begun for the message, in order. There
	// are several when the recipients did not fit into one, or one was repeated.
	Transactions []Transaction
}

// Transaction is one ride of a message on a wire.
type Transaction struct {
	Wire       int   // the connection's first wire is 1
	Recipients int   // how many RCPT commands it had
	Reply      Reply // the reply that ended it: the one to the terminator, or the refusal before it; its text often has the MTA's queue id
}

// Count gives how many outcomes have the state.
func (r *Result) Count(s State) int {
	n := 0
	for i := range r.Outcomes {
		if r.Outcomes[i].State == s {
			n++
		}
	}
	return n
}
