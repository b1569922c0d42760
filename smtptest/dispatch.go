package smtptest

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/postrider/postrider"
)

// command answers one command. It is the dispatch table of the server.
func (c *conn) command(line []byte) bool {
	line = bytes.TrimRight(line, " ") // RFC 5321 §4.1.1 asks to tolerate it
	v, arg := cutVerb(line)
	c.last.Store(uint32(v))
	c.noteCommand(v, line)
	if c.early(v) {
		return c.sendAway()
	}
	goesOn := c.dispatch(v, line, arg)
	if v != verbStartTLS {
		c.said = true
	}
	return goesOn
}

// early reports that a client has not waited for the reply to this command, although
// it must: for every reply where PIPELINING was not offered, and for those to the
// commands that stand last in a group (RFC 2920 §3.1; AUTH goes on by its reply, RFC
// 4954 §4). What stands behind STARTTLS is another matter, see [conn.startTLS]. It
// sees only what has arrived: a client that is wrong may get by, one that is right
// always does, unless a script has made it take one reply for another.
func (c *conn) early(v verb) bool {
	if len(c.in.pending()) == 0 || c.misled || c.srv.AnyPipelining {
		return false
	}
	switch v {
	case verbEhlo, verbHelo, verbData, verbVrfy, verbNoop, verbQuit, verbAuth:
		return true
	case verbBdat, verbStartTLS:
		return false // the octets behind it are its own, see conn.bdat
	}
	return !c.pipelining()
}

// sendAway ends a connection whose client does not wait for replies: what it sent
// meanwhile was meant for another state.
func (c *conn) sendAway() bool {
	c.depart("554 5.5.1 Sent before the reply that had to be waited for: RFC 2920")
	return false
}

// dispatch separates the commands that change something from those that are only
// answered.
func (c *conn) dispatch(v verb, line, arg []byte) bool {
	switch v {
	case verbMail:
		return c.mail(line, arg)
	case verbRcpt:
		return c.rcpt(line, arg)
	case verbBdat:
		return c.bdat(line, arg)
	case verbData:
		return c.data(line, arg)
	case verbRset:
		return c.rset(line, arg)
	case verbEhlo, verbHelo:
		return c.helo(v, line, arg)
	case verbStartTLS:
		return c.startTLS(line, arg)
	case verbAuth:
		return c.auth(arg)
	}
	return c.answer(v, line, c.judgeOther(v, arg))
}

// judgeOther judges the commands that change nothing.
func (c *conn) judgeOther(v verb, arg []byte) string {
	if gate := c.gate(v); gate != "" {
		return gate
	}
	switch {
	case v == verbNoop:
		return "250 2.0.0 Ok"
	case v == verbQuit && len(arg) == 0:
		return "221 2.0.0 " + c.srv.Hostname + " says goodbye"
	case v == verbVrfy && len(arg) > 0:
		return "252 2.5.0 Send a message and see"
	case v == verbHelp:
		return "214 2.0.0 This is smtptest, a server for tests: RFC 5321"
	case v == verbStat:
		return "250 2.0.0 " + strconv.Itoa(c.stat()) + " connections"
	case v == verbUnknown:
		return "500 5.5.2 Command not recognized"
	}
	return replyBadSyntax
}

const replyBadSyntax = "501 5.5.4 Bad syntax"

// stat returns the number of connections without this one, which is taken out of
// the count: asking disturbs nothing.
func (c *conn) stat() int {
	out := 1
	if c.uncounted {
		out = 0
	}
	c.uncounted = true
	return c.srv.uncount(out)
}

// gate returns the reply to a command that is refused whatever it says, or "".
func (c *conn) gate(v verb) string {
	if c.srv.RequireTLS && !c.tls {
		switch v {
		case verbEhlo, verbStartTLS, verbNoop, verbQuit: // RFC 3207 §4
		default:
			return "530 5.7.0 Must issue a STARTTLS command first"
		}
	}
	if c.tx.failed {
		switch v {
		case verbMail, verbRcpt, verbData, verbBdat:
			// RFC 3030 §2: after a BDAT that failed the client must send RSET.
			return "503 5.5.1 A BDAT failed: RSET first"
		}
	}
	return ""
}

// helo answers EHLO and HELO, both of which clear the transaction (RFC 5321
// §4.1.4).
func (c *conn) helo(v verb, line, arg []byte) bool {
	own := c.judgeHelo(v, arg)
	p := c.plan(v, line, own)
	if p.takesEffect(own) {
		c.tx.reset()
		c.hello, c.esmtp = true, v == verbEhlo
		c.ext = Extensions{}
		if c.esmtp {
			c.ext = *c.offered()
		}
		c.limits = c.ext.limits()
	}
	return c.send(p)
}

// judgeHelo judges EHLO and HELO, and returns the list of extensions.
func (c *conn) judgeHelo(v verb, arg []byte) string {
	if gate := c.gate(v); gate != "" {
		return gate
	}
	if !validDomain(arg) || !isASCII(arg) { // RFC 5321 §4.1.1.1, with SMTPUTF8 too (RFC 6531 §3.7.1)
		return "501 5.5.4 A domain or an address literal is needed"
	}
	if v == verbHelo {
		return "250 " + c.srv.Hostname
	}
	lines := c.ehloLines()
	last := len(lines) - 1
	for i, l := range lines[:last] {
		lines[i] = "250-" + l
	}
	lines[last] = "250 " + lines[last]
	return strings.Join(lines, "\r\n")
}

// rset ends the transaction. From a client that has said nothing else it also
// resets the count of connections, its own included; with STARTTLS, which comes
// first, it is the first word under TLS.
func (c *conn) rset(line, arg []byte) bool {
	own := c.gate(verbRset)
	switch {
	case own != "":
	case len(arg) > 0:
		own = replyBadSyntax
	default:
		own = "250 2.0.0 Ok"
	}
	p := c.plan(verbRset, line, own)
	if p.takesEffect(own) {
		c.tx.reset()
		if !c.said && (c.tls || c.srv.Mode != postrider.StartTLS) {
			c.uncounted = true
			c.srv.Reset()
		}
	}
	return c.send(p)
}
