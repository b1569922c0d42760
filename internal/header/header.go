// Package header reads the header section of a message as octets, for those who remove fields, look for them, or put
// others before them, and must leave the rest as it is. Lines end where they will end on the wire: at CR, LF or CRLF
// (RFC 5321 §2.3.8; the connection turns each of them into CRLF). So no field that the MTA sees is hidden from us
// behind a bare CR.
package header

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
)

// MaxLength is how many octets a section may have: far more than any honest one, and no strain on the memory.
const MaxLength = 1 << 20

// Error says what is wrong with a section, and where.
type Error struct {
	Line    int // from 1; 0: the section as a whole
	Problem string
}

// Error is for somebody who can look at the message.
func (e *Error) Error() string {
	if e.Line == 0 {
		return "the header of the message " + e.Problem
	}
	return fmt.Sprintf("line %d of the message: %s", e.Line, e.Problem)
}

// Long is the error of a section that has this many octets, nil if that is allowed.
func Long(octets int) error {
	if octets <= MaxLength {
		return nil
	}
	return &Error{Problem: fmt.Sprintf("is longer than %d octets", MaxLength)}
}

// Field is a header field with its continuation lines, octet for octet.
type Field struct {
	Name string // as it is written, without blanks before the colon; "" for the empty line that ends the section
	Raw  []byte
}

// Is reports whether the field has one of these names, in upper or lower case.
func (f Field) Is(names ...string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, f.Name) })
}

var unfold = strings.NewReplacer("\r", "", "\n", "")

// Value returns what stands behind the colon, unfolded (RFC 5322 §2.2.3), without blanks at its ends.
func (f Field) Value() string {
	_, value, _ := bytes.Cut(f.Raw, []byte(":"))
	return strings.TrimSpace(unfold.Replace(string(value)))
}

// Section is a header section, in order, with the empty line that ends it if there is one.
type Section []Field

// Has reports whether there is a field of one of these names.
func (s Section) Has(names ...string) bool {
	return slices.ContainsFunc(s, func(f Field) bool { return f.Is(names...) })
}

// Without returns the section without the fields of these names.
func (s Section) Without(names ...string) Section {
	return slices.DeleteFunc(slices.Clone(s), func(f Field) bool { return f.Is(names...) })
}

// Bytes returns the octets of the section.
func (s Section) Bytes() []byte {
	var b []byte
	for _, f := range s {
		b = append(b, f.Raw...)
	}
	return b
}

// Read reads a section from r, with the empty line behind it; what is left in r is the body. A section that is not
// well-formed or too long is an [*Error], any other error is r's.
func Read(r *bufio.Reader) (Section, error) {
	return read(func() ([]byte, error) { return readLine(r) })
}

// Parse reads the section at the beginning of a message, and returns the body besides.
func Parse(message []byte) (s Section, body []byte, err error) {
	body = message
	s, err = read(func() (line []byte, err error) {
		if line, body = cutLine(body); len(body) == 0 {
			err = io.EOF
		}
		return line, err
	})
	return s, body, err
}

// Length returns how many octets of a message are its header section, with the empty line, whether or not that is
// well-formed.
func Length(message []byte) int {
	for rest := message; len(rest) > 0; {
		var line []byte
		if line, rest = cutLine(rest); isEmpty(line) {
			return len(message) - len(rest)
		}
	}
	return len(message)
}

// Begins reports whether a message begins with a header section, which may be empty. Other text would become a part of
// one when fields are put before it.
func Begins(message []byte) bool {
	line, _ := cutLine(message)
	name, _, isField := bytes.Cut(line, []byte(":"))
	name = bytes.TrimRight(name, blanks)
	return isEmpty(line) || isField && len(name) > 0 && !bytes.ContainsFunc(name, notInName)
}

// notInName: RFC 5322 §2.2 has names of visible ASCII without the colon.
func notInName(c rune) bool { return c <= ' ' || c > '~' || c == ':' }

const blanks = " \t"

func isEmpty(line []byte) bool { return len(bytes.TrimRight(line, "\r\n")) == 0 }

// read takes lines, each with its end, as far as the section goes. The last line comes with io.EOF.
func read(next func() ([]byte, error)) (s Section, err error) {
	size := 0
	for number := 1; ; number++ {
		line, err := next()
		size += len(line)
		if long := Long(size); long != nil {
			return nil, long
		}
		if err != nil && err != io.EOF {
			return nil, err
		}
		more, problem := s.add(line)
		if problem != "" {
			return nil, &Error{number, problem}
		}
		if !more || err == io.EOF {
			return s, nil
		}
	}
}

// add takes one line, and reports whether the section goes on.
func (s *Section) add(line []byte) (more bool, problem string) {
	switch {
	case len(line) == 0:
		return false, ""
	case isEmpty(line):
		*s = append(*s, Field{"", bytes.Clone(line)})
		return false, ""
	case line[0] == ' ' || line[0] == '\t': // RFC 5322 §2.2.3; one of blanks only, too (§4.2)
		if len(*s) == 0 {
			return false, "the header begins with a continuation line"
		}
		last := &(*s)[len(*s)-1]
		last.Raw = append(last.Raw, line...)
		return true, ""
	}
	name, _, found := bytes.Cut(line, []byte(":"))
	name = bytes.TrimRight(name, blanks) // RFC 5322 §4.5 has blanks before the colon
	if !found || len(name) == 0 || bytes.ContainsAny(name, blanks) {
		return false, "no header field, and no empty line came before it"
	}
	*s = append(*s, Field{string(name), bytes.Clone(line)})
	return true, ""
}

// cutLine cuts behind the first line end.
func cutLine(b []byte) (line, rest []byte) {
	end := bytes.IndexAny(b, "\r\n")
	switch {
	case end < 0:
		return b, nil
	case bytes.HasPrefix(b[end:], []byte("\r\n")):
		end++
	}
	return b[:end+1], b[end+1:]
}

// readLine reads a line with its end, or what there is before an error, and no more than the longest section has.
func readLine(r *bufio.Reader) (line []byte, err error) {
	for len(line) <= MaxLength {
		c, err := r.ReadByte()
		if err != nil {
			return line, err
		}
		line = append(line, c)
		switch c {
		case '\n':
			return line, nil
		case '\r':
			if next, _ := r.Peek(1); len(next) == 0 || next[0] != '\n' { // an error comes again with the next line
				return line, nil
			}
		}
	}
	return line, nil
}
