package secure_test

import (
	"context"
	"encoding/base64"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/test/rig"
	"github.com/postrider/postrider/smtptest"
)

// AUTH: facts 78 to 80 and 92 to 96.

func loginAs(user, password string) func(*postrider.Config) {
	return func(cfg *postrider.Config) { cfg.User, cfg.Password = user, postrider.NewSecret(password) }
}

// Fact 78
func TestAUTHIsNotOffered(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{Client: loginAs("testuser", "testpass")})
		result, err := r.Send("bart@example.com")
		r.Equal("outcomes", rig.Fates(result), "untried connect 0")
		r.Equal("error", rig.Trouble(err), "connect AUTH 0 lasts")
		r.Equal("said", r.Said(1), s.Intro()+" QUIT")
		if !strings.Contains(rig.Text(err), "does not offer AUTH") || !strings.Contains(rig.Text(err), "587") {
			t.Error(err)
		}
	})
	rig.InBubble(t, "only HELO", func(t *testing.T) {
		r := rig.Setting{}.Start(t, rig.Options{Server: rig.WithUser, Faults: rig.At("EHLO", 0, "502 what")})
		_, err := r.Send("bart@example.com")
		r.Equal("error", rig.Trouble(err), "connect AUTH 0 lasts")
		r.Equal("said", r.Said(1), "EHLO HELO QUIT")
	})
	rig.InBubble(t, "only after STARTTLS", func(t *testing.T) {
		r := rig.Setting{Mode: postrider.StartTLS}.Start(t,
			rig.Options{Server: rig.WithUser, Client: func(cfg *postrider.Config) { cfg.Mode = postrider.Insecure }})
		_, err := r.Send("bart@example.com")
		if rig.Trouble(err) != "connect AUTH 0 lasts" || !strings.Contains(rig.Text(err), "Config.Mode to StartTLS") {
			t.Error(err)
		}
	})
}

// Fact 79
func TestNoCommonMechanism(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{
			Server: func(s *smtptest.Server) { rig.WithUser(s); s.Mechanisms = []string{"LOGIN"} },
			Client: func(cfg *postrider.Config) { cfg.AuthMechanisms = []string{"PLAIN", "CRAM-MD5"} },
		})
		_, err := r.Send("bart@example.com")
		r.Equal("error", rig.Trouble(err), "connect AUTH 0 lasts")
		r.Equal("said", r.Said(1), s.Intro()+" QUIT")
		if !strings.Contains(rig.Text(err), `"LOGIN"`) || !strings.Contains(rig.Text(err), "Config.AuthMechanisms") {
			t.Error(err)
		}
	})
	_, err := postrider.NewConnection(postrider.Config{AuthMechanisms: []string{"PLAIN", "GSSAPI"}})
	if rig.Trouble(err) != "local configuration 0 lasts" || !strings.Contains(rig.Text(err), `"GSSAPI"`) {
		t.Error(err)
	}
}

// One mechanism, one try: a password that was refused is not shown to the server
// in weaker and weaker ways, and nothing is sent without the login.
//
// Fact 80
func TestARefusedLoginEndsTheWire(t *testing.T) {
	for code, want := range map[string]string{
		"535 5.7.8 no": "connect AUTH 535 lasts", "534 5.7.9 too weak": "connect AUTH 534 lasts",
		"571 Bad authentication": "connect AUTH 571 lasts",
		"454 4.7.0 later":        "connect AUTH 454 passes", "250 ok": "connect AUTH 250 lasts",
	} {
		t.Run(code[:3], func(t *testing.T) {
			rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
				r := s.Start(t, rig.Options{Server: rig.WithUser, Client: func(cfg *postrider.Config) {
					cfg.AuthMechanisms = []string{"PLAIN", "LOGIN"}
				}, Faults: rig.At("AUTH", 0, code)})
				result, err := r.Send("bart@example.com")
				r.Equal("outcomes", rig.Fates(result), "untried connect "+code[:3])
				r.Equal("error", rig.Trouble(err), want)
				r.Equal("said", r.Said(1), s.Intro()+" AUTH QUIT")
				if !strings.Contains(rig.Text(err), code) {
					t.Errorf("the error lost the server's words: %v", err)
				}
			})
		})
	}
	rig.InBubble(t, "hang up", func(t *testing.T) {
		r := rig.Setting{}.Start(t, rig.Options{Server: rig.WithUser, Faults: []smtptest.Fault{
			{Command: "AUTH", Nth: 1, Answer: smtptest.AnswerNone, Then: smtptest.ThenClose},
		}})
		_, err := r.Send("bart@example.com")
		r.Equal("error", rig.Trouble(err), "connect AUTH 0 passes")
		r.Accepted("bart@example.com")
	})
}

