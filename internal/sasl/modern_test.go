package sasl

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/xdg-go/scram"
)

// The examples of RFC 5802 §5 and RFC 7677 §3.
func TestSCRAMVectors(t *testing.T) {
	for _, tt := range []struct{ mechanism, nonce, first, server, proof, final string }{
		{SCRAMSHA1, "fyko+d2lbbFgONRv9qkxdawL", "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
			"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
			"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
			"v=rmF9pqV8S7suAoZWja4dJRkFsKQ="},
		{SCRAMSHA256, "rOprNGfwEbeRWgbNEkqO", "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
			"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
			"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0," +
				"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
			"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="},
	} {
		x, err := newSCRAM(tt.mechanism, byPassword("user", "pencil"), Peer{}, func() string { return tt.nonce })
		if err != nil {
			t.Fatal(err)
		}
		first, _, _ := x.Start()
		again, _ := x.Next(nil) // an overlooked initial response
		proof, err := x.Next([]byte(tt.server))
		if string(first) != tt.first || string(again) != tt.first || string(proof) != tt.proof || err != nil {
			t.Errorf("%s: %q, %q, %q, %v", tt.mechanism, first, again, proof, err)
		}
		if err := x.Verdict(true); !errors.Is(err, ErrUnproven) {
			t.Errorf("%s: a 235 before the server's proof: %v", tt.mechanism, err)
		}
		if last, err := x.Next([]byte(tt.final)); len(last) > 0 || err != nil || x.Verdict(true) != nil {
			t.Errorf("%s: the end: %q, %v, %v", tt.mechanism, last, err, x.Verdict(true))
		}
	}
}

// underTLS12 is a peer whose binding is tls-server-end-point.
func underTLS12(offered ...string) Peer {
	cert := &x509.Certificate{Raw: []byte("a certificate"), SignatureAlgorithm: x509.ECDSAWithSHA384}
	return Peer{TLS: &tls.ConnectionState{Version: tls.VersionTLS12, PeerCertificates: []*x509.Certificate{cert}},
		Offered: offered}
}

// An independent server takes what we say, in each way of binding; one that knows -PLUS does not take our word that it
// does not.
func TestSCRAMAgainstServer(t *testing.T) {
	stripped := underTLS12(SCRAMSHA256)
	for _, tt := range []struct {
		name, mechanism string
		client, server  Peer
		gs2             string
		refused         bool
	}{
		{"clear", SCRAMSHA256, Peer{}, Peer{}, "n,", false},
		{"bound", SCRAMSHA256Plus, underTLS12(SCRAMSHA256Plus, SCRAMSHA256), underTLS12(), "p=tls-server-end-point,",
			false},
		{"not wanted", SCRAMSHA1, underTLS12(SCRAMSHA1, "scram-sha-1-plus"), underTLS12(), "n,", false},
		{"not offered", SCRAMSHA256, stripped, Peer{}, "y,", false},
		{"offer stripped", SCRAMSHA256, stripped, underTLS12(), "y,", true},
	} {
		for _, password := range []string{secret, "I\u00adX", "smile \U0001f600"} { // RFC 4013 §3: the second is IX
			hash := scram.SHA256
			if tt.mechanism == SCRAMSHA1 {
				hash = scram.SHA1
			}
			server, _ := hash.NewServer(func(user string) (scram.StoredCredentials, error) {
				stored, err := scramClient(tt.mechanism, byPassword(user, strings.ReplaceAll(password, "\u00ad", "")))
				if user != "ren\u00e9e" || err != nil {
					return scram.StoredCredentials{}, fmt.Errorf("user %q, %v", user, err)
				}
				return stored.GetStoredCredentialsWithError(scram.KeyFactors{Salt: "salt", Iters: 4096})
			})
			talk := server.NewConversation()
			if b, possible := tt.server.binding(); possible {
				talk = server.NewConversationWithChannelBinding(b)
			}
			x, err := New(tt.mechanism, byPassword("rene\u0301e", password), tt.client)
			if err != nil {
				t.Fatal(err)
			}
			message, _, _ := x.Start()
			if !strings.HasPrefix(string(message), tt.gs2) {
				t.Errorf("%s: %q", tt.name, message)
			}
			for err == nil && !talk.Done() {
				var challenge string
				if challenge, err = talk.Step(string(message)); err == nil {
					message, err = x.Next([]byte(challenge))
				}
			}
			if refused := err != nil || x.Verdict(true) != nil; refused != tt.refused {
				t.Errorf("%s, %q: %v, %v", tt.name, password, err, x.Verdict(true))
			}
		}
	}
}

