package smtptest

import (
	"errors"
	"io"
	"net"
	"strings"
	"time"
)

// Command is an SMTP command that a [Server.Policy] decides about.
type Command struct {
	Verb       string            // in upper case; Terminator after the content
	Line       string            // as received
	Address    string            // of MAIL and RCPT; "" is the null path
	Params     map[string]string // of MAIL and RCPT
	Message    *Message          // at the terminator: the message that would be accepted
	Connection int               // number of the connection, from 1
	TLS        bool              // whether the connection uses TLS
	User       string            // the authenticated user, "" if none
}

// plan is what will be answered, before it is.
type plan struct {
	text  string
	raw   bool // a fault's or a hook's own words: sent unchanged
	fault *Fault
}

// plan starts with the server's own answer; anything scripted may change it.
// Without a script it costs one atomic load, which a benchmark does not notice.
func (c *conn) plan(v verb, line []byte, own string) plan {
	c.srv.verbs[v].Add(1)
	if !c.srv.scripted.Load() {
		return plan{text: own}
	}
	return c.scriptedPlan(v, line, own, nil)
}

// scriptedPlan asks the policy, the queue of errors and the faults; what comes
// later in this row overrides.
func (c *conn) scriptedPlan(v verb, line []byte, own string, m *Message) plan {
	p := plan{text: own}
	if c.srv.Policy != nil && positive(own) {
		p.override(c.srv.Policy(c.describe(v, line, m)))
	}
	p.override(c.queuedReply(v))
	o := occasion{verb: v, terminates: v == verbBdat && c.tx.last, connection: c.number}
	if v == verbMail || v == verbRcpt {
		o.address = string(c.tx.path)
	}
	if f := c.srv.fault(o); f != nil {
		p.fault = f
		p.override(f.Reply)
	}
	return p
}

// override puts a scripted reply in the place of the one so far. An empty one is
// no reply: scripts say nothing where they have nothing to say.
func (p *plan) override(text string) {
	if text != "" {
		p.text, p.raw = text, true
	}
}

// takesEffect reports whether a command that the server itself answers with own
// has its effect: a scripted reply of another class stops it, and none can make
// the server do what it would have refused.
func (p *plan) takesEffect(own string) bool {
	return positive(own) && p.text != "" && p.text[0] == own[0]
}

// positive reports whether a reply lets a command have its effect. The server's
// own 3yz are positive, too: they let the client go on.
func positive(reply string) bool { return reply[0] == '2' || reply[0] == '3' }

// describe copies what a policy sees, for it may keep it, while the read buffer
// is used again.
func (c *conn) describe(v verb, line []byte, m *Message) Command {
	d := Command{Verb: v.String(), Line: string(line), Message: m, Connection: c.number, TLS: c.tls, User: c.user}
	if v == verbMail || v == verbRcpt {
		d.Address, d.Params = string(c.tx.path), paramMap(string(c.tx.params))
	}
	return d
}

// answer is for commands without an effect of their own.
func (c *conn) answer(v verb, line []byte, own string) bool {
	return c.send(c.plan(v, line, own))
}

// send sends the answer, and reports whether the connection goes on.
func (c *conn) send(p plan) bool {
	if p.fault == nil {
		c.owe(p, AnswerWhole)
		return !c.last421(p.text)
	}
	f := p.fault
	if f.Delay > 0 && !c.pause(f.Delay) {
		return false
	}
	c.owe(p, f.Answer)
	return c.aftermath(f.Then, p.text)
}

// owe puts a reply, or as much of it as is wanted, behind those that are to be
// written.
func (c *conn) owe(p plan, much Answer) {
	before := len(c.out)
	c.append(p)
	c.misled = c.misled || p.fault != nil || p.raw && strings.Contains(p.text, "\n")
	switch much {
	case AnswerHalf:
		c.out = c.out[:before+(len(c.out)-before)/2]
	case AnswerNone:
		c.out = c.out[:before]
	}
	if c.transcript != nil {
		c.note('S', string(c.out[before:]))
	}
}

