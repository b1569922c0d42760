//go:build linux

package interop_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/mtatest"
	"github.com/postrider/postrider/smtptest"
)

// Our test server as others' clients see it: what the statements of docs/parity.md
// about the test MTA mean to the programs that they come from.

// serve starts a test server in a mode, and says where it is.
func serve(t *testing.T, mode mtatest.Mode, change func(*smtptest.Server)) (*smtptest.Server, mtatest.Target) {
	t.Helper()
	s := smtptest.NewUnstartedServer()
	s.Mode, _ = postrider.ParseSecureMode(string(mode))
	if change != nil {
		change(s)
	}
	s.Start()
	t.Cleanup(s.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, s.CAPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	return s, mtatest.Target{Address: s.Addr, Mode: mode, CAFile: ca}
}

var modes = []mtatest.Mode{mtatest.Plain, mtatest.StartTLS, mtatest.ImplicitTLS}

func mail(n int) mtatest.Mail {
	return mtatest.Mail{From: "anne@example.com", To: []string{"bart@example.com"},
		Content: []byte(header(n) + "\r\nletter\r\n.\r\n..\r\n")}
}

// Two sessions a connection: 1, 1, 2, 2, 3, as Mailman counts on its own test MTA.
func TestMailmanChangesConnectionsOnOurServer(t *testing.T) {
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			server, target := serve(t, mode, nil)
			client := mtatest.MailmanClient(t, target, mtatest.MailmanOptions{MaxSessions: 2})
			if n := server.ConnectionCount(); n != 0 {
				t.Errorf("%d connections before the first message", n)
			}
			for i, want := range []int{1, 1, 2, 2, 3} {
				if a := client.Send(t, mail(i)); a.Err != nil || len(a.Refused) > 0 {
					t.Fatalf("message %d: %v %v", i, a.Refused, a.Err)
				}
				if n := server.ConnectionCount(); n != want {
					t.Errorf("message %d: %d connections, want %d", i, n, want)
				}
			}
			client.Quit(t)
			for i, m := range server.Messages() {
				if want := string(mail(i).Content); string(m.Content) != want {
					t.Errorf("message %d arrived as %q, want %q", i, m.Content, want)
				}
			}
		})
	}
}

func TestMailmanAuthenticatesOnOurServer(t *testing.T) {
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			server, target := serve(t, mode, func(s *smtptest.Server) {
				s.Users = map[string]string{mtatest.User: mtatest.Password}
				s.Mechanisms = []string{"PLAIN"}
				s.RequireAuth = true
			})
			target.User, target.Password = mtatest.User, mtatest.Password
			client := mtatest.MailmanClient(t, target, mtatest.MailmanOptions{})
			if a := client.Send(t, mail(1)); a.Err != nil {
				t.Fatal(a.Err)
			}
			if got := server.Credentials(); !slices.Equal(got, []string{"AHRlc3R1c2VyAHRlc3RwYXNz"}) {
				t.Errorf("credentials: %q", got)
			}
		})
	}
}

// A queue of next errors, and what Mailman's client makes of them.
func TestMailmanSeesTheErrorsThatOurServerQueues(t *testing.T) {
	server, target := serve(t, mtatest.Plain, nil)
	client := mtatest.MailmanClient(t, target, mtatest.MailmanOptions{})
	server.QueueError("rcpt", 500)
	m := mail(1)
	m.To = []string{"bart@example.com", "cate@example.com"}
	if a := client.Send(t, m); a.Err != nil || a.Refused["bart@example.com"].Code != 500 || len(a.Refused) != 1 {
		t.Errorf("one refused: %v %v", a.Refused, a.Err)
	}
	server.QueueError("mail", 450)
	if a := client.Send(t, m); a.Err == nil || a.Err.Type != "SMTPSenderRefused" || a.Err.Code != 450 {
		t.Errorf("sender refused: %v", a.Err)
	}
	if n := len(server.Messages()); n != 1 {
		t.Errorf("%d messages", n)
	}
}

// Development mode is the client's; the server shows the recipient twice.
func TestMailmanInDevelopmentModeOnOurServer(t *testing.T) {
	server, target := serve(t, mtatest.Plain, nil)
	client := mtatest.MailmanClient(t, target, mtatest.MailmanOptions{})
	client.Push(t, "devmode", "[devmode]\nenabled: yes\nrecipient: zperson@example.com\n")
	m := mail(1)
	m.To = []string{"bart@example.com", "cate@example.com"}
	if a := client.Send(t, m); a.Err != nil || len(a.Refused) > 0 {
		t.Fatalf("%v %v", a.Refused, a.Err)
	}
	if got := server.Messages()[0].To; !slices.Equal(got, []string{"zperson@example.com", "zperson@example.com"}) {
		t.Errorf("recipients: %q", got)
	}
}