// What a server must not do to us: take another's nonce, ask for hours of work or for too little, prove nothing.
func TestSCRAMBadServers(t *testing.T) {
	for name, challenges := range map[string][]string{
		"nonce":         {"r=other,s=QSXCR+Q6sek8bf92,i=4096"},
		"weak":          {"r=nonce1,s=QSXCR+Q6sek8bf92,i=1"},
		"endless":       {"r=nonce1,s=QSXCR+Q6sek8bf92,i=2000000000"},
		"more than int": {"r=nonce1,s=QSXCR+Q6sek8bf92,i=99999999999999999999"},
		"garbage":       {"\x00\r\n" + strings.Repeat("x", 5000)},
		"error":         {"r=nonce1,s=QSXCR+Q6sek8bf92,i=4096", "e=invalid-proof"},
		"bad proof":     {"r=nonce1,s=QSXCR+Q6sek8bf92,i=4096", "v=rmF9pqV8S7suAoZWja4dJRkFsKQ="},
		"more":          {"r=nonce1,s=QSXCR+Q6sek8bf92,i=4096", "v=AAAA", "v=AAAA"},
	} {
		x, err := newSCRAM(SCRAMSHA256, byPassword("user", secret), Peer{}, func() string { return "nonce" })
		if err != nil {
			t.Fatal(err)
		}
		_, _, _ = x.Start()
		for _, c := range challenges {
			_, err = x.Next([]byte(c))
		}
		if err == nil || len(err.Error()) > 400 || strings.ContainsAny(err.Error(), "\x00\r\n") ||
			strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v", name, err)
		}
		if x.Verdict(true) == nil || x.Verdict(false) != nil {
			t.Errorf("%s: the server is believed", name)
		}
	}
}

// The message of RFC 7628 §4.1 and Google's example; and how a refusal is acknowledged and told.
func TestOAuth(t *testing.T) {
	const token = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="
	peer := Peer{Host: "server.example.com", Port: "143"}
	c := Credentials{User: "user@example.com", Password: token, Token: true}
	for mechanism, want := range map[string][2]string{
		OAuthBearer: {"n,a=user@example.com,\x01host=server.example.com\x01port=143\x01auth=Bearer " + token +
			"\x01\x01", "\x01"},
		XOAuth2: {"user=user@example.com\x01auth=Bearer " + token + "\x01\x01", ""},
	} {
		x, err := New(mechanism, c, peer)
		if err != nil {
			t.Fatal(err)
		}
		initial, has, _ := x.Start()
		again, err := x.Next(nil)
		if string(initial) != want[0] || string(again) != want[0] || !has || err != nil || x.Verdict(true) != nil ||
			x.Verdict(false) != nil {
			t.Errorf("%s: %q, %q, %v", mechanism, initial, again, err)
		}
		document := `{"status":"invalid_token","scope":"` + token + "\"}\r\n" + strings.Repeat("x", 5000)
		if ack, err := x.Next([]byte(document)); string(ack) != want[1] || err != nil {
			t.Errorf("%s acknowledges by %q, %v", mechanism, ack, err)
		}
		err = x.Verdict(false)
		if !errors.Is(err, ErrToken) || !strings.Contains(err.Error(), "invalid_token") || len(err.Error()) > 400 ||
			strings.ContainsAny(err.Error(), "\r\n") || strings.Contains(err.Error(), token) || x.Verdict(true) == nil {
			t.Errorf("%s: %v", mechanism, err)
		}
		if _, err := x.Next([]byte("more")); err == nil {
			t.Errorf("%s answers for ever", mechanism)
		}
	}
	x, _ := New(OAuthBearer, Credentials{User: "a=b,c", Password: "t", Token: true}, Peer{})
	if m, _, _ := x.Start(); string(m) != "n,a=a=3Db=2Cc,\x01auth=Bearer t\x01\x01" {
		t.Errorf("%q", m)
	}
	if err := (Credentials{User: "u", Password: "t\x01auth=x", Token: true}).Check(); err == nil {
		t.Error("a token may divide the message")
	}
}

func TestExternal(t *testing.T) {
	for _, user := range []string{"", "tim"} {
		x, err := New(External, Credentials{User: user, Certificate: true}, Peer{})
		if err != nil {
			t.Fatal(err)
		}
		initial, has, _ := x.Start()
		again, err := x.Next(nil)
		if string(initial) != user || !has || string(again) != user || err != nil || x.Verdict(true) != nil {
			t.Errorf("%q: %q, %q, %v", user, initial, again, err)
		}
		if _, err := x.Next(nil); err == nil {
			t.Error("EXTERNAL answers for ever")
		}
	}
}

// Credentials of one kind are never sent as those of another.
func TestKindsOfCredentials(t *testing.T) {
	for _, c := range []Credentials{byPassword("u", "p"), {User: "u", Password: "p", Token: true},
		{Certificate: true}} {
		for _, mechanism := range Known() {
			want := !c.Token && c.Password != ""
			switch mechanism {
			case External:
				want = c.Certificate
			case XOAuth2, OAuthBearer:
				want = c.Token
			}
			if _, err := New(mechanism, c, underTLS12()); (err == nil) != want {
				t.Errorf("%s with %+v (token %t): %v", mechanism, c, c.Token, err)
			}
		}
	}
}

// What a server repeats is hidden, as it stands and in base64, and in the form that it was sent in.
func TestHide(t *testing.T) {
	for _, tt := range []struct{ password, said, want string }{
		{"sesame", "no, sesame is wrong", "no, ******** is wrong"},
		{"sesame", "AHUAc2VzYW1l and c2VzYW1l", "AHUA******** and ********"},
		{"rene\u0301e", "ren\u00e9e is wrong", "******** is wrong"},
		{"is", "this is wrong", "this is wrong"},
		{"", "wrong", "wrong"},
	} {
		if got := byPassword("u", tt.password).Hide(tt.said); got != tt.want {
			t.Errorf("%q: %q; want %q", tt.password, got, tt.want)
		}
	}
}
