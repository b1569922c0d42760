package parity_test

import (
	"io"
	"testing"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/test/rig"
	"github.com/postrider/postrider/smtptest"
)

// When a wire that has served is lost: facts 90 and 91. What no server can have
// accepted is sent again by itself, what one may have accepted never is.

// Fact 90
func TestAnIdleWireThatWasClosedCostsNothing(t *testing.T) {
	for name, f := range map[string]smtptest.Fault{
		"close":       {Idle: time.Minute, Answer: smtptest.AnswerNone, Then: smtptest.ThenClose},
		"reset":       {Idle: time.Minute, Answer: smtptest.AnswerNone, Then: smtptest.ThenAbort},
		"421":         {Idle: time.Minute, Reply: "421 4.4.2 timed out"},
		"451 4.4.2":   {Idle: time.Minute, Reply: "451 4.4.2 timeout waiting for data", Then: smtptest.ThenClose},
		"421, stays":  {Idle: time.Minute, Reply: "421 4.4.2 timed out", Then: smtptest.ThenKeepOpen},
		"other words": {Idle: time.Minute, Reply: "250 still there?", Then: smtptest.ThenKeepOpen},
	} {
		t.Run(name, func(t *testing.T) {
			rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
				r := s.Start(t, rig.Options{Faults: rig.OnFirstWire([]smtptest.Fault{f})})
				r.Accepted("bart@example.com")
				time.Sleep(61 * time.Second)
				r.Accepted("cate@example.com")
				if st := r.Conn.Stats(); st.Dials != 2 || st.Resends != 0 || st.Transactions != 2 {
					t.Errorf("%+v: it was seen when it came, so there is nothing to resend", st)
				}
				r.Quit()
				r.Equal("said", r.Wires(), "MAIL RCPT DATA . | MAIL RCPT DATA . QUIT")
			})
		})
	}
}

// An idle wire is left with QUIT after IdleTimeout, before the server's patience
// ends; negative means never, and MaxAge changes a wire that is in use.
//
// Fact 90
func TestIdleTimeoutAndMaxAge(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*postrider.Config)
		wait   time.Duration
		wires  string
	}{
		"default, in time": {nil, 119 * time.Second, "MAIL RCPT DATA . MAIL RCPT DATA ."},
		"default":          {nil, 121 * time.Second, "MAIL RCPT DATA . QUIT | MAIL RCPT DATA ."},
		"set": {func(cfg *postrider.Config) { cfg.IdleTimeout = 10 * time.Second }, 11 * time.Second,
			"MAIL RCPT DATA . QUIT | MAIL RCPT DATA ."},
		"never": {
			func(cfg *postrider.Config) { cfg.IdleTimeout = -1 }, time.Hour, "MAIL RCPT DATA . MAIL RCPT DATA .",
		},
		"old": {func(cfg *postrider.Config) { cfg.MaxAge = time.Minute }, 61 * time.Second,
			"MAIL RCPT DATA . QUIT | MAIL RCPT DATA ."},
		"not old": {func(cfg *postrider.Config) { cfg.MaxAge = time.Minute }, 59 * time.Second,
			"MAIL RCPT DATA . MAIL RCPT DATA ."},
	} {
		t.Run(name, func(t *testing.T) {
			rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
				r := s.Start(t, rig.Options{Client: c.change, Server: func(s *smtptest.Server) { s.IdleTimeout = -1 }})
				r.Accepted("bart@example.com")
				time.Sleep(c.wait)
				r.Accepted("bart@example.com")
				r.Equal("said", r.Wires(), c.wires)
			})
		})
	}
}

