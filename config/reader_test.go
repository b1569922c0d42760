package config

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// parsed is a configuration that must be readable.
func parsed(t *testing.T, text string) *Config {
	t.Helper()
	c, err := Parse("mailman.cfg", text)
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	return c
}

// warned joins the warnings, one a line.
func warned(c *Config) string {
	var b strings.Builder
	for _, w := range c.Warnings() {
		b.WriteString(w.Error() + "\n")
	}
	return b.String()
}

// Every row of the facts' section 2.2, in its order. What is expected was seen
// with lazr.config 2.2.3 under Python 3.11.
func TestMailmanCfg(t *testing.T) {
	tests := []struct {
		row  string
		text string
		want map[string]string // by "section.key"; what is not named is not looked at
		warn string            // in the only warning; "" for none
	}{
		{"colon and equals are the same", "[mta]\nsmtp_host: h\nsmtp_user = u\nlmtp_host=l\n",
			map[string]string{"mta.smtp_host": "h", "mta.smtp_user": "u", "mta.lmtp_host": "l"}, ""},
		{"the first of them splits", "[mta]\nsmtp_pass: a:b=c\nsmtp_user=d:e=f\nlmtp_host =: g\n",
			map[string]string{"mta.smtp_pass": "a:b=c", "mta.smtp_user": "d:e=f", "mta.lmtp_host": ": g"}, ""},
		{"keys are lower-cased", "[mta]\nSMTP_Host: h\n", map[string]string{"mta.smtp_host": "h"}, ""},
		{"sections are case-sensitive", "[MTA]\nsmtp_host: h\n", map[string]string{"mta.smtp_host": "localhost"},
			"did you mean [mta]?"},
		{"sections are blank-sensitive", "[ mta ]\nsmtp_host: h\n", map[string]string{"mta.smtp_host": "localhost"},
			"did you mean [mta]?"},
		{"comment lines", "# a: b\n; c\n[mta]\n  # d\nsmtp_host: h\n;smtp_host: i\n#smtp_host: j\n",
			map[string]string{"mta.smtp_host": "h"}, ""},
		{"comment lines inside a value", "[mta]\nsmtp_host: a\n# x\n  b\n    ; y\n  c\n",
			map[string]string{"mta.smtp_host": "a\nb\nc"}, ""},
		{"no comments behind a value", "[mta]\nsmtp_host: x # note\nsmtp_user: x ; note\nsmtp_pass: #;\n",
			map[string]string{"mta.smtp_host": "x # note", "mta.smtp_user": "x ; note", "mta.smtp_pass": "#;"}, ""},
		{"continuation lines", "[mta]\nsmtp_host: a\n  b\n\tc  \nsmtp_user: u\n",
			map[string]string{"mta.smtp_host": "a\nb\nc", "mta.smtp_user": "u"}, ""},
		{"empty lines inside stay", "[mta]\nsmtp_host: a\n\n  b\n\n\n\n  c\n\n\nsmtp_user: u\n",
			map[string]string{"mta.smtp_host": "a\n\nb\n\n\n\nc", "mta.smtp_user": "u"}, ""},
		{"an empty first line stays", "[mta]\nsmtp_host:\n  a\n   b\n", map[string]string{"mta.smtp_host": "\na\nb"},
			""},
		{"a continuation may look like a section", "[mta]\nsmtp_host: a\n [devmode]\n enabled: yes\n",
			map[string]string{"mta.smtp_host": "a\n[devmode]\nenabled: yes", "devmode.enabled": "no"}, ""},
		{"less indentation is no continuation", "[mta]\n  smtp_host: a\n smtp_port: 26\n",
			map[string]string{"mta.smtp_host": "a", "mta.smtp_port": "26"}, ""},
		{"nothing continues a header", "[mta]\n  smtp_host: a\n    more\n  smtp_user: u\n",
			map[string]string{"mta.smtp_host": "a\nmore", "mta.smtp_user": "u"}, ""},
		{"values are stripped", "[mta]\nsmtp_host: \t h \u00a0 \nsmtp_user:u\n",
			map[string]string{"mta.smtp_host": "h", "mta.smtp_user": "u"}, ""},
		{"quotes are kept", "[mta]\nsmtp_host: \"h\"\nsmtp_user: 'u'\nlmtp_host: `l`\nsmtp_pass: \"\"\"p\n",
			map[string]string{"mta.smtp_host": `"h"`, "mta.smtp_user": "'u'", "mta.lmtp_host": "`l`",
				"mta.smtp_pass": `"""p`}, ""},
		{"percent and dollar mean nothing", "[mta]\nsmtp_pass: %(smtp_host)s$x${y}%%\n",
			map[string]string{"mta.smtp_pass": "%(smtp_host)s$x${y}%%"}, ""},
		{"an empty value", "[mta]\nsmtp_host:\nsmtp_user:   \nlmtp_host=\n",
			map[string]string{"mta.smtp_host": "", "mta.smtp_user": "", "mta.lmtp_host": ""}, ""},
		{"a section twice", "[mta]\nsmtp_host: a\n[devmode]\n[mta]\nsmtp_user: u\n",
			map[string]string{"mta.smtp_host": "a", "mta.smtp_user": "u"}, ""},
		{"a key twice", "[mta]\nsmtp_host: a\n  a\nSMTP_HOST: b\n  c\n", map[string]string{"mta.smtp_host": "b\nc"},
			""},
		{"a key twice, in two sections of a name", "[mta]\nsmtp_host: a\n[mta]\nsmtp_host: b\n",
			map[string]string{"mta.smtp_host": "b"}, ""},
		{"DEFAULT", "[DEFAULT]\nsmtp_host: x\nsmtp_port: 1\n[mta]\nsmtp_port: 7\n",
			map[string]string{"mta.smtp_host": "x", "mta.smtp_port": "7"}, ""},
		{"DEFAULT below its sections", "[mta]\nsmtp_port: 7\n[devmode]\n[DEFAULT]\nsmtp_host: x\nenabled: " +
			"on\nrecipient: r@x\n",
			map[string]string{"mta.smtp_host": "x", "mta.smtp_port": "7", "devmode.enabled": "on"}, ""},
		{"DEFAULT reaches only sections of the file", "[DEFAULT]\nsmtp_host: x\n[devmode]\n",
			map[string]string{"mta.smtp_host": "localhost"}, "no section of this file has such a key"},
		{"DEFAULT is upper case", "[default]\nsmtp_host: x\n[mta]\n", map[string]string{"mta.smtp_host": "localhost"},
			"unknown section"},
		{"an unknown key", "[mta]\nsmtp_hots: x\nsmtp_user: u\n",
			map[string]string{"mta.smtp_user": "u", "mta.smtp_hots": ""},
			"mailman.cfg:2: [mta] smtp_hots: unknown key; did you mean smtp_host?"},
		{"an unknown section", "[mtaa]\nsmtp_host: x\n",
			map[string]string{"mta.smtp_host": "localhost", "mtaa.smtp_host": ""},
			"mailman.cfg:1: [mtaa] unknown section; did you mean [mta]?"},
		{"template, optional and master are skipped", "[mta.optional]\nsmtp_host: x\n[logging.template]\na: " +
			"b\n[runner.master]\na: b\n[a.b.master]\na: b\n",
			map[string]string{"mta.smtp_host": "localhost", "runner.master.a": ""}, ""},
		{"new sections of Mailman's categories", "[runner.mine]\ninstances: 5\nfoo: " +
			"1\n[plugin.x]\n[archiver.x]\n[language.x]\n[paths.x]\nvar_dir: /v\n",
			map[string]string{"runner.mine.instances": "5", "paths.x.var_dir": "/v"}, ""},
		{"logging is no such category", "[logging.debian]\nlevel: info\n", nil,
			"[logging.debian] unknown section, which is ignored"},
		{"non-ASCII", "[mta]\nsmtp_user: müller\n", map[string]string{"mta.smtp_user": "müller"}, ""},
		{"a CRLF file", "[mta]\r\nsmtp_host: a\r\n  b\r\n\r\nsmtp_port: 7\r\n",
			map[string]string{"mta.smtp_host": "a\nb", "mta.smtp_port": "7"}, ""},
		{"the whole text indented", "\n    [mta]\n    smtp_host: a\n      b\n\n    # c\n    smtp_port: 7\n    " +
			"[devmode]\n    wait: 1s\n",
			map[string]string{"mta.smtp_host": "a\nb", "mta.smtp_port": "7", "devmode.wait": "1s"}, ""},

		// Not in the table, but seen: what lies beside its rows.
		{"what follows a header's bracket is ignored", "[mta] junk\nsmtp_host: h\n",
			map[string]string{"mta.smtp_host": "h"}, ""},
		{"the last bracket ends a header", "[mta] ]\nsmtp_host: h\n", map[string]string{"mta.smtp_host": "localhost"},
			"[mta] ]"},
		{"an empty text", "", map[string]string{"mta.smtp_host": "localhost"}, ""},
		{"blank lines alone", "  \n\t\n", map[string]string{"mta.smtp_host": "localhost"}, ""},
		{"a key of two words", "[mta]\nsmtp host: x\n", nil, "did you mean smtp_host?"},
		{"python's separators are blanks", "[mta]\nsmtp_host: \x1fh\x1c\n", map[string]string{"mta.smtp_host": "h"},
			""},
		{"form feed and line separator do not end a line", "[mta]\nsmtp_host: a\fb\nsmtp_user: a\u2028b\n",
			map[string]string{"mta.smtp_host": "a\fb", "mta.smtp_user": "a\u2028b"}, ""},
		{"other keys in meta", "[meta]\nfoo: bar\n", nil, "[meta] foo: unknown key"},
	}
	for _, test := range tests {
		t.Run(test.row, func(t *testing.T) {
			c := parsed(t, test.text)
			for name, want := range test.want {
				section, key, _ := cutLast(name, ".")
				if got := c.Get(section, key); got != want {
					t.Errorf("%s = %q, want %q", name, got, want)
				}
			}
			got := warned(c)
			if test.warn == "" && got != "" || !strings.Contains(got, test.warn) || strings.Count(got, "\n") > 1 {
				t.Errorf("warnings:\n%swant one with %q", got, test.warn)
			}
		})
	}
}

