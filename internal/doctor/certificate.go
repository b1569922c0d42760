package doctor

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/hint"
	"github.com/postrider/postrider/internal/text"
)

// soon is how many days before its end a certificate should have been renewed.
const soon = 15

// certificate says what is in the server's certificate, and who vouches for it.
func (e *exam) certificate(chain []*x509.Certificate) {
	if len(chain) == 0 {
		return
	}
	leaf := chain[0]
	left := int(time.Until(leaf.NotAfter).Hours() / 24)
	f := Finding{
		Check: "certificate", Stage: hint.Handshake, Level: OK,
		Saw: fmt.Sprintf("for %s, %d days left", text.Printable(strings.Join(names(leaf), ", ")), left),
		Details: []string{
			"subject: " + text.Printable(leaf.Subject.String()),
			"issuer: " + text.Printable(leaf.Issuer.String()),
			fmt.Sprintf("valid: %s to %s", leaf.NotBefore.UTC().Format(time.DateOnly),
				leaf.NotAfter.UTC().Format(time.DateOnly)),
			fmt.Sprintf("certificates sent: %d", len(chain)),
			fmt.Sprintf("SHA-256 of the certificate: %x", sha256.Sum256(leaf.Raw)),
			fmt.Sprintf("SHA-256 of its public key: %x", sha256.Sum256(leaf.RawSubjectPublicKeyInfo)),
		},
	}
	if left < soon {
		f.Level, f.Means, f.Set = Warning, "when it has ended, no mail goes out", "renew it on the server"
		if time.Now().After(leaf.NotAfter) {
			f.Saw = fmt.Sprintf("for %s, and ended on %s", text.Printable(strings.Join(names(leaf), ", ")),
				leaf.NotAfter.UTC().Format(time.DateOnly))
		}
	}
	e.found(f)
	e.verification(chain)
}

// names are those that count: the Common Name does not (RFC 9525 §2). A server may
// name thousands.
func names(cert *x509.Certificate) []string {
	const enough = 10
	all := append([]string(nil), cert.DNSNames...)
	for _, ip := range cert.IPAddresses {
		all = append(all, ip.String())
	}
	if len(all) == 0 {
		return []string{"no name"}
	}
	if more := len(all) - enough; more > 0 {
		all = append(all[:enough:enough], fmt.Sprintf("%d more", more))
	}
	return all
}

// verification judges the certificate against what is configured, and besides
// against the system's trust store, and the name; also what is switched off.
func (e *exam) verification(chain []*x509.Certificate) {
	trust, name := e.verify(chain, e.tls.RootCAs), chain[0].VerifyHostname(e.tls.ServerName)
	f := Finding{Check: "verification", Stage: hint.Handshake, Level: OK,
		Saw: "the chain is trusted, and the name is " + e.tls.ServerName}
	store := "the system's trust store"
	if e.tls.RootCAs != nil {
		store = "the given CA"
		f.Details = append(f.Details, verdict("the system's trust store", e.verify(chain, nil)))
	}
	f.Details = append([]string{verdict(store, trust)}, f.Details...)
	f.Details = append(f.Details, verdict("the name "+e.tls.ServerName, name))
	if len(e.Config.Pins) > 0 {
		e.judgePin(&f, chain)
	} else {
		e.verifies = trust == nil && name == nil
		e.judge(&f, chain, firstOf(trust, name), name)
	}
	e.found(f)
}

// judgePin goes by the pins alone, as the library does: who signed the certificate,
// and for which name, is told beside.
func (e *exam) judgePin(f *Finding, chain []*x509.Certificate) {
	err := e.tls.VerifyConnection(tls.ConnectionState{PeerCertificates: chain})
	e.verifies = err == nil
	f.Saw = "the certificate or its key is pinned"
	if err != nil { // What it means was told with the handshake.
		f.Level, f.Saw = Problem, words(err)
	}
}

// judge compares what is true of a certificate with what is asked of it. any is
// what is wrong with it at all.
func (e *exam) judge(f *Finding, chain []*x509.Certificate, any, name error) {
	const unsafe = "whoever is on the way can pretend to be the server, and read mail and password"
	unverified := e.Config.NoVerifyCert || e.Config.TLS != nil && e.Config.TLS.InsecureSkipVerify
	switch {
	case unverified:
		f.Level, f.Saw, f.Means = Warning, "the certificate is not checked", unsafe
		f.Set = hint.Verify()
	case e.Config.NoVerifyHostname:
		f.Level, f.Saw, f.Means = Warning, "the name in the certificate is not checked",
			unsafe+", with any valid certificate"
		f.Set = hint.VerifyName()
	case any != nil:
		// What it means was told with the handshake.
		f.Level, f.Saw = Problem, words(any)
		return
	default:
		return
	}
	wrong := any
	if !unverified {
		wrong = name
	}
	if wrong != nil {
		about := e.failure(e.ways[0], hint.Handshake)
		about.Err = &tls.CertificateVerificationError{UnverifiedCertificates: chain, Err: wrong}
		f.Set = hint.For(about)
	}
}

// verify verifies the chain alone; nil roots are the system's.
func (e *exam) verify(chain []*x509.Certificate, roots *x509.CertPool) error {
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between})
	return err
}

func verdict(by string, err error) string {
	if err != nil {
		return by + ": no: " + words(err)
	}
	return by + ": yes"
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
