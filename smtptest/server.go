package smtptest

import (
	"context"
	"crypto/tls"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/memnet"
)

// Server is an SMTP server for tests. Its fields are set between
// [NewUnstartedServer] and [Server.Start] and not changed afterwards.
type Server struct {
	// Listener accepts the connections. If nil, Start listens on a free port of
	// 127.0.0.1. If it has a Dial method, as that of InMemory has, Config makes the
	// client use it.
	Listener net.Listener

	// Addr is the address of the Listener, set by Start.
	Addr string

	// Mode selects plain SMTP, implicit TLS or STARTTLS.
	Mode postrider.SecureMode

	// Certificate selects the certificate that the server presents: a good one or
	// one of several bad ones.
	Certificate Certificate

	// TLS is the base of the TLS configuration: versions, client certificates. Its
	// certificates, if any, replace Certificate. If nil, the defaults are used.
	TLS *tls.Config

	// Hostname is the server's name in the greeting and in replies to EHLO. Default
	// "localhost".
	Hostname string

	// Users are the names and passwords that AUTH accepts. If empty, AUTH is not
	// offered. With StartTLS, AUTH is offered only under TLS.
	Users map[string]string

	// Mechanisms are the SASL mechanisms that AUTH offers. Default PLAIN, LOGIN,
	// CRAM-MD5. Also supported are SCRAM-SHA-256 and SCRAM-SHA-1, both with -PLUS
	// under TLS; OAUTHBEARER and XOAUTH2, for which the password is the token; and
	// EXTERNAL, for which TLS must request a client certificate, whose first name
	// is the user.
	Mechanisms []string

	// OAuthRefusal is the document that the server sends before the 535 if it refuses
	// a token. Default: one of RFC 7628 §3.2.2.
	OAuthRefusal string

	// RequireAuth refuses MAIL before AUTH. RequireTLS refuses every command but
	// EHLO, STARTTLS, NOOP and QUIT before STARTTLS.
	RequireAuth bool
	RequireTLS  bool

	// Extensions are what EHLO offers and the server then accepts.
	// NewUnstartedServer sets them to AllExtensions.
	Extensions Extensions

	// BeforeTLS, if set, replaces Extensions until the STARTTLS handshake.
	BeforeTLS *Extensions

	// MaxTransactions is how many MAIL commands a connection may send. The next one
	// is answered with 421, and the connection closed. If 0, there is no limit.
	MaxTransactions int

	// MaxConnections is how many connections may be open at a time. Further ones are
	// greeted with 421 and closed. If 0, there is no limit.
	MaxConnections int

	// MaxRecipients is how many recipients a transaction may have. Further ones are
	// answered with 452. Default 1000.
	MaxRecipients int

	// MaxTextLine is the longest line of content that is accepted, its CRLF
	// included: a server must accept 1000 octets (RFC 5321 §4.5.3.1.6). If 0, there
	// is no limit, because a server should have none if possible, and a client that
	// passes content on unchanged cannot keep to one.
	MaxTextLine int

	// RequireDomain refuses addresses without a domain, which RFC 5321 allows only
	// for Postmaster. Otherwise they are accepted, as by most servers with local
	// users.
	RequireDomain bool

	// AnyPipelining accepts groups of commands that RFC 2920 does not allow: any
	// group if PIPELINING was not offered, otherwise one in which a command follows
	// EHLO, DATA, VRFY, NOOP, QUIT or AUTH. If false, they are answered with 554, and
	// the connection is closed.
	AnyPipelining bool

	// RejectBareLineEnds refuses content with a CR or LF that is not a CRLF.
	RejectBareLineEnds bool

	// Faults are what goes wrong; see also Inject and QueueError.
	Faults []Fault

	// Policy is called for every command that the server would accept. It returns a
	// reply such as "550 5.1.1 no such user", or "" to let the command pass. Several
	// connections may call it at once.
	Policy func(Command) (reply string)

	// OnMessage is called with every accepted message before the reply is written.
	// Several connections may call it at once.
	OnMessage func(*Message)

	// Discard keeps neither messages nor transcripts, for benchmarks and for servers
	// that run long. Without OnMessage, content is not collected at all.
	Discard bool

	// IdleTimeout is how long the server waits for the client before it sends 421
	// and closes. Default 5 minutes (RFC 5321 §4.5.3.2.7). If negative, forever.
	IdleTimeout time.Duration

	// Log reports what goes wrong at Close. If nil, the log package does.
	Log func(format string, args ...any)

	tlsConfig *tls.Config
	scripted  atomic.Bool // whether any fault, policy or queued error is to be looked at
	closing   chan struct{}
	once      sync.Once // Close
	handlers  sync.WaitGroup
	verbs     [numVerbs]atomic.Int64
	taken     atomic.Int64 // transactions

	mu          sync.Mutex // guards what follows
	open        map[*conn]bool
	shut        bool
	most        int // connections that were open at a time
	accepted    int // connections in all
	counted     int // connections since the last reset of the count
	messages    []*Message
	credentials []string
	transcripts map[int]*transcript
	armed       []*armed
	queued      []queuedError
}

