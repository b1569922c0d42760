package chaos

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"
)

// socket is one end of a connection, as memnet has it.
type socket interface {
	net.Conn
	CloseWrite() error
	Abort() error
}

// clock numbers the events of one run.
type clock struct {
	mu  sync.Mutex
	seq int64
}

func (c *clock) tick() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seq++
	return c.seq
}

// event is a piece of the conversation.
type event struct {
	seq   int64
	at    time.Time
	wrote bool // else read
	n     int  // how many octets stood in that direction behind it
	note  string
}

// tap records what the client hands over and what it reads, at the client's own end.
// (With TLS it is at the server's, within it.)
type tap struct {
	socket
	clock  *clock
	server string
	number int
	tls    bool // these are the server's ends of the streams
	opened time.Time

	mu     sync.Mutex
	wrote  []byte // by the client
	said   []byte // by the server
	events []event
	closed int64 // when the client closed it
}

func (t *tap) note(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.events = append(t.events, event{seq: t.clock.tick(), at: time.Now(), note: fmt.Sprintf(format, args...)})
}

func (t *tap) record(wrote bool, p []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := event{seq: t.clock.tick(), at: time.Now(), wrote: wrote}
	if wrote {
		t.wrote = append(t.wrote, p...)
		e.n = len(t.wrote)
	} else {
		t.said = append(t.said, p...)
		e.n = len(t.said)
	}
	t.events = append(t.events, e)
}

func (t *tap) Read(p []byte) (int, error) {
	n, err := t.socket.Read(p)
	if n > 0 && !t.tls {
		t.record(false, p[:n])
	}
	if err != nil && !t.tls {
		t.note("the client reads: %v", err)
	}
	return n, err
}

func (t *tap) Write(p []byte) (int, error) {
	if t.tls {
		return t.socket.Write(p)
	}
	t.record(true, p) // before it leaves: its answer may be read before Write returns
	n, err := t.socket.Write(p)
	if n < len(p) {
		t.mu.Lock()
		t.wrote = t.wrote[:len(t.wrote)-len(p)+n]
		t.mu.Unlock()
		t.note("the client writes %d of %d octets: %v", n, len(p), err)
	}
	return n, err
}

func (t *tap) CloseWrite() error {
	t.note("the client ends its half")
	return t.socket.CloseWrite()
}

func (t *tap) Close() error {
	t.note("the client closes")
	t.mu.Lock()
	t.closed = t.clock.tick()
	t.mu.Unlock()
	return t.socket.Close()
}

// wroteWhenRead is how many octets the client had begun to hand over when it had read
// that many of the server's.
func (t *tap) wroteWhenRead(n int) int {
	wrote := 0
	for _, e := range t.events {
		if e.note != "" {
			continue
		}
		if e.wrote {
			wrote = e.n
		} else if e.n >= n {
			return wrote
		}
	}
	return wrote
}

// seqOfWrite is when the octet was handed over.
func (t *tap) seqOfWrite(at int) int64 {
	for _, e := range t.events {
		if e.note == "" && e.wrote && e.n > at {
			return e.seq
		}
	}
	return t.clock.seq
}

// transcript is what was said on the wire, for people.
func (t *tap) transcript() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var lines []string
	w, r := 0, 0
	for i, e := range t.events {
		since := e.at.Sub(t.opened).Round(time.Millisecond)
		more := i+1 < len(t.events) && t.events[i+1].note == "" && t.events[i+1].wrote == e.wrote
		switch {
		case e.note != "":
			lines = append(lines, fmt.Sprintf("%10v %6d -- %s", since, e.seq, e.note))
		case more: // in one line with what follows
		case e.wrote:
			n := min(e.n, len(t.wrote))
			lines = append(lines, fmt.Sprintf("%10v %6d C: %s", since, e.seq, excerpt(t.wrote[min(w, n):n])))
			w = n
		default:
			lines = append(lines, fmt.Sprintf("%10v %6d S: %s", since, e.seq, excerpt(t.said[r:e.n])))
			r = e.n
		}
	}
	const most = 100 // the end tells most
	if cut := len(lines) - most; cut > 0 {
		lines = append([]string{fmt.Sprintf("  … %d lines …", cut)}, lines[cut:]...)
	}
	return fmt.Sprintf("%s, wire %d:\n%s\n", t.server, t.number, strings.Join(lines, "\n"))
}

// excerpt shows octets on one line, and of many the first and the last.
func excerpt(p []byte) string {
	const most = 600
	if len(p) > most {
		return fmt.Sprintf("%q… %d octets …%q", p[:most/2], len(p)-most, p[len(p)-most/2:])
	}
	return fmt.Sprintf("%q", p)
}

// dialer makes taps of connections to one server.
func (w *world) dialer(name string, tls bool, dial func(context.Context, string, string) (net.Conn, error)) func(
	context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		t := &tap{socket: asSocket(c), clock: &w.clock, server: name, tls: tls, opened: time.Now()}
		if !tls {
			w.addTap(t)
		}
		return t, nil
	}
}

func asSocket(c net.Conn) socket { return c.(socket) }
