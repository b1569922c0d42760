package sasl

import "golang.org/x/text/secure/precis"

// prepared brings names and passwords into the one form that a server compares (RFC 4616 §2, in the terms of RFC 8265, the
// successor of RFC 7613 and of SASLprep): an "é" that was typed as two characters is the "é" of the account. What the
// profiles do not allow, such as a space in a user name, stays as it is: servers exist that gave it out.
func (c Credentials) prepared() Credentials {
	if user, err := precis.UsernameCasePreserved.String(c.User); err == nil {
		c.User = user
	}
	if password, err := precis.OpaqueString.String(c.Password); err == nil && !c.Token {
		c.Password = password
	}
	return c
}
