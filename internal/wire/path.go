package wire

import (
	"cmp"

	"golang.org/x/net/idna"
)

// Path is an address as it goes out, with SMTPUTF8 and without.
type Path struct {
	Address string // as given
	ASCII   string // with the domain as A-labels; "" if the local part needs SMTPUTF8
}

// NewPath prepares the form for servers without SMTPUTF8: a domain can be put in
// A-labels, a local part cannot (RFC 6531 §3.2).
func NewPath(a string) Path {
	if ASCII(a) {
		return Path{a, a}
	}
	local, domain := SplitAddress(a)
	labels, err := idna.Lookup.ToASCII(domain)
	if err != nil || !ASCII(local) {
		return Path{Address: a}
	}
	return Path{a, local + "@" + labels}
}

// TooLong returns what check, of a command's length, says of either form.
func (p Path) TooLong(check func(address string) error) error {
	return cmp.Or(check(p.Address), check(p.ASCII))
}

// NeedsUTF8 reports that the address itself demands SMTPUTF8.
func (p Path) NeedsUTF8() bool { return p.ASCII == "" && p.Address != "" }

// Form returns the address for a transaction with or without SMTPUTF8.
func (p Path) Form(utf8 bool) string {
	if utf8 {
		return p.Address
	}
	return p.ASCII
}
