package dial

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestParsePin(t *testing.T) {
	want := Pin(sha256.Sum256([]byte("x\x01")))
	digits := hex.EncodeToString(want[:])
	var colons []string
	for i := 0; i < len(digits); i += 2 {
		colons = append(colons, strings.ToUpper(digits[i:i+2]))
	}
	for _, good := range []string{
		digits, strings.ToUpper(digits), strings.Join(colons, ":"), " sha256:" + digits + "\n", "SHA256=" +
			strings.Join(colons, ":"),
		base64.StdEncoding.EncodeToString(want[:]), base64.RawStdEncoding.EncodeToString(want[:]),
		base64.URLEncoding.EncodeToString(want[:]),
		"sha256//" + base64.StdEncoding.EncodeToString(want[:]), want.String(),
	} {
		if got, err := ParsePin(good); got != want || err != nil {
			t.Errorf("ParsePin(%q) = %v, %v", good, got, err)
		}
	}
	slash := Pin{0xff, 0xff} // its base64 begins with the octet that ends the prefix
	for _, good := range []string{slash.String(), strings.Replace(slash.String(), "/", "//", 1),
		strings.TrimPrefix(slash.String(), "sha256/")} {
		if got, err := ParsePin(good); got != slash || err != nil {
			t.Errorf("ParsePin(%q) = %v, %v", good, got, err)
		}
	}
	for _, bad := range []string{"", "sha256:", "sha256", digits[2:], digits + "00", "sha1:" + digits[:40], "md5/xx",
		strings.Repeat("x", 10_000)} {
		if _, err := ParsePin(bad); err == nil || len(err.Error()) > 300 ||
			!strings.Contains(err.Error(), "64 hexadecimal digits") {
			t.Errorf("ParsePin(%.80q): %v", bad, err)
		}
	}
}

