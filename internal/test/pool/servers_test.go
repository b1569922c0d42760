package pool_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/test/rig"
	"github.com/postrider/postrider/smtptest"
)

// Several servers of a Pool: which one gets the mail, and when it is left alone.

// door lets connections through, or not.
type door struct{ shut atomic.Bool }

func (d *door) guard(cfg *postrider.Config) {
	open := cfg.Dial
	cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if d.shut.Load() {
			return refuseDial(ctx, network, address)
		}
		return open(ctx, network, address)
	}
}

func shares(f *rig.Fleet) (n []int) {
	for _, s := range f.Servers {
		n = append(n, len(s.Messages()))
	}
	return n
}

func wantShares(f *rig.Fleet, want ...int) {
	f.T.Helper()
	if got := shares(f); !slices.Equal(got, want) {
		f.T.Errorf("the servers took %v; want %v", got, want)
	}
}

// Without weights the second server is for the time when the first is down.
func TestPoolFailsOverInOrder(t *testing.T) {
	rig.InFleetBubble(t, "", func(t *testing.T, mode postrider.SecureMode) {
		var first door
		var told []string
		f := rig.StartFleet(t, rig.FleetOptions{Servers: 3, Mode: mode, Client: func(i int, cfg *postrider.Config) {
			cfg.IdleTimeout = time.Second
			cfg.Trace = &postrider.Trace{Event: func(e postrider.Event) {
				switch e.Kind {
				case postrider.EventServerDown:
					told = append(told, "down "+e.Server)
				case postrider.EventServerUp:
					told = append(told, "up "+e.Server)
				}
			}}
			if i == 0 {
				first.guard(cfg)
			}
		}})
		f.AllAccepted(f.SendFrom(0, 10, 1))
		wantShares(f, 10, 0, 0)
		first.shut.Store(true)
		time.Sleep(2 * time.Second) // its wire is idle, and left
		f.SendFrom(10, 10, 1)
		wantShares(f, 10, 10, 0)
		first.shut.Store(false)
		time.Sleep(time.Minute)
		f.SendFrom(20, 10, 1)
		wantShares(f, 20, 10, 0)
		if want := []string{"down mx1:25", "up mx1:25"}; !slices.Equal(told, want) {
			t.Errorf("told %q", told)
		}
	})
}

// A wire that is open goes on while its host cannot be reached any more.
func TestPoolKeepsAWireThatWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var first door
		f := rig.StartFleet(t, rig.FleetOptions{Servers: 2, Client: func(i int, cfg *postrider.Config) {
			if i == 0 {
				first.guard(cfg)
			}
		}})
		f.Send(rig.NumberedMail(0))
		first.shut.Store(true)
		f.SendFrom(1, 500, 64)
		wantShares(f, 501, 0)
	})
}

func TestPoolSpreadsByWeight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var heavy door
		f := rig.StartFleet(t, rig.FleetOptions{Servers: 3, Weights: []int{3, 1},
			Client: func(i int, cfg *postrider.Config) {
				cfg.IdleTimeout = time.Second
				if i == 0 {
					heavy.guard(cfg)
				}
			}})
		f.AllAccepted(f.SendFrom(0, 400, 1))
		wantShares(f, 300, 100, 0)
		heavy.shut.Store(true)
		time.Sleep(2 * time.Second)
		before := shares(f)
		f.SendFrom(400, 100, 1)
		if got := shares(f); got[0] != before[0] || got[1] != before[1]+100 || got[2] != 0 {
			t.Errorf("with the first one down the servers took %v after %v", got, before)
		}
	})
}

