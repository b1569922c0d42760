package content_test

import (
	"context"
	"crypto/tls"
	"errors"
	"iter"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/smtptest"
)

// The caller's own code may block for as long as it likes: a Send does not wait for it longer than its context lasts,
// and nobody else at all.

// blocks are the places at which a content blocks before its MAIL is said: it is one of 60,000 octets.
var blocks = map[string]func(stuck chan struct{}) *script{
	"Open": func(stuck chan struct{}) *script {
		return &script{text: lines(60_000), at: -1, onOpen: func() { <-stuck }}
	},
	"the first octet": func(stuck chan struct{}) *script {
		return &script{text: lines(60_000), do: func() error { <-stuck; return nil }}
	},
	"the middle": func(stuck chan struct{}) *script {
		return &script{text: lines(60_000), at: 30_000, do: func() error { <-stuck; return nil }}
	},
	"Close": func(stuck chan struct{}) *script {
		return &script{text: lines(60_000), close: func() error { <-stuck; return nil }}
	},
}

func TestAContentThatBlocksBeforeItsMail(t *testing.T) {
	for place, blocked := range blocks {
		t.Run(place, func(t *testing.T) {
			throughEachDoor(t, nil, func(t *testing.T, r *rig) {
				stuck := make(chan struct{})
				s := blocked(stuck)
				said := r.begin(time.Minute, mail("bart@example.com", s.content()))
				for range 3 { // nobody waits for it
					r.accepted("cate@example.com")
				}
				r.gaveUp(<-said, time.Minute)
				reads := s.readsSoFar()
				close(stuck)
				s.check(t, 1)
				if place != "Close" && s.readsSoFar() != reads {
					t.Errorf("it was read %d times after that", s.readsSoFar()-reads)
				}
				r.accepted("dirk@example.com")
			})
		})
	}
}

// A large content blocks on the wire. Its Send returns with its context; the end of the Sender comes at once.
func TestAContentThatBlocksOnTheWire(t *testing.T) {
	for what, end := range map[string]func(r *rig){
		"context": func(*rig) {},
		"Close":   func(r *rig) { r.close() },
		"Close while its time is over": func(r *rig) {
			switch s := r.sender.(type) {
			case *postrider.Connection:
				ctx, cancel := context.WithTimeout(context.Background(), 0)
				defer cancel()
				if err := s.Quit(ctx); !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
			case *postrider.Pool:
				closePool(s, 0)
			}
		},
	} {
		t.Run(what, func(t *testing.T) {
			throughEachDoor(t, nil, func(t *testing.T, r *rig) {
				if _, is := r.sender.(*postrider.Pool); is && what == "Close" {
					t.Skip("a Pool's waits for what is underway")
				}
				stuck := make(chan struct{})
				s := &script{text: lines(300_000), at: 100_000, do: func() error { <-stuck; return nil }}
				said := r.begin(time.Minute, mail("bart@example.com", s.content()))
				wait := time.Minute
				if what != "context" {
					wait = 30 * time.Second
					time.Sleep(wait)
					start := time.Now()
					if end(r); time.Since(start) > 0 {
						t.Errorf("the end took %v", time.Since(start))
					}
				}
				a := <-said
				if a.took != wait || a.err == nil || a.state() != postrider.Untried {
					t.Errorf("%v, %v after %v", a.result.Outcomes, a.err, a.took)
				}
				reads := s.readsSoFar()
				close(stuck)
				s.check(t, 1)
				if s.readsSoFar() != reads {
					t.Error("it was read after that")
				}
				if n, _ := r.taken("bart@example.com"); n > 0 {
					t.Error("it was taken")
				}
			})
		})
	}
}

