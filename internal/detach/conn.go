package detach

import (
	"net"
	"sync"
	"time"
)

// Conn is a connection whose Close is the caller's code and may block. Close waits for it, so that one conversation
// does not overlap the next, but no longer than until nobody wants to wait any more.
type Conn struct {
	net.Conn
	left <-chan struct{} // closed when nobody waits any more
	gone chan struct{}   // closed when the Close of the caller's has returned

	mu     sync.Mutex // a leaf
	closed bool
}

// NewConn wraps a connection. Nobody waits for its Close any more when left is closed.
func NewConn(conn net.Conn, left <-chan struct{}) *Conn {
	return &Conn{Conn: conn, left: left, gone: make(chan struct{})}
}

// Close closes the connection.
func (c *Conn) Close() error {
	c.Cut()
	select {
	case <-c.gone:
	case <-c.left:
	}
	return nil
}

// Cut begins to close it. A Read or Write that is underway ends, also if Close blocks.
func (c *Conn) Cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.closed = true
	c.Conn.SetDeadline(time.Unix(1, 0)) // long past
	go func() {
		defer close(c.gone)
		c.Conn.Close()
	}()
}

// Read ends with [net.ErrClosed] when we have closed it.
func (c *Conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	return n, c.explain(err)
}

// Write ends with [net.ErrClosed] when we have closed it.
func (c *Conn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	return n, c.explain(err)
}

func (c *Conn) explain(err error) error {
	if err == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	return err
}

// CloseWrite closes our half, where the connection has one.
func (c *Conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error { return c.arm(c.Conn.SetDeadline, t) }

// SetReadDeadline sets that of Read.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.arm(c.Conn.SetReadDeadline, t) }

// SetWriteDeadline sets that of Write.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.arm(c.Conn.SetWriteDeadline, t) }

// arm sets a deadline, unless it would undo that of cut.
func (c *Conn) arm(set func(time.Time) error, t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	return set(t)
}
