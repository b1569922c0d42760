package postrider

import (
	"errors"
	"fmt"
	"slices"
	"time"

	smtp "github.com/postrider/postrider/internal/wire"
)

// wishes are what a message asks of a server besides being delivered. They are a copy:
// the message is its caller's again when a cancelled Send has returned, and a neighbour's
// transaction may go on. A nil *wishes asks for nothing.
type wishes struct {
	dsn       DSN
	options   []RecipientOptions
	holdFor   int64 // seconds
	holdUntil time.Time
	deliverBy DeliverBy
	begun     time.Time // when the time of deliverBy began
	priority  int
}

// wishesOf reads and checks what a message asks for; nil is nothing. Options of single
// recipients are checked by refuseBadOptions.
func wishesOf(m *Message) (*wishes, error) {
	if m.Options == nil && m.DSN == (DSN{}) && m.HoldFor == 0 && m.HoldUntil.IsZero() &&
		m.DeliverBy == (DeliverBy{}) && m.Priority == 0 {
		return nil, nil
	}
	w := &wishes{dsn: m.DSN, holdUntil: m.HoldUntil, deliverBy: m.DeliverBy, priority: m.Priority}
	if n := len(m.Options); m.Options != nil && n != len(m.To) {
		return nil, fmt.Errorf("the message has %d recipients and options for %d", len(m.To), n)
	}
	if err := smtp.CheckDSN(m.DSN.Return, m.DSN.EnvelopeID); err != nil {
		return nil, err
	}
	if err := w.checkTimes(m.HoldFor); err != nil {
		return nil, err
	}
	if m.Priority < -smtp.MaxPriority || m.Priority > smtp.MaxPriority {
		return nil, fmt.Errorf("field Priority is %d: use a number from -9 to 9", m.Priority)
	}
	w.options = slices.Clone(m.Options)
	w.holdFor = seconds(m.HoldFor)
	w.begun = time.Now()
	return w, nil
}

var (
	errNoFutureRelease = errors.New("the message is to be held, and the server does not offer FUTURERELEASE " +
		"(RFC 4865): send it without HoldFor and HoldUntil when it is due, or by another server")
	errNoDeliverBy = errors.New("the message is to be returned if it is late, and the server does not offer " +
		"DELIVERBY (RFC 2852): send it without DeliverBy.OrReturn, or by another server")
)

