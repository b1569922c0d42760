package doctor_test

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/doctor"
	"github.com/postrider/postrider/smtptest"
)

// examine starts a server in memory and examines it.
func examine(t *testing.T, server func(*smtptest.Server), change func(*doctor.Exam)) (*smtptest.Server, *doctor.Report) {
	t.Helper()
	s := smtptest.NewUnstartedServer()
	s.Listener = smtptest.InMemory("localhost:25")
	if server != nil {
		server(s)
	}
	s.Start()
	defer s.Close()
	e := doctor.Exam{Config: s.Config()}
	if change != nil {
		change(&e)
	}
	r, err := e.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s, r
}

func bubble(t *testing.T, test func(*testing.T)) { t.Helper(); synctest.Test(t, test) }

// find gives the findings of a check.
func find(r *doctor.Report, check string) (found []doctor.Finding) {
	for _, f := range r.Findings {
		if f.Check == check {
			found = append(found, f)
		}
	}
	return found
}

// one is the only finding of a check.
func one(t *testing.T, r *doctor.Report, check string) doctor.Finding {
	t.Helper()
	found := find(r, check)
	if len(found) != 1 {
		t.Fatalf("%d findings of %s: %+v", len(found), check, r.Findings)
	}
	return found[0]
}

// settings are what is recommended, on one line.
func settings(a *doctor.Advice) string {
	if a == nil {
		return ""
	}
	var all []string
	for _, s := range a.Settings {
		all = append(all, s.Field+"="+s.Value)
	}
	return strings.Join(all, " ")
}

func secured(s *smtptest.Server) {
	s.Mode, s.Users = postrider.ImplicitTLS, map[string]string{"anne": "hunter2"}
}

// A server that is well: every check says so, in the order of a wire's life, and
// what works is what is recommended. It gets one login and no mail.
func TestASoundServer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		to := "bart@example.org"
		var told []string
		s, r := examine(t, secured, func(e *doctor.Exam) {
			e.Config.Address, e.To, e.Idle = "localhost:465", &to, time.Minute
			e.Tell = func(f doctor.Finding) { told = append(told, f.Check) }
		})
		checks := []string{"connect", "TLS", "greeting", "EHLO after TLS", "extensions", "size", "logins offered", "login",
			"sender", "recipient", "pipelining", "idle", "TLS versions", "certificate", "verification"}
		if !slices.Equal(told, checks) {
			t.Errorf("checks %q", told)
		}
		for _, f := range r.Findings {
			if f.Level != doctor.OK || f.Saw == "" {
				t.Errorf("%+v", f)
			}
		}
		if w := r.Worst(); w.Level != doctor.OK {
			t.Errorf("worst: %+v", w)
		}
		if s.Commands("AUTH") != 1 || len(s.Messages()) != 0 || s.Commands("DATA") != 0 {
			t.Errorf("%d logins, %d messages", s.Commands("AUTH"), len(s.Messages()))
		}
		for check, words := range map[string]string{
			"TLS": "TLS 1.3, TLS_", "size": "67108864 octets", "login": `"anne" is let in by PLAIN`, "logins offered": "under TLS: PLAIN LOGIN CRAM-MD5",
			"TLS versions": "TLS 1.3, TLS 1.2; not TLS 1.1, TLS 1.0", "certificate": "for localhost, example.com, 127.0.0.1, ::1",
			"verification": "the chain is trusted, and the name is localhost",
		} {
			if f := one(t, r, check); !strings.Contains(f.Saw, words) {
				t.Errorf("%s: %s", check, f.Saw)
			}
		}
		const want = "Address=localhost:465 Mode=smtps User=anne Password= LocalName=localhost"
		if got := settings(r.Advice); got != want {
			t.Errorf("recommended: %s", got)
		}
	})
}

// A test message arrives once, when it is asked for.
func TestATestMessage(t *testing.T) {
	bubble(t, func(t *testing.T) {
		from, to := "anne@example.com", "bart@example.org"
		s, r := examine(t, nil, func(e *doctor.Exam) { e.From, e.To, e.Send = &from, &to, true })
		m := s.Messages()
		if len(m) != 1 || m[0].From != from || !slices.Equal(m[0].To, []string{to}) || r.Worst().Level == doctor.Problem {
			t.Errorf("%d messages, %+v", len(m), r.Findings)
		}
	})
}

// far lets a server in memory look as if it were elsewhere.
type far struct{ net.Conn }

func (far) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 25} }

func faraway(c *postrider.Config) {
	open := c.Dial
	c.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := open(ctx, network, address)
		return far{conn}, err
	}
}

