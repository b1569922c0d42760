package content_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider"
)

// A Send that was called before Pool.Shutdown is underway, also while its content is being read: it is finished within
// Close's context, and broken off at its end.
func TestPoolCloseWhileAContentIsRead(t *testing.T) {
	for _, c := range []struct {
		reads, closes time.Duration // how long reading takes, and Close has
		state         postrider.State
	}{
		{reads: time.Minute, closes: time.Hour, state: postrider.Accepted},
		{reads: time.Hour, closes: time.Minute, state: postrider.Untried},
	} {
		t.Run(c.state.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := startRig(t, doors["Pool"], true, nil)
				s := &script{text: lines(1000), onOpen: func() { time.Sleep(c.reads) }}
				said := r.begin(24*time.Hour, mail("bart@example.com", s.content()))
				start := time.Now()
				err := closePool(r.sender.(*postrider.Pool), c.closes)
				a := <-said
				took := min(c.reads, c.closes)
				if time.Since(start) != took || a.took != took {
					t.Errorf("Close took %v, Send %v", time.Since(start), a.took)
				}
				broken := c.state == postrider.Untried
				if a.state() != c.state || errors.Is(a.err, postrider.ErrClosed) != broken || (err != nil) != broken {
					t.Errorf("%v, %v; Close: %v", a.result.Outcomes, a.err, err)
				}
				time.Sleep(c.reads)
				s.check(t, 1)
			})
		})
	}
}
