package wire

import "bytes"

// Survey looks through whole lines: canonical is whether they are already as they
// have to be on the wire, each ended by CRLF and no other CR or LF; dots, which
// means something only then, whether one of them begins with a dot. An empty b is
// canonical. Lines are found by searching, not by looking at each octet.
func Survey(b []byte) (canonical, dots bool) {
	lines := 0
	for rest := b; len(rest) > 0; lines++ {
		i := bytes.IndexByte(rest, '\n')
		if i < 1 || rest[i-1] != '\r' {
			return false, dots
		}
		dots = dots || rest[0] == '.'
		rest = rest[i+1:]
	}
	// Every LF has its CR; as many CRs as LFs means that none stands alone.
	return bytes.Count(b, []byte{'\r'}) == lines, dots
}

// Canonical reports whether b, standing at the beginning of a line, needs no
// repair.
func Canonical(b []byte) bool {
	canonical, _ := Survey(b)
	return canonical
}

// Repairer makes content canonical: CR, LF and CRLF each end a line and become
// CRLF (RFC 5321 §2.3.8 forbids the bare ones, and servers that take them for
// line ends have been tricked with them), and the last line gets its end.
// The zero Repairer is at the beginning of a content.
type Repairer struct {
	afterCR bool // a CR was just turned to CRLF: its LF, if it comes, is done
	midLine bool
}

// Append appends the repaired src to dst. src may be cut anywhere.
func (r *Repairer) Append(dst, src []byte) []byte {
	if r.afterCR && len(src) > 0 {
		src, r.afterCR = bytes.TrimPrefix(src, []byte{'\n'}), false
	}
	for len(src) > 0 {
		line, rest, ended := bytes.Cut(src, []byte{'\n'})
		if ended {
			line = bytes.TrimSuffix(line, []byte{'\r'})
		}
		// The CRs that are left stand alone. They are looked for within the line, so
		// that a content of nothing but CRs is not searched for an LF at each of them.
		for i := bytes.IndexByte(line, '\r'); i >= 0; i = bytes.IndexByte(line, '\r') {
			dst = append(append(dst, line[:i]...), '\r', '\n')
			line = line[i+1:]
		}
		dst = append(dst, line...)
		if ended {
			dst = append(dst, '\r', '\n')
		}
		r.midLine, r.afterCR = !ended && len(line) > 0, !ended && len(line) == 0
		src = rest
	}
	return dst
}

// Idle reports that the Repairer stands between two lines, so that canonical
// lines may pass it by.
func (r *Repairer) Idle() bool { return !r.afterCR && !r.midLine }

// Finish appends the end of a last line that has none.
func (r *Repairer) Finish(dst []byte) []byte {
	if r.midLine {
		dst = append(dst, '\r', '\n')
	}
	*r = Repairer{}
	return dst
}

// Terminator ends the content of DATA, behind a CRLF (RFC 5321 §4.1.1.4).
const Terminator = ".\r\n"

// Stuffer makes canonical content transparent for DATA: a line that begins with
// a dot gets another one (RFC 5321 §4.5.2). The zero Stuffer is at the beginning
// of a content.
type Stuffer struct{ midLine bool }

// Append appends the stuffed src to dst. src may be cut anywhere.
func (s *Stuffer) Append(dst, src []byte) []byte {
	if len(src) == 0 {
		return dst
	}
	if !s.midLine && src[0] == '.' {
		dst = append(dst, '.')
	}
	s.midLine = src[len(src)-1] != '\n'
	for {
		i := bytes.Index(src, []byte("\n."))
		if i < 0 {
			return append(dst, src...)
		}
		dst = append(append(dst, src[:i+2]...), '.')
		src = src[i+2:]
	}
}

// HeaderASCII reports whether the header at the beginning of a content is ASCII
// throughout, as far as it is in b.
func HeaderASCII(b []byte) bool {
	if bytes.HasPrefix(b, []byte("\r\n")) {
		return true // no header at all
	}
	if i := bytes.Index(b, []byte("\r\n\r\n")); i >= 0 {
		b = b[:i]
	}
	return ASCII(b)
}
