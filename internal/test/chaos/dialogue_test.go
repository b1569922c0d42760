package chaos

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"
)

// op is one thing that the client said and that one reply answers.
type op struct {
	verb    string // upper case; "" is the greeting, "." a content behind DATA
	line    string
	at, end int  // octets of what the client said: the first, and behind the last (a content included)
	term    int  // "." and BDAT LAST: the first octet of the terminator
	last    bool // BDAT LAST
	whole   bool // all of it was handed over
	body    []byte
	reply   *heard
}

// heard is a reply as it was read.
type heard struct {
	code     int
	enhanced string
	text     string
	at, end  int // octets of what the server said
	wrote    int // octets that the client had begun to hand over when the reply was read
	malform  bool
}

func (h *heard) class() int {
	if h == nil {
		return 0
	}
	return h.code / 100
}

func (h *heard) refused() bool { return h.class() == 4 || h.class() == 5 }

// closing reports a reply by which the server ends the session (RFC 5321 §3.8, RFC 3463 x.4.2).
func (h *heard) closing() bool {
	return h.code == 421 || h.code == 451 && h.enhanced == "4.4.2"
}

// session reports a reply that is about the session and decides no recipient.
func (h *heard) session() bool {
	switch h.code {
	case 503, 530, 535, 538:
		return true
	}
	return false
}

// tooMany reports 452 and 552 that are about the number of recipients (RFC 5321 §4.5.3.1.10).
func (h *heard) tooMany() bool {
	return h.code == 452 && (h.enhanced == "" || h.enhanced == "4.5.3") ||
		h.code == 552 && (h.enhanced == "" || strings.HasSuffix(h.enhanced, ".5.3"))
}

var (
	replyLine    = regexp.MustCompile(`^([2-5][0-9][0-9])([ -]|$)(.*)$`)
	enhancedCode = regexp.MustCompile(`^([245]\.[0-9]{1,3}\.[0-9]{1,3})(\s|$)`)
)

// readReplies takes what the server said apart. It stops at a reply that is not whole,
// and behind the first that does not parse.
func readReplies(r []byte) (all []heard) {
	one := heard{}
	for at := 0; at < len(r); {
		n := bytes.IndexByte(r[at:], '\n')
		if n < 0 {
			return all
		}
		line := string(bytes.TrimRight(r[at:at+n], "\r"))
		at += n + 1
		one.end = at
		m := replyLine.FindStringSubmatch(line)
		code := 0
		if m != nil {
			code, _ = strconv.Atoi(m[1])
		}
		if m == nil || one.code != 0 && one.code != code {
			one.malform = true
			return append(all, one)
		}
		if one.code == 0 {
			one.code = code
			if e := enhancedCode.FindStringSubmatch(m[3]); e != nil {
				one.enhanced = e[1]
			}
		}
		one.text += m[3]
		if m[2] != "-" {
			all = append(all, one)
			one = heard{at: at}
		}
	}
	return all
}

// inStep reports whether the reply can be one to the command (docs/flow.md, RFC 5321 §4.3.2).
func inStep(verb string, code int) bool {
	if code >= 400 {
		return true
	}
	switch verb {
	case "QUIT":
		return true
	case "", "STARTTLS":
		return code == 220
	case "EHLO", "HELO", "RSET":
		return code == 250
	case "AUTH":
		return code == 235 || code == 334
	case "RCPT":
		return code == 250 || code == 251 || code == 252
	case "DATA":
		return code == 354
	case "NOOP", "HELP":
		return code < 300
	}
	switch code {
	case 211, 214, 220, 221, 235, 251, 252:
		return false
	}
	return code < 300
}

// dialogue is one wire, understood: what was said, and what answers what.
type dialogue struct {
	wire     *tap
	ops      []*op
	replies  []heard
	broken   int // the op whose answer was out of step or did not parse; -1: none
	surplus  int // replies behind the last op's
	junk     []string
	vague    bool // within TLS: an answer may have come before its command
	openings []*transaction
}

// reader goes through what was said on a wire.
type reader struct {
	d    *dialogue
	w    []byte
	at   int
	next int // the next reply
	dead bool

	open    bool // MAIL was said, and its transaction's end was not
	probing bool // the op before was the question whether a refused chunk's octets are discarded
}

// understand takes apart what went over a wire.
func understand(t *tap) *dialogue {
	d := &dialogue{wire: t, replies: readReplies(t.said), broken: -1}
	for i := range d.replies {
		d.replies[i].wrote = t.wroteWhenRead(d.replies[i].end)
	}
	rd := &reader{d: d, w: t.wrote}
	rd.answer(&op{whole: true})
	for rd.at < len(rd.w) {
		rd.command()
	}
	if !rd.dead {
		d.surplus = len(d.replies) - rd.next
	}
	d.openings = transactions(d)
	return d
}

