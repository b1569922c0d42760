package smtptest_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/smtptest"
)

// faulty returns a server in memory with these faults.
func faulty(t *testing.T, faults ...smtptest.Fault) *smtptest.Server {
	t.Helper()
	return start(t, func(s *smtptest.Server) {
		s.Listener, s.Faults = smtptest.InMemory("localhost:25"), faults
		s.Users = map[string]string{"testuser": "testpass"}
		s.AnyPipelining = true // the dialogues do not wait for what a fault keeps back
	})
}

type fault = smtptest.Fault

// Every command can be answered with something else, and then has no effect.
func TestFaultReplies(t *testing.T) {
	for _, tc := range []struct {
		fault    fault
		dialogue string
	}{
		{fault{Command: "greeting", Reply: "554 no"}, "S: 554 no\nC: EHLO x\nS: 250"},
		{fault{Command: "greeting", Reply: "220-a\n220 b"}, "S: 220-a / 220 b\nC: EHLO x\nS: 250"},
		{fault{Command: "EHLO", Reply: "502 what"},
			"S: 220\nC: EHLO x\nS: 502 what\nC: MAIL FROM:<>\nS: 503\nC: HELO x\nS: 250\nC: MAIL FROM:<>\nS: 250"},
		{fault{Command: "HELO", Reply: "421 no"}, "S: 220\nC: HELO x\nS: 421 no"},
		{fault{Command: "STARTTLS", Reply: "454 later"}, begun + "C: STARTTLS\nS: 454 later\nC: NOOP\nS: 250"},
		{fault{Command: "AUTH", Reply: "454 later"},
			begun + "C: AUTH PLAIN AHRlc3R1c2VyAHRlc3RwYXNz\nS: 454 later\nC: AUTH PLAIN\nS: 454"},
		{fault{Command: "AUTH", Reply: "334 bW9yZQ=="},
			begun + "C: AUTH PLAIN AHRlc3R1c2VyAHRlc3RwYXNz\nS: 334 bW9yZQ==\nC: AAAA\nS: 535\nC: NOOP\nS: 250"},
		{fault{Command: "response", Reply: "535 no"},
			begun + "C: AUTH LOGIN\nS: 334\nC: AAAA\nS: 535 no\nC: NOOP\nS: 250"},
		{fault{Command: "mail", Reply: "450 later"}, begun + "C: MAIL FROM:<>\nS: 450 later\nC: RCPT TO:<b@a>\nS: 503"},
		{fault{Command: "RCPT", Nth: 2, Reply: "550 no"},
			begun + "C: MAIL FROM:<>\nS: 250\nC: RCPT TO:<b@a>\nS: 250\nC: RCPT TO:<c@a>\nS: 550 no\n" +
				"C: RCPT TO:<c@a>\nS: 250"},
		{fault{Command: "RCPT", Address: "c@a", Reply: "550 no"},
			begun + "C: MAIL FROM:<c@a>\nS: 250\nC: RCPT TO:<b@a>\nS: 250\nC: RCPT TO:<c@a>\nS: 550 no\n" +
				"C: RCPT TO:<c@a>\nS: 550"},
		{fault{Command: "RCPT", Address: "c@a", Nth: 2, Reply: "550 no"},
			begun + "C: MAIL FROM:<c@a>\nS: 250\nC: RCPT TO:<b@a>\nS: 250\nC: RCPT TO:<c@a>\nS: 250\n" +
				"C: RCPT TO:<c@a>\nS: 550"},
		{fault{Command: "DATA", Reply: "451 later"},
			envelope + "C: DATA\nS: 451 later\nC: DATA\nS: 451\nC: RSET\nS: 250"},
		{fault{Command: "DATA", Reply: "250 what"}, envelope + "C: DATA\nS: 250 what\nC: NOOP\nS: 250 2.0.0"},
		{fault{Command: "MAIL", Reply: "354 what"}, begun + "C: MAIL FROM:<>\nS: 354 what\nC: RCPT TO:<b@a>\nS: 503"},
		{fault{Command: ".", Reply: "552 no"}, envelope + "C: DATA\nS: 354\nC: .\nS: 552 no\nC: MAIL FROM:<>\nS: 250"},
		{fault{Command: ".", Reply: "552 no"},
			envelope + "C: BDAT 0\nS: 250\nC: BDAT 0 LAST\nS: 552 no\nC: MAIL FROM:<>\nS: 503"},
		{fault{Command: "BDAT", Nth: 1, Reply: "552 no"}, envelope + "C: BDAT 0\nS: 552 no\nC: BDAT 0 LAST\nS: 503"},
		{fault{Command: "BDAT", Nth: 2, Reply: "552 no"}, envelope + "C: BDAT 0\nS: 250\nC: BDAT 0 LAST\nS: 552 no"},
		{fault{Command: "RSET", Reply: "500 no"}, envelope + "C: RSET\nS: 500 no\nC: MAIL FROM:<>\nS: 503"},
		{fault{Command: "NOOP", Reply: "\xff\xfe garbage"}, begun + "C: NOOP\nS: \xff\xfe garbage\nC: HELP\nS: 214"},
		{fault{Command: "NOOP", Reply: "250 ok\n421 4.3.2 going down"},
			begun + "C: NOOP\nS: 250 ok\nS: 421 4.3.2 going down\nC: HELP\nS: 214"},
		{fault{Command: "QUIT", Reply: "500 no"}, begun + "C: QUIT\nS: 500 no\nC: NOOP\nS: 250"},
		{fault{Command: "NOOP", Reply: "421 no", Then: smtptest.ThenKeepOpen},
			begun + "C: NOOP\nS: 421 no\nC: HELP\nS: 214"},
		{fault{Command: "NOOP", Answer: smtptest.AnswerNone}, begun + "C: NOOP\nC: HELP\nS: 214"},
		{fault{Command: "NOOP", Reply: "250 abcd", Answer: smtptest.AnswerHalf},
			begun + "C: NOOP\nC: HELP\nS: 250 a214"},
		{fault{Command: "NOOP", Connection: 2, Reply: "450 no"}, begun + "C: NOOP\nS: 250"},
		// A positive reply does not make the server do what it refuses.
		{fault{Command: "RCPT", Reply: "250 ok"}, begun + "C: RCPT TO:<b@a>\nS: 250 ok\nC: DATA\nS: 503"},
	} {
		t.Run(fmt.Sprintf("%s %s", tc.fault.Command, tc.fault.Reply), func(t *testing.T) {
			s := faulty(t, tc.fault)
			dial(t, s).talk(tc.dialogue)
			if len(s.Messages()) != 0 || len(s.Credentials()) != 0 {
				t.Errorf("a refused command had its effect: %v %v", s.Messages(), s.Credentials())
			}
		})
	}
}

