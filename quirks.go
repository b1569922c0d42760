package postrider

import (
	"slices"

	"github.com/postrider/postrider/internal/quirks"
)

// Some servers offer what they do not do well. What was seen of them is kept for a
// while, and met by doing without.

// Exim hangs up at the eleventh command of a wire that is no mail, with whatever stands
// behind it unread (smtp_accept_max_nonmail, by default). Each refused transaction costs
// a RSET, and so does each one that stands behind a MAIL that it refuses at its limit
// (smtp_accept_max_per_connection). So as many as it may still refuse are in flight, and
// a wire is left before that is too few.
const (
	eximResets   = 9
	eximRefusals = 5
)

// fallBackLocked remembers a fault, counts it, and has it logged once.
func (c *Connection) fallBackLocked(w *wire, q *quirks.Fact, what string) {
	if !q.Learn() {
		return
	}
	c.stats.Fallbacks++
	c.mu.noteLocked(settlement{fallback: what, told: Transaction{Wire: w.id}})
}

// pipeliningBrokenLocked takes the next step down: from many transactions to one,
// from one to single commands.
func (c *Connection) pipeliningBrokenLocked(w *wire) {
	if w.window > 1 {
		c.fallBackLocked(w, &c.quirks.NoWindow, "replies are out of step behind several transactions: one at a time from now on")
		return
	}
	c.fallBackLocked(w, &c.quirks.NoPipelining, "replies are out of step with PIPELINING: command by command from now on")
}

// learnCapLocked notes after how many MAILs a server ended a wire by its reply to
// MAIL, so that the next ones change before that. What one wire alone has met is trusted
// where whole messages stood behind it unread, which may be Unknown.
func (c *Connection) learnCapLocked(w *wire, v verb) {
	if v == verbReset && w.refused > 1 {
		// Each refused transaction costs a RSET, and servers count those. Half as
		// many leave room for the refusals that are still unread.
		c.quirks.LearnRefusals(w.refused / 2)
		return
	}
	k := w.answered // MAILs that were answered before this one
	if v != verbMail || k == 0 {
		return
	}
	unread := func(tx *transaction) bool { return tx.chunked && tx.Mail.Code == 0 }
	c.quirks.LearnCap(k, slices.ContainsFunc(w.inFlight, unread))
}

// windowLocked is how many transactions may be in flight now.
func (w *wire) windowLocked() int {
	n := min(w.window, w.c.window())
	if w.exim {
		n = min(n, max(1, eximResets-w.refused))
	}
	return n
}

// mostRefused is how many transactions may be refused on a wire before it is left; 0:
// that does not matter.
func (w *wire) mostRefused() int {
	if n := w.c.quirks.Refusals(); n > 0 || !w.exim {
		return n
	}
	return eximRefusals
}