// Refusals of messages and recipients, even of all of them, say nothing about a server.
func TestPoolRefusalsTakeNobodyDown(t *testing.T) {
	for _, command := range []string{"MAIL", "RCPT", "DATA", "."} {
		rig.InFleetBubble(t, command, func(t *testing.T, mode postrider.SecureMode) {
			f := rig.StartFleet(t, rig.FleetOptions{Servers: 2, Mode: mode, Server: func(_ int, s *smtptest.Server) {
				s.Extensions.Chunking = false
				s.Faults = []smtptest.Fault{{Command: command, Reply: "550 5.7.1 no"}}
			}})
			results := f.SendFrom(0, 50, 8)
			if states := f.Compare(results); states[postrider.Refused] != 50 {
				t.Errorf("%v", states)
			}
			if n := f.Servers[1].ConnectionCount(); n != 0 {
				t.Errorf("the other server was asked over %d connections", n)
			}
			if st := f.Pool.Stats(); st.Servers[0].Down || st.Moves != 0 {
				t.Errorf("%+v", st)
			}
		})
	}
}

// A wrong password stops the server, is said once, and costs one attempt; others
// take the mail. After AuthRetryAfter it is tried once more.
func TestPoolWrongPasswordBurnsOneAttempt(t *testing.T) {
	rig.InFleetBubble(t, "", func(t *testing.T, mode postrider.SecureMode) {
		var downs atomic.Int64
		f := rig.StartFleet(t, rig.FleetOptions{
			Servers: 2, Mode: mode, Pool: postrider.PoolConfig{MaxConnections: 1},
			Server: func(i int, s *smtptest.Server) { s.Users = map[string]string{"app": "right"} },
			Client: func(i int, cfg *postrider.Config) {
				cfg.AllowPlaintextAuth = true
				cfg.Trace = rig.OnEvent(postrider.EventServerDown, func(postrider.Event) { downs.Add(1) })
				if i == 0 {
					cfg.Password = postrider.NewSecret("wrong")
				}
			},
		})
		f.AllAccepted(f.SendFrom(0, 100, 16))
		wantShares(f, 0, 100)
		if n, told := f.Servers[0].Commands("AUTH"), downs.Load(); n != 1 || told != 1 {
			t.Errorf("%d attempts, told %d times", n, told)
		}
		time.Sleep(time.Minute)
		f.SendFrom(100, 100, 16)
		if n := f.Servers[0].Commands("AUTH"); n != 2 {
			t.Errorf("%d attempts after a minute", n)
		}
	})
}

// A password that is changed while wires are open: those go on, and when the last is
// gone nobody waits for another one.
func TestPoolPasswordRefusedWhileWiresAreOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := rig.StartFleet(t, rig.FleetOptions{
			Pool: postrider.PoolConfig{MaxConnections: 2},
			Server: func(i int, s *smtptest.Server) {
				s.Users, s.Extensions.Pipelining = map[string]string{"app": "right"}, false
				s.Faults = []smtptest.Fault{
					{Command: "AUTH", Nth: 2, Reply: "535 5.7.8 changed"}, {Command: ".", Delay: time.Second},
				}
			},
			Client: func(i int, cfg *postrider.Config) {
				cfg.AllowPlaintextAuth, cfg.AuthRetryAfter, cfg.IdleTimeout = true, time.Hour, time.Minute
			},
		})
		f.AllAccepted(f.SendFrom(0, 20, 4))
		if n := f.Servers[0].Commands("AUTH"); n != 2 {
			t.Errorf("%d attempts", n)
		}
		time.Sleep(2 * time.Minute) // the wire is left
		began := time.Now()
		_, err := f.Send(rig.NumberedMail(20))
		if took := time.Since(began); err == nil || !strings.Contains(err.Error(), "535") || took > 0 {
			t.Errorf("after %v: %v", took, err)
		}
		time.Sleep(time.Hour)
		if _, err := f.Send(rig.NumberedMail(21)); err != nil {
			t.Errorf("after AuthRetryAfter: %v", err)
		}
	})
}

