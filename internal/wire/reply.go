package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Bounds of what a server may say in one reply. RFC 5321 §4.5.3.1.5 allows 512
// octets a line; servers are met that say more, so there is room.
const (
	MaxReplyLine = 4096
	MaxReply     = 64 * 1024
)

// Reply is one reply: a code, and the text of its lines joined by "\n".
type Reply struct {
	Code int
	Text string
}

// Enhanced is the enhanced status code at the head of the text (RFC 2034 §4),
// zero where there is none or where its class contradicts the reply code. There
// is no class 3, and no number has a zero before it (RFC 3463 §2).
func (r Reply) Enhanced() [3]int {
	head := r.Text[:min(len(r.Text), len("n.nnn.nnn "))] // it ends before that, or is none
	for i := range head {
		if head[i] == ' ' || head[i] == '\n' {
			head = head[:i]
			break
		}
	}
	var e [3]int
	for i := range e {
		p, rest, more := strings.Cut(head, ".")
		n, ok := enhancedNumber(p)
		if !ok || more != (i < 2) {
			return [3]int{}
		}
		e[i], head = n, rest
	}
	if e[0] != r.Code/100 || e[0] == 3 {
		return [3]int{}
	}
	return e
}

// enhancedNumber reads one of the three numbers: one to three digits, without a
// leading zero (RFC 3463 §2).
func enhancedNumber(s string) (n int, ok bool) {
	if s == "" || len(s) > 3 || len(s) > 1 && s[0] == '0' {
		return 0, false
	}
	for i := range len(s) {
		if !digit(s[i]) {
			return 0, false
		}
		n = 10*n + int(s[i]-'0')
	}
	return n, true
}

// Redacted is the reply with hide applied to its words. Its codes stay as they are, whatever hide makes of them: they
// decide.
func (r Reply) Redacted(hide func(text string) string) Reply {
	text := hide(r.Text)
	if text == r.Text {
		return r
	}
	if r.Enhanced() == [3]int{} {
		r.Text = text
		return r
	}
	code := strings.IndexAny(r.Text+" ", " \n")
	r.Text = r.Text[:code] + hide(r.Text[code:])
	return r
}

// ErrSyntax is the root of every error about bytes that are not SMTP.
var ErrSyntax = errors.New("not an SMTP reply")

// ReplyReader reads replies from r. It reads ahead no further than its buffer.
type ReplyReader struct {
	Hide func(words string) string // takes out of the server's words what no error may show; nil: nothing

	r          io.Reader
	buf        []byte
	start, end int
	seen, code int      // how much behind start is whole lines of an unfinished reply, and their code
	known      [8]Reply // the newest texts: a server says the same few over and over
	oldest     int
}

// NewReplyReader returns a reader with nothing buffered.
func NewReplyReader(r io.Reader) *ReplyReader {
	return &ReplyReader{r: r, buf: make([]byte, MaxReplyLine)}
}

// Buffered is how many octets were read from the network and not yet consumed.
func (r *ReplyReader) Buffered() int { return r.end - r.start }

// Ready reports whether a whole reply, or the proof that it is none, is
// buffered, so that Read will not block.
func (r *ReplyReader) Ready() bool {
	for {
		b := r.buf[r.start+r.seen : r.end]
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			return len(b) >= MaxReplyLine || r.end-r.start >= MaxReply
		}
		// A line that is none has no more lines behind it either: an SSH server says
		// "SSH-2.0", which looks like the first of several, and then nothing.
		code, _, more, _ := parseLine(b[:i])
		if !more || i >= MaxReplyLine || r.seen > 0 && code != r.code {
			return true
		}
		r.seen, r.code = r.seen+i+1, code
	}
}

// Read reads one reply. An error of the network, a deadline among them, comes as
// it is and consumes nothing, so that Read may be called again; io.EOF in the
// middle of a reply is io.ErrUnexpectedEOF; anything that is no reply is an
// ErrSyntax with the line in it.
func (r *ReplyReader) Read() (Reply, error) {
	for !r.Ready() {
		if err := r.fill(); err != nil {
			if err == io.EOF && r.end > r.start {
				err = io.ErrUnexpectedEOF
			}
			return Reply{}, err
		}
	}
	r.seen = 0
	line, err := r.line()
	if err != nil {
		return Reply{}, err
	}
	code, text, more, ok := parseLine(line)
	if !ok {
		return Reply{}, r.syntaxError(line)
	}
	if more {
		return r.rest(code, append([]byte(nil), text...))
	}
	return r.remember(code, text), nil
}