// answer assigns to the op the reply that belongs to it by count.
func (rd *reader) answer(o *op) {
	rd.d.ops = append(rd.d.ops, o)
	if rd.dead || rd.next >= len(rd.d.replies) {
		return
	}
	if h := &rd.d.replies[rd.next]; rd.probing && h.code != 250 && rd.next+1 < len(rd.d.replies) {
		rd.next++ // the octets of the chunk were read as a command, HELP, and this answers it
	}
	rd.probing = !rd.open && o.isQuestion()
	h := &rd.d.replies[rd.next]
	rd.next++
	// What was read before the command was handed over is no answer to it. A refusal may
	// come before the content's end, though.
	content := o.verb == "." || o.verb == "BDAT"
	early := h.wrote < o.end && !(content && h.refused()) || content && !o.whole && h.class() == 2
	if early && rd.d.wire.tls {
		rd.d.vague, early = true, false // the server's end cannot tell what the client had handed over by then
	}
	if h.malform || !inStep(o.verb, h.code) || early {
		rd.dead, rd.d.broken = true, len(rd.d.ops)-1
		return
	}
	o.reply = h
}

func (rd *reader) command() {
	o := &op{at: rd.at, term: -1}
	n := bytes.Index(rd.w[rd.at:], []byte("\r\n"))
	if n < 0 {
		o.line, o.end = string(rd.w[rd.at:]), len(rd.w)
		rd.at = len(rd.w)
		return // a command that did not leave is no command
	}
	o.line, o.whole = string(rd.w[rd.at:rd.at+n]), true
	rd.at += n + 2
	o.end = rd.at
	verb, _, _ := strings.Cut(o.line, " ")
	o.verb = strings.ToUpper(verb)
	switch o.verb {
	case "BDAT":
		rd.chunk(o)
	case "DATA":
		rd.answer(o)
		// A client that took nonsense for an answer goes on where this reader stops.
		gone := rd.dead && bytes.HasPrefix(rd.w[rd.at:], []byte(firstWords))
		if gone || o.reply != nil && o.reply.code == 354 && (rd.at < len(rd.w) || rd.refusedNext()) {
			rd.content()
		}
		return
	case "EHLO", "HELO", "STARTTLS", "AUTH", "MAIL", "RCPT", "RSET", "QUIT", "NOOP", "HELP":
	default:
		rd.d.junk = append(rd.d.junk, o.line)
	}
	rd.answer(o)
	switch {
	case o.verb == "MAIL":
		rd.open = true
	case o.verb == "RSET", o.last:
		rd.open = false
	}
}

// refusedNext reports a refusal behind a 354 of which the client saw no octet off: the
// content's answer all the same.
func (rd *reader) refusedNext() bool {
	return !rd.dead && rd.next < len(rd.d.replies) && rd.d.replies[rd.next].refused()
}

func (rd *reader) chunk(o *op) {
	f := strings.Fields(o.line)
	size := 0
	if len(f) > 1 {
		size, _ = strconv.Atoi(f[1])
	}
	o.last = len(f) > 2
	left := len(rd.w) - rd.at
	o.whole = left >= size
	o.body = rd.w[rd.at : rd.at+min(size, left)]
	rd.at += len(o.body)
	o.end = rd.at
	if o.last && o.whole {
		o.term = o.end - 1
	}
}

// content reads what stands behind a 354, up to the line with the dot.
func (rd *reader) content() {
	o := &op{verb: ".", at: rd.at, term: -1}
	rd.open = false
	defer func() { rd.answer(o) }()
	rest := rd.w[rd.at:]
	if n := terminator(rest); n >= 0 {
		o.term, o.whole = rd.at+n, true
		o.body = unstuff(rest[:n])
		rd.at += n + 3
	} else {
		if bytes.Equal(rest, []byte(".")) || bytes.HasSuffix(rest, []byte("\r\n.")) ||
			bytes.HasSuffix(rest, []byte("\r\n.\r")) {
			o.term = bytes.LastIndexByte(rd.w, '.')
		}
		rd.at = len(rd.w)
	}
	o.end = rd.at
}

// terminator finds the line with the dot; -1: it is not there.
func terminator(b []byte) int {
	if bytes.HasPrefix(b, []byte(".\r\n")) {
		return 0
	}
	n := bytes.Index(b, []byte("\r\n.\r\n"))
	if n < 0 {
		return -1
	}
	return n + 2
}

// unstuff takes away the dots that RFC 5321 §4.5.2 adds.
func unstuff(b []byte) []byte {
	b = bytes.TrimPrefix(b, []byte("."))
	return bytes.ReplaceAll(b, []byte("\r\n."), []byte("\r\n"))
}

// address returns what stands between the angle brackets.
func address(line string) string {
	_, rest, _ := strings.Cut(line, "<")
	a, _, _ := strings.Cut(rest, ">")
	return a
}
