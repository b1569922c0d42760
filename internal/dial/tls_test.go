package dial

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority is a certificate with its key, fit to sign others.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// newAuthority makes a CA, self-signed if parent is nil, that is valid for the given time from an hour ago.
func newAuthority(t *testing.T, parent *authority, valid time.Duration) *authority {
	t.Helper()
	a := &authority{key: newKey(t)}
	a.cert = sign(t, a.key, parent, &x509.Certificate{
		Subject:               pkix.Name{CommonName: "Postrider test CA " + rand.Text()},
		NotAfter:              time.Now().Add(valid),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	})
	return a
}

// issue makes a server's certificate for names. The template may be nil; what it leaves out is as it should be. The
// chain holds the certificate alone.
func (a *authority) issue(t *testing.T, template *x509.Certificate, names ...string) tls.Certificate {
	t.Helper()
	if template == nil {
		template = &x509.Certificate{}
	}
	template.DNSNames = names
	if template.ExtKeyUsage == nil {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	key := newKey(t)
	cert := sign(t, key, a, template)
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
}

// file writes the certificate as a PEM file.
func (a *authority) file(t *testing.T) string {
	t.Helper()
	return writeFile(t, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})))
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t *testing.T, key *ecdsa.PrivateKey, by *authority, template *x509.Certificate) *x509.Certificate {
	t.Helper()
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	if template.NotBefore.IsZero() {
		template.NotBefore = time.Now().Add(-time.Hour)
	}
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(24 * time.Hour)
	}
	if by == nil {
		by = &authority{template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.cert, &key.PublicKey, by.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// serve answers each TLS connection on loopback with a greeting until the test ends, and returns its address.
func serve(t *testing.T, cfg *tls.Config) string {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", cfg)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "220\r\n") // fails when the client does not like the certificate
			_, _ = io.Copy(io.Discard, c)
			c.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return l.Addr().String()
}

// greet shakes hands and reads the greeting, behind which the server's session ticket has arrived.
func greet(t *testing.T, address string, cfg *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	c, err := tls.Dial("tcp", address, cfg)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer c.Close()
	if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
		return tls.ConnectionState{}, err
	}
	return c.ConnectionState(), nil
}

// These tell by its type what is wrong with a certificate.
func isUnknownAuthority(err error) bool {
	_, ok := errors.AsType[x509.UnknownAuthorityError](err)
	return ok
}

func isHostname(err error) bool {
	_, ok := errors.AsType[x509.HostnameError](err)
	return ok
}

func isInvalid(reason x509.InvalidReason) func(error) bool {
	return func(err error) bool {
		e, ok := errors.AsType[x509.CertificateInvalidError](err)
		return ok && e.Reason == reason
	}
}

// Facts 15, 16, 76, 98: the chain and the name are two knobs, and the second counts only beside the first.
func TestVerification(t *testing.T) {
	ca, stranger := newAuthority(t, nil, 24*time.Hour), newAuthority(t, nil, 24*time.Hour)
	middle := newAuthority(t, ca, 24*time.Hour)
	withMiddle := middle.issue(t, nil, "mx.example.com")
	withMiddle.Certificate = append(withMiddle.Certificate, middle.cert.Raw)
	hour := time.Hour

	certificates := map[string]tls.Certificate{
		"right": ca.issue(t, nil, "mx.example.com"),
		"expired": ca.issue(t, &x509.Certificate{NotBefore: time.Now().Add(-2 * hour),
			NotAfter: time.Now().Add(-hour)}, "mx.example.com"),
		"of tomorrow": ca.issue(t, &x509.Certificate{NotBefore: time.Now().Add(hour)}, "mx.example.com"),
		"other name":  ca.issue(t, nil, "other.example.com"),
		"CN only":     ca.issue(t, &x509.Certificate{Subject: pkix.Name{CommonName: "mx.example.com"}}),
		"IP":          ca.issue(t, &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}),
		"for clients": ca.issue(t, &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}},
			"mx.example.com"),
		"unknown CA":   stranger.issue(t, nil, "mx.example.com"),
		"no middle":    middle.issue(t, nil, "mx.example.com"),
		"whole middle": withMiddle,
	}
	addresses := map[string]string{}
	for name, cert := range certificates {
		addresses[name] = serve(t, &tls.Config{Certificates: []tls.Certificate{cert}})
	}
	file := ca.file(t)

	full := TLS{Host: "mx.example.com", CAFile: file}
	chain := TLS{Host: "mx.example.com", CAFile: file, NoVerifyHostname: true}
	nothing := TLS{Host: "mx.example.com", NoVerifyCert: true}
	expired, unfit := isInvalid(x509.Expired), isInvalid(x509.IncompatibleUsage)
	for _, tt := range []struct {
		certificate            string
		full, chain, unchecked func(error) bool // nil: accepted
	}{
		{"right", nil, nil, nil},
		{"whole middle", nil, nil, nil},
		{"expired", expired, expired, nil},
		{"of tomorrow", expired, expired, nil},
		{"other name", isHostname, nil, nil},
		{"CN only", isHostname, nil, nil},
		{"IP", isHostname, nil, nil},
		{"for clients", unfit, unfit, nil},
		{"unknown CA", isUnknownAuthority, isUnknownAuthority, nil},
		{"no middle", isUnknownAuthority, isUnknownAuthority, nil},
	} {
		for _, knobs := range []struct {
			name string
			tls  TLS
			want func(error) bool
		}{{"full", full, tt.full}, {"chain", chain, tt.chain}, {"unchecked", nothing, tt.unchecked}} {
			t.Run(tt.certificate+"/"+knobs.name, func(t *testing.T) {
				cfg, err := knobs.tls.Config()
				if err != nil {
					t.Fatal(err)
				}
				_, err = greet(t, addresses[tt.certificate], cfg)
				if (err != nil) != (knobs.want != nil) || err != nil && !knobs.want(err) {
					t.Errorf("got %v", err)
				}
				// Whoever verified, the caller finds the certificates in the error.
				if e, ok := errors.AsType[*tls.CertificateVerificationError](err); err != nil &&
					(!ok || len(e.UnverifiedCertificates) == 0) {
					t.Errorf("the error has no certificates: %T", err)
				}
			})
		}
	}
}

