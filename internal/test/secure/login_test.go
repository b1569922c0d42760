package secure_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/test/rig"
	"github.com/postrider/postrider/smtptest"
)

func offeringAuth(mechanisms ...string) func(*smtptest.Server) {
	return func(s *smtptest.Server) { rig.WithUser(s); s.Mechanisms = mechanisms }
}

func preferring(mechanisms ...string) func(*postrider.Config) {
	return func(cfg *postrider.Config) { cfg.AuthMechanisms = mechanisms }
}

// Every mechanism logs in, in each mode that it can be had in, against a server that
// parses by itself.
func TestEveryMechanismLogsIn(t *testing.T) {
	for _, mechanism := range []string{
		"SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1", "OAUTHBEARER", "XOAUTH2", "PLAIN",
		"CRAM-MD5", "LOGIN",
	} {
		t.Run(mechanism, func(t *testing.T) {
			rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
				r := s.Start(t, rig.Options{Server: offeringAuth(mechanism), Client: preferring(mechanism)})
				if strings.HasSuffix(mechanism, "-PLUS") && s.Mode == postrider.Insecure {
					_, err := r.Send("bart@example.com")
					r.Equal("error", rig.Trouble(err), "connect AUTH 0 lasts") // there is nothing to bind to
					return
				}
				r.Accepted("bart@example.com")
				if m := r.Server.Messages()[0]; m.User != "testuser" {
					t.Errorf("the message came from %q", m.User)
				}
			})
		})
	}
}

// RFC 5929: before TLS 1.3 the binding is the certificate.
func TestSCRAMBindsUnderTLS12(t *testing.T) {
	rig.InBubble(t, "1.2", func(t *testing.T) {
		r := rig.Setting{Mode: postrider.StartTLS}.Start(t, rig.Options{
			Server: func(s *smtptest.Server) {
				offeringAuth("SCRAM-SHA-256-PLUS")(s)
				s.TLS = &tls.Config{MaxVersion: tls.VersionTLS12}
			}, Client: preferring("SCRAM-SHA-256-PLUS"),
		})
		r.Accepted("bart@example.com")
	})
}

// A server that says yes without having proven that it knows the password gets no
// mail: whoever stands between can say 235.
func TestA235WithoutProofIsNotBelieved(t *testing.T) {
	rig.InBubble(t, "235", func(t *testing.T) {
		r := rig.Setting{}.Start(t, rig.Options{
			Server: offeringAuth("SCRAM-SHA-256"), Client: preferring("SCRAM-SHA-256"),
			Faults: rig.At("AUTH", 0, "235 2.7.0 sure"),
		})
		result, err := r.Send("bart@example.com")
		r.Equal("outcomes", rig.Fates(result), "untried connect 235")
		if !strings.Contains(rig.Text(err), "has not proven") {
			t.Error(err)
		}
	})
}

// rotating is a source of credentials whose first answers are stale.
type rotating struct {
	mu    sync.Mutex
	calls []bool
	wait  time.Duration
	stale bool
	err   error
}

func (c *rotating) ask(ctx context.Context, refresh bool) (string, postrider.Secret, error) {
	time.Sleep(c.wait)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, refresh)
	if c.err != nil {
		return "", postrider.Secret{}, c.err
	}
	c.stale = c.stale && !refresh
	if c.stale {
		return "testuser", postrider.NewSecret("stale-" + rig.Password), nil
	}
	return "testuser", postrider.NewSecret("testpass"), nil
}

func (c *rotating) use(mechanisms ...string) func(*postrider.Config) {
	return func(cfg *postrider.Config) {
		cfg.User, cfg.Password = "", postrider.Secret{}
		cfg.Credentials, cfg.AuthMechanisms = c.ask, mechanisms
	}
}

