package postrider_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/config"
	"github.com/postrider/postrider/smtptest"
)

// The statements of Mailman's documentation of its Connection: facts 1 to 28.

func (r *rig) sendMail(to ...string) map[string]postrider.Reply {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), guard)
	defer cancel()
	refused, err := r.conn.SendMail(ctx, "anne@example.com", to, []byte(content))
	if err != nil {
		r.t.Errorf("SendMail: %v", err)
	}
	synctest.Wait()
	return refused
}

// counts sends n messages and gives the server's count of connections after each.
func (r *rig) counts(n int) (counts []int) {
	r.t.Helper()
	for range n {
		if refused := r.sendMail("bart@example.com"); refused == nil || len(refused) != 0 {
			r.t.Errorf("refused: %v", refused)
		}
		counts = append(counts, r.server.ConnectionCount())
	}
	return counts
}

func TestFact1And3OneConnectionCarriesManyTransactions(t *testing.T) {
	inEverySetting(t, func(t *testing.T, s setting) {
		r := s.start(t, options{})
		for range 3 {
			r.accepted("bart@example.com")
		}
		r.quit()
		r.equal("said", r.wires(), "MAIL RCPT DATA . MAIL RCPT DATA . MAIL RCPT DATA . QUIT")
	})
}

func TestFact4ConstructingOpensNothing(t *testing.T) {
	inEverySetting(t, func(t *testing.T, s setting) {
		r := s.start(t, options{})
		synctest.Wait()
		if n := r.server.ConnectionCount(); n != 0 || r.conn.Stats().Dials != 0 {
			t.Errorf("%d connections", n)
		}
	})
	conn, err := postrider.NewConnection(postrider.Config{})
	if err != nil || conn.String() != "postrider.Connection(localhost:25, smtp)" {
		t.Errorf("the zero Config gives %v, %v", conn, err)
	}
}

func TestFact5To7TheFirstSendOpensAndTheWireStays(t *testing.T) {
	inEverySetting(t, func(t *testing.T, s setting) {
		r := s.start(t, options{})
		if got := r.counts(1); !slices.Equal(got, []int{1}) {
			t.Errorf("counts %v", got)
		}
		if st := r.conn.Stats(); !st.Open || st.Dials != 1 {
			t.Errorf("the wire did not stay: %+v", st)
		}
		if got := r.counts(2); !slices.Equal(got, []int{1, 1}) {
			t.Errorf("counts %v", got)
		}
	})
}

func TestFact6TheMapHoldsWhoWasRefused(t *testing.T) {
	inEverySetting(t, func(t *testing.T, s setting) {
		r := s.start(t, options{faults: []smtptest.Fault{
			{Command: "RCPT", Address: "cate@example.com", Reply: "550 5.1.1 no cate"}, {Command: "RCPT", Address: "dirk@example.com", Reply: "450 4.2.1 busy"},
		}})
		got := r.sendMail("bart@example.com", "cate@example.com", "dirk@example.com", "not an address")
		if len(got) != 3 || got["cate@example.com"] != (postrider.Reply{Code: 550, Enhanced: postrider.EnhancedCode{5, 1, 1}, Text: "5.1.1 no cate"}) ||
			got["dirk@example.com"].Code != 450 || got["not an address"].Code != 0 || got["not an address"].Text == "" {
			t.Errorf("refused: %v", got)
		}
		if m := r.server.Messages(); len(m) != 1 || !slices.Equal(m[0].To, []string{"bart@example.com"}) {
			t.Errorf("the server took %v", m)
		}
	})
}

// The seed's reset(): a client that says RSET and nothing else sets the count to
// 0; the connection that was open before is not counted again.
func TestFact8ARSETFromAnotherClientResetsTheCount(t *testing.T) {
	for _, mode := range []postrider.SecureMode{postrider.Insecure, postrider.ImplicitTLS} {
		s := setting{mode: mode}
		inBubble(t, s.String(), func(t *testing.T) {
			r := s.start(t, options{})
			r.counts(1)
			nc := r.dial()
			defer nc.Close()
			in := bufio.NewReader(nc)
			for _, say := range []string{"", "RSET\r\n"} {
				_, _ = nc.Write([]byte(say))
				if line, err := in.ReadString('\n'); !strings.HasPrefix(line, "2") {
					t.Errorf("behind %q came %q, %v", say, line, err)
				}
			}
			if n := r.server.ConnectionCount(); n != 0 {
				t.Errorf("count %d", n)
			}
			if got := r.counts(1); !slices.Equal(got, []int{0}) {
				t.Errorf("counts %v", got)
			}
		})
	}
}

