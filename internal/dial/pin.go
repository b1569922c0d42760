package dial

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Pin is the SHA-256 of a certificate, or of its SubjectPublicKeyInfo.
type Pin [sha256.Size]byte

// ParsePin reads a pin in hexadecimal, with or without colons, as openssl x509 -fingerprint prints it, or in base64, as
// curl and browsers have it. A prefix "sha256:", "sha256/" or "sha256//", in any case, may stand before it.
func ParsePin(s string) (p Pin, err error) {
	text := strings.TrimSpace(s)
	text = withoutPrefix(text)
	raw, err := hex.DecodeString(strings.ReplaceAll(text, ":", ""))
	if err != nil {
		text = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(text, "="))
		raw, err = base64.RawStdEncoding.DecodeString(text)
	}
	if err != nil || len(raw) != len(p) {
		return p, fmt.Errorf("pin %.100q is not a SHA-256: write the 64 hexadecimal digits or the 44 base64 "+
			"characters of the fingerprint of the certificate or of its public key", s)
	}
	return Pin(raw), nil
}

// withoutPrefix cuts what names the hash. One slash too many is cut only from what is
// then still too long: base64 may begin with one.
func withoutPrefix(text string) string {
	const name, base64Digits = "sha256", 43
	if len(text) <= len(name) || !strings.EqualFold(text[:len(name)], name) ||
		!strings.ContainsRune(":/=", rune(text[len(name)])) {
		return text
	}
	text = text[len(name)+1:]
	if len(strings.TrimRight(text, "=")) > base64Digits {
		text = strings.TrimPrefix(text, "/")
	}
	return text
}

func parsePins(texts []string) (pins []Pin, err error) {
	for _, text := range texts {
		pin, err := ParsePin(text)
		if err != nil {
			return nil, err
		}
		pins = append(pins, pin)
	}
	return pins, nil
}

// String writes the form that openssl and curl have for keys, and ParsePin reads.
func (p Pin) String() string { return "sha256/" + base64.StdEncoding.EncodeToString(p[:]) }

// PinsOf returns the two pins that stand for a certificate: its own, which ends with it, and its key's, which outlives
// a renewal with the same key.
func PinsOf(cert *x509.Certificate) (certificate, key Pin) {
	return sha256.Sum256(cert.Raw), sha256.Sum256(cert.RawSubjectPublicKeyInfo)
}

// PinError says that the server has none of the pinned certificates and keys.
type PinError struct{ Pins int }

// Error says how many pins there were to match.
func (e PinError) Error() string {
	return fmt.Sprintf("the server's certificate and key match none of the pins (%d are set)", e.Pins)
}

// WrongPin lets packages that may not import this one recognize the error.
func (PinError) WrongPin() {}

// verifyPins returns a VerifyConnection, which is called for resumed sessions too. Only the server's own certificate is
// looked at: the rest of the chain is whatever the server likes to send, and is not verified here.
func verifyPins(pins []Pin, next func(tls.ConnectionState) error) func(tls.ConnectionState) error {
	return func(cs tls.ConnectionState) error {
		if len(cs.PeerCertificates) == 0 {
			return errors.New("TLS: the server sent no certificate")
		}
		certificate, key := PinsOf(cs.PeerCertificates[0])
		if !slices.Contains(pins, certificate) && !slices.Contains(pins, key) {
			return &tls.CertificateVerificationError{UnverifiedCertificates: cs.PeerCertificates,
				Err: PinError{len(pins)}}
		}
		if next == nil {
			return nil
		}
		return next(cs)
	}
}

// Explain adds to a failed verification what the server's certificate says, and its pins, ready to be set by an
// operator who knows from elsewhere that they are right. Other errors are returned as they are.
func Explain(err error) error {
	failed, ok := errors.AsType[*tls.CertificateVerificationError](err)
	if !ok || len(failed.UnverifiedCertificates) == 0 {
		return err
	}
	return fmt.Errorf("%w; the certificate is %s", err, Describe(failed.UnverifiedCertificates[0]))
}

// Describe says in one line, cut and escaped, who a certificate is for, who vouches for it, for how long, and its pins.
func Describe(cert *x509.Certificate) string {
	names := slices.Clone(cert.DNSNames)
	for _, ip := range cert.IPAddresses {
		names = append(names, ip.String())
	}
	issuer := "issued by " + quote(cert.Issuer.String())
	if bytes.Equal(cert.RawIssuer, cert.RawSubject) {
		issuer = "self-signed"
	}
	certificate, key := PinsOf(cert)
	day := func(t time.Time) string { return t.UTC().Format(time.DateOnly) }
	return fmt.Sprintf("%s for the names %s, %s, valid from %s to %s, pin of the certificate %s, pin of its key %s",
		quote(cert.Subject.String()), quote(strings.Join(names, " ")), issuer, day(cert.NotBefore), day(cert.NotAfter),
		certificate, key)
}

// quote shows what a certificate says so that it cannot disturb a log.
func quote(s string) string {
	const enough = 255
	if len(s) > enough {
		s = s[:enough] + "…"
	}
	return fmt.Sprintf("%q", s)
}