// The rows of 2.2 that end in an exception there. What is between the names is
// never repeated, because it may be a password.
func TestUnreadable(t *testing.T) {
	tests := []struct{ row, text, want string }{
		{"a line without delimiter", "[mta]\nsmtp_host: h\nsmtp_pass hunter2\n",
			`f.cfg:3: ":" or "=" is missing after smtp_pass`},
		{"a line without delimiter and key", "[mta]\nhunter2\n",
			`f.cfg:2: the line has no ":" or "="; a line that continues a value must be indented`},
		{"all of them are told", "[mta]\nhunter2\nsmtp_port\n", "f.cfg:3: "},
		{"no key before the delimiter", "[mta]\n= hunter2\n", `f.cfg:2: the key is missing before the "="`},
		{"text before any section", "\nhunter2: x\n[mta]\n", "f.cfg:2: the line is outside of any section"},
		{"an empty header before any section", "[]\n", "f.cfg:1: the line is outside of any section"},
		{"an empty header", "[mta]\n[]\n", "f.cfg:2: the line has no"},
		{"an open header", "[mta\nsmtp_host: x\n", "f.cfg:1: the line is outside of any section"},
		{"a BOM", "\ufeff[mta]\nsmtp_host: x\n", "f.cfg:1: the file begins with a byte order mark"},
		{"a.b.c", "[mta]\n[a.b.c]\nx: hunter2\n", "f.cfg:2: [a.b.c] a section name has at most one dot"},
		{"not UTF-8", "[mta]\nsmtp_host: h\nsmtp_pass: hunter2\xff\n", "f.cfg:3: not UTF-8"},
	}
	for _, test := range tests {
		t.Run(test.row, func(t *testing.T) {
			_, err := Parse("f.cfg", test.text)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("error %v\nwant      %s", err, test.want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error repeats the line: %v", err)
			}
			var e *Error
			if !errors.As(err, &e) || e.Source != "f.cfg" || e.Line == 0 {
				t.Errorf("error %#v does not say where", err)
			}
		})
	}
}