// The password is tried at most once, and is not shown in the clear, nor to a
// server that cannot prove who it is.
func TestThePasswordStaysHome(t *testing.T) {
	users := map[string]string{"anne": "hunter2"}
	for name, tt := range map[string]struct {
		server   func(*smtptest.Server)
		client   func(*postrider.Config)
		attempts int
		level    doctor.Level
	}{
		"in the clear":          {func(s *smtptest.Server) { s.Users = users }, faraway, 0, doctor.Problem},
		"in the clear, allowed": {func(s *smtptest.Server) { s.Users = users }, func(c *postrider.Config) { faraway(c); c.AllowPlaintextAuth = true }, 1, doctor.OK},
		"unverified":            {func(s *smtptest.Server) { secured(s); s.Certificate = smtptest.CertSelfSigned }, nil, 0, doctor.Warning},
		"repeated by the server": {func(s *smtptest.Server) {
			secured(s)
			s.Faults = []smtptest.Fault{{Command: "AUTH", Reply: "535 not hunter2, nor AGFubmUAaHVudGVyMg=="}}
		}, nil, 1, doctor.Problem},
		"refused": {secured, func(c *postrider.Config) { c.Password = postrider.NewSecret("hunter3") }, 1, doctor.Problem},
		"other ways are there": {func(s *smtptest.Server) { s.Mode, s.Users, s.Mechanisms = postrider.StartTLS, users, []string{"LOGIN"} },
			func(c *postrider.Config) { c.Address = "localhost:587" }, 1, doctor.OK},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s, r := examine(t, tt.server, func(e *doctor.Exam) {
					e.AllPorts = true
					if tt.client != nil {
						tt.client(&e.Config)
					}
				})
				if f := one(t, r, "login"); s.Commands("AUTH") != tt.attempts || f.Level != tt.level {
					t.Errorf("%d attempts, %+v", s.Commands("AUTH"), f)
				}
				shown := fmt.Sprintf("%+v %+v", r, r.Advice)
				for _, secret := range []string{"hunter", base64.StdEncoding.EncodeToString([]byte("\x00anne\x00hunter2"))} {
					if strings.Contains(shown, secret) {
						t.Errorf("the password is shown: %s", shown)
					}
				}
			})
		})
	}
}

// Nor is it shown when a server repeats it later, in any reply, in base64 of whatever it was within, or in what is no
// reply.
func TestThePasswordRepeatedLater(t *testing.T) {
	const long = "Tr0ub4dor&3"
	leak := long + " " + base64.StdEncoding.EncodeToString([]byte("\x00anne\x00"+long)) + " " + base64.StdEncoding.EncodeToString([]byte("x"+long+"y"))
	for _, f := range []smtptest.Fault{
		{Command: smtptest.Greeting, Reply: "220 " + leak}, {Command: smtptest.Greeting, Reply: "554 " + leak}, {Command: smtptest.Greeting, Reply: leak},
		{Command: "EHLO", Reply: "250-x\n250-AUTH LOGIN " + leak + "\n250 X " + leak}, {Command: "AUTH", Reply: "535 5.7.8 " + leak},
		{Command: "MAIL", Reply: "550 5.7.1 " + leak}, {Command: "RCPT", Reply: "550 5.1.1 " + leak}, {Command: "RSET", Reply: "500 " + leak},
		{Idle: time.Minute, Reply: "421 4.3.2 " + leak},
	} {
		t.Run(f.Command+f.Reply[:3], func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				from, to := "a@example.com", "b@example.com"
				_, r := examine(t, func(s *smtptest.Server) {
					s.Users, s.Faults = map[string]string{"anne": long}, []smtptest.Fault{f}
				}, func(e *doctor.Exam) { e.From, e.To, e.Idle = &from, &to, 2*time.Minute })
				shown := fmt.Sprintf("%+v %+v", r, r.Advice)
				for _, secret := range []string{long, base64.StdEncoding.EncodeToString([]byte(long))[:12], strings.Fields(leak)[1][10:20], strings.Fields(leak)[2][3:12]} {
					if strings.Contains(shown, secret) {
						t.Errorf("%q is shown: %s", secret, shown)
					}
				}
			})
		})
	}
}

