package hint

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// provoked are failures with an error from the network or from TLS. The errors are the real ones: each is what happens
// when it is done to a server on this machine.
func provoked(t *testing.T) []row {
	t.Helper()
	return append(append(dialRows(t), silenceRows(t)...), append(handshakeRows(t), certificateRows(t)...)...)
}

func dialRows(t *testing.T) []row {
	t.Helper()
	refused := refusedDial(t)
	gone := filepath.Join(t.TempDir(), "gone")
	_, noSocket := net.Dial("unix", gone)
	dead := deadSocket(t)
	_, noListener := net.Dial("unix", dead)
	at := func(host, port string, err error) Failure {
		return Failure{Step: Dial, Mode: "smtp", Host: host, Port: port, Err: wrapped(err)}
	}
	// These two need a network that is broken in a certain way, and a user who is not root.
	unreachable := &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ENETUNREACH)}
	denied := &net.OpError{Op: "dial", Net: "unix", Err: os.NewSyscallError("connect", syscall.EACCES)}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	_, gaveUp := (&net.Dialer{}).DialContext(canceled, "tcp", "127.0.0.1:25")

	return []row{
		{at("mx.invalid", "25", lookup(t, noSuchName)), "no such name",
			[]string{`"mx.invalid"`, "check Config.Address"}},
		{at("mx.invalid", "25", lookup(t, noResolver)), "resolver fails", []string{"Config.Address"}},
		{at("localhost", "2525", refused), "refused on this machine",
			[]string{"port 2525 of this machine", "container"}},
		{at("127.0.0.1", "25", refused), "refused on this machine",
			[]string{"port 25 of 127.0.0.1", "not on ::1 alone"}},
		{at("::1", "25", refused), "refused on this machine",
			[]string{"port 25 of ::1", "127.0.0.1 alone, so set Config.Address to 127.0.0.1:25;"}},
		{at("192.0.2.1", "25", refused), "refused", []string{"587 for starttls", "465 for smtps"}},
		{at(gone, "", noSocket), "no such socket", []string{"MTA running"}},
		{at(dead, "", noListener), "no such socket", nil},
		{at("/run/mta", "", denied), "socket not allowed", []string{`"/run/mta"`, "permissions"}},
		{at("2001:db8::1", "25", unreachable), "unreachable", []string{"IPv6"}},
		{at("192.0.2.1", "25", dialTimeout(t)), "timeout on connect", []string{"firewall", "587"}},
		{at("192.0.2.1", "25", context.DeadlineExceeded), "timeout on connect", nil},
		{at("192.0.2.1", "25", gaveUp), "", nil},
	}
}

// refusedDial is what a port says whose listener is gone.
func refusedDial(t *testing.T) error {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	_, err = net.Dial("tcp", l.Addr().String())
	return err
}

// deadSocket is the path of a socket whose listener is gone.
func deadSocket(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "dead")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	return path
}

func dialTimeout(t *testing.T) error {
	t.Helper()
	_, err := (&net.Dialer{Deadline: time.Now().Add(-time.Second)}).Dial("tcp", "127.0.0.1:25")
	return err
}

// lookup asks for a name at a name server that is the other end of a pipe.
func lookup(t *testing.T, server func(net.Conn)) error {
	t.Helper()
	r := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		c, s := net.Pipe()
		go server(s)
		return c, nil
	}}
	_, err := (&net.Dialer{Resolver: r}).Dial("tcp", "mx.invalid:25")
	return err
}

// noSuchName answers every question with NXDOMAIN, RFC 1035 §4.1.1 in the framing of §4.2.2.
func noSuchName(c net.Conn) {
	defer c.Close()
	var size [2]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return
	}
	m := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(c, m); err != nil {
		return
	}
	m[2] |= 0x80 // a response
	m[3] = 0x83  // recursion available, RCODE 3
	_, _ = c.Write(append(size[:], m...))
}

func noResolver(c net.Conn) { c.Close() }

