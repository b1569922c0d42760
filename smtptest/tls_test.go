package smtptest_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/smtptest"
)

// trusting returns the TLS configuration of a client that wants host.
func trusting(s *smtptest.Server, host string) *tls.Config {
	config := s.Config().TLS.Clone()
	config.ServerName = host
	return config
}

// upgrade does a STARTTLS whose 220 is due, showing own if the server asks.
func (c *raw) upgrade(s *smtptest.Server, own ...tls.Certificate) *raw {
	c.Helper()
	cfg := trusting(s, "localhost")
	cfg.Certificates = own
	tc := tls.Client(c.Conn, cfg)
	if err := tc.Handshake(); err != nil {
		c.Fatal(err)
	}
	return newRaw(c.TB, tc)
}

// Each kind of certificate fails in its own way, or not at all; in a bubble, too,
// where it is the year 2000.
//
// Facts 29, 40
func TestCertificates(t *testing.T) {
	handshake := func(t *testing.T, kind smtptest.Certificate, host string) error {
		s := start(t, func(s *smtptest.Server) {
			s.Listener, s.Mode, s.Certificate = smtptest.InMemory("localhost:465"), postrider.ImplicitTLS, kind
		})
		defer s.Close()
		c := tls.Client(dial(t, s).Conn, trusting(s, host))
		defer c.Close()
		return c.Handshake()
	}
	invalid := func(reason x509.InvalidReason) func(error) bool {
		return func(err error) bool {
			var e x509.CertificateInvalidError
			return errors.As(err, &e) && e.Reason == reason
		}
	}
	wrongName := func(err error) bool { return errors.As(err, new(x509.HostnameError)) }
	unknown := func(err error) bool { return errors.As(err, new(x509.UnknownAuthorityError)) }
	good := func(err error) bool { return err == nil }
	for _, tc := range []struct {
		kind smtptest.Certificate
		host string
		want func(error) bool
	}{
		{smtptest.CertGood, "localhost", good},
		{smtptest.CertGood, "127.0.0.1", good},
		{smtptest.CertGood, "::1", good},
		{smtptest.CertGood, "example.com", good},
		{smtptest.CertGood, "example.org", wrongName},
		{smtptest.CertExpired, "localhost", invalid(x509.Expired)},
		{smtptest.CertWrongHost, "localhost", wrongName},
		{smtptest.CertWrongHost, "wrong.example.net", good},
		{smtptest.CertUnknownCA, "localhost", unknown},
		{smtptest.CertSelfSigned, "localhost", unknown},
		{smtptest.CertNoIntermediate, "localhost", unknown},
		{smtptest.CertNameOnly, "localhost",
			func(err error) bool { return wrongName(err) && strings.Contains(err.Error(), "Common Name") }},
	} {
		if err := handshake(t, tc.kind, tc.host); !tc.want(err) {
			t.Errorf("certificate %d for %s: %v", tc.kind, tc.host, err)
		}
		synctest.Test(t, func(t *testing.T) {
			if err := handshake(t, tc.kind, tc.host); !tc.want(err) {
				t.Errorf("in a bubble, certificate %d for %s: %v", tc.kind, tc.host, err)
			}
		})
	}
}

// CAPEM is what other clients need to trust the server.
func TestCAPEM(t *testing.T) {
	s := start(t, func(s *smtptest.Server) { s.Mode = postrider.ImplicitTLS })
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(s.CAPEM()) {
		t.Fatal("no certificate in it")
	}
	if c, err := tls.Dial("tcp", s.Addr, &tls.Config{RootCAs: pool}); err != nil {
		t.Error(err)
	} else {
		c.Close()
	}
}

// The field TLS sets versions and client certificates.
func TestTLSBase(t *testing.T) {
	s := start(t, func(s *smtptest.Server) {
		s.Mode, s.TLS = postrider.ImplicitTLS, &tls.Config{MaxVersion: tls.VersionTLS12}
	})
	c := tls.Client(dial(t, s).Conn, trusting(s, "localhost"))
	if err := c.Handshake(); err != nil || c.ConnectionState().Version != tls.VersionTLS12 {
		t.Errorf("version %x, %v", c.ConnectionState().Version, err)
	}
}

// RFC 3207 §4.2: what was learnt in the clear is forgotten; §6: so is what stood
// behind STARTTLS, which may be an attacker's.
func TestStartTLSForgets(t *testing.T) {
	s := start(t, func(s *smtptest.Server) { s.Mode = postrider.StartTLS })
	c := dial(t, s)
	c.talk(begun + "C: STARTTLS now\nS: 501\nC: MAIL FROM:<mallory@example.com>\nS: 250\n" +
		"C: RCPT TO:<b@example.com>\nS: 250")
	c.send("STARTTLS\r\nEHLO mallory.example\r\nMAIL FROM:<mallory@example.com>\r\n")
	c.expect("220 2.0.0")
	c = c.upgrade(s)
	c.talk("C: MAIL FROM:<anne@example.com>\nS: 503 5.5.1 Send EHLO first\nC: DATA\nS: 503 5.5.1 Need MAIL")
	c.talk("C: EHLO client.example\nS: 250-localhost\nC: STARTTLS\nS: 503\n" +
		"C: MAIL FROM:<anne@example.com> REQUIRETLS\nS: 250\nC: RCPT TO:<b@example.com>\nS: 250\nC: DATA\nS: 354\n" +
		"C: .\nS: 250")
	if got := s.Messages(); len(got) != 1 || got[0].From != "anne@example.com" || !got[0].TLS {
		t.Errorf("messages %v", got)
	}
	if !strings.Contains(s.Transcript(1), "C: (55 octets in the clear, thrown away)") {
		t.Errorf("transcript:\n%s", s.Transcript(1))
	}
}

// RFC 3207 §4: before STARTTLS only these four; a BDAT's octets are read all the
// same.
func TestRequireTLS(t *testing.T) {
	s := start(t, func(s *smtptest.Server) { s.Mode, s.RequireTLS = postrider.StartTLS, true })
	c := dial(t, s)
	c.talk(begun + "C: NOOP\nS: 250\nC: MAIL FROM:<>\nS: 530 5.7.0\nC: RSET\nS: 530\nC: HELO x\nS: 530\nC: VRFY x\n" +
		"S: 530\nC: AUTH PLAIN\nS: 530")
	c.send("BDAT 6\r\nQUIT\r\nQUIT\r\n")
	c.expect("530", "221")
	if got := s.ConnectionCount(); got != 1 {
		t.Errorf("a refused RSET reset the count to %d", got)
	}
}

// A handshake that fails ends the connection and nothing else.
func TestHandshakeFails(t *testing.T) {
	s := start(t, func(s *smtptest.Server) { s.Mode = postrider.ImplicitTLS })
	c := dial(t, s)
	c.send("EHLO client.example\r\n")
	if got, err := c.reply(); err == nil && strings.HasPrefix(got, "2") {
		t.Errorf("plain SMTP was answered under TLS: %q", got)
	}
	tc := tls.Client(dial(t, s).Conn, trusting(s, "localhost"))
	if err := tc.Handshake(); err != nil {
		t.Error(err)
	}
	var nc net.Conn = tc
	newRaw(t, nc).talk("S: 220")
}
