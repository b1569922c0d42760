// Package sasl speaks the client's half of SASL (RFC 4422) for the AUTH command of SMTP (RFC 4954).
//
// Choose picks a mechanism out of what the server offers, New starts an Exchange for it, and the caller carries the
// octets: base64, the AUTH and 334 lines and the server's verdict are its business. Nothing here does I/O, and no error
// or printed value ever holds the password.
package sasl

import (
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/postrider/postrider/internal/hint"
)

// The mechanisms that New knows, by their registered names.
const (
	CRAMMD5         = "CRAM-MD5"    // RFC 2195: the password itself does not travel
	External        = "EXTERNAL"    // RFC 4422 Appendix A: the client certificate
	Login           = "LOGIN"       // never standardised, but all that some servers offer
	OAuthBearer     = "OAUTHBEARER" // RFC 7628
	Plain           = "PLAIN"       // RFC 4616
	SCRAMSHA1       = scramSHA1     // RFC 5802
	SCRAMSHA1Plus   = scramSHA1 + plus
	SCRAMSHA256     = "SCRAM-SHA-256" // RFC 7677
	SCRAMSHA256Plus = SCRAMSHA256 + plus
	XOAuth2         = "XOAUTH2" // Google's, before there was RFC 7628

	scramSHA1 = "SCRAM-SHA-1"
	plus      = "-PLUS" // with channel binding
)

// ErrUnproven is behind the error of an AUTH that the server accepted without having proven that it knows the password.
var ErrUnproven = hint.ErrUnproven

// Credentials are who we are: a user name and a password, a user name and an OAuth token, or a client certificate.
type Credentials struct {
	User     string
	Password string `json:"-"`
	Token    bool   // the password is an OAuth 2.0 access token

	// Certificate says that TLS shows a client certificate. Then both names may be empty.
	Certificate bool

	// Later says that there will be a password, which is all that choosing a mechanism asks. With it New refuses.
	Later bool
}

func (c Credentials) hasPassword() bool { return c.Password != "" || c.Later }

// Format prints the user name alone, whatever the verb: %+v and %#v of a struct would show the password.
func (c Credentials) Format(s fmt.State, _ rune) {
	fmt.Fprintf(s, "%q (password hidden)", c.User)
}

// Peer is the other end, as far as a mechanism asks for it.
type Peer struct {
	TLS        *tls.ConnectionState // nil in the clear
	Offered    []string             // the mechanisms of its EHLO reply
	Host, Port string               // as it was dialled; may be empty
}

// Exchange is one authentication: Start once, then Next for every challenge, until the server sends its verdict or
// either returns an error, after which the caller cancels with a "*" line (RFC 4954 §4). It is used for one attempt
// by one goroutine.
//
// A caller that has no room for the initial response in its AUTH line leaves it out there, and gets the same octets
// again from Next for the empty challenge that the server then sends (RFC 4954 §4).
//
// Verdict takes the server's: accepted or not. Its error is why an acceptance cannot be believed, or what the exchange
// knows about a refusal besides the reply. Without the call an AUTH is not done.
type Exchange interface {
	Start() (initial []byte, hasInitial bool, err error)
	Next(challenge []byte) (response []byte, err error)
	Verdict(accepted bool) error
}

// New returns an Exchange of the named mechanism, upper or lower case. It fails for a mechanism that is not Known and
// for credentials that the mechanism cannot carry.
func New(mechanism string, c Credentials, peer Peer) (Exchange, error) {
	name := strings.ToUpper(mechanism)
	if !slices.Contains(Known(), name) {
		return nil, fmt.Errorf("AUTH mechanism %q is not known (known: %s)", mechanism, strings.Join(Known(), ", "))
	}
	if err := c.Check(); err != nil {
		return nil, fmt.Errorf("AUTH %s: %w", name, err)
	}
	if err := c.Fit(name); err != nil {
		return nil, fmt.Errorf("AUTH %s: %w", name, err)
	}
	c = c.prepared()
	// The exchanges hold the credentials behind a function, because fmt reaches through unexported fields and pointers,
	// past the Format method, when it prints whatever holds an Exchange.
	hidden := func() Credentials { return c }
	switch name {
	case Plain:
		return &plain{credentials: hidden}, nil
	case Login:
		return &login{credentials: hidden}, nil
	case CRAMMD5:
		return &cramMD5{credentials: hidden}, nil
	case External:
		return &external{user: c.User}, nil
	case XOAuth2, OAuthBearer:
		return &oauth{credentials: hidden, peer: peer, name: name}, nil
	}
	x, err := newSCRAM(name, c, peer, nil)
	if err != nil {
		return nil, fmt.Errorf("AUTH %s: %w", name, err)
	}
	return x, nil
}

