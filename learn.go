package postrider

import (
	"fmt"
	"slices"
	"time"

	"github.com/postrider/postrider/internal/quirks"
	"github.com/postrider/postrider/internal/verdict"
	smtp "github.com/postrider/postrider/internal/wire"
)

// Some servers offer what they do not do well. What was seen of them is kept for a while, and met by doing without.

// Exim hangs up at the eleventh command of a wire that is no mail, with whatever stands behind it unread
// (smtp_accept_max_nonmail, by default). Each refused transaction costs a RSET, and so does each one that stands behind
// a MAIL that it refuses at its limit (smtp_accept_max_per_connection). So as many as it may still refuse are in
// flight, and a wire is left before that is too few.
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

// pipeliningBrokenLocked takes the next step down: from many transactions to one, from one to single commands.
func (c *Connection) pipeliningBrokenLocked(w *wire) {
	if w.window > 1 {
		c.fallBackLocked(w, &c.quirks.NoWindow, "replies are out of step behind several transactions: "+
			"one at a time from now on")
		return
	}
	c.fallBackLocked(w, &c.quirks.NoPipelining, "replies are out of step with PIPELINING: "+
		"command by command from now on")
}

// learnCapLocked notes after how many MAILs a server ended a wire by its reply to MAIL, so that the next ones change
// before that. What one wire alone has met is trusted where whole messages stood behind it unread, which may be
// Unknown.
func (c *Connection) learnCapLocked(w *wire, v verb) {
	if v == verbReset && w.refused > 1 {
		// Each refused transaction costs a RSET, and servers count those. Half as many leave room for the refusals that
		// are still unread.
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

// mostRefused is how many transactions may be refused on a wire before it is left; 0: that does not matter.
func (w *wire) mostRefused() int {
	if n := w.c.quirks.Refusals(); n > 0 || !w.exim {
		return n
	}
	return eximRefusals
}

// A BDAT that leaves before the replies to its RCPTs were read may be refused, and what then becomes of its octets is
// the server's affair: RFC 3030 §2 has them thrown away, but go-smtp before 0.25 takes them for commands. A message
// that is one line "MAIL FROM:<…>" is then forged mail, and every reply behind it is another's. So BDAT waits for the
// RCPTs, which means DATA, until a server has shown that it discards: it gets a BDAT outside of any transaction, whose
// octets are a harmless command.

// discardProbe is refused by every server. One that discards its octets answers once and next to the RSET behind it;
// one that does not answers HELP first.
const discardProbe = "BDAT 6 LAST\r\nHELP\r\n"

const (
	// probeCrowd is how many messages have to wait before the probe is worth a refused command.
	probeCrowd = 8

	// probePatience bounds the wait for its reply: no message hangs because a firewall swallows a command that it does
	// not know.
	probePatience = 30 * time.Second
)

// identity is by what the server is known again.
func (w *wire) identity() string {
	address := fmt.Sprint(w.raw.RemoteAddr()) // a connection of the caller's Dial may have none
	return quirks.Identity(address, w.helloText)
}

// recallDiscard takes what is known of the server already.
func (w *wire) recallDiscard() {
	switch {
	case !w.caps.Chunking:
	case w.c.cfg.Chunking == UseTrusted:
		w.discard = quirks.Discards
	default:
		w.discard = w.c.quirks.RecallDiscard(w.identity())
	}
}

// probesLocked decides whether the probe stands before a transaction. That goes by DATA, whose content waits for 354,
// so that a server that executes what it should discard costs nothing. Never within a transaction that could still be
// open: there the probe would be a message. Not where the server is an Exchange that has not let us in: anonymous
// clients that make mistakes are held up there.
func (w *wire) probesLocked(tx *transaction) bool {
	return w.discard == quirks.DiscardUnknown && w.chunks() && w.completed > 0 && tx.prelude == noPrelude &&
		w.c.queue.Len()+1 >= probeCrowd && (!w.caps.Exchange || w.loggedIn)
}

// answersHelpLocked looks at the first reply in the place of the RSET behind the probe: anything but its 250, or the
// server's goodbye, is HELP's, and the one to RSET is still to come.
func (w *wire) answersHelpLocked(e expectation, r smtp.Reply) bool {
	if e.verb != verbReset || e.tx.prelude != probeFirst || w.discard != quirks.DiscardAsked ||
		r.Code == 250 || r.EndsWire() {
		return false
	}
	w.showLocked(quirks.Executes)
	w.expected.Unpop(e)
	return true
}

// learnDiscarding draws the conclusion when DATA was answered. Only a 354 in its place shows that there was no reply
// too many: there are servers that answer HELP by 250. With one too many it is the last RCPT that was refused and not
// DATA, and each recipient has the reply of the one before: then nobody is judged by them, but on another wire, which
// is not asked.
func (w *wire) learnDiscarding(tx *transaction) {
	switch {
	case tx.prelude != probeFirst || w.discard != quirks.DiscardAsked:
	case tx.probed.Negative() && tx.Data.Code == 354:
		w.showLocked(quirks.Discards)
	case tx.Accepted() > 0:
		tx.Mishap, w.spent = verdict.Misread, true
		w.showLocked(quirks.Executes)
	default:
		w.discard = quirks.Executes // perhaps; the next wire asks again
	}
}

func (w *wire) showLocked(is quirks.Discard) {
	if w.discard != is {
		w.discard = is
		w.c.quirks.RememberDiscard(w.identity(), is)
	}
}
