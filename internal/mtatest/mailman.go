//go:build linux

package mtatest

import "testing"

// MailmanServer is the test MTA of GNU Mailman's own test suite, with the doors that its tests use.
type MailmanServer struct {
	*Server
	script *script
}

// MailmanMTA starts Mailman's test MTA (mailman.testing.mta). It knows one account, User and
// Password, by AUTH PLAIN with initial response only, and takes mail without it as well.
func MailmanMTA(t testing.TB, o Options) *MailmanServer {
	t.Helper()
	require(t, "mailman3", python, mailmanModule)
	if o.User != "" && (o.User != User || o.Password != Password) {
		t.Fatalf("mtatest: Mailman's test MTA knows only %s with %s", User, Password)
	}
	if len(o.Extra) > 0 {
		t.Fatal("mtatest: Mailman's test MTA has no configuration")
	}
	s, program := startServerScript(t, "Mailman", "mailman_server.py", o, nil)
	return &MailmanServer{s, program}
}

const mailmanModule = "/usr/lib/python3/dist-packages/mailman/testing/mta.py"

// ask performs one operation of the script.
func (s *MailmanServer) ask(t testing.TB, request map[string]any) (answer struct {
	Count       int
	Credentials string
}) {
	t.Helper()
	if err := s.script.call(request, &answer); err != nil {
		t.Fatalf("mtatest: %v", err)
	}
	return answer
}

// ConnectionCount returns the connections since the last Reset, by asking over one more connection that
// is not counted. In StartTLS mode only the first call after a Reset is right; and unread Credentials
// come out in place of the count, which fails the test.
func (s *MailmanServer) ConnectionCount(t testing.TB) int {
	t.Helper()
	return s.ask(t, map[string]any{"op": "count"}).Count
}

// Credentials returns the oldest unread AUTH PLAIN response in base64, or "" if no client has logged in.
func (s *MailmanServer) Credentials(t testing.TB) string {
	t.Helper()
	return s.ask(t, map[string]any{"op": "credentials"}).Credentials
}

// Reset sets the connection count to 0.
func (s *MailmanServer) Reset(t testing.TB) {
	t.Helper()
	s.ask(t, map[string]any{"op": "reset"})
}

// QueueError has the next "mail" or "rcpt" command answered with the code.
func (s *MailmanServer) QueueError(t testing.TB, command string, code int) {
	t.Helper()
	s.ask(t, map[string]any{"op": "error", "command": command, "code": code})
}