// A pinned server needs no authority, no name and no valid date; any other fails, with what there is to know about it.
func TestPins(t *testing.T) {
	cert := newAuthority(t, nil, time.Hour).issue(t, &x509.Certificate{NotBefore: time.Now().Add(-2 * time.Hour),
		NotAfter: time.Now().Add(-time.Hour)}, "expired.example.com")
	leaf, _ := x509.ParseCertificate(cert.Certificate[0])
	address := serve(t, &tls.Config{Certificates: []tls.Certificate{cert}})
	byCert, byKey := PinsOf(leaf)
	other := Pin{1}
	for _, tt := range []struct {
		name string
		pins []Pin
		ok   bool
	}{{"certificate", []Pin{byCert}, true}, {"key", []Pin{byKey}, true}, {"rotated", []Pin{other, byKey}, true},
		{"wrong", []Pin{other}, false}} {
		var pins []string
		for _, p := range tt.pins {
			pins = append(pins, p.String())
		}
		cfg, err := TLS{Host: "mx.example.com", Pins: pins, NoVerifyHostname: true}.Config()
		if err != nil {
			t.Fatal(err)
		}
		_, err = greet(t, address, cfg)
		if (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
		if tt.ok {
			continue
		}
		if _, is := errors.AsType[PinError](err); !is {
			t.Errorf("%s: %v", tt.name, err)
		}
		for _, part := range []string{"none of the pins", "expired.example.com", "issued by",
			leaf.NotAfter.UTC().Format(time.DateOnly), byCert.String(), byKey.String()} {
			if !strings.Contains(Explain(err).Error(), part) {
				t.Errorf("%v\n\tdoes not have %q", Explain(err), part)
			}
		}
	}
}

// A chain may hold anything: only the server's own certificate can be what is pinned.
func TestAPinOfAnotherCertificateInTheChain(t *testing.T) {
	pinned := newAuthority(t, nil, time.Hour)
	cert := newAuthority(t, nil, time.Hour).issue(t, nil, "mx.example.com")
	cert.Certificate = append(cert.Certificate, pinned.cert.Raw)
	pin, _ := PinsOf(pinned.cert)
	cfg, _ := TLS{Host: "mx.example.com", Pins: []string{pin.String()}}.Config()
	if _, err := greet(t, serve(t, &tls.Config{Certificates: []tls.Certificate{cert}}), cfg); err == nil {
		t.Error("accepted")
	}
}

// A session that was begun without verification, or under another pin, is not resumed without.
func TestSessionsOfOthersAreVerified(t *testing.T) {
	ca := newAuthority(t, nil, time.Hour)
	address := serve(t, &tls.Config{Certificates: []tls.Certificate{ca.issue(t, nil, "mx.example.com")}})
	cache := tls.NewLRUClientSessionCache(0)
	base := &tls.Config{ClientSessionCache: cache}
	lax, _ := TLS{Base: base, Host: "mx.example.com", NoVerifyCert: true}.Config()
	for range 2 {
		cs, err := greet(t, address, lax)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := cache.Get("mx.example.com"); !ok {
			t.Fatalf("there is no session to resume: %v", cs.DidResume)
		}
	}
	for name, strict := range map[string]TLS{"full": {}, "chain": {NoVerifyHostname: true},
		"pin": {Pins: []string{Pin{1}.String()}}} {
		strict.Base, strict.Host = base, "mx.example.com"
		cfg, err := strict.Config()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := greet(t, address, cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
		_, _ = greet(t, address, lax) // a new session: a failed one is forgotten
	}
}

func TestPinsThatCannotBe(t *testing.T) {
	good := Pin{1}.String()
	for _, bad := range []TLS{{Pins: []string{good, "x"}}, {Pins: []string{good}, NoVerifyCert: true},
		{KeyFile: "key.pem"}, {CertFile: "/nowhere"}} {
		bad.Host = "mx.example.com"
		if _, err := bad.Config(); err == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
}

func TestProves(t *testing.T) {
	for _, tt := range []struct {
		t    TLS
		want bool
	}{
		{TLS{}, true}, {TLS{NoVerifyCert: true}, false}, {TLS{NoVerifyHostname: true}, false},
		{TLS{Base: &tls.Config{InsecureSkipVerify: true}}, false},
		{TLS{Pins: []string{"x"}}, true}, {TLS{Pins: []string{"x"}, NoVerifyHostname: true}, true},
	} {
		if got := tt.t.Proves(); got != tt.want {
			t.Errorf("%+v: %t", tt.t, got)
		}
	}
}

// A client certificate that changed on disk is shown with the next handshake, also where the client could have resumed;
// half a change keeps the old one.
func TestClientCertificateIsReadAgain(t *testing.T) {
	ca := newAuthority(t, nil, time.Hour)
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	shown := make(chan string, 1)
	address := serve(t, &tls.Config{
		Certificates: []tls.Certificate{ca.issue(t, nil, "mx.example.com")}, ClientAuth: tls.RequireAndVerifyClientCert,
		ClientCAs: pool,
		VerifyConnection: func(cs tls.ConnectionState) error {
			shown <- cs.PeerCertificates[0].DNSNames[0]
			return nil
		},
	})
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	age := 10 * time.Hour
	write := func(file, kind string, der []byte) {
		var b bytes.Buffer
		_ = pem.Encode(&b, &pem.Block{Type: kind, Bytes: der})
		if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		age -= time.Hour // each file has another time, whatever the file system's grain
		_ = os.Chtimes(file, time.Time{}, time.Now().Add(-age))
	}
	issue := func(name string) (cert, key []byte) {
		c := ca.issue(t, &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, name)
		der, err := x509.MarshalECPrivateKey(c.PrivateKey.(*ecdsa.PrivateKey))
		if err != nil {
			t.Fatal(err)
		}
		return c.Certificate[0], der
	}
	oldCert, oldKey := issue("old")
	newCert, newKey := issue("new")
	write(certFile, "CERTIFICATE", oldCert)
	write(keyFile, "EC PRIVATE KEY", oldKey)
	cfg, err := TLS{Host: "mx.example.com", CAFile: ca.file(t), CertFile: certFile, KeyFile: keyFile}.Config()
	if err != nil {
		t.Fatal(err)
	}
	expect := func(want string, resumed bool) {
		t.Helper()
		cs, err := greet(t, address, cfg)
		if err != nil {
			t.Fatal(err)
		}
		if got := <-shown; got != want || cs.DidResume != resumed {
			t.Errorf("the server saw %q, resumed %t; want %q, %t", got, cs.DidResume, want, resumed)
		}
	}
	expect("old", false)
	expect("old", true)
	write(certFile, "CERTIFICATE", newCert)
	expect("old", true)
	write(keyFile, "EC PRIVATE KEY", newKey)
	expect("new", false)
	expect("new", true)
	os.Remove(keyFile)
	expect("new", true)
}
