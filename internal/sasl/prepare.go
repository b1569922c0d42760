package sasl

import (
	"unicode/utf8"

	"golang.org/x/text/secure/precis"
)

// prepared brings names and passwords into the one form that a server compares (RFC 4616 §2, in the terms of RFC 8265,
// the successor of RFC 7613 and of SASLprep): an "é" that was typed as two characters is the "é" of the account. What
// the profiles do not allow, such as a space in a user name, stays as it is: servers exist that gave it out. So do
// octets that are no UTF-8: the profile of names refuses them, and that of passwords would make U+FFFD of them without
// a word.
func (c Credentials) prepared() Credentials {
	if user, err := precis.UsernameCasePreserved.String(c.User); err == nil {
		c.User = user
	}
	if c.Token || !utf8.ValidString(c.Password) {
		return c
	}
	if password, err := precis.OpaqueString.String(c.Password); err == nil {
		c.Password = password
	}
	return c
}
