package smtptest_test

import (
	"crypto/hmac"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/smtp"
	"slices"
	"strings"
	"testing"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/smtptest"
)

func withUser(s *smtptest.Server) {
	s.Listener = smtptest.InMemory("localhost:25")
	s.Users = map[string]string{"testuser": "testpass"}
}

// b64 writes what stands between the braces of a dialogue in base64.
func b64(dialogue string) string {
	for {
		before, rest, ok := strings.Cut(dialogue, "{")
		if !ok {
			return dialogue
		}
		plain, after, _ := strings.Cut(rest, "}")
		dialogue = before + base64.StdEncoding.EncodeToString([]byte(plain)) + after
	}
}

// docs/parity.md, facts 12 and 33, and RFC 4954 §4 and §6.
//
// Facts 33, 34
func TestAuth(t *testing.T) {
	const good = "AHRlc3R1c2VyAHRlc3RwYXNz" // fact 12 of docs/parity.md
	for name, tc := range map[string]struct {
		dialogue string
		want     []string // Credentials
	}{
		"PLAIN with initial response": {"C: AUTH PLAIN " + good + "\nS: 235 2.7.0", []string{good}},
		"PLAIN in any case":           {"C: auth plain " + good + "\nS: 235", []string{good}},
		"PLAIN in two steps":          {"C: AUTH PLAIN\nS: 334 \nC: " + good + "\nS: 235", []string{good}},
		"PLAIN for oneself": {"C: AUTH PLAIN {testuser\x00testuser\x00testpass}\nS: 235",
			[]string{b64("{testuser\x00testuser\x00testpass}")}},
		"PLAIN for another":            {"C: AUTH PLAIN {root\x00testuser\x00testpass}\nS: 535", nil},
		"PLAIN with a wrong password":  {"C: AUTH PLAIN {\x00testuser\x00wrong}\nS: 535 5.7.8", nil},
		"PLAIN with a wrong user":      {"C: AUTH PLAIN {\x00nobody\x00testpass}\nS: 535", nil},
		"PLAIN with an empty response": {"C: AUTH PLAIN =\nS: 535", nil},
		"PLAIN with too few parts":     {"C: AUTH PLAIN {\x00testuser}\nS: 535", nil},
		"LOGIN": {"C: AUTH LOGIN\nS: 334 {Username:}\nC: {testuser}\nS: 334 {Password:}\n" +
			"C: {testpass}\nS: 235", []string{b64("{testuser} {testpass}")}},
		"LOGIN with the user at once": {"C: AUTH LOGIN {testuser}\nS: 334 {Password:}\nC: {testpass}\nS: 235",
			[]string{b64("{testuser} {testpass}")}},
		"LOGIN with a wrong password":    {"C: AUTH LOGIN {testuser}\nS: 334\nC: {wrong}\nS: 535", nil},
		"CRAM-MD5 has no first response": {"C: AUTH CRAM-MD5 {x}\nS: 501", nil},
		"CRAM-MD5 with a wrong digest":   {"C: AUTH CRAM-MD5\nS: 334\nC: {testuser 0123}\nS: 535", nil},
		"given up":                       {"C: AUTH PLAIN\nS: 334\nC: *\nS: 501 5.7.0\nC: NOOP\nS: 250", nil},
		"not base64":                     {"C: AUTH PLAIN ~~~\nS: 501 5.5.2\nC: AUTH PLAIN\nS: 334\nC: ~\nS: 501", nil},
		"no mechanism":                   {"C: AUTH\nS: 501", nil},
		"unknown mechanism":              {"C: AUTH GSSAPI\nS: 504 5.5.4", nil},
		"twice": {"C: AUTH PLAIN " + good + "\nS: 235\nC: AUTH PLAIN " + good + "\nS: 503",
			[]string{good}},
		"again after a refusal": {"C: AUTH PLAIN {x}\nS: 535\nC: AUTH PLAIN " + good + "\nS: 235",
			[]string{good}},
		"inside a transaction": {"C: MAIL FROM:<>\nS: 250\nC: AUTH PLAIN " + good + "\nS: 503", nil},
		"after HELO":           {"C: HELO client.example\nS: 250\nC: AUTH PLAIN " + good + "\nS: 503", nil},
		"a long response": {"C: AUTH PLAIN\nS: 334\nC: {" + strings.Repeat("x", 9000) + "}\nS: 535",
			nil},
		"a response too long": {"C: AUTH PLAIN\nS: 334\nC: {" + strings.Repeat("x", 9300) +
			"}\nS: 500\nC: NOOP\nS: 250", nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, withUser)
			c := dial(t, s)
			c.talk(begun + b64(tc.dialogue))
			if got := s.Credentials(); !slices.Equal(got, tc.want) {
				t.Errorf("credentials %q, want %q", got, tc.want)
			}
			if said := s.Transcript(1); strings.Contains(said, good) || strings.Contains(said, b64("{testpass}")) {
				t.Errorf("the transcript has the password:\n%s", said)
			}
		})
	}
}