// A reply of the same class only changes the words.
func TestFaultKeepsEffect(t *testing.T) {
	s := faulty(t, fault{Command: "MAIL", Reply: "251 x"}, fault{Command: "DATA", Reply: "354-x\n354 y"},
		fault{Command: ".", Reply: "250 done"},
		fault{Command: "EHLO", Reply: "250 nothing offered"})
	dial(t, s).talk("S: 220\nC: EHLO x\nS: 250 nothing offered\nC: MAIL FROM:<>\nS: 251 x\nC: RCPT TO:<b@a>\nS: 250\n" +
		"C: DATA\nS: 354-x / 354 y\nC: .\nS: 250 done")
	if got := len(s.Messages()); got != 1 {
		t.Errorf("%d messages", got)
	}
}

// How connections end. The message at stake tells what the server took.
func TestFaultEndings(t *testing.T) {
	const dot = envelope + "C: DATA\nS: 354\nC: .\n"
	for _, tc := range []struct {
		name     string
		fault    fault
		dialogue string
		rest     string // what comes behind the dialogue, to the end
		err      error
		taken    int
	}{
		{"421 closes", fault{Command: "NOOP", Reply: "421 no"}, begun + "C: NOOP\nS: 421", "", nil, 0},
		{"at the greeting", fault{Command: "greeting", Answer: smtptest.AnswerNone, Then: smtptest.ThenClose}, "", "",
			nil, 0},
		{"before the reply", fault{Command: ".", Answer: smtptest.AnswerNone, Then: smtptest.ThenClose}, dot, "", nil,
			1},
		{"before the reply, not taken", fault{Command: ".", Reply: "451 no", Answer: smtptest.AnswerNone,
			Then: smtptest.ThenClose}, dot, "", nil, 0},
		{"behind the reply", fault{Command: ".", Then: smtptest.ThenClose}, dot, "250 2.0.0 Ok: queued as 1-1\r\n", nil,
			1},
		{"in the reply", fault{Command: ".", Reply: "250 1234", Answer: smtptest.AnswerHalf, Then: smtptest.ThenClose},
			dot, "250 1", nil, 1},
		{"reset", fault{Command: "NOOP", Answer: smtptest.AnswerNone, Then: smtptest.ThenAbort}, begun + "C: NOOP", "",
			syscall.ECONNRESET, 0},
		{"at BDAT LAST", fault{Command: ".", Answer: smtptest.AnswerNone, Then: smtptest.ThenClose},
			envelope + "C: BDAT 0 LAST", "", nil, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := faulty(t, tc.fault)
			c := dial(t, s)
			c.talk(tc.dialogue)
			rest, err := io.ReadAll(c.r)
			if string(rest) != tc.rest || !errors.Is(err, tc.err) {
				t.Errorf("the client read %q, %v; want %q, %v", rest, err, tc.rest, tc.err)
			}
			if got := len(s.Messages()); got != tc.taken {
				t.Errorf("%d messages taken, want %d", got, tc.taken)
			}
		})
	}
}

