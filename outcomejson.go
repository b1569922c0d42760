package postrider

import (
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/postrider/postrider/internal/text"
)

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
// state and stage are the words of their String methods; code, enhanced and reply are
// the fields of Reply, and error is the text of Err. What is empty is left out. Where
// recipient, reply or error is not UTF-8, its octets stand besides in
// recipient_octets, reply_octets or error_octets, as base64.
func (o Outcome) MarshalJSON() ([]byte, error) {
	j := outcomeJSON{
		Recipient: o.Recipient, RecipientOctets: octets(o.Recipient), State: &o.State, Stage: &o.Stage,
		Code: o.Reply.Code, Enhanced: o.Reply.Enhanced.String(), Reply: o.Reply.Text, ReplyOctets: octets(o.Reply.Text),
	}
	if o.Err != nil {
		j.Error, j.ErrorOctets = o.Err.Error(), octets(o.Err.Error())
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
		Recipient: whole(j.Recipient, j.RecipientOctets), State: *j.State, Stage: *j.Stage,
		Reply: Reply{Code: j.Code, Text: whole(j.Reply, j.ReplyOctets)},
	}
	if err := read.Reply.Enhanced.read(j.Enhanced); err != nil {
		return err
	}
	if cause := whole(j.Error, j.ErrorOctets); cause != "" {
		read.Err = errors.New(cause)
	}
	*o = read
	return nil
}

// octets returns what JSON cannot hold as a string, nil if it can.
func octets(s string) []byte {
	if utf8.ValidString(s) {
		return nil
	}
	return []byte(s)
}

func whole(s string, octets []byte) string {
	if octets != nil {
		return string(octets)
	}
	return s
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
