package text

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"unicode/utf8"
)

// EncodingError is where a text does not have its encoding.
type EncodingError struct {
	Line, Column int // from 1, the column in characters; Line 0: the text is one line
	Problem      string
}

// Error is what an operator looks for in an editor.
func (e *EncodingError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("column %d: %s", e.Column, e.Problem)
	}
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Problem)
}

// Reader returns what another reader has, as long as it is UTF-8, and without the byte order mark that may be at its
// beginning.
type Reader struct {
	in           *bufio.Reader
	begun        bool
	checked      int // how much of what in has buffered is known to be good
	line, column int // of what comes behind that
	fault        *EncodingError
}

// NewReader reads from r.
func NewReader(r io.Reader) *Reader {
	return &Reader{in: bufio.NewReaderSize(r, 1<<15), line: 1, column: 1}
}

// Err returns the fault that was found, nil if there is none. The fault is known before Read returns it: whatever else
// is wrong with the text may only follow from it.
func (r *Reader) Err() error {
	if r.fault == nil {
		return nil
	}
	return r.fault
}

// Read returns what is good, and then the fault.
func (r *Reader) Read(p []byte) (int, error) {
	if !r.begun {
		r.begun = true
		r.begin()
	}
	if r.checked == 0 && r.fault == nil {
		b, err := r.in.Peek(utf8.UTFMax) // a whole character, or the end
		if len(b) == 0 {
			return 0, err
		}
		b, _ = r.in.Peek(r.in.Buffered())
		r.check(b)
	}
	if r.checked == 0 {
		return 0, r.fault
	}
	n, err := r.in.Read(p[:min(len(p), r.checked)])
	r.checked -= n
	return n, err
}

const byteOrderMark = "\ufeff"

func (r *Reader) begin() {
	b, _ := r.in.Peek(len(byteOrderMark))
	switch {
	case string(b) == byteOrderMark:
		_, _ = r.in.Discard(len(b)) // what was just seen
	case bytes.HasPrefix(b, []byte{0xff, 0xfe}), bytes.HasPrefix(b, []byte{0xfe, 0xff}):
		r.find("the text is UTF-16, by its byte order mark, and not UTF-8")
	}
}

func (r *Reader) find(problem string) { r.fault = &EncodingError{r.line, r.column, problem} }

// check goes through whole characters. One that is cut off by the end of b is left for the next time, unless nothing
// else is left.
func (r *Reader) check(b []byte) {
	for n := 0; n < len(b); r.checked = n {
		c, size := utf8.DecodeRune(b[n:])
		switch {
		case c == utf8.RuneError && size <= 1 && n > 0 && !utf8.FullRune(b[n:]):
			return
		case c == utf8.RuneError && size <= 1:
			r.find(fmt.Sprintf("the octet 0x%02X is not UTF-8", b[n]))
			return
		case c == 0:
			r.find("a NUL octet, as in UTF-16 and in files that are not text")
			return
		case c == '\n':
			r.line, r.column = r.line+1, 0
		}
		r.column++
		n += size
	}
}

// Check returns an error for a text on one line that is not UTF-8.
func Check(s string) error {
	for i, column := 0, 1; i < len(s); column++ {
		c, size := utf8.DecodeRuneInString(s[i:])
		if c == utf8.RuneError && size == 1 {
			return &EncodingError{Column: column, Problem: fmt.Sprintf("the octet 0x%02X is not UTF-8", s[i])}
		}
		i += size
	}
	return nil
}