// After a refusal fresh credentials are asked for once, and tried on the same wire.
func TestRefusedCredentialsAreRefreshedOnce(t *testing.T) {
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256", "OAUTHBEARER", "XOAUTH2"} {
		t.Run(mechanism, func(t *testing.T) {
			rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
				c := &rotating{stale: true}
				r := s.Start(t, rig.Options{Server: offeringAuth(mechanism), Client: c.use(mechanism)})
				r.Accepted("bart@example.com")
				if got := fmt.Sprint(c.calls); got != "[false true]" || r.Conn.Stats().Dials != 1 {
					t.Errorf("asked %s, %+v", got, r.Conn.Stats())
				}
				r.Quit()
				r.Accepted("bart@example.com")
				if got := fmt.Sprint(c.calls); got != "[false true false]" {
					t.Errorf("asked %s", got)
				}
			})
		})
	}
}

// When the fresh ones are refused too, it ends there, and Sends fail fast. What the
// server said about a token is in the error, on one line and without the token.
func TestRefusedTwice(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		c := &rotating{}
		r := s.Start(t, rig.Options{
			Server: func(s *smtptest.Server) {
				s.Users, s.Mechanisms = map[string]string{"testuser": "another"}, []string{"XOAUTH2"}
				s.OAuthRefusal = "{\"status\":\"401\"}\r\ntestpass"
			}, Client: c.use("XOAUTH2"),
		})
		for range 3 {
			_, err := r.Send("bart@example.com")
			r.Equal("error", rig.Trouble(err), "connect AUTH 535 lasts")
		}
		if got := fmt.Sprint(c.calls); got != "[false true]" || r.Conn.Stats().Dials != 1 {
			t.Errorf("asked %s, %+v", got, r.Conn.Stats())
		}
	})
	rig.InBubble(t, "the document", func(t *testing.T) {
		c := &rotating{}
		r := rig.Setting{}.Start(t, rig.Options{
			Server: func(s *smtptest.Server) {
				s.Users, s.Mechanisms = map[string]string{"testuser": "another"}, []string{"XOAUTH2"}
				s.OAuthRefusal = "{\"status\":\"401\"}\r\ntestpass"
			}, Client: c.use("XOAUTH2"),
		})
		_, err := r.Send("bart@example.com")
		if !strings.Contains(rig.Text(err), `401`) || strings.ContainsAny(rig.Text(err), "\r\n") ||
			strings.Contains(rig.Text(err), "testpass") || !strings.Contains(rig.Text(err), "fresh token") {
			t.Error(err)
		}
	})
}

// Who has no credentials gets no wire, and learns why.
func TestCredentialsFail(t *testing.T) {
	rig.InBubble(t, "error", func(t *testing.T) {
		broken := errors.New("the vault is sealed")
		c := &rotating{err: broken}
		r := rig.Setting{}.Start(t, rig.Options{Server: offeringAuth("PLAIN"), Client: c.use()})
		result, err := r.Send("bart@example.com")
		r.Equal("outcomes", rig.Fates(result), "untried connect 0")
		if !errors.Is(err, broken) {
			t.Error(err)
		}
	})
}

// The wires of a pool that log in at a time ask once, for a token and for the fresh
// one after it. Several do so only after one was let in.
func TestAPoolAsksOnceForAllItsWires(t *testing.T) {
	rig.InBubble(t, "pool", func(t *testing.T) {
		c := &rotating{wait: time.Second}
		f := rig.StartFleet(t, rig.FleetOptions{
			Pool: postrider.PoolConfig{MaxConnections: 4},
			Server: func(_ int, s *smtptest.Server) {
				s.Users, s.Mechanisms = map[string]string{"testuser": "testpass"}, []string{"PLAIN"}
				s.Faults = []smtptest.Fault{
					{Command: "MAIL", Delay: time.Minute}, // one wire is not enough
					// hears its refusal when there is a fresh token
					{Command: "AUTH", Connection: 3, Nth: 1, Delay: 10 * time.Second},
				}
			},
			Client: func(_ int, cfg *postrider.Config) { c.use("PLAIN")(cfg); cfg.Window = 1 },
		})
		if states := f.Compare(f.SendAll(1, 1)); states[postrider.Accepted] != 1 {
			t.Fatal(states)
		}
		c.mu.Lock()
		c.stale, c.calls = true, nil
		c.mu.Unlock()
		f.SendAll(12, 12)
		s := f.Servers[0]
		if got := fmt.Sprint(c.calls); got != "[false true]" || s.ConnectionCount() != 4 ||
			s.Commands("AUTH") != 1+2*3 {
			t.Errorf("asked %s for %d wires and %d AUTH", got, s.ConnectionCount()-1, s.Commands("AUTH"))
		}
	})
}

