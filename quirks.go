package postrider

import "time"

// Some servers offer what they do not do well. What was seen of them is kept for a
// while, and met by doing without.

// quirkLife is how long a server's fault is remembered: long enough not to meet it
// on every wire, short enough for the day on which the server is mended.
const quirkLife = time.Hour

// quirks are the faults that this connection's server has shown.
type quirks struct {
	noChunking   expiring // BDAT is refused where it is due
	noWindow     expiring // transactions that follow each other unread are not answered in step
	noPipelining expiring // not even one transaction's commands are

	cap      expiring // the server ends wires after capAt transactions
	capAt    int
	capGuess int // what one wire said; a second has to agree

	refusals   expiring // the server ends wires on which it has refused too much
	refusalsAt int
}

// expiring is a fact that is forgotten after a while.
type expiring struct{ until time.Time }

func (e *expiring) on() bool { return !e.until.IsZero() && time.Now().Before(e.until) }

func (e *expiring) set() { e.until = time.Now().Add(quirkLife) }

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
// MAIL. When two wires in a row agree, the next ones change before that.
func (c *Connection) learnCapLocked(w *wire, v verb) {
	if v == verbReset && w.refused > 1 {
		// Each refused transaction costs a RSET, and servers count those. Half as
		// many leave room for the refusals that are still unread.
		c.quirks.refusals.set()
		c.quirks.refusalsAt = w.refused / 2
		return
	}
	k := w.answered // MAILs that were answered before this one
	if v != verbMail || k == 0 {
		return
	}
	if c.quirks.capGuess == k {
		c.quirks.cap.set()
		c.quirks.capAt = k
	}
	c.quirks.capGuess = k
}

// learntCap is how many transactions a wire carries before its server ends it; 0
// if that is not known.
func (q *quirks) learntCap() int {
	if q.cap.on() {
		return q.capAt
	}
	return 0
}

// window is how many transactions may be in flight on a wire of this connection.
func (c *Connection) window() int {
	if c.quirks.noWindow.on() || c.quirks.noPipelining.on() {
		return 1
	}
	return c.maxWindow()
}

// maxWindow is what the configuration allows.
func (c *Connection) maxWindow() int {
	if c.cfg.Window > 0 {
		return c.cfg.Window
	}
	return 64
}

func (c *Connection) windowOctets() int {
	if c.cfg.WindowOctets > 0 {
		return c.cfg.WindowOctets
	}
	return 1 << 20
}

func (c *Connection) probeAfter() time.Duration {
	if c.cfg.ProbeAfter > 0 {
		return c.cfg.ProbeAfter
	}
	return 5 * time.Second
}
