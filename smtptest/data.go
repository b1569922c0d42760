package smtptest

import (
	"bytes"
	"fmt"
	"strconv"
)

// contentState is what is known of the content of a transaction.
type contentState struct {
	kept   []byte // empty unless collected
	size   int64
	line   int  // octets of the line at hand
	cr     bool // the newest octet was a CR
	isLong bool // a line was longer than MaxTextLine
	isBare bool // a CR or LF stood alone
}

// data answers DATA and reads what follows (RFC 5321 §4.1.1.4).
func (c *conn) data(line, arg []byte) bool {
	own := c.judgeData(arg)
	p := c.plan(verbData, line, own)
	begins := p.takesEffect(own)
	if !c.send(p) {
		return false
	}
	if !begins {
		return true // the transaction stays as it was: the client may try again, or RSET
	}
	c.tx.reading = true
	if !c.readDots() {
		c.note('C', fmt.Sprintf("(%d octets, no end)", c.tx.content.size))
		return false
	}
	if c.early(pointTerminator) {
		return c.sendAway()
	}
	return c.conclude(pointTerminator, []byte("."))
}

// judgeData judges DATA. With all recipients refused there is no 354, so that a
// client that pipelined DATA has nothing to send (RFC 2920 §3.1).
func (c *conn) judgeData(arg []byte) string {
	gate := c.gate(verbData)
	switch {
	case gate != "":
		return gate
	case len(arg) > 0:
		return replyBadSyntax
	case !c.tx.open:
		return "503 5.5.1 Need MAIL"
	case c.tx.chunks: // RFC 3030 §2
		return "503 5.5.1 DATA behind BDAT"
	case len(c.tx.to) == 0:
		return c.noRecipients()
	}
	return "354 End data with <CRLF>.<CRLF>"
}

// noRecipients distinguishes a client that sent no RCPT from one whose recipients were
// all refused (RFC 5321 §3.3).
func (c *conn) noRecipients() string {
	if c.tx.commands == 0 {
		return "503 5.5.1 Need RCPT"
	}
	return "554 5.5.1 No valid recipients"
}

// readDots reads content up to CRLF "." CRLF. It works on the read buffer in
// place, in as large parts as it holds.
func (c *conn) readDots() bool {
	var d dotReader
	for {
		for p := c.in.pending(); len(p) > 0; p = c.in.pending() {
			out, used, done := d.next(p)
			c.take(out)
			c.in.skip(used)
			if done {
				return true
			}
		}
		if c.refill() != nil {
			return false
		}
	}
}

// bdat reads a chunk and answers BDAT. The octets are read whatever the answer
// is: with PIPELINING the client has sent them already (RFC 3030 §2).
func (c *conn) bdat(line, arg []byte) bool {
	size, last, ok := parseBdat(arg)
	if !ok {
		c.tx.failed = true
		return c.answer(verbBdat, line, "501 5.5.4 Syntax: BDAT size [LAST]")
	}
	own := c.judgeBdat()
	c.tx.last, c.tx.reading = last, true
	if !c.readChunk(size, positive(own)) {
		c.note('C', "(a chunk that breaks off)")
		return false
	}
	if c.early(pointTerminator) {
		return c.sendAway()
	}
	if last && positive(own) {
		return c.conclude(verbBdat, line) // one reply, to the chunk and to the message
	}
	c.tx.reading = false
	if positive(own) && c.tx.content.size > c.offered().maxSize() {
		own = replyTooLarge
	}
	p := c.plan(verbBdat, line, own)
	c.tx.chunks = true
	c.tx.failed = !p.takesEffect(own)
	return c.send(p)
}

// judgeBdat judges BDAT by what came before it. Its size is judged when its octets
// are here.
func (c *conn) judgeBdat() string {
	gate := c.gate(verbBdat)
	switch {
	case gate != "":
		return gate
	case !c.ext.Chunking:
		return "503 5.5.1 CHUNKING is not offered"
	case !c.tx.open:
		return "503 5.5.1 Need MAIL"
	case len(c.tx.to) == 0:
		return c.noRecipients()
	}
	return "250 2.0.0 Chunk ok"
}

// readChunk reads size octets, and keeps them if they are wanted.
func (c *conn) readChunk(size int64, wanted bool) bool {
	for size > 0 {
		p := c.in.pending()
		if len(p) == 0 {
			if c.refill() != nil {
				return false
			}
			continue
		}
		p = p[:min(int64(len(p)), size)]
		if wanted {
			c.take(p)
		}
		c.in.skip(len(p))
		size -= int64(len(p))
	}
	return true
}

