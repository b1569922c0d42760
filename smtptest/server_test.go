package smtptest_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"net/smtp"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/smtptest"
)

var modes = []postrider.SecureMode{postrider.Insecure, postrider.ImplicitTLS, postrider.StartTLS}

// start returns a server that differs from the default in what change does.
func start(tb testing.TB, change func(*smtptest.Server)) *smtptest.Server {
	tb.Helper()
	s := smtptest.NewUnstartedServer()
	s.Log = tb.Logf
	if change != nil {
		change(s)
	}
	s.Start()
	tb.Cleanup(s.Close)
	return s
}

// connect opens a client of the standard library, TLS done.
func connect(t *testing.T, s *smtptest.Server) *smtp.Client {
	t.Helper()
	var nc net.Conn = dial(t, s).Conn
	config := s.Config().TLS.Clone()
	if config != nil {
		config.ServerName = "127.0.0.1"
	}
	if s.Mode == postrider.ImplicitTLS {
		nc = tls.Client(nc, config)
	}
	c, err := smtp.NewClient(nc, "127.0.0.1")
	if err == nil && s.Mode == postrider.StartTLS {
		err = c.StartTLS(config)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// deliver sends one message with the standard library.
func deliver(t *testing.T, c *smtp.Client, content string) {
	t.Helper()
	err := c.Mail("anne@example.com")
	if err == nil {
		err = c.Rcpt("bart@example.com")
	}
	if err != nil {
		t.Fatal(err)
	}
	w, err := c.Data()
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(w, content)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

const aardvarks = "From: anne@example.com\r\nTo: bart@example.com\r\nSubject: aardvarks\r\n\r\n"

// A client that is not ours sends two messages over one connection, in each mode.
func TestStory(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.String(), func(t *testing.T) {
			s := start(t, func(s *smtptest.Server) {
				s.Mode = mode
				s.Users = map[string]string{"testuser": "testpass"}
				s.RequireAuth = true
			})
			c := connect(t, s)
			if err := c.Auth(smtp.PlainAuth("", "testuser", "testpass", "127.0.0.1")); err != nil {
				t.Fatal(err)
			}
			deliver(t, c, aardvarks)
			deliver(t, c, aardvarks+"..dots\r\n.\r\n")
			if err := c.Quit(); err != nil {
				t.Fatal(err)
			}

			got := s.Messages()
			if len(got) != 2 || s.ConnectionCount() != 1 || s.Transactions() != 2 || s.Commands("rcpt") != 2 ||
				s.Commands(".") != 2 {
				t.Fatalf("%d messages, %d connections, %d transactions, %d RCPT, %d dots",
					len(got), s.ConnectionCount(), s.Transactions(), s.Commands("rcpt"), s.Commands("."))
			}
			m := got[1]
			if m.From != "anne@example.com" || len(m.To) != 1 || m.To[0] != "bart@example.com" || m.Connection != 1 ||
				m.Transaction != 2 ||
				m.TLS != (mode != postrider.Insecure) || m.User != "testuser" || m.BDAT || m.Peer == nil {
				t.Errorf("message: %+v", m)
			}
			if want := aardvarks + "..dots\r\n.\r\n"; string(m.Content) != want {
				t.Errorf("content %q, want %q", m.Content, want)
			}
			if m.MailParams["BODY"] != "8BITMIME" { // net/smtp says so wherever it is offered
				t.Errorf("parameters of MAIL: %v", m.MailParams)
			}
			s.Clear()
			if len(s.Messages()) != 0 || len(s.Credentials()) != 0 {
				t.Error("Clear left something")
			}
		})
	}
}

// Config's own Dial and TLS reach the server, over each kind of listener.
func TestConfig(t *testing.T) {
	unix, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	for name, l := range map[string]net.Listener{"tcp": nil, "unix": unix,
		"memory": smtptest.InMemory("localhost:25")} {
		t.Run(name, func(t *testing.T) {
			s := start(t, func(s *smtptest.Server) {
				s.Listener, s.Mode = l, postrider.StartTLS
				s.Users = map[string]string{"zoe": "z", "anne": "a"}
			})
			c := s.Config()
			if c.User != "anne" || c.Password.Reveal() != "a" || c.Mode != postrider.StartTLS || c.TLS.RootCAs == nil {
				t.Errorf("config %+v", c)
			}
			if name == "unix" != strings.HasPrefix(c.Address, "unix:/") || name == "memory" != (c.Dial != nil) ||
				c.Address != s.Addr {
				t.Errorf("address %q, dial %v", c.Address, c.Dial != nil)
			}
			deliverTLS(t, c)
			if len(s.Messages()) != 1 {
				t.Error("no message came")
			}
		})
	}
}

// deliverTLS is a client that knows the Config only.
func deliverTLS(t *testing.T, config postrider.Config) {
	t.Helper()
	network, address := "tcp", config.Address
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		network, address = "unix", path
	}
	open := config.Dial
	if open == nil {
		open = new(net.Dialer).DialContext
	}
	nc, err := open(t.Context(), network, address)
	if err != nil {
		t.Fatal(err)
	}
	c, err := smtp.NewClient(nc, "localhost")
	if err != nil {
		t.Fatal(err)
	}
	trust := config.TLS.Clone()
	trust.ServerName = "localhost"
	if err := c.StartTLS(trust); err != nil {
		t.Fatal(err)
	}
	deliver(t, c, aardvarks)
	c.Quit()
}