// The name to verify is ServerName, else that of Base, else the host; an IP address is one too.
func TestServerName(t *testing.T) {
	ca := newAuthority(t, nil, 24*time.Hour)
	file := ca.file(t)
	cert := ca.issue(t, &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}},
		"mx.example.com")
	asked := make(chan string, 1)
	address := serve(t, &tls.Config{
		Certificates: []tls.Certificate{cert},
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			asked <- hello.ServerName
			return nil, nil
		},
	})
	for _, tt := range []struct {
		host, base, name string
		sni              string
		ok               bool
	}{
		{host: "mx.example.com", sni: "mx.example.com", ok: true},
		{host: "mx.example.com.", sni: "mx.example.com", ok: true},
		{host: "MX.example.com", sni: "MX.example.com", ok: true},
		{host: "relay.internal", name: "mx.example.com", sni: "mx.example.com", ok: true},
		{host: "relay.internal", base: "mx.example.com", sni: "mx.example.com", ok: true},
		{host: "mx.example.com", base: "relay.internal", sni: "relay.internal"},
		{host: "mx.example.com", base: "mx.example.com", name: "relay.internal", sni: "relay.internal"},
		{host: "127.0.0.1", ok: true}, // RFC 6066 §3: no address stands in a ClientHello
		{host: "::1", ok: true},
		{host: "127.0.0.2"},
	} {
		cfg, err := TLS{Base: &tls.Config{ServerName: tt.base}, Host: tt.host, ServerName: tt.name,
			CAFile: file}.Config()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := greet(t, address, cfg); (err == nil) != tt.ok || err != nil && !isHostname(err) {
			t.Errorf("%+v: %v", tt, err)
		}
		if sni := <-asked; sni != tt.sni {
			t.Errorf("%+v: the ClientHello asks for %q", tt, sni)
		}
	}
	if _, err := (TLS{}).Config(); err == nil || !strings.Contains(err.Error(), "no server name") {
		t.Errorf("without any name: %v", err)
	}
	if _, err := (TLS{NoVerifyHostname: true}).Config(); err != nil {
		t.Errorf("without any name, and none to verify: %v", err)
	}
}

// The second wire resumes the session of the first, and is verified again: when the CA has expired in the meantime, it
// is refused, although the server's own certificate is still good.
func TestResumedSessionsAreVerified(t *testing.T) {
	ca := newAuthority(t, nil, time.Hour)
	file := ca.file(t)
	cert := ca.issue(t, nil, "mx.example.com")
	for version, name := range map[uint16]string{tls.VersionTLS12: "1.2", tls.VersionTLS13: "1.3"} {
		for _, noName := range []bool{false, true} {
			t.Run(map[bool]string{false: "full", true: "chain"}[noName]+"/"+name, func(t *testing.T) {
				address := serve(t, &tls.Config{Certificates: []tls.Certificate{cert}, MaxVersion: version})
				var later time.Duration
				verified := 0
				base := &tls.Config{
					Time:             func() time.Time { return time.Now().Add(later) },
					VerifyConnection: func(tls.ConnectionState) error { verified++; return nil },
				}
				cfg, err := TLS{Base: base, Host: "mx.example.com", CAFile: file, NoVerifyHostname: noName}.Config()
				if err != nil {
					t.Fatal(err)
				}
				for i, want := range []bool{false, true} {
					cs, err := greet(t, address, cfg)
					if err != nil || cs.DidResume != want || cs.Version != version || verified != i+1 {
						t.Errorf("wire %d: resumed %t, %d verified, %v", i+1, cs.DidResume, verified, err)
					}
				}
				later = 2 * time.Hour
				if _, err := greet(t, address, cfg); !isInvalid(x509.Expired)(err) {
					t.Errorf("after the CA has expired: %v", err)
				}
			})
		}
	}
}

