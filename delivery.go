package postrider

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/postrider/postrider/internal/body"
	smtp "github.com/postrider/postrider/internal/wire"
)

// sendState is how far a Send is.
type sendState int

const (
	sendUnderway  sendState = iota
	sendFinished            // it may return
	sendAbandoned           // it has returned before the end: the context was done
)

// place is a place in the queue: of a Send, or of a Quit.
type place struct {
	d    *delivery
	quit *quit // not nil: a Quit, and there is no d
}

// quit is a Quit that waits until what was before it in the queue has come to its end.
type quit struct {
	done  chan struct{} // gets a token then; capacity 1
	ended bool
}

// delivery is one Send underway: what is still owed of a message, and what has become of the rest. Everything but the
// first block is guarded by Connection.mu.
type delivery struct {
	ctx    context.Context
	msg    *Message
	body   body.Body
	rcpts  []recipient
	from   smtp.Path
	wishes *smtp.Wishes

	answer       *Result
	pending      []int // indexes of recipients that wait for a transaction
	outcomes     []Outcome
	transactions []Transaction
	wire         *wire // of the transaction that ended last
	inFlight     int   // transactions begun and not ended
	requireTLS   bool  // REQUIRETLS
	resent       bool  // a transaction met a wire's failure and is being repeated
	state        sendState
	reading      bool        // its content was read when the Connection still took it; its place in the queue comes
	ownFault     bool        // its content broke off
	givenUp      *Error      // the context is done, and its Send waits for a Read of the content
	panicked     any         // what its content panicked with on the engine's goroutine, for that of its Send
	told         atomic.Bool // finished, and the hooks have been told

	oneRcpt     [1]recipient // of a message for one
	onePending  [1]int
	dataRefusal Reply         // by which a DATA was refused
	err         *Error        // the first thing that left a recipient Untried or Unknown
	done        chan struct{} // gets a token when it is finished; capacity 1
}

type recipient struct {
	smtp.Path
	caller string // as the caller named it; m itself may be used again when a cancelled Send has returned
	domain string // lower case, for RCPTDOMAINMAX
}

// newDelivery checks a message and reads the beginning of its content. An error is one of the whole message; a
// recipient that is wrong in itself is settled.
func newDelivery(ctx context.Context, m *Message, redirect func() (string, bool)) (*delivery, error) {
	d := &delivery{ctx: ctx, msg: m, requireTLS: m.RequireTLS, done: make(chan struct{}, 1)}
	d.prepareResult(m)
	if len(m.To) == 0 {
		return d, errors.New("the message has no recipient")
	}
	var err error
	if d.wishes, err = wishesOf(m); err != nil {
		return d, err
	}
	if m.From != "" {
		if err := smtp.CheckAddress(m.From); err != nil {
			return d, fmt.Errorf("sender %q: %w", m.From, err)
		}
	}
	d.from = smtp.NewPath(m.From)
	if err := d.from.TooLong(smtp.CheckSenderLength); err != nil {
		return d, fmt.Errorf("sender %.40q: %w", m.From, err)
	}
	if err := d.address(redirect); err != nil {
		return d, err
	}
	d.refuseBadOptions()
	if len(d.pending) == 0 {
		return d, nil // nothing to open the content for
	}
	d.body, err = body.Load(ctx, m.Content.octets)
	return d, err
}

// wishesOf reads and checks what a message asks for; nil is nothing. They are a copy: the message is its caller's again
// when a cancelled Send has returned, and a neighbour's transaction may go on.
func wishesOf(m *Message) (*smtp.Wishes, error) {
	if m.Options == nil && m.DSN == (DSN{}) && m.HoldFor == 0 && m.HoldUntil.IsZero() &&
		m.DeliverBy == (DeliverBy{}) && m.Priority == 0 {
		return nil, nil
	}
	if n := len(m.Options); m.Options != nil && n != len(m.To) {
		return nil, fmt.Errorf("the message has %d recipients and options for %d", len(m.To), n)
	}
	w := &smtp.Wishes{
		DSN: smtp.DSN(m.DSN), HoldFor: m.HoldFor, HoldUntil: m.HoldUntil, DeliverBy: smtp.DeliverBy(m.DeliverBy),
		Begun: time.Now(), Priority: m.Priority,
	}
	for _, o := range m.Options {
		w.Options = append(w.Options, smtp.RecipientWish(o))
	}
	return w, w.Check()
}

// refuseBadOptions refuses the recipients whose options are wrong in themselves.
func (d *delivery) refuseBadOptions() {
	if d.wishes == nil || d.wishes.Options == nil {
		return
	}
	kept := d.pending[:0]
	for _, i := range d.pending {
		if err := d.wishes.Options[i].Check(); err != nil {
			d.outcomes[i].State, d.outcomes[i].Err = Refused, err
		} else {
			kept = append(kept, i)
		}
	}
	d.pending = kept
}

