package verdict

import (
	"testing"

	"go.uber.org/goleak"

	smtp "github.com/postrider/postrider/internal/wire"
)

// A goroutine that outlives the tests fails them.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type (
	tx     = Transaction
	states [2]State
)

func both(s State) states { return states{s, s} }

const sure, maybe = true, false

func r(code int) smtp.Reply { return smtp.Reply{Code: code} }

// The table of docs/flow.md: what its own replies show of a transaction whose terminator was handed over, and what
// becomes of two recipients then.
func TestATransactionIsJudgedByItsOwnReplies(t *testing.T) {
	for name, c := range map[string]struct {
		replies Transaction
		a, b    int  // RCPT replies
		untold  bool // it is certain that nothing was taken
		states  states
	}{
		"nothing read":                 {tx{}, 0, 0, maybe, both(Unknown)},
		"MAIL accepted":                {tx{Mail: r(250)}, 0, 0, maybe, both(Unknown)},
		"MAIL refused":                 {tx{Mail: r(550)}, 0, 0, sure, both(Refused)},
		"MAIL refused by 421":          {tx{Mail: r(421)}, 0, 0, sure, both(Untried)},
		"MAIL refused behind RSET 250": {tx{ResetFirst: true, Clear: r(250), Mail: r(421)}, 0, 0, sure, both(Untried)},
		"MAIL refused behind RSET 421": {tx{ResetFirst: true, Clear: r(421), Mail: r(421)}, 0, 0, maybe, both(Unknown)},
		"both refused, RSET 421": {
			tx{ResetFirst: true, Clear: r(421), Mail: r(421)}, 503, 503, maybe, both(Untried),
		},
		"MAIL refused, RCPT accepted": {tx{Mail: r(550)}, 250, 550, maybe, states{Unknown, Refused}},
		"MAIL refused for the wire":   {tx{Mail: r(452), Mishap: Elsewhere}, 503, 503, sure, both(Untried)},
		"one RCPT refused":            {tx{Mail: r(250)}, 550, 250, maybe, states{Refused, Unknown}},
		"one RCPT refused by 421":     {tx{Mail: r(250)}, 250, 421, maybe, states{Unknown, Untried}},
		"both RCPTs refused":          {tx{Mail: r(250)}, 550, 450, maybe, states{Refused, Deferred}},
		"DATA refused":                {tx{Mail: r(250), Data: r(451)}, 250, 250, sure, both(Deferred)},
		"DATA refused by 421":         {tx{Mail: r(250), Data: r(421)}, 250, 250, sure, both(Untried)},
		"terminator refused":          {tx{Mail: r(250), Final: r(554)}, 250, 250, sure, both(Refused)},
		"terminator refused by 421":   {tx{Mail: r(250), Final: r(421)}, 250, 250, sure, both(Deferred)},
		"terminator refused by 503":   {tx{Mail: r(250), Final: r(503)}, 250, 250, sure, both(Untried)},
		"BDAT refused": {
			tx{Mail: r(250), Final: r(502), Mishap: Unchunked}, 250, 250, sure, both(Untried),
		},
		"accepted": {tx{Mail: r(250), Final: r(250)}, 250, 550, maybe, states{Accepted, Refused}},
		"out of step": {
			tx{Mail: r(550), Final: r(554), Mishap: Shifted}, 550, 550, maybe, both(Unknown),
		},
		"misread": {
			tx{Mail: r(250), Data: r(554), Mishap: Misread}, 550, 250, maybe, both(Unknown),
		},
	} {
		said := c.replies
		said.Rcpt = []smtp.Reply{r(c.a), r(c.b)}
		if got := said.Untaken(HandedOver); got != c.untold {
			t.Errorf("%s: untaken %v", name, got)
		}
		for k, want := range c.states {
			if v := said.Of(k, HandedOver); v.State != want {
				t.Errorf("%s: recipient %d is %v, want %v", name, k, v.State, want)
			}
		}
		if !said.Untaken(Ahead) {
			t.Errorf("%s: taken without its end", name)
		}
		for k := range c.states {
			if v := said.Of(k, Ahead); v.State == Accepted || v.State == Unknown {
				t.Errorf("%s: recipient %d is %v without the end", name, k, v.State)
			}
		}
	}
}

