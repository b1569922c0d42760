package fault_test

import (
	"context"
	"errors"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/test/rig"
	"github.com/postrider/postrider/smtptest"
)

// Quit and Close: what they wait for, what they break off, and that nothing stays
// behind. A goroutine that does fails the bubble.

func TestQuitLetsWhatCameBeforeItFinish(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{Faults: []smtptest.Fault{{Command: ".", Delay: time.Minute}}})
		var came []<-chan string
		for range 3 {
			came = append(came, r.After(0, "bart@example.com"))
		}
		synctest.Wait()
		after := r.After(time.Second, "cate@example.com")
		r.Quit()
		if n := r.Conn.Stats().Accepted; n != 3 {
			t.Errorf("%d messages were accepted at the end of Quit", n)
		}
		for _, c := range append(came, after) {
			r.Equal("one of them", <-c, "accepted content 250")
		}
		if n := r.Server.ConnectionCount(); n != 2 {
			t.Errorf("%d wires: the one behind the Quit takes a new one", n)
		}
	})
}

func TestQuitWithoutAWireDoesNothing(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{})
		r.Quit()
		r.Accepted("bart@example.com")
		r.Quit()
		r.Quit()
		if st := r.Conn.Stats(); st.Open || st.Dials != 1 {
			t.Errorf("%+v", st)
		}
		r.Accepted("bart@example.com") // opens again
		r.Conn.Close()
		r.Quit()
		if n := r.Server.ConnectionCount(); n != 2 {
			t.Errorf("%d wires", n)
		}
	})
}

// A context that is done breaks off what is left, and Quit returns at that moment
// with its error.
func TestQuitEndsWithItsContextAtEveryStep(t *testing.T) {
	inEveryStep(t, func(t *testing.T, s rig.Setting, at step) {
		r := startAt(s, t, at, nil)
		came, behind := r.After(0, "bart@example.com"), r.After(0, "cate@example.com")
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		took := rig.Within(func() {
			if err := r.Conn.Quit(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error %v", err)
			}
		})
		if took != time.Second {
			t.Errorf("Quit returned after %v", took)
		}
		if got := <-came + " " + <-behind; !strings.Contains(got, at.state.String()) ||
			!strings.Contains(got, "untried") {
			t.Errorf("the messages: %s", got)
		}
		r.Accepted("dirk@example.com")
	})
}

// The context of a Quit may be done at once, or while QUIT is not answered: it is
// the same.
func TestQuitEndsWithItsContextAtQUIT(t *testing.T) {
	for _, patience := range []time.Duration{0, time.Second} {
		t.Run(patience.String(), func(t *testing.T) {
			rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
				r := s.Start(t, rig.Options{Faults: []smtptest.Fault{silence("QUIT", 1)}})
				r.Accepted("bart@example.com")
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				if took := rig.Within(func() { r.Conn.Quit(ctx) }); took != patience {
					t.Errorf("Quit took %v", took)
				}
				r.Accepted("cate@example.com")
			})
		})
	}
}

// A recipient who was put off to the next transaction does not keep a Quit that is
// over; that he was put off is what he is told.
func TestQuitDoesNotWaitForWhatGoesBackToTheQueue(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{Faults: []smtptest.Fault{
			{Command: "RCPT", Nth: 2, Reply: "452 4.5.3 too many"}, {Command: ".", Delay: time.Minute},
		}})
		came := r.After(0, "bart@example.com", "cate@example.com")
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if took := rig.Within(func() { r.Conn.Quit(ctx) }); took != time.Second {
			t.Errorf("Quit took %v", took)
		}
		r.Equal("outcomes", <-came, "unknown content 0, deferred rcpt 452")
	})
}

// A Quit that ends at the moment at which its context does leaves those alone who
// came behind it.
func TestALateQuitHarmsNobodyBehindIt(t *testing.T) {
	for range 100 { // the order of the two is not given
		synctest.Test(t, func(t *testing.T) {
			r := rig.Setting{Pipelining: true}.Start(t,
				rig.Options{Faults: []smtptest.Fault{{Command: "QUIT", Delay: time.Second}}})
			r.Accepted("bart@example.com")
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			var quit sync.WaitGroup
			quit.Go(func() { r.Conn.Quit(ctx) })
			synctest.Wait()
			r.Equal("the one behind it", <-r.After(0, "cate@example.com"), "accepted content 250")
			quit.Wait()
		})
	}
}

