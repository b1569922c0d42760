package fault_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/test/rig"
	"github.com/postrider/postrider/smtptest"
)

// Every step has its time. A server that falls silent at a step costs that time
// and no more; one that answers just in time, always, is waited for.

// lingering is how long a wire that was given up is listened to.
const lingering = 2 * time.Second

// step is a point of the conversation at which a server may fall silent.
type step struct {
	name   string
	fault  smtptest.Fault
	limit  time.Duration // the default: RFC 5321 §4.5.3.2 where it has one
	set    func(*postrider.Timeouts, time.Duration)
	where  string                  // what the error says
	state  postrider.State         // of the recipients
	listen bool                    // it lies behind the first MAIL: the wire is listened to a little longer
	only   []postrider.SecureMode  // nil: in all modes
	client func(*postrider.Config) // nil: nothing
}

var steps = []step{
	{name: "greeting", fault: silence(smtptest.Greeting, 1), limit: 5 * time.Minute, where: "connect greeting",
		set: func(t *postrider.Timeouts, d time.Duration) { t.Greeting = d }},
	{name: "EHLO", fault: silence("EHLO", 1), limit: 5 * time.Minute, where: "connect EHLO",
		set: func(t *postrider.Timeouts, d time.Duration) { t.Hello = d }},
	{name: "STARTTLS", fault: silence("STARTTLS", 1), limit: time.Minute, where: "connect STARTTLS",
		set:  func(t *postrider.Timeouts, d time.Duration) { t.TLS = d },
		only: []postrider.SecureMode{postrider.StartTLS}},
	{name: "handshake", fault: silence(smtptest.Handshake, 1), limit: time.Minute, where: "connect TLS handshake",
		set:  func(t *postrider.Timeouts, d time.Duration) { t.TLS = d },
		only: []postrider.SecureMode{postrider.StartTLS, postrider.ImplicitTLS}},
	{name: "second EHLO", fault: silence("EHLO", 2), limit: 5 * time.Minute, where: "connect EHLO",
		set:  func(t *postrider.Timeouts, d time.Duration) { t.Hello = d },
		only: []postrider.SecureMode{postrider.StartTLS}},
	{name: "AUTH", fault: silence("AUTH", 1), limit: 5 * time.Minute, where: "connect AUTH",
		set: func(t *postrider.Timeouts, d time.Duration) { t.Auth = d }},
	{name: "inside AUTH", fault: silence(smtptest.Response, 2), limit: 5 * time.Minute, where: "connect AUTH",
		set:    func(t *postrider.Timeouts, d time.Duration) { t.Auth = d },
		client: func(cfg *postrider.Config) { cfg.AuthMechanisms = []string{"LOGIN"} }},
	{name: "MAIL", fault: silence("MAIL", 1), limit: 5 * time.Minute, where: "mail MAIL", listen: true,
		set: func(t *postrider.Timeouts, d time.Duration) { t.Mail = d }},
	{name: "RCPT", fault: silence("RCPT", 1), limit: 5 * time.Minute, where: "rcpt RCPT", listen: true,
		set: func(t *postrider.Timeouts, d time.Duration) { t.Rcpt = d }},
	{name: "second RCPT", fault: silence("RCPT", 2), limit: 5 * time.Minute, where: "rcpt RCPT", listen: true,
		set: func(t *postrider.Timeouts, d time.Duration) { t.Rcpt = d }},
	{name: "DATA", fault: silence("DATA", 1), limit: 2 * time.Minute, where: "content DATA", listen: true,
		set: func(t *postrider.Timeouts, d time.Duration) { t.Data = d }},
	{name: "final dot", fault: silence(".", 1), limit: 10 * time.Minute, where: "content content", listen: true,
		state: postrider.Unknown,
		set:   func(t *postrider.Timeouts, d time.Duration) { t.Final = d }},
}

// silence is a server that does not answer the nth of a command, nor anything
// else on the first wire.
func silence(command string, nth int) smtptest.Fault {
	return smtptest.Fault{Command: command, Nth: nth, Connection: 1, Answer: smtptest.AnswerNone,
		Then: smtptest.ThenHang}
}