func TestFact9QuitSaysQUITAndTheNextSendOpensAnew(t *testing.T) {
	inEverySetting(t, func(t *testing.T, s setting) {
		r := s.start(t, options{})
		r.quit() // nothing to do
		r.counts(1)
		r.quit()
		if st := r.conn.Stats(); st.Open {
			t.Error("the wire is open after Quit")
		}
		r.quit()
		if got := r.counts(1); !slices.Equal(got, []int{2}) {
			t.Errorf("counts %v", got)
		}
		r.equal("said", r.wires(), "MAIL RCPT DATA . QUIT | MAIL RCPT DATA .")
	})
}

func TestFact10And12EachWireAuthenticates(t *testing.T) {
	users := func(s *smtptest.Server) { s.Users, s.RequireAuth = map[string]string{"testuser": "testpass"}, true }
	inEverySetting(t, func(t *testing.T, s setting) {
		r := s.start(t, options{server: users, client: func(cfg *postrider.Config) {
			cfg.MaxTransactions, cfg.AuthMechanisms = 1, []string{"PLAIN"}
		}})
		r.counts(2)
		const each = "AHRlc3R1c2VyAHRlc3RwYXNz"
		if got := r.server.Credentials(); !slices.Equal(got, []string{each, each}) {
			t.Errorf("credentials %v", got)
		}
		r.equal("said", r.said(2), s.intro()+" AUTH MAIL RCPT DATA . QUIT")
	})
}

func TestFact10And92NoAUTHWithoutUserAndPassword(t *testing.T) {
	for name, change := range map[string]func(*postrider.Config){
		"no user":     func(cfg *postrider.Config) { cfg.User = "" },
		"no password": func(cfg *postrider.Config) { cfg.Password = postrider.NewSecret("") },
		"neither":     func(cfg *postrider.Config) { cfg.User, cfg.Password = "", postrider.Secret{} },
	} {
		t.Run(name, func(t *testing.T) {
			inEverySetting(t, func(t *testing.T, s setting) {
				r := s.start(t, options{server: func(s *smtptest.Server) { s.Users = map[string]string{"u": "p"} }, client: change})
				r.accepted("bart@example.com")
				r.equal("said", r.said(1), s.intro()+" MAIL RCPT DATA .")
			})
		})
	}
}

