package postrider_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/smtptest"
)

// A context that is done ends its Send at once, at whatever step that is, with
// what is known: Unknown if the end of the message may have reached the server,
// else Untried, and what was read stands.

// endings are the two ways in which a context ends after a second.
var endings = map[string]func(context.Context) (context.Context, context.CancelFunc){
	"deadline": func(ctx context.Context) (context.Context, context.CancelFunc) {
		return context.WithTimeout(ctx, time.Second)
	},
	"cancel": func(ctx context.Context) (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithCancel(ctx)
		time.AfterFunc(time.Second, cancel)
		return ctx, cancel
	},
}

func TestAContextEndsASendAtEveryStep(t *testing.T) {
	for name, ending := range endings {
		t.Run(name, func(t *testing.T) {
			inEveryStep(t, func(t *testing.T, s setting, at step) {
				r := s.startAt(t, at, nil)
				ctx, cancel := ending(t.Context())
				defer cancel()
				m := mail("bart@example.com", "cate@example.com")
				start := time.Now()
				result, err := r.conn.Send(ctx, m)
				if took := time.Since(start); took != time.Second {
					t.Errorf("Send returned after %v", took)
				}
				checkAnswer(t, m, result, err)
				if !errors.Is(err, ctx.Err()) {
					t.Errorf("error %v is not %v", err, ctx.Err())
				}
				if result.Count(at.state) != 2 {
					t.Errorf("outcomes %v", fates(result))
				}
				r.accepted("dirk@example.com") // without a wait, on another wire
				if took := time.Since(start); took != time.Second {
					t.Errorf("the next message waited for %v", took)
				}
			})
		})
	}
}

// The cause of a context is told, and found.
func TestTheCauseOfAContextIsTold(t *testing.T) {
	inEverySetting(t, func(t *testing.T, s setting) {
		why := errors.New("the user lost interest")
		r := s.start(t, options{faults: []smtptest.Fault{silence("RCPT", 1)}})
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(why) })
		if _, err := r.conn.Send(ctx, mail("bart@example.com")); !errors.Is(err, why) {
			t.Errorf("error %v", err)
		}
	})
}

func TestAContextEndsASendThatIsBeingDialled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := setting{}.start(t, options{client: func(cfg *postrider.Config) {
			cfg.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}
		}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		result, err := r.conn.Send(ctx, mail("bart@example.com"))
		if took := time.Since(start); took != time.Second || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v after %v", err, took)
		}
		r.equal("outcomes", fates(result), "untried local 0")
		synctest.Wait()
		if st := r.conn.Stats(); st.Open || st.Queued > 0 {
			t.Errorf("the dial goes on for nobody: %+v", st)
		}
	})
}

func TestADoneContextTouchesNothing(t *testing.T) {
	inEverySetting(t, func(t *testing.T, s setting) {
		r := s.start(t, options{})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		result, err := r.conn.Send(ctx, mail("bart@example.com"))
		if !errors.Is(err, context.Canceled) || result.Count(postrider.Untried) != 1 {
			t.Errorf("%v, %v", result.Outcomes, err)
		}
		synctest.Wait()
		if n := r.server.ConnectionCount(); n != 0 {
			t.Errorf("%d connections", n)
		}
	})
}

// What a recipient was told before the end stands.
func TestARefusalStandsWhenTheContextEnds(t *testing.T) {
	for command, want := range map[string]string{"DATA": "untried", ".": "unknown"} {
		t.Run(command, func(t *testing.T) {
			inEverySetting(t, func(t *testing.T, s setting) {
				r := s.start(t, options{faults: []smtptest.Fault{
					{Command: "RCPT", Nth: 1, Reply: "550 5.1.1 no"}, {Command: "RCPT", Nth: 2, Reply: "450 4.2.1 later"},
					{Command: command, Delay: time.Minute},
				}})
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				result, _ := r.conn.Send(ctx, mail("a@example.com", "b@example.com", "c@example.com"))
				r.equal("outcomes", fates(result), "refused rcpt 550, deferred rcpt 450, "+want+" content 0")
			})
		})
	}
}

// A Send that waits for its turn behind another costs that one nothing.
func TestACancelledSendInTheQueueDisturbsNobody(t *testing.T) {
	inEverySetting(t, func(t *testing.T, s setting) {
		r := s.start(t, options{faults: []smtptest.Fault{{Command: ".", Nth: 1, Delay: time.Minute}}, client: func(cfg *postrider.Config) { cfg.Window = 1 }})
		first, third := r.after(0, "first@example.com"), r.after(time.Millisecond, "third@example.com")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		result, err := r.conn.Send(ctx, mail("second@example.com"))
		r.equal("the one that gave up", fates(result), "untried local 0")
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		r.equal("the first", <-first, "accepted content 250")
		r.equal("the third", <-third, "accepted content 250")
		if n := r.server.ConnectionCount(); n != 1 {
			t.Errorf("%d wires", n)
		}
	})
}

