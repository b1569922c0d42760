package memnet

import (
	"io"
	"net"
	"syscall"
	"time"
)

// Conn is one end of a connection. Besides [net.Conn] it has CloseWrite and
// Abort, as *net.TCPConn has CloseWrite and SetLinger(0) with Close.
type Conn struct {
	in, out       *stream // in is what the peer writes
	local, remote Addr
}

// Pipe returns the two ends of a connection that no listener knows, with that
// many octets of buffer in each direction (0: DefaultBuffer).
func Pipe(buffer int) (a, b *Conn) {
	return newPair("a", "b", buffer)
}

// newPair crosses two streams: what one end writes the other reads.
func newPair(local, remote Addr, buffer int) (near, far *Conn) {
	ab, ba := newStream(buffer), newStream(buffer)
	near = &Conn{in: ba, out: ab, local: local, remote: remote}
	far = &Conn{in: ab, out: ba, local: remote, remote: local}
	return near, far
}

// Read reads what the peer has written. After the peer's Close it returns what is
// still buffered, and then io.EOF.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.in.read(p)
	return n, c.wrap("read", err)
}

// Write blocks while the buffer is full.
func (c *Conn) Write(p []byte) (int, error) {
	n, err := c.out.write(p)
	return n, c.wrap("write", err)
}

// CloseWrite lets the peer read EOF after what is buffered; reading goes on.
func (c *Conn) CloseWrite() error {
	c.out.closeWriter()
	return nil
}

// Close ends both directions. The peer reads what is buffered and then EOF; what
// it writes fails as on a connection that was reset.
func (c *Conn) Close() error {
	c.out.closeWriter()
	c.in.closeReader()
	c.out.shut()
	return nil
}

// Abort ends both directions as a TCP reset does: what is buffered is lost, and
// the peer's reads and writes fail with ECONNRESET.
func (c *Conn) Abort() error {
	c.out.fail(syscall.ECONNRESET)
	c.in.fail(syscall.ECONNRESET)
	return c.Close()
}

// LocalAddr is the name of this end.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr is the name of the other end.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline sets both deadlines. A zero time means none.
func (c *Conn) SetDeadline(t time.Time) error {
	c.in.readLimit.set(c.in, t)
	c.out.writeLimit.set(c.out, t)
	return nil
}

// SetReadDeadline ends reads, waiting ones too, with os.ErrDeadlineExceeded at t.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.in.readLimit.set(c.in, t)
	return nil
}

// SetWriteDeadline ends writes, waiting ones too, with os.ErrDeadlineExceeded at t.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.out.writeLimit.set(c.out, t)
	return nil
}

// wrap makes errors like those of TCP. io.EOF stays bare.
func (c *Conn) wrap(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &net.OpError{Op: op, Net: c.local.Network(), Source: c.local, Addr: c.remote, Err: err}
}