// After the server has refused the credentials every Send fails at once for a
// while, with the same words and without a dial; then the server is asked again.
//
// Fact 80
func TestAfterA535SendsFailFast(t *testing.T) {
	for _, c := range []struct {
		reply string
		wait  time.Duration // Config.AuthRetryAfter
		fast  time.Duration // for how long Sends fail fast; 0: not at all
	}{
		{"535 5.7.8 no", 0, time.Minute}, {"535 5.7.8 no", 10 * time.Second, 10 * time.Second},
		{"571 no", 0, time.Minute}, {"454 4.7.0 later", 0, 0}, {"421 4.7.0 bye", 0, 0},
	} {
		t.Run(c.reply[:3]+" "+c.wait.String(), func(t *testing.T) {
			rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
				r := s.Start(t, rig.Options{
					Server: rig.WithUser, Client: func(cfg *postrider.Config) {
						cfg.AuthRetryAfter, cfg.AuthMechanisms = c.wait, []string{"PLAIN"}
					}, Faults: rig.At("AUTH", 1, c.reply),
				})
				_, first := r.Send("bart@example.com")
				if c.fast == 0 {
					r.Accepted("bart@example.com")
					return
				}
				for _, wait := range []time.Duration{0, c.fast / 2, c.fast/2 - 1} {
					time.Sleep(wait)
					result, err := r.Send("bart@example.com")
					r.Equal("outcomes", rig.Fates(result), "untried connect "+c.reply[:3])
					r.Equal("error", rig.Trouble(err), rig.Trouble(first))
					if !strings.Contains(rig.Text(err), "not asked again for") ||
						!strings.Contains(rig.Text(err), "Config.User") {
						t.Errorf("the error does not tell that it is an old one, and what to do: %v", err)
					}
				}
				if st := r.Conn.Stats(); st.Dials != 1 || st.Untried != 4 {
					t.Errorf("%+v", st)
				}
				time.Sleep(time.Nanosecond)
				r.Accepted("bart@example.com")
			})
		})
	}
}