// inEveryStep runs f for every step in every setting in which there is that step.
func inEveryStep(t *testing.T, f func(t *testing.T, s rig.Setting, at step)) {
	t.Helper()
	for _, at := range steps {
		t.Run(at.name, func(t *testing.T) {
			rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
				for _, mode := range at.only {
					if mode == s.Mode {
						f(t, s, at)
					}
				}
				if at.only == nil {
					f(t, s, at)
				}
			})
		})
	}
}

// startAt starts a rig whose server demands a login and falls silent at the step.
func startAt(s rig.Setting, t *testing.T, at step, change func(*postrider.Config)) *rig.Pair {
	return s.Start(t, rig.Options{
		Server: func(s *smtptest.Server) { s.Users, s.IdleTimeout = map[string]string{"u": "p"}, -1 },
		Client: func(cfg *postrider.Config) {
			for _, f := range []func(*postrider.Config){at.client, change} {
				if f != nil {
					f(cfg)
				}
			}
		},
		Faults: []smtptest.Fault{at.fault},
	})
}

func TestEveryStepHasItsTime(t *testing.T) {
	for _, configured := range []time.Duration{0, 7 * time.Second} {
		t.Run(configured.String(), func(t *testing.T) {
			inEveryStep(t, func(t *testing.T, s rig.Setting, at step) {
				r := startAt(s, t, at, func(cfg *postrider.Config) {
					if configured > 0 {
						at.set(&cfg.Timeouts, configured)
						at.limit = configured
					}
				})
				start := time.Now()
				result, err := r.Send("bart@example.com", "cate@example.com")
				took := time.Since(start)
				if at.listen {
					took -= lingering
				}
				if took != at.limit {
					t.Errorf("given up after %v; the limit is %v", took, at.limit)
				}
				lasting := "passes"
				if at.state == postrider.Unknown {
					lasting = "lasts" // to send again may duplicate
				}
				r.Equal("error", rig.Trouble(err), at.where+" 0 "+lasting)
				if result.Count(at.state) != 2 {
					t.Errorf("outcomes %v", rig.Fates(result))
				}
				var late net.Error
				if !errors.As(err, &late) || !late.Timeout() {
					t.Errorf("the error is no timeout: %v", err)
				}
				r.Accepted("dirk@example.com") // and the connection is as good as new
			})
		})
	}
}

func TestTheDialHasItsTime(t *testing.T) {
	for limit, set := range map[time.Duration]time.Duration{30 * time.Second: 0, 7 * time.Second: 7 * time.Second} {
		rig.InBubble(t, limit.String(), func(t *testing.T) {
			r := rig.Setting{}.Start(t, rig.Options{Client: func(cfg *postrider.Config) {
				cfg.Timeouts.Connect = set
				cfg.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
					<-ctx.Done()
					return nil, ctx.Err()
				}
			}})
			start := time.Now()
			result, err := r.Send("bart@example.com")
			if took := time.Since(start); took != limit || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v after %v", err, took)
			}
			r.Equal("outcomes", rig.Fates(result), "untried connect 0")
			r.Equal("error", rig.Trouble(err), "connect dial 0 passes")
		})
	}
}

// A RSET belongs to the next message, which takes another wire.
func TestRSETHasItsTime(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{Faults: append(rig.At("MAIL", 1, "550 no"), silence("RSET", 1))})
		r.Send("bart@example.com")
		start := time.Now()
		r.Accepted("cate@example.com")
		if took := time.Since(start); took != 5*time.Minute+lingering {
			t.Errorf("it took %v", took)
		}
	})
}

func TestQUITHasItsTime(t *testing.T) {
	for limit, set := range map[time.Duration]time.Duration{5 * time.Second: 0, 7 * time.Second: 7 * time.Second} {
		t.Run(limit.String(), func(t *testing.T) {
			rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
				r := s.Start(t, rig.Options{
					Client: func(cfg *postrider.Config) { cfg.Timeouts.Quit = set },
					Faults: []smtptest.Fault{silence("QUIT", 1)},
				})
				r.Accepted("bart@example.com")
				start := time.Now()
				r.Quit()
				if took := time.Since(start); took != limit {
					t.Errorf("Quit took %v", took)
				}
			})
		})
	}
}

