package smtptest_test

import (
	"crypto/tls"
	"net/smtp"
	"testing"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/smtptest"
)

func TestNetSMTP(t *testing.T) {
	for _, mode := range []postrider.SecureMode{postrider.Insecure, postrider.ImplicitTLS, postrider.StartTLS} {
		t.Run(mode.String(), func(t *testing.T) {
			s := smtptest.NewUnstartedServer()
			s.Mode = mode
			s.Users = map[string]string{"testuser": "testpass"}
			s.Start()
			defer s.Close()
			c := dialNetSMTP(t, s)
			if err := c.Auth(smtp.PlainAuth("", "testuser", "testpass", "127.0.0.1")); err != nil {
				t.Fatal(err)
			}
			c.Mail("anne@example.com")
			c.Rcpt("bart@example.com")
			w, err := c.Data()
			if err != nil {
				t.Fatal(err)
			}
			w.Write([]byte("Subject: x\r\n\r\n.dot\r\n"))
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			c.Quit()
			t.Log(s.Transcript(1))
			t.Log(s.Messages()[0], s.Credentials(), s.ConnectionCount())
		})
	}
}

func dialNetSMTP(t *testing.T, s *smtptest.Server) *smtp.Client {
	t.Helper()
	if s.Mode == postrider.ImplicitTLS {
		nc, err := tls.Dial("tcp", s.Addr, s.Config().TLS)
		if err != nil {
			t.Fatal(err)
		}
		c, err := smtp.NewClient(nc, "127.0.0.1")
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c, err := smtp.Dial(s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	if s.Mode == postrider.StartTLS {
		cfg := s.Config().TLS.Clone()
		cfg.ServerName = "127.0.0.1"
		if err := c.StartTLS(cfg); err != nil {
			t.Fatal(err)
		}
	}
	return c
}