// Check refuses what no mechanism of ours can carry: RFC 4616 §2 wants both names non-empty, and NUL separates them.
func (c Credentials) Check() error {
	bare := c.Certificate && !c.hasPassword()
	switch {
	case c.User == "" && !bare:
		return errors.New("the user name is empty")
	case c.Password == "" && !bare:
		return errors.New("the password is empty")
	case strings.Contains(c.User, "\x00"):
		return errors.New("the user name contains a NUL")
	case strings.Contains(c.Password, "\x00"):
		return errors.New("the password contains a NUL")
	case c.Token && strings.ContainsFunc(c.User+c.Password, func(r rune) bool { return r < ' ' }):
		// RFC 7628 §3.1: they divide the message
		return errors.New("the user name or the token contains a control character")
	}
	return nil
}

var errKind = errors.New("these credentials are of another kind: XOAUTH2 and OAUTHBEARER take a token, " +
	"EXTERNAL a client certificate, the others a password")

// Fit returns why a mechanism, in any case, can do nothing with these credentials. A token is never shown as if it were
// a password, nor a password as if it were a token. What is not UTF-8 goes out as the octets that it is, but by SCRAM:
// its messages are UTF-8, and what proves the password is made of its characters, after SASLprep (RFC 5802 §5.1).
func (c Credentials) Fit(mechanism string) error {
	mechanism = strings.ToUpper(mechanism)
	suits := !c.Token && c.hasPassword()
	switch mechanism {
	case External:
		suits = c.Certificate
	case XOAuth2, OAuthBearer:
		suits = c.Token
	}
	switch {
	case !suits:
		return errKind
	case !strings.HasPrefix(mechanism, "SCRAM-"):
	case !utf8.ValidString(c.User):
		return fmt.Errorf("the user name is not valid UTF-8, which SCRAM demands (RFC 5802 §5.1): %s", asOctets)
	case !utf8.ValidString(c.Password):
		return fmt.Errorf("the password is not valid UTF-8, which SCRAM demands (RFC 5802 §5.1): %s", asOctets)
	}
	return nil
}

const asOctets = "write it in UTF-8, or allow PLAIN, LOGIN or CRAM-MD5, which carry any octets"

// Choose returns the first of preferred that peer offers, New knows, and c is fit for, by its registered name. Names
// are compared without regard to case, as EHLO keywords are (RFC 5321 §4.1.1.1).
func Choose(preferred []string, c Credentials, peer Peer) (mechanism string, ok bool) {
	_, bound := peer.binding()
	for _, name := range preferred {
		name = strings.ToUpper(name)
		isName := func(s string) bool { return strings.EqualFold(s, name) }
		if slices.Contains(Known(), name) && slices.ContainsFunc(peer.Offered, isName) && c.Fit(name) == nil &&
			(bound || !isPlus(name)) {
			return name, true
		}
	}
	return "", false
}

// Why returns what keeps credentials that Choose found nothing for from a mechanism that is both preferred and offered;
// nil if there is none.
func Why(preferred []string, c Credentials, peer Peer) error {
	for _, name := range preferred {
		isName := func(s string) bool { return strings.EqualFold(s, name) }
		if err := c.Fit(name); err != nil && slices.ContainsFunc(peer.Offered, isName) {
			return fmt.Errorf("%s: %w", strings.ToUpper(name), err)
		}
	}
	return nil
}

// Default returns the order of preference, for a server that TLS has proven to be the right one, or has not.
//
// To a proven one that is PLAIN, which costs one round trip where SCRAM needs three, and works wherever a password
// does: servers offer SCRAM also for accounts that they know in another form only. Otherwise whoever is at the other
// end shall not be told the password, so that SCRAM comes first, bound to the TLS connection where that is possible.
// LOGIN, three round trips for what PLAIN does in one, is for servers that offer nothing else.
func Default(c Credentials, proven bool) []string {
	switch {
	case c.Token:
		return []string{OAuthBearer, XOAuth2}
	case !c.hasPassword():
		return []string{External}
	case proven:
		return []string{Plain, SCRAMSHA256Plus, SCRAMSHA256, SCRAMSHA1Plus, SCRAMSHA1, CRAMMD5, Login}
	}
	return []string{SCRAMSHA256Plus, SCRAMSHA1Plus, SCRAMSHA256, SCRAMSHA1, CRAMMD5, Plain, Login}
}

// Known returns the mechanisms that New accepts.
func Known() []string {
	return []string{CRAMMD5, External, Login, OAuthBearer, Plain, SCRAMSHA1, SCRAMSHA1Plus, SCRAMSHA256,
		SCRAMSHA256Plus, XOAuth2}
}

// ForTokens reports whether a mechanism, in upper or lower case, carries an OAuth token.
func ForTokens(mechanism string) bool {
	return strings.EqualFold(mechanism, XOAuth2) || strings.EqualFold(mechanism, OAuthBearer)
}
