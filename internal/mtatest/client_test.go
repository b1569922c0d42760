//go:build linux

package mtatest_test

import (
	"bytes"
	"testing"

	"github.com/postrider/postrider/internal/mtatest"
)

// With login and TLS in every mode, smtplib delivers byte for byte, and keeps its connection.
func TestSmtplib(t *testing.T) {
	for _, mode := range []mtatest.Mode{mtatest.Plain, mtatest.StartTLS, mtatest.ImplicitTLS} {
		t.Run(string(mode), func(t *testing.T) {
			s := mtatest.Aiosmtpd(t, mtatest.Options{Mode: mode, User: mtatest.User, Password: mtatest.Password})
			client := mtatest.Smtplib(t, s.Target())
			mail := mtatest.Mail{
				From: "anne@example.com", To: []string{"bart@example.com"}, Content: content,
				MailOptions: []string{"BODY=8BITMIME"},
			}
			for range 2 {
				if got := client.Send(t, mail); got.Err != nil || len(got.Refused) > 0 || !got.Open {
					t.Fatalf("Send: %+v", got)
				}
			}
			if got := client.Quit(t); got.Err != nil || got.Open {
				t.Errorf("Quit: %+v", got)
			}
			sent := mtatest.Message{From: mail.From, To: mail.To, Content: content}
			check(t, s, []mtatest.Message{sent, sent})
			if record := s.Messages(t)[0].Record; !bytes.Contains([]byte(record), []byte("BODY=8BITMIME")) {
				t.Errorf("the option did not arrive: %s", record)
			}
		})
	}
}

// What the server refuses is told recipient by recipient, and as the exception of Python's name when
// nobody is left; RSET without EHLO resets the count of Mailman's test MTA.
func TestSmtplibRefusals(t *testing.T) {
	s := mtatest.MailmanMTA(t, mtatest.Options{})
	client := mtatest.Smtplib(t, s.Target())
	mail := mtatest.Mail{From: "anne@example.com", To: []string{"bart@example.com", "cris@example.com"},
		Content: content}
	refusal := mtatest.Reply{Code: 550, Text: "Error: SMTPRecipientsRefused"}

	s.QueueError(t, "rcpt", 550)
	got := client.Send(t, mail)
	if got.Err != nil || len(got.Refused) != 1 || got.Refused["bart@example.com"] != refusal {
		t.Errorf("one of two refused: %+v", got)
	}
	s.QueueError(t, "rcpt", 550)
	s.QueueError(t, "rcpt", 550)
	got = client.Send(t, mail)
	if got.Err == nil || got.Err.Type != "SMTPRecipientsRefused" || got.Err.Recipients["cris@example.com"] != refusal {
		t.Errorf("both refused: %+v", got)
	}
	s.QueueError(t, "mail", 451)
	got = client.Send(t, mail)
	if got.Err == nil || got.Err.Type != "SMTPSenderRefused" || got.Err.Code != 451 {
		t.Errorf("sender refused: %+v", got)
	}

	s.Reset(t)
	other := mtatest.Smtplib(t, s.Target())
	if got := other.Command(t, "NOOP"); got.Reply.Code != 250 {
		t.Errorf("NOOP: %+v", got)
	}
	if n := s.ConnectionCount(t); n != 1 {
		t.Errorf("count %d after one more connection, want 1", n)
	}
	if got := other.Command(t, "RSET"); got.Reply.Code != 250 {
		t.Errorf("RSET: %+v", got)
	}
	if n := s.ConnectionCount(t); n != 0 {
		t.Errorf("count %d after RSET, want 0", n)
	}
}

// A certificate that the client does not trust is refused by the client.
func TestClientsVerify(t *testing.T) {
	s := mtatest.Aiosmtpd(t, mtatest.Options{Mode: mtatest.ImplicitTLS})
	target := s.Target()
	target.CAFile = ""
	mail := mtatest.Mail{From: "anne@example.com", To: []string{"bart@example.com"}, Content: content}
	clients := map[string]*mtatest.Client{
		"smtplib": mtatest.Smtplib(t, target),
		"Mailman": mtatest.MailmanClient(t, target, mtatest.MailmanOptions{}),
	}
	for name, client := range clients {
		if got := client.Send(t, mail); got.Err == nil || got.Err.Type != "SSLCertVerificationError" {
			t.Errorf("%s: %+v", name, got)
		}
	}
	lax := mtatest.MailmanClient(t, target, mtatest.MailmanOptions{NoVerifyCert: true})
	if got := lax.Send(t, mail); got.Err != nil {
		t.Errorf("without verification: %v", got.Err)
	}
}