// When the fresh ones are refused too, a Pool asks neither the server nor the
// function again until AuthRetryAfter is over, and then it does.
func TestAPoolFailsFastAfterTheFreshOnes(t *testing.T) {
	rig.InBubble(t, "pool", func(t *testing.T) {
		c := &rotating{}
		r := rig.Setting{}.Start(t, rig.Options{Server: func(s *smtptest.Server) {
			s.Users, s.Mechanisms = map[string]string{"testuser": "another"}, []string{"PLAIN"}
		}})
		cfg := r.Server.Config()
		c.use("PLAIN")(&cfg)
		cfg.AuthRetryAfter = 2 * time.Hour // longer than a server is left alone for anything else
		p, err := postrider.NewPool(postrider.PoolConfig{MaxConnections: 1}, cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Shutdown(context.Background())
		for range 4 {
			if _,
				err := p.Send(t.Context(), rig.Mail("bart@example.com")); rig.Trouble(err) != "connect AUTH 535 lasts" {
				t.Error(err)
			}
			time.Sleep(25 * time.Minute)
		}
		if got := fmt.Sprint(c.calls); got != "[false true]" || r.Server.Commands("AUTH") != 2 {
			t.Errorf("asked %s, %d AUTH", got, r.Server.Commands("AUTH"))
		}
		time.Sleep(time.Hour)
		_, _ = p.Send(t.Context(), rig.Mail("bart@example.com"))
		if got := fmt.Sprint(c.calls); got != "[false true false true]" {
			t.Errorf("after a while asked %s", got)
		}
	})
}

func TestOneKindOfCredentials(t *testing.T) {
	for _, mechanisms := range [][]string{{"PLAIN", "XOAUTH2"}, {"oauthbearer", "SCRAM-SHA-256"}} {
		_, err := postrider.NewConnection(postrider.Config{AuthMechanisms: mechanisms})
		if rig.Trouble(err) != "local configuration 0 lasts" || !strings.Contains(rig.Text(err), "one kind") {
			t.Errorf("%v: %v", mechanisms, err)
		}
	}
}

// ownPin is the pin of the certificate that the server shows.
func ownPin(t *testing.T, s *smtptest.Server) string {
	t.Helper()
	cfg := s.Config()
	cfg.NoVerifyCert, cfg.User = true, ""
	var pin string
	cfg.TLS = &tls.Config{VerifyConnection: func(cs tls.ConnectionState) error {
		sum := sha256.Sum256(cs.PeerCertificates[0].Raw)
		pin = hex.EncodeToString(sum[:])
		return nil
	}}
	c, err := postrider.NewConnection(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = c.Send(t.Context(), rig.Mail("bart@example.com"))
	return pin
}

// REQUIRETLS, RFC 8689 §4: over TLS that proves who the server is, to a server that
// offers it; else everybody is refused here, and MAIL is not said.
func TestRequireTLS(t *testing.T) {
	for name, c := range map[string]struct {
		mode    postrider.SecureMode
		offered bool
		client  func(*postrider.Config)
		pinned  bool
		want    string // "": sent
	}{
		"verified":     {postrider.StartTLS, true, nil, false, ""},
		"implicit":     {postrider.ImplicitTLS, true, nil, false, ""},
		"in the clear": {postrider.Insecure, true, nil, false, "5.7.10"},
		"unverified": {
			postrider.StartTLS, true, func(cfg *postrider.Config) { cfg.NoVerifyCert = true }, false, "5.7.10",
		},
		"any name": {
			postrider.StartTLS, true, func(cfg *postrider.Config) { cfg.NoVerifyHostname = true }, false, "5.7.10",
		},
		"pinned":      {postrider.StartTLS, true, nil, true, ""},
		"not offered": {postrider.StartTLS, false, nil, false, "5.7.30"},
	} {
		rig.InBubble(t, name, func(t *testing.T) {
			var pin string
			r := rig.Setting{Mode: c.mode}.Start(t,
				rig.Options{Server: func(s *smtptest.Server) { s.Extensions.RequireTLS = c.offered }, Client: c.client})
			conn := r.Conn
			if c.pinned {
				pin = ownPin(t, r.Server)
				cfg := r.Server.Config()
				cfg.TLS, cfg.CAFile, cfg.Pins = nil, "", []string{strings.Repeat("0", 64), pin}
				var err error
				if conn, err = postrider.NewConnection(cfg); err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
			}
			before := len(r.Server.Messages())
			m := rig.Mail("bart@example.com")
			m.RequireTLS = true
			result, err := conn.Send(t.Context(), m)
			if c.want != "" {
				o := result.Outcomes[0]
				if o.State != postrider.Refused || !strings.Contains(rig.Text(o.Err), c.want) ||
					len(r.Server.Messages()) != before {
					t.Errorf("%+v", o)
				}
				return
			}
			if err != nil || len(r.Server.Messages()) != before+1 {
				t.Fatal(err)
			}
			if _, said := r.Server.Messages()[before].MailParams["REQUIRETLS"]; !said {
				t.Errorf("MAIL had %v", r.Server.Messages()[before].MailParams)
			}
		})
	}
}

// A wrong pin fails, says what the certificate is, and what to set.
func TestAWrongPin(t *testing.T) {
	rig.InBubble(t, "wrong", func(t *testing.T) {
		r := rig.Setting{Mode: postrider.ImplicitTLS}.Start(t,
			rig.Options{Client: func(cfg *postrider.Config) { cfg.Pins = []string{strings.Repeat("0", 64)} }})
		_, err := r.Send("bart@example.com")
		r.Equal("error", rig.Trouble(err), "connect TLS handshake 0 lasts")
		for _, part := range []string{"none of the pins", "sha256/", "valid from", "Config.Pins"} {
			if !strings.Contains(rig.Text(err), part) {
				t.Errorf("%v\n\tdoes not have %q", err, part)
			}
		}
	})
}

// With a client certificate and no password EXTERNAL is used, where it is offered.
func TestEXTERNAL(t *testing.T) {
	for name, offered := range map[string][]string{"EXTERNAL": {"PLAIN", "EXTERNAL"}, "not offered": {"PLAIN"}} {
		rig.InBubble(t, name, func(t *testing.T) {
			var tried string
			r := rig.Setting{Mode: postrider.StartTLS}.Start(t, rig.Options{
				Server: func(s *smtptest.Server) {
					s.Users, s.Mechanisms = map[string]string{"localhost": "-"}, offered
					s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
				},
				Client: func(cfg *postrider.Config) {
					cfg.User, cfg.Password = "", postrider.Secret{}
					cfg.TLS = cfg.TLS.Clone()
					cfg.TLS.Certificates = []tls.Certificate{clientCertificate(t)}
					cfg.Trace = rig.OnEvent(postrider.EventAuthenticated,
						func(e postrider.Event) { tried = e.Mechanism })
				},
			})
			r.Accepted("bart@example.com")
			if want := strings.TrimPrefix(name, "not offered"); tried != want {
				t.Errorf("tried %q; want %q", tried, want)
			}
		})
	}
}

func clientCertificate(t *testing.T) tls.Certificate {
	t.Helper()
	key := newTestKey(t)
	return tls.Certificate{
		Certificate: [][]byte{selfSign(t, key, &x509.Certificate{DNSNames: []string{"localhost"}})}, PrivateKey: key,
	}
}

// Who switches verification off is told so, once; who verifies the chain alone is not.
func TestUnverifiedTLSIsLoggedOnce(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*postrider.Config)
		warned int
	}{
		"verified":   {func(*postrider.Config) {}, 0},
		"chain only": {func(c *postrider.Config) { c.NoVerifyHostname = true }, 0},
		"unverified": {func(c *postrider.Config) { c.NoVerifyCert = true }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := smtptest.NewUnstartedServer()
			s.Mode = postrider.StartTLS
			s.Start()
			defer s.Close()
			var log bytes.Buffer
			cfg := s.Config()
			cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
			cfg.MaxTransactions = 1 // a wire for each message
			tt.change(&cfg)
			conn, err := postrider.NewConnection(cfg)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if _, err := conn.SendMail(t.Context(), "a@example.com", []string{
					"b@example.org",
				}, []byte("Subject: x\r\n\r\nx\r\n")); err != nil {
					t.Error(err)
				}
			}
			conn.Close()
			if n := strings.Count(log.String(), "not fully verified"); n != tt.warned || s.ConnectionCount() != 2 {
				t.Errorf("warned %d times, want %d:\n%s", n, tt.warned, &log)
			}
		})
	}
}

