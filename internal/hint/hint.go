// Package hint turns a failure into what to set: one table, used by the library's errors and by the program's checks.
//
// A hint is for the operator who reads the error. The settings that it names are fields of Config, marked, so that each
// door puts in its own words: the library the field, a configuration file its key, the program its flag. A hint never
// repeats the server's words, except for the names in its certificate and in AUTH, and it knows no credentials.
package hint

import "errors"

// Step is what was being done when it failed; its text is fit for an error.
type Step string

// The steps in the order of a wire's life.
const (
	Dial      Step = "dial"
	Handshake Step = "TLS handshake" // of implicit TLS, and of STARTTLS after its 220
	Greeting  Step = "greeting"
	Hello     Step = "EHLO"
	StartTLS  Step = "STARTTLS" // the command and its reply
	Auth      Step = "AUTH"
	Mail      Step = "MAIL"
	Rcpt      Step = "RCPT"
	Data      Step = "DATA"
	Content   Step = "content" // the message, and the reply to its end
)

// What the client finds out by itself, without a reply that refuses anything. They are the cause (Failure.Err) of the
// failure that they name.
var (
	ErrNoStartTLS    = errors.New("the server does not offer STARTTLS")
	ErrNoAuth        = errors.New("the server does not offer AUTH")
	ErrNoMechanism   = errors.New("the server offers no AUTH mechanism that may be used")
	ErrPlaintextAuth = errors.New("credentials are not sent without TLS")
	ErrTLSPort       = errors.New("the server waits for TLS: it says nothing to a client in the clear, and answers a " +
		"ClientHello")
	ErrPlainPort   = errors.New("the server does not answer a ClientHello: it greets a client in the clear")
	ErrNoGreeting  = errors.New("the server says nothing, and does not answer a ClientHello either")
	ErrCredentials = errors.New("there are no credentials")
	ErrTLSRequired = errors.New("5.7.10 the message requires TLS, and the connection to the server is not verified " +
		"TLS")
	ErrNoRequireTLS = errors.New("5.7.30 the message requires TLS on its whole way, and the server does not offer " +
		"REQUIRETLS")
	ErrTooBig     = errors.New("the message is larger than the server accepts")
	ErrNoSMTPUTF8 = errors.New("the server does not offer SMTPUTF8, and an address is not ASCII")
	ErrUnproven   = errors.New("the server says yes, but has not proven that it knows the password")
	ErrToken      = errors.New("the server refuses the token")
)

// Failure is everything about a failure that a hint may depend on. What is not known is left zero.
type Failure struct {
	Step Step
	Mode string // "smtp", "smtps" or "starttls", the words of smtp_secure_mode

	Host       string // as configured; the path of a unix socket
	Port       string // "" for a unix socket
	Remote     string // the other end of the socket, IP:port, once there is one
	ServerName string // that the certificate was verified against, when it is not Host

	Code     int    // of the reply; 0 if there was none
	Enhanced string // its enhanced code, "5.7.1", if it has one
	Text     string // its text; of a greeting that does not parse, its octets
	Err      error  // the cause, if it was not a reply

	Encrypted       bool     // TLS was up
	OfferedStartTLS bool     // by the newest EHLO
	OfferedAuth     bool     // by the newest EHLO
	Mechanisms      []string // of that AUTH
}

// For returns what to set or mend, in one or two short sentences without a full stop; "" if nothing helpful is known.
func For(f Failure) Hint {
	for _, r := range rules {
		if r.match(f) {
			return Hint(r.hint(f))
		}
	}
	return ""
}

// rule is one row of the table.
type rule struct {
	name  string
	match func(Failure) bool
	hint  func(Failure) string
}
