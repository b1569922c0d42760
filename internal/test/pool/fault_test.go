package pool_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/test/ci"
	"github.com/postrider/postrider/internal/test/rig"
	"github.com/postrider/postrider/smtptest"
)

// Every fault that a pool may meet, in each TLS mode, with 1,000 messages: each has
// one true outcome, none twice, none hangs. What else may become of them than
// Accepted stands in the row.

// poolFault is a row of the proof.
type poolFault struct {
	name     string
	faults   []smtptest.Fault
	server   func(i int, s *smtptest.Server)
	client   func(i int, cfg *postrider.Config)
	servers  int
	pauses   time.Duration // after each hundred messages
	may      []postrider.State
	resends  bool // it cannot go well without sending again
	tlsOnly  bool
	authOnly bool
}

func (row poolFault) try(t *testing.T, mode postrider.SecureMode) {
	f := rig.StartFleet(t, rig.FleetOptions{
		Servers: row.servers, Mode: mode,
		Server: func(i int, s *smtptest.Server) {
			s.Faults = row.faults
			if row.server != nil {
				row.server(i, s)
			}
		},
		Client: func(i int, cfg *postrider.Config) {
			cfg.MaxTransactions = 40 // so that many wires are needed, and the faults met
			if row.client != nil {
				row.client(i, cfg)
			}
		},
	})
	var results []*postrider.Result
	hundreds := 10
	if rig.Raced || !ci.On() {
		hundreds = 3
	}
	for h := range hundreds {
		part := f.SendFrom(h*100, 100, 32)
		results = append(results, part...)
		time.Sleep(row.pauses)
	}
	states := f.Compare(results)
	for s, n := range states {
		if state := postrider.State(s); n > 0 && state != postrider.Accepted && !slices.Contains(row.may, state) {
			o := firstIn(results, state)
			t.Errorf("%d are %v: %v %v", n, state, o.Reply, o.Err)
		}
	}
	least := 60 // of each hundred
	if row.authOnly {
		least = 30 // of the shorter run under the race detector two hundreds fall into the lock-out
	}
	if states[postrider.Accepted] < least*hundreds {
		t.Errorf("untried, accepted, deferred, refused, unknown: %v", states)
	}
	st := f.Pool.Stats()
	if row.resends && st.Resends+st.Moves == 0 {
		t.Errorf("the fault was never met: %+v", st)
	}
}

func firstIn(results []*postrider.Result, s postrider.State) postrider.Outcome {
	for _, r := range results {
		for _, o := range r.Outcomes {
			if o.State == s {
				return o
			}
		}
	}
	return postrider.Outcome{}
}

// everyThird puts a fault on every third connection, of as many as a row can need.
func everyThird(f smtptest.Fault) []smtptest.Fault {
	var all []smtptest.Fault
	for i := 2; i < 600; i += 3 {
		f.Connection = i
		all = append(all, f)
	}
	return all
}

func poolFaults() []poolFault {
	untried, unknown := []postrider.State{postrider.Untried}, []postrider.State{postrider.Unknown}
	rows := []poolFault{
		{name: "idle, FIN", faults: []smtptest.Fault{{Idle: time.Minute, Answer: smtptest.AnswerNone,
			Then: smtptest.ThenClose}},
			pauses: 90 * time.Second},
		{name: "idle, RST", faults: []smtptest.Fault{{Idle: time.Minute, Answer: smtptest.AnswerNone,
			Then: smtptest.ThenAbort}},
			pauses: 90 * time.Second},
		{name: "idle, 421", faults: []smtptest.Fault{
			{Idle: time.Minute, Reply: "421 4.4.2 idle", Then: smtptest.ThenClose},
		}, pauses: 90 * time.Second},
		{name: "idle, 451 4.4.2", faults: []smtptest.Fault{
			{Idle: time.Minute, Reply: "451 4.4.2 idle", Then: smtptest.ThenClose},
		}, pauses: 90 * time.Second},
		{name: "idle, then nothing more", faults: []smtptest.Fault{
			{Idle: time.Minute, Answer: smtptest.AnswerNone, Then: smtptest.ThenHang},
		}, pauses: 90 * time.Second, resends: true},
		{name: "421 between RCPTs", faults: []smtptest.Fault{
			{Command: "RCPT", Connection: smtptest.EachConnection, Nth: 30, Reply: "421 4.3.2 bye"},
		}, resends: true, may: unknown},
		{name: "cap on connections", server: func(_ int, s *smtptest.Server) { s.MaxConnections = 2 }},
		{name: "slow greeting", faults: everyThird(smtptest.Fault{Command: smtptest.Greeting, Delay: 4 * time.Minute})},
		{name: "slow RCPT", faults: everyThird(smtptest.Fault{Command: "RCPT", Delay: 30 * time.Second})},
		{name: "one of three down", servers: 3, client: func(i int, cfg *postrider.Config) {
			if i == 0 {
				cfg.Dial = refuseDial
			}
		}},
		{name: "one of three hangs", servers: 3, server: func(i int, s *smtptest.Server) {
			if i == 0 {
				s.Faults = []smtptest.Fault{{Command: smtptest.Greeting, Answer: smtptest.AnswerNone,
					Then: smtptest.ThenHang}}
			}
		}},
		{
			name: "a handshake that stalls", tlsOnly: true, may: untried, pauses: 10 * time.Second,
			faults: everyThird(smtptest.Fault{Command: smtptest.Handshake, Answer: smtptest.AnswerNone,
				Then: smtptest.ThenHang}),
		},
		{name: "hangs at AUTH", authOnly: true, may: untried, pauses: 10 * time.Second,
			faults: everyThird(smtptest.Fault{Command: "AUTH", Answer: smtptest.AnswerNone, Then: smtptest.ThenHang})},
		{name: "AUTH refused, then accepted", authOnly: true, may: untried, pauses: 10 * time.Second,
			faults: []smtptest.Fault{
				{Command: "AUTH", Nth: 1, Reply: "535 5.7.8 no"}, {Command: "AUTH", Nth: 2, Reply: "454 4.7.0 later"},
			}},
	}
	for k := 1; k <= 5; k++ {
		// what stands behind it went out by BDAT
		rows = append(rows, poolFault{name: fmt.Sprint("421 at MAIL ", k), resends: true, may: unknown,
			faults: slices.Concat(everyThird(smtptest.Fault{Command: "MAIL", Nth: k, Reply: "421 4.3.2 bye"}))})
	}
	for _, step := range []string{smtptest.Greeting, "EHLO", "MAIL", "RCPT", "DATA", ".", "BDAT", "RSET", "QUIT"} {
		row := poolFault{name: "hangs at " + step, pauses: 10 * time.Second,
			faults: everyThird(smtptest.Fault{Command: step, Nth: 1, Answer: smtptest.AnswerNone,
				Then: smtptest.ThenHang})}
		// Who waits when the last wire fails is told so; what went out by BDAT was
		// complete before the server fell silent.
		row.may = []postrider.State{postrider.Untried, postrider.Unknown}
		if step == smtptest.Greeting || step == "EHLO" {
			row.may = untried
		}
		rows = append(rows, row)
	}
	return rows
}

