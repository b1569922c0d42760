package parity_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/test/rig"
	"github.com/postrider/postrider/smtptest"
)

// What goes wrong before the first MAIL: facts 46, 60 to 64, 74, 75, 77 and 88.
// None of it says anything about a recipient, and the next Send tries again.

// connectRow is one such failure. The introduction is what the client says on the
// wire that fails.
type connectRow struct {
	name    string
	faults  []smtptest.Fault // on the first wire
	server  func(*smtptest.Server)
	client  func(*postrider.Config)
	trouble string
	code    string // of the reply; default 0
	is      error
	says    []string
	said    string
	modes   []postrider.SecureMode // default: all
	lasting bool                   // it does not pass with the first wire
}

// gibberish is what a ClientHello looks like to a server without TLS.
const gibberish = "?"

func inEveryConnectRow(t *testing.T, rows []connectRow) {
	t.Helper()
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
				if row.modes == nil || slices.Contains(row.modes, s.Mode) {
					row.try(t, s)
				}
			})
		})
	}
}

func (row connectRow) try(t *testing.T, s rig.Setting) {
	r := s.Start(t, rig.Options{Server: row.server, Client: row.client, Faults: rig.OnFirstWire(row.faults)})
	result, err := r.Send("bart@example.com", "cate@example.com")
	code := row.code
	if code == "" {
		code = "0"
	}
	r.Equal("outcomes", rig.Fates(result), "untried connect "+code+", untried connect "+code)
	r.Equal("error", rig.Trouble(err), row.trouble)
	if row.is != nil && !errors.Is(err, row.is) {
		t.Errorf("errors.Is(%v, %v) is false", err, row.is)
	}
	for _, words := range append(row.says, "localhost:25") {
		if err == nil || !strings.Contains(rig.Text(err), words) {
			t.Errorf("the error does not say %q: %v", words, err)
		}
	}
	if row.said != gibberish {
		r.Equal("said", r.Said(1), row.said)
	}
	if len(result.Transactions) != 0 || r.Conn.Stats().Transactions != 0 {
		t.Errorf("there were transactions: %v", result.Transactions)
	}
	if row.lasting {
		return
	}
	r.Accepted("dirk@example.com")
	if st := r.Conn.Stats(); st.Dials != 2 || st.DialFailures != 1 || r.Server.ConnectionCount() != 2 {
		t.Errorf("dials %d, failures %d, connections %d", st.Dials, st.DialFailures, r.Server.ConnectionCount())
	}
}

// Fact 61
func TestAGreetingMustBe220(t *testing.T) {
	inEveryConnectRow(t, []connectRow{
		{
			name: "554", faults: rig.At(smtptest.Greeting, 1, "554 no SMTP service here"), code: "554",
			trouble: "connect greeting 554 lasts", says: []string{"554 no SMTP service here", "blocked"},
		},
		{
			name: "421", faults: rig.At(smtptest.Greeting, 1, "421 4.3.2 too many connections"), code: "421",
			trouble: "connect greeting 421 passes", says: []string{"open fewer at once"},
		},
		{name: "250", faults: rig.At(smtptest.Greeting, 1, "250 hello"), code: "250",
			trouble: "connect greeting 250 lasts"},
		{name: "221", faults: rig.At(smtptest.Greeting, 1, "221 hello"), code: "221",
			trouble: "connect greeting 221 lasts"},
		{name: "words", faults: rig.At(smtptest.Greeting, 1, "hello there"), trouble: "connect greeting 0 lasts",
			says: []string{"hello there"}},
		{
			name: "control characters are escaped", faults: rig.At(smtptest.Greeting, 1, "554 \x1b[2Jno\x07"),
			code:    "554",
			trouble: "connect greeting 554 lasts", says: []string{`\x1b[2Jno\a`},
		},
	})
}

