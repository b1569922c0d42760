package seats

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

var errDown = errors.New("connection refused")

func TestFirstComeFirstServed(t *testing.T) {
	r := newRig(1, share{"a", 0})
	all := r.queue(5)
	if placed(all) != 0 {
		t.Fatalf("%d have a place without a wire", placed(all))
	}
	r.arrive(t, "a", 2)
	for i, w := range all {
		if w.Answered() != (i < 2) {
			t.Errorf("message %d answered: %v", i, w.Answered())
		}
	}
	// One that comes back goes before those that wait, and one that leaves is not in the way.
	all[0].Met(errDown, false)
	r.Leave(all[2])
	r.Stand(all[0])
	if !all[3].Answered() {
		t.Fatal("the place that was freed is not given to the next in line")
	}
	if r.Queue(all[0]) {
		t.Fatal("a full wire has a place")
	}
	r.Stand(all[1])
	if !all[0].Answered() || all[4].Answered() {
		t.Error("the message that came back does not go before the others")
	}
	r.Break(errNone)
	if _, err := all[4].Answer(); err != errNone || r.Waiting() != 0 {
		t.Errorf("broken off: %v, %d still wait", err, r.Waiting())
	}
}

func TestWeights(t *testing.T) {
	for _, c := range []struct {
		servers []share
		n       int
		want    map[string]int
	}{
		{[]share{{"a", 1}, {"b", 1}}, 10, map[string]int{"a": 5, "b": 5}},
		{[]share{{"a", 3}, {"b", 1}}, 40, map[string]int{"a": 30, "b": 10}},
		{[]share{{"a", 5}, {"b", 2}, {"c", 1}}, 80, map[string]int{"a": 50, "b": 20, "c": 10}},
		{[]share{{"standby", 0}, {"a", 2}, {"b", 1}}, 30, map[string]int{"a": 20, "b": 10}},
		{[]share{{"a", 0}, {"b", 0}}, 10, map[string]int{"a": 10}},
	} {
		r := newRig(len(c.servers), c.servers...)
		for _, one := range c.servers {
			r.wire(t, one.name, 10)
		}
		if got := r.serve(t, c.n); !maps.Equal(got, c.want) {
			t.Errorf("%v: %v", c.servers, got)
		}
	}
}

func TestFirstMessagesGoByWeight(t *testing.T) {
	r := newRig(2, share{"a", 1}, share{"b", 2})
	w := r.queue(1)[0]
	r.arrive(t, "b", 10) // whose turn it is
	if at(t, w) != "b" {
		t.Error("the heavier server does not have the first turn")
	}
}

func TestStandby(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(4, share{"a", 1}, share{"b", 1}, share{"second", 0}, share{"third", 0})
		w := r.queue(1)[0]
		for _, name := range []string{"a", "b", "second"} {
			if w.Answered() {
				t.Fatalf("answered before %s was tried", name)
			}
			r.refuse(t, name, errDown)
		}
		r.arrive(t, "third", 10)
		if at(t, w) != "third" {
			t.Error("the last one that is up does not get the message")
		}
		r.end(w)
		r.wire(t, "second", 10) // an operator's restart; the second is up again
		if got := r.serve(t, 5); got["second"] != 5 {
			t.Errorf("%v: the best one that is up gets everything", got)
		}
	})
}

func TestNoServerIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(4, share{"a", 0}, share{"b", 0})
		r.Add(&Source{Domain: "example.com", err: errors.New("no such domain")})
		w := r.queue(1)[0]
		r.refuse(t, "a", errDown)
		r.wire(t, "b", 1)
		at(t, w)
		w.Met(errors.New("it said no"), true)
		r.Stand(w)
		r.Queue(w)
		if _, err := w.Answer(); err != errNone {
			t.Fatalf("got %v", err)
		}
		if len(r.reasons) != 3 || !r.reasons[0].Down || r.reasons[0].Rest <= 0 || r.reasons[0].Err != errDown ||
			r.reasons[1].Down || r.reasons[1].Err.Error() != "it said no" || r.reasons[2].Down {
			t.Errorf("reasons: %+v", r.reasons)
		}
		if want := []string{fmt.Sprint("a ", WentDown)}; !slices.Equal(r.changes, want) {
			t.Errorf("changes: %v", r.changes)
		}
	})
}

func TestOneServerIsTriedThreeTimes(t *testing.T) {
	r := newRig(1, share{"a", 0})
	r.wire(t, "a", 1)
	w := NewWaiter()
	for i := range maxAttempts {
		r.Queue(w)
		if at(t, w) != "a" {
			t.Fatalf("attempt %d", i+1)
		}
		w.Met(errDown, false)
		r.Stand(w)
	}
	if r.Queue(w); w.err != errNone {
		t.Errorf("a fourth attempt: %v", w.err)
	}
}

