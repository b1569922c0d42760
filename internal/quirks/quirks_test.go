package quirks

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

// A goroutine that outlives the tests fails them.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A fault is remembered for an hour, is news once, and is news again when it was forgotten.
func TestAFactIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f Fact
		if f.Holds() {
			t.Error("a fact holds before it was learnt")
		}
		if !f.Learn() || f.Learn() || !f.Holds() {
			t.Error("a fact is news exactly once, and holds from then on")
		}
		time.Sleep(life - time.Second)
		if !f.Holds() {
			t.Error("forgotten too early")
		}
		time.Sleep(2 * time.Second)
		if f.Holds() || !f.Learn() {
			t.Error("not forgotten after an hour")
		}
	})
}

// One wire's word is believed for five minutes and only if it is trusted; two that agree, for an hour.
func TestTheCapNeedsTwoThatAgree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q Quirks
		for _, step := range []struct {
			k       int
			trusted bool
			after   time.Duration
			want    int
		}{
			{100, false, 0, 0},
			{50, true, 0, 50},
			{50, true, supposedLife + time.Second, 50}, // agreed: it lasts
			{60, false, 0, 50},
			{60, false, 0, 60},
			{70, true, supposedLife + time.Second, 0}, // one alone, and forgotten
		} {
			q.LearnCap(step.k, step.trusted)
			time.Sleep(step.after)
			if got := q.Cap(); got != step.want {
				t.Errorf("%+v: the cap is %d", step, got)
			}
		}
	})
}

// The memory for servers is bounded, forgets after an hour, and tells servers apart.
func TestDiscardIsRememberedByServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q Quirks
		a := Identity("192.0.2.1:25", "mx.example.com greets us\nPIPELINING\nCHUNKING")
		same := Identity("192.0.2.1:25", "MX.example.com hello again\nCHUNKING\npipelining")
		other := Identity("192.0.2.2:25", "mx.example.com greets us\nPIPELINING\nCHUNKING")
		q.RememberDiscard(a, Discards)
		if q.RecallDiscard(same) != Discards {
			t.Error("case, order and the greeting's rest make another server of it")
		}
		if q.RecallDiscard(other) != DiscardUnknown {
			t.Error("another address is the same server")
		}
		for i := range 10 * mostServers {
			q.RememberDiscard(fmt.Sprint(i), Executes)
		}
		if n := len(q.discards.known); n > mostServers {
			t.Errorf("%d servers are remembered", n)
		}
		q.RememberDiscard(a, Discards)
		time.Sleep(life + time.Second)
		if q.RecallDiscard(a) != DiscardUnknown {
			t.Error("not forgotten after an hour")
		}
	})
}