// Over TCP, too, a closed connection does not lose its last reply to input that
// nobody read, and Abort is a reset.
func TestFaultEndingsOverTCP(t *testing.T) {
	s := start(t, func(s *smtptest.Server) {
		s.Faults = []fault{
			{Command: "MAIL", Reply: "421 enough"},
			{Command: "VRFY", Then: smtptest.ThenAbort},
		}
	})
	c := dial(t, s)
	c.talk(begun)
	c.send("MAIL FROM:<>\r\n" + strings.Repeat("NOOP\r\n", 50_000))
	c.expect("421 enough")
	c.expectEnd()
	c = dial(t, s)
	c.talk(begun + "C: VRFY x\nS: 252")
	if _, err := c.reply(); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("after Abort: %v", err)
	}
}

// Earlier replies are not held back by a delay, and the delay is exact.
func TestFaultDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := faulty(t, fault{Command: "RCPT", Nth: 2, Delay: time.Hour})
		c := dial(t, s)
		c.talk(begun)
		c.say("MAIL FROM:<>", "RCPT TO:<a@a>", "RCPT TO:<b@a>", "NOOP")
		began := time.Now()
		c.expect("250", "250")
		if waited := time.Since(began); waited != 0 {
			t.Errorf("earlier replies came after %v", waited)
		}
		c.expect("250", "250")
		if waited := time.Since(began); waited != time.Hour {
			t.Errorf("the delayed reply came after %v", waited)
		}
		s.Close()
	})
}

// A silent server goes on reading; one that stopped at an octet does not.
func TestFaultHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := faulty(t, fault{Command: "NOOP", Then: smtptest.ThenHang},
			fault{Connection: 2, AfterRead: 10, Then: smtptest.ThenHang})
		much := strings.Repeat("x", 1<<20)
		silent := dial(t, s)
		silent.talk("S: 220\nC: NOOP\nS: 250")
		silent.send(much)
		silent.SetReadDeadline(time.Now().Add(time.Hour))
		if got, err := silent.reply(); got != "" || err == nil {
			t.Errorf("the silent server said %q", got)
		}
		stopped := dial(t, s)
		stopped.talk("S: 220")
		stopped.SetWriteDeadline(time.Now().Add(time.Hour))
		if n, err := io.WriteString(stopped, much); err == nil || n > 200_000 {
			t.Errorf("the stopped server took %d octets, %v", n, err)
		}
		s.Close()
	})
}

// Idle faults speak unasked, once in each silence, and never inside content.
func TestFaultIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := faulty(t, fault{Idle: time.Minute, Reply: "250 surplus", Connection: 1},
			fault{Idle: time.Minute, Nth: 2, Reply: "421 going down", Connection: 2})
		c := dial(t, s)
		c.talk(envelope + "C: DATA\nS: 354")
		time.Sleep(2 * time.Minute) // fake time
		c.talk("C: .\nS: 250 2.0.0")
		began := time.Now()
		c.talk("S: 250 surplus")
		if waited := time.Since(began); waited != time.Minute {
			t.Errorf("said after %v", waited)
		}
		time.Sleep(3 * time.Minute)
		c.talk("C: NOOP\nS: 250 2.0.0\nS: 250 surplus")

		second := dial(t, s)
		second.talk("S: 220")
		time.Sleep(2 * time.Minute)
		second.talk("C: NOOP\nS: 250 2.0.0\nS: 421 going down")
		second.expectEnd()
		s.Close()
	})
}

