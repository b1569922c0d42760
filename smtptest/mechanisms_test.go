package smtptest_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/xdg-go/scram"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/smtptest"
)

// offering is a server with one user and these mechanisms.
func offering(mechanisms ...string) func(*smtptest.Server) {
	return func(s *smtptest.Server) { withUser(s); s.Mechanisms = mechanisms }
}

// OAUTHBEARER and XOAUTH2: RFC 7628 §3.1, §3.2.2 and §3.2.3, and Google's page. A
// refusal is a document, which is acknowledged before the 535 comes.
func TestOAuth(t *testing.T) {
	const document = `{"status":"invalid_token","schemes":"bearer"}`
	for name, dialogue := range map[string]string{
		"XOAUTH2": "C: AUTH XOAUTH2 {user=testuser\x01auth=Bearer testpass\x01\x01}\nS: 235",
		"XOAUTH2 in two steps": "C: AUTH XOAUTH2\nS: 334 \n" +
			"C: {user=testuser\x01auth=Bearer testpass\x01\x01}\nS: 235",
		"XOAUTH2 refused": "C: AUTH XOAUTH2 {user=testuser\x01auth=Bearer stale\x01\x01}\nS: 334 {" + "DOC" +
			"}\nC: \nS: 535 5.7.8\nC: NOOP\nS: 250",
		"XOAUTH2 without its end": "C: AUTH XOAUTH2 {user=testuser\x01auth=Bearer testpass\x01}\nS: 334 {DOC}\n" +
			"C: *\nS: 501",
		"OAUTHBEARER": "C: AUTH OAUTHBEARER " +
			"{n,a=testuser,\x01host=localhost\x01port=25\x01auth=Bearer testpass\x01\x01}\nS: 235",
		"OAUTHBEARER without a host": "C: AUTH OAUTHBEARER {n,a=testuser,\x01auth=Bearer testpass\x01\x01}\nS: 235",
		"OAUTHBEARER refused": "C: AUTH OAUTHBEARER {n,a=testuser,\x01auth=Bearer stale\x01\x01}\n" +
			"S: 334 {DOC}\nC: {\x01}\nS: 535 5.7.8",
		"OAUTHBEARER without a name": "C: AUTH OAUTHBEARER {n,,\x01auth=Bearer testpass\x01\x01}\nS: 334 {DOC}\n" +
			"C: {\x01}\nS: 535",
		"a password is not a token": "C: AUTH PLAIN {\x00testuser\x00testpass}\nS: 504",
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, start(t, offering("XOAUTH2", "OAUTHBEARER")))
			encoded := base64.StdEncoding.EncodeToString([]byte(document)) // it has braces of its own
			c.talk(begun + strings.ReplaceAll(b64(strings.ReplaceAll(dialogue, "{DOC}", "DOC")), "DOC", encoded))
		})
	}
}

// The document can be chosen.
func TestOAuthRefusal(t *testing.T) {
	c := dial(t, start(t, func(s *smtptest.Server) { offering("XOAUTH2")(s); s.OAuthRefusal = "no" }))
	c.talk(begun + b64("C: AUTH XOAUTH2 {x}\nS: 334 {no}\nC: \nS: 535"))
}

// scramTalk authenticates with an independent client, and reports how it ended.
func scramTalk(
	t *testing.T, c *raw, mechanism, password string, binding *scram.ChannelBinding,
) (final string, proven bool) {
	t.Helper()
	hash := scram.SHA256
	if strings.HasPrefix(mechanism, "SCRAM-SHA-1") {
		hash = scram.SHA1
	}
	client, err := hash.NewClient("testuser", password, "")
	if err != nil {
		t.Fatal(err)
	}
	talk := client.NewConversation()
	if binding != nil {
		talk = client.NewConversationWithChannelBinding(*binding)
	}
	said, _ := talk.Step("")
	c.say("AUTH " + mechanism + " " + base64.StdEncoding.EncodeToString([]byte(said)))
	for {
		reply, _ := c.reply()
		encoded, more := strings.CutPrefix(reply, "334 ")
		if !more {
			return reply, talk.Done() && talk.Valid()
		}
		challenge, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
		if err != nil {
			t.Fatalf("challenge %q", reply)
		}
		if said, err = talk.Step(string(challenge)); err != nil {
			c.say("*")
			continue
		}
		c.say(base64.StdEncoding.EncodeToString([]byte(said)))
	}
}

