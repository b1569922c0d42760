package main

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/doctor"
)

// Colours are for terminals, and for who wants them.
func TestColours(t *testing.T) {
	env := func(key, value string) func(string) string {
		return func(k string) string {
			if k == key {
				return value
			}
			return ""
		}
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0) // a character device, and no terminal
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if terminal(null) || terminal(new(bytes.Buffer)) {
		t.Error("not everything is a terminal")
	}
	if !colourful(true, env("", "")) || colourful(true, env("NO_COLOR", "1")) ||
		colourful(true, env("TERM", "dumb")) || colourful(false, env("", "")) {
		t.Error("colours where there should be none, or none where there should be some")
	}
	for colour, want := range map[bool]string{
		false: "Checking mx\n\nwarning  certificate     9 days left (12.3 ms)\n",
		true:  "Checking mx\n\n\x1b[33mwarning\x1b[0m  certificate     9 days left (12.3 ms)\n",
	} {
		var b bytes.Buffer
		p := &checkPage{w: &b, colour: colour, server: "mx"}
		p.finding(doctor.Finding{Check: "certificate", Level: doctor.Warning, Saw: "9 days left", Set: "renew it",
			Took: 12345 * time.Microsecond})
		if got := b.String(); got != want+"                         to do: renew it\n" {
			t.Errorf("%q", got)
		}
	}
}

// A key stays with its value, and no line is longer than the page.
func TestWrap(t *testing.T) {
	text := strings.Repeat("words and more ", 20) + "smtp_secure_mode: starttls"
	lines := wrap(text, 60)
	for _, l := range lines {
		if len(l) > 60+len(" starttls") {
			t.Errorf("%q", l)
		}
	}
	if strings.Join(lines, " ") != text || !strings.HasSuffix(lines[len(lines)-1], "smtp_secure_mode: starttls") {
		t.Errorf("%q", lines)
	}
}

// Every stage has a status.
func TestCheckCodes(t *testing.T) {
	for _, step := range []string{"dial", "TLS handshake", "greeting", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT",
		"DATA", "content"} {
		r := &doctor.Report{Findings: []doctor.Finding{{Level: doctor.Warning, Stage: "dial"},
			{Level: doctor.Problem, Stage: doctor.Stage(step)}}}
		if code := checkCode(t.Context(), r); code == 0 ||
			!strings.Contains(checkTable, "\n  "+strings.Repeat(" ",
				2-len(strconv.Itoa(code)))+strconv.Itoa(code)+"  ") {
			t.Errorf("%s: %d is not in the table", step, code)
		}
	}
	r := &doctor.Report{Findings: []doctor.Finding{{Level: doctor.Warning, Stage: "dial"}}}
	if code := checkCode(t.Context(), r); code != exitOK {
		t.Errorf("a warning is status %d", code)
	}
}

// A server that was named without a port is looked for at all the usual ones.
func TestWithoutPort(t *testing.T) {
	for server, want := range map[string]bool{
		"": false, "mx.example.com": true, "mx.example.com:25": false, "127.0.0.1": true, "127.0.0.1:25": false,
		"::1": true, "[::1]": true, "[::1]:25": false, "unix:/mta": false,
	} {
		if withoutPort(server) != want {
			t.Errorf("%q", server)
		}
	}
}