// The whole dialogue works on memnet inside a bubble.
func TestInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, mode := range modes {
			s := start(t, func(s *smtptest.Server) {
				s.Listener, s.Mode = smtptest.InMemory("localhost:25"), mode
			})
			c := connect(t, s)
			deliver(t, c, aardvarks)
			c.Quit()
			if got := s.Messages(); len(got) != 1 || string(got[0].Content) != aardvarks {
				t.Errorf("%v: %v", mode, got)
			}
			s.Close()
		}
	})
}

// The message is in the server's hands before the client is told so, and the
// hook sees it even if nothing is kept.
func TestOnMessageAndDiscard(t *testing.T) {
	var mu sync.Mutex
	var seen []string
	s := start(t, func(s *smtptest.Server) {
		s.Discard = true
		s.OnMessage = func(m *smtptest.Message) {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, string(m.Content))
		}
	})
	deliver(t, connect(t, s), aardvarks)
	mu.Lock()
	defer mu.Unlock()
	if len(seen) != 1 || seen[0] != aardvarks {
		t.Errorf("the hook saw %q", seen)
	}
	if len(s.Messages()) != 0 || s.Transcript(1) != "" || s.Transactions() != 1 {
		t.Error("Discard kept something, or the counts do not count")
	}
}

// A sink that discards does not allocate for commands and content.
func TestDiscardDoesNotAllocate(t *testing.T) {
	s := start(t, func(s *smtptest.Server) { s.Discard = true })
	c := dial(t, s)
	c.talk("S: 220\nC: EHLO x.example\nS: 250")
	group := []byte(strings.Repeat(bdatTransaction(1000, 3), blastWindow))
	want := 5 * blastWindow
	buf := make([]byte, 64<<10)
	window := func() {
		c.Write(group)
		for lines := 0; lines < want; {
			n, err := c.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			lines += bytes.Count(buf[:n], []byte("\n"))
		}
	}
	window()
	// One allocation a window would already be none a message; none a window is
	// what there is, and the runtime's own are allowed for.
	if got := testing.AllocsPerRun(20, window); got > 4 {
		t.Errorf("%v allocations for %d messages", got, blastWindow)
	}
	if got := s.Commands("BDAT"); got != 22*blastWindow {
		t.Errorf("%d messages taken, want %d", got, 22*blastWindow)
	}
}

