package hint

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

type (
	unknownAuthority = x509.UnknownAuthorityError
	hostnameError    = x509.HostnameError
)

// wrongPin is how package dial says that none of the pins matched.
type wrongPin interface {
	error
	WrongPin()
}

// lastResort ends the hints about certificates: it is said, because it is what people look for, and said last.
var lastResort = "as a last resort set " + setting(noVerifyCert, "true")

// certificateReason matches a certificate that is invalid for a reason that the condition accepts.
func certificateReason(condition func(x509.InvalidReason) bool) func(Failure) bool {
	return func(f Failure) bool {
		e, ok := errors.AsType[x509.CertificateInvalidError](f.Err)
		return ok && condition(e.Reason)
	}
}

func isExpired(r x509.InvalidReason) bool      { return r == x509.Expired }
func isOtherInvalid(r x509.InvalidReason) bool { return r != x509.Expired }

// expiredHint serves for a certificate whose time has not come as well: crypto/x509 has one reason for both.
func expiredHint(f Failure) string {
	e, _ := errors.AsType[x509.CertificateInvalidError](f.Err)
	return fmt.Sprintf("the certificate is valid from %s to %s: renew it on the server, "+
		"or set this machine's clock; %s",
		day(e.Cert.NotBefore), day(e.Cert.NotAfter), lastResort)
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// leaf returns the server's own certificate, which crypto/tls hands along with every failure to verify.
func leaf(f Failure) (cert *x509.Certificate, sent int) {
	e, ok := errors.AsType[*tls.CertificateVerificationError](f.Err)
	if !ok || len(e.UnverifiedCertificates) == 0 {
		return nil, 0
	}
	return e.UnverifiedCertificates[0], len(e.UnverifiedCertificates)
}

func selfSigned(f Failure) bool {
	cert, _ := leaf(f)
	return cert != nil && string(cert.RawIssuer) == string(cert.RawSubject)
}

// unknownAuthorityHint tells a private CA from an intermediate certificate that the server forgot, as far as that can
// be told: only a chain of one may lack one.
func unknownAuthorityHint(f Failure) string {
	private := "if that is a private authority, name the file with its certificate in " + setting(caFile, "")
	cert, sent := leaf(f)
	if cert == nil {
		return "this machine does not trust the issuer of the certificate: " + private + "; " + lastResort
	}
	hint := "this machine does not trust the issuer of the certificate, " + quote(cert.Issuer.String()) + ": " + private
	if sent == 1 {
		hint += "; if it is a public one, the server must send the intermediate certificate too"
	}
	return hint + "; " + lastResort
}

// hasNoNames: no subjectAltName, so that nothing can match (RFC 9525 §2 leaves the Common Name out).
func hasNoNames(f Failure) bool {
	e, _ := errors.AsType[hostnameError](f.Err)
	return len(namesOf(e.Certificate)) == 0
}

func commonNameHint(f Failure) string {
	e, _ := errors.AsType[hostnameError](f.Err)
	return fmt.Sprintf("the certificate has no name but the legacy Common Name, %s, which no longer counts: "+
		"issue it again with a subjectAltName; until then set %s",
		quote(e.Certificate.Subject.CommonName), setting(noVerifyHostname, "true"))
}

func wrongNameHint(f Failure) string {
	e, _ := errors.AsType[hostnameError](f.Err)
	return fmt.Sprintf("the certificate is for %s, not for %s: name the server in %s as its certificate does, "+
		"or set %s to a name of the certificate; to accept any name set %s", quoteList(namesOf(e.Certificate)),
		quote(e.Host),
		setting(address, ""), setting(serverName, ""), setting(noVerifyHostname, "true"))
}

func namesOf(cert *x509.Certificate) []string {
	names := slices.Clone(cert.DNSNames)
	for _, ip := range cert.IPAddresses {
		names = append(names, ip.String())
	}
	return names
}

// quoteList shows the server's words so that they cannot disturb a log, and not too many of them.
func quoteList(names []string) string {
	const enough = 5
	var shown []string
	for _, name := range names[:min(len(names), enough)] {
		shown = append(shown, quote(name))
	}
	list := strings.Join(shown, ", ")
	if more := len(names) - enough; more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	return list
}

// quote shows text from outside on one line, cut where no name is that long (RFC 1035 §2.3.4 allows 255 octets).
func quote(s string) string {
	const enough = 255
	if len(s) > enough {
		s = s[:enough] + "…"
	}
	return fmt.Sprintf("%q", s)
}
