package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Facts 11 and 13: an overlay is in force at once, and gone after Pop.
//
// Facts 11, 13
func TestPushPop(t *testing.T) {
	c := parsed(t, "[mta]\nsmtp_user: file\n")
	push := func(name, text string) {
		t.Helper()
		if err := c.Push(name, text); err != nil {
			t.Fatal(err)
		}
	}
	user := func(want string) {
		t.Helper()
		if got := c.Get("mta", "smtp_user"); got != want {
			t.Errorf("smtp_user is %q, want %q", got, want)
		}
	}
	pop := func(name string) {
		t.Helper()
		if err := c.Pop(name); err != nil {
			t.Error(err)
		}
	}
	push("auth", "\n    [mta]\n    smtp_user: testuser\n    smtp_pass: testpass\n    ")
	user("testuser")
	pop("auth")
	user("file")
	if got := c.Get("mta", "smtp_pass"); got != "" {
		t.Errorf("smtp_pass is %q after Pop", got)
	}

	push("a", "[mta]\nsmtp_user: a1\n")
	push("dir/b", "[mta]\nsmtp_user: b\n")
	push("a", "[mta]\nsmtp_user: a2\n")
	push("c", "[mta]\nlmtp_host: c\n")
	user("a2")
	pop("a") // the topmost of the name, and c above it
	user("b")
	if got := c.Get("mta", "lmtp_host"); got != "127.0.0.1" {
		t.Errorf("Pop left what was above: lmtp_host %q", got)
	}
	if err := c.Pop("dir/b"); !errors.Is(err, ErrNoOverlay) {
		t.Errorf("Pop by a path: %v", err)
	}
	pop("b")
	user("a1")
	push("", "[mta]\nsmtp_user: nameless\n")
	user("nameless")
	pop("")
	user("a1")
	pop("mailman.cfg")
	user("")
}

func TestPopFails(t *testing.T) {
	c := parsed(t, "[mta]\nsmtp_user: file\n")
	for name, want := range map[string]string{
		"x":          `config: no such overlay: "x"; the layers are: mailman.cfg`,
		"schema":     "config: no such overlay: the defaults cannot be removed",
		"schema.cfg": "config: no such overlay: the defaults cannot be removed",
	} {
		if err := c.Pop(name); !errors.Is(err, ErrNoOverlay) || err.Error() != want {
			t.Errorf("Pop(%q): %v, want %s", name, err, want)
		}
	}
	if err := c.Push("bad", "[mta]\nsmtp_user: new\nsmtp_host\n"); err == nil {
		t.Error("Push took a text that does not read")
	}
	if got := c.Get("mta", "smtp_user"); got != "file" {
		t.Errorf("smtp_user is %q after what failed", got)
	}
}