func TestCreditIsBounded(t *testing.T) {
	r := newRig(3, share{"a", 1}, share{"b", 1})
	full := r.wire(t, "a", 1)
	r.wire(t, "b", 1000)
	holder := r.queue(1)[0] // a has the first turn, and stays full
	if at(t, holder) != "a" {
		t.Fatal("a does not have the first turn")
	}
	if got := r.serve(t, 2000); got["b"] != 2000 {
		t.Fatalf("%v: a full server is passed over", got)
	}
	connOf(full).room = 1000
	r.Stand(holder)
	n := 0
	for ; n < 2000; n++ {
		w := r.queue(1)[0]
		name := at(t, w)
		r.end(w)
		if name == "b" {
			break
		}
	}
	// Every second of these turns is its own anyway: it makes up for 32.
	if n > 2*maxCredit+1 || n < maxCredit {
		t.Errorf("%d turns in a row for a server that was full: it may make up for %d", n, maxCredit)
	}
	if got := r.serve(t, 100); got["a"] != 50 {
		t.Errorf("%v afterwards", got)
	}
}

func TestLateFirstWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(2, share{"fast", 1}, share{"slow", 2})
		r.looksAgain = true
		r.mu.Lock()
		defer r.mu.Unlock()
		r.wire(t, "fast", 10)
		w := r.queue(1)[0]
		r.opens(t, "slow")
		if w.Answered() {
			t.Fatal("its turn is at the server without a wire, and that is not late yet")
		}
		r.mu.Unlock()
		time.Sleep(patience)
		synctest.Wait()
		r.mu.Lock()
		if at(t, w) != "fast" {
			t.Fatal("the other server does not take the turn")
		}
		r.end(w)
		if got := r.serve(t, 50); got["fast"] != 50 {
			t.Errorf("%v while slow is late", got)
		}
		r.arrive(t, "slow", 10)
		if got := r.serve(t, 30); got["slow"] != 20 {
			t.Errorf("%v: slow has saved up turns while it was late, or gets too few", got)
		}
	})
}

func TestHalfFullOpensTheNextWire(t *testing.T) {
	r := newRig(3, share{"a", 0})
	first := r.wire(t, "a", 4)
	all := r.queue(2)
	if len(r.Seats()) != 1 {
		t.Fatal("a second wire before the first is half full")
	}
	all = append(all, r.queue(1)...)
	r.opens(t, "a")
	if placed(all) != 3 || first.taken != 3 {
		t.Error("no place on the first wire while another one is opened")
	}
	r.queue(20)
	r.arrive(t, "a", 4)
	r.arrive(t, "a", 4)
	if r.connect(r.server("a"), r.server("a").Limit()) || len(r.Seats()) != 3 {
		t.Errorf("%d connections, at most 3 are allowed", len(r.Seats()))
	}
	if r.Waiting() != 23-12 {
		t.Errorf("%d wait", r.Waiting())
	}
}

func TestACapIsALimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(3, share{"a", 0})
		r.wire(t, "a", 2)
		r.wire(t, "a", 2)
		all := r.queue(8)
		r.refuse(t, "a", errDown)
		if down, _, _ := r.server("a").Down(time.Now()); down || r.server("a").Limit() != 2 {
			t.Errorf("down %v, limit %d: others live, so it is a cap of 2", down, r.server("a").Limit())
		}
		if placed(all) != 4 || r.Waiting() != 4 {
			t.Errorf("%d have a place", placed(all))
		}
		if want := []string{fmt.Sprint("a ", LimitChanged)}; !slices.Equal(r.changes, want) {
			t.Errorf("changes: %v", r.changes)
		}
	})
}

func TestBusyServerGetsFewerConnections(t *testing.T) {
	r := newRig(2, share{"a", 0})
	r.wire(t, "a", 8)
	r.wire(t, "a", 8)
	all := r.queue(10)
	r.Answered(all[0])
	r.Busy(all[0], Reply{421, [3]int{4, 3, 2}})
	r.Stand(all[0])
	if r.server("a").Limit() != 1 {
		t.Fatalf("limit %d", r.server("a").Limit())
	}
	if w := r.queue(1)[0]; w.Answered() {
		t.Error("a place while more connections are in use than the limit allows")
	}
	r.Busy(all[1], Reply{421, [3]int{4, 3, 2}}) // was underway at the same time
	if r.server("a").Limit() != 1 || r.rate.Slowed() {
		t.Error("replies to messages that were underway together count once")
	}
	for _, w := range all[1:] {
		r.Stand(w)
	}
	if r.Waiting() != 0 {
		t.Error("no place when the connections are drained")
	}
	after := r.queue(1)[0]
	r.Busy(after, Reply{450, [3]int{4, 7, 1}})
	if !r.rate.Slowed() {
		t.Error("mail is not slowed down where one connection is too much")
	}
}

func TestIdleConnectionMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(1, share{"a", 0}, share{"b", 0})
		idle := r.wire(t, "a", 2)
		w := r.queue(1)[0]
		w.Met(errDown, true)
		r.Stand(w)
		r.Queue(w) // has to go to b, where the only connection is a's
		if w.Answered() || !slices.Equal(r.retired, []*Seat{idle}) {
			t.Fatalf("answered %v, retired %v", w.Answered(), r.retired)
		}
		if r.queue(1)[0].Answered() || r.free(r.server("a"), func(room int) int { return room }) != nil {
			t.Error("a place on a connection that is being ended")
		}
		connOf(idle).room = 0
		r.Gone(idle)
		r.arrive(t, "b", 2)
		if at(t, w) != "b" || r.gone != 1 {
			t.Error("the place that was made is not used")
		}
	})
}

func TestConnectionWithoutWireMakesRoom(t *testing.T) {
	r := newRig(1, share{"a", 0}, share{"b", 0})
	r.queue(1)
	r.refuse(t, "a", errDown)
	r.arrive(t, "b", 1)
	if len(r.Seats()) != 1 || r.gone != 1 {
		t.Errorf("%d connections, %d gone: there are never more than may be open", len(r.Seats()), r.gone)
	}
}

func TestHalfOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(4, share{"a", 0})
		w := r.queue(1)[0]
		r.refuse(t, "a", errDown)
		if w.err != errNone {
			t.Fatalf("got %v", w.err)
		}
		time.Sleep(time.Second)
		all := r.queue(3)
		r.opens(t, "a")
		if len(r.Seats()) != 1 || placed(all) != 0 || r.Waiting() != 3 {
			t.Errorf("%d wires for %d messages that wait: one tries a server that was down",
				len(r.Seats()), r.Waiting())
		}
		r.server("a").served++ // by a wire from before
		r.refuse(t, "a", errDown)
		r.opens(t, "a")
		r.arrive(t, "a", 4)
		if down, _, _ := r.server("a").Down(time.Now()); down || placed(all) != 3 {
			t.Errorf("down %v, %d placed", down, placed(all))
		}
		if want := []string{fmt.Sprint("a ", WentDown), fmt.Sprint("a ", CameUp)}; !slices.Equal(r.changes, want) {
			t.Errorf("changes: %v", r.changes)
		}
	})
}

func TestIdleWiresBeyondALimitThatWasTooHigh(t *testing.T) {
	r := newRig(3, share{"a", 0})
	for range 3 {
		r.wire(t, "a", 8)
	}
	busy := Reply{451, [3]int{4, 3, 2}}
	fall := func() {
		w := r.queue(1)[0]
		r.Busy(w, busy)
		r.Stand(w)
	}
	if fall(); r.server("a").Limit() != 2 || len(r.retired) != 0 {
		t.Fatalf("limit %d, %d ended: what is beyond it stands by", r.server("a").Limit(), len(r.retired))
	}
	if fall(); r.server("a").Limit() != 1 || len(r.retired) != 1 {
		t.Errorf("limit %d, %d ended: the third may be what the server counts", r.server("a").Limit(), len(r.retired))
	}
}

func TestOneWireIsUsedWhileAnotherIsMissing(t *testing.T) {
	r := newRig(2, share{"a", 0})
	first := r.wire(t, "a", 2)
	r.wire(t, "a", 2)
	r.server("a").limit.Capped(1, time.Now())
	r.queue(1)
	connOf(first).room = 0 // it waits for its next wire
	if w := r.queue(1)[0]; w.seat == nil || w.seat == first {
		t.Error("a connection that waits for its wire leaves no place on the other")
	}
}

func TestConnectionWithoutItsWireCounts(t *testing.T) {
	r := newRig(3, share{"a", 0})
	first := r.wire(t, "a", 1)
	r.wire(t, "a", 1)
	r.wire(t, "a", 1)
	r.server("a").limit.Capped(2, time.Now())
	all := r.queue(2)
	connOf(first).room = 0 // it waits for its next wire
	if placed(all) != 2 || r.queue(1)[0].Answered() {
		t.Error("a third connection is in use where the limit is two")
	}
}

func TestRefusalHoldsForEveryWire(t *testing.T) {
	r := newRig(2, share{"a", 0})
	hostOf(r.server("a")).refused = errDown
	if r.connect(r.server("a"), 2) {
		t.Error("a wire is opened while the server refuses the credentials")
	}
}

func TestSlowerMailAtTheGreeting(t *testing.T) {
	for _, others := range []bool{false, true} {
		r := newRig(2, share{"a", 0})
		if others {
			r.wire(t, "a", 1)
		}
		r.connect(r.server("a"), 2)
		seat := r.opens(t, "a")
		connOf(seat).opening = false
		r.Failed(seat, errDown, true)
		if r.rate.Slowed() == others {
			t.Errorf("others %v, slowed %v: where others live it is about their number", others, r.rate.Slowed())
		}
	}
}