// What is no problem for mail, and should be looked at all the same.
func TestWarnings(t *testing.T) {
	for name, tt := range map[string]struct {
		server     func(*smtptest.Server)
		exam       func(*doctor.Exam)
		check, saw string
		set        string
	}{
		"the second of two commands at once is lost": {
			func(s *smtptest.Server) {
				s.Faults = []smtptest.Fault{{Command: "RSET", Nth: 2, Answer: smtptest.AnswerNone}}
			},
			nil, "pipelining", "250, then", "PIPELINING"},
		"the server hangs up before the library does": {
			func(s *smtptest.Server) { s.IdleTimeout = time.Minute },
			func(e *doctor.Exam) { e.Idle = 10 * time.Minute }, "idle", "after 1m0s the server hung up, with 421",
			"set Config.IdleTimeout to 45s"},
		"a tarpit": {
			func(s *smtptest.Server) {
				s.Faults = []smtptest.Fault{{Command: smtptest.Greeting, Delay: 10 * time.Second, Connection: 2}}
			},
			nil, "greeting", "220", "keep Config.Timeouts.Greeting above"},
		"HELO only": {
			func(s *smtptest.Server) {
				s.Faults = []smtptest.Fault{{Command: "EHLO", Reply: "500 What?"}}
			}, nil, "EHLO", "HELO only", "firewall"},
		"small messages only": {
			func(s *smtptest.Server) { s.Extensions.Size = 1000 }, nil, "size", "1000 octets", "message_size_limit"},
		"not verified, needlessly": {
			secured, func(e *doctor.Exam) { e.Config.NoVerifyCert = true }, "verification", "not checked",
			"set Config.NoVerifyCert to false: it would verify"},
		"not verified, for a reason": {
			func(s *smtptest.Server) { secured(s); s.Certificate = smtptest.CertSelfSigned },
			func(e *doctor.Exam) { e.Config.NoVerifyCert = true }, "verification", "not checked", "Config.CAFile"},
		"any name, needlessly": {
			secured, func(e *doctor.Exam) { e.Config.NoVerifyHostname = true }, "verification", "name", "set Config.NoVerifyHostname to false"},
		"any name, for a reason": {
			func(s *smtptest.Server) { secured(s); s.Certificate = smtptest.CertWrongHost },
			func(e *doctor.Exam) { e.Config.NoVerifyHostname = true }, "verification", "name", "set Config.ServerName"},
		"an expired certificate that is not looked at": {
			func(s *smtptest.Server) { secured(s); s.Certificate = smtptest.CertExpired },
			func(e *doctor.Exam) { e.Config.NoVerifyCert = true }, "certificate", "ended on 1999-01-01", "renew it"},
		"in the clear, where STARTTLS is": {
			func(s *smtptest.Server) { s.Mode = postrider.StartTLS },
			func(e *doctor.Exam) { e.Config.Mode = postrider.Insecure; faraway(&e.Config) }, "another way", "yes: port 25 with starttls", "recommendation"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				_, r := examine(t, tt.server, tt.exam)
				f := one(t, r, tt.check)
				if f.Level != doctor.Warning || !strings.Contains(f.Saw, tt.saw) || !strings.Contains(f.Set.String(), tt.set) || f.Means == "" {
					t.Errorf("%+v", f)
				}
				if w := r.Worst(); w.Level != doctor.Warning {
					t.Errorf("worst: %+v", w)
				}
				if r.Advice == nil {
					t.Error("mail goes out, and nothing is recommended")
				}
			})
		})
	}
}

// Postfix refuses even RSET before STARTTLS, if it wants that; two refusals are
// two replies.
func TestRefusedCommandsArePipelinedToo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, r := examine(t, func(s *smtptest.Server) { s.Faults = []smtptest.Fault{{Command: "RSET", Reply: "530 5.7.0 No"}} }, nil)
		if f := one(t, r, "pipelining"); f.Level != doctor.OK {
			t.Errorf("%+v", f)
		}
	})
}

// What is switched off without need is not recommended; what is needed is.
func TestNoLessVerificationThanWorks(t *testing.T) {
	for kind, needed := range map[smtptest.Certificate]bool{smtptest.CertGood: false, smtptest.CertSelfSigned: true} {
		bubble(t, func(t *testing.T) {
			_, r := examine(t, func(s *smtptest.Server) { secured(s); s.Certificate = kind }, func(e *doctor.Exam) { e.Config.NoVerifyCert = true })
			if r.Advice == nil || strings.Contains(settings(r.Advice), "NoVerifyCert=true") != needed {
				t.Errorf("%d: %+v", kind, r.Advice)
			}
		})
	}
}

// A server that is pinned is the right one, whoever signed its certificate; the pin
// stays in what is recommended.
func TestAPinnedServer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var pin string
		_, r := examine(t, func(s *smtptest.Server) { secured(s); s.Certificate = smtptest.CertSelfSigned }, func(e *doctor.Exam) {
			pin = pinOf(t, e.Config)
			e.Config.Pins = []string{pin}
		})
		if w := r.Worst(); w.Level == doctor.Problem {
			t.Errorf("%+v", w)
		}
		if !strings.Contains(settings(r.Advice), "Pins="+pin) {
			t.Errorf("recommended: %+v", r.Advice)
		}
	})
}

