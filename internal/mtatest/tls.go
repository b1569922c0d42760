//go:build linux

package mtatest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// The files that writeCertificates makes.
const (
	caFile   = "ca.pem"
	certFile = "cert.pem"
	keyFile  = "key.pem"
)

// writeCertificates makes an authority and one server certificate for the loopback names, writes both
// and the server's key to dir, and returns the authority as a pool. Each server has an authority of its
// own, so that a test which trusts the wrong one fails.
func writeCertificates(t testing.TB, dir string) *x509.CertPool {
	t.Helper()
	ca := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "mtatest CA"},
		BasicConstraintsValid: true,
		IsCA:                  true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	caKey, caDER := sign(t, ca, ca, nil)
	leaf := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "localhost"},
		DNSNames:    []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	key, leafDER := sign(t, leaf, ca, caKey)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatalf("mtatest: %v", err)
	}
	writePEM(t, filepath.Join(dir, caFile), "CERTIFICATE", caDER)
	writePEM(t, filepath.Join(dir, certFile), "CERTIFICATE", leafDER)
	writePEM(t, filepath.Join(dir, keyFile), "PRIVATE KEY", keyDER)

	parsed, err := x509.ParseCertificate(caDER)
	if err != nil {
		t.Fatalf("mtatest: %v", err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return pool
}

// sign makes a key for the certificate and has it signed by the parent's key, or by its own if that is nil.
func sign(t testing.TB, cert, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatalf("mtatest: %v", err)
	}
	if parentKey == nil {
		parentKey = key
	}
	cert.SerialNumber = big.NewInt(time.Now().UnixNano())
	cert.NotBefore = time.Now().Add(-time.Hour)
	cert.NotAfter = time.Now().Add(24 * time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, &key.PublicKey, parentKey)
	if err != nil {
		t.Fatalf("mtatest: %v", err)
	}
	return key, der
}

// writePEM writes one block. A key is for its owner only: Postfix and OpenSMTPD insist.
func writePEM(t testing.TB, path, kind string, der []byte) {
	t.Helper()
	mode := os.FileMode(0o644)
	if kind == "PRIVATE KEY" {
		mode = 0o600
	}
	block := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	if err := os.WriteFile(path, block, mode); err != nil {
		t.Fatalf("mtatest: %v", err)
	}
}
