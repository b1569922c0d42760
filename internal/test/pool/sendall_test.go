package pool_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/test/rig"
	"github.com/postrider/postrider/smtptest"
)

// counted yields n numbered messages, and counts those that were taken. It takes a millisecond for each, so that
// each is in the line before the next.
func counted(n int, taken *atomic.Int64) iter.Seq[*postrider.Message] {
	return func(yield func(*postrider.Message) bool) {
		for i := range n {
			taken.Add(1)
			if !yield(rig.NumberedMail(i)) {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}
}

// startSlow starts a pool of two connections that carry four messages each, to servers that take a second
// for each content.
func startSlow(t *testing.T, servers int) (*postrider.Pool, []*smtptest.Server) {
	t.Helper()
	var all []*smtptest.Server
	var configs []postrider.Config
	for i := range servers {
		s := startServer(t, fmt.Sprintf("mx%d:25", i), func(s *smtptest.Server) {
			s.Faults = []smtptest.Fault{{Command: ".", Delay: time.Second}}
		})
		cfg := s.Config()
		cfg.Window, cfg.Weight = 4, 1
		all, configs = append(all, s), append(configs, cfg)
	}
	return startPool(t, postrider.PoolConfig{MaxConnections: 2}, configs...), all
}

// ahead is how many messages may be ahead of the results in a pool of startSlow: 2 × MaxConnections × Window.
const ahead = 2 * 2 * 4

func received(servers []*smtptest.Server) (n int) {
	for _, s := range servers {
		n += len(s.Messages())
	}
	return n
}

// The results come in the order of the sequence, whatever overtakes what on the wires, and refused messages
// among them.
func TestSendAllKeepsTheOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, servers := startSlow(t, 2)
		for _, s := range servers {
			s.Inject(smtptest.Fault{Command: "MAIL", Address: "m7@example.com", Reply: "550 5.7.1 no"},
				smtptest.Fault{Command: "MAIL", Address: "m3@example.com", Delay: time.Minute})
		}
		const n = 100
		var taken atomic.Int64
		i := 0
		for r, err := range p.SendAll(t.Context(), counted(n, &taken)) {
			if want := fmt.Sprintf("m%d@example.com", i); r.Message.From != want {
				t.Fatalf("result %d is of %s", i, r.Message.From)
			}
			if refused := i == 7; (err != nil) != refused || (r.Count(postrider.Refused) == 1) != refused {
				t.Errorf("%d: %v, %v", i, r.Outcomes, err)
			}
			i++
		}
		if got := received(servers); i != n || got != n-1 || p.Stats().Accepted != n-1 {
			t.Errorf("%d results, the servers took %d, %+v", i, got, p.Stats())
		}
		if len(servers[0].Messages()) == 0 || len(servers[1].Messages()) == 0 {
			t.Error("one server got nothing")
		}
	})
}

// The sequence is a bounded number of messages ahead of the results, however slow the loop is.
func TestSendAllIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := startSlow(t, 1)
		var taken atomic.Int64
		results := int64(0)
		for _, err := range p.SendAll(t.Context(), counted(100, &taken)) {
			if err != nil {
				t.Error(err)
			}
			results++
			time.Sleep(time.Minute)
			synctest.Wait()
			if got, want := taken.Load(), min(100, results+ahead); got != want {
				t.Fatalf("%d messages were taken after %d results; want %d", got, results, want)
			}
		}
	})
}

// Leaving the loop takes back what was not begun, and waits for what was.
func TestLeavingALoopOverPoolSendAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defer time.Sleep(time.Second) // the sequence is not waited for
		var reported atomic.Int64
		s := startServer(t, "mx:25", func(s *smtptest.Server) {
			s.Faults = []smtptest.Fault{{Command: ".", Delay: time.Second}}
		})
		cfg := s.Config()
		cfg.Window = 4
		cfg.Trace = rig.OnEvent(postrider.EventTransaction, func(postrider.Event) { reported.Add(1) })
		p := startPool(t, postrider.PoolConfig{MaxConnections: 2}, cfg)
		var taken atomic.Int64
		for range p.SendAll(t.Context(), counted(1000, &taken)) {
			break
		}
		n := int64(len(s.Messages()))
		if st := p.Stats(); st.Accepted != n || st.Accepted+st.Untried != taken.Load() || st.InFlight > 0 ||
			st.Queued > 0 {
			t.Errorf("taken %d, received %d: %+v", taken.Load(), n, st)
		}
		if n >= taken.Load() || n != reported.Load() {
			t.Errorf("of %d messages %d were sent, and %d reported", taken.Load(), n, reported.Load())
		}
		if _, err := p.Send(t.Context(), rig.NumberedMail(1)); err != nil { // the pool goes on
			t.Error(err)
		}
	})
}

// A message that waits for its turn by the rate is not begun.
func TestLeavingALoopEndsTheWaitForTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defer time.Sleep(time.Second) // the sequence is not waited for
		s := startServer(t, "mx:25", nil)
		p := startPool(t, postrider.PoolConfig{MessageRate: 0.01}, s.Config())
		began := time.Now()
		var taken atomic.Int64
		for range p.SendAll(t.Context(), counted(10, &taken)) {
			break
		}
		if took := time.Since(began); took != 0 || len(s.Messages()) != 1 {
			t.Errorf("it took %v, and %d were sent", took, len(s.Messages()))
		}
	})
}

