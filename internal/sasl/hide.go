package sasl

import (
	"encoding/base64"
	"strings"
)

// Hide takes the password or token out of what a server says, also in base64: some repeat what they were told. A secret
// that is shorter than a word stays, because it would be hidden in every word.
func (c Credentials) Hide(text string) string {
	const word, hidden = 4, "********"
	for _, secret := range [...]string{c.Password, c.prepared().Password} {
		if len(secret) < word {
			continue
		}
		for _, form := range [...]string{"\x00" + c.User + "\x00" + secret, secret} {
			text = strings.ReplaceAll(text, base64.StdEncoding.EncodeToString([]byte(form)), hidden)
		}
		text = strings.ReplaceAll(text, secret, hidden)
	}
	return text
}