// A server that stops reading holds a block for Timeouts.Block; nothing that it
// has not read can have been accepted.
func TestABlockHasItsTime(t *testing.T) {
	for limit, set := range map[time.Duration]time.Duration{3 * time.Minute: 0, 7 * time.Second: 7 * time.Second} {
		t.Run(limit.String(), func(t *testing.T) {
			rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
				r := s.Start(t, rig.Options{
					Client: func(cfg *postrider.Config) { cfg.Timeouts.Block = set },
					Faults: []smtptest.Fault{{AfterRead: 10000, Nth: 1, Then: smtptest.ThenHang}},
				})
				m := rig.Mail("bart@example.com")
				m.Content = postrider.Bytes(make([]byte, 1<<20))
				start := time.Now()
				result, err := r.Deliver(m)
				if took := time.Since(start); took < limit || took > limit+lingering {
					t.Errorf("given up after %v", took)
				}
				r.Equal("outcomes", rig.Fates(result), "untried content 0")
				if !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("error %v", err)
				}
				r.Accepted("bart@example.com")
			})
		})
	}
}

// A server may take nearly the whole limit for every reply: each of them sets the
// clock back, before and behind STARTTLS. So does each block that it reads.
func TestEveryReplySetsTheClockBack(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{
			Server: func(s *smtptest.Server) { s.Users, s.IdleTimeout = map[string]string{"u": "p"}, -1 },
			Client: func(cfg *postrider.Config) { cfg.AuthMechanisms = []string{"LOGIN"} },
		})
		var slow time.Duration
		for _, at := range steps {
			if at.fault.Nth == 1 && (at.only == nil || s.Mode != postrider.Insecure) &&
				(at.name != "STARTTLS" || s.Mode == postrider.StartTLS) {
				delay := at.limit - time.Second
				r.Server.Inject(smtptest.Fault{Command: at.fault.Command, Delay: delay})
				slow += delay
			}
		}
		start := time.Now()
		r.Accepted("bart@example.com", "cate@example.com", "dirk@example.com")
		if took := time.Since(start); took < slow {
			t.Errorf("it took %v, less than the server's delays of %v", took, slow)
		}
		r.Accepted("bart@example.com")
		if n := r.Server.ConnectionCount(); n != 1 {
			t.Errorf("%d wires", n)
		}
	})
}

// But a reply that comes drop by drop is one reply.
func TestDropsDoNotSetTheClockBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := rig.PlayServer(t, func(p *rig.Peer) {
			p.Hello()
			p.Hear("MAIL")
			for i := range 100 {
				p.Say(fmt.Sprintf("250-still %d", i))
				time.Sleep(time.Minute)
			}
		})
		start := time.Now()
		_, err := p.Send("bart@example.com")
		if took := time.Since(start); took != 5*time.Minute+lingering || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%v after %v", err, took)
		}
		p.Conn.Close()
	})
}

// The time for the final reply begins when the message has left: a server that is
// slow to read, but reads, is not given up for it.
func TestTheFinalReplyIsNotDueBeforeTheMessageHasLeft(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{Client: func(cfg *postrider.Config) {
			cfg.Timeouts.Final = 10 * time.Second
			dial := cfg.Dial
			cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				nc, err := dial(ctx, network, address)
				return slowWriter{nc}, err
			}
		}})
		m := rig.Mail("bart@example.com")
		m.Content = postrider.Bytes([]byte(strings.Repeat("0123456\r\n", 7000)))
		if result, err := r.Deliver(m); err != nil {
			t.Errorf("%v, %v", result.Outcomes, err)
		}
	})
}

// slowWriter takes 12 seconds for everything that is longer than a few commands.
type slowWriter struct{ net.Conn }

func (s slowWriter) Write(p []byte) (int, error) {
	if len(p) > 10000 {
		time.Sleep(12 * time.Second)
	}
	return s.Conn.Write(p)
}
