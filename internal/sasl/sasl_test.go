package sasl

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	gosasl "github.com/emersion/go-sasl"
)

const secret = "wörd of h0nour"

func byPassword(user, password string) Credentials {
	return Credentials{User: user, Password: password}
}

// step is one 334 line and what must be answered; an answer of refuse is an error instead.
type step struct{ challenge, answer string }

const refuse = "\xff refuse"

func TestExchanges(t *testing.T) {
	for _, tt := range []struct {
		name       string
		mechanism  string
		user, pass string
		initial    string // "" for none
		steps      []step
	}{
		// The credentials of the Mailman test MTA: AHRlc3R1c2VyAHRlc3RwYXNz in base64.
		{"PLAIN", "PLAIN", "testuser", "testpass", "\x00testuser\x00testpass", nil},
		{"PLAIN, RFC 4616 §4", "PLAIN", "tim", "tanstaaftanstaaf", "\x00tim\x00tanstaaftanstaaf", nil},
		{"PLAIN, not ASCII", "plain", "renée", secret, "\x00ren\xc3\xa9e\x00w\xc3\xb6rd of h0nour", nil},
		{"PLAIN, initial response left out", "PLAIN", "tim", "tom", "\x00tim\x00tom",
			[]step{{"", "\x00tim\x00tom"}, {"", refuse}}},
		{"PLAIN, challenged", "PLAIN", "tim", "tom", "\x00tim\x00tom", []step{{"who?", refuse}}},

		{"LOGIN", "LOGIN", "tim", secret, "", []step{{"Username:", "tim"}, {"Password:", secret},
			{"Password:", refuse}}},
		{"LOGIN, draft-murchison", "LOGIN", "tim", "tom", "",
			[]step{{"User Name\x00", "tim"}, {"Password\x00", "tom"}}},
		{"LOGIN, without words", "LOGIN", "tim", "tom", "", []step{{"", "tim"}, {"", "tom"}}},
		{"LOGIN, in another language", "LOGIN", "tim", "tom", "", []step{{"Benutzer:", "tim"}, {"Kennwort:", "tom"}}},
		{"LOGIN, both words", "LOGIN", "tim", "tom", "",
			[]step{{"Username and password:", "tim"}, {"Password of user tim:", "tom"}}},
		{"LOGIN, password first", "LOGIN", "tim", "tom", "", []step{{"PASSWORD:", refuse}}},
		{"LOGIN, user name twice", "LOGIN", "tim", "tom", "", []step{{"Username:", "tim"}, {"username:", refuse}}},

		{"CRAM-MD5, RFC 2195 §2", "CRAM-MD5", "tim", "tanstaaftanstaaf", "", []step{
			{"<1896.697170952@postoffice.reston.mci.net>", "tim b913a602c7eda7a495b4e6e7334d3890"}, {"again", refuse}}},
		{"CRAM-MD5, no challenge", "cram-md5", "tim", "tom", "", []step{{"", refuse}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x, err := New(tt.mechanism, byPassword(tt.user, tt.pass), Peer{})
			if err != nil {
				t.Fatal(err)
			}
			initial, has, err := x.Start()
			if string(initial) != tt.initial || has != (tt.initial != "") || err != nil {
				t.Fatalf("Start() = %q, %t, %v; want %q", initial, has, err, tt.initial)
			}
			for _, s := range tt.steps {
				got, err := x.Next([]byte(s.challenge))
				if err != nil && strings.Contains(err.Error(), tt.pass) {
					t.Errorf("the error holds the password: %v", err)
				}
				if (err != nil) != (s.answer == refuse) || err == nil && string(got) != s.answer {
					t.Errorf("Next(%q) = %q, %v; want %q", s.challenge, got, err, s.answer)
				}
				if err != nil && got != nil {
					t.Errorf("Next(%q) answers %q and fails", s.challenge, got)
				}
			}
		})
	}
}

func TestPlainOfTheMailmanTestMTA(t *testing.T) {
	x, err := New(Plain, byPassword("testuser", "testpass"), Peer{})
	if err != nil {
		t.Fatal(err)
	}
	initial, _, _ := x.Start()
	if got := base64.StdEncoding.EncodeToString(initial); got != "AHRlc3R1c2VyAHRlc3RwYXNz" {
		t.Errorf("AUTH PLAIN %s", got)
	}
}

