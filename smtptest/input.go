package smtptest

import (
	"bytes"
	"errors"
)

// inputSize is the read buffer of a connection: large, so that a client that
// pipelines costs few system calls.
const inputSize = 64 << 10

// Bounds of a line, the CRLF included: of a command (RFC 5321 §4.5.3.1.4), AUTH
// among them, to which extensions add what their parameters need (see
// paramWords); and of what answers a challenge (RFC 4954 §4).
const (
	maxCommand  = 512
	maxResponse = 12288
)

var (
	errLineTooLong = errors.New("command line too long")
	errBareLF      = errors.New("a line must end in CRLF")
	errBareCR      = errors.New("a CR stands alone")
)

// input is the part of the client's octets that were read and not yet used.
type input struct {
	buf  []byte
	r, w int // buf[r:w] is unused
}

// pending returns the unused octets. They are valid until the next refill.
func (in *input) pending() []byte { return in.buf[in.r:in.w] }

// skip marks n octets as used.
func (in *input) skip(n int) {
	in.r += n
	if in.r == in.w {
		in.r, in.w = 0, 0
	}
}

// room makes room behind the unused octets and returns it.
func (in *input) room() []byte {
	if in.buf == nil {
		in.buf = make([]byte, inputSize)
	}
	if in.r > 0 {
		in.w = copy(in.buf, in.buf[in.r:in.w])
		in.r = 0
	}
	return in.buf[in.w:]
}

// cutLine takes the first line out of the unused octets, without its line end.
// ok is false while there is no whole line. A line that ends in a bare LF is a
// line, and an error: RFC 5321 §2.3.8 knows no other line end than CRLF, and no
// other use of CR and LF.
func (in *input) cutLine() (line []byte, ok bool, err error) {
	p := in.pending()
	i := bytes.IndexByte(p, '\n')
	if i < 0 {
		return nil, false, nil
	}
	in.skip(i + 1)
	if i == 0 || p[i-1] != '\r' {
		return p[:i], true, errBareLF
	}
	line = p[:i-1]
	if bytes.IndexByte(line, '\r') >= 0 {
		return line, true, errBareCR
	}
	return line, true, nil
}

// lineLimit is how long a command line may be, the CRLF included: it depends on
// what was offered.
func (c *conn) lineLimit(line []byte) int {
	if len(line)+2 <= maxCommand {
		return maxCommand // no need to look at it twice
	}
	limit := maxCommand
	v, _ := cutVerb(line)
	for _, w := range paramWords {
		if w.verb == v && w.offered(c) {
			limit += w.room
		}
	}
	return limit
}