// after sends a message in a while, and gives what came of it.
func (r *rig) after(d time.Duration, to ...string) <-chan string {
	came := make(chan string, 1)
	go func() {
		time.Sleep(d)
		result, _ := r.conn.Send(r.t.Context(), mail(to...))
		came <- fates(result)
	}()
	synctest.Wait()
	return came
}

// Several wait for one dial: it goes on for those who are left.
func TestADialGoesOnForThoseWhoAreLeft(t *testing.T) {
	inEverySetting(t, func(t *testing.T, s setting) {
		r := s.start(t, options{faults: []smtptest.Fault{{Command: smtptest.Greeting, Delay: time.Minute}}})
		second := r.after(time.Millisecond, "second@example.com")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		result, _ := r.conn.Send(ctx, mail("first@example.com"))
		r.equal("the first", fates(result), "untried local 0")
		r.equal("the second", <-second, "accepted content 250")
		if n := r.server.ConnectionCount(); n != 1 {
			t.Errorf("%d wires", n)
		}
	})
}

// One of many in a window is cancelled: the others get what the server says. The
// cancelled one is Unknown, whether its end had left or is sure to leave.
func TestACancelledSendInAWindowDisturbsNobody(t *testing.T) {
	for _, chunking := range []bool{false, true} {
		inBubble(t, fmt.Sprintf("chunking %v", chunking), func(t *testing.T) {
			r := setting{pipelining: true}.start(t, options{server: func(s *smtptest.Server) { s.Extensions.Chunking = chunking }})
			for range 15 {
				r.accepted("anne@example.com") // the window grows to 8
			}
			r.server.Inject(smtptest.Fault{Command: ".", Nth: 1, Delay: time.Minute})
			var came []<-chan string
			for i := range 3 {
				came = append(came, r.after(0, fmt.Sprintf("before%d@example.com", i)))
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			came = append(came, r.after(time.Millisecond, "after@example.com"))
			result, _ := r.conn.Send(ctx, mail("second@example.com"))
			want := "untried local 0"
			if chunking {
				want = "unknown content 0"
			}
			r.equal("the one that gave up", fates(result), want)
			for _, c := range came {
				r.equal("another", <-c, "accepted content 250")
			}
			if n := r.server.ConnectionCount(); n != 1 {
				t.Errorf("%d wires", n)
			}
		})
	}
}

// An envelope that is larger than what the network holds: the Send is cancelled
// while it is being written, between neighbours. Its message will go out, so it
// must not be called Untried.
func TestACancelledSendWhoseEndWillLeaveIsUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := setting{pipelining: true}.start(t, options{server: func(s *smtptest.Server) {
			s.Extensions.Chunking, s.MaxRecipients = true, 1e6
		}})
		for range 3 {
			r.accepted("anne@example.com")
		}
		r.server.Inject(smtptest.Fault{Command: ".", Nth: 1, Delay: time.Minute})
		first := r.after(0, "first@example.com")
		var to []string
		for i := range 5000 {
			to = append(to, fmt.Sprintf("somebody.with.a.long.name.%d@example.com", i))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		m := mail(to...)
		m.From = "many@example.com"
		result, _ := r.conn.Send(ctx, m)
		r.equal("the neighbour", <-first, "accepted content 250")
		r.accepted("last@example.com")
		for _, got := range r.server.Messages() {
			if got.From == m.From && result.Count(postrider.Unknown) != len(to) {
				t.Errorf("the server took it for %d, and Send said Unknown of %d, Untried of %d",
					len(got.To), result.Count(postrider.Unknown), result.Count(postrider.Untried))
			}
		}
	})
}

// When a cancelled Send has returned, its Message is the caller's again, all of
// it. (The race detector looks on.)
func TestACancelledMessageIsTheCallersAgain(t *testing.T) {
	for _, size := range []int{100, 1 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			for _, command := range []string{smtptest.Greeting, "MAIL", "DATA", "."} {
				t.Run(command, func(t *testing.T) {
					inEverySetting(t, func(t *testing.T, s setting) {
						r := s.start(t, options{faults: []smtptest.Fault{{Command: command, Nth: 1, Delay: time.Minute}}})
						content := bytes.Repeat([]byte("line\r\n"), size/6)
						m := mail("bart@example.com")
						m.Content = postrider.Bytes(content)
						m.DSN.Notify = "NEVER"
						ctx, cancel := context.WithTimeout(t.Context(), time.Second)
						defer cancel()
						r.conn.Send(ctx, m)
						clear(content)
						m.To[0], m.From, m.DSN = "", "", postrider.DSN{}
						m.Content = postrider.Content{}
						time.Sleep(time.Hour)
						for _, got := range r.server.Messages() {
							if !bytes.Equal(got.Content, bytes.Repeat([]byte("line\r\n"), size/6)) {
								t.Errorf("the server took a content that was changed")
							}
						}
					})
				})
			}
		})
	}
}