// Fact 62
func TestTheGreetingDoesNotCome(t *testing.T) {
	silent := []smtptest.Fault{{Command: smtptest.Greeting, Answer: smtptest.AnswerNone, Then: smtptest.ThenHang}}
	inEveryConnectRow(t, []connectRow{
		{
			name: "close", faults: []smtptest.Fault{{Command: smtptest.Greeting, Answer: smtptest.AnswerNone,
				Then: smtptest.ThenClose}},
			trouble: "connect greeting 0 passes", is: io.EOF,
		},
		{
			name: "reset", faults: []smtptest.Fault{{Command: smtptest.Greeting, Answer: smtptest.AnswerNone,
				Then: smtptest.ThenAbort}},
			trouble: "connect greeting 0 passes", is: syscall.ECONNRESET,
		},
		{
			name: "half", faults: []smtptest.Fault{{Command: smtptest.Greeting, Answer: smtptest.AnswerHalf,
				Then: smtptest.ThenClose}},
			trouble: "connect greeting 0 passes", is: io.ErrUnexpectedEOF,
		},
		{
			name: "silence", faults: silent, trouble: "connect greeting 0 passes", is: os.ErrDeadlineExceeded,
			says: []string{"5m0s", "Config.Timeouts.Greeting"},
		},
	})
}

// RFC 5321 §4.1.1.1 and §4.2.4: HELO is for servers that do not know EHLO, and
// those say so by 500, 501, 502 or 504. Mailman tries it after every refusal.
//
// Fact 63
func TestHELOWhereTheReplySaysSo(t *testing.T) {
	for _, code := range []string{"500", "501", "502", "504"} {
		t.Run(code, func(t *testing.T) {
			rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
				if s.Mode == postrider.StartTLS {
					return // fact 74
				}
				r := s.Start(t, rig.Options{Faults: rig.At("EHLO", 0, code+" what")})
				r.Accepted("bart@example.com")
				r.Equal("said", r.Said(1), "EHLO HELO MAIL RCPT DATA .")
				r.Equal("MAIL", strings.Join(r.Lines(1, "MAIL"), ""), "MAIL FROM:<anne@example.com>")
			})
		})
	}
	onlyInClear := []postrider.SecureMode{postrider.Insecure, postrider.ImplicitTLS}
	inEveryConnectRow(t, []connectRow{
		{
			name: "HELO refused too", faults: append(rig.At("EHLO", 1, "502 what"), rig.At("HELO", 1, "550 no")...),
			code:    "550",
			trouble: "connect EHLO 550 lasts", says: []string{"Config.LocalName"}, said: "EHLO HELO QUIT",
		},
		{name: "550", faults: rig.At("EHLO", 1, "550 not you"), code: "550", trouble: "connect EHLO 550 lasts",
			says: []string{"Config.LocalName"}, said: "EHLO QUIT"},
		{name: "451", faults: rig.At("EHLO", 1, "451 later"), code: "451", trouble: "connect EHLO 451 passes",
			said: "EHLO QUIT"},
		{name: "421", faults: rig.At("EHLO", 1, "421 bye"), code: "421", trouble: "connect EHLO 421 passes",
			said: "EHLO"},
		{
			name:    "close",
			faults:  []smtptest.Fault{{Command: "EHLO", Nth: 1, Answer: smtptest.AnswerNone, Then: smtptest.ThenClose}},
			trouble: "connect EHLO 0 passes", is: io.EOF, said: "EHLO",
		},
		{
			name: "421 to HELO", faults: append(rig.At("EHLO", 1, "502 what"), rig.At("HELO", 1, "421 bye")...),
			code:    "421",
			trouble: "connect EHLO 421 passes", said: "EHLO HELO", modes: onlyInClear,
		},
	})
}

// Fact 64
func TestEHLOWithAnother2yz(t *testing.T) {
	for _, code := range []string{"251", "220"} { // RFC 5321 §4.3.2 has 250 only
		inEveryConnectRow(t, []connectRow{{
			name: code, faults: rig.At("EHLO", 1, code+"-localhost\n"+code+" SIZE 1000000"), code: code,
			trouble: "connect EHLO " + code + " lasts", says: []string{"out of step"}, said: "EHLO QUIT",
		}})
	}
}

