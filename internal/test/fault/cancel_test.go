package fault_test

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
	"github.com/postrider/postrider/internal/test/rig"
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
			inEveryStep(t, func(t *testing.T, s rig.Setting, at step) {
				r := startAt(s, t, at, nil)
				ctx, cancel := ending(t.Context())
				defer cancel()
				m := rig.Mail("bart@example.com", "cate@example.com")
				start := time.Now()
				result, err := r.Conn.Send(ctx, m)
				if took := time.Since(start); took != time.Second {
					t.Errorf("Send returned after %v", took)
				}
				rig.CheckAnswer(t, m, result, err)
				if !errors.Is(err, ctx.Err()) {
					t.Errorf("error %v is not %v", err, ctx.Err())
				}
				if result.Count(at.state) != 2 {
					t.Errorf("outcomes %v", rig.Fates(result))
				}
				r.Accepted("dirk@example.com") // without a wait, on another wire
				if took := time.Since(start); took != time.Second {
					t.Errorf("the next message waited for %v", took)
				}
			})
		})
	}
}

// The cause of a context is told, and found.
func TestTheCauseOfAContextIsTold(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		why := errors.New("the user lost interest")
		r := s.Start(t, rig.Options{Faults: []smtptest.Fault{silence("RCPT", 1)}})
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(why) })
		if _, err := r.Conn.Send(ctx, rig.Mail("bart@example.com")); !errors.Is(err, why) {
			t.Errorf("error %v", err)
		}
	})
}

func TestAContextEndsASendThatIsBeingDialled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rig.Setting{}.Start(t, rig.Options{Client: func(cfg *postrider.Config) {
			cfg.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}
		}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		result, err := r.Conn.Send(ctx, rig.Mail("bart@example.com"))
		if took := time.Since(start); took != time.Second || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v after %v", err, took)
		}
		r.Equal("outcomes", rig.Fates(result), "untried local 0")
		synctest.Wait()
		if st := r.Conn.Stats(); st.Open || st.Queued > 0 {
			t.Errorf("the dial goes on for nobody: %+v", st)
		}
	})
}

func TestADoneContextTouchesNothing(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		result, err := r.Conn.Send(ctx, rig.Mail("bart@example.com"))
		if !errors.Is(err, context.Canceled) || result.Count(postrider.Untried) != 1 {
			t.Errorf("%v, %v", result.Outcomes, err)
		}
		synctest.Wait()
		if n := r.Server.ConnectionCount(); n != 0 {
			t.Errorf("%d connections", n)
		}
	})
}

// What a recipient was told before the end stands.
func TestARefusalStandsWhenTheContextEnds(t *testing.T) {
	for command, want := range map[string]string{"DATA": "untried", ".": "unknown"} {
		t.Run(command, func(t *testing.T) {
			rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
				r := s.Start(t, rig.Options{Faults: []smtptest.Fault{
					{Command: "RCPT", Nth: 1, Reply: "550 5.1.1 no"},
					{Command: "RCPT", Nth: 2, Reply: "450 4.2.1 later"},
					{Command: command, Delay: time.Minute},
				}})
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				result, _ := r.Conn.Send(ctx, rig.Mail("a@example.com", "b@example.com", "c@example.com"))
				r.Equal("outcomes", rig.Fates(result), "refused rcpt 550, deferred rcpt 450, "+want+" content 0")
			})
		})
	}
}

// A Send that waits for its turn behind another costs that one nothing.
func TestACancelledSendInTheQueueDisturbsNobody(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{
			Faults: []smtptest.Fault{{Command: ".", Nth: 1, Delay: time.Minute}},
			Client: func(cfg *postrider.Config) { cfg.Window = 1 },
		})
		first, third := r.After(0, "first@example.com"), r.After(time.Millisecond, "third@example.com")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		result, err := r.Conn.Send(ctx, rig.Mail("second@example.com"))
		r.Equal("the one that gave up", rig.Fates(result), "untried local 0")
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		r.Equal("the first", <-first, "accepted content 250")
		r.Equal("the third", <-third, "accepted content 250")
		if n := r.Server.ConnectionCount(); n != 1 {
			t.Errorf("%d wires", n)
		}
	})
}

