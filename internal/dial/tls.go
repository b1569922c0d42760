package dial

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// TLS says how the server proves who it is. The zero value with a Host verifies the chain against the system's trust
// store, and that the certificate is the host's.
type TLS struct {
	// Base is where everything else comes from (client certificates, curves, a trust store, a session cache, further
	// checks); it is cloned. Its MinVersion holds if it names one, TLS 1.2 otherwise. If its InsecureSkipVerify is set,
	// verifying is left to Base altogether.
	Base *tls.Config

	// Host is the host of the address. It is the name to verify, and to ask for in the ClientHello, unless ServerName,
	// or else Base.ServerName, says another.
	Host       string
	ServerName string

	// CAFile is a PEM file of the certificates to trust. They take the place of the system's trust store, or join
	// Base.RootCAs if that is set.
	CAFile string

	// Pins are SHA-256 fingerprints, of the server's certificate or of its public key (SubjectPublicKeyInfo), as
	// ParsePin reads them. With any, the server is the one that has a certificate or key among them: no authority is
	// asked, nor are name and dates looked at (as DANE-EE has it, RFC 7671 §5.1). Several let a key be changed without
	// a gap.
	Pins []string

	// CertFile and KeyFile are PEM files with the client's certificate chain and its key, for a server that asks. They
	// are read again when they have changed. With no KeyFile, both are in CertFile.
	CertFile, KeyFile string

	// NoVerifyCert switches off all verification, except for what the hooks of Base do. NoVerifyHostname alone still
	// verifies the chain, and accepts any name in the certificate.
	NoVerifyCert     bool
	NoVerifyHostname bool
}

// Config returns the configuration for the TLS clients of all wires to one server. It holds a session cache, so that
// the wire after the first resumes: hence it is made once, and kept.
func (t TLS) Config() (*tls.Config, error) {
	cfg := &tls.Config{}
	if t.Base != nil {
		cfg = t.Base.Clone()
	}
	if cfg.MinVersion == 0 {
		cfg.MinVersion = tls.VersionTLS12 // RFC 8996 ended TLS 1.0 and 1.1
	}
	if cfg.ClientSessionCache == nil {
		cfg.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	}
	t.setServerName(cfg)
	if err := t.loadCA(cfg); err != nil {
		return nil, err
	}
	if err := t.setVerification(cfg); err != nil {
		return nil, err
	}
	return cfg, t.setClientCertificate(cfg)
}

// Proves reports whether a handshake that succeeds with cfg proves that the server is the right one.
func (t TLS) Proves() bool {
	unverified := t.NoVerifyCert || t.NoVerifyHostname || t.Base != nil && t.Base.InsecureSkipVerify
	return len(t.Pins) > 0 || !unverified
}

func (t TLS) setServerName(cfg *tls.Config) {
	switch {
	case t.ServerName != "":
		cfg.ServerName = t.ServerName
	case cfg.ServerName == "":
		cfg.ServerName = t.Host
	}
}

func (t TLS) loadCA(cfg *tls.Config) error {
	if t.CAFile == "" {
		return nil
	}
	pem, err := os.ReadFile(t.CAFile)
	if err != nil {
		return fmt.Errorf("CA file: %w", err)
	}
	pool := x509.NewCertPool()
	if cfg.RootCAs != nil {
		pool = cfg.RootCAs.Clone()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return fmt.Errorf("CA file %s holds no certificate in PEM form (a block that begins with -----BEGIN "+
			"CERTIFICATE-----)", t.CAFile)
	}
	cfg.RootCAs = pool
	return nil
}

// setVerification puts the knobs into what crypto/tls has, which is all or nothing.
func (t TLS) setVerification(cfg *tls.Config) error {
	pins, err := parsePins(t.Pins)
	switch {
	case err != nil:
		return err
	case len(pins) > 0 && t.NoVerifyCert:
		return errors.New("TLS: pins are set, but verification is switched off: choose one of them")
	case len(pins) > 0:
		cfg.InsecureSkipVerify = true
		cfg.VerifyConnection = verifyPins(pins, cfg.VerifyConnection)
	case t.NoVerifyCert:
		cfg.InsecureSkipVerify = true
	case cfg.InsecureSkipVerify:
		// Base said so itself.
	case t.NoVerifyHostname:
		cfg.InsecureSkipVerify = true
		cfg.VerifyConnection = verifyChain(cfg.Clone())
	case cfg.ServerName == "":
		return errors.New("TLS: there is no server name to verify the certificate against")
	}
	return nil
}

// verifyChain returns a VerifyConnection that verifies the chain as crypto/tls would have, but no name, and then calls
// the VerifyConnection of cfg. It is this hook and not VerifyPeerCertificate, because only this one is called for
// resumed sessions too.
func verifyChain(cfg *tls.Config) func(tls.ConnectionState) error {
	return func(cs tls.ConnectionState) error {
		if len(cs.PeerCertificates) == 0 {
			return errors.New("TLS: the server sent no certificate")
		}
		opts := x509.VerifyOptions{Roots: cfg.RootCAs, Intermediates: x509.NewCertPool()}
		if cfg.Time != nil {
			opts.CurrentTime = cfg.Time()
		}
		for _, cert := range cs.PeerCertificates[1:] {
			opts.Intermediates.AddCert(cert)
		}
		chains, err := cs.PeerCertificates[0].Verify(opts)
		if err != nil {
			// The type that crypto/tls has for this, so that callers recognize both alike.
			return &tls.CertificateVerificationError{UnverifiedCertificates: cs.PeerCertificates, Err: err}
		}
		if cfg.VerifyConnection == nil {
			return nil
		}
		cs.VerifiedChains = chains
		return cfg.VerifyConnection(cs)
	}
}
