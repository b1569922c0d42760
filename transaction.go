package postrider

import (
	"math"
	"slices"
	"time"

	smtp "github.com/postrider/postrider/internal/wire"
)

// transaction is one MAIL and what followed it. Guarded by Connection.mu, but for
// what the writer alone touches before it is begun.
type transaction struct {
	d     *delivery
	wire  *wire
	utf8  bool  // carries SMTPUTF8
	rcpts []int // indexes into d.rcpts, one RCPT each

	prelude prelude    // what stands before its MAIL
	probed  smtp.Reply // to the probe; zero: not read, as with those below
	clear   smtp.Reply // to the RSET
	mail    smtp.Reply
	rcpt    []smtp.Reply
	data    smtp.Reply // 354, or the refusal of DATA
	final   smtp.Reply // to the terminator
	end     Reply      // the same, as it is told

	chunked      bool // the content goes out by BDAT
	behind       bool // begun while the one before it was unread
	afterSilence bool // the wire was silent for long: one reply is waited for before the end

	state      txState
	content    contentState
	since      time.Time // when it was begun, for those who want to hear of it
	unanswered int       // commands whose replies are to come
	terminator span      // where on the wire it lies; farAway before it leaves

	mishap     mishap
	failedHere bool   // its own command met the failure of the wire; it was not merely behind it
	broken     *Error // why what is unread will not be read, or why the content broke off

	oneRcpt  [1]int // of a transaction for one
	oneReply [1]smtp.Reply
}

// prelude is what stands before a MAIL.
type prelude int

const (
	noPrelude prelude = iota
	resetFirst
	probeFirst // the probe for discarding, and RSET
)

// txState is how far the writing of a transaction and the reading of its replies are.
type txState int

const (
	txOpen    txState = iota // more commands may follow
	txWritten                // no more will follow
	txEnded                  // settled
)

// contentState is whose a transaction's content is.
type contentState int

const (
	contentAhead     contentState = iota // the caller's: nothing of it has been touched, or nothing will be any more
	contentStreaming                     // the writer is reading it
	contentCommitted                     // ours: its terminator is in the flight, or sure to get there
)

// mishap is what befell a transaction that its replies do not tell.
type mishap int

const (
	noMishap  mishap = iota
	shifted          // replies and commands are out of step: what was read may be another's
	misread          // the same by the probe alone, so that another wire will do
	elsewhere        // MAIL was refused for what the wire is, or has carried: another wire will do
	unchunked        // BDAT itself was refused, not the message: DATA will do
)

// outOfStep reports that what was read may be another's.
func (m mishap) outOfStep() bool { return m == shifted || m == misread }

// span is a piece of what is written on a wire, from its first octet to before end.
type span struct{ begin, end int64 }

// farAway is where a terminator lies that has not left.
var farAway = span{math.MaxInt64, math.MaxInt64}

// took is how long it has taken until now; 0 if nobody wants to hear of it.
func (tx *transaction) took() time.Duration {
	if tx.since.IsZero() {
		return 0
	}
	return time.Since(tx.since)
}

// begun reports that the terminator is, as far as we can know, in the server's
// hands: from here on only a reply tells what became of the message.
func (tx *transaction) begun() bool { return tx.wire.handed > tx.terminator.begin }

// handedOver reports that the last octet of the terminator has left for sure. A 2yz
// that was read before that cannot be about this content.
func (tx *transaction) handedOver() bool { return tx.wire.handed-tx.wire.leaving >= tx.terminator.end }

// accepted counts the recipients that the server took so far.
// Behind a refused MAIL there are none, whatever is said to RCPT.
func (tx *transaction) accepted() int {
	if !tx.mail.Positive() {
		return 0
	}
	n := 0
	for _, r := range tx.rcpt {
		if r.Positive() {
			n++
		}
	}
	return n
}

// weight is what the transaction adds to the octets that are not acknowledged.
func (tx *transaction) weight() int { return len(tx.d.body.Text) }

// cancelled reports that nobody waits for the outcome any more.
func (tx *transaction) cancelled() bool { return tx.d.abandoned }

// untaken answers the dangerous question: is it certain that no server took anything
// of a transaction, so that sending again cannot duplicate? It is judged by its own
// replies; what was said to others proves nothing, be it 421, and neither does the end
// of the wire. begun tells whether the terminator may be in the server's hands.
func (tx *transaction) untaken(begun bool) bool {
	switch {
	case !begun:
		return true // without its last octets no server accepts it (RFC 5321 §4.1.1.4, RFC 3030 §2)
	case tx.mishap.outOfStep():
		return false // its replies may be another's
	case tx.final.Negative(), tx.data.Negative():
		return true
	case tx.mail.Negative() && (tx.prelude == noPrelude || tx.clear.Code == 250) && !tx.anyRcpt(smtp.Reply.Positive):
		return true // there is no transaction, of this message or of one before it, that could have gone on
	}
	return false // but for recipients whose own RCPTs were refused, which is all the same if all were
}

func (tx *transaction) anyRcpt(is func(smtp.Reply) bool) bool {
	return slices.ContainsFunc(tx.rcpt, is)
}

// endedBy reports the reply by which a server ends the wire in answer to a command.
// For RSET that is 554 as well: there is no transaction that it could be about, and
// servers say it before they hang up (Exim after ten commands that are no mail).
func (e expectation) endedBy(r smtp.Reply) bool {
	return r.EndsWire() || e.verb == verbReset && r.Code == 554
}

