package postrider

import (
	"math"
	"slices"
	"time"

	"github.com/postrider/postrider/internal/verdict"
	smtp "github.com/postrider/postrider/internal/wire"
)

// transaction is one MAIL and what followed it. Guarded by Connection.mu, but for what the writer alone touches before
// it is begun.
type transaction struct {
	d     *delivery
	wire  *wire
	utf8  bool  // carries SMTPUTF8
	rcpts []int // indexes into d.rcpts, one RCPT each

	verdict.Transaction            // what was said to it
	prelude             prelude    // what stands before its MAIL
	probed              smtp.Reply // to the probe
	end                 Reply      // to the terminator, as it is told: once for all recipients

	chunked      bool // the content goes out by BDAT
	behind       bool // begun while the one before it was unread
	afterSilence bool // the wire was silent for long: one reply is waited for before the end

	state      txState
	content    contentState
	since      time.Time // when it was begun, for those who want to hear of it
	unanswered int       // commands whose replies are to come
	terminator span      // where on the wire it lies; farAway before it leaves

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

// border is how much of the terminator has left.
func (tx *transaction) border() verdict.Border {
	switch w := tx.wire; {
	case w.handed <= tx.terminator.begin:
		return verdict.Ahead
	case w.handed-w.leaving < tx.terminator.end:
		return verdict.Begun
	}
	return verdict.HandedOver
}

// begun reports that the terminator is, as far as we can know, in the server's hands.
func (tx *transaction) begun() bool { return tx.border() > verdict.Ahead }

// weight is what the transaction adds to the octets that are not acknowledged.
func (tx *transaction) weight() int { return len(tx.d.body.Text) }

// cancelled reports that nobody waits for the outcome any more.
func (tx *transaction) cancelled() bool { return tx.d.state == sendAbandoned }

// endedBy reports the reply by which a server ends the wire in answer to a command. For RSET that is 554 as well: there
// is no transaction that it could be about, and servers say it before they hang up (Exim after ten commands that are no
// mail).
func (e expectation) endedBy(r smtp.Reply) bool {
	return r.EndsWire() || e.verb == verbReset && r.Code == 554
}

// learnRcptMax looks at the answers to all RCPTs of a transaction for the number that the server takes. x.5.3 says that
// it is the number. Without that, one or two full mailboxes among many must not be taken for it: all RCPTs behind the
// first refusal got the same code, there was one at least, and the next transaction gives the same number.
func (w *wire) learnRcptMax(tx *transaction) {
	first := slices.IndexFunc(tx.Rcpt, smtp.Reply.TooManyRecipients)
	n := tx.Accepted()
	if first < 0 || n == 0 || w.rcptMax > 0 {
		return
	}
	behind := tx.Rcpt[first+1:]
	another := func(r smtp.Reply) bool { return r.Code != tx.Rcpt[first].Code }
	switch {
	case slices.ContainsFunc(behind, another):
	case tx.Rcpt[first].Enhanced() != [3]int{}, w.rcptGuess == n && len(behind) > 0:
		w.rcptMax = n
	case len(behind) > 0:
		w.rcptGuess = n
	}
}

// fits reports whether a reply can be an answer to a command at all. One that cannot shows that replies and commands
// are out of step. So does a recipient accepted without a sender: it would belong to another transaction. So does the
// refusal of a RSET, which no server in step has a reason for, unless it hangs up.
func (e expectation) fits(r smtp.Reply) bool {
	switch {
	case !e.verb.command().CanAnswer(r.Code):
		return false
	case e.verb == verbRcpt:
		return !r.Positive() || e.tx.Mail.Code < 400
	case e.verb == verbReset:
		return r.Code == 250 || e.endedBy(r)
	case e.verb.stage() == StageContent && r.Positive():
		return e.tx.wire.handed >= e.tx.terminator.end
	}
	return true
}

// outcome is what became of a recipient when so much of the terminator had left; again reports that it belongs into
// another transaction.
func (tx *transaction) outcome(k int, b verdict.Border) (o Outcome, again bool) {
	v := tx.Of(k, b)
	o = Outcome{
		Recipient: tx.d.rcpts[tx.rcpts[k]].caller, State: State(v.State), Stage: stageOf[v.At], Reply: tx.tell(v),
	}
	if v.Undecided {
		reason := tx.reason()
		o.Err = reason
		if v.Reply.Code == 0 {
			o.Reply = reason.Reply
		}
	}
	return o, v.Again
}

// tell is the reply of a verdict as it is told.
func (tx *transaction) tell(v verdict.Verdict) Reply {
	if v.At != smtp.Content || v.Reply.Code == 0 {
		return replyFrom(v.Reply)
	}
	if tx.end.Code == 0 {
		tx.end = replyFrom(v.Reply)
	}
	return tx.end
}

// outcomes returns those of all recipients.
func (tx *transaction) outcomes() []Outcome {
	all := make([]Outcome, len(tx.rcpts))
	for k := range tx.rcpts {
		all[k], _ = tx.outcome(k, tx.border())
	}
	return all
}

var (
	stageOf = [...]Stage{
		smtp.Mail: StageMail, smtp.Rcpt: StageRcpt, smtp.Data: StageContent, smtp.Content: StageContent,
	}
	stepOf = [...]Step{
		smtp.Mail: StepMail, smtp.Rcpt: StepRcpt, smtp.Data: StepData, smtp.Content: StepContent,
	}
)

// reason is why recipients were left undecided: what broke, or the reply that decides nobody.
func (tx *transaction) reason() *Error {
	if tx.broken != nil {
		return tx.broken
	}
	at, r := tx.Refusal()
	e := &Error{Stage: stageOf[at], Step: stepOf[at], Address: tx.wire.address, Reply: replyFrom(r)}
	e.Hint = hintFor(e, tx.wire)
	return e
}
