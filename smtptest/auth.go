package smtptest

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/xdg-go/scram"
)

// mechanism is a SASL mechanism as a server sees it: what it asks, and whether
// the answers name a user.
type mechanism struct {
	initial    bool // the first answer may come with the command
	challenges func(c *conn) []string
	verify     func(c *conn, answers []string) (user string, ok bool)

	talk func(x *exchange) (reply string) // takes the place of the two above
}

var mechanisms = map[string]*mechanism{
	"PLAIN":    {true, ask(""), verifyPlain, nil},
	"LOGIN":    {true, ask("Username:", "Password:"), verifyLogin, nil},
	"CRAM-MD5": {false, (*conn).cramChallenge, verifyCRAM, nil},
	"EXTERNAL": {true, ask(""), verifyExternal, nil},

	"SCRAM-SHA-1":        {initial: true, talk: talkSCRAM},
	"SCRAM-SHA-1-PLUS":   {initial: true, talk: talkSCRAM},
	"SCRAM-SHA-256":      {initial: true, talk: talkSCRAM},
	"SCRAM-SHA-256-PLUS": {initial: true, talk: talkSCRAM},
	"OAUTHBEARER":        {initial: true, talk: talkOAuth},
	"XOAUTH2":            {initial: true, talk: talkOAuth},
}

// ask returns the challenges of mechanisms that send every client the same.
func ask(challenges ...string) func(*conn) []string {
	return func(*conn) []string { return challenges }
}

// cramChallenge differs from connection to connection and is not random: tests
// can know it.
func (c *conn) cramChallenge() []string {
	return []string{fmt.Sprintf("<%d.smtptest@%s>", c.number, c.srv.Hostname)}
}

// verifyPlain is RFC 4616: the authorization identity, the user, and the password.
func verifyPlain(c *conn, answers []string) (user string, ok bool) {
	parts := strings.Split(answers[0], "\x00")
	if len(parts) != 3 || parts[0] != "" && parts[0] != parts[1] {
		return "", false
	}
	return parts[1], c.knows(parts[1], parts[2])
}

// verifyLogin is a mechanism without an RFC: user and password, one after the other.
func verifyLogin(c *conn, answers []string) (user string, ok bool) {
	return answers[0], c.knows(answers[0], answers[1])
}

// verifyCRAM is RFC 2195.
func verifyCRAM(c *conn, answers []string) (user string, ok bool) {
	i := strings.LastIndexByte(answers[0], ' ')
	if i < 0 {
		return "", false
	}
	user = answers[0][:i]
	password, ok := c.srv.Users[user]
	h := hmac.New(md5.New, []byte(password))
	h.Write([]byte(c.cramChallenge()[0]))
	return user, ok && answers[0][i+1:] == hex.EncodeToString(h.Sum(nil))
}

// knows compares in no constant time: these are the passwords of a test.
func (c *conn) knows(user, password string) bool {
	want, ok := c.srv.Users[user]
	return ok && want == password
}

// authOffered reports whether AUTH is offered at this moment: with STARTTLS not
// in the clear (RFC 4954 §4).
func (c *conn) authOffered() bool {
	return len(c.srv.Users) > 0 && (c.tls || !c.startTLSOffered())
}

// exchange is one AUTH command with what follows it. What is wrong with it is
// kept until the next reply is due, so that each line of the client has one.
type exchange struct {
	*mechanism
	c       *conn
	name    string
	user    string // once it is known
	scram   *scram.ServerConversation
	answers []string // decoded
	raw     []string // as received
	bad     string   // the reply that ends it
}

// auth answers AUTH and reads the client's responses (RFC 4954 §4).
func (c *conn) auth(arg []byte) bool {
	x := c.newExchange(arg)
	at := verbAuth
	for {
		own := x.next()
		p := c.plan(at, nil, own)
		if p.takesEffect(own) && own[0] == '2' {
			c.authenticated(x)
		}
		if !c.send(p) {
			return false
		}
		if p.text[0] != '3' {
			return true
		}
		if own[0] != '3' { // a fault asks for more than the mechanism does
			x.bad = replyBadCredentials
		}
		line, err := c.line(maxResponse)
		if err != nil && err != errLineTooLong && err != errBareLF && err != errBareCR {
			return false
		}
		c.note('C', "********")
		x.answer(line, err)
		at = pointResponse
	}
}

const replyBadCredentials = "535 5.7.8 Authentication credentials invalid"

// newExchange reads the argument of AUTH: a mechanism, and perhaps the first
// response.
func (c *conn) newExchange(arg []byte) *exchange {
	x := &exchange{c: c, bad: c.authUnwanted()}
	name, initial, given := bytes.Cut(arg, []byte{' '})
	upper := strings.ToUpper(string(name))
	x.mechanism, x.name = mechanisms[upper], upper
	switch {
	case x.bad != "":
	case len(name) == 0:
		x.bad = replyBadSyntax
	case x.mechanism == nil || !slices.Contains(c.mechanisms(), upper):
		x.bad = "504 5.5.4 Mechanism not offered"
	case given && !x.initial:
		x.bad = "501 5.7.0 This mechanism has no initial response"
	case given && string(initial) == "=": // RFC 4954 §4: an empty response
		x.answers, x.raw = []string{""}, []string{"="}
	case given:
		x.answer(initial, nil)
	}
	return x
}

// authUnwanted refuses an AUTH that comes at the wrong time.
func (c *conn) authUnwanted() string {
	gate := c.gate(verbAuth)
	switch {
	case gate != "":
		return gate
	case len(c.srv.Users) == 0:
		return "502 5.5.1 AUTH is not offered"
	case !c.authOffered():
		return "538 5.7.11 Encryption required: STARTTLS first"
	case !c.esmtp:
		return "503 5.5.1 Send EHLO first"
	case c.user != "":
		return "503 5.5.1 Already authenticated"
	case c.tx.open:
		return "503 5.5.1 A transaction is open"
	}
	return ""
}

// answer takes one response of the client; "*" cancels.
func (x *exchange) answer(line []byte, err error) {
	if x.bad != "" {
		return
	}
	decoded, decodeErr := base64.StdEncoding.DecodeString(string(line))
	switch {
	case err != nil:
		x.bad = "500 5.5.6 Response too long, or no line"
	case string(line) == "*":
		x.bad = "501 5.7.0 Authentication cancelled"
	case decodeErr != nil:
		x.bad = "501 5.5.2 Not base64"
	}
	x.answers = append(x.answers, string(decoded))
	x.raw = append(x.raw, string(line))
}

// next returns the next challenge, or the final reply.
func (x *exchange) next() string {
	if x.bad != "" {
		return x.bad
	}
	if x.talk != nil {
		return x.talk(x)
	}
	if challenges := x.challenges(x.c); len(x.answers) < len(challenges) {
		return "334 " + base64.StdEncoding.EncodeToString([]byte(challenges[len(x.answers)]))
	}
	user, ok := x.verify(x.c, x.answers)
	if !ok {
		return replyBadCredentials
	}
	x.user = user
	return replyAuthenticated
}

// authenticated records the user and the credentials: refused ones are not kept.
func (c *conn) authenticated(x *exchange) {
	c.user = x.user
	c.srv.mu.Lock()
	defer c.srv.mu.Unlock()
	c.srv.credentials = append(c.srv.credentials, strings.Join(x.raw, " "))
}