// CRAM-MD5 is checked against RFC 2195's formula and the standard library.
func TestCRAMMD5(t *testing.T) {
	s := start(t, withUser)
	c := dial(t, s)
	c.talk(begun + "C: AUTH CRAM-MD5")
	challenge, _ := c.reply()
	text, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(challenge, "334 "))
	if err != nil {
		t.Fatalf("challenge %q", challenge)
	}
	h := hmac.New(md5.New, []byte("testpass"))
	h.Write(text)
	response := b64("{testuser " + hex.EncodeToString(h.Sum(nil)) + "}")
	c.say(response)
	c.expect("235")
	if got := s.Credentials(); !slices.Equal(got, []string{response}) {
		t.Errorf("credentials %q, want %q", got, response)
	}
	if err := connect(t, s).Auth(smtp.CRAMMD5Auth("testuser", "testpass")); err != nil {
		t.Errorf("net/smtp: %v", err)
	}
	if err := connect(t, s).Auth(smtp.CRAMMD5Auth("testuser", "wrong")); err == nil {
		t.Error("net/smtp with a wrong password was let in")
	}
}

// What is offered is what Mechanisms says, and nothing else is taken.
func TestMechanisms(t *testing.T) {
	s := start(t, func(s *smtptest.Server) {
		withUser(s)
		s.Extensions = smtptest.Extensions{}
		s.Mechanisms = []string{"login"}
	})
	c := dial(t, s)
	c.talk("S: 220\nC: EHLO client.example\nS: 250-localhost / 250 AUTH LOGIN\n" +
		"C: AUTH PLAIN AHRlc3R1c2VyAHRlc3RwYXNz\nS: 504")
}

// RequireAuth is about MAIL (RFC 4954 §6: 530), and AUTH is then a parameter too.
func TestRequireAuth(t *testing.T) {
	s := start(t, func(s *smtptest.Server) {
		withUser(s)
		s.RequireAuth = true
	})
	c := dial(t, s)
	c.talk(begun + "C: MAIL FROM:<>\nS: 530 5.7.0\nC: AUTH PLAIN AHRlc3R1c2VyAHRlc3RwYXNz\nS: 235\n" +
		"C: MAIL FROM:<> AUTH=<>\nS: 250")
}

// With STARTTLS, AUTH is neither offered nor taken in the clear, and who had
// authenticated is unknown after it.
func TestAuthNeedsTLS(t *testing.T) {
	s := start(t, func(s *smtptest.Server) {
		withUser(s)
		s.Mode = postrider.StartTLS
		s.BeforeTLS = &smtptest.Extensions{Lines: []string{"XCLEAR"}}
	})
	c := dial(t, s)
	c.talk("S: 220\nC: EHLO client.example\nS: 250-localhost / 250-STARTTLS / 250 XCLEAR\n" +
		"C: AUTH PLAIN AHRlc3R1c2VyAHRlc3RwYXNz\nS: 538 ")
	if got := fmt.Sprint(s.Credentials()); got != "[]" {
		t.Errorf("credentials %s", got)
	}
	c.talk("C: STARTTLS\nS: 220")
	c.upgrade(s).talk("C: EHLO client.example\n" +
		"S: 250-localhost / 250-PIPELINING / 250-CHUNKING / 250-SIZE 67108864 / 250-8BITMIME / 250-SMTPUTF8 / 250-DSN" +
		" / 250-ENHANCEDSTATUSCODES / 250-REQUIRETLS / 250 AUTH PLAIN LOGIN CRAM-MD5\n" +
		"C: AUTH PLAIN AHRlc3R1c2VyAHRlc3RwYXNz\nS: 235")
}
