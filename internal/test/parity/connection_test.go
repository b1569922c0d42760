package parity_test

import (
	"bufio"
	"crypto/tls"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/config"
	"github.com/postrider/postrider/internal/test/rig"
	"github.com/postrider/postrider/smtptest"
)

// The statements of Mailman's documentation of its Connection: facts 1 to 28.

// Facts 1, 3
func TestOneConnectionCarriesManyTransactions(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{})
		for range 3 {
			r.Accepted("bart@example.com")
		}
		r.Quit()
		r.Equal("said", r.Wires(), "MAIL RCPT DATA . MAIL RCPT DATA . MAIL RCPT DATA . QUIT")
	})
}

// Fact 4
func TestConstructingOpensNothing(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{})
		synctest.Wait()
		if n := r.Server.ConnectionCount(); n != 0 || r.Conn.Stats().Dials != 0 {
			t.Errorf("%d connections", n)
		}
	})
	conn, err := postrider.NewConnection(postrider.Config{})
	if err != nil || conn.String() != "postrider.Connection(localhost:25, smtp)" {
		t.Errorf("the zero Config gives %v, %v", conn, err)
	}
}

// Facts 5–7
func TestTheFirstSendOpensAndTheWireStays(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{})
		if got := r.Counts(1); !slices.Equal(got, []int{1}) {
			t.Errorf("counts %v", got)
		}
		if st := r.Conn.Stats(); !st.Open || st.Dials != 1 {
			t.Errorf("the wire did not stay: %+v", st)
		}
		if got := r.Counts(2); !slices.Equal(got, []int{1, 1}) {
			t.Errorf("counts %v", got)
		}
	})
}

// Fact 6
func TestTheMapHoldsWhoWasRefused(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{Faults: []smtptest.Fault{
			{Command: "RCPT", Address: "cate@example.com", Reply: "550 5.1.1 no cate"},
			{Command: "RCPT", Address: "dirk@example.com", Reply: "450 4.2.1 busy"},
		}})
		got := r.SendMail("bart@example.com", "cate@example.com", "dirk@example.com", "not an address")
		if len(got) != 3 || got["cate@example.com"] != (postrider.Reply{
			Code: 550, Enhanced: postrider.EnhancedCode{5, 1, 1}, Text: "5.1.1 no cate",
		}) ||
			got["dirk@example.com"].Code != 450 || got["not an address"].Code != 0 || got["not an address"].Text == "" {
			t.Errorf("refused: %v", got)
		}
		if m := r.Server.Messages(); len(m) != 1 || !slices.Equal(m[0].To, []string{"bart@example.com"}) {
			t.Errorf("the server took %v", m)
		}
	})
}

// The seed's reset(): a client that says RSET and nothing else sets the count to
// 0; the connection that was open before is not counted again.
//
// Fact 8
func TestARSETFromAnotherClientResetsTheCount(t *testing.T) {
	for _, mode := range []postrider.SecureMode{postrider.Insecure, postrider.ImplicitTLS} {
		s := rig.Setting{Mode: mode}
		rig.InBubble(t, s.String(), func(t *testing.T) {
			r := s.Start(t, rig.Options{})
			r.Counts(1)
			nc := dial(r)
			defer nc.Close()
			in := bufio.NewReader(nc)
			for _, say := range []string{"", "RSET\r\n"} {
				_, _ = nc.Write([]byte(say))
				if line, err := in.ReadString('\n'); !strings.HasPrefix(line, "2") {
					t.Errorf("behind %q came %q, %v", say, line, err)
				}
			}
			if n := r.Server.ConnectionCount(); n != 0 {
				t.Errorf("count %d", n)
			}
			if got := r.Counts(1); !slices.Equal(got, []int{0}) {
				t.Errorf("counts %v", got)
			}
		})
	}
}