// A content that gives nothing for Timeouts.Block, or never comes to its Close, is broken off; those who wait behind it
// are served then.
func TestAContentThatStallsIsBrokenOff(t *testing.T) {
	change := func(cfg *postrider.Config) { cfg.Timeouts.Block = 20 * time.Second }
	for place, stall := range map[string]func(stuck chan struct{}) *script{
		"in a Read": func(stuck chan struct{}) *script {
			return &script{text: lines(300_000), at: 100_000, do: func() error { <-stuck; return nil }}
		},
		"in its Close": func(stuck chan struct{}) *script {
			return &script{text: lines(300_000), at: -1, close: func() error { <-stuck; return nil }}
		},
	} {
		t.Run(place, func(t *testing.T) {
			throughEachDoor(t, change, func(t *testing.T, r *rig) {
				stuck := make(chan struct{})
				s := stall(stuck)
				for range 4 {
					r.accepted("anne@example.com")
				}
				first := r.begin(time.Hour, mail("bart@example.com", s.content()))
				neighbour := r.begin(time.Hour, mail("cate@example.com", postrider.Bytes([]byte("Subject: x\r\n\r\n"))))
				a := <-first
				if a.took != 20*time.Second {
					t.Errorf("it was broken off after %v", a.took)
				}
				r.brokenOff(a, "it gave nothing for 20s")
				if b := <-neighbour; b.err != nil || b.took > 20*time.Second {
					t.Errorf("the neighbour: %v after %v", b.err, b.took)
				}
				close(stuck)
				s.check(t, 1)
			})
		})
	}
}

// One that gives little, but never stops, goes out, and the server hears of it soon.
func TestASlowContentIsNotBrokenOff(t *testing.T) {
	var pieces atomic.Int64
	change := func(cfg *postrider.Config) {
		cfg.Timeouts.Block = 20 * time.Second
		cfg.Trace = &postrider.Trace{Content: func(int, []byte) { pieces.Add(1) }}
	}
	throughEachDoor(t, change, func(t *testing.T, r *rig) {
		pieces.Store(0)
		text := lines(120_000)
		a := r.send(time.Hour, mail("bart@example.com", postrider.Reader(&slow{strings.NewReader(text)})))
		if n, got := r.taken("bart@example.com"); a.err != nil || n != 1 || got != text {
			t.Errorf("%d octets of %d arrived, %d times: %v", len(got), len(text), n, a.err)
		}
		if n := pieces.Load(); n < 50 { // half of it is read before the MAIL
			t.Errorf("it left in %d pieces", n)
		}
	})
}

// slow returns a thousand octets every ten seconds.
type slow struct{ r *strings.Reader }

func (s *slow) Read(p []byte) (int, error) {
	time.Sleep(10 * time.Second)
	return s.r.Read(p[:min(len(p), 1000)])
}

// outside is code of the caller's that is needed before there is a wire.
var outside = map[string]func(cfg *postrider.Config, pool *postrider.PoolConfig, stuck chan struct{},
	open *atomic.Int64){
	"Dial": func(cfg *postrider.Config, _ *postrider.PoolConfig, stuck chan struct{}, open *atomic.Int64) {
		dial := cfg.Dial
		cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			<-stuck
			conn, err := dial(context.WithoutCancel(ctx), network, address)
			open.Add(1)
			return &closes{Conn: conn, n: open}, err
		}
	},
	"Credentials": func(cfg *postrider.Config, _ *postrider.PoolConfig, stuck chan struct{}, open *atomic.Int64) {
		cfg.User, cfg.Password = "", postrider.Secret{}
		cfg.AllowPlaintextAuth = true
		cfg.Credentials = func(context.Context, bool) (string, postrider.Secret, error) {
			<-stuck
			return "anne", postrider.NewSecret("secret"), nil
		}
	},
	"TLS": func(cfg *postrider.Config, _ *postrider.PoolConfig, stuck chan struct{}, open *atomic.Int64) {
		cfg.TLS = cfg.TLS.Clone()
		cfg.TLS.VerifyConnection = func(tls.ConnectionState) error { <-stuck; return nil }
	},
	"LookupHost": func(cfg *postrider.Config, pool *postrider.PoolConfig, stuck chan struct{}, open *atomic.Int64) {
		pool.LookupHost = func(context.Context, string) ([]string, error) { <-stuck; return []string{"127.0.0.1"}, nil }
	},
	"LookupSRV": func(cfg *postrider.Config, pool *postrider.PoolConfig, stuck chan struct{}, open *atomic.Int64) {
		cfg.Address = "srv:example.com"
		pool.LookupSRV = func(context.Context, string, string, string) (string, []*net.SRV, error) {
			<-stuck
			return "", []*net.SRV{{Target: "localhost.", Port: 25}}, nil
		}
	},
}

