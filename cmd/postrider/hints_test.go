package main

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/doctor"
	"github.com/postrider/postrider/internal/hint"
)

// Every setting that a hint names has a flag, and there is such a flag.
func TestHintsHaveFlags(t *testing.T) {
	known := []string{"--set"}
	for _, command := range kong.Must(new(cli), kong.NoDefaultHelp(), flagHelp).Model.Children {
		for _, group := range command.AllFlags(true) {
			for _, f := range group {
				known = append(known, "--"+f.Name, "--no-"+f.Name)
			}
		}
	}
	for _, field := range hint.Fields() {
		for _, value := range []string{"", "true", "false", "1s"} {
			flag, _, _ := strings.Cut(flagOf(field, value), " ")
			if switchNames[field] != nil && value == "1s" {
				continue
			}
			if !slices.Contains(known, flag) {
				t.Errorf("%s, %q: %q is no flag", field, value, flag)
			}
		}
	}
	for _, names := range []string{flagOf("Dial", ""), setting("Dial", "")} {
		if names != "" {
			t.Errorf("a field without a flag: %q", names)
		}
	}
}

func TestSettingsInFlags(t *testing.T) {
	for _, tt := range [][3]string{
		{"Mode", "starttls", "--mode starttls (smtp_secure_mode: starttls)"},
		{"Address", "", "--server (smtp_host and smtp_port)"},
		{"NoVerifyCert", "true", "--no-verify-cert (smtp_verify_cert: no)"},
		{"NoVerifyHostname", "false", "--verify-hostname (smtp_verify_hostname: yes)"},
		{"AllowPlaintextAuth", "true", "--allow-plaintext-auth ([postrider] allow_plaintext_auth: yes)"},
		{"Timeouts.Greeting", "", "--set postrider.timeout_greeting=TIME"},
		{"IdleTimeout", "45s", "--set postrider.idle_timeout=45s"},
		{"CAFile", "my ca.pem", "--ca-file 'my ca.pem' ([postrider] ca_file: my ca.pem)"},
	} {
		if got := setting(tt[0], tt[1]); got != tt[2] {
			t.Errorf("%s, %q: %q; want %q", tt[0], tt[1], got, tt[2])
		}
	}
}

// What the library tells to set, this program tells in its own words, however deep the error lies.
func TestWordsOfHints(t *testing.T) {
	conn, err := postrider.NewConnection(postrider.Config{Dial: noSuchHost})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, err = conn.Send(t.Context(), &postrider.Message{To: []string{"bart@example.com"}, Content: postrider.Bytes(nil)})
	if err == nil || !strings.Contains(err.Error(), "check Config.Address") {
		t.Fatal(err)
	}
	for _, err := range []error{err, fmt.Errorf("all in all: %w", err)} {
		if got := words(err); strings.Contains(got, "Config.") ||
			!strings.HasSuffix(got, "check --server (smtp_host and smtp_port)") {
			t.Errorf("%q", got)
		}
	}
}

func noSuchHost(context.Context, string, string) (net.Conn, error) {
	return nil, &net.DNSError{Err: "no such host", Name: "localhost", IsNotFound: true}
}

func TestAdvice(t *testing.T) {
	a := &doctor.Advice{Settings: []doctor.Setting{
		{Field: "Address", Value: "localhost:465"}, {Field: "Mode", Value: "smtps"},
		{Field: "NoVerifyCert", Value: "true"},
		{Field: "User", Value: "anne o'brien"}, {Field: "Password"}, {Field: "LocalName", Value: "localhost"},
	}}
	const lines = "[mta]\nsmtp_host: localhost\nsmtp_port: 465\nsmtp_secure_mode: smtps\nsmtp_verify_cert: no\n" +
		"smtp_user: anne o'brien\n" +
		"# smtp_pass: as it is, or smtp_pass_file in [postrider]\n[postrider]\nlocal_name: localhost\n"
	if got := adviceLines(a); got != lines {
		t.Errorf("recommended:\n%s", got)
	}
	const flags = `--server localhost:465 --mode smtps --no-verify-cert --user 'anne o'\''brien' ` +
		`--password-file FILE --local-name localhost`
	if got := adviceFlags(a); got != flags {
		t.Errorf("recommended: %s", got)
	}
}