// learnRcptMax looks at the answers to all RCPTs of a transaction for the number that
// the server takes. x.5.3 says that it is the number. Without that, one or two full
// mailboxes among many must not be taken for it: all RCPTs behind the first refusal got
// the same code, there was one at least, and the next transaction gives the same number.
func (w *wire) learnRcptMax(tx *transaction) {
	first := slices.IndexFunc(tx.rcpt, smtp.Reply.TooManyRecipients)
	n := tx.accepted()
	if first < 0 || n == 0 || w.rcptMax > 0 {
		return
	}
	behind := tx.rcpt[first+1:]
	another := func(r smtp.Reply) bool { return r.Code != tx.rcpt[first].Code }
	switch {
	case slices.ContainsFunc(behind, another):
	case tx.rcpt[first].Enhanced() != [3]int{}, w.rcptGuess == n && len(behind) > 0:
		w.rcptMax = n
	case len(behind) > 0:
		w.rcptGuess = n
	}
}

// fits reports whether a reply can be an answer to a command at all. One that
// cannot shows that replies and commands are out of step. So does a recipient
// accepted without a sender: he would be one of another transaction. So does the
// refusal of a RSET, which no server in step has a reason for, unless it hangs up.
func (e expectation) fits(r smtp.Reply) bool {
	switch {
	case !e.verb.command().CanAnswer(r.Code):
		return false
	case e.verb == verbRcpt:
		return !r.Positive() || e.tx.mail.Code < 400
	case e.verb == verbReset:
		return r.Code == 250 || e.endedBy(r)
	case e.verb.stage() == StageContent && r.Positive():
		return e.tx.wire.handed >= e.tx.terminator.end
	}
	return true
}

// outcome is the one place where replies become outcomes. begun tells whether the
// terminator may be in the server's hands; again that the recipient belongs into
// another transaction.
func (tx *transaction) outcome(k int, begun bool) (o Outcome, again bool) {
	o = Outcome{Recipient: tx.d.rcpts[tx.rcpts[k]].caller}
	rcpt := tx.rcpt[k]
	refused := rcpt.Negative() && !tx.mishap.outOfStep()
	switch {
	case tx.mishap.outOfStep():
	case refused && tx.mail.Positive():
		// Whatever happened afterwards, this reply stands.
		if rcpt.DecidesNobody() {
			return tx.undecided(o, StageRcpt, false), false
		}
		o = o.decide(StageRcpt, rcpt)
		if rcpt.TooManyRecipients() {
			o.State = Deferred // 552 as well
			return o, tx.accepted() > 0
		}
		return o, false
	case tx.mail.Negative() && tx.mishap != elsewhere && !tx.mail.DecidesNobody() && (refused || tx.untaken(begun)):
		return o.decide(StageMail, tx.mail), false
	case tx.mishap == unchunked || !rcpt.Positive():
	case tx.final.Negative() || tx.final.Positive() && tx.handedOver():
		return o.decideFinal(tx), false
	case tx.data.Negative() && !tx.data.DecidesNobody():
		return o.decide(StageContent, tx.data), false
	}
	return tx.undecided(o, tx.stage(), !refused && !tx.untaken(begun)), false
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
// and did not take it. One that came before the terminator was begun is no such
// verdict.
func (o Outcome) decideFinal(tx *transaction) Outcome {
	if tx.end.Code == 0 {
		tx.end = replyFrom(tx.final) // once for all of them
	}
	o.Stage, o.Reply = StageContent, tx.end
	o.State = stateOf(tx.final)
	if tx.final.DecidesNobody() && (tx.final.Code/100 == 5 || !tx.begun()) {
		o.State, o.Err = Untried, tx.reason()
	}
	return o
}

// undecided: no reply says what became of the recipient. taken: the server may have
// taken the message for him all the same.
func (tx *transaction) undecided(o Outcome, s Stage, taken bool) Outcome {
	reason := tx.reason()
	o.State, o.Stage, o.Err, o.Reply = Untried, s, reason, reason.Reply
	if taken {
		o.State, o.Stage = Unknown, StageContent
	}
	return o
}

// stage is how far the transaction came: the first command that was not answered,
// or not in its favour.
func (tx *transaction) stage() Stage {
	if !tx.mail.Positive() {
		return StageMail
	}
	for _, r := range tx.rcpt {
		if r.Code == 0 || r.DecidesNobody() {
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
	refusal := func(s Stage, step Step, r smtp.Reply) *Error {
		e := &Error{Stage: s, Step: step, Address: tx.wire.address, Reply: replyFrom(r)}
		e.Hint = hintFor(e, tx.wire)
		return e
	}
	if tx.mail.Negative() {
		return refusal(StageMail, StepMail, tx.mail)
	}
	for _, r := range tx.rcpt {
		if r.Negative() && r.DecidesNobody() {
			return refusal(StageRcpt, StepRcpt, r)
		}
	}
	if tx.data.Negative() {
		return refusal(StageContent, StepData, tx.data)
	}
	return refusal(StageContent, StepContent, tx.final)
}

// lastReply is the one that ended the transaction.
func (tx *transaction) lastReply() Reply {
	for _, r := range []smtp.Reply{tx.final, tx.data, tx.mail} {
		if r.Code != 0 && (r.Negative() || r == tx.final) {
			return replyFrom(r)
		}
	}
	for i := len(tx.rcpt) - 1; i >= 0; i-- { // every recipient refused, and no DATA
		if tx.rcpt[i].Negative() {
			return replyFrom(tx.rcpt[i])
		}
	}
	return Reply{}
}
