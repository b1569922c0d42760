package words_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/test/rig"
	"github.com/postrider/postrider/smtptest"
)

// diary writes down what a Trace tells, a word each.
type diary struct {
	mu    sync.Mutex
	words []string
}

func (d *diary) note(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.words = append(d.words, fmt.Sprintf(format, args...))
}

func (d *diary) String() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.words, " ")
}

func (d *diary) trace() *postrider.Trace {
	return &postrider.Trace{
		Event: d.event,
		Dialogue: func(e postrider.Event) {
			if e.Kind == postrider.EventReply {
				d.note("%d", e.Reply.Code)
				return
			}
			verb, _, _ := strings.Cut(e.Line, " ")
			d.note("%s", verb)
		},
		Content: func(wire int, octets []byte) { d.note("content(%d)", len(octets)) },
	}
}

func (d *diary) event(e postrider.Event) {
	switch e.Kind {
	case postrider.EventDialed:
		d.note("dialed(%d,%s,%v)", e.Wire, e.Address, e.Err != nil)
	case postrider.EventTLS:
		d.note("tls(%d,%v,%v)", e.Wire, e.TLS.HandshakeComplete, e.Err != nil)
	case postrider.EventHello:
		d.note("hello(%d,%d)", e.Wire, len(e.Extensions))
	case postrider.EventAuthenticated:
		d.note("auth(%d,%s,%v)", e.Wire, e.Mechanism, e.Err != nil)
	case postrider.EventTransaction:
		tx := e.Transaction
		d.note("done(%d,%d,%d,%v)", tx.Wire, tx.Recipients, tx.Reply.Code, e.Outcomes[0].State)
	case postrider.EventClosed:
		d.note("closed(%d,%d,%v)", e.Wire, e.Transactions, e.Err != nil)
	default:
		d.note("%v", e.Kind)
	}
}

// The life of a wire, hook by hook, in the order of events. The hooks of the writer
// and of the reader are told apart by the replies, so this is without PIPELINING.
func TestTraceTellsTheLifeOfAWire(t *testing.T) {
	const life = "220 EHLO 250 hello(1,%d) AUTH 235 auth(1,PLAIN,false) MAIL 250 RCPT 250 RCPT 550 DATA 354 " +
		"content(68) . 250 done(1,2,250,accepted) QUIT 221 closed(1,1,false)"
	for mode, want := range map[postrider.SecureMode]string{
		postrider.Insecure:    "dialed(1,localhost:25,false) " + fmt.Sprintf(life, 6),
		postrider.ImplicitTLS: "dialed(1,localhost:25,false) tls(1,true,false) " + fmt.Sprintf(life, 7),
		postrider.StartTLS: "dialed(1,localhost:25,false) 220 EHLO 250 hello(1,6) STARTTLS 220 tls(1,true,false) " +
			strings.TrimPrefix(fmt.Sprintf(life, 7), "220 "),
	} {
		rig.InBubble(t, mode.String(), func(t *testing.T) {
			var d diary
			r := rig.Setting{Mode: mode}.Start(t, rig.Options{
				Server: rig.WithUser, Client: func(cfg *postrider.Config) {
					cfg.Trace, cfg.AuthMechanisms = d.trace(), []string{"PLAIN"}
				},
				Faults: rig.At("RCPT", 2, "550 5.1.1 no"),
			})
			_, _ = r.Send("bart@example.com", "cate@example.com")
			r.Quit()
			r.Equal("trace", d.String(), want)
		})
	}
}

// With PIPELINING commands come before the replies to them, and everything about
// a transaction before its end.
func TestTraceOfAFlight(t *testing.T) {
	rig.InBubble(t, "pipelining", func(t *testing.T) {
		var d diary
		r := rig.Setting{Pipelining: true}.Start(t,
			rig.Options{Client: func(cfg *postrider.Config) { cfg.Trace = d.trace() }})
		r.Accepted("bart@example.com")
		r.Quit()
		r.Equal("trace", d.String(), "dialed(1,localhost:25,false) 220 EHLO 250 hello(1,6) MAIL RCPT DATA 250 250 "+
			"354 content(68) . 250 done(1,1,250,accepted) QUIT 221 closed(1,1,false)")
	})
}

func TestTraceTellsFailures(t *testing.T) {
	for name, c := range map[string]struct {
		mode   postrider.SecureMode
		server func(*smtptest.Server)
		client func(*postrider.Config)
		faults []smtptest.Fault
		want   string // contained
	}{
		"dial": {
			client: func(cfg *postrider.Config) {
				cfg.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, syscall.ECONNREFUSED }
			},
			want: "dialed(1,localhost:25,true)",
		},
		"handshake": {
			mode: postrider.ImplicitTLS, server: func(s *smtptest.Server) { s.Certificate = smtptest.CertExpired },
			want: "dialed(1,localhost:25,false) tls(1,false,true)",
		},
		"AUTH": {
			server: rig.WithUser, faults: rig.At("AUTH", 0, "535 no"), want: "AUTH 535 auth(1,CRAM-MD5,true)",
		},
		"MAIL": {faults: rig.At("MAIL", 0, "550 no"), want: "MAIL 550 done(1,1,550,refused)"},
		"lost": {faults: []smtptest.Fault{{Command: ".", Answer: smtptest.AnswerNone, Then: smtptest.ThenClose}},
			want: "content(68) . done(1,1,0,unknown) closed(1,1,true)"},
	} {
		rig.InBubble(t, name, func(t *testing.T) {
			var d diary
			r := rig.Setting{Mode: c.mode}.Start(t,
				rig.Options{Server: c.server, Faults: c.faults, Client: func(cfg *postrider.Config) {
					cfg.Trace = d.trace()
					if c.client != nil {
						c.client(cfg)
					}
				}})
			_, _ = r.Send("bart@example.com")
			if !strings.Contains(d.String(), c.want) {
				t.Errorf("the trace is %s; want %s in it", &d, c.want)
			}
		})
	}
}