// closes is a connection that tells when it is closed.
type closes struct {
	net.Conn
	n *atomic.Int64
}

func (c *closes) Close() error {
	c.n.Add(-1)
	return c.Conn.Close()
}

func TestOtherCodeThatBlocks(t *testing.T) {
	for name, block := range outside {
		for _, door := range []string{"Connection", "Pool"} {
			if strings.HasPrefix(name, "Lookup") && door == "Connection" {
				continue
			}
			t.Run(name+"/"+door, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { blockedOutside(t, block, door, name) })
			})
		}
	}
}

func blockedOutside(t *testing.T, block func(*postrider.Config, *postrider.PoolConfig, chan struct{}, *atomic.Int64),
	door, name string) {
	server := smtptest.NewUnstartedServer()
	server.Listener, server.IdleTimeout = smtptest.InMemory("localhost:25"), -1
	if server.Mode = postrider.Insecure; name == "TLS" {
		server.Mode = postrider.ImplicitTLS
	}
	if name == "Credentials" {
		server.Users = map[string]string{"anne": "secret"}
	}
	server.Start()
	defer server.Close()
	stuck := make(chan struct{})
	cfg, pool := server.Config(), postrider.PoolConfig{MaxConnections: 1}
	cfg.LocalName = "client.example.com"
	var open atomic.Int64
	block(&cfg, &pool, stuck, &open)
	r := &rig{t: t, server: server}
	var end func() error
	if door == "Connection" {
		c, err := postrider.NewConnection(cfg)
		if err != nil {
			t.Fatal(err)
		}
		r.sender, end = c, c.Close
		defer c.Close()
	} else {
		p, err := postrider.NewPool(pool, cfg)
		if err != nil {
			t.Fatal(err)
		}
		r.sender, end = p, func() error { return closePool(p, 0) }
		defer closePool(p, 0)
	}
	small := postrider.Bytes([]byte("Subject: x\r\n\r\n"))
	for range 2 {
		r.gaveUp(r.send(time.Second, mail("bart@example.com", small)), time.Second)
	}
	said := r.begin(time.Second, mail("bart@example.com", small))
	start := time.Now()
	if c, is := r.sender.(*postrider.Connection); is {
		ctx, cancel := context.WithTimeout(t.Context(), 0)
		defer cancel()
		c.Quit(ctx)
	}
	if end(); time.Since(start) > 0 {
		t.Errorf("the end took %v", time.Since(start))
	}
	if a := <-said; a.took > 0 || a.err == nil || a.state() != postrider.Untried {
		t.Errorf("%v after %v", a.err, a.took)
	}
	close(stuck)
	synctest.Wait()
	if n := open.Load(); n != 0 {
		t.Errorf("of the connections that came too late %d are open", n)
	}
	if n, _ := r.taken("bart@example.com"); n > 0 {
		t.Error("it was taken")
	}
}

// In a SendAll too a content that blocks ends with the context, and leaving the loop does not wait for it.
func TestSendAllWithAContentThatBlocks(t *testing.T) {
	throughEachDoor(t, nil, func(t *testing.T, r *rig) {
		conn, is := r.sender.(*postrider.Connection)
		if !is {
			t.Skip("a Pool has no SendAll")
		}
		for _, at := range []int{0, 100_000} {
			stuck := make(chan struct{})
			s := &script{text: lines(300_000), at: at, do: func() error { <-stuck; return nil }}
			var all iter.Seq[*postrider.Message] = slices.Values([]*postrider.Message{
				mail("anne@example.com", postrider.Bytes(nil)), mail("bart@example.com", s.content()),
				mail("cate@example.com", postrider.Bytes(nil)),
			})
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			start, states := time.Now(), []postrider.State(nil)
			for result := range conn.SendAll(ctx, all) {
				states = append(states, result.Outcomes[0].State)
			}
			cancel()
			if took := time.Since(start); took != time.Second || len(states) < 1 || states[0] != postrider.Accepted ||
				slices.Contains(states[1:], postrider.Accepted) {
				t.Errorf("%v after %v", states, took)
			}
			close(stuck)
			s.check(t, 1)
			r.accepted("dirk@example.com")
		}
	})
}