// STARTTLS mode never falls back to the clear: it is not opportunistic.
//
// Fact 74
func TestNoSTARTTLSNoMail(t *testing.T) {
	withStartTLS := func(cfg *postrider.Config) { cfg.Mode = postrider.StartTLS }
	inClear := []postrider.SecureMode{postrider.Insecure}
	inEveryConnectRow(t, []connectRow{
		{
			name: "not offered", client: withStartTLS, modes: inClear, lasting: true,
			trouble: "connect STARTTLS 0 lasts", says: []string{"does not offer STARTTLS", "465"}, said: "EHLO QUIT",
		},
		{
			name: "only HELO", client: withStartTLS, modes: inClear, lasting: true,
			faults:  rig.At("EHLO", 1, "502 what"),
			trouble: "connect STARTTLS 0 lasts", says: []string{"does not offer STARTTLS"}, said: "EHLO HELO QUIT",
		},
	})
}

// Fact 75
func TestSTARTTLSRefused(t *testing.T) {
	startTLS := []postrider.SecureMode{postrider.StartTLS}
	inEveryConnectRow(t, []connectRow{
		{name: "454", faults: rig.At("STARTTLS", 1, "454 4.7.0 TLS not available"), code: "454", modes: startTLS,
			trouble: "connect STARTTLS 454 passes", says: []string{"its log"}, said: "EHLO STARTTLS QUIT"},
		{name: "501", faults: rig.At("STARTTLS", 1, "501 no"), code: "501", modes: startTLS,
			trouble: "connect STARTTLS 501 lasts", said: "EHLO STARTTLS QUIT"},
		{name: "421", faults: rig.At("STARTTLS", 1, "421 bye"), code: "421", modes: startTLS,
			trouble: "connect STARTTLS 421 passes", said: "EHLO STARTTLS"},
		{
			name: "close", faults: []smtptest.Fault{{Command: "STARTTLS", Answer: smtptest.AnswerNone,
				Then: smtptest.ThenClose}},
			modes:   startTLS,
			trouble: "connect STARTTLS 0 passes", is: io.EOF, said: "EHLO STARTTLS",
		},
		{
			// The server takes 250 for a yes, and waits for the handshake in vain.
			name: "250", faults: rig.At("STARTTLS", 1, "250 ok"), code: "250", modes: startTLS,
			trouble: "connect STARTTLS 250 lasts", said: "EHLO STARTTLS",
		},
	})
}

// Fact 77
func TestTLSToAPlainPort(t *testing.T) {
	inEveryConnectRow(t, []connectRow{{
		name: "smtps", modes: []postrider.SecureMode{postrider.Insecure}, lasting: true,
		client:  func(cfg *postrider.Config) { cfg.Mode = postrider.ImplicitTLS },
		trouble: "connect TLS handshake 0 lasts", says: []string{"Config.Mode to StartTLS"}, said: gibberish,
	}})
}

// Fact 77
func TestPlainToATLSPort(t *testing.T) {
	inEveryConnectRow(t, []connectRow{{
		name: "smtp", modes: []postrider.SecureMode{postrider.ImplicitTLS}, lasting: true,
		server:  func(s *smtptest.Server) { s.IdleTimeout = -1 },
		client:  func(cfg *postrider.Config) { cfg.Mode = postrider.Insecure },
		trouble: "connect greeting 0 passes", is: os.ErrDeadlineExceeded, says: []string{"Config.Mode to ImplicitTLS"},
	}})
}

// Facts 60, 88
func TestWhateverDialSaysIsPassedOn(t *testing.T) {
	mine := errors.New("the proxy is asleep")
	for dialError, lasting := range map[error]string{
		&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}:                            "passes",
		&net.OpError{Op: "dial", Err: syscall.EHOSTUNREACH}:                            "passes",
		&net.DNSError{Err: "no such host", Name: "localhost", IsNotFound: true}:        "lasts",
		&net.DNSError{Err: "server misbehaving", Name: "localhost", IsTemporary: true}: "passes",
		mine: "lasts",
	} {
		inEveryConnectRow(t, []connectRow{{
			name: dialError.Error(), lasting: true, is: dialError, trouble: "connect dial 0 " + lasting,
			client: func(cfg *postrider.Config) {
				cfg.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, dialError }
			},
		}})
	}
}