func TestRateGivesWayWhereItDidBefore(t *testing.T) {
	r := newRig(2, share{"a", 0})
	r.wire(t, "a", 8)
	r.rate.Slow()
	w := r.queue(1)[0]
	r.Busy(w, Reply{450, [3]int{4, 7, 1}})
	if r.server("a").Limit() != 2 {
		t.Errorf("limit %d: one of the two is lowered, not both", r.server("a").Limit())
	}
}

func TestGivingBack(t *testing.T) {
	r := newRig(1, share{"a", 0})
	seat := r.wire(t, "a", 1)
	all := r.queue(2)
	r.Leave(all[0])
	if !all[1].Answered() || seat.taken != 1 {
		t.Errorf("the seat that was given back: answered %v, %d taken", all[1].Answered(), seat.taken)
	}
	r.Leave(all[1])
	r.Leave(all[1]) // once more changes nothing
	if seat.taken != 0 {
		t.Errorf("%d taken", seat.taken)
	}
}

func TestRefusedCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(4, share{"a", 0})
		h := hostOf(r.server("a"))
		h.logsIn = true
		all := r.queue(3)
		if len(r.Seats()) != 1 {
			t.Fatalf("%d wires: a wrong password is tried on one", len(r.Seats()))
		}
		h.refused, h.until = errors.New("535"), time.Now().Add(time.Hour)
		r.refuse(t, "a", h.refused)
		down, until, err := r.server("a").Down(time.Now())
		if !down || !until.Equal(h.until) || err != h.refused || all[2].err != errNone {
			t.Errorf("down %v until %v: %v; the Sends got %v", down, until, err, all[2].err)
		}
		time.Sleep(time.Hour)
		h.refused = nil
		w := r.queue(1)[0]
		r.arrive(t, "a", 1)
		at(t, w)
		if r.queue(1); !connOf(r.Seats()[1]).opening {
			t.Error("no second wire where the credentials are accepted")
		}
		// Refused on the second wire: nothing new is opened, and then one at a time again.
		h.refused, h.until = errors.New("535"), time.Now().Add(time.Hour)
		r.refuse(t, "a", h.refused)
		if r.connect(r.server("a"), 4) {
			t.Error("a wire is opened while the refusal stands")
		}
		h.refused = nil
		if r.connect(r.server("a"), 4) {
			t.Error("a wire is opened beside another one by credentials that were refused")
		}
	})
}

func TestAFailureAfterSuccessesSaysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(2, share{"a", 0})
		first := r.wire(t, "a", 1)
		w := r.queue(2)
		r.opens(t, "a") // a second wire, before the first message is answered
		r.end(w[0])
		r.end(w[1])
		connOf(first).room = 0 // the server has ended that wire
		r.refuse(t, "a", errDown)
		if down, _, _ := r.server("a").Down(time.Now()); down {
			t.Error("down, although it has served since the wire was begun")
		}
	})
}

func TestLookups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(2)
		src := &Source{Domain: "example.com", Weight: 1}
		r.Add(src)
		due := func(after time.Duration) bool { time.Sleep(after); return src.Due(time.Now()) }
		if !due(0) {
			t.Fatal("not due at first")
		}
		r.Replace(src, nil, errDown)
		if due(retrySRV-1) || !due(1) {
			t.Error("a look-up that failed is not repeated after 5 s")
		}
		fresh := func(name string, priority int) *Server {
			srv := r.NewServer(src, name, &host{name: name})
			srv.Priority += priority
			return srv
		}
		r.Replace(src, []*Server{fresh("b", 2), fresh("a", 1)}, nil)
		if due(24 * time.Hour) {
			t.Error("due although no server has failed")
		}
		r.queue(1)
		r.refuse(t, "a", errDown)
		r.refuse(t, "b", errDown)
		if !due(0) {
			t.Error("not due after a failure")
		}
		time.Sleep(time.Minute)
		r.changes = nil
		seat := r.wire(t, "a", 1)
		held := r.queue(1)[0]
		if at(t, held) != "a" {
			t.Error("not by priority")
		}
		r.wire(t, "b", 1)
		old := r.server("b")
		r.Replace(src, []*Server{fresh("b", 7)}, nil)
		if len(r.Servers()) != 1 || r.Servers()[0] != old || old.Priority != 7 || len(r.retired) != 0 {
			t.Error("a server that is named again is forgotten, or one ended that has a place taken")
		}
		if r.Stand(held); !slices.Equal(r.retired, []*Seat{seat}) {
			t.Error("the connection to a server that is not named any more is not ended")
		}
	})
}
