package config_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/postrider/postrider/config"
	"github.com/postrider/postrider/internal/hint"
)

// Every setting that a hint names has a key.
func TestHintsHaveKeys(t *testing.T) {
	for _, field := range hint.Fields() {
		if len(config.Lines(field, "")) == 0 {
			t.Errorf("no key sets %s", field)
		}
	}
	if got := config.Setting("Dial", ""); got != "Config.Dial" || config.Lines("Dial", "x") != nil ||
		config.Lines("Timeouts.Lunch", "1s") != nil {
		t.Errorf("a field without a key: %q", got)
	}
}

// What Lines writes has the effect that it says.
func TestLinesSetTheirField(t *testing.T) {
	for _, tt := range []struct{ field, value, want string }{
		{"Address", "mx.example.com:587", "mx.example.com:587"},
		{"Address", "[::1]:25", "[::1]:25"},
		{"Address", "unix:/run/mta", "unix:/run/mta"},
		{"AllowPlaintextAuth", "true", "true"},
		{"AllowPlaintextAuth", "false", "false"},
		{"AuthMechanisms", "PLAIN LOGIN", "[PLAIN LOGIN]"},
		{"AuthRetryAfter", "7s", "7s"},
		{"CAFile", "/ca.pem", "/ca.pem"},
		{"ClientCert", "/cert.pem", "/cert.pem"},
		{"ClientKey", "/key.pem", "/key.pem"},
		{"IdleTimeout", "45s", "45s"},
		{"LocalName", "client.example.com", "client.example.com"},
		{"MaxAge", "3m", "3m0s"},
		{"MaxRecipients", "7", "7"},
		{"MaxTransactions", "7", "7"},
		{"Mode", "starttls", "starttls"},
		{"NoVerifyCert", "true", "true"},
		{"NoVerifyCert", "false", "false"},
		{"NoVerifyHostname", "true", "true"},
		{"Password", "hunter2", "********"},
		{"Pins", "ab", "[ab]"},
		{"ProbeAfter", "7s", "7s"},
		{"ServerName", "mx.example.com", "mx.example.com"},
		{"Timeouts.Connect", "7s", "7s"},
		{"Timeouts.Final", "7s", "7s"},
		{"Timeouts.TLS", "7s", "7s"},
		{"User", "anne", "anne"},
		{"Window", "7", "7"},
		{"WindowOctets", "7", "7"},
	} {
		text := "[mta]\nsmtp_user: somebody\n"
		for _, l := range config.Lines(tt.field, tt.value) {
			text += fmt.Sprintf("[%s]\n%s: %s\n", l.Section, l.Key, l.Value)
		}
		c, err := config.Parse("test", text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		cfg, err := c.MTA(t.Context())
		if err != nil {
			t.Errorf("%s: %v", text, err)
		}
		got := reflect.ValueOf(cfg)
		for name := range strings.SplitSeq(tt.field, ".") {
			got = got.FieldByName(name)
		}
		if fmt.Sprint(got.Interface()) != tt.want {
			t.Errorf("%s is %v:\n%s", tt.field, got.Interface(), text)
		}
	}
}

func TestSetting(t *testing.T) {
	for _, tt := range [][3]string{
		{"Mode", "starttls", "smtp_secure_mode: starttls"},
		{"CAFile", "", "[postrider] ca_file"},
		{"Address", "", "smtp_host and smtp_port"},
		{"Address", "127.0.0.1:2525", "smtp_host: 127.0.0.1, smtp_port: 2525"},
		{"NoVerifyCert", "true", "smtp_verify_cert: no"},
		{"NoVerifyHostname", "", "smtp_verify_hostname"},
		{"Timeouts.Greeting", "", "[postrider] timeout_greeting"},
	} {
		if got := config.Setting(tt[0], tt[1]); got != tt[2] {
			t.Errorf("%s, %q: %q; want %q", tt[0], tt[1], got, tt[2])
		}
	}
}