// Mailman's Connection logs in and delivers in every mode.
func TestMailmanClient(t *testing.T) {
	for _, mode := range []mtatest.Mode{mtatest.Plain, mtatest.StartTLS, mtatest.ImplicitTLS} {
		t.Run(string(mode), func(t *testing.T) {
			s := mtatest.MailmanMTA(t, mtatest.Options{Mode: mode, User: mtatest.User, Password: mtatest.Password})
			client := mtatest.MailmanClient(t, s.Target(), mtatest.MailmanOptions{})
			mail := mtatest.Mail{From: "anne@example.com", To: []string{"bart@example.com"}, Content: content}
			if got := client.Send(t, mail); got.Err != nil || len(got.Refused) > 0 || !got.Open {
				t.Fatalf("Send: %+v", got)
			}
			check(t, s.Server, []mtatest.Message{{From: mail.From, To: mail.To, Content: content}})
			// base64 of NUL testuser NUL testpass: AUTH PLAIN's initial response (RFC 4616 §2)
			if got := s.Credentials(t); got != "AHRlc3R1c2VyAHRlc3RwYXNz" {
				t.Errorf("credentials %q", got)
			}
			if got := s.Credentials(t); got != "" {
				t.Errorf("credentials %q of nobody", got)
			}
			if got := client.Quit(t); got.Err != nil || got.Open {
				t.Errorf("Quit: %+v", got)
			}
		})
	}
}

// With two sessions a connection, five messages take three connections.
func TestMailmanClientMaxSessions(t *testing.T) {
	s := mtatest.MailmanMTA(t, mtatest.Options{})
	client := mtatest.MailmanClient(t, s.Target(), mtatest.MailmanOptions{MaxSessions: 2})
	mail := mtatest.Mail{From: "anne@example.com", To: []string{"bart@example.com"}, Content: content}
	for i, want := range []int{1, 1, 2, 2, 3} {
		got := client.Send(t, mail)
		if got.Err != nil {
			t.Fatal(got.Err)
		}
		// The second of each pair is followed by QUIT at once.
		if open := i%2 == 0; got.Open != open {
			t.Errorf("message %d: open %v, want %v", i+1, got.Open, open)
		}
		if n := s.ConnectionCount(t); n != want {
			t.Errorf("message %d: %d connections, want %d", i+1, n, want)
		}
	}
}

// A configuration that is pushed reaches the connection that exists, until it is popped; and content
// can be handed over in each of Python's three types.
func TestMailmanClientConfiguration(t *testing.T) {
	s := mtatest.MailmanMTA(t, mtatest.Options{})
	client := mtatest.MailmanClient(t, s.Target(), mtatest.MailmanOptions{})
	text := []byte("From: anne@example.com\r\nSubject: plain\r\n\r\nbody\r\n")
	send := func(as string) {
		t.Helper()
		to := []string{"bart@example.com", "cris@example.com"}
		got := client.Send(t, mtatest.Mail{From: "anne@example.com", To: to, Content: text, As: as})
		if got.Err != nil {
			t.Fatal(got.Err)
		}
	}
	client.Push(t, "devmode", "[devmode]\nenabled: yes\nrecipient: zperson@example.com\n")
	send("bytes")
	client.Pop(t, "devmode")
	send("str")
	send("message")
	safe := []string{"zperson@example.com", "zperson@example.com"}
	real := []string{"bart@example.com", "cris@example.com"}
	check(t, s.Server, []mtatest.Message{
		{From: "anne@example.com", To: safe, Content: text},
		{From: "anne@example.com", To: real, Content: text},
		{From: "anne@example.com", To: real, Content: text},
	})
}