// Those who waited for the wire get the same answer: one dial, not one each.
//
// Fact 80
func TestARefusedLoginAnswersEverybodyWhoWaits(t *testing.T) {
	rig.InBubble(t, "ten", func(t *testing.T) {
		r := rig.Setting{}.Start(t, rig.Options{Server: rig.WithUser, Faults: []smtptest.Fault{
			{Command: "AUTH", Reply: "535 5.7.8 no", Delay: time.Second},
		}})
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				_, err := r.Conn.Send(t.Context(), rig.Mail("bart@example.com"))
				if rig.Trouble(err) != "connect AUTH 535 lasts" {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := r.Server.ConnectionCount(); n != 1 {
			t.Errorf("%d connections", n)
		}
	})
}

// The order of preference, what the server's EHLO makes of it, and how each
// mechanism looks on the wire.
//
// Fact 93
func TestTheMechanismIsChosenFromWhatIsOffered(t *testing.T) {
	for name, c := range map[string]struct {
		ehlo      []string
		preferred []string
		encrypted string // chosen under TLS
		clear     string
	}{
		"all":              {[]string{"AUTH LOGIN PLAIN CRAM-MD5"}, nil, "PLAIN", "CRAM-MD5"},
		"lower case":       {[]string{"auth login plain"}, nil, "PLAIN", "PLAIN"},
		"only LOGIN":       {[]string{"AUTH LOGIN"}, nil, "LOGIN", "LOGIN"},
		"two lines":        {[]string{"AUTH XOAUTH2", "AUTH LOGIN"}, nil, "LOGIN", "LOGIN"},
		"the old form":     {[]string{"AUTH=PLAIN"}, nil, "PLAIN", "PLAIN"},
		"old and new":      {[]string{"AUTH=LOGIN CRAM-MD5", "AUTH GSSAPI"}, nil, "CRAM-MD5", "CRAM-MD5"},
		"preference":       {[]string{"AUTH PLAIN LOGIN CRAM-MD5"}, []string{"login", "PLAIN"}, "LOGIN", "LOGIN"},
		"second preferred": {[]string{"AUTH PLAIN"}, []string{"CRAM-MD5", "PLAIN"}, "PLAIN", "PLAIN"},
	} {
		for _, mode := range []postrider.SecureMode{postrider.Insecure, postrider.ImplicitTLS} {
			want := c.clear
			if mode == postrider.ImplicitTLS {
				want = c.encrypted
			}
			rig.InBubble(t, name+" "+mode.String(), func(t *testing.T) {
				var tried []string
				r := rig.Setting{Mode: mode}.Start(t, rig.Options{
					Server: func(s *smtptest.Server) { s.Extensions = smtptest.Extensions{Lines: c.ehlo} },
					Client: func(cfg *postrider.Config) {
						loginAs("u", "p")(cfg)
						cfg.AuthMechanisms = c.preferred
						cfg.Trace = rig.OnEvent(postrider.EventAuthenticated,
							func(e postrider.Event) { tried = append(tried, e.Mechanism) })
					},
				})
				_, _ = r.Send("bart@example.com")
				if !slices.Equal(tried, []string{want}) {
					t.Errorf("tried %v; want %s", tried, want)
				}
			})
		}
	}
}

// Facts 94, 96
func TestTheMechanismsOnTheWire(t *testing.T) {
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	fits := strings.Repeat("x", (512-len("AUTH PLAIN \r\n"))/4*3-len("\x00u\x00")) // RFC 4954 §4, RFC 5321 §4.5.3.1.4
	for name, c := range map[string]struct {
		mechanism, user, password string
		talk                      []string // server and client in turn, from AUTH on; the client begins
	}{
		"PLAIN": {
			"PLAIN", "testuser", "testpass", []string{"AUTH PLAIN AHRlc3R1c2VyAHRlc3RwYXNz", "235 ok"},
		},
		"PLAIN, 512 octets": {"PLAIN", "u", fits, []string{"AUTH PLAIN " + b64("\x00u\x00"+fits), "235 ok"}},
		"PLAIN, longer": {
			"PLAIN", "u", fits + "x", []string{"AUTH PLAIN", "334 ", b64("\x00u\x00" + fits + "x"), "235 ok"},
		},
		"PLAIN, overlooked": {
			"PLAIN", "u", "p", []string{"AUTH PLAIN " + b64("\x00u\x00p"), "334 ", b64("\x00u\x00p"), "235 ok"},
		},
		"UTF-8": {
			"PLAIN", "jürgen", "pässwort", []string{"AUTH PLAIN " + b64("\x00jürgen\x00pässwort"), "235 ok"},
		},
		"LOGIN": {"LOGIN", "testuser", "testpass", []string{
			"AUTH LOGIN", "334 " + b64("Username:"), b64("testuser"), "334 " + b64("Password:"), b64("testpass"),
			"235 ok",
		}},
		"LOGIN without words": {"LOGIN", "testuser", "testpass", []string{
			"AUTH LOGIN", "334", b64("testuser"), "334", b64("testpass"), "235 ok",
		}},
		// The example of RFC 2195 §2.
		"CRAM-MD5": {"CRAM-MD5", "tim", "tanstaaftanstaaf", []string{
			"AUTH CRAM-MD5", "334 " + b64("<1896.697170952@postoffice.reston.mci.net>"),
			"dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw", "235 ok",
		}},
	} {
		rig.InBubble(t, name, func(t *testing.T) {
			p := rig.PlayServer(t, func(p *rig.Peer) {
				p.Hello("AUTH " + c.mechanism)
				for i, line := range c.talk {
					if i%2 == 1 {
						p.Say(line)
					} else if got := p.Line(); got != line {
						t.Errorf("heard %q; want %q", got, line)
					}
				}
				p.Message()
				p.Bye()
			}, loginAs(c.user, c.password))
			if _, err := p.Send("bart@example.com"); err != nil {
				t.Error(err)
			}
			p.Quit()
		})
	}
}

// An exchange that leads nowhere is taken back with "*" (RFC 4954 §4), and ends
// the wire.
//
// Fact 94
func TestAnExchangeThatLeadsNowhereIsTakenBack(t *testing.T) {
	for name, c := range map[string]struct {
		mechanism string
		answers   []string // to AUTH and to each response
		says      string
	}{
		"not base64":            {"CRAM-MD5", []string{"334 <this is no base64!>"}, "not base64"},
		"PLAIN twice":           {"PLAIN", []string{"334 ", "334 "}, "PLAIN"},
		"a challenge for PLAIN": {"PLAIN", []string{"334 aGVsbG8="}, "PLAIN"},
		"LOGIN for ever": {
			"LOGIN", []string{"334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6", "334 UGFzc3dvcmQ6"}, "LOGIN",
		},
		"CRAM-MD5 for ever": {"CRAM-MD5", []string{"334 PDFAeD4=", "334 PDFAeD4="}, "CRAM-MD5"},
	} {
		rig.InBubble(t, name, func(t *testing.T) {
			p := rig.PlayServer(t, func(p *rig.Peer) {
				p.Hello("AUTH " + c.mechanism)
				p.Hear("AUTH " + c.mechanism)
				for i, answer := range c.answers {
					if i > 0 {
						p.Line()
					}
					p.Say(answer)
				}
				if got := p.Line(); got != "*" {
					t.Errorf("heard %q; want *", got)
				}
				p.Say("501 5.7.0 cancelled")
				p.Bye()
			}, loginAs("testuser", "hunter22"))
			_, err := p.Send("bart@example.com")
			if !strings.HasPrefix(rig.Trouble(err), "connect AUTH ") || !strings.Contains(rig.Text(err), c.says) {
				t.Error(rig.Trouble(err), err)
			}
			if strings.Contains(rig.Text(err), "hunter22") || strings.Contains(rig.Text(err), "aHVudGVyMjI") {
				t.Errorf("the error holds the password: %v", err)
			}
		})
	}
}

// remoteConn is a connection whose other end seems to be elsewhere.
type remoteConn struct {
	net.Conn
	remote net.Addr
}

func (c remoteConn) RemoteAddr() net.Addr { return c.remote }

// Credentials travel readable only to this machine, or by leave. What counts is
// the socket that was dialled, not the name.
//
// Fact 95
func TestCredentialsInTheClear(t *testing.T) {
	tcp := func(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 25} }
	for name, c := range map[string]struct {
		mode    postrider.SecureMode
		remote  net.Addr
		allowed bool
		sent    bool
	}{
		"elsewhere":           {postrider.Insecure, tcp("192.0.2.1"), false, false},
		"elsewhere, by leave": {postrider.Insecure, tcp("192.0.2.1"), true, true},
		"elsewhere, IPv6":     {postrider.Insecure, tcp("2001:db8::1"), false, false},
		"loopback":            {postrider.Insecure, tcp("127.0.0.1"), false, true},
		"loopback, IPv6":      {postrider.Insecure, tcp("::1"), false, true},
		"unix":                {postrider.Insecure, &net.UnixAddr{Net: "unix", Name: "/run/mta"}, false, true},
		"elsewhere, TLS":      {postrider.ImplicitTLS, tcp("192.0.2.1"), false, true},
		"elsewhere, STARTTLS": {postrider.StartTLS, tcp("192.0.2.1"), false, true},
	} {
		for _, mechanism := range []string{"PLAIN", "LOGIN", "CRAM-MD5"} {
			rig.InBubble(t, name+" "+mechanism, func(t *testing.T) {
				s := rig.Setting{Mode: c.mode}
				r := s.Start(t, rig.Options{Server: rig.WithUser, Client: func(cfg *postrider.Config) {
					cfg.AllowPlaintextAuth, cfg.AuthMechanisms = c.allowed, []string{mechanism}
					dial := cfg.Dial
					cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
						nc, err := dial(ctx, network, address)
						return remoteConn{nc, c.remote}, err
					}
				}})
				_, err := r.Send("bart@example.com")
				if c.sent {
					r.Equal("error", rig.Trouble(err), "<nil>")
					return
				}
				r.Equal("error", rig.Trouble(err), "connect AUTH 0 lasts")
				r.Equal("said", r.Said(1), "EHLO QUIT")
				if !strings.Contains(rig.Text(err), "Config.AllowPlaintextAuth") {
					t.Errorf("the error does not tell what to set: %v", err)
				}
			})
		}
	}
}

