package session_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider/internal/hint"
	"github.com/postrider/postrider/internal/sasl"
	"github.com/postrider/postrider/internal/session"
)

// script is what the peer does, a line a step: "S: text" is written with CRLF, "S> text" without, "C: line" has to be
// read, "close" ends the connection, "hang" goes on in silence. The peer shares no code with the session.
type script []string

// run plays the peer's part. It returns what went otherwise.
func (s script) run(conn net.Conn) error {
	in := bufio.NewReader(conn)
	for _, step := range s {
		kind, text, _ := strings.Cut(step, " ")
		switch kind {
		case "S:", "S>":
			if kind == "S:" {
				text += "\r\n"
			}
			if _, err := io.WriteString(conn, text); err != nil {
				return fmt.Errorf("%s: %w", step, err)
			}
		case "C:":
			line, err := in.ReadString('\n')
			if err != nil || line != text+"\r\n" {
				return fmt.Errorf("read %q, %v; want %q", line, err, text)
			}
		case "close":
			return conn.Close()
		case "hang":
			if rest, err := io.ReadAll(in); len(rest) > 0 {
				return fmt.Errorf("read %q, %v; want silence", rest, err)
			}
		}
	}
	return nil
}

// rig is a session with a peer.
type rig struct {
	*session.Session
	events []string
	ended  chan error // of the peer
}

// meet lets a session dial a peer that plays a script.
func meet(t *testing.T, s script, change func(*session.Settings)) *rig {
	t.Helper()
	client, server := net.Pipe()
	r := &rig{ended: make(chan error, 1)}
	settings := settingsFor(client, nil, &r.events)
	if change != nil {
		change(&settings)
	}
	r.Session = session.New(settings)
	go func() { r.ended <- s.run(server); server.Close() }()
	if failed := r.Dial(t.Context()); failed != nil {
		t.Fatal(failed)
	}
	return r
}

// settingsFor are those of a client on one connection.
func settingsFor(conn net.Conn, cfg *tls.Config, events *[]string) session.Settings {
	return session.Settings{
		Dial:    dialOnce(conn),
		TLS:     cfg,
		Name:    func(context.Context, net.Addr) string { return "client.example.com" },
		Secrets: new(sasl.Redactor),
		Timeouts: session.Timeouts{
			Connect: time.Minute, Hello: time.Minute, TLS: time.Minute, Auth: time.Minute, Block: time.Minute,
		},
		Observe: func(e session.Event) { *events = append(*events, show(e)) },
	}
}

// leave ends the conversation, and wants the peer to have come to the end of its script.
func (r *rig) leave(t *testing.T) {
	t.Helper()
	r.Raw.Close()
	if err := <-r.ended; err != nil {
		t.Errorf("the peer: %v", err)
	}
}

func show(e session.Event) string {
	switch e.Kind {
	case session.Dialed:
		return fmt.Sprintf("dialed %v", e.Err)
	case session.Command:
		return "C: " + e.Shown
	case session.Reply:
		return fmt.Sprintf("S: %d %s", e.Reply.Code, e.Reply.Text)
	case session.TLSDone:
		return fmt.Sprintf("TLS %v", e.Err)
	case session.Hello:
		return "hello " + e.Text
	case session.Authenticated:
		return fmt.Sprintf("auth %s %v", e.Mechanism, e.Failed)
	}
	return "?"
}