// docs/parity.md, facts 8, 30 and 32: a RSET as the first word sets the count to nothing, the
// client that says it included; one inside a dialogue does not.
//
// Facts 31, 32
func TestConnectionCount(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.String(), func(t *testing.T) {
			s := start(t, func(s *smtptest.Server) { s.Mode = mode })
			first := connect(t, s)
			first.Hello("client.example")
			other := connect(t, s)
			if got := s.ConnectionCount(); got != 2 {
				t.Errorf("two connections: count %d", got)
			}
			if err := other.Reset(); err != nil { // says EHLO first, as net/smtp does
				t.Fatal(err)
			}
			if got := s.ConnectionCount(); got != 2 {
				t.Errorf("after a RSET inside a dialogue: count %d, want 2", got)
			}
			rsetOnly(t, s)
			if got := s.ConnectionCount(); got != 0 {
				t.Errorf("after a RSET as first word: count %d, want 0", got)
			}
			deliver(t, first, aardvarks)
			if got := s.ConnectionCount(); got != 0 {
				t.Errorf("a connection from before the reset counts again: %d", got)
			}
			connect(t, s)
			if got := s.ConnectionCount(); got != 1 {
				t.Errorf("next connection: count %d, want 1", got)
			}
			s.Reset()
			if got := s.ConnectionCount(); got != 0 {
				t.Errorf("after Reset: count %d", got)
			}
		})
	}
}

// With STARTTLS a first RSET in the clear resets nothing: every client
// has to say something in the clear.
func TestRsetInTheClear(t *testing.T) {
	s := start(t, func(s *smtptest.Server) { s.Mode = postrider.StartTLS })
	dial(t, s).talk("S: 220\nC: RSET\nS: 250")
	if got := s.ConnectionCount(); got != 1 {
		t.Errorf("count %d, want 1", got)
	}
}

// rsetOnly is the client of fact 8 in docs/parity.md: RSET with no EHLO before it, or, with
// STARTTLS, with none under TLS.
func rsetOnly(t *testing.T, s *smtptest.Server) {
	t.Helper()
	c := dial(t, s)
	config := s.Config().TLS.Clone()
	if config != nil {
		config.ServerName = "localhost"
	}
	switch s.Mode {
	case postrider.ImplicitTLS:
		c = newRaw(t, tls.Client(c.Conn, config))
		c.expect("220")
	case postrider.StartTLS:
		c.talk("S: 220\nC: EHLO client.example\nS: 250\nC: STARTTLS\nS: 220")
		c = newRaw(t, tls.Client(c.Conn, config))
	default:
		c.expect("220")
	}
	c.talk("C: RSET\nS: 250\nC: QUIT\nS: 221")
	c.Close()
}

// docs/parity.md, fact 30: asking for the count over the wire does not disturb it.
//
// Fact 30
func TestStat(t *testing.T) {
	s := start(t, nil)
	c := dial(t, s)
	c.talk("S: 220")
	for range 2 {
		asks := dial(t, s)
		asks.talk("S: 220\nC: STAT\nS: 250 2.0.0 1 \nC: STAT\nS: 250 2.0.0 1 ")
	}
	if got := s.ConnectionCount(); got != 1 {
		t.Errorf("count %d, want 1", got)
	}
}

// Close tells idle clients 421, ends what a fault keeps silent, and does not
// wait for either; a second Close does nothing.
func TestCloseEndsIdleConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, func(s *smtptest.Server) {
			s.Listener = smtptest.InMemory("localhost:25")
			s.Faults = []smtptest.Fault{
				{Command: "NOOP", Then: smtptest.ThenHang},
				{Command: "HELP", Delay: time.Hour},
				{Connection: 4, AfterRead: 3, Then: smtptest.ThenHang},
			}
			s.Log = func(format string, args ...any) { t.Errorf(format, args...) }
		})
		idle, silent, slow, stopped := dial(t, s), dial(t, s), dial(t, s), dial(t, s)
		idle.talk("S: 220")
		silent.talk("S: 220\nC: NOOP\nS: 250")
		slow.talk("S: 220\nC: HELP")
		stopped.talk("S: 220\nC: NOOP")
		synctest.Wait()
		began := time.Now()
		s.Close()
		s.Close()
		if waited := time.Since(began); waited != 0 {
			t.Errorf("Close waited %v", waited)
		}
		idle.talk("S: 421 4.3.2")
		idle.expectEnd()
		silent.expectEnd()
		slow.expectEnd()
	})
}

