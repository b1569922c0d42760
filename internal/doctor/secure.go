package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/hint"
	"github.com/postrider/postrider/internal/wire"
)

// startTLS never falls back, as the library does not.
func (t *talk) startTLS(ctx context.Context) *trouble {
	start := time.Now()
	if !t.caps.StartTLS {
		return t.trouble(hint.StartTLS, wire.Reply{}, hint.ErrNoStartTLS, start)
	}
	r, bad := t.ask(hint.StartTLS, "STARTTLS")
	switch {
	case bad != nil:
		return bad
	case r.Code != 220:
		return t.trouble(hint.StartTLS, r, nil, start)
	case t.in.Buffered() > 0: // RFC 3207 §6
		t.broken = true
		return t.trouble(hint.StartTLS, wire.Reply{}, errors.New("the server sent octets in the clear behind its reply to STARTTLS; they may be injected"), start)
	}
	t.found(Finding{Check: "STARTTLS", Stage: hint.StartTLS, Level: OK, Saw: said(r), Took: time.Since(start)})
	return t.handshake(ctx)
}

// handshake is verified exactly as the library verifies.
func (t *talk) handshake(ctx context.Context) *trouble {
	start := time.Now()
	inTime, cancel := context.WithTimeoutCause(ctx, t.e.limit(hint.Handshake), errNoAnswer)
	defer cancel()
	cfg := t.e.tls
	if t.lenient {
		cfg = t.e.anyTLS()
	}
	if t.version != 0 {
		cfg.MinVersion, cfg.MaxVersion = t.version, t.version
	}
	t.raw.SetDeadline(time.Time{})
	conn := tls.Client(t.raw, cfg)
	err := conn.HandshakeContext(inTime)
	if err != nil {
		if inTime.Err() != nil {
			err = context.Cause(inTime)
		}
		t.broken = true
		silent := timedOut(err) || errors.Is(err, io.EOF)
		if t.way.Mode == postrider.ImplicitTLS && silent && t.e.greets(ctx, t.way) {
			err = fmt.Errorf("%w (%w)", hint.ErrPlainPort, err)
		}
		return t.trouble(hint.Handshake, wire.Reply{}, err, start)
	}
	t.encrypted, t.state = true, conn.ConnectionState()
	t.use(conn)
	t.found(Finding{Check: "TLS", Stage: hint.Handshake, Level: OK, Took: time.Since(start),
		Saw: tls.VersionName(t.state.Version) + ", " + tls.CipherSuiteName(t.state.CipherSuite)})
	return nil
}

// greets reports whether a port greets a client that says nothing. Most plain ones
// did so into the handshake already; this is for those that take their time, and
// hang up on who speaks before them.
func (e *exam) greets(ctx context.Context, w way) bool {
	conn, err := e.dial(ctx, e.target(w))
	if err != nil {
		return false
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	conn.SetReadDeadline(time.Now().Add(min(e.limit(hint.Greeting), 5*e.Hush)))
	_, err = wire.NewReplyReader(conn).Read()
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
	return t.state.PeerCertificates, t.encrypted
}
