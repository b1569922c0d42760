package config

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode"
)

// FuzzUse: whatever a file says, it is refused in words that a terminal can show, or all of it can be asked for; and
// a password is not among what it shows.
func FuzzUse(f *testing.F) {
	for _, text := range []string{
		"[mta]\nsmtp_host: mx.example.com\nsmtp_user: anne\nmax_recipients: x\n",
		"[mta]\nsmtp_port: 99999\nsmtp_host: [::1]\nsmtp_secure_mode: StartTLS\n[devmode]\nenabled: yes\n",
		"[postrider]\nservers: a b a\nmax_age: 1h30\n[postrider.a]\nsmtp_host: srv:example.com\nweight: " +
			"2\n[postrider.b]\n",
		"[devmode]\nenabled: perhaps\nrecipient: \x1b[2J\n[postrider]\nwindow: -1\nidle_timeout: 1w\npins: sha256:\n",
		"[mta\n", "[mta]\nsmtp_hots: x\n\x00\xff: \u202e\n",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		// Nothing here is to read a file or to run a command of the fuzzer's choice.
		if lower := strings.ToLower(text); strings.Contains(lower, "extends") || strings.Contains(lower, "pass") {
			return
		}
		c, err := Parse("fuzz", text)
		wantWords(t, err)
		if err != nil {
			return
		}
		const secret = "tr0ub4dor&3"
		if err := c.Push("secret", "[mta]\nsmtp_pass: "+secret+"\n"); err != nil {
			t.Fatal(err)
		}
		_, err = c.MTA(t.Context())
		wantWords(t, err)
		pool, servers, err := c.Pool(t.Context())
		wantWords(t, err)
		for _, w := range c.Warnings() {
			wantWords(t, w)
		}
		c.Redirect()
		if shown := fmt.Sprintf("%v %+v %v %+v %+v", c, c, c.LogValue(), pool, servers); strings.Contains(shown,
			secret) {
			t.Errorf("it shows the password: %s", shown)
		}
		if err := c.Pop("secret"); err != nil {
			t.Error(err)
		}
	})
}

// wantWords wants an error, if there is one, to have words that do nothing to a terminal.
func wantWords(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	bad := func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) || r == unicode.ReplacementChar }
	if s := err.Error(); s == "" || strings.ContainsFunc(s, bad) {
		t.Errorf("not fit for a terminal: %q", s)
	}
	var e *Error
	if !errors.As(err, &e) {
		t.Errorf("no *Error: %v", err)
	}
}