func silenceRows(t *testing.T) []row {
	t.Helper()
	late := readError(t, func(net.Conn) {})
	closed := readError(t, func(s net.Conn) { s.Close() })
	half := wrapped(io.ErrUnexpectedEOF)
	return []row{
		{Failure{Step: Greeting, Mode: "smtp", Port: "465", Err: late}, "silence on port 465",
			[]string{"Config.Mode to ImplicitTLS"}},
		{Failure{Step: Greeting, Mode: "starttls", Port: "465", Err: closed}, "silence on port 465", nil},
		{Failure{Step: Greeting, Mode: "smtps", Port: "465", Err: closed}, "hung up before the greeting", nil},
		{Failure{Step: Greeting, Mode: "smtp", Port: "25", Err: half}, "hung up before the greeting",
			[]string{"Config.Mode to ImplicitTLS"}},
		{Failure{Step: Greeting, Mode: "smtp", Port: "25", Err: late}, "no greeting in time",
			[]string{"Config.Timeouts.Greeting "}},
		{Failure{Step: Greeting, Mode: "smtp", Port: "25", Err: wrapped(context.DeadlineExceeded)},
			"no greeting in time", nil},
		{Failure{Step: Handshake, Mode: "smtps", Err: closed}, "hung up in the handshake",
			[]string{"port without TLS"}},
		{Failure{Step: Handshake, Mode: "smtps", Err: wrapped(context.DeadlineExceeded)}, "no answer in time",
			[]string{"Config.Timeouts.TLS,"}},
		{Failure{Step: Hello, Err: late}, "no answer in time", []string{"Config.Timeouts.Hello,"}},
		{Failure{Step: StartTLS, Err: late}, "no answer in time", []string{"Config.Timeouts.TLS,"}},
		{Failure{Step: Auth, Err: late}, "no answer in time", []string{"Config.Timeouts.Auth,"}},
		{Failure{Step: Mail, Err: late}, "no answer in time", []string{"Config.Timeouts.Mail,"}},
		{Failure{Step: Rcpt, Err: late}, "no answer in time", []string{"Config.Timeouts.Rcpt,"}},
		{Failure{Step: Data, Err: late}, "no answer in time", []string{"Config.Timeouts.Data,"}},
		{Failure{Step: Content, Err: late}, "no answer in time", []string{"Config.Timeouts.Final,"}},
		{Failure{Step: Mail, Err: closed}, "", nil},
		{Failure{Step: Mail, Err: context.Canceled}, "", nil},
	}
}

// readError reads from a server that says nothing, with a deadline that has passed; what the server did comes first.
func readError(t *testing.T, serve func(net.Conn)) error {
	t.Helper()
	c, s := net.Pipe()
	defer c.Close()
	defer s.Close()
	serve(s)
	if err := c.SetReadDeadline(time.Now().Add(-time.Second)); err != nil && !errors.Is(err, io.ErrClosedPipe) {
		t.Fatal(err)
	}
	_, err := c.Read(make([]byte, 1))
	return wrapped(err)
}

func handshakeRows(t *testing.T) []row {
	t.Helper()
	ca := newCA(t, "Postrider test CA")
	good := ca.issue(t, &x509.Certificate{DNSNames: []string{"mx.example.com"}})
	with := func(mode string, client, server *tls.Config) Failure {
		server.Certificates = []tls.Certificate{good}
		client.ServerName, client.RootCAs = "mx.example.com", ca.pool()
		return Failure{Step: Handshake, Mode: mode, Host: "mx.example.com", Port: "465",
			Err: wrapped(handshake(t, client, server))}
	}
	plain := wrapped(toPlainServer(t))
	return []row{
		{Failure{Step: Handshake, Mode: "smtps", Port: "25", Err: plain}, "TLS to a plain port",
			[]string{"Config.Mode to StartTLS", "465"}},
		{Failure{Step: Handshake, Mode: "starttls", Port: "25", Err: plain}, "no TLS after STARTTLS",
			[]string{"interfere"}},
		{with("smtps", &tls.Config{}, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}),
			"protocol version", []string{"MinVersion in Config.TLS"}},
		{with("smtps", &tls.Config{MaxVersion: tls.VersionTLS12}, &tls.Config{MinVersion: tls.VersionTLS13}),
			"protocol version", nil},
		{with("starttls", &tls.Config{MaxVersion: tls.VersionTLS12},
			&tls.Config{CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}}),
			"no cipher in common", []string{"Config.TLS"}},
		{with("smtps", &tls.Config{}, &tls.Config{ClientAuth: tls.RequireAnyClientCert}), "client certificate",
			[]string{"Config.ClientCert and Config.ClientKey"}},
	}
}

