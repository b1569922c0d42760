package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider"
)

// Fact 17: from the strings of the configuration to something that connects.
func TestMTA(t *testing.T) {
	path := extending(t, "mailman.cfg", `
[mta]
smtp_host: mail.example.com
smtp_port: 587
smtp_user: testuser
smtp_pass: testpass
smtp_secure_mode: StartTLS
smtp_verify_cert: no
smtp_verify_hostname: disabled
max_sessions_per_connection: 2
max_recipients: 10
[postrider]
server_name: mx.example.com
ca_file: ca.pem
pins: ab, cd
client_cert: /etc/client.pem
client_key: /etc/client.key
auth_mechanisms: plain, LOGIN
  cram-md5
allow_plaintext_auth: yes
local_name: lists.example.com
timeout_connect: 1s
timeout_greeting: 2s
timeout_hello: 3s
timeout_tls: 4s
timeout_auth: 5s
timeout_mail: 6s
timeout_rcpt: 7s
timeout_data: 8s
timeout_block: 9s
timeout_final: 10s
timeout_quit: 11s
idle_timeout: 1m
max_age: 1h
window: 12
window_octets: 13
probe_after: 14s
auth_retry_after: 15s
`)
	c, err := Load(Options{File: path})
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.MTA(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got.Password.Reveal() != "testpass" {
		t.Error("another password")
	}
	if got.Redirect == nil {
		t.Error("no Redirect")
	}
	got.Password, got.Redirect = postrider.Secret{}, nil
	want := postrider.Config{
		Address:            "mail.example.com:587",
		Mode:               postrider.StartTLS,
		User:               "testuser",
		MaxTransactions:    2,
		MaxRecipients:      10,
		ServerName:         "mx.example.com",
		CAFile:             filepath.Join(filepath.Dir(path), "ca.pem"),
		NoVerifyCert:       true,
		NoVerifyHostname:   true,
		Pins:               []string{"ab", "cd"},
		ClientCert:         "/etc/client.pem",
		ClientKey:          "/etc/client.key",
		AuthMechanisms:     []string{"PLAIN", "LOGIN", "CRAM-MD5"},
		AllowPlaintextAuth: true,
		LocalName:          "lists.example.com",
		IdleTimeout:        time.Minute,
		MaxAge:             time.Hour,
		Window:             12,
		WindowOctets:       13,
		ProbeAfter:         14 * time.Second,
		AuthRetryAfter:     15 * time.Second,
		Timeouts: postrider.Timeouts{
			Connect: 1 * time.Second, Greeting: 2 * time.Second, Hello: 3 * time.Second, TLS: 4 * time.Second,
			Auth: 5 * time.Second, Mail: 6 * time.Second, Rcpt: 7 * time.Second, Data: 8 * time.Second,
			Block: 9 * time.Second, Final: 10 * time.Second, Quit: 11 * time.Second,
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
}

// Without any setting it is Mailman's default MTA, and everything that is not
// Mailman's is left to package postrider.
func TestMTADefaults(t *testing.T) {
	got, err := parsed(t, "").MTA(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got.Redirect = nil
	want := postrider.Config{Address: "localhost:25", MaxRecipients: 500}
	if len(got.AuthMechanisms) == 0 {
		got.AuthMechanisms = nil
	}
	if len(got.Pins) == 0 {
		got.Pins = nil
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
}

// A timeout that the library gains gets its key.
func TestEveryTimeoutHasAKey(t *testing.T) {
	fields := reflect.TypeFor[postrider.Timeouts]()
	var text strings.Builder
	text.WriteString("[postrider]\n")
	for i := range fields.NumField() {
		text.WriteString("timeout_" + strings.ToLower(fields.Field(i).Name) + ": 7s\n")
	}
	c := parsed(t, text.String())
	cfg, err := c.MTA(t.Context())
	if err != nil || warned(c) != "" {
		t.Fatal(err, warned(c))
	}
	for i := range fields.NumField() {
		if got := reflect.ValueOf(cfg.Timeouts).Field(i).Int(); got != int64(7*time.Second) {
			t.Errorf("Timeouts.%s is %d", fields.Field(i).Name, got)
		}
	}
}

func TestAddress(t *testing.T) {
	for _, test := range []struct{ host, port, mode, want string }{
		{"mail.example.com", "25", "smtp", "mail.example.com:25"},
		{"mail.example.com", "0", "smtp", "mail.example.com:25"},
		{"mail.example.com", "0", "starttls", "mail.example.com:25"},
		{"mail.example.com", "0", "SMTPS", "mail.example.com:465"},
		{"mail.example.com", "25", "smtps", "mail.example.com:25"},
		{"mail.example.com:26", "0", "smtps", "mail.example.com:26"},
		{"::1", "25", "smtp", "[::1]:25"},
		{"[::1]", "25", "smtp", "[::1]:25"},
		{"::1", "0", "smtps", "[::1]:465"},
		{"127.0.0.1", "9025", "smtp", "127.0.0.1:9025"},
		{"unix:/run/mta.sock", "25", "smtp", "unix:/run/mta.sock"},
	} {
		c := parsed(t, "[mta]\nsmtp_host: "+test.host+"\nsmtp_port: "+test.port+"\nsmtp_secure_mode: "+test.mode)
		if cfg, err := c.MTA(t.Context()); err != nil || cfg.Address != test.want {
			t.Errorf("%v: %q, %v", test, cfg.Address, err)
		}
	}
}

// Fact 42
func TestMTAErrors(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"[mta]\nsmtp_host:\n", "x.cfg:2: [mta] smtp_host: empty, want the name or address of the mail server"},
		{"[mta]\nsmtp_host: h:26\n", "x.cfg:2: [mta] smtp_host: found \"h:26\", want a host without a port " +
			"(smtp_port sets the port)"},
		{"[mta]\nsmtp_port: 65536\n", "x.cfg:2: [mta] smtp_port: found \"65536\", want a port from 1 to 65535, or " +
			"0 for the default"},
		{"[mta]\nsmtp_port: -1\n", `x.cfg:2: [mta] smtp_port: found "-1", want a port`},
		// fact 41
		{"[mta]\nsmtp_secure_mode: tls\n", "x.cfg:2: [mta] smtp_secure_mode: found \"tls\", want smtp (no " +
			"TLS), smtps (TLS from the start) or starttls"},
		{"[mta]\nsmtp_secure_mode:\n", `x.cfg:2: [mta] smtp_secure_mode: found "", want smtp`},
		{"[mta]\nsmtp_verify_cert: y\n", `x.cfg:2: [mta] smtp_verify_cert: found "y", want yes, true`},
		{"[mta]\nmax_recipients: all\n", `x.cfg:2: [mta] max_recipients: found "all", want a whole number`},
		{"[postrider]\ntimeout_final: 10\n", `x.cfg:2: [postrider] timeout_final: found "10", want a duration such as`},
		{"[postrider]\ntimeout_final: 0s\n", "x.cfg:2: [postrider] timeout_final: 0s is not allowed"},
		{"[devmode]\nenabled: maybe\n", `x.cfg:2: [devmode] enabled: found "maybe", want yes`},
		{"[devmode]\nenabled: yes\n", "config: [devmode] recipient: empty although [devmode] is enabled"},
	} {
		c, err := Parse("x.cfg", test.text)
		if err != nil {
			t.Fatal(err)
		}
		cfg, err := c.MTA(t.Context())
		if err == nil || !strings.HasPrefix(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v\nwant only %s", test.text, err, test.want)
		}
		if cfg.Address != "" {
			t.Errorf("%q: a Config beside the error", test.text)
		}
	}
	_, err := parsed(t, "[mta]\nsmtp_port: x\nsmtp_secure_mode: y\n[postrider]\nmax_age: z\n").MTA(t.Context())
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("three mistakes: %v", err)
	}
}

func TestIdleTimeout(t *testing.T) {
	for value, want := range map[string]time.Duration{"": 0, "0s": -1, "90s": 90 * time.Second} {
		cfg, err := parsed(t, "[postrider]\nidle_timeout: "+value+"\n").MTA(t.Context())
		if err != nil || cfg.IdleTimeout != want {
			t.Errorf("%q: %v, %v", value, cfg.IdleTimeout, err)
		}
	}
}

// Facts 20, 22 and 48: a Config made before the Push is redirected by it, and no
// longer after the Pop. What is in doubt is on, without an address to dial for.
func TestRedirectIsLive(t *testing.T) {
	c := parsed(t, "")
	cfg, err := c.MTA(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		overlay string
		address string
		on      bool
		warn    string
	}{
		{"[devmode]\nenabled: yes\nrecipient: zperson@example.com\n", "zperson@example.com", true, ""},
		{"[devmode]\nenabled: no\nrecipient: zperson@example.com\n", "zperson@example.com", false, ""},
		{"[devmode]\nenabled: yes\n", "", true, "every message is refused"},
		{"[devmode]\nenabled: yess\nrecipient: zperson@example.com\n", "", true, `found "yess", want yes`},
		{"[devmode]\nenabled:\nrecipient: zperson@example.com\n", "", true, `found "", want yes`},
	} {
		if _, on := cfg.Redirect(); on {
			t.Error("on before the Push")
		}
		if err := c.Push("devmode", test.overlay); err != nil {
			t.Fatal(err)
		}
		if address, on := cfg.Redirect(); address != test.address || on != test.on {
			t.Errorf("%q: %q, %v", test.overlay, address, on)
		}
		if got := warned(c); test.warn == "" && got != "" || !strings.Contains(got, test.warn) {
			t.Errorf("%q: warnings %s", test.overlay, got)
		}
		if err := c.Pop("devmode"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPasswordFile(t *testing.T) {
	path := extending(t,
		"secret", "  hunter2 # \r\nsecond line\n", "empty", "\nhunter2\n", "long", strings.Repeat("x", maxPassword+1),
		"mailman.cfg", "[mta]\nsmtp_user: u\n[postrider]\nsmtp_pass_file: secret\n")
	load := func(overrides map[string]string) (postrider.Config, error) {
		c, err := Load(Options{File: path, Overrides: overrides})
		if err != nil {
			t.Fatal(err)
		}
		return c.MTA(t.Context())
	}
	if cfg, err := load(nil); err != nil || cfg.Password.Reveal() != "  hunter2 # " {
		t.Errorf("password %q, %v", cfg.Password.Reveal(), err)
	}
	if cfg, err := load(map[string]string{"mta.smtp_pass": "above"}); err != nil || cfg.Password.Reveal() != "above" {
		t.Errorf("a password in a higher layer: %q, %v", cfg.Password.Reveal(), err)
	}
	for _, name := range []string{"empty", "long", "none"} {
		_, err := load(map[string]string{"postrider.smtp_pass_file": filepath.Join(filepath.Dir(path), name)})
		if err == nil || !strings.HasPrefix(err.Error(),
			"override: [postrider] smtp_pass_file: cannot get the password: ") ||
			strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if cfg, err := load(map[string]string{"mta.smtp_user": "", "postrider.smtp_pass_file": "none"}); err != nil ||
		!cfg.Password.IsZero() {
		t.Errorf("nobody to log in: %v", err)
	}
}

func TestPasswordTwice(t *testing.T) {
	c := parsed(t, "[mta]\nsmtp_user: u\nsmtp_pass: hunter2\n[postrider]\nsmtp_pass_file: hunter2.txt\n")
	want := "mailman.cfg:5: [postrider] smtp_pass_file: the password is also set by [mta] smtp_pass; " +
		"keep only one of them"
	if _, err := c.MTA(t.Context()); err == nil || err.Error() != want {
		t.Errorf("error %v\nwant  %s", err, want)
	}
}

// The keys that other packages take from here.
func TestDeliveryKeys(t *testing.T) {
	c := parsed(t, "[mta]\nmax_recipients: 20\ndelivery_retry_period: 1d12h\nverp_delivery_interval: "+
		"3\nverp_personalized_deliveries: On\n")
	if n, err := c.Int("mta", "max_recipients"); n != 20 || err != nil {
		t.Error(n, err)
	}
	if d, err := c.Duration("mta", "delivery_retry_period"); d != 36*time.Hour || err != nil {
		t.Error(d, err)
	}
	if n, err := c.Int("mta", "verp_delivery_interval"); n != 3 || err != nil {
		t.Error(n, err)
	}
	if b, err := c.Bool("mta", "verp_personalized_deliveries"); !b || err != nil {
		t.Error(b, err)
	}
}

// A relative file name of a text with a path starts at that path; one of the
// environment, or of a pushed text without a path, where the program runs.
func TestRelativeFiles(t *testing.T) {
	c, err := Load(Options{File: os.DevNull, Environ: []string{"POSTRIDER_CA_FILE=ca.pem"}})
	if err != nil {
		t.Fatal(err)
	}
	caFile := func(want string) {
		t.Helper()
		if cfg, err := c.MTA(t.Context()); err != nil || filepath.ToSlash(cfg.CAFile) != want {
			t.Errorf("ca_file is %q, %v; want %q", cfg.CAFile, err, want)
		}
	}
	caFile("ca.pem")
	for _, push := range [][3]string{{"x", "x.pem", "x.pem"}, {"/etc/x.cfg", "x.pem", "/etc/x.pem"},
		{"/etc/x.cfg", "/y.pem", "/y.pem"}, {"/etc/x.cfg", "", ""}} {
		if err := c.Push(push[0], "[postrider]\nca_file: "+push[1]+"\n"); err != nil {
			t.Fatal(err)
		}
		caFile(push[2])
	}
}