// take adds octets to the content. Beyond the largest size they are only counted:
// a refused message must still be read to its end (RFC 1870 §6.3), but not kept.
func (c *conn) take(p []byte) {
	t, s := &c.tx.content, c.srv
	t.size += int64(len(p))
	if c.collects() && t.size <= c.offered().maxSize() {
		t.kept = append(t.kept, p...)
	}
	if s.MaxTextLine > 0 || s.RejectBareLineEnds {
		t.inspect(p, s.MaxTextLine)
	}
}

// collects reports whether anybody wants to see messages.
func (c *conn) collects() bool {
	s := c.srv
	return !s.Discard || s.OnMessage != nil || s.Policy != nil
}

// inspect looks for long lines and bare line ends. It looks at every octet, and so
// is called only if a limit is set.
func (t *contentState) inspect(p []byte, limit int) {
	for _, b := range p {
		t.line++
		if limit > 0 && t.line > limit {
			t.isLong = true
		}
		if (b == '\n') != t.cr {
			t.isBare = true
		}
		if b == '\n' {
			t.line = 0
		}
		t.cr = b == '\r'
	}
}

// judge is the verdict on content that is complete.
func (t *contentState) judge(s *Server, limit int64) string {
	switch {
	case t.size > limit:
		return replyTooLarge
	case t.isLong:
		return "500 5.5.2 Line too long"
	case s.RejectBareLineEnds && (t.isBare || t.cr):
		return "550 5.5.2 A CR or LF stands alone"
	}
	return ""
}

// conclude judges a whole message, takes or refuses it, and only then answers.
// v is what the client ended it with.
func (c *conn) conclude(v verb, line []byte) bool {
	c.note('C', c.contentNote(v))
	own := c.tx.content.judge(c.srv, c.offered().maxSize())
	if own == "" {
		own = c.acceptance()
	}
	var m *Message
	if c.collects() {
		m = c.message(v == verbBdat)
	}
	p := c.finalPlan(v, line, own, m)
	taken := p.takesEffect(own)
	if taken && m != nil {
		c.srv.keep(m)
	}
	// The transaction is over whatever the answer is (RFC 5321 §4.1.1.4), but a
	// BDAT that failed wants its RSET all the same (RFC 3030 §2).
	c.tx.reset()
	c.tx.failed = v == verbBdat && !taken
	return c.send(p)
}

// finalPlan is plan for the end of content: it counts a terminator, and lets the
// policy see the message.
func (c *conn) finalPlan(v verb, line []byte, own string, m *Message) plan {
	if v == verbBdat {
		c.srv.verbs[pointTerminator].Add(1)
	}
	c.srv.verbs[v].Add(1)
	if !c.srv.scripted.Load() {
		return plan{text: own}
	}
	return c.scriptedPlan(v, line, own, m)
}

// acceptance is the reply to a message that is taken. One that is kept has a
// name; for the others none is made up, 300,000 times a second.
func (c *conn) acceptance() string {
	if c.srv.Discard {
		return "250 2.0.0 Ok"
	}
	return "250 2.0.0 Ok: queued as " + strconv.Itoa(c.number) + "-" + strconv.Itoa(c.numbered)
}

// contentNote says in the transcript how much came. The content itself is in the
// Message, and may be large.
func (c *conn) contentNote(v verb) string {
	switch {
	case c.transcript == nil:
		return ""
	case v == verbBdat:
		return fmt.Sprintf("(%d octets in all)", c.tx.content.size)
	}
	return fmt.Sprintf("(%d octets and the final dot)", c.tx.content.size)
}

// message returns the transaction as a Message, which outlasts it.
func (c *conn) message(bdat bool) *Message {
	t := &c.tx
	m := &Message{
		Peer: c.peer, Connection: c.number, Transaction: c.numbered, TLS: c.tls, User: c.user, BDAT: bdat,
		From:       string(t.names[:t.from.path]),
		MailParams: paramMap(string(t.names[t.from.path:t.from.params])),
		Content:    bytes.Clone(t.content.kept),
	}
	at := t.from.params
	for _, r := range t.to {
		m.To = append(m.To, string(t.names[at:r.path]))
		m.RcptParams = append(m.RcptParams, paramMap(string(t.names[r.path:r.params])))
		at = r.params
	}
	return m
}