func (w *wishes) checkTimes(holdFor time.Duration) error {
	by := w.deliverBy
	switch year := w.holdUntil.UTC().Year(); {
	case holdFor != 0 && !w.holdUntil.IsZero():
		return errors.New("HoldFor and HoldUntil are both set: set one of them")
	case holdFor < 0 || seconds(holdFor) > smtp.MaxSeconds:
		return fmt.Errorf("HoldFor is %v: write a time of at most %d seconds", holdFor, smtp.MaxSeconds)
	case !w.holdUntil.IsZero() && (year < 0 || year > 9999):
		return fmt.Errorf("HoldUntil is in the year %d, which has no form in RFC 3339", year)
	case by != (DeliverBy{}) && by.Within == 0:
		return errors.New("DeliverBy has no time: set Within")
	case by.OrReturn && by.Within < 0:
		return errors.New("DeliverBy.Within is negative: a message whose time is over can only be returned")
	case seconds(by.Within) > smtp.MaxSeconds || seconds(by.Within) < -smtp.MaxSeconds:
		return fmt.Errorf("DeliverBy.Within is %v: write a time of at most %d seconds", by.Within, smtp.MaxSeconds)
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

// refuseBadOptions refuses the recipients whose options are wrong in themselves.
func (d *delivery) refuseBadOptions() {
	if d.wishes == nil || d.wishes.options == nil {
		return
	}
	kept := d.pending[:0]
	for _, i := range d.pending {
		o := &d.wishes.options[i]
		err := smtp.CheckNotify(o.Notify)
		if err == nil {
			err = smtp.CheckORCPT(o.ORCPT)
		}
		if err != nil {
			d.outcomes[i].State, d.outcomes[i].Err = Refused, err
		} else {
			kept = append(kept, i)
		}
	}
	d.pending = kept
}

// hideRecipients drops what would tell whom a message of development mode is for.
func (w *wishes) hideRecipients() {
	if w == nil {
		return
	}
	for i := range w.options {
		w.options[i].ORCPT = ""
	}
}

// cannotGrant tells why a server must not get the message, since it would do something
// else with it than it was asked to.
func (w *wishes) cannotGrant(caps *smtp.Capabilities, now time.Time) error {
	if w == nil {
		return nil
	}
	if err := w.cannotHold(caps, now); err != nil || !w.deliverBy.OrReturn {
		return err
	}
	left := w.left(now)
	switch {
	case !caps.DeliverBy:
		return errNoDeliverBy
	case left <= 0:
		return fmt.Errorf("the time for delivery, %v, is over", w.deliverBy.Within)
	case left < caps.DeliverByMin:
		return fmt.Errorf("the message is to be delivered within %d seconds, and the server takes no time below %d "+
			"(DELIVERBY)", left, caps.DeliverByMin)
	}
	return nil
}

func (w *wishes) cannotHold(caps *smtp.Capabilities, now time.Time) error {
	until := !w.holdUntil.IsZero() && w.holdUntil.After(now)
	switch {
	case w.holdFor == 0 && !until:
	case !caps.FutureRelease:
		return errNoFutureRelease
	case caps.HoldMax > 0 && w.holdFor > caps.HoldMax:
		return fmt.Errorf("the message is to be held for %d seconds, and the server holds for at most %d "+
			"(FUTURERELEASE)", w.holdFor, caps.HoldMax)
	case until && !caps.HoldMaxDate.IsZero() && w.holdUntil.After(caps.HoldMaxDate):
		return fmt.Errorf("the message is to be held until %s, and the server holds until %s at the latest "+
			"(FUTURERELEASE)", w.holdUntil.UTC().Format(time.RFC3339), caps.HoldMaxDate.Format(time.RFC3339))
	}
	return nil
}

// left is the time for delivery that is left.
func (w *wishes) left(now time.Time) int64 { return seconds(w.deliverBy.Within - now.Sub(w.begun)) }

// mailParams adds what a server offers to the parameters of MAIL.
func (w *wishes) mailParams(p *smtp.MailParams, caps *smtp.Capabilities, now time.Time) {
	if w == nil {
		return
	}
	if caps.DSN {
		p.Return, p.EnvelopeID = w.dsn.Return, w.dsn.EnvelopeID
	}
	p.HoldFor = w.holdFor
	if w.holdUntil.After(now) {
		p.HoldUntil = w.holdUntil
	}
	if caps.DeliverBy && w.deliverBy.Within != 0 {
		p.By = smtp.By{Mode: smtp.ByNotify, Seconds: w.left(now), Trace: w.deliverBy.Trace}
		if w.deliverBy.OrReturn {
			p.By.Mode, p.By.Seconds = smtp.ByReturn, max(p.By.Seconds, 1) // it was more when it was judged
		}
	}
	if caps.MTPriority {
		p.Priority = w.priority
	}
}

// rcptParams are the parameters of the RCPT for recipient i, whose address goes out as
// to. An ORCPT that the caller has not named is that, so that development mode tells
// nobody's address.
func (w *wishes) rcptParams(i int, to string, caps *smtp.Capabilities) (p smtp.RcptParams) {
	if w == nil || !caps.DSN {
		return p
	}
	var o RecipientOptions
	if w.options != nil {
		o = w.options[i]
	}
	if o == (RecipientOptions{}) && w.dsn == (DSN{}) {
		return p
	}
	return smtp.RcptParams{Notify: o.Notify, ORCPT: o.ORCPT, Original: to}
}

// leftOut names the extensions that a server does not offer and the message asked for.
func (w *wishes) leftOut(caps *smtp.Capabilities) (names []string) {
	if w == nil {
		return nil
	}
	asksDSN := w.dsn != (DSN{}) ||
		slices.ContainsFunc(w.options, func(o RecipientOptions) bool { return o != (RecipientOptions{}) })
	if asksDSN && !caps.DSN {
		names = append(names, "DSN")
	}
	if w.deliverBy.Within != 0 && !caps.DeliverBy {
		names = append(names, "DELIVERBY")
	}
	if w.priority != 0 && !caps.MTPriority {
		names = append(names, "MT-PRIORITY")
	}
	return names
}