// One that is not what is pinned is a problem, however good its certificate is.
func TestAWronglyPinnedServer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, r := examine(t, secured, func(e *doctor.Exam) { e.Config.Pins = []string{strings.Repeat("0", 64)} })
		w := r.Worst()
		if w.Level != doctor.Problem || w.Check != "TLS" || !strings.Contains(w.Saw, "none of the pins") || w.Set.Field() != "Pins" {
			t.Errorf("%+v", w)
		}
		if f := one(t, r, "verification"); f.Level != doctor.Problem || s.Commands("AUTH") != 0 {
			t.Errorf("%+v, %d logins", f, s.Commands("AUTH"))
		}
	})
}

// pinOf is the pin of the key that a server shows, whoever it is.
func pinOf(t *testing.T, cfg postrider.Config) string {
	t.Helper()
	conn, err := cfg.Dial(t.Context(), "tcp", cfg.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	if err := c.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(c.ConnectionState().PeerCertificates[0].RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:])
}

// A unix socket has no name, no port and no other ways.
func TestAUnixSocket(t *testing.T) {
	listener, err := net.Listen("unix", filepath.Join(t.TempDir(), "mta"))
	if err != nil {
		t.Skip(err)
	}
	s := smtptest.NewUnstartedServer()
	s.Listener = listener
	s.Start()
	defer s.Close()
	r, err := doctor.Exam{Config: s.Config(), AllPorts: true}.Run(t.Context())
	if err != nil || r.Worst().Level != doctor.OK || len(find(r, "another way")) > 0 || settings(r.Advice) != "Address="+s.Addr+" Mode=smtp" {
		t.Errorf("%v, %+v", err, r)
	}
}

// localhost is two addresses, and the MTA listens on the second: mail goes out,
// and every connection loses time.
func TestOneOfTwoAddressesIsDead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, r := examine(t, nil, func(e *doctor.Exam) {
			e.Lookup = func(context.Context, string) ([]netip.Addr, error) {
				return []netip.Addr{netip.IPv6Loopback(), netip.MustParseAddr("127.0.0.1")}, nil
			}
			open := e.Config.Dial
			e.Config.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				if strings.HasPrefix(address, "[::1]") {
					return nil, errRefused
				}
				return open(ctx, network, address)
			}
		})
		found := find(r, "connect")
		if len(found) != 2 || found[0].Level != doctor.Warning || found[1].Level != doctor.OK {
			t.Fatalf("%+v", found)
		}
		const want = "nothing listens on port 25 of ::1: the MTA may listen on 127.0.0.1 alone, so set Config.Address to 127.0.0.1:25"
		if !strings.HasPrefix(found[0].Set.String(), want) {
			t.Errorf("%s", found[0].Set)
		}
		if f := one(t, r, "resolve"); f.Saw != "localhost is ::1, 127.0.0.1" {
			t.Errorf("%s", f.Saw)
		}
	})
}

// A plain port that greets late says nothing into the handshake; it is known by
// its greeting on another connection.
func TestTLSToAPlainPortThatGreetsLate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, r := examine(t, func(s *smtptest.Server) {
			s.Faults = []smtptest.Fault{{Command: smtptest.Greeting, Delay: 5 * time.Second}}
		}, func(e *doctor.Exam) { e.Config.Mode, e.Config.Timeouts.TLS = postrider.ImplicitTLS, 3*time.Second })
		f := r.Worst()
		if f.Check != "TLS" || !strings.Contains(f.Saw, "greets a client in the clear") || !strings.Contains(f.Set.String(), "Config.Mode to StartTLS") {
			t.Errorf("%+v", f)
		}
		if !strings.HasPrefix(settings(r.Advice), "Address=localhost:25 Mode=smtp") {
			t.Errorf("%+v", r.Findings)
		}
	})
}

// A name that is none: there is nothing more to look at.
func TestNoSuchName(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, r := examine(t, nil, func(e *doctor.Exam) {
			e.Config.Address = "mx.invalid"
			e.Lookup = func(_ context.Context, host string) ([]netip.Addr, error) {
				return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
			}
		})
		f := r.Worst()
		if len(r.Findings) != 1 || f.Check != "resolve" || f.Set.String() != `the name "mx.invalid" does not resolve on this machine: check Config.Address` || r.Advice != nil {
			t.Errorf("%+v", r.Findings)
		}
	})
}

