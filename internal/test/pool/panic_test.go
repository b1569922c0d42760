package pool_test

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/test/rig"
	"github.com/postrider/postrider/smtptest"
)

// recovered calls f, and reports whether it panicked.
func recovered(f func()) (panicked bool) {
	defer func() { panicked = recover() != nil }()
	f()
	return false
}

type panicking struct{}

func (panicking) Read([]byte) (int, error) { panic("read") }

// A panic on the goroutine of Send goes on to its caller, and leaves the pool as if that Send had never been: nothing
// is counted as underway, no seat is lost, no place in the line, and Close returns at once.
func TestPanicsOfTheCallerLeaveNothingBehind(t *testing.T) {
	for name, fail := range map[string]func(p *postrider.Pool, redirecting *bool){
		//lint:ignore SA1012 that is the case
		"no context": func(p *postrider.Pool, _ *bool) { p.Send(nil, rig.NumberedMail(0)) },
		"no message": func(p *postrider.Pool, _ *bool) { p.Send(context.Background(), nil) },
		"Open": func(p *postrider.Pool, _ *bool) {
			p.Send(context.Background(), opening(func() { panic("open") }))
		},
		"Read": func(p *postrider.Pool, _ *bool) { p.Send(context.Background(), opening(func() {})) },
		"Redirect": func(p *postrider.Pool, on *bool) {
			*on = true
			p.Send(context.Background(), rig.NumberedMail(0))
		},
		"SendMail no context": func(p *postrider.Pool, _ *bool) {
			//lint:ignore SA1012 that is the case
			p.SendMail(nil, "a@example.com", []string{"b@example.com"}, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				redirecting := false
				s := startServer(t, "mx:25", func(s *smtptest.Server) { s.Extensions.Pipelining = false })
				cfg := s.Config()
				cfg.Redirect = func() (string, bool) {
					if redirecting {
						panic("redirect")
					}
					return "", false
				}
				p := startPool(t, postrider.PoolConfig{MaxConnections: 1}, cfg)
				for range 3 { // as the first Send, with a wire open, and again
					if !recovered(func() { fail(p, &redirecting) }) {
						t.Error("the panic did not go on")
					}
					redirecting = false
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					if _, err := p.Send(ctx, rig.NumberedMail(1)); err != nil {
						t.Errorf("the next Send: %v", err)
					}
					cancel()
				}
				if n := p.Stats().Queued; n != 0 {
					t.Errorf("%d are in the line", n)
				}
				began := time.Now()
				closePool(t, p)
				if took := time.Since(began); took > 0 {
					t.Errorf("Close took %v", took)
				}
			})
		})
	}
}

// opening is a message whose content calls f when it is opened, and panics when it is read.
func opening(f func()) *postrider.Message {
	m := rig.NumberedMail(0)
	m.Content = postrider.Func(func() (io.ReadCloser, error) {
		f()
		return io.NopCloser(panicking{}), nil
	})
	return m
}

// So does a panic in a hook, and hooks are told of what comes later.
func TestPanicsInHooksLeaveNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startServer(t, "mx:25", func(s *smtptest.Server) {
			s.Extensions.Pipelining = false
			s.Faults = []smtptest.Fault{
				{Command: "MAIL", Nth: 1, Reply: "432 4.3.2 busy"}, {Command: "MAIL", Nth: 11, Reply: "432 4.3.2 busy"},
			}
		})
		told := 0
		cfg := s.Config()
		cfg.Trace = &postrider.Trace{Event: func(e postrider.Event) {
			if e.Kind != postrider.EventLimitChanged {
				return
			}
			if told++; told == 1 {
				panic("hook")
			}
		}}
		p := startPool(t, postrider.PoolConfig{MaxConnections: 4}, cfg)
		if !recovered(func() { p.Send(t.Context(), rig.NumberedMail(0)) }) {
			t.Error("the panic did not go on")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for i := range 20 {
			if _, err := p.Send(ctx, rig.NumberedMail(i)); err != nil && i != 9 {
				t.Fatal(err)
			}
		}
		if told < 2 {
			t.Errorf("hooks were told %d times; none after the panic", told)
		}
	})
}