// RFC 4954 §4: an initial response that would make the command longer than 512 octets waits for the 334; what even a
// response cannot carry is not begun.
func TestLongTokens(t *testing.T) {
	for _, mechanism := range []string{"XOAUTH2", "OAUTHBEARER", "PLAIN"} {
		for octets, initial := range map[int]bool{200: true, 1500: false, 8000: false, 9300: false} {
			rig.InBubble(t, fmt.Sprint(mechanism, " ", octets), func(t *testing.T) {
				token := strings.Repeat("x", octets)
				r := rig.Setting{}.Start(t, rig.Options{Server: func(s *smtptest.Server) {
					s.Users, s.Mechanisms = map[string]string{"testuser": token}, []string{mechanism}
				}, Client: preferring(mechanism)})
				result, err := r.Send("bart@example.com")
				if octets > 9216 {
					r.Equal("error", rig.Trouble(err), "connect AUTH 0 lasts")
					r.Equal("said", r.Said(1), "EHLO QUIT")
					if !strings.Contains(rig.Text(err), "too long") || !strings.Contains(rig.Text(err), "12288") {
						t.Error(err)
					}
					return
				}
				if err != nil || result.Count(postrider.Accepted) != 1 {
					t.Fatal(err)
				}
				if got := len(r.Lines(1, "AUTH "+mechanism+" ********")) == 1; got != initial {
					t.Errorf("the response was in the command: %t\n%s", got, r.Server.Transcript(1))
				}
			})
		}
	}
}

