// Package sasl speaks the client's half of SASL (RFC 4422) for the AUTH command of SMTP (RFC 4954).
//
// Choose picks a mechanism out of what the server offers, New starts an Exchange for it, and the caller carries the
// octets: base64, the AUTH and 334 lines and the server's verdict are its business. Nothing here does I/O, and no error
// or printed value ever holds the password.
package sasl

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// The mechanisms that New knows, by their registered names.
const (
	CRAMMD5 = "CRAM-MD5" // RFC 2195: the password itself does not travel
	Login   = "LOGIN"    // never standardised, but all that some servers offer
	Plain   = "PLAIN"    // RFC 4616
)

// Credentials are a user name and a password, sent as the octets that they are: UTF-8 as it should be.
type Credentials struct {
	User     string
	Password string `json:"-"`
}

// Format prints the user name alone, whatever the verb: %+v and %#v of a struct would show the password.
func (c Credentials) Format(s fmt.State, _ rune) {
	fmt.Fprintf(s, "%q (password hidden)", c.User)
}

// Exchange is one authentication: Start once, then Next for every challenge, until the server gives its verdict or
// either returns an error, after which the caller cancels with a "*" line (RFC 4954 §4). It is used for one attempt
// by one goroutine.
//
// A caller that has no room for the initial response in its AUTH line leaves it out there, and gets the same octets
// again from Next for the empty challenge that the server then sends (RFC 4954 §4).
type Exchange interface {
	Start() (initial []byte, hasInitial bool, err error)
	Next(challenge []byte) (response []byte, err error)
}

// New returns an Exchange of the named mechanism, upper or lower case. It fails for a mechanism that is not Known and
// for credentials that the mechanism cannot carry.
func New(mechanism string, c Credentials) (Exchange, error) {
	name := strings.ToUpper(mechanism)
	if !slices.Contains(Known(), name) {
		return nil, fmt.Errorf("AUTH mechanism %q is not known (known: %s)", mechanism, strings.Join(Known(), ", "))
	}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("AUTH %s: %w", name, err)
	}
	// The exchanges hold the credentials behind a function, because fmt reaches through unexported fields and pointers,
	// past the Format method, when it prints whatever holds an Exchange.
	hidden := func() Credentials { return c }
	switch name {
	case Plain:
		return &plain{credentials: hidden}, nil
	case Login:
		return &login{credentials: hidden}, nil
	default:
		return &cramMD5{credentials: hidden}, nil
	}
}

// check refuses what no mechanism of ours can carry: RFC 4616 §2 wants both names non-empty, and NUL separates them.
func (c Credentials) check() error {
	switch {
	case c.User == "":
		return errors.New("the user name is empty")
	case c.Password == "":
		return errors.New("the password is empty")
	case strings.Contains(c.User, "\x00"):
		return errors.New("the user name contains a NUL")
	case strings.Contains(c.Password, "\x00"):
		return errors.New("the password contains a NUL")
	}
	return nil
}

// Choose returns the first of preferred that the server offers and New knows, by its registered name. Names are
// compared without regard to case, as EHLO keywords are (RFC 5321 §4.1.1.1).
func Choose(offered, preferred []string) (mechanism string, ok bool) {
	known := Known()
	for _, name := range preferred {
		name = strings.ToUpper(name)
		isName := func(s string) bool { return strings.EqualFold(s, name) }
		if slices.Contains(known, name) && slices.ContainsFunc(offered, isName) {
			return name, true
		}
	}
	return "", false
}

// Default returns the order of preference for a connection that is encrypted or not. Under TLS that is PLAIN, which
// costs one round trip; in the clear it is CRAM-MD5, which at least keeps the password itself off the wire. LOGIN, three
// round trips for what PLAIN does in one, is for servers that offer nothing else.
func Default(encrypted bool) []string {
	if encrypted {
		return []string{Plain, CRAMMD5, Login}
	}
	return []string{CRAMMD5, Plain, Login}
}

// Known returns the mechanisms that New accepts.
func Known() []string { return []string{CRAMMD5, Login, Plain} }
