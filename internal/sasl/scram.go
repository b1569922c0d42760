package sasl

import (
	"crypto/tls"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/xdg-go/scram"
)

// maxIterations bounds the work that a server can make us do: a million rounds take about a second.
const maxIterations = 1_000_000

// scramMethod is one of the SCRAM mechanisms (RFC 5802, RFC 7677). It proves that both ends know the password, which
// does not travel; with -PLUS it also proves that both are ends of the same TLS connection.
//
// The conversation stands behind functions, because it holds the password.
type scramMethod struct {
	name    string
	step    func(challenge string) (string, error)
	valid   func() bool
	who     func() Credentials
	first   string // the client's first message, once it was made
	started bool   // and the server has it
	turns   int
}

// newSCRAM starts a conversation; nonce is nil but in tests.
func newSCRAM(name string, c Credentials, peer Peer, nonce scram.NonceGeneratorFcn) (*scramMethod, error) {
	client, err := scramClient(name, c)
	if err != nil {
		return nil, err
	}
	if nonce != nil {
		client.WithNonceGenerator(nonce)
	}
	binding, possible := peer.binding()
	var talk *scram.ClientConversation
	switch {
	case isPlus(name) && !possible:
		return nil, errors.New("there is no TLS connection to bind to")
	case isPlus(name):
		talk = client.NewConversationWithChannelBinding(binding)
	case possible && !slices.ContainsFunc(peer.Offered, isPlus):
		// RFC 5802 §6: "I could have bound the channel, but you seem unable to". A server that is able knows then that
		// an attacker between us removed its offer.
		talk = client.NewConversationAdvertisingChannelBinding()
	default:
		talk = client.NewConversation()
	}
	return &scramMethod{name: name, step: talk.Step, valid: talk.Valid, who: func() Credentials { return c }}, nil
}

// scramClient prepares the names by SASLprep (RFC 5802 §5.1). What SASLprep does not know, every emoji for one, goes as
// it is: so do servers that let administrators choose it.
func scramClient(name string, c Credentials) (*scram.Client, error) {
	hash := scram.SHA256
	if strings.HasPrefix(name, scramSHA1) {
		hash = scram.SHA1
	}
	client, err := hash.NewClient(c.User, c.Password, "")
	if err != nil {
		client, err = hash.NewClientUnprepped(c.User, c.Password, "")
	}
	return client, err
}

func isPlus(mechanism string) bool {
	return len(mechanism) > len(plus) && strings.EqualFold(mechanism[len(mechanism)-len(plus):], plus)
}

// binding is the channel that a -PLUS mechanism binds to: tls-exporter under TLS 1.3 (RFC 9266 §3) and
// tls-server-end-point before (RFC 5929 §4), which not every kind of certificate has.
func (p Peer) binding() (b scram.ChannelBinding, possible bool) {
	if p.TLS == nil {
		return b, false
	}
	var err error
	if p.TLS.Version >= tls.VersionTLS13 {
		b, err = scram.NewTLSExporterBinding(p.TLS)
	} else {
		b, err = scram.NewTLSServerEndpointBinding(p.TLS)
	}
	return b, err == nil
}

func (s *scramMethod) Start() ([]byte, bool, error) {
	first, err := s.step("")
	s.first = first
	return []byte(first), true, err
}

// Next answers the server's first message with the proof, and its final one, when it has proven itself, with nothing.
// An empty challenge asks for the initial response.
func (s *scramMethod) Next(challenge []byte) ([]byte, error) {
	if len(challenge) == 0 && !s.started {
		s.started = true
		return []byte(s.first), nil
	}
	s.started = true
	s.turns++
	if s.turns > 2 {
		return nil, unexpected(s.name, challenge, s.who())
	}
	if err := checkIterations(string(challenge)); err != nil {
		return nil, fmt.Errorf("AUTH %s: %w", s.name, err)
	}
	response, err := s.step(string(challenge))
	if err != nil {
		return nil, fmt.Errorf("AUTH %s: %s", s.name, show(s.who().Hide(err.Error())))
	}
	return []byte(response), nil
}

// Verdict believes no 235 of a server that has not shown that it knows the password (RFC 5802 §3): whoever does not can
// say 235 as well.
func (s *scramMethod) Verdict(accepted bool) error {
	if accepted && !s.valid() {
		return fmt.Errorf("AUTH %s: %w", s.name, ErrUnproven)
	}
	return nil
}

var iterations = regexp.MustCompile(`(?:^|,)i=([0-9]+)`)

func checkIterations(challenge string) error {
	m := iterations.FindStringSubmatch(challenge)
	if m == nil {
		return nil
	}
	if n, err := strconv.Atoi(m[1]); err != nil || n > maxIterations {
		return fmt.Errorf("the server wants more than %d iterations", maxIterations)
	}
	return nil
}