// Octets that are no UTF-8 go out as they are; SCRAM, which knows characters only, says so.
func TestCredentialsThatAreNoUTF8(t *testing.T) {
	const user, secret = "j\xf6rg", "gr\xfc\xdfe aus 1998" // Latin-1
	for _, mechanism := range []string{"PLAIN", "LOGIN", "CRAM-MD5"} {
		rig.InBubble(t, mechanism, func(t *testing.T) {
			r := rig.Setting{}.Start(t, rig.Options{
				Server: func(s *smtptest.Server) {
					s.Users, s.Mechanisms = map[string]string{user: secret}, []string{"SCRAM-SHA-256", mechanism}
				}, Client: loginAs(user, secret),
			})
			r.Accepted("bart@example.com")
			if m := r.Server.Messages()[0]; m.User != user {
				t.Errorf("logged in as %q", m.User)
			}
		})
	}
	_, err := postrider.NewConnection(postrider.Config{
		User: "u", Password: postrider.NewSecret(secret), AuthMechanisms: []string{"scram-sha-256"},
	})
	if rig.Trouble(err) != "local configuration 0 lasts" ||
		!strings.Contains(rig.Text(err), "password is not valid UTF-8") || strings.Contains(rig.Text(err), "1998") {
		t.Error(err)
	}
	for name, client := range map[string]func(*postrider.Config){
		"configured": loginAs(user, "ok"),
		"fetched": func(cfg *postrider.Config) {
			cfg.User, cfg.Password = "", postrider.Secret{}
			cfg.Credentials = func(context.Context, bool) (string, postrider.Secret, error) {
				return user, postrider.NewSecret(secret), nil
			}
		},
	} {
		rig.InBubble(t, "only SCRAM, "+name, func(t *testing.T) {
			r := rig.Setting{}.Start(t, rig.Options{Server: offeringAuth("SCRAM-SHA-256"), Client: client})
			_, err := r.Send("bart@example.com")
			if !strings.Contains(rig.Text(err), "user name is not valid UTF-8") ||
				strings.HasPrefix(r.Said(1), "EHLO AUTH") {
				t.Errorf("%v; said %s", err, r.Said(1))
			}
		})
	}
}
