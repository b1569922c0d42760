package postrider_test

import (
	"io"
	"testing"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/smtptest"
)

// When a wire that has served is lost: facts 90 and 91. What no server can have
// accepted is sent again by itself, what one may have accepted never is.

func TestFact90AnIdleWireThatWasClosedCostsNothing(t *testing.T) {
	for name, f := range map[string]smtptest.Fault{
		"close":       {Idle: time.Minute, Answer: smtptest.None, Then: smtptest.Close},
		"reset":       {Idle: time.Minute, Answer: smtptest.None, Then: smtptest.Abort},
		"421":         {Idle: time.Minute, Reply: "421 4.4.2 timed out"},
		"451 4.4.2":   {Idle: time.Minute, Reply: "451 4.4.2 timeout waiting for data", Then: smtptest.Close},
		"421, stays":  {Idle: time.Minute, Reply: "421 4.4.2 timed out", Then: smtptest.KeepOpen},
		"other words": {Idle: time.Minute, Reply: "250 still there?", Then: smtptest.KeepOpen},
	} {
		t.Run(name, func(t *testing.T) {
			inEverySetting(t, func(t *testing.T, s setting) {
				r := s.start(t, options{faults: onFirstWire([]smtptest.Fault{f})})
				r.accepted("bart@example.com")
				time.Sleep(61 * time.Second)
				r.accepted("cate@example.com")
				if st := r.conn.Stats(); st.Dials != 2 || st.Resends != 0 || st.Transactions != 2 {
					t.Errorf("%+v: it was seen when it came, so there is nothing to resend", st)
				}
				r.quit()
				r.equal("said", r.wires(), "MAIL RCPT DATA . | MAIL RCPT DATA . QUIT")
			})
		})
	}
}

// An idle wire is left with QUIT after IdleTimeout, before the server's patience
// ends; negative means never, and MaxAge changes a wire that is in use.
func TestFact90IdleTimeoutAndMaxAge(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*postrider.Config)
		wait   time.Duration
		wires  string
	}{
		"default, in time": {nil, 119 * time.Second, "MAIL RCPT DATA . MAIL RCPT DATA ."},
		"default":          {nil, 121 * time.Second, "MAIL RCPT DATA . QUIT | MAIL RCPT DATA ."},
		"set":              {func(cfg *postrider.Config) { cfg.IdleTimeout = 10 * time.Second }, 11 * time.Second, "MAIL RCPT DATA . QUIT | MAIL RCPT DATA ."},
		"never":            {func(cfg *postrider.Config) { cfg.IdleTimeout = -1 }, time.Hour, "MAIL RCPT DATA . MAIL RCPT DATA ."},
		"old":              {func(cfg *postrider.Config) { cfg.MaxAge = time.Minute }, 61 * time.Second, "MAIL RCPT DATA . QUIT | MAIL RCPT DATA ."},
		"not old":          {func(cfg *postrider.Config) { cfg.MaxAge = time.Minute }, 59 * time.Second, "MAIL RCPT DATA . MAIL RCPT DATA ."},
	} {
		t.Run(name, func(t *testing.T) {
			inEverySetting(t, func(t *testing.T, s setting) {
				r := s.start(t, options{client: c.change, server: func(s *smtptest.Server) { s.IdleTimeout = -1 }})
				r.accepted("bart@example.com")
				time.Sleep(c.wait)
				r.accepted("bart@example.com")
				r.equal("said", r.wires(), c.wires)
			})
		})
	}
}