// A transaction that is under way is waited for, and named if it does not end.
func TestCloseWaitsForTransactions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log []string
		s := start(t, func(s *smtptest.Server) {
			s.Listener = smtptest.InMemory("localhost:25")
			s.Log = func(format string, args ...any) { log = append(log, fmt.Sprintf(format, args...)) }
		})
		ends, hangs := dial(t, s), dial(t, s)
		for _, c := range []*raw{ends, hangs} {
			c.talk("S: 220\nC: EHLO x.example\nS: 250\nC: MAIL FROM:<>\nS: 250\nC: RCPT TO:<b@example.com>\nS: 250\n" +
				"C: DATA\nS: 354")
		}
		go func() {
			time.Sleep(time.Second) // fake time, while Close waits
			ends.talk("C: .\nS: 250\nS: 421 4.3.2")
		}()
		began := time.Now()
		s.Close()
		if waited := time.Since(began); waited != 5*time.Second {
			t.Errorf("Close waited %v, want the 5 s of grace", waited)
		}
		if len(log) != 1 || !strings.Contains(log[0], "connection 2 from localhost:25#2") ||
			!strings.Contains(log[0], "DATA") {
			t.Errorf("Close logged %q", log)
		}
		if len(s.Messages()) != 1 {
			t.Error("the transaction that ended in time was lost")
		}
	})
}

// Close of a server that never ran closes its listener.
func TestCloseUnstarted(t *testing.T) {
	smtptest.NewUnstartedServer().Close()
	s := smtptest.NewUnstartedServer()
	l := smtptest.InMemory("x")
	s.Listener = l
	s.Close()
	if _, err := l.Accept(); err == nil {
		t.Error("the listener is open")
	}
}

// A client that is silent for longer than RFC 5321 §4.5.3.2.7 allows is sent off.
//
// Fact 39
func TestIdleTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, func(s *smtptest.Server) { s.Listener = smtptest.InMemory("localhost:25") })
		c := dial(t, s)
		began := time.Now()
		c.talk("S: 220\nS: 421 4.4.2")
		if waited := time.Since(began); waited != 5*time.Minute {
			t.Errorf("421 after %v, want 5 minutes", waited)
		}
		c.expectEnd()
		s.Close()
	})
}

// Nor does a client that does not read its replies hold the server for ever.
func TestClientThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, func(s *smtptest.Server) {
			s.Listener, s.AnyPipelining = smtptest.InMemory("localhost:25"), true
		})
		c := dial(t, s)
		began := time.Now()
		for {
			if _, err := c.Write([]byte("NOOP\r\n")); err != nil {
				break
			}
		}
		if waited := time.Since(began); waited != 5*time.Minute {
			t.Errorf("given up after %v, want 5 minutes", waited)
		}
		s.Close()
	})
}

// Fields that make no sense are a mistake in the test, and do not pass silently.
func TestStartPanics(t *testing.T) {
	for name, change := range map[string]func(*smtptest.Server){
		"unknown mechanism":      func(s *smtptest.Server) { s.Mechanisms = []string{"SCRUM"} },
		"fault without occasion": func(s *smtptest.Server) { s.Faults = []smtptest.Fault{{Reply: "450 x"}} },
		"fault with two occasions": func(s *smtptest.Server) {
			s.Faults = []smtptest.Fault{{Command: "MAIL", AfterRead: 3}}
		},
		"fault at unknown command": func(s *smtptest.Server) { s.Faults = []smtptest.Fault{{Command: "RCTP"}} },
		"address without RCPT": func(s *smtptest.Server) {
			s.Faults = []smtptest.Fault{{Command: "DATA", Address: "a@b"}}
		},
		"reply of a broken cable": func(s *smtptest.Server) {
			s.Faults = []smtptest.Fault{{AfterRead: 1, Reply: "250 x"}}
		},
		"queued error of another": func(s *smtptest.Server) { s.QueueError("DATA", 450) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			start(t, change)
		})
	}
	t.Run("started twice", func(t *testing.T) {
		s := start(t, nil)
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		s.Start()
	})
}