// The configuration of the seed, from Mailman's own file to a connection.
func TestFact11And13And17TheConfigurationReachesTheConnection(t *testing.T) {
	c, err := config.Parse("mailman.cfg", "[mta]\nsmtp_host: mail.example.com\nsmtp_port: 9025\nsmtp_secure_mode: starttls\nsmtp_verify_hostname: no\n")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Push("auth", "[mta]\nsmtp_user: testuser\nsmtp_pass: testpass\n"); err != nil {
		t.Fatal(err)
	}
	cfg, err := c.MTA(t.Context())
	if err != nil || cfg.User != "testuser" || cfg.Password.Reveal() != "testpass" || cfg.Mode != postrider.StartTLS || !cfg.NoVerifyHostname || cfg.NoVerifyCert {
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

func TestFact14And26To28TheThreeModesOnTheWire(t *testing.T) {
	want := map[postrider.SecureMode]string{
		postrider.Insecure:    "EHLO MAIL RCPT DATA .",
		postrider.ImplicitTLS: "EHLO MAIL RCPT DATA .",
		postrider.StartTLS:    "EHLO STARTTLS EHLO MAIL RCPT DATA .",
	}
	inEverySetting(t, func(t *testing.T, s setting) {
		r := s.start(t, options{server: func(srv *smtptest.Server) { srv.RequireTLS = s.mode != postrider.Insecure }})
		r.accepted("bart@example.com")
		r.equal("said", r.said(1), want[s.mode])
		if m := r.server.Messages(); m[0].TLS != (s.mode != postrider.Insecure) {
			t.Errorf("over TLS: %v", m[0].TLS)
		}
	})
	for mode, address := range map[postrider.SecureMode]string{postrider.Insecure: "localhost:25", postrider.StartTLS: "localhost:25", postrider.ImplicitTLS: "localhost:465"} {
		conn, err := postrider.NewConnection(postrider.Config{Mode: mode})
		if err != nil || !strings.Contains(conn.String(), address) {
			t.Errorf("%v: %v, %v", mode, conn, err)
		}
	}
}

func TestFact18TwoTransactionsPerConnection(t *testing.T) {
	inEverySetting(t, func(t *testing.T, s setting) {
		r := s.start(t, options{client: func(cfg *postrider.Config) { cfg.MaxTransactions = 2 }})
		if got := r.counts(5); !slices.Equal(got, []int{1, 1, 2, 2, 3}) {
			t.Errorf("counts %v", got)
		}
		r.equal("said", r.wires(), "MAIL RCPT DATA . MAIL RCPT DATA . QUIT | MAIL RCPT DATA . MAIL RCPT DATA . QUIT | MAIL RCPT DATA .")
	})
}

func TestFact19And56NoMaximum(t *testing.T) {
	for _, maximum := range []int{0, -1, -1000} {
		inEverySetting(t, func(t *testing.T, s setting) {
			r := s.start(t, options{client: func(cfg *postrider.Config) { cfg.MaxTransactions = maximum }})
			if got := r.counts(10); got[9] != 1 {
				t.Errorf("MaxTransactions %d: counts %v", maximum, got)
			}
		})
	}
}

func TestFact20To22DevelopmentModeReachesAnExistingConnection(t *testing.T) {
	inEverySetting(t, func(t *testing.T, s setting) {
		c, err := config.Parse("mailman.cfg", "")
		if err != nil {
			t.Fatal(err)
		}
		r := s.start(t, options{client: func(cfg *postrider.Config) { cfg.Redirect = c.Redirect }})
		r.accepted("bart@example.com")
		if err := c.Push("devmode", "[devmode]\nenabled: yes\nrecipient: zperson@example.com\n"); err != nil {
			t.Fatal(err)
		}
		r.server.Clear()
		r.accepted("bart@example.com", "cate@example.com")
		m := r.server.Messages()
		if len(m) != 1 || m[0].From != "anne@example.com" || !slices.Equal(m[0].To, []string{"zperson@example.com", "zperson@example.com"}) {
			t.Fatalf("the server took %v", m)
		}
		want := "From: anne@example.com\nTo: bart@example.com\nSubject: aardvarks\nX-Peer: "
		if text := m[0].String(); !strings.HasPrefix(text, want) || !strings.Contains(text, "\nX-MailFrom: anne@example.com\nX-RcptTo: zperson@example.com, zperson@example.com\n\n") {
			t.Errorf("the message is\n%s", text)
		}
		if err := c.Pop("devmode"); err != nil {
			t.Fatal(err)
		}
		r.server.Clear()
		r.accepted("bart@example.com")
		if m := r.server.Messages(); len(m) != 1 || !slices.Equal(m[0].To, []string{"bart@example.com"}) {
			t.Errorf("after pop the server took %v", m)
		}
	})
}

func TestFact23MessagesSinceClear(t *testing.T) {
	inEverySetting(t, func(t *testing.T, s setting) {
		r := s.start(t, options{})
		r.counts(2)
		r.server.Clear()
		if n := len(r.server.Messages()); n != 0 {
			t.Errorf("%d messages after Clear", n)
		}
		r.accepted("cate@example.com")
		if m := r.server.Messages(); len(m) != 1 || !slices.Equal(m[0].To, []string{"cate@example.com"}) {
			t.Errorf("messages %v", m)
		}
	})
}

// dial opens a bare conversation with the server.
func (r *rig) dial() net.Conn {
	r.t.Helper()
	cfg := r.server.Config()
	nc, err := cfg.Dial(r.t.Context(), "tcp", r.server.Addr)
	if err != nil {
		r.t.Fatal(err)
	}
	if cfg.Mode != postrider.ImplicitTLS {
		return nc
	}
	base := cfg.TLS.Clone()
	base.ServerName = "localhost"
	return tls.Client(nc, base)
}