// A wire that dies under a message before its end of content costs a resend.
//
// Fact 90
func TestAWireThatDiesBeforeTheEndCostsAResend(t *testing.T) {
	const twice = "accepted content 250, accepted content 250"
	const wires = " | MAIL RCPT RCPT DATA . MAIL RCPT DATA . QUIT"
	broken := func(command string, nth int, then smtptest.Then) []smtptest.Fault {
		return []smtptest.Fault{{Command: command, Nth: nth, Answer: smtptest.AnswerNone, Then: then}}
	}
	rig.InEveryRow(t, []rig.Row{
		{Name: "MAIL close", Served: true, Faults: broken("MAIL", 2, smtptest.ThenClose), Fates: twice,
			Trouble: "<nil>", Wires: "MAIL" + wires},
		{Name: "MAIL reset", Served: true, Faults: broken("MAIL", 2, smtptest.ThenAbort), Fates: twice,
			Trouble: "<nil>", Wires: "MAIL" + wires},
		{Name: "MAIL silence", Served: true, Faults: broken("MAIL", 2, smtptest.ThenHang), Fates: twice,
			Trouble: "<nil>", Wires: "MAIL" + wires},
		{Name: "RCPT close", Served: true, Faults: broken("RCPT", 3, smtptest.ThenClose), Fates: twice,
			Trouble: "<nil>", Wires: "MAIL RCPT RCPT" + wires},
		{Name: "DATA close", Served: true, Faults: broken("DATA", 2, smtptest.ThenClose), Fates: twice,
			Trouble: "<nil>", Wires: "MAIL RCPT RCPT DATA" + wires},
		{Name: "MAIL 421", Served: true, Faults: rig.At("MAIL", 2, "421 4.7.0 enough"), Fates: twice, Trouble: "<nil>",
			Wires: "MAIL" + wires},
		{Name: "MAIL 451 4.4.2", Served: true, Faults: []smtptest.Fault{
			{Command: "MAIL", Nth: 2, Reply: "451 4.4.2 timeout", Then: smtptest.ThenClose},
		}, Fates: twice, Trouble: "<nil>", Wires: "MAIL" + wires},
		{Name: "RCPT 421", Served: true, Faults: rig.At("RCPT", 2, "421 4.7.0 enough"), Fates: twice, Trouble: "<nil>",
			Wires: "MAIL RCPT" + wires},
		{Name: "DATA 421", Served: true, Faults: rig.At("DATA", 2, "421 4.7.0 enough"), Fates: twice, Trouble: "<nil>",
			Wires: "MAIL RCPT RCPT DATA" + wires},
		{
			Name: "a refusal that was read stands", Served: true,
			Faults: append(rig.At("RCPT", 2, "550 5.1.1 no"), broken("DATA", 2, smtptest.ThenClose)...),
			Fates:  "refused rcpt 550, accepted content 250", Trouble: "<nil>",
			Wires: "MAIL RCPT RCPT DATA | MAIL RCPT DATA . MAIL RCPT DATA . QUIT",
		},
		{
			// OpenSMTPD after 100 transactions: the wire is used up, as if by 421.
			Name: "MAIL 452 4.5.3", Served: true, Faults: rig.At("MAIL", 2, "452 4.5.3 too many transactions"),
			Fates: twice, Trouble: "<nil>",
			Wires: "MAIL QUIT" + wires, Pipelined: "MAIL RCPT RCPT DATA QUIT" + wires,
		},
		{
			// Not on a wire that has carried nothing: there it is the server's verdict.
			Name: "MAIL 452 4.5.3 at first", Faults: rig.At("MAIL", 1, "452 4.5.3 too many"),
			Fates: "deferred mail 452, deferred mail 452", Trouble: "mail MAIL 452 passes",
			Wires: "MAIL RSET MAIL RCPT DATA . QUIT", Pipelined: "MAIL RCPT RCPT DATA RSET MAIL RCPT DATA . QUIT",
		},
	})
}

// Once the dot may be in the server's hands, only its reply tells: there is no
// resend, whatever the wire has carried before.
//
// Fact 91
func TestAnUnansweredEndIsUnknownAndNeverResent(t *testing.T) {
	var rows []rig.Row
	for name, then := range map[string]smtptest.Then{
		"close": smtptest.ThenClose, "reset": smtptest.ThenAbort, "silence": smtptest.ThenHang,
	} {
		for _, reply := range []string{"", "451 not taken"} {
			rows = append(rows, rig.Row{
				Name: name + " " + reply, Served: true,
				Faults: []smtptest.Fault{{Command: ".", Nth: 2, Reply: reply, Answer: smtptest.AnswerNone, Then: then}},
				Fates:  "unknown content 0, unknown content 0", Trouble: "content content 0 lasts",
				Wires: "MAIL RCPT RCPT DATA . | MAIL RCPT DATA . QUIT",
			})
		}
	}
	rig.InEveryRow(t, rows)
}

// The failure of a Send is told once: a message is resent once, and a server that
// fails every wire is not asked for ever.
//
// Fact 90
func TestAMessageIsResentOnce(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{Faults: []smtptest.Fault{
			{Command: "RCPT", Address: "poison@example.com", Answer: smtptest.AnswerNone, Then: smtptest.ThenClose},
		}})
		r.Accepted("bart@example.com")
		result, err := r.Send("poison@example.com")
		r.Equal("outcomes", rig.Fates(result), "untried rcpt 0")
		r.Equal("error", rig.Trouble(err), "rcpt RCPT 0 passes")
		if st := r.Conn.Stats(); st.Dials != 2 || st.Resends != 1 {
			t.Errorf("%+v", st)
		}
		if len(result.Transactions) != 2 {
			t.Errorf("transactions %v", result.Transactions)
		}
	})
}

// A content that can be read once is not sent twice: those recipients are left.
//
// Fact 90
func TestAOneShotContentIsNotResentOnceRead(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{Faults: []smtptest.Fault{{Command: ".", Nth: 2, Reply: "421 4.3.2 bye"}}})
		r.Accepted("bart@example.com")
		m := rig.Mail("cate@example.com")
		m.Content = postrider.Reader(io.LimitReader(rig.Zeros{}, 1<<20))
		result, err := r.Deliver(m)
		r.Equal("outcomes", rig.Fates(result), "deferred content 421")
		r.Equal("error", rig.Trouble(err), "content content 421 passes")
	})
	// It is enough for as many transactions as it takes if it is small.
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{Client: func(cfg *postrider.Config) { cfg.MaxRecipients = 1 }})
		for size, want := range map[int64]string{
			100: "accepted content 250, accepted content 250", 1 << 20: "accepted content 250, untried local 0",
		} {
			m := rig.Mail("bart@example.com", "cate@example.com")
			m.Content = postrider.Reader(io.LimitReader(rig.Zeros{}, size))
			result, _ := r.Deliver(m)
			r.Equal("outcomes", rig.Fates(result), want)
		}
	})
}
