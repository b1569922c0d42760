package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/hint"
)

func (t *talk) startTLS(ctx context.Context) *trouble {
	start := time.Now()
	if failed := t.s.StartTLS(); failed != nil {
		return t.trouble(failed, start)
	}
	t.found(Finding{Check: "STARTTLS", Stage: hint.StartTLS, Level: OK, Saw: said(t.s.Last), Took: time.Since(start)})
	return t.handshake(ctx)
}

func (t *talk) handshake(ctx context.Context) *trouble {
	start := time.Now()
	if failed := t.s.Handshake(ctx); failed != nil {
		if t.way.Mode == postrider.ImplicitTLS && silent(failed) && t.e.greets(ctx, t.way) {
			failed.Err = fmt.Errorf("%w (%w)", hint.ErrPlainPort, failed.Err)
		}
		if unverified, ok := errors.AsType[*tls.CertificateVerificationError](failed); ok {
			failed.Err = unverified // what the certificate says is a finding of its own
		}
		return t.trouble(failed, start)
	}
	state := t.s.TLSState
	t.found(Finding{Check: "TLS", Stage: hint.Handshake, Level: OK, Took: time.Since(start),
		Saw: tls.VersionName(state.Version) + ", " + tls.CipherSuiteName(state.CipherSuite)})
	return nil
}

// greets reports whether a port greets a client that says nothing. Most plain ones did so into the handshake already;
// this is for those that take their time, and hang up on clients that speak before them.
func (e *exam) greets(ctx context.Context, w way) bool {
	s := e.session(e.target(w), nil)
	if s.Dial(ctx) != nil {
		return false
	}
	defer s.Raw.Close()
	defer context.AfterFunc(ctx, func() { s.Raw.Close() })()
	_, err := s.Hear(min(e.limit(hint.Greeting), 5*e.Hush))
	return err == nil
}

// anyTLS takes whatever a server shows. Nothing but EHLO and QUIT is said over it.
func (e *exam) anyTLS() *tls.Config {
	return &tls.Config{
		ServerName: e.tls.ServerName, InsecureSkipVerify: true, MinVersion: tls.VersionTLS10,
		Certificates: e.tls.Certificates, GetClientCertificate: e.tls.GetClientCertificate,
	}
}

// protocols finds out which versions of TLS the server accepts, a connection for
// each, and looks at its certificate. What mail needs was judged before.
func (e *exam) protocols(ctx context.Context) {
	if len(e.ways) == 0 || !e.ways[0].secure {
		return
	}
	w := e.ways[0]
	var accepts, refuses []string
	var chain []*x509.Certificate
	for version := uint16(tls.VersionTLS13); version >= tls.VersionTLS10; version-- {
		certs, ok := e.accepts(ctx, w, version)
		if !ok {
			refuses = append(refuses, tls.VersionName(version))
			continue
		}
		accepts = append(accepts, tls.VersionName(version))
		if chain == nil {
			chain = certs
		}
	}
	if accepts == nil {
		return // what is in the way was told when it was met
	}
	f := Finding{Check: "TLS versions", Stage: hint.Handshake, Level: OK, Saw: strings.Join(accepts, ", ")}
	if refuses != nil {
		f.Saw += "; not " + strings.Join(refuses, ", ")
	}
	e.found(f)
	e.certificate(chain)
}

// accepts tries one version.
func (e *exam) accepts(ctx context.Context, w way, version uint16) ([]*x509.Certificate, bool) {
	t := &talk{way: w, silent: true, lenient: true, version: version}
	defer t.close()
	_ = e.open(ctx, t) // behind the handshake, nothing matters
	return t.s.TLSState.PeerCertificates, t.s.Encrypted
}