// bubble runs a test in a time of its own.
func bubble(t *testing.T, name string, test func(*testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
}

// failure is what came of a step, for tables: "" if nothing is wrong.
func failure(e *session.Error) string {
	if e == nil {
		return ""
	}
	return e.Error()
}

// RFC 5321 §3.1: only 220 opens a session; what cannot be a greeting is told from a refusal.
func TestGreeting(t *testing.T) {
	for _, tt := range []struct {
		name   string
		script script
		want   string
		is     error
		lost   bool
		exim   bool
	}{
		{name: "220", script: script{"S: 220 mx.example.com ESMTP"}},
		{name: "several lines", script: script{"S: 220-mx.example.com", "S: 220 Exim 4.96"}, exim: true},
		{name: "refused", script: script{"S: 554 No SMTP service here"}, want: "greeting: 554 No SMTP service here"},
		{name: "busy", script: script{"S: 421 4.3.2 Later"}, want: "greeting: 421 4.3.2 Later"},
		{name: "250 is no greeting", script: script{"S: 250 ok"}, is: session.ErrOutOfStep,
			want: "greeting: 250 ok (this reply cannot answer the command: replies and commands are out of step)"},
		{name: "354 is no greeting", script: script{"S: 354 go"}, is: session.ErrOutOfStep,
			want: "greeting: 354 go (this reply cannot answer the command: replies and commands are out of step)"},
		{name: "no SMTP", script: script{"S: SSH-2.0-OpenSSH"}, want: `greeting: not an SMTP reply: "SSH-2.0-OpenSSH"`, lost: true},
		{name: "closed", script: script{"close"}, want: "greeting: the server closed the connection", is: io.EOF, lost: true},
		{name: "closed within", script: script{"S: 220-mx", "close"}, is: io.ErrUnexpectedEOF, lost: true,
			want: "greeting: the server closed the connection in the middle of a reply"},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			r := meet(t, tt.script, nil)
			failed := r.Greeting(time.Minute)
			if failure(failed) != tt.want || tt.is != nil && !errors.Is(failed, tt.is) || r.Lost != tt.lost || r.Exim != tt.exim {
				t.Errorf("%v; lost %t, Exim %t", failed, r.Lost, r.Exim)
			}
			r.leave(t)
		})
	}
}

// The caller decides how long a silence lasts, and may go on waiting.
func TestGreetingComesLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer server.Close()
		r := session.New(session.Settings{
			Dial:    func(context.Context) (net.Conn, error) { return client, nil },
			Secrets: new(sasl.Redactor), Timeouts: session.Timeouts{Connect: time.Second},
		})
		if failed := r.Dial(t.Context()); failed != nil {
			t.Fatal(failed)
		}
		defer r.Raw.Close()
		start := time.Now()
		var late net.Error
		failed := r.Greeting(2 * time.Second)
		if failed == nil || !errors.As(failed, &late) || !late.Timeout() || !strings.Contains(failed.Error(), "no reply within 2s") || !r.Lost {
			t.Errorf("%v; lost %t", failed, r.Lost)
		}
		go io.WriteString(server, "220 at last\r\n")
		if failed := r.Greeting(time.Second); failed != nil || r.Lost || time.Since(start) != 2*time.Second || r.Last.Text != "at last" {
			t.Errorf("%v; lost %t after %v", failed, r.Lost, time.Since(start))
		}
	})
}

// RFC 5321 §4.1.1.1: EHLO first; HELO where the reply says that EHLO is not known; the newest EHLO counts.
func TestHello(t *testing.T) {
	helo := []string{"C: EHLO client.example.com", "S: 502 5.5.2 What?", "C: HELO client.example.com"}
	for _, tt := range []struct {
		name   string
		script script
		want   string
		ehlo   bool
		caps   string
	}{
		{name: "EHLO", ehlo: true, caps: "PIPELINING SIZE", script: script{"C: EHLO client.example.com", "S: 250-mx", "S: 250-PIPELINING", "S: 250 SIZE 100"}},
		{name: "HELO", script: append(slices.Clone(helo), "S: 250 mx PIPELINING")},
		{name: "HELO refused", script: append(slices.Clone(helo), "S: 550 no"), want: "EHLO: 550 no"},
		{name: "EHLO refused", script: script{"C: EHLO client.example.com", "S: 550 5.7.1 Who?"}, want: "EHLO: 550 5.7.1 Who?"},
		{name: "EHLO answered by 252", script: script{"C: EHLO client.example.com", "S: 252 mx"},
			want: "EHLO: 252 mx (this reply cannot answer the command: replies and commands are out of step)"},
		{name: "closed", script: script{"C: EHLO client.example.com", "close"}, want: "EHLO: the server closed the connection"},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			r := meet(t, append(script{"S: 220 mx"}, tt.script...), nil)
			if failed := r.Greeting(time.Minute); failed != nil {
				t.Fatal(failed)
			}
			failed := r.Hello(t.Context())
			if failure(failed) != tt.want || r.EHLO != tt.ehlo || (r.HelloText != "") != tt.ehlo {
				t.Errorf("%v; EHLO %t, %q", failed, r.EHLO, r.HelloText)
			}
			if r.Caps.Pipelining != strings.Contains(tt.caps, "PIPELINING") || r.Caps.HasSize != strings.Contains(tt.caps, "SIZE") {
				t.Errorf("%+v", r.Caps)
			}
			r.leave(t)
		})
	}
}