// certificateRows are the failures of verification.
func certificateRows(t *testing.T) []row {
	t.Helper()
	ca, stranger := newCA(t, "Postrider test CA"), newCA(t, "Somebody's \x1b CA")
	names := []string{"mx.example.com", "mx2.example.com"}
	cn := pkix.Name{CommonName: "mx.example.com"}
	past, future := time.Date(2001, 2, 3, 0, 0, 0, 0, time.UTC), time.Date(2091, 2, 3, 0, 0, 0, 0, time.UTC)
	whole := stranger.issue(t, &x509.Certificate{DNSNames: names})
	whole.Certificate = append(whole.Certificate, stranger.cert.Raw)
	self := newCA(t, "mx.example.com")

	verify := func(host string, cert tls.Certificate) Failure {
		err := handshake(t, &tls.Config{ServerName: host, RootCAs: ca.pool()},
			&tls.Config{Certificates: []tls.Certificate{cert}})
		return Failure{Step: Handshake, Mode: "starttls", Host: host, Port: "587", Err: wrapped(err)}
	}
	bare := verify("mx.example.com", whole)
	bare.Err = wrapped(x509.UnknownAuthorityError{Cert: stranger.cert}) // as a check of the caller's own may return it
	return []row{
		{verify("mx.example.com", ca.issue(t, &x509.Certificate{DNSNames: names, NotBefore: past,
			NotAfter: past.Add(time.Hour)})),
			"certificate expired", []string{"from 2001-02-03 to 2001-02-03", "renew", "Config.NoVerifyCert to true"}},
		{verify("mx.example.com", ca.issue(t, &x509.Certificate{DNSNames: names, NotBefore: future,
			NotAfter: future.Add(time.Hour)})),
			"certificate expired", []string{"from 2091-02-03", "clock"}},
		{verify("mx.example.com", ca.issue(t, &x509.Certificate{DNSNames: names,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})),
			"certificate for other uses", []string{"issue it again"}},
		{verify("mx.example.com", self.tls()), "self-signed", []string{"Config.CAFile"}},
		{verify("mx.example.com", stranger.issue(t, &x509.Certificate{DNSNames: names})),
			"unknown authority", []string{`Somebody's \x1b CA`, "Config.CAFile", "intermediate"}},
		{verify("mx.example.com", whole), "unknown authority", []string{"Config.CAFile", "!intermediate"}},
		{bare, "unknown authority", []string{"Config.CAFile"}},
		{verify("mx.example.com", ca.issue(t, &x509.Certificate{Subject: cn})),
			"CN only", []string{`legacy Common Name, "mx.example.com"`, "subjectAltName",
				"Config.NoVerifyHostname to true"}},
		{verify("smtp.example.com", ca.issue(t, &x509.Certificate{DNSNames: names, Subject: cn})),
			"wrong name", []string{`is for "mx.example.com", "mx2.example.com", not for "smtp.example.com"`,
				"Config.ServerName", "Config.NoVerifyHostname to true"}},
		{verify("127.0.0.1", ca.issue(t, &x509.Certificate{DNSNames: names})),
			"wrong name", []string{`not for "127.0.0.1"`}},
		{verify("127.0.0.1", ca.issue(t, &x509.Certificate{IPAddresses: []net.IP{net.IPv4(192, 0, 2, 1)}})),
			"wrong name", []string{`is for "192.0.2.1"`}},
	}
}

// What the hint about a self-signed certificate advises works: it is its own CA file.
func TestSelfSignedAdvice(t *testing.T) {
	key := newKey(t)
	leaf := &authority{key: key, cert: sign(t, key, nil, &x509.Certificate{DNSNames: []string{"mx.example.com"}})}
	server := &tls.Config{Certificates: []tls.Certificate{leaf.tls()}}
	if err := handshake(t, &tls.Config{ServerName: "mx.example.com", RootCAs: leaf.pool()}, server); err != nil {
		t.Error(err)
	}
}

// handshake returns what the client says to a server of that configuration, the handshake and the first read behind it:
// in TLS 1.3 a server refuses a client after the client has finished.
func handshake(t *testing.T, client, server *tls.Config) error {
	t.Helper()
	return over(t, client, func(c net.Conn) {
		s := tls.Server(c, server)
		_, _ = io.WriteString(s, "220 mx\r\n")
	})
}

// toPlainServer is what a server says that begins to speak at once.
func toPlainServer(t *testing.T) error {
	t.Helper()
	return over(t, &tls.Config{ServerName: "mx.example.com"}, func(c net.Conn) {
		_, _ = io.WriteString(c, "220 mx.example.com ESMTP\r\n")
		_, _ = io.Copy(io.Discard, c)
	})
}

// over shakes hands over loopback, where, unlike over a pipe, both sides can write at once.
func over(t *testing.T, client *tls.Config, serve func(net.Conn)) error {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if c, err := l.Accept(); err == nil {
			serve(c)
			c.Close()
		}
	}()
	c, err := tls.Dial("tcp", l.Addr().String(), client)
	if err == nil {
		_, err = c.Read(make([]byte, 1))
		c.Close()
	}
	<-done
	return err
}

// authority is a certificate with its key.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newCA(t *testing.T, name string) *authority {
	t.Helper()
	key := newKey(t)
	return &authority{key: key, cert: sign(t, key, nil, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, IsCA: true, BasicConstraintsValid: true,
	})}
}

func (a *authority) issue(t *testing.T, template *x509.Certificate) tls.Certificate {
	t.Helper()
	key := newKey(t)
	return (&authority{key: key, cert: sign(t, key, a, template)}).tls()
}

func (a *authority) tls() tls.Certificate {
	return tls.Certificate{Certificate: [][]byte{a.cert.Raw}, PrivateKey: a.key}
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// sign makes a certificate, valid now unless the template says otherwise; by nil, it is self-signed.
func sign(t *testing.T, key *ecdsa.PrivateKey, by *authority, template *x509.Certificate) *x509.Certificate {
	t.Helper()
	template.SerialNumber = big.NewInt(1)
	if template.NotBefore.IsZero() {
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
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