// Nth counts on the server, on one connection, or on each.
func TestFaultCounts(t *testing.T) {
	for _, tc := range []struct {
		connection int
		want       string // what NOOP gets, twice on each of three connections
	}{
		{0, "250 450 250 250 250 250"},
		{2, "250 250 250 450 250 250"},
		{smtptest.EachConnection, "250 450 250 450 250 450"},
	} {
		s := faulty(t, fault{Command: "NOOP", Connection: tc.connection, Nth: 2, Reply: "450 no"})
		var got []string
		for range 3 {
			c := dial(t, s)
			c.talk("S: 220")
			for range 2 {
				c.say("NOOP")
				r, _ := c.reply()
				got = append(got, r[:3])
			}
		}
		if strings.Join(got, " ") != tc.want {
			t.Errorf("Connection %d: %v, want %s", tc.connection, got, tc.want)
		}
	}
}

// All faults count, the first that strikes is taken; they can come and go.
func TestInject(t *testing.T) {
	s := faulty(t, fault{Command: "NOOP", Nth: 1, Reply: "451 a"}, fault{Command: "NOOP", Nth: 2, Reply: "452 b"},
		fault{Command: "NOOP", Nth: 1, Reply: "453 c"})
	c := dial(t, s)
	c.talk("S: 220\nC: NOOP\nS: 451 a\nC: NOOP\nS: 452 b\nC: NOOP\nS: 250")
	s.Inject(fault{Command: "NOOP", Reply: "454 d"})
	c.talk("C: NOOP\nS: 454 d")
	s.QueueError("MAIL", 455)
	s.ClearFaults()
	s.Inject(fault{Command: "VRFY", Reply: "455 e"}) // so that the server looks for faults at all
	c.talk("C: NOOP\nS: 250\nC: EHLO x\nS: 250\nC: MAIL FROM:<>\nS: 250\nC: VRFY x\nS: 455 e")
}

// At an octet: everything before it is answered, nothing behind it is seen.
func TestFaultAtOctet(t *testing.T) {
	const said = "EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<b@a>\r\nDATA\r\n.\r\n"
	const greeting = "220 localhost ESMTP smtptest\r\n"
	for k := 1; k <= len(said); k++ {
		s := faulty(t, fault{AfterRead: int64(k)})
		c := dial(t, s)
		c.send(said + "QUIT\r\n")
		got, err := io.ReadAll(c.r)
		answered := bytes.Count(got, []byte("\r\n250 ")) + bytes.Count(got, []byte("\r\n354 "))
		if want := strings.Count(said[:k], "\n"); err != nil || answered != want {
			t.Fatalf("cut behind %q: %d replies, %v; want %d", said[:k], answered, err, want)
		}
		if taken := len(s.Messages()); (taken == 1) != (k == len(said)) {
			t.Fatalf("cut behind %q: %d messages taken", said[:k], taken)
		}
		s.Close()
	}
	for k := 1; k <= len(greeting); k++ {
		for then, want := range map[smtptest.Then]error{smtptest.ThenClose: nil,
			smtptest.ThenAbort: syscall.ECONNRESET} {
			s := faulty(t, fault{AfterWritten: int64(k), Then: then})
			got, err := io.ReadAll(dial(t, s).r)
			if want == nil && string(got) != greeting[:k] || !errors.Is(err, want) {
				t.Fatalf("cut after octet %d: read %q, %v", k, got, err)
			}
			s.Close()
		}
	}
}

// TLS octets count as well: the handshake can be cut.
func TestFaultAtOctetOfTLS(t *testing.T) {
	for _, f := range []fault{{AfterRead: 50}, {AfterWritten: 50}, {AfterWritten: 900, Then: smtptest.ThenAbort}} {
		s := start(t, func(s *smtptest.Server) {
			s.Listener, s.Mode, s.Faults = smtptest.InMemory("localhost:465"), postrider.ImplicitTLS, []fault{f}
		})
		tc := tls.Client(dial(t, s).Conn, trusting(s, "localhost"))
		if err := tc.Handshake(); err == nil {
			if _, err := tc.Read(make([]byte, 1)); err == nil {
				t.Errorf("%+v: the greeting came", f)
			}
		}
		s.Close()
	}
}

