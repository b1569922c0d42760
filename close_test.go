package postrider_test

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
	"github.com/postrider/postrider/smtptest"
)

// Quit and Close: what they wait for, what they break off, and that nothing stays
// behind. A goroutine that does fails the bubble.

// within runs f and says how long it took.
func within(f func()) time.Duration {
	start := time.Now()
	f()
	return time.Since(start)
}

func TestQuitLetsWhatCameBeforeItFinish(t *testing.T) {
	inEverySetting(t, func(t *testing.T, s setting) {
		r := s.start(t, options{faults: []smtptest.Fault{{Command: ".", Delay: time.Minute}}})
		var came []<-chan string
		for range 3 {
			came = append(came, r.after(0, "bart@example.com"))
		}
		synctest.Wait()
		after := r.after(time.Second, "cate@example.com")
		r.quit()
		if n := r.conn.Stats().Accepted; n != 3 {
			t.Errorf("%d messages were accepted at the end of Quit", n)
		}
		for _, c := range append(came, after) {
			r.equal("one of them", <-c, "accepted content 250")
		}
		if n := r.server.ConnectionCount(); n != 2 {
			t.Errorf("%d wires: the one behind the Quit takes a new one", n)
		}
	})
}

func TestQuitWithoutAWireDoesNothing(t *testing.T) {
	inEverySetting(t, func(t *testing.T, s setting) {
		r := s.start(t, options{})
		r.quit()
		r.accepted("bart@example.com")
		r.quit()
		r.quit()
		if st := r.conn.Stats(); st.Open || st.Dials != 1 {
			t.Errorf("%+v", st)
		}
		r.accepted("bart@example.com") // opens anew
		r.conn.Close()
		r.quit()
		if n := r.server.ConnectionCount(); n != 2 {
			t.Errorf("%d wires", n)
		}
	})
}

// A context that is done breaks off what is left, and Quit returns at that moment
// with its error.
func TestQuitEndsWithItsContextAtEveryStep(t *testing.T) {
	inEveryStep(t, func(t *testing.T, s setting, at step) {
		r := s.startAt(t, at, nil)
		came, behind := r.after(0, "bart@example.com"), r.after(0, "cate@example.com")
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		took := within(func() {
			if err := r.conn.Quit(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error %v", err)
			}
		})
		if took != time.Second {
			t.Errorf("Quit returned after %v", took)
		}
		if got := <-came + " " + <-behind; !strings.Contains(got, at.state.String()) || !strings.Contains(got, "untried") {
			t.Errorf("the messages: %s", got)
		}
		r.accepted("dirk@example.com")
	})
}

// The context of a Quit may be done at once, or while QUIT is not answered: it is
// the same.
func TestQuitEndsWithItsContextAtQUIT(t *testing.T) {
	for _, patience := range []time.Duration{0, time.Second} {
		t.Run(patience.String(), func(t *testing.T) {
			inEverySetting(t, func(t *testing.T, s setting) {
				r := s.start(t, options{faults: []smtptest.Fault{silence("QUIT", 1)}})
				r.accepted("bart@example.com")
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				if took := within(func() { r.conn.Quit(ctx) }); took != patience {
					t.Errorf("Quit took %v", took)
				}
				r.accepted("cate@example.com")
			})
		})
	}
}

// A recipient who was put off to the next transaction does not keep a Quit that is
// over; that he was put off is what he is told.
func TestQuitDoesNotWaitForWhatGoesBackToTheQueue(t *testing.T) {
	inEverySetting(t, func(t *testing.T, s setting) {
		r := s.start(t, options{faults: []smtptest.Fault{{Command: "RCPT", Nth: 2, Reply: "452 4.5.3 too many"}, {Command: ".", Delay: time.Minute}}})
		came := r.after(0, "bart@example.com", "cate@example.com")
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if took := within(func() { r.conn.Quit(ctx) }); took != time.Second {
			t.Errorf("Quit took %v", took)
		}
		r.equal("outcomes", <-came, "unknown content 0, deferred rcpt 452")
	})
}

// A Quit that ends at the moment at which its context does leaves those alone who
// came behind it.
func TestALateQuitHarmsNobodyBehindIt(t *testing.T) {
	for range 100 { // the order of the two is not given
		synctest.Test(t, func(t *testing.T) {
			r := setting{pipelining: true}.start(t, options{faults: []smtptest.Fault{{Command: "QUIT", Delay: time.Second}}})
			r.accepted("bart@example.com")
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			var quit sync.WaitGroup
			quit.Go(func() { r.conn.Quit(ctx) })
			synctest.Wait()
			r.equal("the one behind it", <-r.after(0, "cate@example.com"), "accepted content 250")
			quit.Wait()
		})
	}
}

