// Package verdict decides what became of a mail transaction and of each of its recipients, from the transaction's own
// replies and from nothing else. Words said to another transaction prove nothing, be it 421, and neither does the end
// of the connection.
package verdict

import (
	"slices"

	smtp "github.com/postrider/postrider/internal/wire"
)

// State is what became of a recipient.
type State int

// The states, in the order of the library's.
const (
	Untried State = iota
	Accepted
	Deferred
	Refused
	Unknown
)

// Border is how much of a transaction's terminator has left: the line with the dot, or the last octet of BDAT … LAST.
type Border int

// The borders, in the order in which a terminator passes them.
const (
	Ahead      Border = iota // no octet of it was handed over
	Begun                    // the first may be in the server's hands: only a reply tells what became of the message
	HandedOver               // the last has left for sure: a 2yz that was read before that is about something else
)

// Mishap is what befell a transaction that its replies do not tell.
type Mishap int

// The mishaps.
const (
	None      Mishap = iota
	Shifted          // replies and commands are out of step: what was read may be another's
	Misread          // the same by a command of ours alone, so that another connection will do
	Elsewhere        // MAIL was refused for what the connection is, or has carried: another one will do
	Unchunked        // BDAT itself was refused, not the message: DATA will do
)

// OutOfStep reports that what was read may be another's.
func (m Mishap) OutOfStep() bool { return m == Shifted || m == Misread }

// Transaction is what was said to one MAIL and what followed it. A zero Reply was not read.
type Transaction struct {
	ResetFirst bool       // RSET stood before the MAIL
	Clear      smtp.Reply // to that RSET
	Mail       smtp.Reply
	Rcpt       []smtp.Reply // one a recipient
	Data       smtp.Reply   // 354, or the refusal of DATA
	Final      smtp.Reply   // to the terminator
	Mishap     Mishap
}

// Verdict is what became of one recipient.
type Verdict struct {
	State State
	At    smtp.Command // which command's reply decided it, or is missing: Mail, Rcpt, Data or Content
	Reply smtp.Reply   // that decided it

	Undecided bool // no reply was about the recipient or the message: Refusal or the end of the connection says why
	Again     bool // the recipient belongs into a next transaction
}

// Of is the one place where replies become outcomes: it decides about recipient k.
func (t *Transaction) Of(k int, b Border) Verdict {
	rcpt := t.Rcpt[k]
	refused := rcpt.Negative() && !t.Mishap.OutOfStep()
	switch {
	case t.Mishap.OutOfStep():
	case refused && t.Mail.Positive():
		return t.ofRefused(rcpt) // whatever happened afterwards, this reply stands
	case t.Mail.Negative() && t.Mishap != Elsewhere && !t.Mail.DecidesNobody() && (refused || t.Untaken(b)):
		return decided(smtp.Mail, t.Mail)
	case t.Mishap == Unchunked || !rcpt.Positive():
	case t.Final.Negative() || t.Final.Positive() && b == HandedOver:
		return t.byFinal(b)
	case t.Data.Negative() && !t.Data.DecidesNobody():
		return decided(smtp.Data, t.Data)
	}
	if !refused && !t.Untaken(b) {
		return Verdict{State: Unknown, At: smtp.Content, Undecided: true}
	}
	return Verdict{State: Untried, At: t.Reached(), Undecided: true}
}

// ofRefused decides about a recipient whose own RCPT was refused.
func (t *Transaction) ofRefused(rcpt smtp.Reply) Verdict {
	if rcpt.DecidesNobody() {
		return Verdict{State: Untried, At: smtp.Rcpt, Undecided: true}
	}
	v := decided(smtp.Rcpt, rcpt)
	if rcpt.TooManyRecipients() {
		v.State = Deferred // 552 as well
		v.Again = t.Accepted() > 0
	}
	return v
}

// byFinal decides about a recipient who was accepted before, by the reply to the terminator. A 421 to it is a deferral
// like any 4yz: the server has read the message and did not take it. One that came before the terminator was begun is
// no such verdict.
func (t *Transaction) byFinal(b Border) Verdict {
	v := decided(smtp.Content, t.Final)
	if t.Final.DecidesNobody() && (t.Final.Code/100 == 5 || b == Ahead) {
		v.State, v.Undecided = Untried, true
	}
	return v
}

// decided goes by the first digit of a reply (RFC 5321 §4.2.1).
func decided(at smtp.Command, r smtp.Reply) Verdict {
	v := Verdict{At: at, Reply: r}
	switch r.Code / 100 {
	case 2:
		v.State = Accepted
	case 4:
		v.State = Deferred
	case 5:
		v.State = Refused
	}
	return v
}

// Untaken answers the dangerous question: is it certain that no server took anything of the transaction, so that
// sending again cannot duplicate?
func (t *Transaction) Untaken(b Border) bool {
	switch {
	case b == Ahead:
		return true // without its last octets no server accepts it (RFC 5321 §4.1.1.4, RFC 3030 §2)
	case t.Mishap.OutOfStep():
		return false // its replies may be another's
	case t.Final.Negative(), t.Data.Negative():
		return true
	case t.Mail.Negative() && (!t.ResetFirst || t.Clear.Code == 250) &&
		!slices.ContainsFunc(t.Rcpt, smtp.Reply.Positive):
		return true // there is no transaction, of this message or of one before it, that could have gone on
	}
	return false // but for recipients whose own RCPTs were refused, which is all the same if all were
}

// Accepted counts the recipients that the server took so far. Behind a refused MAIL there are none, whatever is said to
// RCPT.
func (t *Transaction) Accepted() int {
	if !t.Mail.Positive() {
		return 0
	}
	n := 0
	for _, r := range t.Rcpt {
		if r.Positive() {
			n++
		}
	}
	return n
}

// Reached is the first command that was not answered, or not in the transaction's favour.
func (t *Transaction) Reached() smtp.Command {
	if !t.Mail.Positive() {
		return smtp.Mail
	}
	for _, r := range t.Rcpt {
		if r.Code == 0 || r.DecidesNobody() {
			return smtp.Rcpt
		}
	}
	return smtp.Content
}

// Refusal is the reply by which recipients were left undecided, and to which command it was said.
func (t *Transaction) Refusal() (smtp.Command, smtp.Reply) {
	if t.Mail.Negative() {
		return smtp.Mail, t.Mail
	}
	for _, r := range t.Rcpt {
		if r.Negative() && r.DecidesNobody() {
			return smtp.Rcpt, r
		}
	}
	if t.Data.Negative() {
		return smtp.Data, t.Data
	}
	return smtp.Content, t.Final
}

// Last is the reply that ended the transaction.
func (t *Transaction) Last() smtp.Reply {
	for _, r := range []smtp.Reply{t.Final, t.Data, t.Mail} {
		if r.Code != 0 && (r.Negative() || r == t.Final) {
			return r
		}
	}
	for _, r := range slices.Backward(t.Rcpt) { // every recipient refused, and no DATA
		if r.Negative() {
			return r
		}
	}
	return smtp.Reply{}
}