// remember makes a Reply without a copy of a text that was said before.
func (r *ReplyReader) remember(code int, text []byte) Reply {
	for i := range r.known {
		if r.known[i].Code == code && r.known[i].Text == string(text) {
			return r.known[i]
		}
	}
	reply := Reply{code, string(text)}
	r.known[r.oldest] = reply
	r.oldest = (r.oldest + 1) % len(r.known)
	return reply
}

// rest reads the other lines of a reply of several (RFC 5321 §4.2.1).
func (r *ReplyReader) rest(code int, all []byte) (Reply, error) {
	for {
		line, err := r.line()
		if err != nil {
			return Reply{}, err
		}
		next, text, more, ok := parseLine(line)
		if !ok {
			return Reply{}, r.syntaxError(line)
		}
		if next != code {
			return Reply{}, fmt.Errorf("%w: code %d in a reply that began with %d", ErrSyntax, next, code)
		}
		all = append(append(all, '\n'), text...)
		if !more {
			return Reply{code, string(all)}, nil
		}
	}
}

// line returns the next of the buffered lines without its LF, valid until the next
// Read. A bare LF ends a line too: servers that send it are met, and it hides
// nothing.
func (r *ReplyReader) line() ([]byte, error) {
	i := bytes.IndexByte(r.buf[r.start:r.end], '\n')
	switch {
	case i < 0 && r.end-r.start < MaxReplyLine:
		return nil, fmt.Errorf("%w: more than %d octets in one reply", ErrSyntax, MaxReply)
	case i < 0 || i >= MaxReplyLine:
		return nil, fmt.Errorf("%w: a line of more than %d octets", ErrSyntax, MaxReplyLine)
	}
	line := r.buf[r.start : r.start+i]
	r.start += i + 1
	return line, nil
}

// fill reads at least one more octet, into a buffer that grows up to MaxReply.
func (r *ReplyReader) fill() error {
	if r.start > 0 {
		copy(r.buf, r.buf[r.start:r.end])
		r.start, r.end = 0, r.end-r.start
	}
	if r.end == len(r.buf) {
		r.buf = append(r.buf, make([]byte, min(len(r.buf), MaxReply-len(r.buf)))...)
	}
	for range 100 { // as bufio does, against readers that return nothing forever
		n, err := r.r.Read(r.buf[r.end:])
		r.end += n
		if n > 0 {
			return nil // an error with it comes again at the next Read
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

// parseLine takes "250-text", "250 text" and "250" apart. White space around the
// text is not part of it (fact 89 of docs/parity.md).
func parseLine(line []byte) (code int, text []byte, more, ok bool) {
	line = bytes.TrimSuffix(line, []byte{'\r'})
	if len(line) < 3 || line[0] < '2' || line[0] > '5' || !digit(line[1]) || !digit(line[2]) {
		return 0, nil, false, false
	}
	code = int(line[0]-'0')*100 + int(line[1]-'0')*10 + int(line[2]-'0')
	if len(line) == 3 {
		return code, nil, false, true
	}
	if line[3] != ' ' && line[3] != '-' {
		return 0, nil, false, false
	}
	return code, trim(line[4:]), line[3] == '-', true
}

// syntaxError shows the beginning of a line that is none, without what is to be hidden.
func (r *ReplyReader) syntaxError(line []byte) error {
	words := string(bytes.TrimSuffix(line, []byte{'\r'}))
	if r.Hide != nil {
		words = r.Hide(words)
	}
	return fmt.Errorf("%w: %s", ErrSyntax, strconv.QuoteToASCII(words[:min(len(words), 80)]))
}

// trim is bytes.Trim without the set that it builds for every line.
func trim(b []byte) []byte {
	blank := func(c byte) bool { return c == ' ' || c == '\t' || c == '\r' }
	for len(b) > 0 && blank(b[0]) {
		b = b[1:]
	}
	for len(b) > 0 && blank(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

func digit(c byte) bool { return '0' <= c && c <= '9' }