// When that was the only server, every Send says so, and none dials.
func TestPoolWrongPasswordIsToldToEverybody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := rig.StartFleet(t, rig.FleetOptions{
			Server: func(i int, s *smtptest.Server) { s.Users = map[string]string{"app": "right"} },
			Client: func(i int, cfg *postrider.Config) {
				cfg.AllowPlaintextAuth, cfg.Password = true, postrider.NewSecret("wrong")
			},
		})
		for i := range 5 {
			_, err := f.Send(rig.NumberedMail(i))
			var e *postrider.Error
			if !errors.As(err, &e) || e.Reply.Code != 535 || e.Step != "AUTH" || e.Temporary() ||
				!strings.Contains(e.Hint.Text, "Config.Password") {
				t.Fatalf("%v", err)
			}
		}
		if n := f.Servers[0].Commands("AUTH"); n != 1 {
			t.Errorf("%d attempts", n)
		}
	})
}

// A content that can be read only once goes to the next server if the first could
// not be reached, and nowhere if it was read.
func TestPoolMovesAOneShotContentWhileItIsUnread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := rig.StartFleet(t, rig.FleetOptions{Servers: 2, Client: func(i int, cfg *postrider.Config) {
			if i == 0 {
				cfg.Dial = refuseDial
			}
		}})
		text := "Subject: once\r\n\r\n" + strings.Repeat("0123456789\r\n", 20_000)
		m := rig.Mail("bart@example.com")
		m.Content = postrider.Reader(strings.NewReader(text))
		if _, err := f.Send(m); err != nil {
			t.Fatal(err)
		}
		if got := string(f.Servers[1].Messages()[0].Content); got != text {
			t.Errorf("%d octets arrived of %d", len(got), len(text))
		}
	})
}

// What may have been taken is not sent elsewhere.
func TestPoolDoesNotMoveWhatIsUnknown(t *testing.T) {
	rig.InFleetBubble(t, "", func(t *testing.T, mode postrider.SecureMode) {
		f := rig.StartFleet(t, rig.FleetOptions{Servers: 2, Mode: mode, Server: func(i int, s *smtptest.Server) {
			if i == 0 {
				s.Faults = []smtptest.Fault{{Command: ".", Answer: smtptest.AnswerNone, Then: smtptest.ThenClose}}
			}
		}})
		r, err := f.Send(rig.NumberedMail(0))
		if err == nil || r.Outcomes[0].State != postrider.Unknown {
			t.Errorf("%v, %v", r.Outcomes, err)
		}
		wantShares(f, 1, 0)
	})
}

// A server that turns every message away is not asked for ever: three times, and then
// the caller is told.
func TestPoolGivesUpAfterThreeTries(t *testing.T) {
	rig.InFleetBubble(t, "", func(t *testing.T, mode postrider.SecureMode) {
		f := rig.StartFleet(t, rig.FleetOptions{Mode: mode, Pool: postrider.PoolConfig{
			MaxConnections: 1,
		}, Server: func(i int, s *smtptest.Server) {
			s.Faults = []smtptest.Fault{{Command: "MAIL", Reply: "421 4.3.2 bye"}}
		}})
		r, err := f.Send(rig.NumberedMail(0))
		if err == nil || r.Outcomes[0].State != postrider.Untried || r.Outcomes[0].Reply.Code != 421 {
			t.Errorf("%v, %v", r.Outcomes, err)
		}
		if n := f.Servers[0].Commands("MAIL"); n != 3 {
			t.Errorf("MAIL was said %d times", n)
		}
	})
}

