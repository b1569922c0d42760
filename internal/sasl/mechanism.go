package sasl

import (
	"crypto/hmac"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	gosasl "github.com/emersion/go-sasl"
)

// plain is PLAIN (RFC 4616): everything in one message, which is the initial response.
type plain struct {
	credentials func() Credentials
	answered    bool // an empty challenge was answered
}

func (p *plain) Start() ([]byte, bool, error) {
	c := p.credentials()
	_, initial, err := gosasl.NewPlainClient("", c.User, c.Password).Start()
	return initial, true, err
}

// Next answers one empty challenge with the message of Start: the caller had no room for it, or the server overlooked
// it. Any other challenge is none of PLAIN's.
func (p *plain) Next(challenge []byte) ([]byte, error) {
	if len(challenge) > 0 || p.answered {
		return nil, unexpected(Plain, challenge, p.credentials())
	}
	p.answered = true
	initial, _, err := p.Start()
	return initial, err
}

// login is LOGIN: the server prompts for the user name and then for the password, in words of its own ("Username:",
// "User Name\x00", nothing at all). The turn decides what is answered; the words only ever stop the exchange, so that
// the password is not given where a user name was asked for, and so perhaps logged.
//
// There is no initial response: a server that overlooks it asks for the user name afterwards, and would get the
// password as the answer.
type login struct {
	credentials func() Credentials
	turn        int
}

func (l *login) Start() ([]byte, bool, error) { return nil, false, nil }

func (l *login) Next(challenge []byte) ([]byte, error) {
	prompt := strings.ToLower(string(challenge))
	asksPassword := strings.Contains(prompt, "pass")
	asksUser := strings.Contains(prompt, "user")
	l.turn++
	switch {
	case l.turn == 1 && (asksUser || !asksPassword):
		return []byte(l.credentials().User), nil
	case l.turn == 2 && (asksPassword || !asksUser):
		return []byte(l.credentials().Password), nil
	}
	return nil, unexpected(Login, challenge, l.credentials())
}

// cramMD5 is CRAM-MD5 (RFC 2195): the server's challenge, keyed with the password, comes back as a digest.
type cramMD5 struct {
	credentials func() Credentials
	answered    bool
}

func (c *cramMD5) Start() ([]byte, bool, error) { return nil, false, nil }

func (c *cramMD5) Next(challenge []byte) ([]byte, error) {
	if len(challenge) == 0 || c.answered {
		return nil, unexpected(CRAMMD5, challenge, c.credentials())
	}
	c.answered = true
	cred := c.credentials()
	mac := hmac.New(md5.New, []byte(cred.Password))
	mac.Write(challenge)
	return []byte(cred.User + " " + hex.EncodeToString(mac.Sum(nil))), nil
}

// A reply says it all where there is nothing to prove.
func (*plain) Verdict(bool) error   { return nil }
func (*login) Verdict(bool) error   { return nil }
func (*cramMD5) Verdict(bool) error { return nil }

// unexpected is the error for a challenge that the mechanism has no answer to. The server may have put into it what it
// was told.
func unexpected(mechanism string, challenge []byte, c Credentials) error {
	words := show(c.Hide(string(challenge)))
	return fmt.Errorf("AUTH %s: this mechanism has no response to the server's challenge %s", mechanism, words)
}

// show quotes the server's words, and cuts them: they reach logs.
func show(words string) string {
	const enough = 256
	if len(words) > enough {
		words = words[:enough]
	}
	return strconv.QuoteToASCII(words)
}