// Each layer above is heard before those below.
func TestLayers(t *testing.T) {
	path := extending(t,
		"base.cfg", "[mta]\nsmtp_host: extended\nsmtp_user: extended\nlmtp_host: extended\nsmtp_port: 1\nlmtp_port: "+
			"1\n",
		"mailman.cfg", "[meta]\nextends: base.cfg\n[mta]\nsmtp_user: file\nlmtp_host: file\nsmtp_port: 2\nlmtp_port: "+
			"2\n")
	c, err := Load(Options{
		File: path,
		Environ: []string{"HOME=/nowhere", "POSTRIDER_MTA_LMTP_HOST= environment ", "POSTRIDER_MTA_SMTP_PORT=3",
			"POSTRIDER_MTA_LMTP_PORT=3"},
		Overrides: map[string]string{"mta.smtp_port": "4", "mta.LMTP_PORT": "4"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Push("test", "[mta]\nlmtp_port: 5\n"); err != nil {
		t.Fatal(err)
	}
	if got, want := c.String(), "config(base.cfg, mailman.cfg, environment, overrides, test)"; got != want {
		t.Errorf("layers %s, want %s", got, want)
	}
	for _, want := range [][3]string{
		{"smtp_secure_mode", "smtp", "default"},
		{"smtp_host", "extended", filepath.Join(filepath.Dir(path), "base.cfg") + ":2"},
		{"smtp_user", "file", path + ":4"},
		{"lmtp_host", "environment", "$POSTRIDER_MTA_LMTP_HOST"},
		{"smtp_port", "4", "override"},
		{"lmtp_port", "5", "test:2"},
	} {
		if value, origin := c.Get("mta", want[0]), c.Origin("mta", want[0]); value != want[1] || origin != want[2] {
			t.Errorf("%s is %q from %s, want %q from %s", want[0], value, origin, want[1], want[2])
		}
	}
	if c.File() != path {
		t.Errorf("File is %q", c.File())
	}
	if w := warned(c); w != "" {
		t.Errorf("warnings: %s", w)
	}
}

func TestEnvironment(t *testing.T) {
	names := variables()
	for name, want := range map[string]keyPath{
		"POSTRIDER_MTA_SMTP_HOST":      {"mta", "smtp_host"},
		"POSTRIDER_DEVMODE_ENABLED":    {"devmode", "enabled"},
		"POSTRIDER_SERVER_NAME":        {"postrider", "server_name"},
		"POSTRIDER_TIMEOUT_CONNECT":    {"postrider", "timeout_connect"},
		"POSTRIDER_LOGGING_SMTP_EVERY": {"logging.smtp", "every"},
		"POSTRIDER_MAILMAN_SITE_OWNER": {"mailman", "site_owner"},
	} {
		if names[name] != want {
			t.Errorf("%s is %v, want %v", name, names[name], want)
		}
	}
	keys := 0
	for _, s := range schema {
		if s.name != "meta" {
			keys += len(s.keys)
		}
	}
	if len(names) != keys {
		t.Errorf("%d variables for %d keys: two have one name", len(names), keys)
	}
}

func TestEnvironmentWarnings(t *testing.T) {
	c, err := Load(Options{File: os.DevNull, Environ: []string{
		"POSTRIDER_MTA_SMTP_PASSS=hunter2", "POSTRIDER_FOO=x", "POSTRIDER_CONFIG_FILE=/ignored", "MTA_SMTP_HOST=x",
		"POSTRIDER_MTA_SMTP_PORT=abc",
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := "$POSTRIDER_MTA_SMTP_PASSS: unknown variable; did you mean $POSTRIDER_MTA_SMTP_PASS?\n" +
		"$POSTRIDER_FOO: unknown variable, which is ignored\n" +
		"$POSTRIDER_MTA_SMTP_PORT: [mta] smtp_port: found \"abc\", want a whole number\n"
	if got := warned(c); got != want {
		t.Errorf("warnings:\n%swant\n%s", got, want)
	}
}

func TestOverridesUnknown(t *testing.T) {
	for name, want := range map[string]string{
		"mta.smtp_hots":    "override: [mta] smtp_hots: unknown key; did you mean smtp_host?",
		"mtaa.smtp_host":   "override: [mtaa] smtp_host: unknown section; did you mean [mta]?",
		"smtp_host":        `override: found "smtp_host", want a section and a key, such as mta.smtp_host`,
		"mta.server_name":  "override: [mta] server_name: unknown key; it belongs in [postrider]",
		"postrider.whatis": "override: [postrider] whatis: unknown key, which is ignored",
	} {
		_, err := Load(Options{File: os.DevNull, Overrides: map[string]string{name: "x"}})
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v\nwant %s", name, err, want)
		}
	}
}

func TestPlaces(t *testing.T) {
	env := []string{"HOME=/home/anne", "MAILMAN_CONFIG_FILE=/m", "POSTRIDER_CONFIG_FILE=/p"}
	for _, test := range []struct {
		o     Options
		named string
		want  []string
	}{
		{Options{File: "/f", Environ: env}, "/f", nil},
		{Options{Environ: env}, "/p", nil},
		{Options{Environ: env[:2]}, "/m", nil},
		{Options{Environ: env[:1]}, "", []string{filepath.FromSlash("/home/anne/.mailman.cfg"), "/etc/mailman.cfg",
			"/etc/mailman3/mailman.cfg"}},
		{Options{}, "", []string{"/etc/mailman.cfg", "/etc/mailman3/mailman.cfg"}},
	} {
		if named, got := test.o.places(); named != test.named || !slices.Equal(got, test.want) {
			t.Errorf("%+v: %q and %q, want %q and %q", test.o, named, got, test.named, test.want)
		}
	}
}

func TestFind(t *testing.T) {
	path := extending(t, ".mailman.cfg", "[mta]\nsmtp_host: home\n")
	c, err := Load(Options{Environ: []string{"HOME=" + filepath.Dir(path)}})
	if err != nil || c.Get("mta", "smtp_host") != "home" || c.File() != path {
		t.Errorf("$HOME/.mailman.cfg: %v, %v", c, err)
	}
	homeless := Options{Environ: []string{"HOME=" + os.DevNull}}
	if _, err := homeless.find(); err != nil {
		t.Errorf("a home that is no directory: %v", err)
	}
	// ENAMETOOLONG, whoever runs the test
	unsearchable := Options{Environ: []string{"HOME=/" + strings.Repeat("x", 5000)}}
	if file, err := unsearchable.find(); err == nil || !strings.Contains(err.Error(), "choose another with -C") {
		t.Errorf("a place that cannot be looked at: %q, %v", file, err)
	}
	missing := filepath.Join(t.TempDir(), "none.cfg")
	for _, o := range []Options{{File: missing}, {Environ: []string{"MAILMAN_CONFIG_FILE=" + missing}}} {
		if _, err := Load(o); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), missing) {
			t.Errorf("a named file that is not there: %v", err)
		}
	}
	large := extending(t, "large.cfg", strings.Repeat("#", maxFile)+"\n")
	if _, err := Load(Options{File: large}); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("a file without end: %v", err)
	}
}

func TestConversionErrors(t *testing.T) {
	c := parsed(t, `
		[mta]
		smtp_port: twentyfive
		smtp_pass: hunter2
		smtp_verify_cert: yep
		delivery_retry_period: 5 days
		[database]
		url: postgresql://mailman:hunter2@localhost/mailman
		`)
	for _, test := range []struct {
		section, key, want string
		err                func(section, key string) error
	}{
		{"mta", "smtp_port", `mailman.cfg:3: [mta] smtp_port: found "twentyfive", want a whole number`,
			func(s, k string) error { _, err := c.Int(s, k); return err }},
		{"mta", "smtp_verify_cert", `mailman.cfg:5: [mta] smtp_verify_cert: found "yep", want yes, true, on,`,
			func(s, k string) error { _, err := c.Bool(s, k); return err }},
		{"mta", "delivery_retry_period", "mailman.cfg:6: [mta] delivery_retry_period: found \"5 days\", want a " +
			"duration such as 90s,",
			func(s, k string) error { _, err := c.Duration(s, k); return err }},
		{"mta", "smtp_pass", "mailman.cfg:4: [mta] smtp_pass: found a value that is not shown here, want a " +
			"whole number",
			func(s, k string) error { _, err := c.Int(s, k); return err }},
		{"database", "url", `mailman.cfg:8: [database] url: found a value that is not shown here, want`,
			func(s, k string) error { _, err := c.Bool(s, k); return err }},
		{"mta", "smtp_user", `config: [mta] smtp_user: found "", want a whole number`,
			func(s, k string) error { _, err := c.Int(s, k); return err }},
		{"mta", "nothing", `config: [mta] nothing: there is no such key`,
			func(s, k string) error { _, err := c.Int(s, k); return err }},
	} {
		if err := test.err(test.section, test.key); err == nil || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("error %v\nwant  %s", err, test.want)
		}
	}
	if got := strings.Count(warned(c), "\n"); got != 3 {
		t.Errorf("warnings:\n%swant the three values that will not convert", warned(c))
	}
}

func TestNearest(t *testing.T) {
	for _, test := range [][3]string{
		{"mta", "smtp_hots", "smtp_host"},
		{"mta", "smpt_host", "smtp_host"},
		{"mta", "smtp_password", "smtp_pass"},
		{"mta", "smtp_username", "smtp_user"},
		{"mta", "max_sessions", "max_sessions_per_connection"},
		{"mta", "smtp_server", ""}, // two letters from smtp_user, and something else
		{"mta", "host", ""},
		{"mta", "verp", ""}, // the beginning of too many
		{"devmode", "recipents", "recipient"},
		{"postrider", "timeout_conect", "timeout_connect"},
		{"mta", strings.Repeat("smtp_host", 10), ""},
		{"mta", "", ""},
	} {
		if got := nearest(test[1], findSection(test[0]).keyNames()); got != test[2] {
			t.Errorf("[%s] %s: %q, want %q", test[0], test[1], got, test[2])
		}
	}
	for word, want := range map[string]string{"mtaa": "mta", "DevMode": "devmode", "logging.smpt": "logging.smtp",
		"runner.master2": "", "post-rider": "postrider", "zz": ""} {
		if got := nearest(word, sectionNames()); got != want {
			t.Errorf("[%s]: %q, want %q", word, got, want)
		}
	}
}

// Names and values come from a file and end up on a terminal.
func TestErrorsAreLegible(t *testing.T) {
	c, err := Parse("a\x1b[2J.cfg", "[mta]\n\x1b[31mred: x\nsmtp_port: \x1b]0;"+strings.Repeat("x",
		5000)+"\n"+strings.Repeat("k", 5000)+": x\n")
	if err != nil {
		t.Fatal(err)
	}
	got := warned(c)
	if strings.ContainsAny(got, "\x1b") || !strings.Contains(got, `"\x1b[31mred"`) ||
		!strings.Contains(got, `"a\x1b[2J.cfg"`) {
		t.Errorf("warnings:\n%q", got)
	}
	if len(got) > 1000 {
		t.Errorf("%d bytes of warnings", len(got))
	}
}

// A password is not shown, however a program prints what it has.
func TestPasswordsAreNotShown(t *testing.T) {
	c, err := Load(Options{File: os.DevNull,
		Environ:   []string{"POSTRIDER_MTA_SMTP_PASS=hunter2"},
		Overrides: map[string]string{"mta.smtp_user": "u"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Push("test", "[mta]\nsmtp_pass: hunter22\n[webservice]\nadmin_pass: hunter2\n[nntp]\npassword: "+
		"hunter2"); err != nil {
		t.Fatal(err)
	}
	cfg, err := c.MTA(t.Context())
	if err != nil || cfg.Password.Reveal() != "hunter22" {
		t.Fatalf("MTA: %v", err)
	}
	var out bytes.Buffer
	for _, value := range []any{c, cfg, struct{ C *Config }{c}, c.Warnings()} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x", "%q"} {
			fmt.Fprintf(&out, verb+"\n", value)
		}
		slog.New(slog.NewTextHandler(&out, nil)).Info("text", "value", value)
		cfg.Redirect = nil // a function is nothing that JSON could hold
		slog.New(slog.NewJSONHandler(&out, nil)).Info("json", "value", value)
		json.NewEncoder(&out).Encode(value)
	}
	for _, key := range []keyPath{{"mta", "smtp_pass"}, {"webservice", "admin_pass"}, {"nntp", "password"}} {
		_, err := c.Bool(key.section, key.key)
		fmt.Fprintln(&out, err)
	}
	if text := out.String(); strings.Contains(text, "hunter2") || strings.Contains(text, fmt.Sprintf("%x", "hunter2")) {
		t.Errorf("there it is:\n%s", text)
	}
	if !strings.Contains(out.String(), "config(null, environment, overrides, test)") {
		t.Errorf("the layers are not named:\n%s", out.String())
	}
}

// The package's documentation names each key of ours and of the delivery.
func TestDocumentation(t *testing.T) {
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range findSection("postrider").keys {
		if !strings.Contains(string(text), k.name) {
			t.Errorf("doc.go does not name [postrider] %s", k.name)
		}
	}
	for _, key := range []string{"smtp_host", "smtp_port", "smtp_user", "smtp_pass", "smtp_secure_mode",
		"smtp_verify_cert", "smtp_verify_hostname",
		"max_recipients", "max_sessions_per_connection", "delivery_retry_period", "verp_format", "verp_regexp"} {
		if !strings.Contains(string(text), key) || findSection("mta").key(key) == nil {
			t.Errorf("doc.go or the schema does not name [mta] %s", key)
		}
	}
}

// Every default is what its key wants.
func TestDefaults(t *testing.T) {
	if w := warned(parsed(t, "")); w != "" {
		t.Errorf("warnings without any configuration:\n%s", w)
	}
	c := parsed(t, "")
	for key, want := range map[string]string{ // facts 2.1
		"smtp_host": "localhost", "smtp_port": "25", "smtp_user": "", "smtp_pass": "", "smtp_secure_mode": "smtp",
		"smtp_verify_cert": "yes", "smtp_verify_hostname": "yes", "lmtp_host": "127.0.0.1", "lmtp_port": "8024",
		"max_recipients": "500", "max_sessions_per_connection": "0", "max_delivery_threads": "0",
		"delivery_retry_period": "5d",
		"verp_delimiter":        "+", "verp_format": "${bounces}+${local}=${domain}",
		"verp_confirm_format": "$address+$cookie",
		"verp_regexp":         `^(?P<bounces>[^+]+?)\+(?P<local>[^=]+)=(?P<domain>[^@]+)@.*$`,
		"verp_confirmations":  "yes", "verp_personalized_deliveries": "no", "verp_delivery_interval": "0",
		"verp_probe_format": "$bounces+$token@$domain", "verp_probes": "no", "max_autoresponses_per_day": "10",
		"remove_dkim_headers": "no",
	} {
		if got := c.Get("mta", key); got != want {
			t.Errorf("[mta] %s is %q, want %q", key, got, want)
		}
	}
	if got := []string{c.Get("devmode", "enabled"), c.Get("devmode", "recipient"), c.Get("devmode", "testing"),
		c.Get("devmode", "wait")}; !reflect.DeepEqual(got, []string{"no", "", "no", "60s"}) {
		t.Errorf("[devmode] is %q", got)
	}
}

// Readers see a stack as it was before or after a change, never in between.
func TestConcurrentUse(t *testing.T) {
	c := parsed(t, "[devmode]\nenabled: no\nrecipient: nobody@example.com\n")
	var changing, reading sync.WaitGroup
	done := make(chan struct{})
	for i := range 4 {
		reading.Go(func() {
			for {
				if address, on := c.Redirect(); on != (address == "dev@example.com") {
					t.Errorf("redirect %v to %q", on, address)
				}
				_ = c.String() + c.Origin("devmode", "enabled") + warned(c)
				select {
				case <-done:
					return
				default:
				}
			}
		})
		changing.Go(func() {
			name := fmt.Sprint("overlay", i)
			for range 100 {
				if err := c.Push(name, "[devmode]\nenabled: yes\nrecipient: dev@example.com\n"); err != nil {
					t.Error(err)
				}
				// Another goroutine's Pop may have taken this one with it.
				if err := c.Pop(name); err != nil && !errors.Is(err, ErrNoOverlay) {
					t.Error(err)
				}
			}
		})
	}
	changing.Wait()
	close(done)
	reading.Wait()
}
