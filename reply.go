package postrider

import (
	"fmt"
	"strings"

	"github.com/postrider/postrider/internal/text"
	smtp "github.com/postrider/postrider/internal/wire"
)

// Reply is what the server answered to a command (RFC 5321 §4.2). The zero
// Reply means that there was none.
type Reply struct {
	Code     int          // 200 to 599; 0: no reply
	Enhanced EnhancedCode // zero where the reply has none
	Text     string       // the server's words after the code, enhanced code included; lines joined by "\n"
}

// EnhancedCode is an enhanced status code such as 5.1.1: class, subject and
// detail (RFC 3463).
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

// String returns the reply on one line, control characters escaped, so that a
// server's words can go into a log or a terminal as they are: up to 2,000 octets of
// them, and how many were left out. Text has all.
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
