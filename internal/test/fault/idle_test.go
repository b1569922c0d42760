package fault_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/test/rig"
	"github.com/postrider/postrider/smtptest"
)

// What becomes of a wire that nobody uses: we leave it when it was idle for long
// or is old, and see at once when the server does.

// The last transaction may have ended in any way: the wire is left all the same,
// with QUIT and no sooner or later than it should.
func TestAnIdleWireIsLeftHoweverItsLastMessageEnded(t *testing.T) {
	for name, f := range map[string]smtptest.Fault{
		"accepted": {Command: "NOOP"}, "refused at MAIL": {Command: "MAIL", Reply: "550 no"},
		"refused at RCPT": {Command: "RCPT", Reply: "550 no"},
		"refused at DATA": {Command: "DATA", Reply: "550 no"}, "refused at the end": {Command: ".", Reply: "550 no"},
		"late": {Command: ".", Delay: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
				r := s.Start(t, rig.Options{Faults: []smtptest.Fault{f}})
				for range 3 {
					r.Send("bart@example.com")
				}
				time.Sleep(2*time.Minute - time.Second)
				if !r.Conn.Stats().Open {
					t.Error("the wire was left too early")
				}
				time.Sleep(2 * time.Second)
				if r.Conn.Stats().Open {
					t.Error("the wire was not left")
				}
				if n := r.Server.Commands("QUIT"); n != 1 {
					t.Errorf("%d QUITs", n)
				}
			})
		})
	}
}

// The reader is always on: what the server does on an idle wire is seen when it
// does it, and not when the next message is due.
func TestWhatTheServerDoesOnAnIdleWireIsSeenAtOnce(t *testing.T) {
	for name, f := range map[string]smtptest.Fault{
		"FIN":              {Answer: smtptest.AnswerNone, Then: smtptest.ThenClose},
		"RST":              {Answer: smtptest.AnswerNone, Then: smtptest.ThenAbort},
		"421":              {Reply: "421 4.4.2 timed out"},
		"421 and it stays": {Reply: "421 4.4.2 timed out", Then: smtptest.ThenKeepOpen},
		"451 4.4.2":        {Reply: "451 4.4.2 timed out", Then: smtptest.ThenKeepOpen},
		"other words":      {Reply: "250 2.0.0 all is well", Then: smtptest.ThenKeepOpen},
		"garbage":          {Reply: "\x00\xff", Then: smtptest.ThenKeepOpen},
	} {
		f.Idle, f.Connection = time.Minute, 1
		t.Run(name, func(t *testing.T) {
			rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
				var why []error
				r := s.Start(t, rig.Options{Faults: []smtptest.Fault{f}, Client: func(cfg *postrider.Config) {
					cfg.Trace = rig.OnEvent(postrider.EventClosed, func(e postrider.Event) { why = append(why, e.Err) })
				}})
				r.Accepted("bart@example.com")
				time.Sleep(time.Minute + lingering)
				synctest.Wait()
				if r.Conn.Stats().Open || len(why) != 1 || why[0] == nil {
					t.Errorf("open: %v, reasons: %v", r.Conn.Stats().Open, why)
				}
				r.Accepted("cate@example.com")
				byFault := int64(0) // words that answer nothing are a fault; what ends the wire is the server's doing
				if name == "other words" || name == "garbage" {
					byFault = 1
				}
				if st := r.Conn.Stats(); st.Resends != 0 || st.Dials != 2 ||
					st.EndedByFault != byFault || st.EndedByServer != 1-byFault {
					t.Errorf("%+v", st)
				}
			})
		})
	}
}

// A wire that is too old takes no new message, and is not cut under one.
func TestMaxAgeChangesTheWireBetweenMessages(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{
			Client: func(cfg *postrider.Config) { cfg.MaxAge, cfg.IdleTimeout = time.Minute, -1 },
			Faults: []smtptest.Fault{{Command: ".", Nth: 2, Delay: 5 * time.Minute}},
			Server: func(s *smtptest.Server) { s.IdleTimeout = -1 },
		})
		r.Accepted("bart@example.com")
		time.Sleep(59 * time.Second)
		r.Accepted("bart@example.com") // ends when the wire is six minutes old
		if n := r.Server.ConnectionCount(); n != 1 {
			t.Errorf("%d wires", n)
		}
		r.Accepted("bart@example.com")
		r.Equal("said", r.Wires(), "MAIL RCPT DATA . MAIL RCPT DATA . QUIT | MAIL RCPT DATA .")
	})
}

// The server closes just as the next message comes. Whoever is first, nobody is
// lost and nobody gets it twice.
func TestAServerThatClosesWhileAMessageComes(t *testing.T) {
	for _, f := range []smtptest.Fault{
		{Answer: smtptest.AnswerNone, Then: smtptest.ThenClose},
		{Answer: smtptest.AnswerNone, Then: smtptest.ThenAbort},
		{Reply: "421 4.4.2 timed out"}, {Reply: "451 4.4.2 timed out", Then: smtptest.ThenClose},
	} {
		f.Idle = time.Minute
		t.Run(fmt.Sprint(f.Reply, f.Then), func(t *testing.T) {
			for range 5 { // the order is not given: some of both
				rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
					r := s.Start(t, rig.Options{Faults: []smtptest.Fault{f}})
					for range 5 {
						r.Accepted("bart@example.com")
						time.Sleep(time.Minute)
					}
					if n := len(r.Server.Messages()); n != 5 {
						t.Errorf("the server took %d of 5 messages", n)
					}
				})
			}
		})
	}
}

// Leaving an idle wire and a message that comes at that moment do not hurt each
// other either.
func TestAMessageThatComesWhileTheWireIsLeft(t *testing.T) {
	for range 5 {
		rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
			r := s.Start(t, rig.Options{Client: func(cfg *postrider.Config) { cfg.IdleTimeout = time.Minute }})
			ctx, cancel := context.WithTimeout(t.Context(), rig.Guard)
			defer cancel()
			for i := range 5 {
				if result, err := r.Conn.Send(ctx, rig.Mail("bart@example.com")); err != nil {
					t.Errorf("%d: %v", i, result.Outcomes)
				}
				time.Sleep(time.Minute) // no synctest.Wait: both happen now
			}
			if n := len(r.Server.Messages()); n != 5 {
				t.Errorf("the server took %d of 5 messages", n)
			}
		})
	}
}
