//go:build linux

package mtatest_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/smtp"
	"net/textproto"
	"slices"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/mtatest"
)

// What a careless relay would change: dots at the beginning of lines, blanks at their ends, empty
// lines at the end, 8-bit text, a folded header field, an unknown one, and the longest line that
// RFC 5321 §4.5.3.1.6 allows.
var content = []byte("Received: from the past by the client;\r\n\tSun, 22 Nov 2026 12:00:00 +0000\r\n" +
	"From: Anne <anne@example.com>\r\nTo: bart@example.com\r\n" +
	"Subject: dots,\r\n\tfolds and blanks\r\nDate: Sun, 22 Nov 2026 12:00:00 +0000\r\n" +
	"Message-ID: <1@example.com>\r\nX-Odd:no blank\r\n\r\n" +
	".\r\n..two\r\n.dot\r\nblanks at the end  \t\r\nGrüße aus Köln\r\n" +
	strings.Repeat("x", 998) + "\r\n\r\n\r\n")

var headerOnly = []byte("Date: Sun, 22 Nov 2026 12:00:00 +0000\r\nMessage-ID: <2@example.com>\r\n\r\n")

// forEach runs a test with every kind of server in every mode that it knows.
func forEach(t *testing.T, test func(*testing.T, mtatest.Kind, mtatest.Mode)) {
	for _, kind := range mtatest.Kinds() {
		for _, mode := range kind.Modes {
			t.Run(kind.Name+"/"+string(mode), func(t *testing.T) { test(t, kind, mode) })
		}
	}
}