// A 2yz read while the last octets were being written counts only if they have left: the write may have failed.
func TestAYesThatWasReadBeforeTheEndHadLeft(t *testing.T) {
	tx := Transaction{Mail: r(250), Final: r(250), Rcpt: []smtp.Reply{r(250)}}
	for b, want := range map[Border]State{HandedOver: Accepted, Begun: Unknown, Ahead: Untried} {
		if v := tx.Of(0, b); v.State != want {
			t.Errorf("border %d: %v, want %v", b, v.State, want)
		}
	}
}

// A 4yz or 5yz to a content that is still leaving is its answer, but one that decides nobody then leaves all undecided.
func TestARefusalAmidTheContent(t *testing.T) {
	for code, want := range map[int]State{451: Deferred, 552: Refused, 421: Untried, 530: Untried} {
		tx := Transaction{Mail: r(250), Data: r(354), Final: r(code), Rcpt: []smtp.Reply{r(250)}}
		v := tx.Of(0, Ahead)
		if v.State != want || v.Undecided != (want == Untried) || v.At != smtp.Content {
			t.Errorf("%d: %+v, want state %v", code, v, want)
		}
	}
}

// Too many recipients: 452 and 552 without an enhanced code, or with x.5.3 (RFC 5321 §4.5.3.1.10).
func TestTooManyRecipientsGoIntoTheNext(t *testing.T) {
	for text, want := range map[string]bool{
		"452 too many": true, "552 too many": true, "452 4.5.3 too many": true, "552 5.2.2 full": false,
	} {
		tx := Transaction{Mail: r(250), Rcpt: []smtp.Reply{r(250), {Code: int(text[0]-'0')*100 + 52, Text: text[4:]}}}
		v := tx.Of(1, Ahead)
		if v.Again != want || want && v.State != Deferred {
			t.Errorf("%q: %+v", text, v)
		}
		tx.Rcpt[0] = r(550)
		if tx.Of(1, Ahead).Again {
			t.Errorf("%q: again, although nobody was accepted", text)
		}
	}
}

// Behind a refused MAIL nobody was accepted, whatever is said to RCPT.
func TestAccepted(t *testing.T) {
	for mail, want := range map[int]int{250: 1, 550: 0, 0: 0} {
		tx := Transaction{Mail: r(mail), Rcpt: []smtp.Reply{r(250), r(550), {}}}
		if n := tx.Accepted(); n != want {
			t.Errorf("MAIL %d: %d accepted", mail, n)
		}
	}
}

// Which reply explains what was left undecided, and which one ended the transaction.
func TestRefusalAndLast(t *testing.T) {
	one := []smtp.Reply{r(250)}
	for name, c := range map[string]struct {
		tx            Transaction
		at            smtp.Command
		refusal, last int
	}{
		"MAIL":              {tx{Mail: r(421), Rcpt: []smtp.Reply{r(503)}}, smtp.Mail, 421, 421},
		"RCPT":              {tx{Mail: r(250), Rcpt: []smtp.Reply{r(550), r(421)}}, smtp.Rcpt, 421, 421},
		"DATA":              {tx{Mail: r(250), Rcpt: one, Data: r(530)}, smtp.Data, 530, 530},
		"content":           {tx{Mail: r(250), Rcpt: one, Data: r(354), Final: r(503)}, smtp.Content, 503, 503},
		"all RCPTs refused": {tx{Mail: r(250), Rcpt: []smtp.Reply{r(550), r(450)}}, smtp.Content, 0, 450},
		"accepted":          {tx{Mail: r(250), Rcpt: one, Data: r(354), Final: r(250)}, smtp.Content, 250, 250},
		"nothing":           {tx{Rcpt: []smtp.Reply{{}}}, smtp.Content, 0, 0},
	} {
		if at, reply := c.tx.Refusal(); at != c.at || reply.Code != c.refusal {
			t.Errorf("%s: refused at %v by %d", name, at, reply.Code)
		}
		if last := c.tx.Last(); last.Code != c.last {
			t.Errorf("%s: ended by %d, want %d", name, last.Code, c.last)
		}
	}
}