// Nothing that an earlier EHLO offered is left when a later one offers less.
func TestTheNewestHelloCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := meet(t, script{
			"S: 220 mx", "C: EHLO client.example.com", "S: 250-mx", "S: 250-STARTTLS", "S: 250 AUTH PLAIN",
			"C: EHLO client.example.com", "S: 502 no more", "C: HELO client.example.com", "S: 250 mx",
		}, nil)
		if failed := firstOf(r.Greeting(time.Minute), r.Hello(t.Context())); failed != nil {
			t.Fatal(failed)
		}
		if !r.Caps.StartTLS || len(r.Caps.Auth) != 1 {
			t.Errorf("%+v", r.Caps)
		}
		if failed := r.Hello(t.Context()); failed != nil || r.Caps.StartTLS || len(r.Caps.Auth) != 0 || r.HelloText != "" {
			t.Errorf("%v; %+v, %q", failed, r.Caps, r.HelloText)
		}
		r.leave(t)
	})
}

func firstOf(all ...*session.Error) *session.Error {
	for _, e := range all {
		if e != nil {
			return e
		}
	}
	return nil
}

// What is said before its command answers nothing (a 2yz least of all); only a refusal, such as a goodbye, may come early.
func TestSurplus(t *testing.T) {
	for _, tt := range []struct {
		name, early string
		is          error
		want        string
	}{
		{name: "a 250 before EHLO", early: "250 mx", is: session.ErrSurplus},
		{name: "a goodbye before EHLO", early: "421 4.3.2 Bye", want: "EHLO: 421 4.3.2 Bye"},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			r := meet(t, script{"S> 220 mx\r\n" + tt.early + "\r\n", "C: EHLO client.example.com"}, nil)
			if failed := r.Greeting(time.Minute); failed != nil {
				t.Fatal(failed)
			}
			failed := r.Hello(t.Context())
			if failed == nil || tt.is != nil && !errors.Is(failed, tt.is) || tt.want != "" && failed.Error() != tt.want || r.Lost != (tt.is != nil) {
				t.Errorf("%v; lost %t", failed, r.Lost)
			}
			r.leave(t)
		})
	}
	bubble(t, "behind the last step", func(t *testing.T) {
		r := meet(t, script{"S: 220 mx", "C: EHLO client.example.com", "S> 250 mx\r\n250 2.1.0 ok\r\n"}, nil)
		if failed := firstOf(r.Greeting(time.Minute), r.Hello(t.Context())); failed != nil {
			t.Fatal(failed)
		}
		if failed := r.Opened(); !errors.Is(failed, session.ErrSurplus) || !r.Lost {
			t.Errorf("%v; lost %t", failed, r.Lost)
		}
		r.leave(t)
	})
}

// A peer that hung up has often said why before that.
func TestTheReasonOfAHangUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := meet(t, script{"S> 220 mx\r\n421 4.7.0 Too many connections\r\n", "close"}, nil)
		if failed := r.Greeting(time.Minute); failed != nil {
			t.Fatal(failed)
		}
		if failed := r.Hello(t.Context()); failure(failed) != "EHLO: 421 4.7.0 Too many connections" {
			t.Errorf("%v", failed)
		}
		r.leave(t)
	})
}

