package smtptest

import (
	"crypto/tls"
	"fmt"

	"github.com/postrider/postrider"
)

// serverTLS is the configuration of the handshakes; nil without TLS. It is one for
// the life of the server, so that clients can resume sessions.
func (s *Server) serverTLS() *tls.Config {
	if s.Mode == postrider.Insecure {
		return nil
	}
	config := &tls.Config{}
	if s.TLS != nil {
		config = s.TLS.Clone()
	}
	if len(config.Certificates) == 0 && config.GetCertificate == nil {
		config.Certificates = []tls.Certificate{s.Certificate.make()}
	}
	return config
}

// startTLSOffered reports whether STARTTLS makes sense at this moment.
func (c *conn) startTLSOffered() bool {
	return c.srv.Mode == postrider.StartTLS && !c.tls
}

// startTLS answers STARTTLS (RFC 3207). What the client sent behind it in the
// clear is thrown away: an attacker may have sent it (§6), and none of what it made
// known before holds under TLS (§4.2).
func (c *conn) startTLS(line, arg []byte) bool {
	own := c.judgeStartTLS(arg)
	p := c.plan(verbStartTLS, line, own)
	begins := p.takesEffect(own)
	if !c.send(p) {
		return false
	}
	if !begins {
		c.said = true
		return true
	}
	if c.flush() != nil {
		return false
	}
	if n := len(c.in.pending()); n > 0 {
		c.note('C', fmt.Sprintf("(%d octets in the clear, thrown away)", n))
		c.in.skip(n)
	}
	if !c.handshake() {
		return false
	}
	c.learnt = learnt{}
	c.tx.reset()
	return true
}

// judgeStartTLS judges STARTTLS, which has no argument (RFC 3207 §4).
func (c *conn) judgeStartTLS(arg []byte) string {
	switch {
	case !c.startTLSOffered() && c.tls:
		return "503 5.5.1 TLS is active"
	case !c.startTLSOffered():
		return "502 5.5.1 STARTTLS is not offered"
	case len(arg) > 0:
		return replyBadSyntax
	}
	return "220 2.0.0 Ready to start TLS"
}

// handshake turns the connection to TLS, unless a fault is in the way.
func (c *conn) handshake() bool {
	c.srv.verbs[pointTLS].Add(1)
	if f := c.srv.fault(occasion{verb: pointTLS, connection: c.number}); f != nil {
		if f.Reply != "" || f.Answer != AnswerWhole || f.Then != ThenProceed {
			if c.send(plan{text: f.Reply, raw: true, fault: f}) {
				c.finish()
			}
			return false
		}
		if !c.pause(f.Delay) {
			return false
		}
	}
	if c.beginWait(c.srv.IdleTimeout) != nil {
		return false
	}
	tc := tls.Server(c.raw, c.srv.tlsConfig)
	err := tc.Handshake()
	c.endWait()
	if err != nil {
		c.note('S', "(TLS: "+err.Error()+")")
		return false
	}
	c.rw, c.tls = tc, true
	return true
}