// A wire that dies under a message before its end of content costs a resend.
func TestFact90AWireThatDiesBeforeTheEndCostsAResend(t *testing.T) {
	const twice = "accepted content 250, accepted content 250"
	const wires = " | MAIL RCPT RCPT DATA . MAIL RCPT DATA . QUIT"
	broken := func(command string, nth int, then smtptest.Then) []smtptest.Fault {
		return []smtptest.Fault{{Command: command, Nth: nth, Answer: smtptest.None, Then: then}}
	}
	inEveryRow(t, []row{
		{name: "MAIL close", served: true, faults: broken("MAIL", 2, smtptest.Close), fates: twice, trouble: "<nil>", wires: "MAIL" + wires},
		{name: "MAIL reset", served: true, faults: broken("MAIL", 2, smtptest.Abort), fates: twice, trouble: "<nil>", wires: "MAIL" + wires},
		{name: "MAIL silence", served: true, faults: broken("MAIL", 2, smtptest.Hang), fates: twice, trouble: "<nil>", wires: "MAIL" + wires},
		{name: "RCPT close", served: true, faults: broken("RCPT", 3, smtptest.Close), fates: twice, trouble: "<nil>", wires: "MAIL RCPT RCPT" + wires},
		{name: "DATA close", served: true, faults: broken("DATA", 2, smtptest.Close), fates: twice, trouble: "<nil>", wires: "MAIL RCPT RCPT DATA" + wires},
		{name: "MAIL 421", served: true, faults: at("MAIL", 2, "421 4.7.0 enough"), fates: twice, trouble: "<nil>", wires: "MAIL" + wires},
		{name: "MAIL 451 4.4.2", served: true, faults: []smtptest.Fault{{Command: "MAIL", Nth: 2, Reply: "451 4.4.2 timeout", Then: smtptest.Close}}, fates: twice, trouble: "<nil>", wires: "MAIL" + wires},
		{name: "RCPT 421", served: true, faults: at("RCPT", 2, "421 4.7.0 enough"), fates: twice, trouble: "<nil>", wires: "MAIL RCPT" + wires},
		{name: "DATA 421", served: true, faults: at("DATA", 2, "421 4.7.0 enough"), fates: twice, trouble: "<nil>", wires: "MAIL RCPT RCPT DATA" + wires},
		{
			name: "a refusal that was read stands", served: true, faults: append(at("RCPT", 2, "550 5.1.1 no"), broken("DATA", 2, smtptest.Close)...),
			fates: "refused rcpt 550, accepted content 250", trouble: "<nil>", wires: "MAIL RCPT RCPT DATA | MAIL RCPT DATA . MAIL RCPT DATA . QUIT",
		},
		{
			// OpenSMTPD after 100 transactions: the wire is used up, as if by 421.
			name: "MAIL 452 4.5.3", served: true, faults: at("MAIL", 2, "452 4.5.3 too many transactions"), fates: twice, trouble: "<nil>",
			wires: "MAIL QUIT" + wires, pipelined: "MAIL RCPT RCPT DATA QUIT" + wires,
		},
		{
			// Not on a wire that has carried nothing: there it is the server's verdict.
			name: "MAIL 452 4.5.3 at first", faults: at("MAIL", 1, "452 4.5.3 too many"), fates: "deferred mail 452, deferred mail 452", trouble: "mail MAIL 452 passes",
			wires: "MAIL RSET MAIL RCPT DATA . QUIT", pipelined: "MAIL RCPT RCPT DATA RSET MAIL RCPT DATA . QUIT",
		},
	})
}

// Once the dot may be in the server's hands, only its reply tells: there is no
// resend, whatever the wire has carried before.
func TestFact91AnUnansweredEndIsUnknownAndNeverResent(t *testing.T) {
	var rows []row
	for name, then := range map[string]smtptest.Then{"close": smtptest.Close, "reset": smtptest.Abort, "silence": smtptest.Hang} {
		for _, reply := range []string{"", "451 not taken"} {
			rows = append(rows, row{
				name: name + " " + reply, served: true, faults: []smtptest.Fault{{Command: ".", Nth: 2, Reply: reply, Answer: smtptest.None, Then: then}},
				fates: "unknown content 0, unknown content 0", trouble: "content content 0 passes",
				wires: "MAIL RCPT RCPT DATA . | MAIL RCPT DATA . QUIT",
			})
		}
	}
	inEveryRow(t, rows)
}

// The failure of a Send is told once: a message is resent once, and a server that
// fails every wire is not asked for ever.
func TestFact90AMessageIsResentOnce(t *testing.T) {
	inEverySetting(t, func(t *testing.T, s setting) {
		r := s.start(t, options{faults: []smtptest.Fault{{Command: "RCPT", Address: "poison@example.com", Answer: smtptest.None, Then: smtptest.Close}}})
		r.accepted("bart@example.com")
		result, err := r.send("poison@example.com")
		r.equal("outcomes", fates(result), "untried rcpt 0")
		r.equal("error", trouble(err), "rcpt RCPT 0 passes")
		if st := r.conn.Stats(); st.Dials != 2 || st.Resends != 1 {
			t.Errorf("%+v", st)
		}
		if len(result.Transactions) != 2 {
			t.Errorf("transactions %v", result.Transactions)
		}
	})
}

// A content that can be read once is not sent twice: those recipients are left.
func TestFact90AOneShotContentIsNotResentOnceRead(t *testing.T) {
	inEverySetting(t, func(t *testing.T, s setting) {
		r := s.start(t, options{faults: []smtptest.Fault{{Command: ".", Nth: 2, Reply: "421 4.3.2 bye"}}})
		r.accepted("bart@example.com")
		m := mail("cate@example.com")
		m.Content = postrider.Reader(io.LimitReader(zeros{}, 1<<20))
		result, err := r.deliver(m)
		r.equal("outcomes", fates(result), "deferred content 421")
		r.equal("error", trouble(err), "content content 421 passes")
	})
	// It is enough for as many transactions as it takes if it is small.
	inEverySetting(t, func(t *testing.T, s setting) {
		r := s.start(t, options{client: func(cfg *postrider.Config) { cfg.MaxRecipients = 1 }})
		for size, want := range map[int64]string{100: "accepted content 250, accepted content 250", 1 << 20: "accepted content 250, untried local 0"} {
			m := mail("bart@example.com", "cate@example.com")
			m.Content = postrider.Reader(io.LimitReader(zeros{}, size))
			result, _ := r.deliver(m)
			r.equal("outcomes", fates(result), want)
		}
	})
}

// zeros reads as lines of the digit zero.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '0'
		if i%64 == 63 {
			p[i] = '\n'
		}
	}
	return len(p), nil
}