// Fact 60
func TestAnMTAThatComesBackIsFound(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		down := true
		r := s.Start(t, rig.Options{Client: func(cfg *postrider.Config) {
			dial := cfg.Dial
			cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				if down {
					return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
				}
				return dial(ctx, network, address)
			}
		}})
		_, err := r.Send("bart@example.com")
		r.Equal("error", rig.Trouble(err), "connect dial 0 passes")
		down = false
		r.Accepted("bart@example.com")
	})
}

// Nothing is said before STARTTLS but EHLO, and nothing that the server said
// before it is believed after it: here AUTH, SIZE and PIPELINING.
//
// Fact 97
func TestNothingLearntBeforeSTARTTLSIsKept(t *testing.T) {
	rig.InBubble(t, "offered only in the clear", func(t *testing.T) {
		s := rig.Setting{Mode: postrider.StartTLS, Pipelining: false}
		r := s.Start(t, rig.Options{
			Server: func(s *smtptest.Server) {
				s.Extensions = smtptest.Extensions{}
				before := smtptest.AllExtensions()
				before.Lines = []string{"AUTH PLAIN"}
				s.BeforeTLS = &before
			},
			Client: func(cfg *postrider.Config) { cfg.User, cfg.Password = "u", postrider.NewSecret("p") },
		})
		_, err := r.Send("bart@example.com")
		r.Equal("error", rig.Trouble(err), "connect AUTH 0 lasts")
		r.Equal("said", r.Said(1), "EHLO STARTTLS EHLO QUIT")

		r.Connect(nil)
		r.Accepted("bart@example.com")
		r.Equal("MAIL", strings.Join(r.Lines(2, "MAIL"), ""), "MAIL FROM:<anne@example.com>")
	})
	rig.InBubble(t, "injected behind the 220", func(t *testing.T) {
		s := rig.Setting{Mode: postrider.StartTLS, Pipelining: false}
		r := s.Start(t, rig.Options{Faults: rig.At("STARTTLS", 0, "220 go\n250-x\n250 AUTH LOGIN")})
		_, err := r.Send("bart@example.com")
		r.Equal("error", rig.Trouble(err), "connect STARTTLS 0 lasts")
		if !strings.Contains(rig.Text(err), "injected") {
			t.Errorf("the error does not say why: %v", err)
		}
		if n := r.Server.Commands("MAIL"); n != 0 {
			t.Errorf("%d MAIL commands", n)
		}
	})
}

// Fact 97
func TestSmtpModeNeverUpgrades(t *testing.T) {
	rig.InBubble(t, "STARTTLS is offered", func(t *testing.T) {
		r := rig.Setting{Mode: postrider.StartTLS}.Start(t,
			rig.Options{Client: func(cfg *postrider.Config) { cfg.Mode = postrider.Insecure }})
		r.Accepted("bart@example.com")
		r.Equal("said", r.Said(1), "EHLO MAIL RCPT DATA .")
		if m := r.Server.Messages(); m[0].TLS {
			t.Error("the message came over TLS")
		}
	})
}