// The versions of an old server, and of one that is ahead.
func TestTLSVersions(t *testing.T) {
	for want, cfg := range map[string]*tls.Config{
		"TLS 1.2, TLS 1.1, TLS 1.0; not TLS 1.3": {MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS12},
		"TLS 1.3; not TLS 1.2, TLS 1.1, TLS 1.0": {MinVersion: tls.VersionTLS13},
	} {
		bubble(t, func(t *testing.T) {
			_, r := examine(t, func(s *smtptest.Server) { s.Mode, s.TLS = postrider.StartTLS, cfg }, nil)
			if f := one(t, r, "TLS versions"); f.Saw != want {
				t.Errorf("%s, want %s", f.Saw, want)
			}
		})
	}
}

// Of a server that was named without a port, the best of the usual ones is
// recommended (RFC 8314 §3), whichever was configured.
func TestTheBestPort(t *testing.T) {
	for want, open := range map[string][]string{
		"Address=mail.example.com:465 Mode=smtps":    {"25", "465", "587"},
		"Address=mail.example.com:587 Mode=starttls": {"25", "587"},
		"Address=mail.example.com:25 Mode=starttls":  {"25"},
	} {
		bubble(t, func(t *testing.T) {
			r := severalPorts(t, open)
			if !strings.HasPrefix(settings(r.Advice), want) {
				t.Errorf("%v: %+v", open, r.Findings)
			}
		})
	}
}

func severalPorts(t *testing.T, open []string) *doctor.Report {
	t.Helper()
	listeners := map[string]func(context.Context, string, string) (net.Conn, error){}
	var cfg postrider.Config
	for _, port := range open {
		s := smtptest.NewUnstartedServer()
		s.Listener, s.Mode = smtptest.InMemory("mail.example.com:"+port), postrider.StartTLS
		if port == "465" {
			s.Mode = postrider.ImplicitTLS
		}
		s.Start()
		defer s.Close()
		cfg = s.Config()
		listeners[port] = cfg.Dial
	}
	cfg.Mode, cfg.Address, cfg.ServerName = postrider.Insecure, "mail.example.com", "example.com"
	cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		_, port, _ := net.SplitHostPort(address)
		if dial := listeners[port]; dial != nil {
			conn, err := dial(ctx, network, address)
			return far{conn}, err
		}
		return nil, errRefused
	}
	r, err := doctor.Exam{Config: cfg, AllPorts: true}.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The context ends an examination at once, wherever it is, and nothing is left
// behind: the bubble would tell.
func TestTheContextEndsIt(t *testing.T) {
	for _, at := range []string{smtptest.Greeting, "EHLO", smtptest.Handshake, "AUTH", "RSET"} {
		bubble(t, func(t *testing.T) {
			s := smtptest.NewUnstartedServer()
			s.Listener = smtptest.InMemory("localhost:25")
			secured(s)
			s.Faults = []smtptest.Fault{{Command: at, Answer: smtptest.AnswerNone, Then: smtptest.ThenHang}}
			s.Start()
			defer s.Close()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			start := time.Now()
			r, err := doctor.Exam{Config: s.Config()}.Run(ctx)
			if err != nil || time.Since(start) != time.Second || len(r.Findings) == 0 {
				t.Errorf("%s: after %v: %v, %+v", at, time.Since(start), err, r)
			}
		})
	}
}

// A Config that the library would not take is an error, and nothing is dialled.
func TestAWrongConfigIsAnError(t *testing.T) {
	for _, cfg := range []postrider.Config{{Mode: 7}, {Address: "smtp://x"}, {CAFile: "/nowhere.pem"}} {
		if r, err := (doctor.Exam{Config: cfg}).Run(t.Context()); err == nil {
			t.Errorf("%+v", r)
		}
	}
}

// Config.Credentials is asked once, for the one attempt, and what it gave is hidden.
func TestCredentialsAreAskedOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		for password, level := range map[string]doctor.Level{"hunter2": doctor.OK, "hunter3": doctor.Problem} {
			asked := 0
			s, r := examine(t, secured, func(e *doctor.Exam) {
				e.Config.User, e.Config.Password = "", postrider.Secret{}
				e.Config.Credentials = func(_ context.Context, refresh bool) (string, postrider.Secret, error) {
					if asked++; refresh {
						t.Error("asked for fresh ones")
					}
					return "anne", postrider.NewSecret(password), nil
				}
			})
			if f := one(t, r, "login"); f.Level != level || asked != 1 || s.Commands("AUTH") != 1 {
				t.Errorf("%s: asked %d times, %d attempts, %+v", level, asked, s.Commands("AUTH"), f)
			}
		}
	})
}