// Instead of a handshake there may be nothing, garbage, or a close.
func TestFaultInHandshake(t *testing.T) {
	for name, f := range map[string]fault{
		"garbage": {Command: smtptest.Handshake, Reply: "500 what are you saying"},
		"close":   {Command: smtptest.Handshake, Answer: smtptest.AnswerNone, Then: smtptest.ThenClose},
		"reset":   {Command: smtptest.Handshake, Answer: smtptest.AnswerNone, Then: smtptest.ThenAbort},
		"silence": {Command: smtptest.Handshake, Answer: smtptest.AnswerNone, Then: smtptest.ThenHang},
		"delay":   {Command: smtptest.Handshake, Delay: time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := start(t, func(s *smtptest.Server) {
				s.Listener, s.Mode, s.Faults = smtptest.InMemory("localhost:465"), postrider.ImplicitTLS, []fault{f}
			})
			c := dial(t, s)
			began := time.Now()
			c.SetDeadline(began.Add(time.Hour))
			err := tls.Client(c.Conn, trusting(s, "localhost")).Handshake()
			waited := time.Since(began)
			var wait time.Duration
			switch name {
			case "silence":
				wait = time.Hour
			case "delay":
				wait = time.Minute
			}
			if (err == nil) != (name == "delay") || waited != wait {
				t.Errorf("%s: after %v: %v", name, waited, err)
			}
			if name == "garbage" && !errors.As(err, new(tls.RecordHeaderError)) {
				t.Errorf("garbage: %v", err)
			}
			s.Close()
		})
	}
}

// docs/parity.md, fact 36: one queue for all, the head blocks what is behind it, and what a
// connection holds goes with it.
//
// Fact 36
func TestQueueError(t *testing.T) {
	const mail, rcpt = "C: MAIL FROM:<>\nS: ", "C: RCPT TO:<b@a>\nS: "
	s := faulty(t)
	s.QueueError("rcpt", 500)
	s.QueueError("MAIL", 450)
	s.QueueError("rcpt", 450)
	c := dial(t, s)
	// the MAIL error is held, and lets this RCPT pass
	c.talk(begun + mail + "250\n" + rcpt + "500 Error: SMTPRecipientsRefused\n" + rcpt + "250\n")
	c.talk("C: RSET\nS: 250\n" + mail + "450 Error: SMTPResponseException\n" + mail + "250\n" + rcpt + "450\n" + rcpt +
		"250\nC: RSET\nS: 250")

	s.QueueError("rcpt", 450)
	c.talk(mail + "250\nC: QUIT\nS: 221") // held by this connection
	dial(t, s).talk(begun + mail + "250\n" + rcpt + "250")

	s.QueueError("mail", 421)
	c = dial(t, s)
	c.talk(begun + mail + "421")
	c.expectEnd()
}

// The policy is asked about what the server would accept, knows what it is about,
// and its answer counts.
func TestPolicy(t *testing.T) {
	var asked []smtptest.Command
	s := start(t, func(s *smtptest.Server) {
		s.Policy = func(c smtptest.Command) string {
			asked = append(asked, c)
			switch {
			case c.Verb == "RCPT" && c.Address == "no@example.com":
				return "550 5.1.1 no such user"
			case c.Verb == smtptest.Terminator && bytes.Contains(c.Message.Content, []byte("viagra")):
				return "554 5.7.1 no"
			}
			return ""
		}
	})
	c := dial(t, s)
	c.talk(begun + "C: MAIL FROM:<a@example.com> SIZE=9\nS: 250\nC: RCPT TO:<bad@>\nS: 501\n" +
		"C: RCPT TO:<no@example.com>\nS: 550 5.1.1 no\nC: RCPT TO:<b@example.com>\nS: 250\n" +
		"C: DATA\nS: 354\nC: viagra\nC: .\nS: 554 5.7.1 no\nC: MAIL FROM:<>\nS: 250\nC: RCPT TO:<b@example.com>\n" +
		"S: 250\nC: DATA\nS: 354\nC: tea\nC: .\nS: 250\nC: QUIT\nS: 221")
	c.expectEnd() // so that the server is done with asked
	var got []string
	for _, a := range asked {
		got = append(got, a.Verb)
	}
	if want := "greeting EHLO MAIL RCPT RCPT DATA . MAIL RCPT DATA . QUIT"; strings.Join(got, " ") != want {
		t.Errorf("asked about %v, want %s", got, want)
	}
	if m := asked[2]; m.Line != "MAIL FROM:<a@example.com> SIZE=9" || m.Address != "a@example.com" ||
		m.Params["SIZE"] != "9" || m.Connection != 1 {
		t.Errorf("MAIL: %+v", m)
	}
	if got := s.Messages(); len(got) != 1 || string(got[0].Content) != "tea\r\n" {
		t.Errorf("taken: %v", got)
	}
}

// A policy may also wish to say 421, as an operator does who shuts a door.
func TestPolicy421(t *testing.T) {
	s := start(t, func(s *smtptest.Server) {
		s.Policy = func(c smtptest.Command) string { return "421 4.3.2 not today" }
	})
	c := dial(t, s)
	c.talk("S: 421 4.3.2 not today")
	c.expectEnd()
	var nc net.Conn = c
	nc.Close()
}
