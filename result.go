package postrider

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/postrider/postrider/internal/text"
	smtp "github.com/postrider/postrider/internal/wire"
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
	// Unknown: the message's last octets were handed over, at least in part, and no reply to them was read (RFC 1047).
	Unknown
)

var stateWords = []string{"untried", "accepted", "deferred", "refused", "unknown"}

// String returns the state as a lower-case word.
func (s State) String() string { return text.EnumWord(stateWords, int(s), "State") }

// MarshalText returns the word of String.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the word of String.
func (s *State) UnmarshalText(word []byte) error { return text.ReadEnum(s, word, stateWords, "state") }

// Stage is where in the conversation something was decided.
type Stage int

// The stages, in the order of the conversation; Local is our own verdict, without the server.
const (
	StageLocal   Stage = iota // decided here: syntax, size, missing extension
	StageConnect              // dialling, greeting, EHLO, TLS, AUTH
	StageMail                 // MAIL
	StageRcpt                 // RCPT
	StageContent              // DATA or BDAT, and the terminator
)

var stageWords = []string{"local", "connect", "mail", "rcpt", "content"}

// String returns the stage as a lower-case word.
func (s Stage) String() string { return text.EnumWord(stageWords, int(s), "Stage") }

// MarshalText returns the word of String.
func (s Stage) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the word of String.
func (s *Stage) UnmarshalText(word []byte) error { return text.ReadEnum(s, word, stageWords, "stage") }

// Outcome is what became of one recipient. Its JSON form is durable, see [Outcome.MarshalJSON].
type Outcome struct {
	Recipient string // the caller's address, also when redirected
	State     State
	Stage     Stage // where it was decided
	Reply     Reply // the server's words that decided it; code 0 if it was not the server
	Err       error // why, where no reply says it: a local verdict, or what befell the wire
}

// String is a line for a log: recipient, state, stage and the reason, control characters escaped.
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

// outcomeJSON is the durable form of an Outcome. Names and words do not change.
type outcomeJSON struct {
	Recipient       string `json:"recipient,omitempty"`
	RecipientOctets []byte `json:"recipient_octets,omitempty"`
	State           *State `json:"state"` // missing in what is damaged, which must not read as Untried
	Stage           *Stage `json:"stage"`
	Code            int    `json:"code,omitempty"`
	Enhanced        string `json:"enhanced,omitempty"`
	Reply           string `json:"reply,omitempty"`
	ReplyOctets     []byte `json:"reply_octets,omitempty"`
	Error           string `json:"error,omitempty"`
	ErrorOctets     []byte `json:"error_octets,omitempty"`
}

// MarshalJSON returns the outcome as an object that later versions can read, too:
//
//	{"recipient": "bart@example.com", "state": "refused", "stage": "rcpt",
//	 "code": 550, "enhanced": "5.1.1", "reply": "5.1.1 no such user", "error": "…"}
//
// state and stage are the words of their String methods; code, enhanced and reply are the fields of Reply, and error is
// the text of Err. What is empty is left out. Where recipient, reply or error is not UTF-8, its octets stand besides in
// recipient_octets, reply_octets or error_octets, as base64.
func (o Outcome) MarshalJSON() ([]byte, error) {
	j := outcomeJSON{
		Recipient: o.Recipient, RecipientOctets: text.Octets(o.Recipient), State: &o.State, Stage: &o.Stage,
		Code: o.Reply.Code, Enhanced: o.Reply.Enhanced.String(), Reply: o.Reply.Text,
		ReplyOctets: text.Octets(o.Reply.Text),
	}
	if o.Err != nil {
		j.Error, j.ErrorOctets = o.Err.Error(), text.Octets(o.Err.Error())
	}
	return text.JSON(j, "")
}

// UnmarshalJSON reads what MarshalJSON has written. Err is an error with the text that
// Err had, and nothing else of it. A name that is not known is ignored.
func (o *Outcome) UnmarshalJSON(b []byte) error {
	var j outcomeJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	if j.State == nil || j.Stage == nil {
		return errors.New("an outcome has no state, or no stage")
	}
	read := Outcome{
		Recipient: text.FromOctets(j.Recipient, j.RecipientOctets), State: *j.State, Stage: *j.Stage,
		Reply: Reply{Code: j.Code, Text: text.FromOctets(j.Reply, j.ReplyOctets)},
	}
	if err := read.Reply.Enhanced.read(j.Enhanced); err != nil {
		return err
	}
	if cause := text.FromOctets(j.Error, j.ErrorOctets); cause != "" {
		read.Err = errors.New(cause)
	}
	*o = read
	return nil
}

// read is the inverse of String.
func (e *EnhancedCode) read(s string) error {
	if s == "" {
		return nil
	}
	var read EnhancedCode
	if _, err := fmt.Sscanf(s, "%d.%d.%d", &read[0], &read[1], &read[2]); err != nil || read.String() != s {
		return fmt.Errorf("%q is no enhanced status code", s)
	}
	*e = read
	return nil
}

// Reply is what the server answered to a command (RFC 5321 §4.2). The zero Reply means that there was none.
type Reply struct {
	Code     int          // 200 to 599; 0: no reply
	Enhanced EnhancedCode // zero where the reply has none
	Text     string       // the server's words after the code, enhanced code included; lines joined by "\n"
}

// EnhancedCode is an enhanced status code such as 5.1.1: class, subject and detail (RFC 3463).
type EnhancedCode [3]int

// String returns "5.1.1", and "" for the zero code.
func (e EnhancedCode) String() string {
	if e == (EnhancedCode{}) {
		return ""
	}
	return fmt.Sprintf("%d.%d.%d", e[0], e[1], e[2])
}

// Positive reports a 2yz reply.
func (r Reply) Positive() bool { return r.Code/100 == 2 }

// Temporary reports a 4yz reply: the same may succeed later.
func (r Reply) Temporary() bool { return r.Code/100 == 4 }

// Permanent reports a 5yz reply.
func (r Reply) Permanent() bool { return r.Code/100 == 5 }

// String returns the reply on one line, control characters escaped, so that a server's words can go into a log or a
// terminal as they are: up to 2,000 octets of them, and how many were left out. Text has all.
func (r Reply) String() string {
	if r.Code == 0 && r.Text == "" {
		return "no reply"
	}
	words := text.Lines(r.Text)
	if r.Code == 0 {
		return words // a verdict of our own, as SendMail puts it
	}
	return strings.TrimRight(fmt.Sprintf("%d %s", r.Code, words), " ")
}

// replyFrom returns a reply of the wire in its public shape.
func replyFrom(w smtp.Reply) Reply {
	return Reply{Code: w.Code, Enhanced: EnhancedCode(w.Enhanced()), Text: w.Text}
}

// Result is what became of a message.
type Result struct {
	Message *Message

	// Outcomes has exactly one entry per recipient of Message.To, in that order, also when Send returned an error.
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

// Remaining returns a copy of the message for those of its recipients that may be sent to again, the Untried and the
// Deferred, with their options; nil if there are none. Unknown recipients are never among them: they may have the
// message already. A message with a content that can be read only once may be used up; see [Content.Replayable].
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
