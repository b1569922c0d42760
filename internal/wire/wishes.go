package wire

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Wishes are what a message asks of a server besides being delivered. A nil *Wishes asks for nothing.
type Wishes struct {
	DSN       DSN
	Options   []RecipientWish // nil, or one for each recipient
	HoldFor   time.Duration   // FUTURERELEASE (RFC 4865)
	HoldUntil time.Time
	DeliverBy DeliverBy
	Begun     time.Time // when the time of DeliverBy began
	Priority  int       // MT-PRIORITY (RFC 6710)
}

// DSN is what delivery status notifications hold (RFC 3461).
type DSN struct{ Return, EnvelopeID string }

// RecipientWish is what is asked for one recipient (RFC 3461).
type RecipientWish struct{ Notify, ORCPT string }

// DeliverBy is by when a message is to be delivered (RFC 2852). The zero value asks for nothing.
type DeliverBy struct {
	Within          time.Duration
	OrReturn, Trace bool
}

// Check reports what is wrong with wishes for the whole message. Those for single recipients have a Check of their own.
func (w *Wishes) Check() error {
	if err := CheckDSN(w.DSN.Return, w.DSN.EnvelopeID); err != nil {
		return err
	}
	if err := w.checkTimes(); err != nil {
		return err
	}
	if w.Priority < -MaxPriority || w.Priority > MaxPriority {
		return fmt.Errorf("field Priority is %d: use a number from -9 to 9", w.Priority)
	}
	return nil
}

// Check reports what is wrong with the wishes for one recipient.
func (o RecipientWish) Check() error {
	if err := CheckNotify(o.Notify); err != nil {
		return err
	}
	return CheckORCPT(o.ORCPT)
}

var (
	errNoFutureRelease = errors.New("the message is to be held, and the server does not offer FUTURERELEASE " +
		"(RFC 4865): send it without HoldFor and HoldUntil when it is due, or by another server")
	errNoDeliverBy = errors.New("the message is to be returned if it is late, and the server does not offer " +
		"DELIVERBY (RFC 2852): send it without DeliverBy.OrReturn, or by another server")
)

func (w *Wishes) checkTimes() error {
	holdFor, by := w.HoldFor, w.DeliverBy
	switch year := w.HoldUntil.UTC().Year(); {
	case holdFor != 0 && !w.HoldUntil.IsZero():
		return errors.New("HoldFor and HoldUntil are both set: set one of them")
	case holdFor < 0 || seconds(holdFor) > MaxSeconds:
		return fmt.Errorf("HoldFor is %v: write a time of at most %d seconds", holdFor, MaxSeconds)
	case !w.HoldUntil.IsZero() && (year < 0 || year > 9999):
		return fmt.Errorf("HoldUntil is in the year %d, which has no form in RFC 3339", year)
	case by != (DeliverBy{}) && by.Within == 0:
		return errors.New("DeliverBy has no time: set Within")
	case by.OrReturn && by.Within < 0:
		return errors.New("DeliverBy.Within is negative: a message whose time is over can only be returned")
	case seconds(by.Within) > MaxSeconds || seconds(by.Within) < -MaxSeconds:
		return fmt.Errorf("DeliverBy.Within is %v: write a time of at most %d seconds", by.Within, MaxSeconds)
	}
	return nil
}

// seconds rounds up: nothing is asked for earlier than it was meant.
func seconds(d time.Duration) int64 {
	n := int64(d / time.Second)
	if d%time.Second > 0 {
		n++
	}
	return n
}

// CannotGrant tells why a server must not get the message, since it would do something else with it than it was asked
// to.
func (w *Wishes) CannotGrant(caps *Capabilities, now time.Time) error {
	if w == nil {
		return nil
	}
	if err := w.cannotHold(caps, now); err != nil || !w.DeliverBy.OrReturn {
		return err
	}
	left := w.left(now)
	switch {
	case !caps.DeliverBy:
		return errNoDeliverBy
	case left <= 0:
		return fmt.Errorf("the time for delivery, %v, is over", w.DeliverBy.Within)
	case left < caps.DeliverByMin:
		return fmt.Errorf("the message is to be delivered within %d seconds, and the server takes no time below %d "+
			"(DELIVERBY)", left, caps.DeliverByMin)
	}
	return nil
}