// An attempt that hung for five minutes says nothing about a server that has served
// meanwhile, even if nothing is open any more.
func TestPoolOldFailuresTakeNobodyDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := rig.StartFleet(t, rig.FleetOptions{
			Pool: postrider.PoolConfig{MaxConnections: 2},
			Server: func(i int, s *smtptest.Server) {
				s.Extensions.Pipelining = false
				s.Faults = []smtptest.Fault{
					{Command: smtptest.Greeting, Nth: 2, Answer: smtptest.AnswerNone, Then: smtptest.ThenHang},
					{Command: ".", Delay: time.Second},
				}
			},
			Client: func(_ int, cfg *postrider.Config) { cfg.IdleTimeout = time.Minute },
		})
		f.AllAccepted(f.SendFrom(0, 6, 3))
		time.Sleep(5 * time.Minute) // the second connection has failed by now
		if st := f.Pool.Stats(); st.DialFailures != 1 || st.Servers[0].Down {
			t.Errorf("%+v", st)
		}
		if _, err := f.Send(rig.NumberedMail(6)); err != nil {
			t.Error(err)
		}
	})
}

// Each error of several servers says which one it is about.
func TestPoolSaysWhatIsWrongWithEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := rig.StartFleet(t, rig.FleetOptions{Servers: 3, Client: func(i int, cfg *postrider.Config) {
			if i == 0 {
				cfg.Dial = refuseDial
			}
		}, Server: func(i int, s *smtptest.Server) {
			switch i {
			case 1:
				s.Faults = []smtptest.Fault{{Command: smtptest.Greeting, Reply: "554 5.3.2 closed"}}
			case 2:
				s.Faults = []smtptest.Fault{{Command: "EHLO", Reply: "550 5.7.1 who are you"}, {
					Command: "HELO", Reply: "550 5.7.1 who are you",
				}}
			}
		}})
		r, err := f.Send(rig.NumberedMail(0))
		for _, says := range []string{
			"mx1:25: dial", "connection refused", "mx2:25: greeting: 554 5.3.2 closed",
			"mx3:25: EHLO: 550 5.7.1 who are you",
		} {
			if err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("%v\ndoes not say %q", err, says)
			}
		}
		if r.Outcomes[0].State != postrider.Untried {
			t.Errorf("%v", r.Outcomes)
		}
	})
}

// srv answers look-ups of SRV records.
type srv map[string][]*net.SRV

func (s srv) lookup(_ context.Context, service, proto, name string) (string, []*net.SRV, error) {
	records, ok := s["_"+service+"._"+proto+"."+name]
	if !ok {
		return "", nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return name, records, nil
}

// startSRV makes a pool of what records name; the servers are found by their host.
func startSRV(t *testing.T, records srv, change func(*postrider.Config), modes ...postrider.SecureMode) (*rig.Fleet,
	error) {
	t.Helper()
	f := rig.StartFleet(t,
		rig.FleetOptions{Servers: len(modes), Server: func(i int, s *smtptest.Server) { s.Mode = modes[i] }})
	cfg := f.Servers[0].Config()
	cfg.Address = "srv:localhost" // which the certificates of smtptest are for
	cfg.TLS.RootCAs = x509.NewCertPool()
	for _, s := range f.Servers {
		cfg.TLS.RootCAs.AppendCertsFromPEM(s.CAPEM())
	}
	cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, _ := net.SplitHostPort(address)
		for i, s := range f.Servers {
			if host == fmt.Sprintf("mx%d.example.com", i+1) {
				return s.Config().Dial(ctx, network, address)
			}
		}
		return refuseDial(ctx, network, address)
	}
	if change != nil {
		change(&cfg)
	}
	pool, err := postrider.NewPool(postrider.PoolConfig{LookupSRV: records.lookup}, cfg)
	if err == nil {
		f.Pool = pool
	}
	return f, err
}

// RFC 6186, RFC 8314: TLS from the start before STARTTLS, priorities before weights,
// "." is no service, and the certificate must name the domain asked for.
func TestPoolFindsServersBySRV(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		records := srv{
			"_submissions._tcp.localhost": {{Target: "mx1.example.com.", Port: 465, Priority: 20}, {
				Target: "gone.example.com.", Port: 465, Priority: 10,
			}},
			"_submission._tcp.localhost": {{Target: "mx2.example.com.", Port: 587, Priority: 0}},
		}
		f, err := startSRV(t, records, nil, postrider.ImplicitTLS, postrider.StartTLS)
		if err != nil {
			t.Fatal(err)
		}
		f.AllAccepted(f.SendFrom(0, 20, 4))
		wantShares(f, 20, 0)
		var names []string
		for _, s := range f.Pool.Stats().Servers {
			names = append(names, s.Address)
		}
		if want := []string{"gone.example.com:465", "mx1.example.com:465", "mx2.example.com:587"}; !slices.Equal(names,
			want) {
			t.Errorf("%v", names)
		}
	})
}

