package dial

import (
	"context"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// namer is a HelloName with a look-up of the test's own.
func namer(look func(context.Context) string) *HelloName { return &HelloName{lookUp: look} }

var own = &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 1}

func TestHelloName(t *testing.T) {
	asked := 0
	n := namer(func(context.Context) string { asked++; return "client.example.com" })
	for range 2 {
		if got := n.For(t.Context(), own); got != "client.example.com" || asked != 1 {
			t.Errorf("%q, asked %d times", got, asked)
		}
	}
	n = namer(func(context.Context) string { asked++; return "" })
	for range 2 {
		if got := n.For(t.Context(), own); got != "[192.0.2.7]" {
			t.Errorf("without a name: %q", got)
		}
	}
	if asked != 3 { // a name may come
		t.Errorf("asked %d times", asked)
	}
	n.Configured = "mail.example.com"
	if got := n.For(t.Context(), own); got != "mail.example.com" || asked != 3 {
		t.Errorf("configured: %q, asked %d times", got, asked)
	}
}

// All who ask meanwhile share one look-up, and one that gives up neither waits for it nor ends it for the others.
func TestHelloNameIsLookedUpOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		n := namer(func(ctx context.Context) string {
			asked++
			select {
			case <-time.After(time.Second):
				return "client.example.com"
			case <-ctx.Done():
				return ""
			}
		})
		hasty, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		start := time.Now()
		if got := n.For(hasty, own); got != "[192.0.2.7]" || time.Since(start) != time.Millisecond {
			t.Errorf("in haste: %q after %v", got, time.Since(start))
		}
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				if got := n.For(t.Context(), own); got != "client.example.com" {
					t.Errorf("%q", got)
				}
			})
		}
		wg.Wait()
		if asked != 1 || time.Since(start) != time.Second {
			t.Errorf("asked %d times, %v", asked, time.Since(start))
		}
	})
}