// Several wait for one dial: it goes on for those who are left.
func TestADialGoesOnForThoseWhoAreLeft(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{Faults: []smtptest.Fault{{Command: smtptest.Greeting, Delay: time.Minute}}})
		second := r.After(time.Millisecond, "second@example.com")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		result, _ := r.Conn.Send(ctx, rig.Mail("first@example.com"))
		r.Equal("the first", rig.Fates(result), "untried local 0")
		r.Equal("the second", <-second, "accepted content 250")
		if n := r.Server.ConnectionCount(); n != 1 {
			t.Errorf("%d wires", n)
		}
	})
}

// One of many in a window is cancelled: the others get what the server says. The
// cancelled one is Unknown, whether its end had left or is sure to leave.
func TestACancelledSendInAWindowDisturbsNobody(t *testing.T) {
	for _, chunking := range []bool{false, true} {
		rig.InBubble(t, fmt.Sprintf("chunking %v", chunking), func(t *testing.T) {
			r := rig.Setting{Pipelining: true}.Start(t,
				rig.Options{Server: func(s *smtptest.Server) { s.Extensions.Chunking = chunking }})
			for range 15 {
				r.Accepted("anne@example.com") // the window grows to 8
			}
			r.Server.Inject(smtptest.Fault{Command: ".", Nth: 1, Delay: time.Minute})
			var came []<-chan string
			for i := range 3 {
				came = append(came, r.After(0, fmt.Sprintf("before%d@example.com", i)))
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			came = append(came, r.After(time.Millisecond, "after@example.com"))
			result, _ := r.Conn.Send(ctx, rig.Mail("second@example.com"))
			want := "untried local 0"
			if chunking {
				want = "unknown content 0"
			}
			r.Equal("the one that gave up", rig.Fates(result), want)
			for _, c := range came {
				r.Equal("another", <-c, "accepted content 250")
			}
			if n := r.Server.ConnectionCount(); n != 1 {
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
		r := rig.Setting{Pipelining: true}.Start(t, rig.Options{Server: func(s *smtptest.Server) {
			s.Extensions.Chunking, s.MaxRecipients = true, 1e6
		}})
		for range 3 {
			r.Accepted("anne@example.com")
		}
		r.Server.Inject(smtptest.Fault{Command: ".", Nth: 1, Delay: time.Minute})
		first := r.After(0, "first@example.com")
		var to []string
		for i := range 5000 {
			to = append(to, fmt.Sprintf("somebody.with.a.long.name.%d@example.com", i))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		m := rig.Mail(to...)
		m.From = "many@example.com"
		result, _ := r.Conn.Send(ctx, m)
		r.Equal("the neighbour", <-first, "accepted content 250")
		r.Accepted("last@example.com")
		for _, got := range r.Server.Messages() {
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
					rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
						r := s.Start(t,
							rig.Options{Faults: []smtptest.Fault{{Command: command, Nth: 1, Delay: time.Minute}}})
						content := bytes.Repeat([]byte("line\r\n"), size/6)
						m := rig.Mail("bart@example.com")
						m.Content = postrider.Bytes(content)
						m.Options = []postrider.RecipientOptions{{Notify: "NEVER"}}
						ctx, cancel := context.WithTimeout(t.Context(), time.Second)
						defer cancel()
						r.Conn.Send(ctx, m)
						clear(content)
						m.To[0], m.From, m.Options[0] = "", "", postrider.RecipientOptions{}
						m.Content = postrider.Content{}
						time.Sleep(time.Hour)
						for _, got := range r.Server.Messages() {
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
