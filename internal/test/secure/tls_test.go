package secure_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/test/rig"
	"github.com/postrider/postrider/smtptest"
)

// TLS: facts 2, 15, 16, 24, 40, 76, 97 and 98.

// inBothTLSModes runs f with implicit TLS and with STARTTLS.
func inBothTLSModes(t *testing.T, name string, f func(t *testing.T, s rig.Setting)) {
	t.Helper()
	for _, mode := range []postrider.SecureMode{postrider.ImplicitTLS, postrider.StartTLS} {
		s := rig.Setting{Mode: mode, Pipelining: true}
		rig.InBubble(t, name+" "+mode.String(), func(t *testing.T) { f(t, s) })
	}
}

// TestFact15And76TheKnobs: what each certificate is worth with everything
// verified, without the name, and without anything.
//
// Facts 15, 16, 76, 98
func TestTheKnobs(t *testing.T) {
	type knobs struct{ noCert, noName bool }
	all, chain, nothing, both := knobs{}, knobs{noName: true}, knobs{noCert: true}, knobs{noCert: true, noName: true}
	for _, c := range []struct {
		name    string
		kind    smtptest.Certificate
		passes  []knobs
		refused func(error) bool
		says    string // a hint
	}{
		{"good", smtptest.CertGood, []knobs{all, chain, nothing, both}, nil, ""},
		{"expired", smtptest.CertExpired, []knobs{nothing, both}, isA[x509.CertificateInvalidError], "expired"},
		{"wrong host", smtptest.CertWrongHost, []knobs{chain, nothing, both}, isA[x509.HostnameError],
			"wrong.example.net"},
		{"unknown CA", smtptest.CertUnknownCA, []knobs{nothing, both}, isA[x509.UnknownAuthorityError],
			"Config.CAFile"},
		{"self-signed", smtptest.CertSelfSigned, []knobs{nothing, both}, isA[x509.UnknownAuthorityError],
			"self-signed"},
		{"only a CN", smtptest.CertNameOnly, []knobs{chain, nothing, both}, isA[x509.HostnameError], "Common Name"},
	} {
		for _, k := range []knobs{all, chain, nothing, both} {
			passes := false
			for _, p := range c.passes {
				passes = passes || p == k
			}
			inBothTLSModes(t, c.name, func(t *testing.T, s rig.Setting) {
				var socket bytes.Buffer
				r := s.Start(t, rig.Options{
					Server: func(s *smtptest.Server) { s.Certificate = c.kind; s.Users = map[string]string{"u": "p"} },
					Client: func(cfg *postrider.Config) {
						cfg.NoVerifyCert, cfg.NoVerifyHostname = k.noCert, k.noName
						dial := cfg.Dial
						cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
							nc, err := dial(ctx, network, address)
							return overheardConn{nc, &socket}, err
						}
					},
				})
				result, err := r.Send("bart@example.com")
				if passes {
					if err != nil {
						t.Errorf("with %+v: %v", k, err)
					}
					return
				}
				r.Equal("outcomes", rig.Fates(result), "untried connect 0")
				r.Equal("error", rig.Trouble(err), "connect TLS handshake 0 lasts")
				if !c.refused(err) || !strings.Contains(rig.Text(err), c.says) {
					t.Errorf("with %+v: %v", k, err)
				}
				// Nothing is said behind the handshake: no AUTH, and no QUIT in the clear.
				if bytes.Contains(socket.Bytes(), []byte("QUIT")) {
					t.Errorf("with %+v: QUIT in the clear", k)
				}
				r.Equal("said", r.Said(1), strings.TrimSuffix(s.Intro(), "EHLO")[:max(0, len(s.Intro())-5)])
			})
		}
	}
}

// overheardConn keeps what is written.
type overheardConn struct {
	net.Conn
	heard *bytes.Buffer
}

func (c overheardConn) Write(p []byte) (int, error) {
	c.heard.Write(p)
	return c.Conn.Write(p)
}

func isA[E error](err error) bool {
	var e E
	return errors.As(err, &e)
}

// The knobs mean nothing without TLS.
//
// Fact 16
func TestTheKnobsMeanNothingInClear(t *testing.T) {
	rig.InBubble(t, "smtp", func(t *testing.T) {
		r := rig.Setting{}.Start(t, rig.Options{Client: func(cfg *postrider.Config) {
			cfg.NoVerifyCert, cfg.NoVerifyHostname, cfg.ServerName, cfg.CAFile = false, true, "elsewhere.example.com",
				"/no/such/file"
		}})
		r.Accepted("bart@example.com")
	})
}