// smtplib, in every mode, and a RSET by a client that says nothing else.
func TestSmtplibOnOurServer(t *testing.T) {
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			server, target := serve(t, mode, func(s *smtptest.Server) {
				s.Users = map[string]string{mtatest.User: mtatest.Password}
			})
			target.User, target.Password = mtatest.User, mtatest.Password
			client := mtatest.Smtplib(t, target)
			for i := range 3 {
				if a := client.Send(t, mail(i)); a.Err != nil || len(a.Refused) > 0 {
					t.Fatalf("%v %v", a.Refused, a.Err)
				}
			}
			client.Quit(t)
			for i, m := range server.Messages() {
				if want := string(mail(i).Content); string(m.Content) != want || m.User != mtatest.User ||
					m.TLS != (mode != mtatest.Plain) {
					t.Errorf("message %d: %+v", i, m)
				}
			}
			if n := server.ConnectionCount(); n != 1 {
				t.Errorf("%d connections", n)
			}
			target.User, target.Password = "", ""
			if a := mtatest.Smtplib(t, target).Command(t, "RSET"); a.Reply.Code != 250 {
				t.Errorf("RSET: %+v", a.Reply)
			}
			if n := server.ConnectionCount(); n != 0 {
				t.Errorf("%d connections after the RSET", n)
			}
		})
	}
}

// commands are the clients that send one message and end.
var commands = []struct {
	name string
	send func(testing.TB, mtatest.Target, mtatest.Mail) mtatest.Ran
}{{"msmtp", mtatest.Msmtp}, {"swaks", mtatest.Swaks}}

// msmtp and swaks, in every mode, with a login and without.
func TestCommandsOnOurServer(t *testing.T) {
	for _, client := range commands {
		for _, mode := range modes {
			for _, user := range []string{"", mtatest.User} {
				t.Run(client.name+"/"+string(mode)+","+user, func(t *testing.T) {
					server, target := serve(t, mode, func(s *smtptest.Server) {
						if user != "" {
							s.Users, s.RequireAuth = map[string]string{user: mtatest.Password}, true
						}
					})
					if user != "" {
						target.User, target.Password = user, mtatest.Password
					}
					m := mail(1)
					m.To = []string{"bart@example.com", "cate@example.com"}
					if ran := client.send(t, target, m); ran.Status != 0 {
						t.Fatalf("status %d: %s", ran.Status, ran.Output)
					}
					messages := server.Messages()
					if len(messages) != 1 {
						t.Fatalf("%d messages", len(messages))
					}
					got := messages[0]
					if got.From != m.From || !slices.Equal(got.To, m.To) || string(got.Content) != string(m.Content) {
						t.Errorf("from %s to %s: %q, want %q", got.From, got.To, got.Content, m.Content)
					}
					if got.User != user || got.TLS != (mode != mtatest.Plain) {
						t.Errorf("user %q, TLS %v", got.User, got.TLS)
					}
				})
			}
		}
	}
}

// A refused recipient, a wrong password, and a certificate that is not trusted: each
// client says what the server said, and nothing is taken.
func TestCommandsSeeWhatOurServerRefuses(t *testing.T) {
	for _, client := range commands {
		t.Run(client.name, func(t *testing.T) {
			server, target := serve(t, mtatest.StartTLS, func(s *smtptest.Server) {
				s.Users = map[string]string{mtatest.User: mtatest.Password}
				s.Faults = []smtptest.Fault{{Command: "RCPT", Address: "nobody@example.com",
					Reply: "550 5.1.1 no such user"}}
			})
			m := mail(1)
			m.To = []string{"nobody@example.com"}
			if ran := client.send(t, target, m); ran.Status == 0 ||
				!strings.Contains(ran.Output, "550 5.1.1 no such user") {
				t.Errorf("a refused recipient: status %d: %s", ran.Status, ran.Output)
			}
			stranger := target
			stranger.User, stranger.Password = mtatest.User, "wrong"
			if ran := client.send(t, stranger, mail(2)); ran.Status == 0 || !strings.Contains(ran.Output, "535") {
				t.Errorf("a wrong password: status %d: %s", ran.Status, ran.Output)
			}
			mistaken := target
			mistaken.CAFile = "/etc/ssl/certs/ca-certificates.crt" // Debian's: ours is not among them
			if ran := client.send(t, mistaken, mail(3)); ran.Status == 0 {
				t.Errorf("a certificate that is not trusted: %s", ran.Output)
			}
			if n := len(server.Messages()); n != 0 {
				t.Errorf("%d messages were taken", n)
			}
		})
	}
}
