package postrider

import (
	"fmt"
	"slices"
	"time"

	"github.com/postrider/postrider/internal/hint"
	smtp "github.com/postrider/postrider/internal/wire"
)

// planLocked forms the next transaction of a delivery out of its pending recipients, as far as this wire can take them.
// nil means that this wire can take none: they were refused by a verdict of our own, or wait for the next wire.
func (w *wire) planLocked(d *delivery) *transaction {
	w.judgeLocked(d)
	if len(d.pending) == 0 {
		return nil
	}
	tx := &transaction{d: d, wire: w, terminator: farAway, utf8: w.needsUTF8(d)}
	limit := len(d.pending)
	for _, n := range [...]int{w.c.cfg.MaxRecipients, w.caps.RcptMax, w.rcptMax} {
		if n > 0 {
			limit = min(limit, n)
		}
	}
	if tx.rcpts = tx.oneRcpt[:0]; limit > 1 {
		tx.rcpts = make([]int, 0, limit)
	}
	kept := d.pending[:0]
	for _, i := range d.pending {
		r := &d.rcpts[i]
		if len(tx.rcpts) < limit && (tx.utf8 || r.ASCII != "") && w.claimDomain(r.domain) {
			tx.rcpts = append(tx.rcpts, i)
		} else {
			kept = append(kept, i)
		}
	}
	d.pending = kept
	if len(tx.rcpts) == 0 {
		w.spent = true // RCPTDOMAINMAX is reached
		return nil
	}
	if tx.Rcpt = tx.oneReply[:]; len(tx.rcpts) > 1 {
		tx.Rcpt = make([]smtp.Reply, len(tx.rcpts))
	}
	return tx
}

// needsUTF8 tells whether the next transaction of d carries SMTPUTF8: if the header or the sender demands it, all do;
// else only those of recipients that do, and they come last.
func (w *wire) needsUTF8(d *delivery) bool {
	if !w.caps.SMTPUTF8 {
		return false
	}
	if d.body.UTF8 || d.from.NeedsUTF8() {
		return true
	}
	for _, i := range d.pending {
		if !d.rcpts[i].NeedsUTF8() {
			return false
		}
	}
	return true
}

// claimDomain counts a domain against RCPTDOMAINMAX (RFC 9422 §4.3), and reports whether the wire may carry mail to it.
func (w *wire) claimDomain(domain string) bool {
	if w.caps.RcptDomainMax == 0 {
		return true
	}
	if _, known := w.domains[domain]; known {
		return true
	}
	if len(w.domains) >= w.caps.RcptDomainMax {
		return false
	}
	if w.domains == nil {
		w.domains = map[string]struct{}{}
	}
	w.domains[domain] = struct{}{}
	return true
}

// judgeLocked refuses what this server cannot take, before anything is sent: a message over its SIZE (RFC 1870 §7),
// addresses that need SMTPUTF8 of a server without it (RFC 6531 §3.2).
func (w *wire) judgeLocked(d *delivery) {
	all := func(int) bool { return true }
	if limit := w.caps.Size; limit > 0 && d.body.Least > limit {
		d.refuse(all, fmt.Errorf("%w: it has %d octets, and %s takes at most %d (SIZE)",
			hint.ErrTooBig, d.body.Least, w.address, limit))
	}
	if d.requireTLS {
		if err := w.cannotRequireTLS(); err != nil {
			d.refuse(all, fmt.Errorf("%s: %w", w.address, err))
		}
	}
	if d.wishes != nil {
		if err := d.wishes.CannotGrant(&w.caps, time.Now()); err != nil {
			d.refuse(all, fmt.Errorf("%s: %w", w.address, err))
		}
	}
	if d.body.IsUsed() {
		d.fail(&Error{Stage: StageLocal, Step: StepContent, Err: ErrContentUsed})
	}
	if w.caps.SMTPUTF8 {
		return
	}
	lacks := func() error { return fmt.Errorf("%s: %w", w.address, hint.ErrNoSMTPUTF8) }
	if d.from.NeedsUTF8() {
		d.refuse(all, fmt.Errorf("sender %q: %w", d.from.Address, lacks()))
	}
	needs := func(i int) bool { return d.rcpts[i].NeedsUTF8() }
	if slices.ContainsFunc(d.pending, needs) {
		d.refuse(needs, lacks())
	}
}

// cannotRequireTLS tells why REQUIRETLS cannot be said on this wire (RFC 8689 §4.1).
func (w *wire) cannotRequireTLS() error {
	switch {
	case !w.encrypted || !w.c.verified:
		return hint.ErrTLSRequired
	case !w.caps.RequireTLS:
		return hint.ErrNoRequireTLS
	}
	return nil
}

// doneLocked reports that the wire has carried what it may.
func (w *wire) doneLocked() bool {
	for _, n := range [...]int{w.maxTransactions, w.caps.MailMax, w.c.quirks.Cap()} {
		w.spent = w.spent || n > 0 && w.mails >= n
	}
	if most := w.mostRefused(); most > 0 && w.refused >= most {
		w.spent = true
	}
	switch {
	case w.spent:
		w.ending = endCount
	case w.old():
		w.ending = endAge
	default:
		return false
	}
	return true
}

// old reports that the wire has reached its age.
func (w *wire) old() bool { return w.maxAge > 0 && time.Since(w.opened) >= w.maxAge }

// patience is how long the wire waits for a transaction; 0: for ever.
func (w *wire) patience() time.Duration {
	wait := max(w.maxIdle, 0)
	if w.maxAge <= 0 {
		return wait
	}
	left := max(1, w.maxAge-time.Since(w.opened))
	if wait == 0 {
		return left
	}
	return min(wait, left)
}