// last421 closes the connection behind a reply that says so: after 421 a server
// must close (RFC 5321 §3.8), after 221 the client waits for it (§4.1.1.10).
func (c *conn) last421(text string) bool {
	if !strings.HasPrefix(text, "421") && !strings.HasPrefix(text, "221") {
		return false
	}
	c.finish()
	return true
}

// aftermath does what a fault demands of the connection.
func (c *conn) aftermath(then Then, text string) bool {
	switch then {
	case ThenProceed:
		return !c.last421(text)
	case ThenClose:
		c.finish()
	case ThenAbort:
		c.flush()
		c.note('S', "(reset)")
		abort(c.raw)
	case ThenHang:
		c.flush()
		c.note('S', "(silent)")
		c.drain(0)
	default:
		return true
	}
	return false
}

// append puts a reply into its form, without a copy: this runs for every command.
// Only here do replies become octets. The reply of a fault is sent unchanged; from the
// server's own the enhanced code is taken where it was not offered (RFC 2034 §3).
func (c *conn) append(p plan) {
	if p.raw {
		text := strings.ReplaceAll(strings.ReplaceAll(p.text, "\r\n", "\n"), "\n", "\r\n")
		c.out = append(append(c.out, text...), "\r\n"...)
		return
	}
	text := p.text
	if enhanced(text) && !c.offered().EnhancedStatusCodes {
		c.out = append(c.out, text[:4]...)
		text = text[10:]
	}
	c.out = append(append(c.out, text...), "\r\n"...)
}

// enhanced reports whether one of the server's own replies has an enhanced code:
// "250 2.1.0 Ok".
func enhanced(text string) bool {
	return len(text) > 10 && text[3] == ' ' && text[4] <= '9' && text[5] == '.' && text[7] == '.' && text[9] == ' '
}

// pause writes the earlier answers and waits; false: the server is closed. What
// is delayed is one reply, not those that were owed before it.
func (c *conn) pause(d time.Duration) bool {
	if c.flush() != nil {
		return false
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-c.srv.closing:
		return false
	}
}

// lingering is how long a closed connection waits for the client to close too.
const lingering = 5 * time.Second

// finish writes what is owed and closes behind it. A socket that is closed with
// unread input resets the connection, and the client may lose the last reply: so
// the writing half goes first, and input is read away until the client closes.
func (c *conn) finish() {
	if c.flush() != nil {
		return
	}
	c.note('S', "(closed)")
	closeWrite(c.rw)
	if c.rw != c.raw {
		closeWrite(c.raw)
	}
	c.drain(lingering)
}

// drain reads the client's octets away, until it closes or the time is over (0:
// none). Close does not wait for it: nothing that is read here is ever answered.
func (c *conn) drain(limit time.Duration) {
	if c.beginDrain(limit) {
		io.Copy(io.Discard, c.raw)
	}
}

// beginDrain marks the connection as one that Close need not wait for.
func (c *conn) beginDrain(limit time.Duration) bool {
	var at time.Time
	if limit > 0 {
		at = time.Now().Add(limit)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ending {
		return false
	}
	c.waiting = true
	return c.raw.SetReadDeadline(at) == nil
}

// closeWrite sends a close_notify or a FIN. A connection that can only be closed
// as a whole is left open until its handler returns.
func closeWrite(nc net.Conn) {
	if h, ok := nc.(interface{ CloseWrite() error }); ok {
		h.CloseWrite()
	}
}

// abort resets a connection: memnet and TCP have different words for it.
func abort(nc net.Conn) error {
	switch h := nc.(type) {
	case interface{ Abort() error }:
		return h.Abort()
	case interface{ SetLinger(int) error }:
		return errors.Join(h.SetLinger(0), nc.Close())
	}
	return nc.Close()
}