func TestDebian(t *testing.T) {
	path := filepath.Join("testdata", "debian.cfg")
	c, err := Load(Options{File: path})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := warned(c), path+":48: [logging.debian] unknown section, which is ignored\n"; got != want {
		t.Errorf("warnings:\n%swant\n%s", got, want)
	}
	for name, want := range map[string]string{
		"mailman.listname_chars":             "[-_.0-9a-z]",
		"shell.prompt":                       ">>>",
		"database.url":                       "sqlite:///$DATA_DIR/mailman.db",
		"paths.debian.queue_dir":             "$var_dir/queue",
		"mta.lmtp_port":                      "8024",
		"mta.configuration":                  "python:mailman.config.postfix",
		"webservice.admin_pass":              "restpass",
		"mta.delivery_retry_period":          "5d",
		"mailman.layout":                     "debian",
		"mailman.pre_hook":                   "",
		"logging.smtp.path":                  "smtp.log",
		"runner.retry.sleep_time":            "15m",
		"mta.verp_format":                    "${bounces}+${local}=${domain}",
		"mta.max_recipients":                 "500",
		"mailman.pending_request_life":       "3d",
		"mta.verp_delivery_interval":         "0",
		"mailman.html_to_plain_text_command": "/usr/bin/lynx -dump $filename",
	} {
		section, key, _ := cutLast(name, ".")
		if got := c.Get(section, key); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	cfg, err := c.MTA(t.Context())
	if err != nil || cfg.Address != "localhost:25" {
		t.Errorf("MTA: address %q, %v", cfg.Address, err)
	}
	if address, on := c.Redirect(); on {
		t.Errorf("development mode is on, to %q", address)
	}
}

// as_boolean, word for word.
func TestBool(t *testing.T) {
	words := map[string]bool{
		"true": true, "yes": true, "1": true, "on": true, "enable": true, "enabled": true,
		"YES": true, "truE": true, "Enabled": true,
		"false": false, "no": false, "0": false, "off": false, "disable": false, "disabled": false,
		"No": false, "DISABLE": false,
	}
	for word, want := range words {
		if got, ok := asBool(word); !ok || got != want {
			t.Errorf("asBool(%q) = %v, %v", word, got, ok)
		}
	}
	for _, word := range []string{"", " yes", "yes ", "y", "n", "t", "2", "None", "enables", "tru", "on\n"} {
		if _, ok := asBool(word); ok {
			t.Errorf("asBool(%q) is one", word)
		}
	}
}

// as_timedelta, word for word.
func TestDuration(t *testing.T) {
	const day = 24 * time.Hour
	for word, want := range map[string]time.Duration{
		"5d":          5 * day,
		"1w2d":        9 * day,
		"1d12h30m5s":  36*time.Hour + 30*time.Minute + 5*time.Second,
		"90s":         90 * time.Second,
		"0s":          0,
		"1h30m":       90 * time.Minute,
		"1.5h":        90 * time.Minute,
		".5d":         12 * time.Hour,
		"5.d":         5 * day,
		"1d.5h":       day + 30*time.Minute,
		"0.1s":        100 * time.Millisecond,
		"0.0000004s":  0,
		"1.23456789s": 1234568 * time.Microsecond,
		"1w1d1h1m1s":  8*day + time.Hour + time.Minute + time.Second,
		"00005d":      5 * day,
		"106751d":     106751 * day,
		"0.5w":        84 * time.Hour,
	} {
		if got, ok := asDuration(word); !ok || got != want {
			t.Errorf("asDuration(%q) = %v, %v; want %v", word, got, ok, want)
		}
	}
	for _, word := range []string{
		"5", "5D", "5 d", "", "2d1w", "30m1h", "1d1d", "-5d", "1y", "10ms", "5d ", " 5d", // the facts
		".d", "1.2.3d", "1..5h", "1d2", "d", "1dd", "+5d", "5d\n", "1e3s", "1,5h", "99999999999w",
		"106752d", // Python has it; 292 years are the end of a time.Duration
	} {
		if got, ok := asDuration(word); ok {
			t.Errorf("asDuration(%q) = %v", word, got)
		}
	}
}

func TestInt(t *testing.T) {
	for word, want := range map[string]int{"25": 25, " 25 ": 25, "+25": 25, "-1": -1, "025": 25, "1_000": 1000} {
		if got, ok := asInt(word); !ok || got != want {
			t.Errorf("asInt(%q) = %d, %v; want %d", word, got, ok, want)
		}
	}
	for _, word := range []string{"", "_1", "1_", "1__0", "0x19", "25.0", "1e3", "2 5", "99999999999999999999"} {
		if got, ok := asInt(word); ok {
			t.Errorf("asInt(%q) = %d", word, got)
		}
	}
}

// extending writes files in a fresh directory and returns the path of the last.
func extending(t *testing.T, files ...string) string {
	t.Helper()
	dir, path := t.TempDir(), ""
	for i := 0; i+1 < len(files); i += 2 {
		path = filepath.Join(dir, files[i])
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(files[i+1], "DIR", dir)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func TestExtends(t *testing.T) {
	path := extending(t,
		"other.cfg", "[mta]\nsmtp_host: other\nsmtp_user: other\nsmtp_port: 1\n",
		"base.cfg", "[meta]\nextends: DIR/other.cfg\n[mta]\nsmtp_host: base\nsmtp_port: 2\n",
		"sub/mid.cfg", "[meta]\nextends: ../base.cfg\n[mta]\nsmtp_port: 3\n",
		"user.cfg", "[meta]\nextends: sub/mid.cfg\n[mta]\nlmtp_host: user\n")
	c, err := Load(Options{File: path})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, key := range []string{"smtp_host", "smtp_user", "smtp_port", "lmtp_host"} {
		got[key] = c.Get("mta", key)
	}
	want := map[string]string{"smtp_host": "base", "smtp_user": "other", "smtp_port": "3", "lmtp_host": "user"}
	if !maps.Equal(got, want) {
		t.Errorf("values %v, want %v", got, want)
	}
	if w := warned(c); w != "" {
		t.Errorf("warnings: %s", w)
	}
	// What is extended is a layer of its own, and goes with what extends it.
	if err := c.Pop("base.cfg"); err != nil || c.String() != "config(only the defaults)" ||
		c.Get("mta", "smtp_port") != "25" {
		t.Errorf("after Pop: %v, smtp_port %q, %v", c, c.Get("mta", "smtp_port"), err)
	}
}

func TestExtendsOverlay(t *testing.T) {
	path := extending(t, "base.cfg", "[mta]\nsmtp_host: base\n", "x.cfg", "")
	c := parsed(t, "[mta]\nsmtp_user: file\n")
	if err := c.Push(path, "[meta]\nextends: base.cfg\n"); err != nil || c.Get("mta", "smtp_host") != "base" {
		t.Errorf("pushed by its path: smtp_host %q, %v", c.Get("mta", "smtp_host"), err)
	}
	if err := c.Pop("x.cfg"); err != nil {
		t.Error(err)
	}
	if err := c.Push("auth", "[meta]\nextends: "+filepath.Join(filepath.Dir(path), "base.cfg")+"\n"); err != nil {
		t.Errorf("an absolute name: %v", err)
	}
	err := c.Push("auth2", "[meta]\nextends: no-such-file.cfg\n")
	if err == nil || !strings.Contains(err.Error(), "/no-such-file.cfg") || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a relative name without a directory: %v", err)
	}
	if got := c.String(); got != "config(mailman.cfg, base.cfg, auth)" {
		t.Errorf("a failed Push left %s", got)
	}
}

// [meta] is a section like others: [DEFAULT] reaches it.
func TestExtendsByDefault(t *testing.T) {
	path := extending(t, "base.cfg", "[mta]\nsmtp_host: base\n", "user.cfg", "[DEFAULT]\nextends: base.cfg\n[meta]\n")
	if c, err := Load(Options{File: path}); err != nil || c.Get("mta", "smtp_host") != "base" {
		t.Errorf("%v, %v", c, err)
	}
}

func TestExtendsFails(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"a circle", "[meta]\nextends: last.cfg\n", "is it a circle?"},
		{"a missing file", "[meta]\nextends: none.cfg\n", "cannot read the file that this one extends"},
		{"no name", "[meta]\nextends:\n", "the file name is empty"},
		{"a file that is faulty itself", "[meta]\nextends: bad.cfg\n", "bad.cfg:2: "},
	} {
		path := extending(t, "bad.cfg", "[mta]\nx\n", "last.cfg", test.text)
		if _, err := Load(Options{File: path}); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
}

// What the reader gives, written in the plainest form, reads the same.
func FuzzParse(f *testing.F) {
	debian, err := os.ReadFile("testdata/debian.cfg")
	if err != nil {
		f.Fatal(err)
	}
	for _, text := range []string{string(debian), "[mta]\na: b\n  c\n\n  d\n", "[DEFAULT]\na=b\n[x]\n[y]\na:\n",
		"[a.b.c]", "\ufeff[x]", "[x\ny]: =z\r\r\n", "[x] ]\n#a\n \x1c;b\n[:y"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		first, err := parse("fuzz", "", text)
		if err != nil {
			if err.Error() == "" {
				t.Error("an error without words")
			}
			return
		}
		newView([]layer{{name: "fuzz", doc: first}}) // must not panic
		again, err := parse("fuzz", "", written(first))
		if err != nil {
			t.Fatalf("what was written does not read: %v\n%q", err, written(first))
		}
		if a, b := written(first), written(again); a != b {
			t.Errorf("written and read again:\n%q\nwas\n%q", b, a)
		}
	})
}

// written is the text of a document.
func written(d *document) string {
	var b strings.Builder
	for _, s := range d.blocks {
		b.WriteString("[" + s.name + "]\n")
		entries := slices.Clone(s.entries)
		slices.SortFunc(entries, func(x, y *entry) int { return strings.Compare(x.key, y.key) })
		for _, e := range entries {
			b.WriteString(e.key + ": " + strings.ReplaceAll(e.value, "\n", "\n  ") + "\n")
		}
	}
	return b.String()
}