// The name to verify, and to ask for, is the host of the address, unless
// ServerName says another. An IP is verified as one, and not asked for by SNI
// (RFC 6066 §3).
//
// Fact 97
func TestTheServersName(t *testing.T) {
	for _, c := range []struct {
		name, address, serverName string
		kind                      smtptest.Certificate
		sni                       string
		fails                     bool
	}{
		{"host", "localhost:25", "", smtptest.CertGood, "localhost", false},
		{"IP", "127.0.0.1:25", "", smtptest.CertGood, "", false},
		{"IP that is not in it", "127.0.0.2:25", "", smtptest.CertGood, "", true},
		{"another name", "localhost:25", "wrong.example.net", smtptest.CertWrongHost, "wrong.example.net", false},
		{"IP with a name", "192.0.2.1:25", "example.com", smtptest.CertGood, "example.com", false},
		{"another name that is not in it", "localhost:25", "elsewhere.example.net", smtptest.CertGood,
			"elsewhere.example.net", true},
	} {
		inBothTLSModes(t, c.name, func(t *testing.T, s rig.Setting) {
			var asked atomic.Value
			r := s.Start(t, rig.Options{
				Server: func(s *smtptest.Server) {
					s.Certificate = c.kind
					s.TLS = &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
						asked.Store(h.ServerName)
						return nil, nil
					}}
				},
				Client: func(cfg *postrider.Config) { cfg.Address, cfg.ServerName = c.address, c.serverName },
			})
			_, err := r.Send("bart@example.com")
			if (err != nil) != c.fails || c.fails && !isA[x509.HostnameError](err) {
				t.Errorf("%v", err)
			}
			if asked.Load() != c.sni {
				t.Errorf("SNI %q", asked.Load())
			}
		})
	}
}

// Fact 98
func TestACAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, smtptest.NewUnstartedServer().CAPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	inBothTLSModes(t, "trusted", func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{Client: func(cfg *postrider.Config) { cfg.TLS, cfg.CAFile = nil, file }})
		r.Accepted("bart@example.com")
	})
	inBothTLSModes(t, "the system's trust store alone", func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{Client: func(cfg *postrider.Config) { cfg.TLS = nil }})
		_, err := r.Send("bart@example.com")
		r.Equal("error", rig.Trouble(err), "connect TLS handshake 0 lasts")
	})
}

// A client certificate comes from Config.TLS.
//
// Fact 98
func TestAClientCertificate(t *testing.T) {
	inBothTLSModes(t, "wanted", func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{
			Server: func(s *smtptest.Server) { s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert} },
		})
		_, err := r.Send("bart@example.com")
		if err == nil || !strings.Contains(rig.Text(err), "Config.ClientCert") {
			t.Errorf("without one: %v", err)
		}
	})
}

// SSL and early TLS are refused, unless the configuration says otherwise in so many
// words.
//
// Fact 24
func TestTLS12AtLeast(t *testing.T) {
	old := func(s *smtptest.Server) {
		s.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	}
	inBothTLSModes(t, "1.1", func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{Server: old})
		result, err := r.Send("bart@example.com")
		r.Equal("outcomes", rig.Fates(result), "untried connect 0")
		var e *postrider.Error
		if !errors.As(err, &e) || e.Step != "TLS handshake" || !strings.Contains(e.Hint.Text, "1.2") {
			t.Errorf("%v", err)
		}
		if n := r.Server.Commands("MAIL"); n != 0 {
			t.Errorf("%d MAIL commands", n)
		}
	})
	inBothTLSModes(t, "1.1 by MinVersion", func(t *testing.T, s rig.Setting) {
		r := s.Start(t,
			rig.Options{Server: old, Client: func(cfg *postrider.Config) { cfg.TLS.MinVersion = tls.VersionTLS10 }})
		r.Accepted("bart@example.com")
	})
	inBothTLSModes(t, "1.2", func(t *testing.T, s rig.Setting) {
		r := s.Start(t,
			rig.Options{Server: func(s *smtptest.Server) { s.TLS = &tls.Config{MaxVersion: tls.VersionTLS12} }})
		r.Accepted("bart@example.com")
	})
}