// An independent server understands what PLAIN says, with and without the initial response.
func TestPlainAgainstServer(t *testing.T) {
	for _, leaveOut := range []bool{false, true} {
		var user, pass string
		server := gosasl.NewPlainServer(func(_, u, p string) error { user, pass = u, p; return nil })
		x, _ := New(Plain, byPassword("renée", secret), Peer{})
		response, _, _ := x.Start()
		if leaveOut {
			challenge, _, _ := server.Next(nil)
			response, _ = x.Next(challenge)
		}
		if _, done, err := server.Next(response); !done || err != nil || user != "renée" || pass != secret {
			t.Errorf("left out %t: server saw %q, %q, done %t, %v", leaveOut, user, pass, done, err)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for _, tt := range []struct {
		mechanism string
		c         Credentials
		want      string
	}{
		{"GSSAPI", byPassword("tim", secret), `"GSSAPI" is not known (known: CRAM-MD5, EXTERNAL, LOGIN,`},
		{"", byPassword("tim", secret), "is not known"},
		{"PLAIN", byPassword("", secret), "user name is empty"},
		{"LOGIN", byPassword("tim", ""), "password is empty"},
		{"PLAIN", byPassword("tim\x00tom", secret), "user name contains a NUL"},
		{"CRAM-MD5", byPassword("tim", secret+"\x00"), "password contains a NUL"},
	} {
		x, err := New(tt.mechanism, tt.c, Peer{})
		if x != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("New(%q, %v) = %v, %v; want an error with %q", tt.mechanism, tt.c, x, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("the error holds the password: %v", err)
		}
	}
}

// Whatever prints credentials or what holds them, the password is not in it.
func TestPasswordIsNotPrinted(t *testing.T) {
	c := byPassword("tim", secret)
	holders := []any{c, &c, struct{ C Credentials }{c}}
	for _, mechanism := range Known() {
		c := c
		c.Token, c.Certificate = ForTokens(mechanism), mechanism == External
		x, err := New(mechanism, c, Peer{TLS: &tls.ConnectionState{
			PeerCertificates: []*x509.Certificate{{SignatureAlgorithm: x509.SHA256WithRSA}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		holders = append(holders, x, struct{ x Exchange }{x})
	}
	var out bytes.Buffer
	for _, h := range holders {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&out, verb+"\n", h)
		}
		slog.New(slog.NewTextHandler(&out, nil)).Info("m", "h", h)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "h", h)
		_ = json.NewEncoder(&out).Encode(h)
	}
	for _, form := range []string{secret, fmt.Sprintf("%q", secret)[1:9], fmt.Sprintf("%x", secret),
		fmt.Sprintf("%d", []byte(secret))} {
		for line := range strings.Lines(out.String()) {
			if strings.Contains(line, form) {
				t.Errorf("the password is printed: %s", line)
			}
		}
	}
}

func TestChoose(t *testing.T) {
	for _, tt := range []struct {
		offered, preferred []string
		want               string
	}{
		{[]string{"LOGIN", "PLAIN"}, []string{"PLAIN", "LOGIN"}, "PLAIN"},
		{[]string{"plain", "Cram-Md5"}, []string{"cram-md5", "PLAIN"}, "CRAM-MD5"},
		{[]string{"GSSAPI", "LOGIN"}, []string{"GSSAPI", "LOGIN"}, "LOGIN"}, // preferred and offered, but not known
		{[]string{"XOAUTH2"}, []string{"XOAUTH2", "PLAIN"}, ""},             // a password is no token
		{[]string{"EXTERNAL"}, []string{"EXTERNAL"}, ""},
		// nothing to bind to
		{[]string{"SCRAM-SHA-256-PLUS", "SCRAM-SHA-1"}, []string{"SCRAM-SHA-256-PLUS", "SCRAM-SHA-1"}, "SCRAM-SHA-1"},
		// a preference is a limit too
		{[]string{"PLAIN"}, []string{"CRAM-MD5"}, ""},
		{nil, []string{"PLAIN"}, ""},
		{[]string{"PLAIN"}, nil, ""},
	} {
		got, ok := Choose(tt.preferred, byPassword("tim", "tom"), Peer{Offered: tt.offered})
		if got != tt.want || ok != (tt.want != "") {
			t.Errorf("Choose(%v, %v) = %q, %t; want %q", tt.offered, tt.preferred, got, ok, tt.want)
		}
	}
}

func TestDefault(t *testing.T) {
	for _, tt := range []struct {
		c           Credentials
		proven      bool
		first, last string
	}{
		{byPassword("tim", "tom"), true, Plain, Login},
		{byPassword("tim", "tom"), false, SCRAMSHA256Plus, Login},
		{Credentials{User: "tim", Password: "tom", Token: true}, true, OAuthBearer, XOAuth2},
		{Credentials{Certificate: true}, true, External, External},
	} {
		order := Default(tt.c, tt.proven)
		if order[0] != tt.first || order[len(order)-1] != tt.last {
			t.Errorf("Default(%v, %t) = %v; want %s first, %s last", tt.c, tt.proven, order, tt.first, tt.last)
		}
		for _, name := range order {
			if tt.c.Fit(name) != nil || !slices.Contains(Known(), name) {
				t.Errorf("Default(%v, %t) has %s", tt.c, tt.proven, name)
			}
		}
		order[0] = "changed by a caller"
		if Default(tt.c, tt.proven)[0] != tt.first {
			t.Error("callers share the default order")
		}
	}
}

func TestServerWordsAreCutAndQuoted(t *testing.T) {
	x, _ := New(CRAMMD5, byPassword("tim", secret), Peer{})
	long := []byte("\x1b[2J\r\n" + strings.Repeat("x", 10_000))
	if _, err := x.Next(long); err != nil {
		t.Fatal(err)
	}
	_, err := x.Next(long)
	if err == nil || len(err.Error()) > 400 || strings.ContainsAny(err.Error(), "\x1b\r\n") {
		t.Errorf("error %v", err)
	}
}

// What is no UTF-8 goes out octet by octet, by the mechanisms that carry octets; SCRAM says why it cannot, and is not
// chosen.
func TestCredentialsThatAreNoUTF8(t *testing.T) {
	const latin = "gr\xfc\xdfe"
	for _, c := range []Credentials{byPassword("u", latin), byPassword(latin, "p"), byPassword(latin, latin)} {
		if p := c.prepared(); p != c {
			t.Errorf("%q, %q became %q, %q", c.User, c.Password, p.User, p.Password)
		}
		for _, name := range []string{SCRAMSHA1, SCRAMSHA256, "scram-sha-256-plus"} {
			if _, err := New(name, c, underTLS12()); err == nil || !strings.Contains(err.Error(), "not valid UTF-8") ||
				strings.Contains(err.Error(), latin) {
				t.Errorf("%s: %v", name, err)
			}
		}
		offered := Peer{Offered: []string{SCRAMSHA256, Login, Plain}}
		if name, _ := Choose(Default(c, false), c, offered); name != Plain {
			t.Errorf("chose %s", name)
		}
		offered.Offered = offered.Offered[:1]
		if _, ok := Choose(Default(c, false), c, offered); ok || Why(Default(c, false), c, offered) == nil {
			t.Errorf("%t, %v", ok, Why(Default(c, false), c, offered))
		}
	}
	if p := byPassword("u", "rene\u0301e").prepared(); p.Password != "ren\u00e9e" {
		t.Errorf("%q", p.Password)
	}
	token := Credentials{User: "u", Password: latin, Token: true}
	x, _ := New(XOAuth2, token, Peer{})
	if m, _, _ := x.Start(); string(m) != "user=u\x01auth=Bearer "+latin+"\x01\x01" {
		t.Errorf("%q", m)
	}
}

// A challenge that no mechanism answers may repeat what the server was told.
func TestChallengesThatRepeatTheSecret(t *testing.T) {
	for _, mechanism := range []string{Plain, Login, CRAMMD5, SCRAMSHA256} {
		x, err := New(mechanism, byPassword("u", "hunter2222"), Peer{})
		if err != nil {
			t.Fatal(err)
		}
		_, _, _ = x.Start()
		for range 4 {
			_, err = x.Next([]byte("e=hunter2222 is no password"))
		}
		if err == nil || strings.Contains(err.Error(), "hunter2222") {
			t.Errorf("%s: %v", mechanism, err)
		}
	}
}

// A password that is still to come is enough to choose a mechanism, but not to log in.
func TestAPasswordThatComesLater(t *testing.T) {
	later := Credentials{Later: true}
	if got, ok := Choose(Default(later, true), later, Peer{Offered: []string{Login, External, Plain}}); !ok ||
		got != Plain {
		t.Errorf("%q, %t", got, ok)
	}
	if got, ok := Choose([]string{XOAuth2, External}, later, Peer{Offered: []string{XOAuth2, External}}); ok {
		t.Errorf("%q", got)
	}
	if _, err := New(Plain, Credentials{User: "anne", Later: true}, Peer{}); err == nil {
		t.Error("there is no password, and it is used")
	}
}
