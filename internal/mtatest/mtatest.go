//go:build linux

package mtatest

import (
	"crypto/tls"
	"crypto/x509"
	"math"
	"net"
	"syscall"
	"testing"
)

// Mode says where TLS begins in a conversation.
type Mode string

// The words are those of Mailman's smtp_secure_mode, which the scripts take as they are.
const (
	Plain       Mode = "smtp"     // no TLS at all
	StartTLS    Mode = "starttls" // TLS by the STARTTLS command (RFC 3207); mail is refused before it
	ImplicitTLS Mode = "smtps"    // TLS before the greeting (RFC 8314 §3.3)
)

// User and Password are the only credentials that Mailman's test MTA knows (they are written in its
// source). The other servers take any pair; a test over all of them uses this one.
const (
	User     = "testuser"
	Password = "testpass"
)

// Options says how to start a server. The zero value is a server without TLS that takes mail from anybody.
type Options struct {
	Mode Mode // "" means Plain

	// User and Password are the one account. With a User the server offers AUTH, in StartTLS mode
	// only under TLS, and accepts mail only from authenticated clients, so that an accepted
	// message proves the login. Only Mailman's test MTA accepts mail from any client all the same.
	User     string
	Password string

	// Extra lines are added to the server's configuration, and win over what it says already: main.cf
	// of Postfix, the main section of Exim's file, smtpd.conf before "listen"; for aiosmtpd each is a
	// parameter of its SMTP class with its value in JSON, as "data_size_limit=1000". Mailman's test MTA
	// and the servers on go-smtp have nothing to configure.
	Extra []string
}

// Server is a mail server under way on the loopback interface, until its test ends.
type Server struct {
	Name     string // as in Kind
	Address  string // 127.0.0.1:port
	Mode     Mode
	User     string // of Options
	Password string

	// CAFile is the PEM file of the authority that signed the server's certificate for localhost,
	// 127.0.0.1 and ::1; CAs is the same as a pool. Both are there in Plain mode too.
	CAFile string
	CAs    *x509.CertPool

	process *process
	read    func() ([]Message, error)
	start   func(testing.TB) // starts process, again after a stop (Postfix only)
}

// Message is one message as a server took it.
type Message struct {
	From string   // reverse-path, "" for the null path
	To   []string // forward-paths as the client gave them, in order (OpenSMTPD: sorted; it keeps no order)

	// Content is what stands in the server's queue, after these steps. One Received field is cut
	// from its beginning if the server put one there (RFC 5321 §4.4); Postfix, Exim and OpenSMTPD
	// do. Lines end in CRLF again where the queue file has bare LF (the same three).
	// Postfix drops Bcc, Resent-Bcc, Return-Path and Content-Length fields before it queues, and
	// OpenSMTPD ends a header that has no Date or no Message-ID with one.
	Content []byte

	// Record is what else the server noted about the message, in the server's own form, for a
	// test that wants to see an ENVID, a login or a TLS version there: the envelope records of
	// postcat, the head of Exim's -H file, OpenSMTPD's envelope files, JSON for aiosmtpd and go-smtp, and for
	// Mailman the message as its test suite sees it, with X-Peer, X-MailFrom and X-RcptTo.
	Record string
}

// Messages returns the messages that the server has accepted until now, oldest first; it leaves them
// where they are. A message whose final reply the client has read is among them.
// OpenSMTPD's queue shows the age only to the granularity of file times: those accepted within
// a few milliseconds may change places.
func (s *Server) Messages(t testing.TB) []Message {
	t.Helper()
	messages, err := s.read()
	if err != nil {
		t.Fatalf("mtatest: reading what %s queued: %v", s.Name, err)
	}
	return messages
}

// Log returns what the server has logged until now. When its test has failed it is logged automatically.
func (s *Server) Log() string { return s.process.log() }

// Reload lets a Postfix read its configuration again: processes that serve a connection go on to its
// end, and take no other.
func (s *Server) Reload(t testing.TB) {
	t.Helper()
	if err := s.process.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatalf("mtatest: %v", err)
	}
}

// Restart stops a Postfix, connections that are open included, and starts it again with its queue, at
// the same address.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	if err := s.process.stop(); err != nil {
		t.Fatalf("mtatest: %v", err)
	}
	s.start(t)
}

// WholeLog is Log without its limit: for tests that count in it.
func (s *Server) WholeLog() string { return s.process.tail(math.MaxInt) }

// TLSConfig returns a client configuration that trusts the server and knows it as localhost.
func (s *Server) TLSConfig() *tls.Config {
	return &tls.Config{RootCAs: s.CAs, ServerName: "localhost"}
}

// Target says to a client driver how to reach this server.
func (s *Server) Target() Target {
	return Target{Address: s.Address, Mode: s.Mode, CAFile: s.CAFile, User: s.User, Password: s.Password}
}

// Kind is one kind of server and what it can do, for tests that repeat over all of them.
type Kind struct {
	Name       string
	Start      func(testing.TB, Options) *Server
	Modes      []Mode   // those it can run in
	Mechanisms []string // of AUTH, when Options has a User; none means it has no AUTH here
}

// Kinds lists every kind of server. All of them know User and Password if they are given.
func Kinds() []Kind {
	all := []Mode{Plain, StartTLS, ImplicitTLS}
	mailman := func(t testing.TB, o Options) *Server {
		t.Helper()
		return MailmanMTA(t, o).Server
	}
	kinds := []Kind{
		{"Postfix", Postfix, all, []string{"PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256"}},
		{"Exim", Exim, all, []string{"PLAIN", "LOGIN", "CRAM-MD5"}},
		{"OpenSMTPD", OpenSMTPD, []Mode{Plain}, nil},
		{"aiosmtpd", Aiosmtpd, all, []string{"PLAIN", "LOGIN"}},
		{"Mailman", mailman, all, []string{"PLAIN"}},
	}
	for _, version := range goSMTPVersions {
		kinds = append(kinds, Kind{"go-smtp-" + version, GoSMTP(version), []Mode{Plain}, nil})
	}
	return kinds
}

// newServer fills in what every server has: a free port, a certificate, and the options in short form.
func newServer(t testing.TB, name, dir string, o Options) *Server {
	t.Helper()
	if o.Mode == "" {
		o.Mode = Plain
	}
	s := &Server{
		Name: name, Mode: o.Mode, User: o.User, Password: o.Password,
		Address: net.JoinHostPort("127.0.0.1", reservePort(t)),
		CAFile:  dir + "/" + caFile,
	}
	s.CAs = writeCertificates(t, dir)
	return s
}

// port is the last part of the address.
func (s *Server) port() string {
	_, port, _ := net.SplitHostPort(s.Address)
	return port
}
