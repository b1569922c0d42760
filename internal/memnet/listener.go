package memnet

import (
	"context"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
)

// backlog is how many dialled connections wait for Accept before Dial blocks.
const backlog = 128

// Addr is the name of a listener, or of one end of a connection.
type Addr string

// Network is "memnet".
func (Addr) Network() string { return "memnet" }

// String returns the name.
func (a Addr) String() string { return string(a) }

// Listener is a [net.Listener] that one dials by its Dial method.
type Listener struct {
	// Buffer is how many octets a connection holds in each direction before its
	// writer blocks. 0: DefaultBuffer. Set it before the first Dial.
	Buffer int

	addr    Addr
	waiting chan *Conn
	dialled atomic.Int64

	closing sync.Once
	closed  chan struct{}
}

// Listen returns a listener of that name; the name is free, and Dial does not look
// at it.
func Listen(name string) *Listener {
	return &Listener{addr: Addr(name), waiting: make(chan *Conn, backlog), closed: make(chan struct{})}
}

// Dial opens a connection to the listener. It has the shape that the Dial fields
// of Config and its like want; network and address are ignored. After Close it
// fails like a TCP port without a listener.
func (l *Listener) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, l.dialError(err)
	}
	local := Addr(string(l.addr) + "#" + strconv.FormatInt(l.dialled.Add(1), 10))
	near, far := newPair(local, l.addr, l.Buffer)
	select {
	case <-l.closed:
		return nil, l.dialError(syscall.ECONNREFUSED)
	case <-ctx.Done():
		return nil, l.dialError(ctx.Err())
	case l.waiting <- far:
	}
	// Close may have looked for waiting connections before this one came.
	select {
	case <-l.closed:
		far.Abort()
		return nil, l.dialError(syscall.ECONNREFUSED)
	default:
		return near, nil
	}
}

// Accept waits for the next connection.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case <-l.closed: // first: a closed listener hands out nothing more
		return nil, l.acceptError()
	default:
	}
	select {
	case <-l.closed:
		return nil, l.acceptError()
	case c := <-l.waiting:
		return c, nil
	}
}

// Close ends the listener and resets the connections that were not accepted.
// Accepted ones live on.
func (l *Listener) Close() error {
	l.closing.Do(func() { close(l.closed) })
	for {
		select {
		case c := <-l.waiting:
			c.Abort()
		default:
			return nil
		}
	}
}

// Addr is the name that was given to Listen.
func (l *Listener) Addr() net.Addr { return l.addr }

// dialError and acceptError make errors like those of TCP, so that
// code which looks into a *net.OpError finds one.
func (l *Listener) dialError(err error) error {
	return &net.OpError{Op: "dial", Net: l.addr.Network(), Addr: l.addr, Err: err}
}

func (l *Listener) acceptError() error {
	return &net.OpError{Op: "accept", Net: l.addr.Network(), Addr: l.addr, Err: net.ErrClosed}
}
