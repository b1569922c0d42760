// Package quirks remembers what a server offers and does not do well, or ends on its own, each for a while, so that it
// is met by doing without. Nothing here takes a lock that is not its own.
package quirks

import (
	"sync/atomic"
	"time"
)

// life is how long a server's fault is remembered: long enough not to meet it on every wire, short enough for the day
// on which the server is mended.
const life = time.Hour

// supposedLife is how long what one wire alone has met is taken for a rule.
const supposedLife = 5 * time.Minute

// Quirks are the faults that a server has shown, on whatever wire. The zero value knows of none.
type Quirks struct {
	NoChunking   Fact // BDAT is refused where it is due
	NoWindow     Fact // transactions that follow each other unread are not answered in step
	NoPipelining Fact // not even one transaction's commands are

	cap      number       // the server ends wires after this many transactions
	capGuess atomic.Int64 // what one wire said; a second has to agree
	refusals number       // it ends wires on which it has refused this many

	discards discards
}

// LearnCap notes that a server ended a wire after k transactions. Two wires that agree are believed for as long as any
// fault. One alone may have met a server that is going down; it is believed for a short while, if it is trusted.
func (q *Quirks) LearnCap(k int, trusted bool) {
	switch agreed := q.capGuess.Swap(int64(k)) == int64(k); {
	case agreed:
		q.cap.set(k, life)
	case trusted:
		q.cap.set(k, supposedLife)
	}
}

// Cap returns after how many transactions the server ends a wire; 0: that is not known.
func (q *Quirks) Cap() int { return q.cap.get() }

// LearnRefusals notes that a server ends wires on which it has refused n transactions.
func (q *Quirks) LearnRefusals(n int) { q.refusals.set(n, life) }

// Refusals returns after how many refusals the server ends a wire; 0: that is not known.
func (q *Quirks) Refusals() int { return q.refusals.get() }

// Fact is true for a while.
type Fact struct{ until atomic.Int64 } // in Unix nanoseconds; 0: never so

// Holds reports that the fact is known.
func (f *Fact) Holds() bool {
	until := f.until.Load()
	return until != 0 && time.Now().UnixNano() < until
}

// Learn makes it known, and reports whether that is news.
func (f *Fact) Learn() (news bool) {
	if f.Holds() {
		return false
	}
	f.setFor(life)
	return true
}

func (f *Fact) setFor(life time.Duration) { f.until.Store(time.Now().Add(life).UnixNano()) }

// number is a number that is known for a while.
type number struct {
	known Fact
	n     atomic.Int64
}

func (n *number) set(to int, life time.Duration) {
	n.n.Store(int64(to))
	n.known.setFor(life)
}

func (n *number) get() int {
	if n.known.Holds() {
		return int(n.n.Load())
	}
	return 0
}