// Every step has its timeout: RFC 5321 §4.5.3.2, where it names one.
//
// Fact 46
func TestNoStepWaitsForEver(t *testing.T) {
	const linger = 2 * time.Second
	hang := func(command string) []smtptest.Fault {
		return []smtptest.Fault{{Command: command, Nth: 1, Answer: smtptest.AnswerNone, Then: smtptest.ThenHang}}
	}
	for _, step := range []struct {
		name   string
		mode   postrider.SecureMode
		faults []smtptest.Fault
		limit  time.Duration
		set    func(*postrider.Timeouts)
		where  string
	}{
		{"greeting", postrider.Insecure, hang(smtptest.Greeting), 5 * time.Minute,
			func(t *postrider.Timeouts) { t.Greeting = time.Second }, "connect greeting"},
		{"EHLO", postrider.Insecure, hang("EHLO"), 5 * time.Minute,
			func(t *postrider.Timeouts) { t.Hello = time.Second }, "connect EHLO"},
		{"STARTTLS", postrider.StartTLS, hang("STARTTLS"), time.Minute,
			func(t *postrider.Timeouts) { t.TLS = time.Second }, "connect STARTTLS"},
		{"handshake behind STARTTLS", postrider.StartTLS, hang(smtptest.Handshake), time.Minute,
			func(t *postrider.Timeouts) { t.TLS = time.Second }, "connect TLS handshake"},
		{"handshake", postrider.ImplicitTLS, hang(smtptest.Handshake), time.Minute,
			func(t *postrider.Timeouts) { t.TLS = time.Second }, "connect TLS handshake"},
		{"AUTH", postrider.ImplicitTLS, hang("AUTH"), 5 * time.Minute,
			func(t *postrider.Timeouts) { t.Auth = time.Second }, "connect AUTH"},
		{"MAIL", postrider.StartTLS, hang("MAIL"), 5 * time.Minute,
			func(t *postrider.Timeouts) { t.Mail = time.Second }, "mail MAIL"},
		{"RCPT", postrider.StartTLS, hang("RCPT"), 5 * time.Minute,
			func(t *postrider.Timeouts) { t.Rcpt = time.Second }, "rcpt RCPT"},
		{"DATA", postrider.StartTLS, hang("DATA"), 2 * time.Minute,
			func(t *postrider.Timeouts) { t.Data = time.Second }, "content DATA"},
		{"final", postrider.StartTLS, hang("."), 10 * time.Minute,
			func(t *postrider.Timeouts) { t.Final = time.Second }, "content content"},
	} {
		for _, pipelining := range []bool{false, true} {
			for _, configured := range []bool{false, true} {
				s := rig.Setting{Mode: step.mode, Pipelining: pipelining}
				name, limit := step.name+" "+s.String(), step.limit
				if configured {
					name, limit = name+" configured", time.Second
				}
				rig.InBubble(t, name, func(t *testing.T) {
					r := s.Start(t, rig.Options{
						Server: func(s *smtptest.Server) { s.Users, s.IdleTimeout = map[string]string{"u": "p"}, -1 },
						Client: func(cfg *postrider.Config) {
							cfg.AllowPlaintextAuth = true
							if configured {
								step.set(&cfg.Timeouts)
							}
						},
						Faults: rig.OnFirstWire(step.faults),
					})
					start := time.Now()
					_, err := r.Send("bart@example.com")
					took := time.Since(start)
					want := step.where + " 0 passes"
					if step.where == "content content" {
						want = step.where + " 0 lasts" // Unknown: to send again may duplicate
					}
					r.Equal("error", rig.Trouble(err), want)
					if took < limit || took > limit+linger {
						t.Errorf("given up after %v; the limit is %v", took, limit)
					}
					var late net.Error
					if !errors.As(err, &late) || !late.Timeout() {
						t.Errorf("the error is no timeout: %v", err)
					}
					r.Accepted("cate@example.com")
				})
			}
		}
	}
}

// Fact 46
func TestDiallingAndWritingHaveLimitsToo(t *testing.T) {
	rig.InBubble(t, "dial", func(t *testing.T) {
		r := rig.Setting{}.Start(t, rig.Options{Client: func(cfg *postrider.Config) {
			cfg.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}
		}})
		start := time.Now()
		_, err := r.Send("bart@example.com")
		r.Equal("error", rig.Trouble(err), "connect dial 0 passes")
		if took := time.Since(start); took != 30*time.Second {
			t.Errorf("given up after %v", took)
		}
	})
	rig.InBubble(t, "content that nobody reads", func(t *testing.T) {
		p := rig.PlayServer(t, func(p *rig.Peer) {
			p.Hello()
			p.Hear("MAIL")
			p.Say("250 ok")
			p.Hear("RCPT")
			p.Say("250 ok")
			p.Hear("DATA")
			p.Say("354 go")
			time.Sleep(time.Hour)
		})
		start := time.Now()
		m := rig.Mail("bart@example.com")
		m.Content = postrider.Bytes(make([]byte, 1<<20))
		result, err := p.Deliver(m)
		if got := rig.Fates(result) + "; " + rig.Trouble(err); got != "untried content 0; content write 0 passes" {
			t.Error(got, err)
		}
		if took := time.Since(start); took < 3*time.Minute || took > 4*time.Minute {
			t.Errorf("given up after %v", took)
		}
	})
}