// resumptions sends twice, on two wires, and tells which were resumed.
func resumptions(r *rig.Pair, change func(*postrider.Config)) (resumed []bool, errs []error) {
	r.Connect(func(cfg *postrider.Config) {
		cfg.MaxTransactions = 1
		cfg.Trace = rig.OnEvent(postrider.EventTLS,
			func(e postrider.Event) { resumed = append(resumed, e.TLS.DidResume) })
		if change != nil {
			change(cfg)
		}
	})
	for range 2 {
		_, err := r.Send("bart@example.com")
		errs = append(errs, err)
	}
	return resumed, errs
}

// Fact 98
func TestSessionsAreResumedAcrossWires(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for name, change := range map[string]func(*postrider.Config){
			"": nil, "chain only": func(cfg *postrider.Config) { cfg.NoVerifyHostname = true },
			"nothing": func(cfg *postrider.Config) { cfg.NoVerifyCert = true },
		} {
			inBothTLSModes(t, tls.VersionName(version)+" "+name, func(t *testing.T, s rig.Setting) {
				r := s.Start(t,
					rig.Options{Server: func(s *smtptest.Server) { s.TLS = &tls.Config{MaxVersion: version} }})
				resumed, errs := resumptions(r, change)
				if errs[0] != nil || errs[1] != nil || len(resumed) != 2 || resumed[0] || !resumed[1] {
					t.Errorf("resumed %v, errors %v", resumed, errs)
				}
			})
		}
	}
}

// A session that was begun without verifying, or whose certificate has expired
// since, is worth nothing to a connection that verifies.
//
// Fact 98
func TestResumedSessionsAreVerifiedToo(t *testing.T) {
	verifying := map[string]func(*postrider.Config){
		"all": func(*postrider.Config) {}, "chain only": func(cfg *postrider.Config) { cfg.NoVerifyHostname = true },
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for name, verify := range verifying {
			name = tls.VersionName(version) + " " + name
			inBothTLSModes(t, name+", begun without", func(t *testing.T, s rig.Setting) {
				sessions := tls.NewLRUClientSessionCache(8)
				r := s.Start(t, rig.Options{Server: func(s *smtptest.Server) {
					s.Certificate, s.TLS = smtptest.CertUnknownCA, &tls.Config{MaxVersion: version}
				}})
				resumed, errs := resumptions(r, func(cfg *postrider.Config) {
					cfg.TLS.ClientSessionCache, cfg.NoVerifyCert = sessions, true
				})
				if errs[1] != nil || !resumed[1] {
					t.Fatalf("there is no session to try: %v, %v", resumed, errs)
				}
				_, errs = resumptions(r, func(cfg *postrider.Config) {
					cfg.TLS.ClientSessionCache = sessions
					verify(cfg)
				})
				for _, err := range errs {
					if rig.Trouble(err) != "connect TLS handshake 0 lasts" || !isA[x509.UnknownAuthorityError](err) {
						t.Errorf("error %v", err)
					}
				}
			})
			inBothTLSModes(t, name+", expired since", func(t *testing.T, s rig.Setting) {
				r := s.Start(t,
					rig.Options{Server: func(s *smtptest.Server) { s.TLS = &tls.Config{MaxVersion: version} }})
				var century atomic.Bool
				resumed, errs := resumptions(r, func(cfg *postrider.Config) {
					cfg.TLS.Time = func() time.Time {
						if century.Load() {
							return time.Now().AddDate(100, 0, 0)
						}
						return time.Now()
					}
					verify(cfg)
				})
				if errs[1] != nil || !resumed[1] {
					t.Fatalf("there is no session to try: %v, %v", resumed, errs)
				}
				century.Store(true)
				_, err := r.Send("bart@example.com")
				if rig.Trouble(err) != "connect TLS handshake 0 lasts" || !isA[x509.CertificateInvalidError](err) {
					t.Errorf("error %v", err)
				}
			})
		}
	}
}

// What the base configuration verifies on top is asked on every wire.
//
// Fact 2
func TestTheRestIsThePlatformsAndTheBasesOwn(t *testing.T) {
	pinned := errors.New("not the pinned key")
	for name, noName := range map[string]bool{"all": false, "chain only": true} {
		inBothTLSModes(t, name, func(t *testing.T, s rig.Setting) {
			asked := 0
			r := s.Start(t, rig.Options{})
			_, errs := resumptions(r, func(cfg *postrider.Config) {
				cfg.NoVerifyHostname = noName
				cfg.TLS.VerifyConnection = func(tls.ConnectionState) error {
					if asked++; asked > 1 {
						return pinned
					}
					return nil
				}
			})
			if errs[0] != nil || !errors.Is(errs[1], pinned) || asked != 2 {
				t.Errorf("asked %d times: %v", asked, errs)
			}
		})
	}
}