// Every wire that was dialled ends exactly once, whatever happened to it.
func TestEveryWireThatIsOpenedIsClosed(t *testing.T) {
	faults := []smtptest.Fault{
		{Command: "MAIL", Nth: 1, Reply: "421 bye"},
		{Command: "RCPT", Nth: 2, Answer: smtptest.AnswerNone, Then: smtptest.ThenClose},
		{Command: ".", Nth: 2, Answer: smtptest.AnswerNone, Then: smtptest.ThenAbort},
		{Command: ".", Nth: 3, Reply: "250 a\n250 b"},
	}
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		dialed, closed := map[int]int{}, map[int]int{}
		r := s.Start(t, rig.Options{Faults: faults, Client: func(cfg *postrider.Config) {
			cfg.Trace = &postrider.Trace{Event: func(e postrider.Event) {
				switch e.Kind {
				case postrider.EventDialed:
					dialed[e.Wire]++
				case postrider.EventClosed:
					closed[e.Wire]++
				}
			}}
		}})
		for range 8 {
			_, _ = r.Send("bart@example.com")
		}
		r.Conn.Close()
		synctest.Wait()
		if len(dialed) < 4 || fmt.Sprint(dialed) != fmt.Sprint(closed) {
			t.Errorf("dialled %v, closed %v", dialed, closed)
		}
	})
}

// A recipient of every kind, counted once each.
func TestStatsCountEachRecipientOnce(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t,
			rig.Options{Client: func(cfg *postrider.Config) { cfg.MaxRecipients = 2 }, Faults: []smtptest.Fault{
				{Command: "RCPT", Address: "no@example.com", Reply: "550 no"},
				{Command: "RCPT", Address: "later@example.com", Reply: "450 later"},
				{Command: "MAIL", Nth: 4, Reply: "421 bye"},
				{Command: ".", Nth: 4, Answer: smtptest.AnswerNone, Then: smtptest.ThenClose},
			}})
		if st := r.Conn.Stats(); st != (postrider.Stats{}) {
			t.Errorf("at first %+v", st)
		}
		_, _ = r.Send("bart@example.com", "no@example.com", "later@example.com", "cate@example.com", "not an address")
		st := r.Conn.Stats()
		want := postrider.Stats{Dials: 1, Transactions: 2, Reuses: 1, Accepted: 2, Deferred: 1, Refused: 2, Open: true}
		if st != want {
			t.Errorf("%+v; want %+v", st, want)
		}
		result, err := r.Send("a@example.com", "b@example.com", "c@example.com")
		r.Equal("outcomes", rig.Fates(result), "accepted content 250, accepted content 250, unknown content 0")
		if !errors.Is(err, io.EOF) {
			t.Error(err)
		}
		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		_, _ = r.Conn.Send(canceled, rig.Mail("x@example.com", "y@example.com"))
		r.Accepted("d@example.com")
		want = postrider.Stats{Dials: 3, Transactions: 6, Reuses: 3, Resends: 1, TurnedAway: 1, EndedByServer: 2,
			Accepted: 5, Deferred: 1, Refused: 2, Untried: 2, Unknown: 1, Open: true}
		if st = r.Conn.Stats(); st != want {
			t.Errorf("%+v; want %+v", st, want)
		}
	})
}

// A Result tells on which wire each transaction went and how it ended, queue id and
// all.
func TestTheResultTellsTheTransactions(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{
			Client: func(cfg *postrider.Config) { cfg.MaxRecipients, cfg.MaxTransactions = 2, 2 },
			Faults: rig.At("RCPT", 3, "550 5.1.1 no"),
		})
		r.Accepted("abel@example.com")
		result, err := r.Send(rig.People(5)...)
		if err != nil {
			t.Error(err)
		}
		var got []string
		for _, tx := range result.Transactions {
			got = append(got, fmt.Sprint(tx.Wire, " ", tx.Recipients, " ", tx.Reply))
		}
		want := []string{
			"1 2 250 2.0.0 Ok: queued as 1-2", "2 2 250 2.0.0 Ok: queued as 2-1", "2 1 250 2.0.0 Ok: queued as 2-2",
		}
		if !slices.Equal(got, want) {
			t.Errorf("transactions %q; want %q", got, want)
		}
	})
}
