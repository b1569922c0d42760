package doctor_test

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/doctor"
	"github.com/postrider/postrider/internal/hint"
	"github.com/postrider/postrider/smtptest"
)

// failure is one that is met in practice: a server that goes wrong, or a client
// that is set wrong.
type failure struct {
	name   string
	server func(*smtptest.Server)
	client func(*postrider.Config)
	send   bool // the doctor meets it only if it sends

	check string    // the doctor's finding
	stage hint.Step // and its stage
	saw   string    // words of what it saw
	hint  string    // the whole Error.Hint of the library; the doctor says the same
	knows string    // the doctor's own hint, where it found out what the library cannot
}

func failures() []failure {
	mode := func(m postrider.SecureMode) func(*smtptest.Server) {
		return func(s *smtptest.Server) { s.Mode = m }
	}
	speak := func(m postrider.SecureMode) func(*postrider.Config) {
		return func(c *postrider.Config) { c.Mode = m }
	}
	user := map[string]string{"anne": "hunter2"}
	certificate := func(c smtptest.Certificate) func(*smtptest.Server) {
		return func(s *smtptest.Server) { s.Mode, s.Certificate = postrider.StartTLS, c }
	}
	fault := func(f smtptest.Fault) func(*smtptest.Server) {
		return func(s *smtptest.Server) { s.Faults = []smtptest.Fault{f} }
	}
	dial := func(address string, open func(context.Context, string, string) (net.Conn, error)) func(*postrider.Config) {
		return func(c *postrider.Config) { c.Address, c.Dial = address, open }
	}
	return []failure{
		{name: "plain client on a TLS port", server: mode(postrider.ImplicitTLS), client: func(c *postrider.Config) { c.Mode, c.Timeouts.Greeting = postrider.Insecure, 20*time.Second },
			check: "greeting", stage: hint.Greeting, saw: "answers a ClientHello",
			hint:  "the server says nothing: it may speak TLS from the start on this port, then set Config.Mode to ImplicitTLS, or greet later than Config.Timeouts.Greeting allows",
			knows: "the server speaks TLS from the start on this port: set Config.Mode to ImplicitTLS"},
		{name: "TLS client on a plain port", server: mode(postrider.Insecure), client: speak(postrider.ImplicitTLS),
			check: "TLS", stage: hint.Handshake, saw: "does not look like a TLS handshake",
			hint: "the server does not speak TLS from the start on this port: set Config.Mode to StartTLS, or use the port for TLS, 465"},
		{name: "STARTTLS not offered", server: mode(postrider.Insecure), client: speak(postrider.StartTLS),
			check: "STARTTLS", stage: hint.StartTLS, saw: "does not offer STARTTLS",
			hint: "try another port: 587, or 465 and set Config.Mode to ImplicitTLS; only if the way to the server is safe without TLS, set Config.Mode to Insecure"},
		{name: "AUTH offered only after TLS", server: func(s *smtptest.Server) { s.Mode, s.Users = postrider.StartTLS, user }, client: speak(postrider.Insecure),
			check: "login", stage: hint.Auth, saw: "does not offer AUTH",
			hint: "it offers STARTTLS, and may offer more logins after it: set Config.Mode to StartTLS"},
		{name: "AUTH not offered", client: func(c *postrider.Config) { c.User, c.Password = "anne", postrider.NewSecret("hunter2") },
			check: "login", stage: hint.Auth, saw: "does not offer AUTH",
			hint: "try its submission port, 587 with starttls or 465 with smtps; if it needs no login, do without Config.User and Config.Password"},
		{name: "wrong password", server: func(s *smtptest.Server) { s.Mode, s.Users = postrider.StartTLS, user },
			client: func(c *postrider.Config) { c.Password = postrider.NewSecret("hunter3") },
			check:  "login", stage: hint.Auth, saw: "535 5.7.8",
			hint: "the server refused the login: check Config.User and Config.Password; many providers want the whole address as user name, and an application password instead of the account's"},
		{name: "expired", server: certificate(smtptest.CertExpired),
			check: "TLS", stage: hint.Handshake, saw: "has expired",
			hint: "the certificate is valid from 1990-01-01 to 1999-01-01: renew it on the server, or set this machine's clock; as a last resort set Config.NoVerifyCert to true"},
		{name: "self-signed", server: certificate(smtptest.CertSelfSigned),
			check: "TLS", stage: hint.Handshake, saw: "unknown authority",
			hint: "the certificate is self-signed: name its file in Config.CAFile, or pin it by Config.Pins; as a last resort set Config.NoVerifyCert to true"},
		{name: "private CA", server: certificate(smtptest.CertUnknownCA),
			check: "TLS", stage: hint.Handshake, saw: "unknown authority",
			hint: `this machine does not trust the issuer of the certificate, "CN=nobody's CA": if that is a private authority, name the file with its certificate in Config.CAFile; if it is a public one, the server must send the intermediate certificate too; as a last resort set Config.NoVerifyCert to true`},
		{name: "missing intermediate", server: certificate(smtptest.CertNoIntermediate),
			check: "TLS", stage: hint.Handshake, saw: "unknown authority",
			hint: `this machine does not trust the issuer of the certificate, "CN=smtptest intermediate CA": if that is a private authority, name the file with its certificate in Config.CAFile; if it is a public one, the server must send the intermediate certificate too; as a last resort set Config.NoVerifyCert to true`},
		{name: "wrong name", server: certificate(smtptest.CertWrongHost),
			check: "TLS", stage: hint.Handshake, saw: "not localhost",
			hint: `the certificate is for "wrong.example.net", not for "localhost": name the server in Config.Address as its certificate does, or set Config.ServerName to a name of the certificate; to accept any name set Config.NoVerifyHostname to true`},
		{name: "name is an IP", server: certificate(smtptest.CertWrongHost), client: func(c *postrider.Config) { c.Address = "127.0.0.1:25" },
			check: "TLS", stage: hint.Handshake, saw: "127.0.0.1",
			hint: `the certificate is for "wrong.example.net", not for "127.0.0.1": name the server in Config.Address as its certificate does, or set Config.ServerName to a name of the certificate; to accept any name set Config.NoVerifyHostname to true`},
		{name: "CN-only certificate", server: certificate(smtptest.CertNameOnly),
			check: "TLS", stage: hint.Handshake, saw: "Common Name",
			hint: `the certificate has no name but the legacy Common Name, "localhost", which no longer counts: issue it again with a subjectAltName; until then set Config.NoVerifyHostname to true`},
		{name: "TLS 1.0 only", server: func(s *smtptest.Server) {
			s.Mode, s.TLS = postrider.StartTLS, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10}
		}, check: "TLS", stage: hint.Handshake, saw: "protocol version",
			hint: "the server speaks no TLS version that this client accepts (1.2 and up): mend the server; only if that cannot be, a Go program can set MinVersion in Config.TLS"},
		{name: "no common mechanism", server: func(s *smtptest.Server) { s.Extensions.Lines = []string{"AUTH GSSAPI NTLM"} },
			client: func(c *postrider.Config) { c.User, c.Password = "anne", postrider.NewSecret("hunter2") },
			check:  "login", stage: hint.Auth, saw: "it offers GSSAPI NTLM",
			hint: `the server offers "GSSAPI", "NTLM": if this client knows one of them, allow it in Config.AuthMechanisms; otherwise the server must offer another, PLAIN for one`},
		{name: "localhost is ::1, the MTA is on 127.0.0.1", client: dial("[::1]:25", refused),
			check: "connect", stage: hint.Dial, saw: "connection refused",
			hint: "nothing listens on port 25 of ::1: the MTA may listen on 127.0.0.1 alone, so set Config.Address to 127.0.0.1:25; inside a container, localhost is the container itself"},
		{name: "port closed", client: dial("192.0.2.1:25", refused),
			check: "connect", stage: hint.Dial, saw: "connection refused",
			hint: "nothing listens on this port there, or a firewall refuses: check Config.Address; usual are 25 for smtp, 587 for starttls and 465 for smtps"},
		{name: "port filtered", client: dial("192.0.2.1:25", filtered),
			check: "connect", stage: hint.Dial, saw: "no connection within 30s",
			hint: "a firewall seems to drop the connection: check Config.Address; many networks block port 25 outwards, where 587 with starttls is open"},
		{name: "greeting 554", server: fault(smtptest.Fault{Command: smtptest.Greeting, Reply: "554 No SMTP service here", Then: smtptest.ThenClose}),
			check: "greeting", stage: hint.Greeting, saw: "554 No SMTP service here",
			hint: "the server does not talk to this machine: its address may be blocked there; a submission port (587 with starttls, 465 with smtps) and a login may be open to it"},
		{name: "tarpit", server: fault(smtptest.Fault{Command: smtptest.Greeting, Delay: time.Minute}),
			client: func(c *postrider.Config) { c.Timeouts.Greeting = 20 * time.Second },
			check:  "greeting", stage: hint.Greeting, saw: "says nothing",
			hint:  "the server says nothing: it may speak TLS from the start on this port, then set Config.Mode to ImplicitTLS, or greet later than Config.Timeouts.Greeting allows",
			knows: "the server greets late, or not at all, and TLS is not what it waits for: raise Config.Timeouts.Greeting; its log tells why it delays this machine"},
		{name: "EHLO refused", server: fault(smtptest.Fault{Command: "EHLO", Reply: "550 5.7.1 Who?"}),
			check: "EHLO", stage: hint.Hello, saw: "550 5.7.1 Who?",
			hint: "the server does not like the name in EHLO: let Config.LocalName be the fully qualified name of this machine"},
		{name: "relay denied", server: fault(smtptest.Fault{Command: "RCPT", Reply: "554 5.7.1 <bart@example.org>: Relay access denied"}),
			check: "recipient", stage: hint.Rcpt, saw: "Relay access denied",
			hint: "the server does not relay for this machine: log in by Config.User and Config.Password, or add this machine to its networks (Postfix: mynetworks)"},
		{name: "message too big, by SIZE", server: func(s *smtptest.Server) { s.Extensions.Size = 100 }, send: true,
			check: "sender", stage: hint.Mail, saw: "larger than the server accepts",
			hint: "send a smaller message, or raise the server's limit (Postfix and Exim: message_size_limit)"},
		{name: "message too big, at its end", server: fault(smtptest.Fault{Command: smtptest.Terminator, Reply: "552 5.3.4 Message too big"}), send: true,
			check: "message", stage: hint.Content, saw: "552 5.3.4",
			hint: "send a smaller message, or raise the server's limit (Postfix and Exim: message_size_limit)"},
		{name: "sender refused", server: fault(smtptest.Fault{Command: "MAIL", Reply: "550 5.7.1 Sender rejected"}),
			check: "sender", stage: hint.Mail, saw: "Sender rejected",
			hint: "the server refuses this sender: use an address of a domain that it knows; with a login, it may have to be the address of that user"},
		{name: "too many connections", server: fault(smtptest.Fault{Command: smtptest.Greeting, Reply: "421 4.7.0 Too many connections from 192.0.2.9"}),
			check: "greeting", stage: hint.Greeting, saw: "Too many connections",
			hint: "the server limits the connections from this machine: open fewer at once, or raise its limit (Postfix: smtpd_client_connection_count_limit)"},
	}
}