func (w *Wishes) cannotHold(caps *Capabilities, now time.Time) error {
	held := seconds(w.HoldFor)
	until := !w.HoldUntil.IsZero() && w.HoldUntil.After(now)
	switch {
	case held == 0 && !until:
	case !caps.FutureRelease:
		return errNoFutureRelease
	case caps.HoldMax > 0 && held > caps.HoldMax:
		return fmt.Errorf("the message is to be held for %d seconds, and the server holds for at most %d "+
			"(FUTURERELEASE)", held, caps.HoldMax)
	case until && !caps.HoldMaxDate.IsZero() && w.HoldUntil.After(caps.HoldMaxDate):
		return fmt.Errorf("the message is to be held until %s, and the server holds until %s at the latest "+
			"(FUTURERELEASE)", w.HoldUntil.UTC().Format(time.RFC3339), caps.HoldMaxDate.Format(time.RFC3339))
	}
	return nil
}

// left is the time for delivery that is left.
func (w *Wishes) left(now time.Time) int64 { return seconds(w.DeliverBy.Within - now.Sub(w.Begun)) }

// MailParams adds what a server offers to the parameters of MAIL.
func (w *Wishes) MailParams(p *MailParams, caps *Capabilities, now time.Time) {
	if w == nil {
		return
	}
	if caps.DSN {
		p.Return, p.EnvelopeID = w.DSN.Return, w.DSN.EnvelopeID
	}
	p.HoldFor = seconds(w.HoldFor)
	if w.HoldUntil.After(now) {
		p.HoldUntil = w.HoldUntil
	}
	if caps.DeliverBy && w.DeliverBy.Within != 0 {
		p.By = By{Mode: ByNotify, Seconds: w.left(now), Trace: w.DeliverBy.Trace}
		if w.DeliverBy.OrReturn {
			p.By.Mode, p.By.Seconds = ByReturn, max(p.By.Seconds, 1) // it was more when it was judged
		}
	}
	if caps.MTPriority {
		p.Priority = w.Priority
	}
}

// RcptParams are the parameters of the RCPT for recipient i, whose address goes out as to. An ORCPT that the caller has
// not named is that, so that development mode tells nobody's address.
func (w *Wishes) RcptParams(i int, to string, caps *Capabilities) (p RcptParams) {
	if w == nil || !caps.DSN {
		return p
	}
	var o RecipientWish
	if w.Options != nil {
		o = w.Options[i]
	}
	if o == (RecipientWish{}) && w.DSN == (DSN{}) {
		return p
	}
	return RcptParams{Notify: o.Notify, ORCPT: o.ORCPT, Original: to}
}

// HideRecipients drops what would tell whom a message of development mode is for.
func (w *Wishes) HideRecipients() {
	if w == nil {
		return
	}
	for i := range w.Options {
		w.Options[i].ORCPT = ""
	}
}

// LeftOut names the extensions that a server does not offer and the message asked for.
func (w *Wishes) LeftOut(caps *Capabilities) (names []string) {
	if w == nil {
		return nil
	}
	asksDSN := w.DSN != (DSN{}) ||
		slices.ContainsFunc(w.Options, func(o RecipientWish) bool { return o != (RecipientWish{}) })
	if asksDSN && !caps.DSN {
		names = append(names, "DSN")
	}
	if w.DeliverBy.Within != 0 && !caps.DeliverBy {
		names = append(names, "DELIVERBY")
	}
	if w.Priority != 0 && !caps.MTPriority {
		names = append(names, "MT-PRIORITY")
	}
	return names
}