func TestCloseEndsEverythingAtEveryStep(t *testing.T) {
	inEveryStep(t, func(t *testing.T, s setting, at step) {
		r := s.startAt(t, at, nil)
		ctx, cancel := context.WithTimeout(t.Context(), guard)
		defer cancel()
		var sends sync.WaitGroup
		var results [2]*postrider.Result
		for i := range results {
			sends.Go(func() {
				time.Sleep(time.Duration(i))
				m := mail("bart@example.com", "cate@example.com")
				result, err := r.conn.Send(ctx, m)
				checkAnswer(t, m, result, err)
				if !errors.Is(err, postrider.ErrClosed) {
					t.Errorf("error %v", err)
				}
				results[i] = result
			})
		}
		time.Sleep(time.Second)
		if took := within(func() { r.conn.Close() }); took != 0 {
			t.Errorf("Close took %v", took)
		}
		sends.Wait()
		if results[0].Count(at.state) != 2 || results[1].Count(postrider.Untried) != 2 {
			t.Errorf("%v and %v", fates(results[0]), fates(results[1]))
		}
		if st := r.conn.Stats(); st.Open || st.Queued > 0 || st.InFlight > 0 {
			t.Errorf("something is left: %+v", st)
		}
	})
}

// An idle wire is left with QUIT; its reply is not waited for.
func TestCloseSaysQUITAndDoesNotWait(t *testing.T) {
	inEverySetting(t, func(t *testing.T, s setting) {
		r := s.start(t, options{faults: []smtptest.Fault{{Command: "QUIT", Delay: time.Minute}}})
		r.accepted("bart@example.com")
		if took := within(func() { r.conn.Close() }); took != 0 {
			t.Errorf("Close took %v", took)
		}
		synctest.Wait()
		if n := r.server.Commands("QUIT"); n != 1 {
			t.Errorf("%d QUITs", n)
		}
	})
}

func TestCloseEndsAQuitThatWaits(t *testing.T) {
	for _, command := range []string{".", "QUIT"} {
		t.Run(command, func(t *testing.T) {
			inEverySetting(t, func(t *testing.T, s setting) {
				r := s.start(t, options{faults: []smtptest.Fault{silence(command, 1)}})
				came := r.after(0, "bart@example.com")
				synctest.Wait()
				var quit sync.WaitGroup
				quit.Go(func() { r.conn.Quit(t.Context()) })
				time.Sleep(time.Second)
				if took := within(func() { r.conn.Close(); quit.Wait(); <-came }); took != 0 {
					t.Errorf("Close took %v", took)
				}
			})
		})
	}
}

func TestAfterCloseThereIsOnlyErrClosed(t *testing.T) {
	inEverySetting(t, func(t *testing.T, s setting) {
		r := s.start(t, options{})
		r.accepted("bart@example.com")
		var closes sync.WaitGroup
		for range 5 {
			closes.Go(func() {
				if err := r.conn.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			})
		}
		closes.Wait()
		for range 3 {
			result, err := r.send("bart@example.com", "no address")
			if !errors.Is(err, postrider.ErrClosed) {
				t.Errorf("error %v", err)
			}
			r.equal("outcomes", fates(result), "untried local 0, refused local 0")
			var e *postrider.Error
			if errors.As(err, &e) && e.Temporary() {
				t.Errorf("it will pass? %v", err)
			}
		}
		if n := r.server.ConnectionCount(); n != 1 {
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
			r := setting{}.start(t, options{faults: []smtptest.Fault{silence(smtptest.Greeting, 1)}})
			came := make(chan string, 1)
			go func() {
				result, _ := r.conn.Send(t.Context(), mail("bart@example.com"))
				came <- fates(result)
			}()
			for r.conn.Stats().Queued == 0 { // until the engine is about to begin
			}
			if took := within(func() { r.conn.Close() }); took != 0 {
				t.Fatalf("Close took %v", took)
			}
			r.equal("outcomes", <-came, "untried local 0")
		})
	}
}

func TestCloseEndsADial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := setting{}.start(t, options{client: func(cfg *postrider.Config) {
			cfg.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}
		}})
		came := r.after(0, "bart@example.com")
		time.Sleep(time.Second)
		if took := within(func() { r.conn.Close() }); took != 0 {
			t.Errorf("Close took %v", took)
		}
		r.equal("outcomes", <-came, "untried local 0")
	})
}
