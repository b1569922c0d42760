//go:build linux

package interop_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/mtatest"
)

// The Pool against a real Postfix, whose limits are its own and not a test server's.

// poolOn returns a pool of up to six connections to a Postfix.
func poolOn(t *testing.T, s *mtatest.Server, password string, trace *postrider.Trace) *postrider.Pool {
	t.Helper()
	cfg := configFor(t, s)
	cfg.Password, cfg.Trace = postrider.NewSecret(password), trace
	cfg.Window = 2 // so that one or two connections are not enough
	pool, err := postrider.NewPool(postrider.PoolConfig{MaxConnections: 6}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := pool.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return pool
}

// pressed sends messages 0 to n-1 from 32 goroutines, those that were Untried again
// when their server may be back, and calls after for each result, one at a time.
func pressed(t *testing.T, pool *postrider.Pool, n int, after func()) (unknown map[int]bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	next := make(chan int, n)
	for i := range n {
		next <- i
	}
	close(next)
	unknown = map[int]bool{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 32 {
		all.Go(func() {
			for i := range next {
				o, err := persistent(ctx, pool, i)
				mu.Lock()
				switch o.State {
				case postrider.Unknown:
					unknown[i] = true
				case postrider.Accepted:
				default:
					t.Errorf("message %d: %v %v", i, o, err)
				}
				after()
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return unknown
}

// persistent sends a message until it is not Untried, as a queue would.
func persistent(ctx context.Context, pool *postrider.Pool, i int) (postrider.Outcome, error) {
	m := &postrider.Message{From: "anne@example.com", To: []string{fmt.Sprintf("member%d@example.com", i)},
		Content: postrider.Bytes([]byte(header(i) + "\r\nbody\r\n"))}
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		r, err := pool.Send(ctx, m)
		if r.Outcomes[0].State != postrider.Untried || ctx.Err() != nil {
			return r.Outcomes[0], err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
}

// checkPool reads Postfix's queue: each message once, an Unknown one at most.
func checkPool(t *testing.T, server *mtatest.Server, n int, unknown map[int]bool) {
	t.Helper()
	found := map[string]int{}
	for _, m := range server.Messages(t) {
		found[string(m.Content)]++
	}
	for i := range n {
		if got := found[header(i)+"\r\nbody\r\n"]; got > 1 || got == 0 && !unknown[i] {
			t.Errorf("message %d is %d times in the queue", i, got)
		}
	}
}

// Postfix takes two connections of a client and refuses the third by 421, and it does
// not make an exception. The pool is allowed six, and finds out.
func TestPoolKeepsToPostfixsLimit(t *testing.T) {
	server := mtatest.Postfix(t, mtatest.Options{Extra: []string{
		"smtpd_client_connection_count_limit = 2", "smtpd_client_event_limit_exceptions =",
	}})
	pool := poolOn(t, server, "", nil)
	unknown := pressed(t, pool, 200, func() {})
	s := pool.Stats()
	if s.Accepted != 200 || s.Unknown != 0 || s.Untried != 0 {
		t.Errorf("%+v", s)
	}
	if s.DialFailures == 0 || s.Servers[0].Limit > 3 {
		t.Errorf("the limit was not met, or not learnt: %+v", s)
	}
	checkPool(t, server, 200, unknown)
	t.Logf("%+v", s)
}

// A Postfix that is stopped in the middle, and started again: what was underway is
// Untried or Unknown, and nothing is there twice.
func TestPoolOutlivesARestartOfPostfix(t *testing.T) {
	server := mtatest.Postfix(t, mtatest.Options{})
	pool := poolOn(t, server, "", nil)
	const n = 200
	done, quarter, half, end := 0, make(chan struct{}), make(chan struct{}), make(chan struct{})
	var unknown map[int]bool
	go func() {
		defer close(end)
		unknown = pressed(t, pool, n, func() {
			switch done++; done {
			case n / 4:
				close(quarter)
			case n / 2:
				close(half)
			}
		})
	}()
	<-quarter
	server.Reload(t)
	<-half
	server.Restart(t)
	<-end
	checkPool(t, server, n, unknown)
	t.Logf("%d Unknown; %+v", len(unknown), pool.Stats())
}

// A wrong password is tried once, not once for each of six connections or twenty
// messages, and each Send says why.
func TestPoolTriesAWrongPasswordOnce(t *testing.T) {
	server := mtatest.Postfix(t, mtatest.Options{Mode: mtatest.StartTLS, User: mtatest.User,
		Password: mtatest.Password})
	var attempts atomic.Int32 // the server logs them too, but later
	pool := poolOn(t, server, "wrong", &postrider.Trace{Event: func(e postrider.Event) {
		if e.Kind == postrider.EventAuthenticated {
			attempts.Add(1)
		}
	}})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			r, err := pool.Send(ctx, &postrider.Message{From: "anne@example.com", To: []string{"bart@example.com"},
				Content: postrider.Bytes([]byte(header(i)))})
			var e *postrider.Error
			if r.Outcomes[0].State != postrider.Untried || !errors.As(err, &e) || e.Step != "AUTH" ||
				e.Reply.Code != 535 {
				t.Errorf("message %d: %v", i, err)
			}
		})
	}
	all.Wait()
	if n := attempts.Load(); n != 1 {
		t.Errorf("%d attempts", n)
	}
	if s := pool.Stats(); !s.Servers[0].Down {
		t.Errorf("%+v", s.Servers)
	}
}
