//go:build unix

package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postrider/postrider/smtptest"
)

// issuing is a command that prints token-1, then token-2 and so on, and the file
// that has a line for each run.
func issuing(t *testing.T) (command, runs string) {
	t.Helper()
	runs = filepath.Join(t.TempDir(), "runs")
	return "echo run >> " + runs + "; echo token-$(grep -c run " + runs + ")", runs
}

func count(t *testing.T, runs string) int {
	t.Helper()
	b, err := os.ReadFile(runs)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(b), "run")
}

// A token that has expired is asked for again, and the new one serves until it is
// refused in its turn.
func TestATokenCommandIsRunAgainWhenItsTokenIsRefused(t *testing.T) {
	for _, mechanism := range []string{"XOAUTH2", "oauthbearer"} {
		server := smtptest.NewUnstartedServer()
		server.Users = map[string]string{"testuser": "token-2"}
		server.Mechanisms, server.RequireAuth = []string{mechanism}, true
		server.Start()
		defer server.Close()
		command, runs := issuing(t)
		settings := "smtp_user: testuser\nmax_sessions_per_connection: 1\n[postrider]\nsmtp_pass_command: " + command +
			"\nauth_mechanisms: " + mechanism + "\n"
		_, connection := connected(t, server, settings)
		for range 2 {
			if err := send(t, connection); err != nil {
				t.Fatal(err)
			}
		}
		if n := count(t, runs); n != 2 {
			t.Errorf("%s: the command ran %d times; want 2", mechanism, n)
		}
	}
}

// A password is not: the same wrong one twice is what gets accounts locked.
func TestAPasswordCommandIsRunOnce(t *testing.T) {
	server := smtptest.NewUnstartedServer()
	server.Users = map[string]string{"testuser": "token-2"}
	server.Mechanisms = []string{"PLAIN"}
	server.Start()
	defer server.Close()
	command, runs := issuing(t)
	_, connection := connected(t, server, "smtp_user: testuser\n[postrider]\nsmtp_pass_command: "+command+"\n")
	if err := send(t, connection); err == nil || !strings.Contains(err.Error(), "535") {
		t.Errorf("error %v", err)
	}
	if n := count(t, runs); n != 1 {
		t.Errorf("the command ran %d times", n)
	}
}

// A command that fails when it is run again fails the Send, says which key it
// stands in, and neither repeats itself nor what it printed.
func TestATokenCommandThatFailsLater(t *testing.T) {
	server := smtptest.NewUnstartedServer()
	server.Users = map[string]string{"testuser": "another"}
	server.Mechanisms = []string{"XOAUTH2"}
	server.Start()
	defer server.Close()
	command, runs := issuing(t)
	command += "; test $(grep -c run " + runs + ") = 1"
	_, connection := connected(t, server, "smtp_user: testuser\n[postrider]\nsmtp_pass_command: "+
		""+command+"\nauth_mechanisms: XOAUTH2\n")
	err := send(t, connection)
	if err == nil || !strings.Contains(err.Error(), "[postrider] smtp_pass_command") ||
		strings.Contains(err.Error(), "token-") || strings.Contains(err.Error(), runs) {
		t.Errorf("error %v", err)
	}
}
