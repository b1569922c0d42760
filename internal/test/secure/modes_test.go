package secure_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/test/rig"
)

// Facts 41 to 45: what a Connection is made of, and that mistakes in it are told
// when it is made, not with the first message.

// Facts 25, 41
func TestSecureModeWords(t *testing.T) {
	for word, want := range map[string]postrider.SecureMode{
		"smtp": postrider.Insecure, "smtps": postrider.ImplicitTLS, "starttls": postrider.StartTLS,
		"SMTP": postrider.Insecure, "Smtps": postrider.ImplicitTLS, "StartTLS": postrider.StartTLS,
		"STARTTLS": postrider.StartTLS,
	} {
		if mode, err := postrider.ParseSecureMode(word); err != nil || mode != want {
			t.Errorf("%q is %v, %v", word, mode, err)
		}
		if want.String() != strings.ToLower(word) {
			t.Errorf("%v is the word for %q", want, word)
		}
	}
	for _, word := range []string{
		"tls", "ssl", "", "insecure", "implicit", " smtp", "smtp ", "start tls", "smtp\n", "ſmtp",
	} {
		_, err := postrider.ParseSecureMode(word)
		if err == nil {
			t.Errorf("%q is taken for a mode", word)
			continue
		}
		for _, accepted := range []string{"smtp ", "smtps ", "starttls"} {
			if !strings.Contains(rig.Text(err), accepted) {
				t.Errorf("%q: the error does not name %s: %v", word, accepted, err)
			}
		}
		if strings.ContainsAny(rig.Text(err), "\n") {
			t.Errorf("%q: the error has a line end", word)
		}
	}
}

// Facts 42, 44
func TestAModeThatIsNoneIsAnErrorAtOnce(t *testing.T) {
	for _, mode := range []postrider.SecureMode{-1, 3, 100} {
		conn, err := postrider.NewConnection(postrider.Config{Mode: mode})
		if conn != nil || rig.Trouble(err) != "local configuration 0 lasts" {
			t.Errorf("mode %d: %v, %v", int(mode), conn, err)
		}
	}
}

// Fact 43
func TestTheTLSSettingsAreReadByTheConstructor(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty.pem")
	if err := os.WriteFile(empty, []byte("no certificate\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(dir, "missing.pem")
	for _, mode := range []postrider.SecureMode{postrider.StartTLS, postrider.ImplicitTLS} {
		_, err := postrider.NewConnection(postrider.Config{Mode: mode, CAFile: missing})
		if rig.Trouble(err) != "local configuration 0 lasts" || !errors.Is(err, os.ErrNotExist) ||
			!strings.Contains(rig.Text(err), missing) {
			t.Errorf("%v: %v", mode, err)
		}
		_, err = postrider.NewConnection(postrider.Config{Mode: mode, CAFile: empty})
		if rig.Trouble(err) != "local configuration 0 lasts" || !strings.Contains(rig.Text(err), "PEM") {
			t.Errorf("%v: %v", mode, err)
		}
	}
	// Without TLS nothing of it is looked at.
	if _, err := postrider.NewConnection(postrider.Config{
		CAFile: missing, NoVerifyCert: true, NoVerifyHostname: true, ServerName: "x",
	}); err != nil {
		t.Errorf("smtp: %v", err)
	}
}

// The empty host is the default here; for Mailman it never connects.
//
// Fact 45
func TestAddresses(t *testing.T) {
	for address, want := range map[string]string{
		"": "localhost:25", ":2525": "localhost:2525", "mail.example.com": "mail.example.com:25",
		"mail.example.com:0":   "mail.example.com:25",
		"mail.example.com:587": "mail.example.com:587", "[::1]:25": "[::1]:25", "::1": "[::1]:25",
		"192.0.2.1":     "192.0.2.1:25",
		"unix:/run/mta": "unix:/run/mta",
	} {
		conn, err := postrider.NewConnection(postrider.Config{Address: address})
		if err != nil || conn.String() != "postrider.Connection("+want+", smtp)" {
			t.Errorf("%q: %v, %v", address, conn, err)
		}
	}
	conn, err := postrider.NewConnection(postrider.Config{Address: "mail.example.com:0", Mode: postrider.ImplicitTLS})
	if err != nil || !strings.Contains(conn.String(), "mail.example.com:465") {
		t.Errorf("%v, %v", conn, err)
	}
	for _, address := range []string{"host:port:x", "a b", "host:99999", "smtp://host", "host:-1", "25", "user:hunter2@host"} {
		_, err := postrider.NewConnection(postrider.Config{Address: address})
		if rig.Trouble(err) != "local configuration 0 lasts" || strings.Contains(rig.Text(err), "hunter2") {
			t.Errorf("%q: %v", address, err)
		}
	}
}

// The configuration is copied: a change to it afterwards has no effect.
//
// Fact 43
func TestTheConfigurationIsCopied(t *testing.T) {
	rig.InBubble(t, "starttls", func(t *testing.T) {
		r := rig.Setting{Mode: postrider.StartTLS}.Start(t, rig.Options{})
		cfg := r.Server.Config()
		cfg.LocalName = "client.example.com"
		cfg.AuthMechanisms = []string{"PLAIN"}
		var err error
		if r.Conn, err = postrider.NewConnection(cfg); err != nil {
			t.Fatal(err)
		}
		defer r.Conn.Close()
		cfg.TLS.RootCAs, cfg.TLS.ServerName, cfg.AuthMechanisms[0] = nil, "wrong.example.net", "LOGIN"
		r.Accepted("bart@example.com")
	})
}