func TestPoolMeetsEveryFault(t *testing.T) {
	for _, row := range poolFaults() {
		rig.InFleetBubble(t, row.name, func(t *testing.T, mode postrider.SecureMode) {
			if row.tlsOnly && mode == postrider.Insecure {
				t.Skip("there is no handshake")
			}
			if row.authOnly {
				row.server = func(_ int, s *smtptest.Server) { s.Users = map[string]string{"app": "right"} }
				row.client = func(_ int, cfg *postrider.Config) {
					cfg.AllowPlaintextAuth, cfg.AuthRetryAfter = true, 5*time.Second
				}
			}
			row.try(t, mode)
		})
	}
}

// All servers are down: each Send says at once what is wrong with each, nothing is
// dialled in between, and when one is up again the mail flows.
func TestPoolAllDownThenUp(t *testing.T) {
	rig.InFleetBubble(t, "", func(t *testing.T, mode postrider.SecureMode) {
		var up atomic.Bool
		var dials atomic.Int64
		f := rig.StartFleet(t, rig.FleetOptions{Servers: 3, Mode: mode, Client: func(_ int, cfg *postrider.Config) {
			open := cfg.Dial
			cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				if dials.Add(1); !up.Load() {
					return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
				}
				return open(ctx, network, address)
			}
		}})
		down := f.SendFrom(0, 500, 32)
		if n := dials.Load(); n > 12 {
			t.Errorf("%d dials for three servers that are down", n)
		}
		_, err := f.Send(rig.NumberedMail(500))
		for _, name := range []string{"mx1:25", "mx2:25", "mx3:25", "refused", "not tried again for"} {
			if err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("the error does not say %q: %v", name, err)
			}
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("the cause is not to be found: %v", err)
		}
		for _, s := range f.Pool.Stats().Servers {
			if !s.Down || s.Reason == nil || time.Until(s.Until) > time.Second {
				t.Errorf("%+v", s)
			}
		}
		up.Store(true)
		time.Sleep(time.Second)
		rest := f.SendFrom(501, 499, 32)
		for _, r := range rest {
			if r.Outcomes[0].State != postrider.Accepted {
				t.Fatalf("after they came up: %v", r.Outcomes)
			}
		}
		results := append(down, rest...)
		if states := f.CompareBut(results, 1); states[postrider.Untried] != 500 || states[postrider.Accepted] != 499 {
			t.Errorf("%v", states)
		}
		if f.Pool.Stats().Servers[0].Down {
			t.Error("the first is still down")
		}
	})
}

// A server whose name moves to another address is found there.
func TestPoolFollowsADNSAnswer(t *testing.T) {
	rig.InFleetBubble(t, "", func(t *testing.T, mode postrider.SecureMode) {
		var moved atomic.Bool
		var lookups atomic.Int64
		var f *rig.Fleet
		f = rig.StartFleet(t, rig.FleetOptions{
			Servers: 2, Mode: mode,
			Weights: []int{1},
			Pool: postrider.PoolConfig{LookupHost: func(context.Context, string) ([]string, error) {
				lookups.Add(1)
				if moved.Load() {
					return []string{"192.0.2.2"}, nil
				}
				return []string{"192.0.2.1"}, nil
			}},
			Client: func(i int, cfg *postrider.Config) {
				cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
					if address == "192.0.2.2:25" {
						return f.Servers[1].Config().Dial(ctx, network, address)
					}
					if moved.Load() {
						return refuseDial(ctx, network, address)
					}
					return f.Servers[0].Config().Dial(ctx, network, address)
				}
			},
		})
		first := f.SendFrom(0, 500, 32)
		moved.Store(true)
		f.Servers[0].Close()
		time.Sleep(2 * time.Minute)
		f.AllAccepted(append(first, f.SendFrom(500, 500, 32)...))
		if n := len(f.Servers[1].Messages()); n != 500 {
			t.Errorf("%d came to the new address", n)
		}
		if n := lookups.Load(); n > 2*4 { // each connection may ask, before there is an answer
			t.Errorf("%d look-ups", n)
		}
	})
}