// A check of the caller's own runs in every mode, sees the chains where there are any, and its error is the error.
func TestBaseVerifyConnectionIsKept(t *testing.T) {
	ca := newAuthority(t, nil, 24*time.Hour)
	file := ca.file(t)
	address := serve(t, &tls.Config{Certificates: []tls.Certificate{ca.issue(t, nil, "mx.example.com")}})
	refused := errors.New("not my pin")
	for _, tt := range []struct {
		tls    TLS
		chains int
	}{
		{TLS{}, 1}, {TLS{NoVerifyHostname: true}, 1}, {TLS{NoVerifyCert: true}, 0},
		{TLS{NoVerifyCert: true, NoVerifyHostname: true}, 0},
	} {
		chains := -1
		tt.tls.Base = &tls.Config{VerifyConnection: func(cs tls.ConnectionState) error {
			chains = len(cs.VerifiedChains)
			return refused
		}}
		tt.tls.Host, tt.tls.CAFile = "mx.example.com", file
		cfg, err := tt.tls.Config()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := greet(t, address, cfg); !errors.Is(err, refused) || chains != tt.chains {
			t.Errorf("%+v: %v, with %d chains", tt.tls, err, chains)
		}
	}
}

func TestBaseIsKept(t *testing.T) {
	ca, other := newAuthority(t, nil, 24*time.Hour), newAuthority(t, nil, 24*time.Hour)
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	cache := tls.NewLRUClientSessionCache(1)
	base := &tls.Config{
		RootCAs: roots,
		Certificates: []tls.Certificate{ca.issue(t, &x509.Certificate{
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		})},
	}

	// The CA file joins the roots of Base, and the client's certificate is sent.
	cfg, err := TLS{Base: base, Host: "mx.example.com", CAFile: other.file(t)}.Config()
	if err != nil {
		t.Fatal(err)
	}
	for _, by := range []*authority{ca, other} {
		address := serve(t, &tls.Config{
			Certificates: []tls.Certificate{by.issue(t, nil, "mx.example.com")},
			ClientAuth:   tls.RequireAndVerifyClientCert,
			ClientCAs:    roots,
		})
		if _, err := greet(t, address, cfg); err != nil {
			t.Errorf("%s: %v", by.cert.Subject, err)
		}
	}

	// Base itself is left alone, and so is its pool.
	if base.ServerName != "" || base.ClientSessionCache != nil || base.MinVersion != 0 || base.VerifyConnection != nil {
		t.Error("Base was changed")
	}
	only := x509.NewCertPool()
	only.AddCert(ca.cert)
	if !base.RootCAs.Equal(only) {
		t.Error("the roots of Base were changed")
	}

	// What Base says about versions, cache and verification holds.
	cfg, err = TLS{Base: &tls.Config{MinVersion: tls.VersionTLS11, ClientSessionCache: cache, InsecureSkipVerify: true},
		NoVerifyHostname: true}.Config()
	if err != nil || cfg.MinVersion != tls.VersionTLS11 || cfg.ClientSessionCache != cache || !cfg.InsecureSkipVerify ||
		cfg.VerifyConnection != nil {
		t.Errorf("%v, %+v", err, cfg)
	}
}

// Fact 24: nothing older than TLS 1.2, unless Base names it.
func TestMinVersion(t *testing.T) {
	ca := newAuthority(t, nil, 24*time.Hour)
	file := ca.file(t)
	address := serve(t, &tls.Config{
		Certificates: []tls.Certificate{ca.issue(t, nil, "mx.example.com")},
		MinVersion:   tls.VersionTLS10, MaxVersion: tls.VersionTLS11,
	})
	for base, ok := range map[*tls.Config]bool{nil: false, {}: false, {MinVersion: tls.VersionTLS10}: true} {
		cfg, err := TLS{Base: base, Host: "mx.example.com", CAFile: file}.Config()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := greet(t, address, cfg); (err == nil) != ok {
			t.Errorf("%+v: %v", base, err)
		}
	}
}

func TestCAFile(t *testing.T) {
	ca := newAuthority(t, nil, 24*time.Hour)
	for _, tt := range []struct{ name, file, want string }{
		{"missing", filepath.Join(t.TempDir(), "none.pem"), "none.pem: no such file"},
		{"a folder", t.TempDir(), "is a directory"},
		{"empty", writeFile(t, ""), "holds no certificate in PEM form"},
		{"DER", writeFile(t, string(ca.cert.Raw)), "holds no certificate in PEM form"},
		{"a key", writeFile(t, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("key")}))),
			"holds no certificate in PEM form"},
	} {
		cfg, err := TLS{Host: "mx.example.com", CAFile: tt.file}.Config()
		if cfg != nil || err == nil || !strings.Contains(err.Error(), tt.want) ||
			!strings.HasPrefix(err.Error(), "CA file") {
			t.Errorf("%s: %v; want %q", tt.name, err, tt.want)
		}
	}
}