// RFC 5802 and 7677, in the clear: the server proves that it knows the password, and
// -PLUS has nothing to bind to.
func TestSCRAM(t *testing.T) {
	for _, mechanism := range []string{"SCRAM-SHA-256", "SCRAM-SHA-1"} {
		s := start(t, offering(mechanism, mechanism+"-PLUS"))
		c := dial(t, s)
		c.talk("S: 220\nC: EHLO client.example")
		if offer, _ := c.reply(); strings.Contains(offer, "PLUS") || !strings.Contains(offer, "AUTH "+mechanism) {
			t.Errorf("in the clear it offers %q", offer)
		}
		if final, _ := scramTalk(t, c, mechanism, "wrong", nil); !strings.HasPrefix(final, "535") {
			t.Errorf("%s with a wrong password: %q", mechanism, final)
		}
		if final, proven := scramTalk(t, c, mechanism, "testpass", nil); !strings.HasPrefix(final, "235") || !proven {
			t.Errorf("%s: %q, proven %t", mechanism, final, proven)
		}
	}
}

// Under TLS -PLUS binds by RFC 9266 and by RFC 5929, and another connection's
// binding is refused: that is what it is for.
func TestSCRAMPlus(t *testing.T) {
	foreign := scram.ChannelBinding{Type: scram.ChannelBindingTLSExporter, Data: []byte("another connection's")}
	for name, tc := range map[string]struct {
		binding func(*tls.ConnectionState) (scram.ChannelBinding, error)
		want    string
	}{
		"tls-exporter": {scram.NewTLSExporterBinding, "235"},
		"tls-server-end-point": {func(cs *tls.ConnectionState) (scram.ChannelBinding, error) {
			return scram.NewTLSServerEndpointBinding(cs)
		}, "235"},
		"another connection's": {func(*tls.ConnectionState) (scram.ChannelBinding, error) { return foreign, nil },
			"535"},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, func(s *smtptest.Server) { offering("SCRAM-SHA-256-PLUS")(s); s.Mode = postrider.StartTLS })
			c := dial(t, s)
			c.talk("S: 220\nC: STARTTLS\nS: 220")
			c = c.upgrade(s)
			c.talk("C: EHLO client.example\nS: 250")
			state := c.Conn.(*tls.Conn).ConnectionState()
			binding, err := tc.binding(&state)
			if err != nil {
				t.Fatal(err)
			}
			final, proven := scramTalk(t, c, "SCRAM-SHA-256-PLUS", "testpass", &binding)
			if !strings.HasPrefix(final, tc.want) || proven != (tc.want == "235") {
				t.Errorf("%q, proven %t", final, proven)
			}
		})
	}
}

// EXTERNAL, RFC 4422 Appendix A: who the certificate names, and nobody else.
func TestEXTERNAL(t *testing.T) {
	for name, tc := range map[string]struct{ certificate, dialogue string }{
		"for oneself":     {"testuser", "C: AUTH EXTERNAL =\nS: 235"},
		"in two steps":    {"testuser", "C: AUTH EXTERNAL\nS: 334 \nC: \nS: 235"},
		"by name":         {"testuser", "C: AUTH EXTERNAL {testuser}\nS: 235"},
		"for another":     {"testuser", "C: AUTH EXTERNAL {root}\nS: 535"},
		"an unknown name": {"nobody", "C: AUTH EXTERNAL =\nS: 535"},
		"no certificate":  {"", "C: AUTH EXTERNAL =\nS: 535"},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, func(s *smtptest.Server) {
				offering("EXTERNAL")(s)
				s.Mode, s.TLS = postrider.StartTLS, &tls.Config{ClientAuth: tls.RequestClientCert}
			})
			c := dial(t, s)
			c.talk("S: 220\nC: STARTTLS\nS: 220")
			c = c.upgrade(s, certificateFor(t, tc.certificate)...)
			c.talk("C: EHLO client.example\nS: 250\n" + b64(tc.dialogue))
		})
	}
	t.Run("in the clear", func(t *testing.T) {
		dial(t, start(t, offering("EXTERNAL"))).talk(begun + "C: AUTH EXTERNAL =\nS: 535")
	})
}

// certificateFor is a self-signed certificate; none for no name.
func certificateFor(t *testing.T, name string) []tls.Certificate {
	t.Helper()
	if name == "" {
		return nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name},
		NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}
}
