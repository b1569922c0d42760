package postrider

import (
	"math"

	smtp "github.com/postrider/postrider/internal/wire"
)

// transaction is one MAIL and what followed it. Guarded by Connection.mu, but for
// what the writer alone touches before it is begun.
type transaction struct {
	d     *delivery
	wire  *wire
	utf8  bool  // carries SMTPUTF8
	rcpts []int // indexes into d.rcpts, one RCPT each

	mail  smtp.Reply // zero: not read
	rcpt  []smtp.Reply
	data  smtp.Reply // 354, or the refusal of DATA
	final smtp.Reply // to the terminator
	end   Reply      // the same, as it is told

	chunked bool // the content goes out by BDAT
	behind  bool // begun while the one before it was unread
	reset   bool // RSET stands before its MAIL
	probe   bool // the wire was silent for long: one reply is waited for before the end

	unanswered   int   // commands whose replies are to come
	written      bool  // no more commands will follow
	ended        bool  // settled
	committed    bool  // the terminator is in the flight, or sure to get there
	terminatorAt int   // where in the flight it begins
	terminator   int64 // where on the wire it begins; farAway before it leaves
	streaming    bool  // the writer is reading the caller's content

	// turnedAway: the server said 421 (or 451 4.4.2) to MAIL or RCPT of this
	// transaction or to something before it, and then ended the wire. It took no
	// responsibility, whatever was written since; of the replies to RCPTs those that
	// stand before it hold.
	turnedAway   bool
	standing     int
	shifted      bool   // replies and commands were out of step: what was read may be another's
	wireUsedUp   bool   // MAIL was refused because the wire has carried enough
	chunkRefused bool   // BDAT itself was refused, not the message
	culprit      bool   // its own command met the failure of the wire; it was not merely behind it
	oneRcpt      [1]int // of a transaction for one
	oneReply     [1]smtp.Reply
	broken       *Error // why what is unread will not be read, or why the content broke off
}

const farAway = math.MaxInt64

// begun reports that the terminator is, as far as we can know, in the server's
// hands: from here on only its reply tells what became of the message.
func (tx *transaction) begun() bool { return tx.wire.handed > tx.terminator }

// accepted counts the recipients that the server took so far.
// Behind a refused MAIL there are none, whatever is said to RCPT.
func (tx *transaction) accepted() int {
	if tx.mail.Code/100 != 2 {
		return 0
	}
	n := 0
	for _, r := range tx.rcpt {
		if r.Code/100 == 2 {
			n++
		}
	}
	return n
}

// weight is what the transaction adds to the octets that are not acknowledged.
func (tx *transaction) weight() int { return len(tx.d.body.text) }

// cancelled reports that nobody waits for the outcome any more.
func (tx *transaction) cancelled() bool { return tx.d.abandoned }

// mayResend answers the dangerous question: can the recipients of a transaction
// that a wire left unfinished be sent to again without any risk of a duplicate?
// Yes if the message's last octets never left, so that no server can have
// accepted it (RFC 5321 §4.1.1.4, RFC 3030 §2); yes if the server had turned the
// transaction away before them, and then ended the wire without another word.
// And yes if the reply to the terminator was read and is a refusal.
func (tx *transaction) mayResend() bool {
	return !tx.begun() || tx.turnedAway || tx.final.Code >= 400
}

// decidesNobody reports the replies that say something about the wire, the server
// or the credentials, and nothing about the recipient or message at hand: closing
// down, idle for too long, authentication or encryption wanted.
func decidesNobody(r smtp.Reply) bool {
	switch r.Code {
	case 421, 530, 535, 538:
		return true
	case 451:
		return r.Enhanced() == [3]int{4, 4, 2}
	}
	return false
}

// endsWire reports the replies after which a server closes.
func endsWire(r smtp.Reply) bool { return r.Code == 421 || r.Code == 451 && decidesNobody(r) }

// endedBy reports the reply by which a server ends the wire in answer to a command.
// For RSET that is 554 as well: there is no transaction that it could be about, and
// servers say it before they hang up (Exim after ten commands that are no mail).
func (e expectation) endedBy(r smtp.Reply) bool {
	return endsWire(r) || e.verb == verbReset && r.Code == 554
}

// tooManyRecipients reports that a RCPT was refused for its number only, so that
// it belongs into a next transaction. 552 meant that in RFC 821, and RFC 5321
// §4.5.3.1.10 has clients take it so; with an enhanced code other than x.5.3 it
// means a full mailbox.
func tooManyRecipients(r smtp.Reply) bool {
	e := r.Enhanced()
	unsaid := e == [3]int{} || e[1] == 5 && e[2] == 3
	return (r.Code == 452 || r.Code == 552) && unsaid
}

// usedUp reports the refusal of MAIL by which a server says that this wire has
// carried enough (OpenSMTPD after 100 transactions).
func usedUp(r smtp.Reply) bool { return r.Code == 452 && r.Enhanced() == [3]int{4, 5, 3} }

// notUnderstood reports a reply about a command's form or place, which says
// nothing about the message (RFC 5321 §4.2.2).
func notUnderstood(r smtp.Reply) bool { return 500 <= r.Code && r.Code <= 504 }