// A message that has a place, but waits for the next wire, is not begun.
func TestLeavingALoopEndsTheWaitForAWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defer time.Sleep(time.Second) // the sequence is not waited for
		s := startServer(t, "mx:25", func(s *smtptest.Server) {
			s.Faults = []smtptest.Fault{
				{Command: ".", Delay: time.Second}, {Command: smtptest.Greeting, Connection: 2, Delay: time.Minute},
			}
		})
		cfg := s.Config()
		cfg.MaxTransactions = 3
		p := startPool(t, postrider.PoolConfig{MaxConnections: 1}, cfg)
		var taken atomic.Int64
		var left time.Time
		n := 0
		for range p.SendAll(t.Context(), counted(20, &taken)) {
			if n++; n == 3 {
				time.Sleep(time.Second) // the next wire is being opened
				left = time.Now()
				break
			}
		}
		if took := time.Since(left); took != 0 || len(s.Messages()) != 3 {
			t.Errorf("leaving took %v, and %d were sent", took, len(s.Messages()))
		}
	})
}

// A message that a server has turned away was begun: it goes on to the next server, also behind the loop.
func TestLeavingALoopFinishesWhatMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defer time.Sleep(time.Second) // the sequence is not waited for
		first := startServer(t, "mx1:25", func(s *smtptest.Server) {
			s.Faults = []smtptest.Fault{{Command: "MAIL", Address: "m1@example.com", Reply: "421 4.3.0 not now"}}
		})
		second := startServer(t, "mx2:25", func(s *smtptest.Server) {
			s.Faults = []smtptest.Fault{{Command: smtptest.Greeting, Delay: time.Minute}}
		})
		p := startPool(t, postrider.PoolConfig{}, first.Config(), second.Config())
		var taken atomic.Int64
		for range p.SendAll(t.Context(), counted(2, &taken)) {
			time.Sleep(10 * time.Second) // it waits for a place at the second server
			break
		}
		if st := p.Stats(); len(second.Messages()) != 1 || st.Accepted != 2 {
			t.Errorf("the second server took %d: %+v", len(second.Messages()), st)
		}
	})
}

// When the context is done, everything that was taken has a result, and the loop ends.
func TestPoolSendAllEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defer time.Sleep(time.Second) // the sequence is not waited for
		p, servers := startSlow(t, 1)
		servers[0].Inject(smtptest.Fault{Command: ".", Nth: 3, Answer: smtptest.AnswerNone, Then: smtptest.ThenHang})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		began := time.Now()
		var taken atomic.Int64
		results := int64(0)
		for r, err := range p.SendAll(ctx, counted(1000, &taken)) {
			results++
			if err != nil && (!errors.Is(err, context.DeadlineExceeded) || r.Count(postrider.Accepted) > 0) {
				t.Errorf("%v, %v", r.Outcomes, err)
			}
		}
		if took := time.Since(began); took != 10*time.Second || results != taken.Load() {
			t.Errorf("after %v: %d results of %d messages", took, results, taken.Load())
		}
	})
}

// Behind Shutdown every message of the sequence gets ErrClosed; those before it are finished.
func TestPoolSendAllBehindShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, servers := startSlow(t, 1)
		var taken atomic.Int64
		var closed []bool
		for _, err := range p.SendAll(t.Context(), counted(100, &taken)) {
			if err != nil && !errors.Is(err, postrider.ErrClosed) {
				t.Error(err)
			}
			closed = append(closed, err != nil)
			if len(closed) == 10 {
				if err := p.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
			}
		}
		first := slices.Index(closed, true)
		if len(closed) != 100 || first < 10 || slices.Contains(closed[first:], false) || received(servers) != first {
			t.Errorf("%d results, the first closed is number %d, the server took %d", len(closed), first,
				received(servers))
		}
	})
}

// broken is a content whose reader panics.
func broken() postrider.Content {
	return postrider.Func(func() (io.ReadCloser, error) { panic("content") })
}

// A panic of the sequence, or of a content, goes on in the loop; what was begun is finished, and the pool goes on.
func TestPanicsInPoolSendAll(t *testing.T) {
	for name, fail := range map[string]func(yield func(*postrider.Message) bool){
		"sequence": func(func(*postrider.Message) bool) { panic("sequence") },
		"content": func(yield func(*postrider.Message) bool) {
			yield(&postrider.Message{From: "a@example.com", To: []string{"b@example.com"}, Content: broken()})
		},
		"no message": func(yield func(*postrider.Message) bool) { yield(nil) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, servers := startSlow(t, 1)
				if !recovered(func() {
					for range p.SendAll(t.Context(), func(yield func(*postrider.Message) bool) {
						for i := range 3 {
							if !yield(rig.NumberedMail(i)) {
								return
							}
						}
						time.Sleep(time.Second / 2) // two are underway: a new wire takes one at a time
						fail(yield)
					}) {
					}
				}) {
					t.Error("the panic did not go on")
				}
				st, sent := p.Stats(), received(servers)
				if int(st.Accepted) != sent || sent < 2 || name != "sequence" && sent != 3 || st.InFlight > 0 {
					t.Errorf("%+v, and the server took %d", st, sent)
				}
				if _, err := p.Send(t.Context(), rig.NumberedMail(9)); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A panic of the loop's body goes on as well, and what was begun is finished before.
func TestPanicInTheBodyOfPoolSendAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defer time.Sleep(time.Second) // the sequence is not waited for
		p, servers := startSlow(t, 1)
		var taken atomic.Int64
		if !recovered(func() {
			for range p.SendAll(t.Context(), counted(100, &taken)) {
				panic("body")
			}
		}) {
			t.Error("the panic did not go on")
		}
		if st := p.Stats(); st.InFlight > 0 || st.Queued > 0 || int(st.Accepted) != received(servers) {
			t.Errorf("%+v, and the server took %d", st, received(servers))
		}
	})
}
