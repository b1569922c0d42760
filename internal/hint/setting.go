package hint

import (
	"slices"
	"strings"
	"time"
)

// Hint is what to set or to mend. Print it by String or In: the settings in it are marked.
type Hint string

// mark stands on both sides of a setting, which is a field, "=" and a value. No text that comes from outside has it:
// what a hint quotes is escaped.
const mark = "\x00"

// setting is a field of Config, as a piece of a hint. value is what to set it to, as its type is written in text
// ("starttls", "true", "45s"); "" leaves that open.
func setting(field, value string) string { return mark + field + "=" + value + mark }

// The fields of Config that hints name. Those of Timeouts have its name before theirs.
const (
	address            = "Address"
	allowPlaintextAuth = "AllowPlaintextAuth"
	authMechanisms     = "AuthMechanisms"
	caFile             = "CAFile"
	clientCert         = "ClientCert"
	clientKey          = "ClientKey"
	credentials        = "Credentials"
	idleTimeout        = "IdleTimeout"
	localName          = "LocalName"
	secureMode         = "Mode"
	noVerifyCert       = "NoVerifyCert"
	noVerifyHostname   = "NoVerifyHostname"
	password           = "Password"
	pins               = "Pins"
	serverName         = "ServerName"
	timeouts           = "Timeouts."
	user               = "User"
)

// timeoutOf is the field of Timeouts for the answer at each step.
var timeoutOf = map[Step]string{
	Greeting: "Greeting", Hello: "Hello", StartTLS: "TLS", Handshake: "TLS", Auth: "Auth", Mail: "Mail", Rcpt: "Rcpt",
	Data:    "Data",
	Content: "Final",
}

// Fields returns all fields of Config that a hint may name, so that tests find a door that has no word for one.
func Fields() []string {
	all := []string{
		address, allowPlaintextAuth, authMechanisms, caFile, clientCert, clientKey, credentials, idleTimeout, localName,
		secureMode, noVerifyCert, noVerifyHostname, password, pins, serverName, user,
	}
	for _, t := range timeoutOf {
		all = append(all, timeouts+t)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// In returns the hint in the words of a door: name is called for each setting that the hint names.
func (h Hint) In(name func(field, value string) string) string {
	pieces := strings.Split(string(h), mark)
	for i := 1; i < len(pieces); i += 2 {
		field, value, _ := strings.Cut(pieces[i], "=")
		pieces[i] = name(field, value)
	}
	return strings.Join(pieces, "")
}

// Field returns the first field that the hint names, "" if it names none.
func (h Hint) Field() (field string) {
	if pieces := strings.Split(string(h), mark); len(pieces) > 1 {
		field, _, _ = strings.Cut(pieces[1], "=")
	}
	return field
}

// Hidden returns the hint with hide applied to its words, but not to the settings.
func (h Hint) Hidden(hide func(string) string) Hint {
	pieces := strings.Split(string(h), mark)
	for i := 0; i < len(pieces); i += 2 {
		pieces[i] = hide(pieces[i])
	}
	return Hint(strings.Join(pieces, mark))
}

// String returns the hint in the words of the library.
func (h Hint) String() string { return h.In(inGo) }

// inGo is a setting in the words of the library: "Config.Mode to StartTLS".
func inGo(field, value string) string {
	constant := map[string]string{"smtp": "Insecure", "smtps": "ImplicitTLS", "starttls": "StartTLS"}[value]
	switch {
	case value == "":
		return "Config." + field
	case field == secureMode && constant != "":
		value = constant
	}
	return "Config." + field + " to " + value
}

// What is said of settings that work, and could be better.

// GreetingIsLate is for a server that takes its time to greet.
func GreetingIsLate() Hint {
	return Hint("keep " + setting(timeouts+"Greeting", "") +
		" above that; reusing connections saves most of it; the server's log tells why")
}

// LeaveFirst is for a server that closes idle connections before the library does.
func LeaveFirst(after time.Duration) Hint { return Hint("set " + setting(idleTimeout, after.String())) }

// Verify is for a certificate that is not checked and would pass.
func Verify() Hint { return Hint("set " + setting(noVerifyCert, "false") + ": it would verify") }

// VerifyName is for a name in a certificate that is not checked and is right.
func VerifyName() Hint {
	return Hint("set " + setting(noVerifyHostname, "false") + ": the name is right")
}
