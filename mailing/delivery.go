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

// Delivery is how a mailing is sent. The zero value sends the message as it is, in one Send, and does not retry. A
// Delivery is not changed by its use, and may be used by several goroutines.
type Delivery struct {
	// Plan makes the messages. Default: [Whole].
	Plan Plan

	// Concurrency is the largest number of Sends at a time. A [postrider.Connection] makes use of as many as its
	// Window; if a wire is lost, at most this many messages are Unknown. Default 64.
	Concurrency int

	// Retry is what is tried again within this delivery. Default: nothing.
	Retry Retry

	// Drain is how long Sends may go on after the context is done, so that they end with an answer. Default 0: they are
	// cut off at once, and some of their recipients may be Unknown.
	Drain time.Duration

	// Before is called before each Send, by several goroutines at the same time, and may wait: for a rate limit, or
	// until a note of what is about to happen is on disk. Its context is the delivery's. If it returns an error, the
	// message's recipients stay Untried. nil: every Send may begin.
	Before func(ctx context.Context, a *Attempt) error

	// After is called after each Send, by several goroutines at the same time, before another Send takes its place. It
	// is called for every Attempt for which Before returned nil.
	After func(a *Attempt)

	// Log writes lines as Mailman's smtp.log has them. Default: none.
	Log Log
}

// Attempt is one Send of a delivery: a message of the plan, or one to those of its recipients who are tried again.
type Attempt struct {
	// Index are the places of Message.To in the delivered message's To.
	Index []int

	// Message is what is sent. Do not change it.
	Message *postrider.Message

	// Number is 1 for the first try of a part, 2 for the second.
	Number int

	// Result and Err are what Send returned; they are nil in Before.
	Result *postrider.Result
	Err    error
}

// Retry is which recipients are tried again, and when: those for whom [Temporary] is true. They wait First, then twice
// as long each time up to Longest, each time up to a quarter more or less, so that what failed at the same moment does
// not come back at the same moment.
type Retry struct {
	// For is how long after the delivery's beginning retries may begin. 0: there are none.
	For time.Duration

	// First is the first wait. Default 1 minute.
	First time.Duration

	// Longest is the longest wait. Default 30 minutes (RFC 5321 §4.5.4.1).
	Longest time.Duration

	// Unknown sends again to recipients who may have got the message. Some will get it twice.
	Unknown bool
}

// wait returns how long to wait after the n-th try; chance is in [0, 1).
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

// Temporary reports whether a later try may succeed: for a Deferred or Untried recipient, and for one that was refused
// with 552, a full mailbox, whether or not the server calls that permanent (fact 103). A 552 to MAIL or to the content
// is about the message's size, and final. Unknown is neither temporary nor permanent.
func Temporary(o postrider.Outcome) bool {
	switch o.State {
	case postrider.Deferred, postrider.Untried:
		return true
	case postrider.Refused:
		return o.Stage == postrider.StageRcpt && o.Reply.Code == 552
	}
	return false
}

// Permanent reports whether no later try will succeed.
func Permanent(o postrider.Outcome) bool {
	return o.State == postrider.Refused && !Temporary(o)
}

// Log writes lines about a delivery when it is over, like Mailman's smtp.log (fact 102): Every; then Success, or
// Refused if a recipient was not accepted; then Failure for each of these recipients. The templates may have $msgid,
// $listname, $sender, $recip, $size, $time, $refused, $smtpcode and $smtpmsg, also written ${msgid}; unknown names stay
// as they are. If there is no reply, the code is 444, like Mailman's. An empty template is Mailman's own, and "no"
// writes nothing.
type Log struct {
	Every, Success, Refused, Failure string

	// ListName is what $listname stands for.
	ListName string

	// The lines go to Writer and, at level Info, to Logger; either may be nil.
	Writer io.Writer
	Logger *slog.Logger
}

// Deliver sends m through a Sender, and reports what became of every recipient. Messages are sent in the plan's order,
// except for retries, and a Send that fails does not stop the others (fact 110). Only when three Sends in a row, each
// begun after the one before had failed, left all their recipients Untried, does Deliver begin no other: a server that
// is down is not tried 100,000 times. With Retry the delivery pauses instead.
//
// A content that can be read only once (see [postrider.Reader]) is enough for one message that is neither signed nor
// tried again. For anything else nothing is sent, and the error is [postrider.ErrContentUsed].
//
// The Report is complete even if there is an error. The error is nil exactly when at least one recipient is Accepted
// and none is Untried or Unknown, like a Sender's, and for a message without recipients, for which nothing is done
// (fact 99).
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

// parts runs the plan. It reads the content if necessary, and refuses one that can be read only once if it is needed
// more often, before anything leaves.
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

// Send is Deliver with a Sender's results.
func (w *wrapped) Send(ctx context.Context, m *postrider.Message) (*postrider.Result, error) {
	report, err := w.delivery.Deliver(ctx, w.sender, m)
	if err == nil && len(m.To) == 0 {
		err = errNobody
	}
	return &postrider.Result{Message: m, Outcomes: report.Outcomes, Transactions: report.transactions}, err
}
