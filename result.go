package postrider

import (
	"fmt"
	"slices"
	"strings"

	"github.com/postrider/postrider/internal/text"
)

// State is what became of one recipient.
type State int

// The five outcomes. Only Untried recipients may be sent to again at once; Deferred
// ones later; Unknown ones may have got the message.
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

var stateWords = []string{"untried", "accepted", "deferred", "refused", "unknown"}

// String returns the state as a lower-case word.
func (s State) String() string { return word(stateWords, int(s), "State") }

// MarshalText returns the word of String.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the word of String.
func (s *State) UnmarshalText(word []byte) error { return readWord(s, word, stateWords, "state") }

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

var stageWords = []string{"local", "connect", "mail", "rcpt", "content"}

// String returns the stage as a lower-case word.
func (s Stage) String() string { return word(stageWords, int(s), "Stage") }

// MarshalText returns the word of String.
func (s Stage) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the word of String.
func (s *Stage) UnmarshalText(word []byte) error { return readWord(s, word, stageWords, "stage") }

func word(words []string, i int, kind string) string {
	if i < 0 || i >= len(words) {
		return fmt.Sprintf("%s(%d)", kind, i)
	}
	return words[i]
}

func readWord[T ~int](to *T, word []byte, words []string, kind string) error {
	i := slices.Index(words, string(word))
	if i < 0 {
		return fmt.Errorf("there is no %s %q; there are %s", kind, word, strings.Join(words, ", "))
	}
	*to = T(i)
	return nil
}

// Outcome is what became of one recipient. Its JSON form is durable, see
// [Outcome.MarshalJSON].
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

// Transaction is one MAIL command and what followed it.
type Transaction struct {
	Wire       int // the connection's first wire is 1
	Recipients int // how many RCPT commands it had

	// Reply is the one that ended it: the reply to the terminator, or the refusal
	// before it. Its text often has the MTA's queue id.
	Reply Reply

	// LeftOut names what the Message asked for and was not told to the server, which
	// does not offer it: "DSN", "DELIVERBY", "MT-PRIORITY".
	LeftOut []string
}

// Count returns how many outcomes have the state.
func (r *Result) Count(s State) int {
	n := 0
	for i := range r.Outcomes {
		if r.Outcomes[i].State == s {
			n++
		}
	}
	return n
}

// All reports whether every outcome has the state. Without recipients there is none.
func (r *Result) All(s State) bool {
	return len(r.Outcomes) > 0 && r.Count(s) == len(r.Outcomes)
}

// Remaining returns a copy of the message for those of its recipients that may be sent
// to again, the Untried and the Deferred, with their options; nil if there are none.
// Unknown recipients are never among them: they may have the message already. A message
// with a content that can be read only once may be used up; see [Content.Replayable].
func (r *Result) Remaining() *Message {
	n := r.Count(Untried) + r.Count(Deferred)
	if n == 0 || r.Message == nil {
		return nil
	}
	m := *r.Message
	m.To = make([]string, 0, n)
	if m.Options != nil {
		m.Options = make([]RecipientOptions, 0, n)
	}
	for i := range r.Outcomes {
		o := &r.Outcomes[i]
		if o.State != Untried && o.State != Deferred {
			continue
		}
		m.To = append(m.To, o.Recipient)
		if m.Options != nil && i < len(r.Message.Options) {
			m.Options = append(m.Options, r.Message.Options[i])
		}
	}
	return &m
}
