package smtptest

import "bytes"

// dotReader finds the end of the content that follows DATA, and takes the
// stuffing dots away (RFC 5321 §4.5.2). Only CRLF ends a line and only
// CRLF "." CRLF ends the content (§4.1.1.4): a bare CR or LF is content, which
// is what keeps one message from being taken for two.
//
// The zero value stands behind the CRLF of DATA, at the start of a line: the
// CRLF that ends the command is also the first of the end of an empty message.
type dotReader struct{ at dotState }

type dotState uint8

const (
	atLineStart dotState = iota
	inLine
	afterCR
	afterDot   // CRLF "."
	afterDotCR // CRLF "." CR
)

// next takes octets off the head of p: used of them, of which the part out is
// content. done says that they end the content. It is called until p is empty
// or done is true; the octets of out belong to p, except for a CR that an
// earlier call held back.
func (d *dotReader) next(p []byte) (out []byte, used int, done bool) {
	switch c := p[0]; d.at {
	case atLineStart:
		d.at = inLine
		if c == '.' {
			d.at = afterDot
			return nil, 1, false
		}
	case afterDot:
		if c == '\r' {
			d.at = afterDotCR
			return nil, 1, false
		}
		d.at = inLine // the dot was stuffing
	case afterDotCR:
		if c == '\n' {
			d.at = atLineStart
			return nil, 1, true
		}
		// The dot was stuffing and the CR is content after all. p[0] is no LF, so
		// the line goes on as any other.
		d.at = inLine
		return heldCR, 0, false
	case afterCR:
		d.at = inLine
		if c == '\n' {
			d.at = atLineStart
			return p[:1], 1, false
		}
	}
	return d.line(p)
}

var heldCR = []byte{'\r'}

// line takes everything up to the next CRLF that a dot follows, or to the last
// CR or CRLF of p, whichever is nearer: lines without a leading dot need no
// closer look.
func (d *dotReader) line(p []byte) (out []byte, used int, done bool) {
	n := len(p)
	if i := bytes.Index(p, crlfDot); i >= 0 {
		n = i + 2
	}
	switch {
	case bytes.HasSuffix(p[:n], crlfDot[:2]):
		d.at = atLineStart
	case p[n-1] == '\r':
		d.at = afterCR
	default:
		d.at = inLine
	}
	return p[:n], n, false
}

var crlfDot = []byte("\r\n.")
