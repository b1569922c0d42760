package postrider

import (
	"testing"

	smtp "github.com/postrider/postrider/internal/wire"
)

// The table of docs/flow.md: what its own replies show of a transaction whose terminator was handed over, and what
// becomes of two recipients then.
func TestATransactionIsJudgedByItsOwnReplies(t *testing.T) {
	r := func(code int) smtp.Reply { return smtp.Reply{Code: code} }
	for name, c := range map[string]struct {
		tx     transaction
		a, b   int // RCPT replies
		untold State
		states [2]State
	}{
		"nothing read":        {transaction{}, 0, 0, Unknown, [2]State{Unknown, Unknown}},
		"MAIL accepted":       {transaction{mail: r(250)}, 0, 0, Unknown, [2]State{Unknown, Unknown}},
		"MAIL refused":        {transaction{mail: r(550)}, 0, 0, Untried, [2]State{Refused, Refused}},
		"MAIL refused by 421": {transaction{mail: r(421)}, 0, 0, Untried, [2]State{Untried, Untried}},
		"MAIL refused behind RSET 250": {
			transaction{prelude: resetFirst, clear: r(250), mail: r(421)}, 0, 0, Untried, [2]State{Untried, Untried},
		},
		"MAIL refused behind RSET 421": {
			transaction{prelude: resetFirst, clear: r(421), mail: r(421)}, 0, 0, Unknown, [2]State{Unknown, Unknown},
		},
		"both refused, RSET 421": {transaction{prelude: resetFirst, clear: r(421), mail: r(421)}, 503, 503,
			Unknown, [2]State{Untried, Untried}},
		"MAIL refused, RCPT accepted": {transaction{mail: r(550)}, 250, 550, Unknown, [2]State{Unknown, Refused}},
		"one RCPT refused":            {transaction{mail: r(250)}, 550, 250, Unknown, [2]State{Refused, Unknown}},
		"one RCPT refused by 421":     {transaction{mail: r(250)}, 250, 421, Unknown, [2]State{Unknown, Untried}},
		"both RCPTs refused":          {transaction{mail: r(250)}, 550, 450, Unknown, [2]State{Refused, Deferred}},
		"DATA refused": {
			transaction{mail: r(250), data: r(451)}, 250, 250, Untried, [2]State{Deferred, Deferred},
		},
		"terminator refused": {
			transaction{mail: r(250), final: r(554)}, 250, 250, Untried, [2]State{Refused, Refused},
		},
		"terminator refused by 421": {
			transaction{mail: r(250), final: r(421)}, 250, 250, Untried, [2]State{Deferred, Deferred},
		},
		"terminator refused by 503": {
			transaction{mail: r(250), final: r(503)}, 250, 250, Untried, [2]State{Untried, Untried},
		},
		"accepted": {
			transaction{mail: r(250), final: r(250)}, 250, 550, Unknown, [2]State{Accepted, Refused},
		},
		"out of step": {
			transaction{mail: r(550), final: r(554), mishap: shifted}, 550, 550, Unknown, [2]State{Unknown, Unknown},
		},
	} {
		tx := c.tx
		tx.wire = &wire{c: &Connection{server: &server{}}, handed: 100, lost: lostByWord}
		tx.terminator = span{50, 53}
		tx.rcpts, tx.rcpt = []int{0, 1}, []smtp.Reply{r(c.a), r(c.b)}
		tx.d = &delivery{rcpts: make([]recipient, 2)}
		tx.broken = &Error{}
		if got := tx.untaken(true); got != (c.untold == Untried) {
			t.Errorf("%s: untaken %v", name, got)
		}
		for k, want := range c.states {
			if o, _ := tx.outcome(k, tx.begun()); o.State != want {
				t.Errorf("%s: recipient %d is %v, want %v", name, k, o.State, want)
			}
		}
		tx.wire.handed = 50 // no octet of the terminator has left
		if !tx.untaken(tx.begun()) {
			t.Errorf("%s: taken without its end", name)
		}
	}
}

// A 2yz read while the last octets were being written counts only if they have left: the write may have failed.
func TestAYesThatWasReadBeforeTheEndHadLeft(t *testing.T) {
	for left, want := range map[int64]State{53: Accepted, 52: Unknown, 51: Unknown, 50: Untried} {
		tx := transaction{
			mail: smtp.Reply{Code: 250}, final: smtp.Reply{Code: 250}, terminator: span{50, 53}, broken: &Error{},
			rcpts: []int{0}, rcpt: []smtp.Reply{{Code: 250}}, d: &delivery{rcpts: make([]recipient, 1)},
			wire: &wire{handed: left},
		}
		if o, _ := tx.outcome(0, tx.begun()); o.State != want {
			t.Errorf("%d octets have left: %v, want %v", left, o.State, want)
		}
	}
}