// Fact 9
func TestQuitSaysQUITAndTheNextSendOpensAnew(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{})
		r.Quit() // nothing to do
		r.Counts(1)
		r.Quit()
		if st := r.Conn.Stats(); st.Open {
			t.Error("the wire is open after Quit")
		}
		r.Quit()
		if got := r.Counts(1); !slices.Equal(got, []int{2}) {
			t.Errorf("counts %v", got)
		}
		r.Equal("said", r.Wires(), "MAIL RCPT DATA . QUIT | MAIL RCPT DATA .")
	})
}

// Facts 10, 12
func TestEachWireAuthenticates(t *testing.T) {
	users := func(s *smtptest.Server) { s.Users, s.RequireAuth = map[string]string{"testuser": "testpass"}, true }
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{Server: users, Client: func(cfg *postrider.Config) {
			cfg.MaxTransactions, cfg.AuthMechanisms = 1, []string{"PLAIN"}
		}})
		r.Counts(2)
		const each = "AHRlc3R1c2VyAHRlc3RwYXNz"
		if got := r.Server.Credentials(); !slices.Equal(got, []string{each, each}) {
			t.Errorf("credentials %v", got)
		}
		r.Equal("said", r.Said(2), s.Intro()+" AUTH MAIL RCPT DATA . QUIT")
	})
}

// Facts 10, 92
func TestNoAUTHWithoutUserAndPassword(t *testing.T) {
	for name, change := range map[string]func(*postrider.Config){
		"no user":     func(cfg *postrider.Config) { cfg.User = "" },
		"no password": func(cfg *postrider.Config) { cfg.Password = postrider.NewSecret("") },
		"neither":     func(cfg *postrider.Config) { cfg.User, cfg.Password = "", postrider.Secret{} },
	} {
		t.Run(name, func(t *testing.T) {
			rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
				r := s.Start(t, rig.Options{
					Server: func(s *smtptest.Server) { s.Users = map[string]string{"u": "p"} }, Client: change,
				})
				r.Accepted("bart@example.com")
				r.Equal("said", r.Said(1), s.Intro()+" MAIL RCPT DATA .")
			})
		})
	}
}

// The configuration of the seed, from Mailman's own file to a connection.
//
// Facts 11, 13, 17
func TestTheConfigurationReachesTheConnection(t *testing.T) {
	c, err := config.Parse("mailman.cfg",
		"[mta]\nsmtp_host: mail.example.com\nsmtp_port: 9025\nsmtp_secure_mode: starttls\nsmtp_verify_hostname: no\n")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Push("auth", "[mta]\nsmtp_user: testuser\nsmtp_pass: testpass\n"); err != nil {
		t.Fatal(err)
	}
	cfg, err := c.MTA(t.Context())
	if err != nil || cfg.User != "testuser" || cfg.Password.Reveal() != "testpass" || cfg.Mode != postrider.StartTLS ||
		!cfg.NoVerifyHostname || cfg.NoVerifyCert {
		t.Errorf("%+v, %v", cfg, err)
	}
	conn, err := postrider.NewConnection(cfg)
	if err != nil || conn.String() != "postrider.Connection(mail.example.com:9025, starttls)" {
		t.Errorf("%v, %v", conn, err)
	}
	if err := c.Pop("auth"); err != nil {
		t.Fatal(err)
	}
	if cfg, err = c.MTA(t.Context()); err != nil || cfg.User != "" || !cfg.Password.IsZero() {
		t.Errorf("after pop: %+v, %v", cfg, err)
	}
}

// Facts 14, 26–28
func TestTheThreeModesOnTheWire(t *testing.T) {
	want := map[postrider.SecureMode]string{
		postrider.Insecure:    "EHLO MAIL RCPT DATA .",
		postrider.ImplicitTLS: "EHLO MAIL RCPT DATA .",
		postrider.StartTLS:    "EHLO STARTTLS EHLO MAIL RCPT DATA .",
	}
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t,
			rig.Options{Server: func(srv *smtptest.Server) { srv.RequireTLS = s.Mode != postrider.Insecure }})
		r.Accepted("bart@example.com")
		r.Equal("said", r.Said(1), want[s.Mode])
		if m := r.Server.Messages(); m[0].TLS != (s.Mode != postrider.Insecure) {
			t.Errorf("over TLS: %v", m[0].TLS)
		}
	})
	for mode, address := range map[postrider.SecureMode]string{
		postrider.Insecure: "localhost:25", postrider.StartTLS: "localhost:25", postrider.ImplicitTLS: "localhost:465",
	} {
		conn, err := postrider.NewConnection(postrider.Config{Mode: mode})
		if err != nil || !strings.Contains(conn.String(), address) {
			t.Errorf("%v: %v, %v", mode, conn, err)
		}
	}
}