// A Dial that ignores its context is left behind; what it opens later is closed.
func TestDialIsLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		release := make(chan struct{})
		var events []string
		s := session.New(session.Settings{
			Dial:     func(context.Context) (net.Conn, error) { <-release; return client, nil },
			Secrets:  new(sasl.Redactor),
			Timeouts: session.Timeouts{Connect: 3 * time.Second},
			Observe:  func(e session.Event) { events = append(events, show(e)) },
		})
		start := time.Now()
		failed := s.Dial(t.Context())
		const want = "dial: no connection within 3s: context deadline exceeded"
		if failure(failed) != want || failed.Step != hint.Dial || !errors.Is(failed, context.DeadlineExceeded) || time.Since(start) != 3*time.Second {
			t.Errorf("%v after %v", failed, time.Since(start))
		}
		if len(events) != 1 || !strings.HasPrefix(events[0], "dialed no connection within 3s") || s.Raw != nil {
			t.Errorf("%q", events)
		}
		close(release)
		if _, err := server.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("what was dialled too late: %v", err)
		}
		cause := errors.New("given up")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		s.Settings.Dial = func(ctx context.Context) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }
		if failed := s.Dial(ctx); !errors.Is(failed, cause) {
			t.Errorf("%v", failed)
		}
	})
}

// The observer is told of everything once, in order.
func TestEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := meet(t, script{"S: 220 mx", "C: EHLO client.example.com", "S: 250-mx", "S: 250 AUTH PLAIN", "C: AUTH PLAIN AGFubmUAaHVudGVyMg==", "S: 235 in"}, nil)
		if failed := firstOf(r.Greeting(time.Minute), r.Hello(t.Context())); failed != nil {
			t.Fatal(failed)
		}
		if failed, _ := r.Auth("PLAIN", anne); failed != nil {
			t.Fatal(failed)
		}
		want := []string{
			"dialed <nil>", "S: 220 mx", "C: EHLO client.example.com", "S: 250 mx\nAUTH PLAIN", "hello mx\nAUTH PLAIN",
			"C: AUTH PLAIN ********", "S: 235 in", "auth PLAIN <nil>",
		}
		if !slices.Equal(r.events, want) {
			t.Errorf("%q", r.events)
		}
		r.leave(t)
	})
}

// brokenOff is a connection that takes nothing any more, as after a RST; what the peer said before can be read.
type brokenOff struct {
	net.Conn
	said io.Reader
}

var errBroken = errors.New("broken pipe")

func (c brokenOff) Read(b []byte) (int, error) {
	if c.said == nil {
		return c.Conn.Read(b)
	}
	return c.said.Read(b)
}
func (c brokenOff) Write([]byte) (int, error) { return 0, errBroken }

// A command that cannot be written: what the peer said before it hung up tells more than that; it is looked for, but not
// for long.
func TestACommandThatCannotBeWritten(t *testing.T) {
	for _, tt := range []struct {
		name string
		said io.Reader
		want string
		took time.Duration
	}{
		{"a reason", strings.NewReader("220 mx\r\n421 4.4.2 Idle for too long\r\n"), "EHLO: 421 4.4.2 Idle for too long", 0},
		{"none", strings.NewReader("220 mx\r\n"), "EHLO: broken pipe", 0},
		{"garbage", strings.NewReader("220 mx\r\n\x15\x03\x01\r\n"), `EHLO: not an SMTP reply: "\x15\x03\x01"`, 0},
		{"silence", nil, "EHLO: no reply within 2s: ", 2 * time.Second},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			client, server := net.Pipe()
			defer server.Close()
			var events []string
			r := introducedTo(t, brokenOff{client, tt.said}, nil, &events)
			if tt.said == nil {
				go io.WriteString(server, "220 mx\r\n")
			}
			if failed := r.Greeting(time.Minute); failed != nil {
				t.Fatal(failed)
			}
			start := time.Now()
			failed := r.Hello(t.Context())
			if got := failure(failed); !strings.HasPrefix(got, tt.want) || time.Since(start) != tt.took {
				t.Errorf("%q after %v", got, time.Since(start))
			}
			r.Raw.Close()
		})
	}
}