// dial connects as the server's mode says, but does not say STARTTLS.
func dial(t *testing.T, s *mtatest.Server) *smtp.Client {
	t.Helper()
	conn, err := net.Dial("tcp", s.Address)
	if err != nil {
		t.Fatal(err)
	}
	if s.Mode == mtatest.ImplicitTLS {
		conn = tls.Client(conn, s.TLSConfig())
	}
	client, err := smtp.NewClient(conn, "localhost")
	if err != nil {
		t.Fatalf("greeting: %v", err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

// dialSecure connects and says STARTTLS where the mode asks for it.
func dialSecure(t *testing.T, s *mtatest.Server) *smtp.Client {
	t.Helper()
	client := dial(t, s)
	if s.Mode == mtatest.StartTLS {
		if err := client.StartTLS(s.TLSConfig()); err != nil {
			t.Fatalf("STARTTLS: %v", err)
		}
	}
	return client
}

// send carries out one transaction.
func send(client *smtp.Client, from string, to []string, content []byte) error {
	if err := client.Mail(from); err != nil {
		return fmt.Errorf("MAIL: %w", err)
	}
	for _, rcpt := range to {
		if err := client.Rcpt(rcpt); err != nil {
			return fmt.Errorf("RCPT: %w", err)
		}
	}
	w, err := client.Data()
	if err != nil {
		return fmt.Errorf("DATA: %w", err)
	}
	if _, err := w.Write(content); err != nil {
		return fmt.Errorf("content: %w", err)
	}
	return w.Close()
}

// check compares what the server took with what was sent.
func check(t *testing.T, s *mtatest.Server, want []mtatest.Message) {
	t.Helper()
	got := s.Messages(t)
	if len(got) != len(want) {
		t.Fatalf("%s has %d messages, want %d", s.Name, len(got), len(want))
	}
	for i := range want {
		if got[i].From != want[i].From || !slices.Equal(got[i].To, want[i].To) {
			t.Errorf("message %d: envelope %q %q, want %q %q", i, got[i].From, got[i].To, want[i].From, want[i].To)
		}
		if !bytes.Equal(got[i].Content, want[i].Content) {
			t.Errorf("message %d: content\n%q\nwant\n%q", i, got[i].Content, want[i].Content)
		}
		if got[i].Record == "" {
			t.Errorf("message %d has no record", i)
		}
	}
}

// A server keeps envelope and content of each message as they were sent, the null path too, in order.
func TestMessagesAreWhatWasSent(t *testing.T) {
	forEach(t, func(t *testing.T, kind mtatest.Kind, mode mtatest.Mode) {
		s := kind.Start(t, mtatest.Options{Mode: mode})
		check(t, s, nil)
		client := dialSecure(t, s)
		want := []mtatest.Message{
			{From: "anne@example.com", To: []string{"bart@example.com", "cris@example.org"}, Content: content},
			{From: "", To: []string{"dora@example.com"}, Content: headerOnly},
			{From: "anne+list=bart@example.com", To: []string{"bart@example.com"}, Content: content},
		}
		for _, m := range want {
			if err := send(client, m.From, m.To, m.Content); err != nil {
				t.Fatal(err)
			}
		}
		check(t, s, want)
		if err := client.Quit(); err != nil {
			t.Error(err)
		}
	})
}

// In StartTLS mode no mail passes in the clear, so that accepted mail proves TLS.
func TestStartTLSIsRequired(t *testing.T) {
	for _, kind := range mtatest.Kinds() {
		if !slices.Contains(kind.Modes, mtatest.StartTLS) {
			continue
		}
		t.Run(kind.Name, func(t *testing.T) {
			s := kind.Start(t, mtatest.Options{Mode: mtatest.StartTLS})
			client := dial(t, s)
			wantRefusal(t, send(client, "anne@example.com", []string{"bart@example.com"}, content))
			check(t, s, nil)
		})
	}
}

// Each mechanism that a Kind names is offered, the right password passes, a wrong one and none do not.
func TestAuth(t *testing.T) {
	forEach(t, func(t *testing.T, kind mtatest.Kind, mode mtatest.Mode) {
		if len(kind.Mechanisms) == 0 {
			t.Skip("it has no AUTH")
		}
		s := kind.Start(t, mtatest.Options{Mode: mode, User: mtatest.User, Password: mtatest.Password})
		var want []mtatest.Message
		for _, mechanism := range kind.Mechanisms {
			client := dialSecure(t, s)
			_, offered := client.Extension("AUTH")
			if !slices.Contains(strings.Fields(offered), mechanism) {
				t.Errorf("AUTH %s is not among %q", mechanism, offered)
			}
			auth := authBy(mechanism, mtatest.Password)
			if auth == nil {
				continue // net/smtp cannot
			}
			if err := client.Auth(auth); err != nil {
				t.Fatalf("AUTH %s: %v", mechanism, err)
			}
			m := mtatest.Message{From: mechanism + "@example.com", To: []string{"bart@example.com"}, Content: content}
			if err := send(client, m.From, m.To, m.Content); err != nil {
				t.Fatalf("after AUTH %s: %v", mechanism, err)
			}
			want = append(want, m)

			wantRefusal(t, dialSecure(t, s).Auth(authBy(mechanism, "wrong")))
		}
		if kind.Name != "Mailman" {
			wantRefusal(t, send(dialSecure(t, s), "eve@example.com", []string{"bart@example.com"}, content))
		}
		check(t, s, want)
	})
}

// Under TLS only: in StartTLS mode a password is not even asked for in the clear.
func TestAuthIsNotOfferedBeforeSTARTTLS(t *testing.T) {
	for _, kind := range mtatest.Kinds() {
		// Mailman's test MTA offers it, and refuses it by 530.
		if len(kind.Mechanisms) == 0 || kind.Name == "Mailman" {
			continue
		}
		t.Run(kind.Name, func(t *testing.T) {
			s := kind.Start(t, mtatest.Options{Mode: mtatest.StartTLS, User: mtatest.User, Password: mtatest.Password})
			if ok, offered := dial(t, s).Extension("AUTH"); ok {
				t.Errorf("AUTH %s is offered in the clear", offered)
			}
		})
	}
}

// wantRefusal wants a reply of the server as the error, not a connection that broke.
func wantRefusal(t *testing.T, err error) {
	t.Helper()
	var reply *textproto.Error
	if !errors.As(err, &reply) || reply.Code < 500 {
		t.Errorf("got %v, want a 5yz reply", err)
	}
}

// authBy gives net/smtp's mechanism of that name, or ours for LOGIN, which net/smtp does not have.
func authBy(mechanism, password string) smtp.Auth {
	switch mechanism {
	case "PLAIN":
		return smtp.PlainAuth("", mtatest.User, password, "localhost")
	case "CRAM-MD5":
		return smtp.CRAMMD5Auth(mtatest.User, password)
	case "LOGIN":
		return &login{answers: []string{mtatest.User, password}}
	}
	return nil
}

type login struct{ answers []string }

func (l *login) Start(*smtp.ServerInfo) (string, []byte, error) { return "LOGIN", nil, nil }

func (l *login) Next(_ []byte, more bool) ([]byte, error) {
	if !more {
		return nil, nil
	}
	if len(l.answers) == 0 {
		return nil, errors.New("too many questions")
	}
	answer := l.answers[0]
	l.answers = l.answers[1:]
	return []byte(answer), nil
}

// The table in the package's documentation is true.
func TestOffers(t *testing.T) {
	offers := map[string]string{
		"Postfix":   "PIPELINING, SIZE 10240000, VRFY, ETRN, ENHANCEDSTATUSCODES, 8BITMIME, DSN, SMTPUTF8, CHUNKING",
		"Exim":      "SIZE 52428800, 8BITMIME, PIPELINING, PIPECONNECT, CHUNKING, SMTPUTF8, HELP",
		"OpenSMTPD": "8BITMIME, ENHANCEDSTATUSCODES, SIZE 36700160, DSN, HELP",
		"aiosmtpd":  "SIZE 33554432, 8BITMIME, SMTPUTF8, HELP",
		"Mailman":   "SIZE 33554432, 8BITMIME, AUTH PLAIN, HELP",
	}
	for _, version := range []string{"0.21", "0.24", "0.25"} {
		offers["go-smtp-"+version] = "PIPELINING, 8BITMIME, ENHANCEDSTATUSCODES, CHUNKING, SMTPUTF8, DSN, SIZE"
	}
	for _, kind := range mtatest.Kinds() {
		t.Run(kind.Name, func(t *testing.T) {
			client := dial(t, kind.Start(t, mtatest.Options{}))
			id, err := client.Text.Cmd("EHLO localhost")
			if err != nil {
				t.Fatal(err)
			}
			client.Text.StartResponse(id)
			_, reply, err := client.Text.ReadResponse(250)
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Split(reply, "\n")[1:] // the first line is its name
			want := strings.Split(offers[kind.Name], ", ")
			if !slices.Equal(got, want) {
				t.Errorf("got  %q\nwant %q", got, want)
			}
		})
	}
}

// Extra lines reach the configuration.
func TestExtra(t *testing.T) {
	for name, line := range map[string]string{
		"Postfix":   "message_size_limit = 2000",
		"Exim":      "message_size_limit = 2000",
		"OpenSMTPD": "smtp max-message-size 2000",
		"aiosmtpd":  "data_size_limit=2000",
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, name, mtatest.Options{Extra: []string{line}})
			client := dial(t, s)
			if _, size := client.Extension("SIZE"); size != "2000" {
				t.Errorf("SIZE is %q, want the 2000 of %q", size, line)
			}
		})
	}
}

// An extra line may set what the harness has set: here Exim refuses everybody.
func TestExtraWins(t *testing.T) {
	s := mtatest.Exim(t, mtatest.Options{Extra: []string{"acl_smtp_rcpt = deny"}})
	wantRefusal(t, send(dial(t, s), "anne@example.com", []string{"bart@example.com"}, content))
}

// start starts the kind of server with that name.
func start(t *testing.T, name string, o mtatest.Options) *mtatest.Server {
	t.Helper()
	for _, kind := range mtatest.Kinds() {
		if kind.Name == name {
			return kind.Start(t, o)
		}
	}
	t.Fatalf("no kind of server is named %s", name)
	return nil
}