// Fact 18
func TestTwoTransactionsPerConnection(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{Client: func(cfg *postrider.Config) { cfg.MaxTransactions = 2 }})
		if got := r.Counts(5); !slices.Equal(got, []int{1, 1, 2, 2, 3}) {
			t.Errorf("counts %v", got)
		}
		r.Equal("said", r.Wires(),
			"MAIL RCPT DATA . MAIL RCPT DATA . QUIT | MAIL RCPT DATA . MAIL RCPT DATA . QUIT | MAIL RCPT DATA .")
	})
}

// Facts 19, 56
func TestNoMaximum(t *testing.T) {
	for _, maximum := range []int{0, -1, -1000} {
		rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
			r := s.Start(t, rig.Options{Client: func(cfg *postrider.Config) { cfg.MaxTransactions = maximum }})
			if got := r.Counts(10); got[9] != 1 {
				t.Errorf("MaxTransactions %d: counts %v", maximum, got)
			}
		})
	}
}

// Facts 20–22
func TestDevelopmentModeReachesAnExistingConnection(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		c, err := config.Parse("mailman.cfg", "")
		if err != nil {
			t.Fatal(err)
		}
		r := s.Start(t, rig.Options{Client: func(cfg *postrider.Config) { cfg.Redirect = c.Redirect }})
		r.Accepted("bart@example.com")
		if err := c.Push("devmode", "[devmode]\nenabled: yes\nrecipient: zperson@example.com\n"); err != nil {
			t.Fatal(err)
		}
		r.Server.Clear()
		r.Accepted("bart@example.com", "cate@example.com")
		m := r.Server.Messages()
		if len(m) != 1 || m[0].From != "anne@example.com" ||
			!slices.Equal(m[0].To, []string{"zperson@example.com", "zperson@example.com"}) {
			t.Fatalf("the server took %v", m)
		}
		want := "From: anne@example.com\nTo: bart@example.com\nSubject: aardvarks\nX-Peer: "
		if text := m[0].String(); !strings.HasPrefix(text, want) || !strings.Contains(text,
			"\nX-MailFrom: anne@example.com\nX-RcptTo: zperson@example.com, zperson@example.com\n\n") {
			t.Errorf("the message is\n%s", text)
		}
		if err := c.Pop("devmode"); err != nil {
			t.Fatal(err)
		}
		r.Server.Clear()
		r.Accepted("bart@example.com")
		if m := r.Server.Messages(); len(m) != 1 || !slices.Equal(m[0].To, []string{"bart@example.com"}) {
			t.Errorf("after pop the server took %v", m)
		}
	})
}

// Fact 23
func TestMessagesSinceClear(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{})
		r.Counts(2)
		r.Server.Clear()
		if n := len(r.Server.Messages()); n != 0 {
			t.Errorf("%d messages after Clear", n)
		}
		r.Accepted("cate@example.com")
		if m := r.Server.Messages(); len(m) != 1 || !slices.Equal(m[0].To, []string{"cate@example.com"}) {
			t.Errorf("messages %v", m)
		}
	})
}

// dial opens a bare conversation with the server.
func dial(r *rig.Pair) net.Conn {
	r.T.Helper()
	cfg := r.Server.Config()
	nc, err := cfg.Dial(r.T.Context(), "tcp", r.Server.Addr)
	if err != nil {
		r.T.Fatal(err)
	}
	if cfg.Mode != postrider.ImplicitTLS {
		return nc
	}
	base := cfg.TLS.Clone()
	base.ServerName = "localhost"
	return tls.Client(nc, base)
}