// prepareResult begins every Result with every recipient Untried. For one recipient, which is most mail, it is one
// piece of memory.
func (d *delivery) prepareResult(m *Message) {
	n := len(m.To)
	if n == 1 {
		one := new(struct {
			result      Result
			outcome     [1]Outcome
			transaction [1]Transaction
		})
		d.answer, d.outcomes, d.transactions = &one.result, one.outcome[:], one.transaction[:0]
		d.rcpts, d.pending = d.oneRcpt[:], d.onePending[:0]
	} else {
		d.answer, d.outcomes = new(Result), make([]Outcome, n)
		d.rcpts, d.pending = make([]recipient, n), make([]int, 0, n)
	}
	for i, to := range m.To {
		d.outcomes[i] = Outcome{Recipient: to, State: Untried, Stage: StageLocal}
	}
}

// address fills in who the RCPT commands name: the recipients, or as many times the address of development mode.
func (d *delivery) address(redirect func() (string, bool)) error {
	if redirect != nil {
		if to, on := redirect(); on {
			if err := smtp.CheckAddress(to); err != nil {
				return fmt.Errorf("development mode is on and its recipient %q is no address: %w", to, err)
			}
			if err := smtp.NewPath(to).TooLong(smtp.CheckRecipientLength); err != nil {
				return fmt.Errorf("development mode is on, and its recipient %.40q is too long: %w", to, err)
			}
			for i := range d.rcpts {
				d.rcpts[i] = newRecipient(to, d.msg.To[i])
				d.pending = append(d.pending, i)
			}
			d.wishes.HideRecipients()
			return nil
		}
	}
	for i, to := range d.msg.To {
		if err := smtp.CheckAddress(to); err != nil {
			d.outcomes[i].State, d.outcomes[i].Err = Refused, err
			continue
		}
		d.rcpts[i] = newRecipient(to, to)
		if err := d.rcpts[i].TooLong(smtp.CheckRecipientLength); err != nil {
			d.outcomes[i].State, d.outcomes[i].Err = Refused, err
			continue
		}
		d.pending = append(d.pending, i)
	}
	return nil
}

func newRecipient(a, caller string) recipient {
	_, domain := smtp.SplitAddress(a)
	return recipient{smtp.NewPath(a), caller, strings.ToLower(domain)}
}

// settled reports that nothing more will become of any recipient.
func (d *delivery) settled() bool { return d.inFlight == 0 && len(d.pending) == 0 }

// fail leaves the pending recipients Untried because of err.
func (d *delivery) fail(err *Error) {
	for _, i := range d.pending {
		if d.outcomes[i].State != Untried {
			continue // put off by a reply, which stands
		}
		d.note(err)
		d.outcomes[i] = Outcome{
			Recipient: d.outcomes[i].Recipient, State: Untried, Stage: err.Stage, Reply: err.Reply, Err: err,
		}
	}
	d.pending = nil
}

// refuse settles pending recipients by a verdict of our own.
func (d *delivery) refuse(which func(i int) bool, err error) {
	kept := d.pending[:0]
	for _, i := range d.pending {
		if which(i) {
			d.outcomes[i] = Outcome{Recipient: d.outcomes[i].Recipient, State: Refused, Stage: StageLocal, Err: err}
		} else {
			kept = append(kept, i)
		}
	}
	d.pending = kept
}

// note keeps the first error.
func (d *delivery) note(err *Error) {
	if d.err == nil {
		d.err = err
	}
}

// result is the end of a Send: err is nil exactly when at least one recipient is Accepted and none is Untried or
// Unknown. Errors become this Send's own: a wire tells all of its Sends the same one.
func (d *delivery) result(address string) (*Result, error) {
	r := d.answer
	r.Message, r.Outcomes, r.Transactions = d.msg, d.outcomes, d.transactions
	var owner owner
	for i := range r.Outcomes {
		if o := &r.Outcomes[i]; o.Err != nil {
			o.Err = owner.copy(o.Err, o.State == Unknown)
		}
	}
	unknown := r.Count(Unknown)
	if r.Count(Untried)+unknown > 0 || len(r.Outcomes) == 0 {
		if d.err == nil { // cannot be; but nil would say that all is well
			d.err = &Error{Stage: StageLocal, Err: errors.New("internal error: a recipient was left without a reason")}
		}
		own := *d.err
		own.Unknown = unknown > 0
		return r, &own
	}
	if r.Count(Accepted) > 0 {
		return r, nil
	}
	return r, d.refusalError(address)
}

// refusalError says that no recipient was accepted, with the reason of the one that leaves most hope: a deferred
// recipient before a refused one.
func (d *delivery) refusalError(address string) *Error {
	o := d.outcomes[0]
	for _, other := range d.outcomes[1:] {
		if o.State == Refused && other.State == Deferred {
			o = other
		}
	}
	e := &Error{Stage: o.Stage, Step: stageSteps[o.Stage], Reply: o.Reply, Err: o.Err}
	if o.Stage == StageContent && o.Reply == d.dataRefusal {
		e.Step = StepData
	}
	if o.Stage != StageLocal {
		e.Address = address
	}
	e.Hint = hintFor(e, d.wire)
	return e
}

var stageSteps = map[Stage]Step{
	StageLocal: StepMessage, StageMail: StepMail, StageRcpt: StepRcpt, StageContent: StepContent,
}