func TestPoolSRVCertificateMustNameTheDomain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		records := srv{"_submissions._tcp.example.org": {{Target: "mx1.example.com.", Port: 465}}}
		f, err := startSRV(t, records, func(cfg *postrider.Config) { cfg.Address = "srv:example.org" },
			postrider.ImplicitTLS)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.Send(rig.NumberedMail(0))
		var wrong x509.HostnameError
		if !errors.As(err, &wrong) || wrong.Host != "example.org" {
			t.Errorf("%v", err)
		}
		f, _ = startSRV(t, records,
			func(cfg *postrider.Config) { cfg.Address, cfg.ServerName = "srv:example.org", "localhost" },
			postrider.ImplicitTLS)
		if _, err = f.Send(rig.NumberedMail(0)); err != nil {
			t.Error(err)
		}
	})
}

func TestPoolSRVErrorsSayWhatWasAsked(t *testing.T) {
	for name, records := range map[string]srv{
		"_submissions._tcp.localhost": nil,
		"no submission server": {
			"_submission._tcp.localhost": {{Target: "."}}, "_submissions._tcp.localhost": {{Target: "."}},
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			f, err := startSRV(t, records, nil, postrider.StartTLS)
			if err != nil {
				t.Fatal(err)
			}
			r, err := f.Send(rig.NumberedMail(0))
			if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "srv:localhost") ||
				r.Outcomes[0].State != postrider.Untried {
				t.Errorf("%v", err)
			}
		})
	}
}

// A server that records name no more gets no more mail, after one of them failed.
func TestPoolFollowsSRVRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		records := srv{"_submissions._tcp.localhost": {{Target: "mx1.example.com.", Port: 465}}}
		f, err := startSRV(t, srv{}, nil, postrider.ImplicitTLS, postrider.ImplicitTLS)
		if err != nil {
			t.Fatal(err)
		}
		cfg := f.Servers[0].Config()
		cfg.Address = "srv:localhost"
		cfg.TLS.RootCAs.AppendCertsFromPEM(f.Servers[1].CAPEM())
		var first door
		cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			if strings.HasPrefix(address, "mx2") {
				return f.Servers[1].Config().Dial(ctx, network, address)
			}
			return f.Servers[0].Config().Dial(ctx, network, address)
		}
		first.guard(&cfg)
		cfg.IdleTimeout = time.Second
		f.Pool, err = postrider.NewPool(postrider.PoolConfig{LookupSRV: func(ctx context.Context, service, proto,
			name string) (string, []*net.SRV, error) {
			mu.Lock()
			defer mu.Unlock()
			return records.lookup(ctx, service, proto, name)
		}}, cfg)
		if err != nil {
			t.Fatal(err)
		}
		f.Send(rig.NumberedMail(0))
		mu.Lock()
		records["_submissions._tcp.localhost"] = []*net.SRV{{Target: "mx2.example.com.", Port: 465}}
		mu.Unlock()
		first.shut.Store(true)
		time.Sleep(2 * time.Minute)
		first.shut.Store(false)
		wantShares(f, 1, 0)
		first.shut.Store(true)
		f.Send(rig.NumberedMail(1)) // it fails, and shows that the records are old
		first.shut.Store(false)
		r, err := f.Send(rig.NumberedMail(2))
		if err != nil {
			t.Fatal(r.Outcomes, err)
		}
		wantShares(f, 1, 1)
	})
}