// NewServer starts a server that speaks plain SMTP on a free port of 127.0.0.1.
// The caller must close it.
func NewServer() *Server {
	s := NewUnstartedServer()
	s.Start()
	return s
}

// NewUnstartedServer returns a server whose fields can still be set before Start.
func NewUnstartedServer() *Server {
	return &Server{Extensions: AllExtensions()}
}

// InMemory returns a listener without a socket, inside this process. Clients reach
// it through the Dial of the server's Config. The name is the server's address; its
// host is checked against the certificate, so use "localhost:25".
func InMemory(name string) net.Listener { return memnet.Listen(name) }

// Start begins to listen. Like httptest's Start it panics if that fails, if the
// server was started before, or if its fields make no sense.
func (s *Server) Start() {
	if s.closing != nil {
		panic("smtptest: Server.Start was called twice")
	}
	s.setDefaults()
	if err := s.listen(); err != nil {
		panic(fmt.Sprintf("smtptest: cannot listen: %v", err))
	}
	s.Inject(s.Faults...)
	if s.Policy != nil {
		s.scripted.Store(true)
	}
	s.handlers.Go(s.accept)
}

// setDefaults fills in what Start needs. Mistakes show here, before the server can
// be reached.
func (s *Server) setDefaults() {
	s.closing = make(chan struct{})
	s.open = make(map[*conn]bool)
	s.transcripts = make(map[int]*transcript)
	if s.Hostname == "" {
		s.Hostname = "localhost"
	}
	if s.MaxRecipients <= 0 {
		s.MaxRecipients = 1000
	}
	if s.IdleTimeout == 0 {
		s.IdleTimeout = 5 * time.Minute
	}
	for _, m := range s.mechanisms() {
		if mechanisms[m] == nil {
			panic("smtptest: unknown mechanism " + m + " in Server.Mechanisms")
		}
	}
	s.tlsConfig = s.serverTLS()
}

// listen opens the default listener, on IPv6 where a machine has nothing else.
func (s *Server) listen() (err error) {
	if s.Listener == nil {
		if s.Listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			s.Listener, err = net.Listen("tcp", "[::1]:0")
		}
	}
	if err != nil {
		return err
	}
	s.Addr = s.Listener.Addr().String()
	if s.Listener.Addr().Network() == "unix" {
		s.Addr = "unix:" + s.Addr
	}
	return nil
}

// accept serves connections until the listener is closed. Counting comes first:
// a connection counts even if the server does nothing for it.
func (s *Server) accept() {
	for {
		nc, err := s.Listener.Accept()
		if err != nil {
			return
		}
		c := &conn{srv: s, number: s.count(), peer: nc.RemoteAddr()}
		c.use(nc)
		if s.admit(c) {
			s.handlers.Go(c.serve)
		} else {
			nc.Close()
		}
	}
}

// count counts a connection and returns its number.
func (s *Server) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accepted++
	s.counted++
	return s.accepted
}

// admit takes a connection into the books, unless the server is being closed.
func (s *Server) admit(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shut {
		return false
	}
	s.open[c] = true
	if c.surplus = s.MaxConnections > 0 && len(s.open) > s.MaxConnections; !c.surplus {
		s.most = max(s.most, len(s.open))
	}
	if !s.Discard {
		c.transcript = &transcript{}
		s.transcripts[c.number] = c.transcript
	}
	return true
}

func (s *Server) forget(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
}

// Config returns a client configuration that reaches this server, trusts its CA, and
// authenticates as the first of its Users in alphabetical order.
func (s *Server) Config() postrider.Config {
	c := postrider.Config{Address: s.Addr, Mode: s.Mode}
	if s.Mode != postrider.Insecure {
		c.TLS = &tls.Config{RootCAs: s.CertPool()}
	}
	if d, ok := s.Listener.(interface {
		Dial(ctx context.Context, network, address string) (net.Conn, error)
	}); ok {
		c.Dial = d.Dial
		c.LocalName = "localhost" // in memory there is no resolver to ask, nor in a synctest bubble
	}
	if users := slices.Sorted(maps.Keys(s.Users)); len(users) > 0 {
		c.User, c.Password = users[0], postrider.NewSecret(s.Users[users[0]])
	}
	return c
}

// mechanisms returns what AUTH offers, in upper case.
func (s *Server) mechanisms() []string {
	if s.Mechanisms == nil {
		return []string{"PLAIN", "LOGIN", "CRAM-MD5"}
	}
	upper := make([]string, len(s.Mechanisms))
	for i, m := range s.Mechanisms {
		upper[i] = strings.ToUpper(m)
	}
	return upper
}