var errRefused = func() error {
	l := smtptest.InMemory("closed")
	l.Close()
	_, err := l.(interface {
		Dial(context.Context, string, string) (net.Conn, error)
	}).Dial(context.Background(), "tcp", "")
	return err
}()

func refused(context.Context, string, string) (net.Conn, error) { return nil, errRefused }

func filtered(ctx context.Context, _, _ string) (net.Conn, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// meet sets a failure up, in memory, for one client.
func (f failure) meet(t *testing.T, client func(*testing.T, postrider.Config)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := smtptest.NewUnstartedServer()
		s.Listener = smtptest.InMemory("localhost:25")
		if f.server != nil {
			f.server(s)
		}
		s.Start()
		defer s.Close()
		cfg := s.Config()
		if f.client != nil {
			f.client(&cfg)
		}
		client(t, cfg)
	})
}

// body is larger than one server takes.
var body = []byte("Subject: test\r\n\r\n" + strings.Repeat("x\r\n", 100))

// TestFailuresOfPractice: the doctor finds each, at its stage and nowhere before,
// and its advice is that of the library.
func TestFailuresOfPractice(t *testing.T) {
	from, to := "anne@example.com", "bart@example.org"
	for _, f := range failures() {
		t.Run(f.name, func(t *testing.T) {
			f.meet(t, func(t *testing.T, cfg postrider.Config) {
				r, err := doctor.Exam{Config: cfg, From: &from, To: &to, Send: f.send}.Run(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				got := r.Worst()
				if got.Level != doctor.Problem || got.Check != f.check || got.Stage != f.stage || !strings.Contains(got.Saw, f.saw) {
					t.Errorf("found %+v", r.Findings)
				}
				if want := cmp.Or(f.knows, f.hint); got.Set.String() != want || got.Means == "" {
					t.Errorf("it means %q; set %q, want %q", got.Means, got.Set, want)
				}
			})
			f.meet(t, func(t *testing.T, cfg postrider.Config) {
				conn, err := postrider.NewConnection(cfg)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				_, err = conn.SendMail(t.Context(), from, []string{to}, body)
				var e *postrider.Error
				if !errors.As(err, &e) {
					t.Fatalf("%v", err)
				}
				if e.Hint.Text != f.hint {
					t.Errorf("hint %q, want %q", e.Hint, f.hint)
				}
			})
		})
	}
}
