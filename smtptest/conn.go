package smtptest

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postrider/postrider"
)

// conn is one connection of a client. Its goroutine owns everything but what
// the lock guards.
//
// A command goes through four steps, and always in this order: it is judged (the
// server's own reply is found, nothing changes), planned (faults, policy and
// queued errors may change the reply), it takes effect (if the plan still says
// so), and is answered. So what the server did is settled before the client can
// know of it, and a scripted reply can never leave half an effect behind.
type conn struct {
	srv        *Server
	number     int
	surplus    bool // one more than MaxConnections
	peer       net.Addr
	transcript *transcript // nil with Discard

	raw net.Conn // the socket, perhaps under a fault that counts octets
	rw  net.Conn // raw, or TLS over it
	in  input
	out []byte // replies that were decided and not yet written

	learnt          // forgotten at STARTTLS
	tls        bool // the handshake is done
	uncounted  bool // not in the connection count
	mails      int  // MAIL commands, refused ones included
	numbered   int  // transactions
	tx         transaction
	held       *queuedError // pulled out of the queue, and not yet used
	idleStruck bool         // the idle fault of this silence has struck
	misled     bool         // a script may have put the client out of step

	last atomic.Uint32 // the newest verb, to name it if the connection hangs

	mu      sync.Mutex // guards what follows, which Close looks at
	waiting bool       // nothing is under way that Close should wait for
	ending  bool       // Close wants it to end
}

// learnt is what a client has made known: after STARTTLS nothing of it holds any
// more (RFC 3207 §4.2).
type learnt struct {
	ext     Extensions      // as the newest EHLO was answered; nothing after HELO
	limits  limits          // of RFC 9422, as in ext
	hello   bool            // EHLO or HELO was accepted
	esmtp   bool            // it was EHLO
	said    bool            // it was not the first command
	user    string          // who authenticated
	domains map[string]bool // of recipients, for RCPTDOMAINMAX
}

// errEnding is why a read fails while the server is being closed.
var errEnding = errors.New("smtptest: the server is being closed")

// use makes nc the socket, under the faults that count octets: they are looked
// for once, here, so that all other connections pay nothing for them.
func (c *conn) use(nc net.Conn) {
	c.raw = nc
	if faults := c.srv.octetFaults(c.number); len(faults) > 0 {
		c.raw = newOctetConn(c, nc, faults)
	}
	c.rw = c.raw
}

// serve is the whole life of a connection.
func (c *conn) serve() {
	defer c.srv.forget(c)
	defer c.raw.Close()
	if c.srv.Mode == postrider.ImplicitTLS && !c.handshake() {
		return
	}
	if c.greet() {
		for c.next() {
		}
	}
}

// greet says the first words (RFC 5321 §3.1).
func (c *conn) greet() bool {
	if c.surplus {
		return c.answer(pointGreeting, nil, "421 4.7.0 "+c.srv.Hostname+" too many connections")
	}
	return c.answer(pointGreeting, nil, "220 "+c.srv.Hostname+" ESMTP smtptest")
}

// next reads one command and answers it. It reports whether the connection goes
// on. A line that is none is answered too: the client counts replies, and one
// less would put it out of step with the server.
func (c *conn) next() bool {
	line, err := c.line(0)
	switch err {
	case nil:
		return c.command(line)
	case errLineTooLong:
		c.note('C', "(a line that is too long)")
		return c.answer(verbUnknown, line, "500 5.5.2 Line too long")
	case errBareCR:
		return c.answer(verbUnknown, line, "500 5.5.2 A CR stands alone")
	case errBareLF:
		return c.answer(verbUnknown, line, "500 5.5.2 A line must end in CRLF")
	}
	return false
}