func TestCloseEndsEverythingAtEveryStep(t *testing.T) {
	inEveryStep(t, func(t *testing.T, s rig.Setting, at step) {
		r := startAt(s, t, at, nil)
		ctx, cancel := context.WithTimeout(t.Context(), rig.Guard)
		defer cancel()
		var sends sync.WaitGroup
		var results [2]*postrider.Result
		for i := range results {
			sends.Go(func() {
				time.Sleep(time.Duration(i))
				m := rig.Mail("bart@example.com", "cate@example.com")
				result, err := r.Conn.Send(ctx, m)
				rig.CheckAnswer(t, m, result, err)
				if !errors.Is(err, postrider.ErrClosed) {
					t.Errorf("error %v", err)
				}
				results[i] = result
			})
		}
		time.Sleep(time.Second)
		if took := rig.Within(func() { r.Conn.Close() }); took != 0 {
			t.Errorf("Close took %v", took)
		}
		sends.Wait()
		if results[0].Count(at.state) != 2 || results[1].Count(postrider.Untried) != 2 {
			t.Errorf("%v and %v", rig.Fates(results[0]), rig.Fates(results[1]))
		}
		if st := r.Conn.Stats(); st.Open || st.Queued > 0 || st.InFlight > 0 {
			t.Errorf("something is left: %+v", st)
		}
	})
}

// An idle wire is left with QUIT; its reply is not waited for.
func TestCloseSaysQUITAndDoesNotWait(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{Faults: []smtptest.Fault{{Command: "QUIT", Delay: time.Minute}}})
		r.Accepted("bart@example.com")
		if took := rig.Within(func() { r.Conn.Close() }); took != 0 {
			t.Errorf("Close took %v", took)
		}
		synctest.Wait()
		if n := r.Server.Commands("QUIT"); n != 1 {
			t.Errorf("%d QUITs", n)
		}
	})
}

func TestCloseEndsAQuitThatWaits(t *testing.T) {
	for _, command := range []string{".", "QUIT"} {
		t.Run(command, func(t *testing.T) {
			rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
				r := s.Start(t, rig.Options{Faults: []smtptest.Fault{silence(command, 1)}})
				came := r.After(0, "bart@example.com")
				synctest.Wait()
				var quit sync.WaitGroup
				quit.Go(func() { r.Conn.Quit(t.Context()) })
				time.Sleep(time.Second)
				if took := rig.Within(func() { r.Conn.Close(); quit.Wait(); <-came }); took != 0 {
					t.Errorf("Close took %v", took)
				}
			})
		})
	}
}

func TestAfterCloseThereIsOnlyErrClosed(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{})
		r.Accepted("bart@example.com")
		var closes sync.WaitGroup
		for range 5 {
			closes.Go(func() {
				if err := r.Conn.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			})
		}
		closes.Wait()
		for range 3 {
			result, err := r.Send("bart@example.com", "no address")
			if !errors.Is(err, postrider.ErrClosed) {
				t.Errorf("error %v", err)
			}
			r.Equal("outcomes", rig.Fates(result), "untried local 0, refused local 0")
			var e *postrider.Error
			if errors.As(err, &e) && e.Temporary() {
				t.Errorf("it will pass? %v", err)
			}
		}
		if n := r.Server.ConnectionCount(); n != 1 {
			t.Errorf("%d wires", n)
		}
	})
}

// Close and a first Send that come together: Close does not wait for a server that
// says nothing.
func TestCloseDoesNotWaitForADialThatBegins(t *testing.T) {
	if runtime.GOMAXPROCS(0) == 1 {
		t.Skip("it takes two processors to race")
	}
	for range 300 { // the order is not given
		synctest.Test(t, func(t *testing.T) {
			r := rig.Setting{}.Start(t, rig.Options{Faults: []smtptest.Fault{silence(smtptest.Greeting, 1)}})
			came := make(chan string, 1)
			go func() {
				result, _ := r.Conn.Send(t.Context(), rig.Mail("bart@example.com"))
				came <- rig.Fates(result)
			}()
			for r.Conn.Stats().Queued == 0 { // until the engine is about to begin
			}
			if took := rig.Within(func() { r.Conn.Close() }); took != 0 {
				t.Fatalf("Close took %v", took)
			}
			r.Equal("outcomes", <-came, "untried local 0")
		})
	}
}

func TestCloseEndsADial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rig.Setting{}.Start(t, rig.Options{Client: func(cfg *postrider.Config) {
			cfg.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}
		}})
		came := r.After(0, "bart@example.com")
		time.Sleep(time.Second)
		if took := rig.Within(func() { r.Conn.Close() }); took != 0 {
			t.Errorf("Close took %v", took)
		}
		r.Equal("outcomes", <-came, "untried local 0")
	})
}