// fits reports whether a reply can be an answer to a command at all. One that
// cannot shows that replies and commands are out of step. So does a recipient
// accepted without a sender: he would be one of another transaction.
func (e expectation) fits(r smtp.Reply) bool {
	switch class := r.Code / 100; e.verb {
	case verbRcpt:
		return class != 3 && (class != 2 || e.tx.mail.Code < 400)
	case verbData:
		return r.Code == 354 || class == 4 || class == 5
	case verbReset:
		return r.Code == 250 || e.endedBy(r)
	default:
		return class != 3
	}
}

// outcome is the one place where replies become outcomes. begun tells whether the
// terminator may be in the server's hands; again that the recipient belongs into
// another transaction.
func (tx *transaction) outcome(k int, begun bool) (o Outcome, again bool) {
	o = Outcome{Recipient: tx.d.rcpts[tx.rcpts[k]].caller}
	rcpt := tx.rcpt[k]
	switch {
	case tx.shifted, tx.turnedAway && k >= tx.standing:
	case rcpt.Code >= 400 && tx.mail.Code/100 == 2 && !decidesNobody(rcpt):
		// Whatever happened afterwards, this reply stands.
		o = o.decide(StageRcpt, rcpt)
		if tooManyRecipients(rcpt) {
			o.State = Deferred // 552 as well
			return o, tx.accepted() > 0
		}
		return o, false
	case tx.mail.Code >= 400 && !decidesNobody(tx.mail) && !tx.wireUsedUp:
		return o.decide(StageMail, tx.mail), false
	case tx.chunkRefused:
	case tx.final.Code != 0 && rcpt.Code/100 == 2:
		return o.decideFinal(tx), false
	case tx.data.Code >= 400 && rcpt.Code/100 == 2 && !decidesNobody(tx.data):
		return o.decide(StageContent, tx.data), false
	}
	return tx.undecided(o, begun), false
}

// outcomes gives those of all recipients.
func (tx *transaction) outcomes() []Outcome {
	all := make([]Outcome, len(tx.rcpts))
	for k := range tx.rcpts {
		all[k], _ = tx.outcome(k, tx.begun())
	}
	return all
}

func (o Outcome) decide(s Stage, r smtp.Reply) Outcome {
	o.State, o.Stage, o.Reply = stateOf(r), s, replyFrom(r)
	return o
}

// stateOf is what a reply says by its first digit (RFC 5321 §4.2.1).
func stateOf(r smtp.Reply) State {
	switch r.Code / 100 {
	case 2:
		return Accepted
	case 4:
		return Deferred
	case 5:
		return Refused
	}
	return Untried
}

// decideFinal: the reply to the terminator decides for everybody who was accepted
// before. A 421 to it is a deferral like any 4yz: the server has read the message
// and did not take it.
func (o Outcome) decideFinal(tx *transaction) Outcome {
	if tx.end.Code == 0 {
		tx.end = replyFrom(tx.final) // once for all of them
	}
	o.Stage, o.Reply = StageContent, tx.end
	o.State = stateOf(tx.final)
	if decidesNobody(tx.final) && tx.final.Code/100 == 5 {
		o.State, o.Err = Untried, tx.reason()
	}
	return o
}

// undecided: no reply says what became of the recipient.
func (tx *transaction) undecided(o Outcome, begun bool) Outcome {
	reason := tx.reason()
	o.State, o.Stage, o.Err, o.Reply = Untried, tx.stage(), reason, reason.Reply
	if begun && !tx.turnedAway && tx.final.Code == 0 {
		o.State, o.Stage = Unknown, StageContent
	}
	return o
}

// stage is how far the transaction came: the first command that was not answered,
// or not in its favour.
func (tx *transaction) stage() Stage {
	if tx.mail.Code/100 != 2 {
		return StageMail
	}
	for _, r := range tx.rcpt {
		if r.Code == 0 || decidesNobody(r) {
			return StageRcpt
		}
	}
	return StageContent
}

// reason is why recipients were left undecided: what broke, or the reply that
// decides nobody.
func (tx *transaction) reason() *Error {
	if tx.broken != nil {
		return tx.broken
	}
	refusal := func(s Stage, command string, r smtp.Reply) *Error {
		e := &Error{Stage: s, Command: command, Address: tx.wire.address, Reply: replyFrom(r)}
		e.Hint = hintFor(e, tx.wire)
		return e
	}
	if tx.mail.Code >= 400 {
		return refusal(StageMail, "MAIL", tx.mail)
	}
	for _, r := range tx.rcpt {
		if r.Code >= 400 && decidesNobody(r) {
			return refusal(StageRcpt, "RCPT", r)
		}
	}
	if tx.data.Code >= 400 {
		return refusal(StageContent, "DATA", tx.data)
	}
	return refusal(StageContent, "content", tx.final)
}

// lastReply is the one that ended the transaction.
func (tx *transaction) lastReply() Reply {
	for _, r := range []smtp.Reply{tx.final, tx.data, tx.mail} {
		if r.Code != 0 && (r.Code >= 400 || r == tx.final) {
			return replyFrom(r)
		}
	}
	for i := len(tx.rcpt) - 1; i >= 0; i-- { // every recipient refused, and no DATA
		if tx.rcpt[i].Code >= 400 {
			return replyFrom(tx.rcpt[i])
		}
	}
	return Reply{}
}
