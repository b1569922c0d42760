package smtptest

import (
	"bytes"
	"strings"
)

// transaction is the state of a mail transaction. Its buffers are used again for
// the next one, so that a server which discards does not allocate: addresses lie
// one behind the other in one slice, and become strings when a Message is made.
type transaction struct {
	open     bool // MAIL was accepted
	utf8     bool // with SMTPUTF8
	reading  bool // content is being read
	chunks   bool // a BDAT was accepted
	last     bool // the BDAT at hand has LAST
	failed   bool // a BDAT failed: only RSET helps
	commands int  // RCPT commands, refused ones included

	path, params []byte // of the MAIL or RCPT at hand; they lie in the read buffer

	names []byte // the accepted addresses and parameters, one behind the other
	from  recipient
	to    []recipient

	content contentState
}

// recipient is where an address and its parameters end in names; the address
// begins where the parameters before it end. The reverse-path is the first.
type recipient struct{ path, params int }

// reset forgets everything but the memory it lay in.
func (t *transaction) reset() {
	*t = transaction{names: t.names[:0], to: t.to[:0], content: contentState{kept: t.content.kept[:0]}}
}

// remember puts the path and parameters at hand into names.
func (t *transaction) remember() (r recipient) {
	t.names = append(t.names, t.path...)
	r.path = len(t.names)
	t.names = append(t.names, t.params...)
	r.params = len(t.names)
	return r
}

// mail answers MAIL (RFC 5321 §4.1.1.2).
func (c *conn) mail(line, arg []byte) bool {
	own, utf8 := c.judgeMail(arg)
	c.mails++
	p := c.plan(verbMail, line, own)
	if p.takesEffect(own) {
		c.tx.open, c.tx.utf8 = true, utf8
		c.tx.from = c.tx.remember()
		c.numbered++
		c.srv.taken.Add(1)
	}
	return c.send(p)
}

// judgeMail judges MAIL: time, syntax, size, address, in this order, so that a
// client hears of the first thing that is wrong with it.
func (c *conn) judgeMail(arg []byte) (reply string, utf8 bool) {
	c.tx.path, c.tx.params = nil, nil
	if reply := c.mailUnwanted(); reply != "" {
		return reply, false
	}
	p, reply := c.parseEnvelope(verbMail, arg, "FROM:")
	utf8 = p.seen&paramUTF8 != 0
	switch {
	case reply != "":
		return reply, false
	case p.size > c.offered().maxSize():
		return replyTooLarge, false
	}
	if reply := p.timeFault(&c.ext); reply != "" {
		return reply, false
	}
	if len(c.tx.path) > 0 {
		if reply := c.mailboxFault(utf8); reply != "" {
			return reply, false
		}
	}
	return "250 2.1.0 Sender ok", utf8
}

// mailUnwanted refuses a MAIL that comes at the wrong time.
func (c *conn) mailUnwanted() string {
	gate := c.gate(verbMail)
	switch {
	case gate != "":
		return gate
	case !c.hello:
		return "503 5.5.1 Send EHLO first"
	case c.srv.RequireAuth && c.user == "":
		return "530 5.7.0 Authentication required"
	case c.tx.open:
		return "503 5.5.1 A transaction is open"
	case c.overMails():
		return "421 4.7.0 Too many transactions on this connection"
	}
	return ""
}

// overMails counts MAIL commands and not successes: RFC 9422 does, for a client
// that pipelines cannot know of failures.
func (c *conn) overMails() bool {
	return c.srv.MaxTransactions > 0 && c.mails >= c.srv.MaxTransactions ||
		c.limits.mail > 0 && c.mails >= c.limits.mail
}

// parseEnvelope takes apart what MAIL and RCPT share: a word, a path in angle
// brackets with no space before it, and parameters.
func (c *conn) parseEnvelope(v verb, arg []byte, word string) (p params, fault string) {
	rest, ok := cutPrefixFold(arg, word)
	if !ok {
		return p, replyBadSyntax
	}
	path, rest, ok := cutPath(rest)
	if !ok {
		return p, replyBadSyntax
	}
	c.tx.path, c.tx.params = cutRoute(path), rest
	return c.parseParams(v, rest)
}

// mailboxFault judges the mailbox at hand.
func (c *conn) mailboxFault(utf8 bool) string {
	if c.srv.RequireDomain && local(c.tx.path) {
		return "501 5.1.3 An address needs a domain"
	}
	return pathFault(c.tx.path, utf8)
}

// rcpt answers RCPT (RFC 5321 §4.1.1.3).
func (c *conn) rcpt(line, arg []byte) bool {
	own := c.judgeRcpt(arg)
	c.tx.commands++
	p := c.plan(verbRcpt, line, own)
	if p.takesEffect(own) {
		c.tx.to = append(c.tx.to, c.tx.remember())
		c.addDomain()
	}
	return c.send(p)
}

// judgeRcpt judges RCPT. Whether the recipient exists is the Policy's business.
func (c *conn) judgeRcpt(arg []byte) string {
	c.tx.path, c.tx.params = nil, nil
	gate := c.gate(verbRcpt)
	switch {
	case gate != "":
		return gate
	case !c.tx.open:
		return "503 5.5.1 Need MAIL"
	case c.tx.chunks:
		return "503 5.5.1 Content has begun"
	}
	if _, reply := c.parseEnvelope(verbRcpt, arg, "TO:"); reply != "" {
		return reply
	}
	if !foldIn(c.tx.path, "POSTMASTER") { // RFC 5321 §4.1.1.3
		if reply := c.mailboxFault(c.tx.utf8); reply != "" {
			return reply
		}
	}
	if len(c.tx.to) >= c.srv.MaxRecipients || c.limits.rcpt > 0 && c.tx.commands >= c.limits.rcpt || c.overDomains() {
		return "452 4.5.3 Too many recipients"
	}
	return "250 2.1.5 Recipient ok"
}

// overDomains reports whether the recipient at hand has one domain too many for
// the connection (RFC 9422, RCPTDOMAINMAX).
func (c *conn) overDomains() bool {
	return c.limits.domains > 0 && len(c.domains) >= c.limits.domains && !c.domains[c.domain()]
}

// addDomain notes the domain of an accepted recipient, if there is a limit.
func (c *conn) addDomain() {
	if c.limits.domains == 0 {
		return
	}
	if c.domains == nil {
		c.domains = make(map[string]bool)
	}
	c.domains[c.domain()] = true
}

// domain is that of the recipient at hand; domains are the same in any case.
func (c *conn) domain() string {
	if local(c.tx.path) {
		return ""
	}
	return strings.ToLower(string(c.tx.path[bytes.LastIndexByte(c.tx.path, '@')+1:]))
}