// line returns the next line; limit is how long it may be, the CRLF included; 0: as is
// right for its verb. One that is too long for the buffer is eaten to its end, so
// that memory is bounded and the rest of it is not taken for commands.
func (c *conn) line(limit int) ([]byte, error) {
	tooLong := false
	for {
		line, ok, err := c.in.cutLine()
		if ok && limit == 0 {
			limit = c.lineLimit(line)
		}
		switch {
		case ok && (tooLong || len(line)+2 > limit):
			return nil, errLineTooLong
		case ok:
			return line, err
		case len(c.in.pending()) > maxResponse:
			tooLong = true
			c.in.skip(len(c.in.pending()))
		}
		if err := c.refill(); err != nil {
			return nil, err
		}
	}
}

// refill reads at least one more octet. Before it waits for the client it writes
// what it owes it: replies are batched exactly as long as there is input (RFC
// 2920 §3.2).
func (c *conn) refill() error {
	if err := c.flush(); err != nil {
		return err
	}
	for {
		limit, idle := c.patience()
		if err := c.beginWait(limit); err != nil {
			c.depart("421 4.3.2 " + c.srv.Hostname + " is closing")
			return err
		}
		n, err := c.rw.Read(c.in.room())
		c.in.w += n
		c.endWait()
		switch {
		case n > 0:
			c.idleStruck = false
			return nil
		case err != nil && !c.outwaits(err, idle):
			return err
		}
	}
}

// outwaits judges a read that failed, and reports whether to read again. Every
// deadline comes here: that of the client's patience, that of a fault, and the one
// in the past that Close sets to wake a connection.
func (c *conn) outwaits(err error, idle *armed) bool {
	switch {
	case !errors.Is(err, os.ErrDeadlineExceeded):
		return false
	case c.closed():
		return true // it was Close that set the deadline; beginWait sees it
	case idle != nil:
		return c.strikeIdle(idle)
	}
	c.depart("421 4.4.2 " + c.srv.Hostname + " timed out")
	return false
}

// patience is how long to wait for the client, and the fault that strikes then.
// Content is not a silence: a fault that spoke into it would be a reply to nothing.
func (c *conn) patience() (time.Duration, *armed) {
	limit := c.srv.IdleTimeout
	if !c.srv.scripted.Load() || c.idleStruck || c.tx.reading {
		return limit, nil
	}
	if f := c.srv.idleFault(c.number); f != nil && (limit < 0 || f.Idle < limit) {
		return f.Idle, f
	}
	return limit, nil
}

// strikeIdle says what an idle fault says, unasked.
func (c *conn) strikeIdle(a *armed) bool {
	c.idleStruck = true
	c.srv.mu.Lock()
	strikes := a.counted(c.number)
	c.srv.mu.Unlock()
	if !strikes {
		return true
	}
	p := plan{text: a.Reply, raw: true, fault: &a.Fault}
	return c.send(p) && c.flush() == nil
}

// beginWait sets the deadline of the next read, unless Close wants the
// connection to end and it has nothing under way.
func (c *conn) beginWait(limit time.Duration) error {
	var at time.Time
	if limit > 0 {
		at = time.Now().Add(limit)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = !c.tx.open && !c.tx.reading
	if c.waiting && c.ending {
		return errEnding
	}
	return c.rw.SetReadDeadline(at)
}

// endWait is called when octets came: from here Close waits for the connection.
func (c *conn) endWait() {
	c.mu.Lock()
	c.waiting = false
	c.mu.Unlock()
}

// closed reports whether Close wants the connection to end.
func (c *conn) closed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ending
}

// flush writes the replies that are owed. A client that does not read them is
// waited for as long as one that does not write.
func (c *conn) flush() error {
	if len(c.out) == 0 {
		return nil
	}
	if limit := c.srv.IdleTimeout; limit > 0 {
		c.rw.SetWriteDeadline(time.Now().Add(limit))
	}
	_, err := c.rw.Write(c.out)
	c.out = c.out[:0]
	return err
}

// depart says a last word and ends the connection.
func (c *conn) depart(text string) {
	c.owe(plan{text: text}, AnswerWhole)
	c.finish()
}
