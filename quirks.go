package postrider

import (
	"slices"
	"sync/atomic"
	"time"
)

// Some servers offer what they do not do well. What was seen of them is kept for a
// while, and met by doing without.

// quirkLife is how long a server's fault is remembered: long enough not to meet it
// on every wire, short enough for the day on which the server is mended.
const quirkLife = time.Hour

// supposedLife is how long what one wire alone has met is taken for a rule.
const supposedLife = 5 * time.Minute

// Exim hangs up at the eleventh command of a wire that is no mail, with whatever stands
// behind it unread (smtp_accept_max_nonmail, by default). Each refused transaction costs
// a RSET, and so does each one that stands behind a MAIL that it refuses at its limit
// (smtp_accept_max_per_connection). So as many as it may still refuse are in flight, and
// a wire is left before that is too few.
const (
	eximResets   = 9
	eximRefusals = 5
)

// quirks are the faults that a server has shown, on whatever wire.
type quirks struct {
	noChunking   expiring // BDAT is refused where it is due
	noWindow     expiring // transactions that follow each other unread are not answered in step
	noPipelining expiring // not even one transaction's commands are

	cap      expiring // the server ends wires after capAt transactions
	capAt    atomic.Int64
	capGuess atomic.Int64 // what one wire said; a second has to agree

	shown shown // which servers discard the octets of a refused BDAT

	refusals   expiring // the server ends wires on which it has refused too much
	refusalsAt atomic.Int64
}

// expiring is a fact that is forgotten after a while.
type expiring struct{ until atomic.Int64 } // in Unix nanoseconds; 0: not so

func (e *expiring) on() bool {
	until := e.until.Load()
	return until != 0 && time.Now().UnixNano() < until
}

func (e *expiring) set() { e.setFor(quirkLife) }

func (e *expiring) setFor(life time.Duration) { e.until.Store(time.Now().Add(life).UnixNano()) }

// fallBackLocked remembers a fault, counts it, and has it logged once.
func (c *Connection) fallBackLocked(w *wire, q *expiring, what string) {
	if q.on() {
		return
	}
	q.set()
	c.stats.Fallbacks++
	c.settled = append(c.settled, settlement{fallback: what, told: Transaction{Wire: w.id}})
}

// pipeliningBrokenLocked takes the next step down: from many transactions to one,
// from one to single commands.
func (c *Connection) pipeliningBrokenLocked(w *wire) {
	if w.window > 1 {
		c.fallBackLocked(w, &c.quirks.noWindow, "replies are out of step behind several transactions: one at a time from now on")
		return
	}
	c.fallBackLocked(w, &c.quirks.noPipelining, "replies are out of step with PIPELINING: command by command from now on")
}

// learnCapLocked notes after how many MAILs a server ended a wire by its reply to
// MAIL, and the next ones change before that. Two that agree are believed for as long as
// any fault. One alone may have met a server that is going down; it is believed for a
// short while where whole messages stood behind it unread, which may be Unknown.
func (c *Connection) learnCapLocked(w *wire, v verb) {
	if v == verbReset && w.refused > 1 {
		// Each refused transaction costs a RSET, and servers count those. Half as
		// many leave room for the refusals that are still unread.
		c.quirks.refusalsAt.Store(int64(w.refused / 2))
		c.quirks.refusals.set()
		return
	}
	k := w.answered // MAILs that were answered before this one
	if v != verbMail || k == 0 {
		return
	}
	agreed := c.quirks.capGuess.Swap(int64(k)) == int64(k)
	life := supposedLife
	if agreed {
		life = quirkLife
	}
	if agreed || slices.ContainsFunc(w.inFlight, func(tx *transaction) bool { return tx.chunked && tx.mail.Code == 0 }) {
		c.quirks.capAt.Store(int64(k))
		c.quirks.cap.setFor(life)
	}
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
	switch q := &w.c.quirks; {
	case q.refusals.on():
		return int(q.refusalsAt.Load())
	case w.exim:
		return eximRefusals
	}
	return 0
}

// learntCap is how many transactions a wire carries before its server ends it; 0
// if that is not known.
func (q *quirks) learntCap() int {
	if q.cap.on() {
		return int(q.capAt.Load())
	}
	return 0
}