// What no mechanism can carry is told when the connection is made, and without
// showing it.
//
// Fact 96
func TestCredentialsThatCannotBeSent(t *testing.T) {
	for _, c := range [][2]string{{"u\x00x", "secret1"}, {"u", "sec\x00ret1"}} {
		_, err := postrider.NewConnection(postrider.Config{User: c[0], Password: postrider.NewSecret(c[1])})
		if rig.Trouble(err) != "local configuration 0 lasts" || strings.Contains(rig.Text(err), "ret1") {
			t.Errorf("%q: %v", c, err)
		}
	}
}

// Every wire logs in, or carries nothing: no Send goes out unauthenticated on a
// wire whose login has failed.
//
// Fact 96
func TestNoSendRidesOnAWireWithoutItsLogin(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{Server: rig.WithUser, Client: func(cfg *postrider.Config) {
			cfg.MaxTransactions, cfg.AuthRetryAfter = 1, time.Nanosecond
		}, Faults: []smtptest.Fault{{Command: "AUTH", Nth: 2, Reply: "535 5.7.8 no"}, {
			Command: "AUTH", Nth: 3, Answer: smtptest.AnswerNone, Then: smtptest.ThenClose,
		}}})
		for i := range 5 {
			_, err := r.Send("bart@example.com")
			if failed := i == 1 || i == 2; (err != nil) != failed {
				t.Errorf("Send %d: %v", i, err)
			}
			time.Sleep(time.Second)
			synctest.Wait()
		}
		for _, m := range r.Server.Messages() {
			if m.User != "testuser" {
				t.Errorf("a message came from %q", m.User)
			}
		}
	})
}
