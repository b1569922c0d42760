package smtptest

import (
	"errors"
	"io"
	"net"
)

// octetConn ends a connection at an octet: below TLS, where a cable breaks.
type octetConn struct {
	net.Conn
	c                 *conn
	toRead, toWrite   int64 // octets until a fault strikes; negative: never
	atRead, atWritten Then
	struck            bool
}

var errStruck = errors.New("smtptest: the connection was ended by a fault")

// newOctetConn picks of several faults the one that strikes first, in each
// direction.
func newOctetConn(c *conn, nc net.Conn, faults []Fault) *octetConn {
	o := &octetConn{Conn: nc, c: c, toRead: -1, toWrite: -1}
	for _, f := range faults {
		if f.AfterRead > 0 && (o.toRead < 0 || f.AfterRead < o.toRead) {
			o.toRead, o.atRead = f.AfterRead, f.Then
		}
		if f.AfterWritten > 0 && (o.toWrite < 0 || f.AfterWritten < o.toWrite) {
			o.toWrite, o.atWritten = f.AfterWritten, f.Then
		}
	}
	return o
}

// Read returns no octet beyond the fault's. The fault strikes at the next Read, and not
// at once, which leaves the server time to work on what it has.
func (o *octetConn) Read(p []byte) (int, error) {
	if o.toRead < 0 && !o.struck {
		return o.Conn.Read(p)
	}
	if o.struck || o.toRead == 0 {
		return 0, o.strike(o.atRead)
	}
	n, err := o.Conn.Read(p[:min(int64(len(p)), o.toRead)])
	o.toRead -= int64(n)
	return n, err
}

// Write strikes at once: the octet is out, and no other follows it.
func (o *octetConn) Write(p []byte) (int, error) {
	if o.toWrite < 0 && !o.struck {
		return o.Conn.Write(p)
	}
	if o.struck {
		return 0, errStruck
	}
	n, err := o.Conn.Write(p[:min(int64(len(p)), o.toWrite)])
	o.toWrite -= int64(n)
	if err == nil && o.toWrite == 0 {
		err = o.strike(o.atWritten)
	}
	return n, err
}

// strike ends the connection, once.
func (o *octetConn) strike(then Then) error {
	if o.struck {
		return errStruck
	}
	o.struck = true
	switch then {
	case ThenAbort:
		o.c.note('S', "(reset)")
		abort(o.Conn)
	case ThenHang:
		o.c.note('S', "(stopped)")
		<-o.c.srv.closing
	default:
		o.c.note('S', "(cut)")
		closeWrite(o.Conn)
		if o.c.beginDrain(lingering) {
			io.Copy(io.Discard, o.Conn)
		}
	}
	return errStruck
}

// CloseWrite and Abort pass through; an embedded net.Conn would hide them.
func (o *octetConn) CloseWrite() error {
	if !o.struck {
		closeWrite(o.Conn)
	}
	return nil
}

func (o *octetConn) Abort() error { return abort(o.Conn) }
