package postrider

import (
	"net"
	"sync"
	"time"
)

// looseConn is a connection of the caller's [Config.Dial], whose Close is the caller's
// code and may block. Close waits for it, so that wires do not overlap, but no longer
// than until the Connection itself is closed.
type looseConn struct {
	net.Conn
	left <-chan struct{} // closed when nobody waits any more
	gone chan struct{}   // closed when the Close of the caller's has returned

	mu     sync.Mutex // a leaf
	closed bool
}

// loosen makes a connection one whose Close can be left behind.
func (c *Connection) loosen(conn net.Conn) net.Conn {
	if c.cfg.Dial == nil {
		return conn
	}
	return &looseConn{Conn: conn, left: c.ended, gone: make(chan struct{})}
}

// Close closes the connection.
func (c *looseConn) Close() error {
	c.cut()
	select {
	case <-c.gone:
	case <-c.left:
	}
	return nil
}

// cut begins to close it. A Read or Write that is underway ends, also if Close blocks.
func (c *looseConn) cut() {
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
func (c *looseConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	return n, c.explain(err)
}

// Write ends with [net.ErrClosed] when we have closed it.
func (c *looseConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	return n, c.explain(err)
}

func (c *looseConn) explain(err error) error {
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
func (c *looseConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// SetDeadline sets both deadlines.
func (c *looseConn) SetDeadline(t time.Time) error { return c.arm(c.Conn.SetDeadline, t) }

// SetReadDeadline sets that of Read.
func (c *looseConn) SetReadDeadline(t time.Time) error { return c.arm(c.Conn.SetReadDeadline, t) }

// SetWriteDeadline sets that of Write.
func (c *looseConn) SetWriteDeadline(t time.Time) error { return c.arm(c.Conn.SetWriteDeadline, t) }

// arm sets a deadline, unless it would undo that of cut.
func (c *looseConn) arm(set func(time.Time) error, t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	return set(t)
}
