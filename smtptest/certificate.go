package smtptest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"sync"
	"time"
)

// Certificate selects the certificate that a server presents.
type Certificate uint8

// Kinds of certificates. All but CertUnknownCA and CertSelfSigned are issued by the CA in [Server.CertPool].
const (
	CertGood           Certificate = iota // valid for localhost, 127.0.0.1, ::1 and example.com
	CertExpired                           // the same names, but expired in 1999
	CertWrongHost                         // valid only for wrong.example.net
	CertUnknownCA                         // like CertGood, but issued by a CA that is not in CertPool
	CertSelfSigned                        // like CertGood, but self-signed
	CertNameOnly                          // with localhost as Common Name, but no alternative names
	CertNoIntermediate                    // like CertGood, but the certificate of an intermediate CA is missing
)

// Validity spans the fake time of a testing/synctest bubble, which starts in
// 2000, as well as the real one.
var (
	validFrom  = time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC)
	validUntil = time.Date(2090, 1, 1, 0, 0, 0, 0, time.UTC)
	longAgo    = time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)
)

// authority is a CA; there are two in a process, made when first needed.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

var (
	trusted   = sync.OnceValue(func() *authority { return newAuthority("smtptest CA") })
	untrusted = sync.OnceValue(func() *authority { return newAuthority("nobody's CA") })
)

// CertPool returns the CA that clients of this server have to trust.
func (s *Server) CertPool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(trusted().cert)
	return pool
}

// CAPEM returns the CA of CertPool in PEM, for clients that are not written in Go.
func (s *Server) CAPEM() []byte {
	var b bytes.Buffer
	pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: trusted().cert.Raw})
	return b.Bytes()
}

// newAuthority makes a CA. Its key never leaves the process, so nothing else can
// be made to trust it by mistake.
func newAuthority(name string) *authority {
	key := newKey()
	template := newTemplate(name)
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign
	return &authority{cert: sign(template, template, key, key), key: key}
}

// intermediate makes a CA below this one.
func (a *authority) intermediate(name string) *authority {
	key := newKey()
	template := newTemplate(name)
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign
	return &authority{cert: sign(template, a.cert, key, a.key), key: key}
}

// make makes a certificate of this kind.
func (k Certificate) make() tls.Certificate {
	key := newKey()
	template := newTemplate("localhost")
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	template.DNSNames = []string{"localhost", "example.com"}
	template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	ca := trusted()
	issuer, issuerKey := ca.cert, ca.key
	switch k {
	case CertExpired:
		template.NotAfter = longAgo
	case CertWrongHost:
		template.Subject.CommonName = "wrong.example.net"
		template.DNSNames, template.IPAddresses = []string{"wrong.example.net"}, nil
	case CertUnknownCA:
		issuer, issuerKey = untrusted().cert, untrusted().key
	case CertSelfSigned:
		issuer, issuerKey = template, key
	case CertNameOnly:
		template.DNSNames, template.IPAddresses = nil, nil
	case CertNoIntermediate:
		between := ca.intermediate("smtptest intermediate CA")
		issuer, issuerKey = between.cert, between.key
	}
	cert := sign(template, issuer, key, issuerKey)
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}
}

// newTemplate is what all certificates here have in common. Serial numbers are
// random because clients know certificates by issuer and number.
func newTemplate(name string) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	must(err)
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: validFrom, NotAfter: validUntil,
	}
}

// newKey makes a P-256 key: quick to make, and every client knows the curve.
func newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	return key
}

// sign makes the certificate that template describes, and reads it back as a
// client will.
func sign(template, issuer *x509.Certificate, key, issuerKey *ecdsa.PrivateKey) *x509.Certificate {
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, &key.PublicKey, issuerKey)
	must(err)
	cert, err := x509.ParseCertificate(der)
	must(err)
	return cert
}

// must is for what fails only if this package or the machine is broken.
func must(err error) {
	if err != nil {
		panic("smtptest: certificate: " + err.Error())
	}
}
