package mailing

import (
	"context"
	"io"
	"iter"
	"log/slog"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/detach"
)

// Delivery says how a mailing is sent. The zero value sends the message as it is, in
// one Send, and tries nothing again. A Delivery is not changed by its use, and may be
// used by several goroutines.
type Delivery struct {
	// Plan makes the messages. Default: [Whole].
	Plan Plan

	// Concurrency is how many Sends are underway at a time at the most. A
	// [postrider.Connection] makes use of as many as its Window; a lost wire makes
	// so many messages Unknown at the most. Default 64.
	Concurrency int

	// Retry says what is tried again within this delivery. Default: nothing.
	Retry Retry

	// Drain is how long Sends that are underway may go on after the context is
	// done, so that they end with an answer. Default 0: they are cut off at once, and
	// some of their recipients may be Unknown.
	Drain time.Duration

	// Before is called in front of each Send, by several goroutines at the same
	// time, and may wait: to keep a pace, or until a disk has noted what is about to
	// happen. Its context is the delivery's. An error leaves the message's
	// recipients Untried. nil: nothing is asked.
	Before func(ctx context.Context, a *Attempt) error

	// After is called behind each Send, by several goroutines at the same time, and
	// before the next Send that takes its place. It is called for every Attempt that
	// Before let pass. nil: nobody is told.
	After func(a *Attempt)

	// Log writes lines as Mailman's smtp.log has them. Default: none.
	Log Log
}

// Attempt is one Send of a delivery: a message of the plan, or what is still owed of
// one.
type Attempt struct {
	// Index are the places of Message.To in the delivered message's To.
	Index []int

	// Message is what is sent. It must not be changed.
	Message *postrider.Message

	// Number is 1 for the first try of a part, 2 for the second.
	Number int

	// Result and Err are what Send answered; Before sees neither.
	Result *postrider.Result
	Err    error
}

// Retry says which recipients are tried again, and when: Deferred and Untried ones,
// and those of whom [Temporary] is true. They wait First, then twice as long each
// time up to Longest, each time up to a quarter more or less, so that not everything
// that failed at the same moment comes back at the same moment.
type Retry struct {
	// For is for how long after the delivery's beginning tries are begun. 0:
	// nothing is tried again.
	For time.Duration

	// First is the first wait. Default 1 minute.
	First time.Duration

	// Longest is the longest wait. Default 30 minutes (RFC 5321 §4.5.4.1).
	Longest time.Duration

	// Unknown sends again to those who may have got the message. Some will get it
	// twice.
	Unknown bool
}

// wait is how long to wait after the n-th try; chance is in [0, 1).
func (r Retry) wait(n int, chance float64) time.Duration {
	wait, longest := r.First, r.Longest
	if wait <= 0 {
		wait = time.Minute
	}
	if longest <= 0 {
		longest = 30 * time.Minute
	}
	for ; n > 1 && wait < longest; n-- {
		wait *= 2
	}
	return time.Duration(float64(min(wait, longest)) * (0.75 + chance/2))
}

// again reports whether an outcome is worth another try.
func (r Retry) again(o *postrider.Outcome) bool {
	return Temporary(*o) || r.Unknown && o.State == postrider.Unknown
}

// Temporary reports that a later try may succeed: a Deferred or Untried recipient,
// and one that was refused with 552, a full mailbox, whatever the server says of how
// long (fact 103). A 552 to MAIL or to the content is about the message's size, and
// final. Unknown is neither temporary nor permanent.
func Temporary(o postrider.Outcome) bool {
	switch o.State {
	case postrider.Deferred, postrider.Untried:
		return true
	case postrider.Refused:
		return o.Stage == postrider.StageRcpt && o.Reply.Code == 552
	}
	return false
}

// Permanent reports that no later try will succeed.
func Permanent(o postrider.Outcome) bool {
	return o.State == postrider.Refused && !Temporary(o)
}

// Log writes lines about a delivery when it is over, as Mailman's smtp.log has them
// (fact 102): Every; then Success, or Refused if anybody did not get it; then Failure
// for each of these. In the templates stand $msgid, $listname, $sender, $recip,
// $size, $time, $refused, $smtpcode and $smtpmsg, also as ${msgid}; what is unknown
// stays as it is. Where there is no reply the code is 444, as it is there. An empty
// template is Mailman's own, and "no" writes nothing.
type Log struct {
	Every, Success, Refused, Failure string

	// ListName is what $listname stands for.
	ListName string

	// Writer gets the lines, and Logger the same at level Info. nil: it gets
	// nothing.
	Writer io.Writer
	Logger *slog.Logger
}

// Deliver sends m through a Sender, and says what became of every recipient. The
// order of messages is the plan's but for what is tried again, and each Send that
// fails leaves the others alone (fact 110). Only when three in a row, each begun
// after the one before had failed, left everybody Untried is nothing more begun: a
// server that is not there is not asked 100,000 times. With Retry the delivery pauses
// then instead.
//
// A content that can be read only once (see [postrider.Reader]) is enough for one message
// that is neither signed nor tried again. For anything else nothing is sent, and the
// error is [postrider.ErrContentUsed].
//
// The Report is complete also when there is an error. That is nil exactly when
// somebody is Accepted and nobody Untried or Unknown, as with a Sender, and for a
// message without recipients, with which nothing is done (fact 99).
func (d *Delivery) Deliver(ctx context.Context, s postrider.Sender, m *postrider.Message) (*Report, error) {
	start := time.Now()
	report := &Report{Message: m, Outcomes: make([]postrider.Outcome, len(m.To)), known: make([]bool, len(m.To))}
	if len(m.To) == 0 {
		return report, nil
	}
	parts, err := detach.Until(ctx, func() (iter.Seq[Part], error) { return d.parts(ctx, m) }, nil)
	if err != nil {
		report.untried(err)
	} else {
		r := newRun(ctx, d, s, report)
		r.deliver(parts)
		err = r.err()
	}
	report.Took = time.Since(start)
	d.Log.write(report)
	return report, err
}

// parts runs the plan. It reads the content if need be, and refuses one that can be read
// only once if it is needed more often, before anything leaves.
func (d *Delivery) parts(ctx context.Context, m *postrider.Message) (iter.Seq[Part], error) {
	plan := d.Plan
	if plan == nil {
		plan = Whole
	}
	parts, err := plan(m)
	if err == nil && (d.Retry.For > 0 || several(parts)) {
		err = replayable(ctx, m, parts)
	}
	return parts, err
}

// Sender returns a Sender that delivers each message by d through s.
func (d *Delivery) Sender(s postrider.Sender) postrider.Sender { return &wrapped{d, s} }

type wrapped struct {
	delivery *Delivery
	sender   postrider.Sender
}

// Send is Deliver with a Sender's answer.
func (w *wrapped) Send(ctx context.Context, m *postrider.Message) (*postrider.Result, error) {
	report, err := w.delivery.Deliver(ctx, w.sender, m)
	if err == nil && len(m.To) == 0 {
		err = errNobody
	}
	return &postrider.Result{Message: m, Outcomes: report.Outcomes, Transactions: report.transactions}, err
}
