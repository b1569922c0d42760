package smtptest

import (
	"bytes"
	"strconv"
	"strings"
	"time"
)

// param is one of the known parameters of MAIL and RCPT, as a bit, so that one
// given twice is seen.
type param uint16

const (
	paramSize param = 1 << iota
	paramBody
	paramUTF8
	paramRet
	paramEnvid
	paramAuth
	paramTLS
	paramNotify
	paramOrcpt
	paramHoldFor
	paramHoldUntil
	paramBy
	paramPriority
)

// How long the parameters of RFC 3461 §5.4 are at most, their names included.
const (
	maxRet    = 8
	maxEnvid  = 100
	maxNotify = 28
	maxOrcpt  = 500
)

// replies to bad parameters
const (
	replyBadParam     = "501 5.5.4 Bad parameter"
	replyUnknownParam = "555 5.5.4 Parameter not recognized"
	replyTooLarge     = "552 5.3.4 Message size exceeds limit"
)

// params is what the parameters of one command said.
type params struct {
	seen  param
	size  int64
	hold  time.Duration // HOLDFOR
	until time.Time     // HOLDUNTIL
	by    time.Duration // BY with R; 0: none
}

// paramWords lists for each parameter its name, the command it belongs to, and the
// extension without which it is unknown: RFC 5321 §4.1.1.11 wants 555 for those.
// room is how much longer a line may be where it is offered: RFC 1870 §3, RFC 6152
// §2, RFC 6531 §3.1 (for VRFY, too), RFC 8689 §2, RFC 4954 §3, RFC 2852, RFC 6710, RFC
// 3461 §5.4, which says it of each parameter, and RFC 4865, which says it of two of whom
// a command has one.
var paramWords = [...]struct {
	bit     param
	verb    verb
	word    string
	room    int
	offered func(*conn) bool
}{
	{paramSize, verbMail, "SIZE", 26, func(c *conn) bool { return c.ext.Size > 0 }},
	{paramBody, verbMail, "BODY", 17, func(c *conn) bool { return c.ext.EightBitMIME }},
	{paramUTF8, verbMail, "SMTPUTF8", 10, func(c *conn) bool { return c.ext.SMTPUTF8 }},
	{paramRet, verbMail, "RET", 1 + maxRet, func(c *conn) bool { return c.ext.DSN }},
	{paramEnvid, verbMail, "ENVID", 1 + maxEnvid, func(c *conn) bool { return c.ext.DSN }},
	{paramAuth, verbMail, "AUTH", 500, func(c *conn) bool { return c.authOffered() }},
	{paramTLS, verbMail, "REQUIRETLS", 11, func(c *conn) bool { return c.ext.RequireTLS && c.tls }},
	{paramHoldFor, verbMail, "HOLDFOR", 0, func(c *conn) bool { return c.ext.FutureRelease > 0 }},
	{paramHoldUntil, verbMail, "HOLDUNTIL", 34, func(c *conn) bool { return c.ext.FutureRelease > 0 }},
	{paramBy, verbMail, "BY", 17, func(c *conn) bool { return c.ext.DeliverBy }},
	{paramPriority, verbMail, "MT-PRIORITY", 15, func(c *conn) bool { return c.ext.MTPriority }},
	{paramNotify, verbRcpt, "NOTIFY", 1 + maxNotify, func(c *conn) bool { return c.ext.DSN }},
	{paramOrcpt, verbRcpt, "ORCPT", 1 + maxOrcpt, func(c *conn) bool { return c.ext.DSN }},
	{paramUTF8, verbVrfy, "SMTPUTF8", 10, func(c *conn) bool { return c.ext.SMTPUTF8 }},
}

// parseParams reads what stands behind the path, and returns the reply to what is
// wrong with it, "" if nothing is.
func (c *conn) parseParams(v verb, b []byte) (p params, fault string) {
	for len(b) > 0 {
		if b[0] != ' ' {
			return p, replyBadParam
		}
		var word []byte
		word, b = b[1:], nil
		if i := bytes.IndexByte(word, ' '); i >= 0 {
			word, b = word[:i], word[i:]
		}
		if len(word) == 0 {
			return p, replyBadParam
		}
		if fault := c.parseParam(v, word, &p); fault != "" {
			return p, fault
		}
	}
	return p, ""
}

// parseParam reads one "KEYWORD" or "KEYWORD=value", and returns the reply to what is
// wrong with it.
func (c *conn) parseParam(v verb, b []byte, p *params) string {
	keyword, value, valued := bytes.Cut(b, []byte{'='})
	for _, w := range paramWords {
		if w.verb != v {
			continue
		}
		if rest, ok := cutPrefixFold(keyword, w.word); !ok || len(rest) > 0 {
			continue
		}
		if !w.offered(c) {
			return replyUnknownParam
		}
		if p.seen&w.bit != 0 || !p.take(w.bit, value, valued) {
			return replyBadParam
		}
		p.seen |= w.bit
		return ""
	}
	return replyUnknownParam
}

// take judges the value of one parameter.
func (p *params) take(bit param, value []byte, valued bool) (ok bool) {
	if bit == paramUTF8 || bit == paramTLS {
		return !valued
	}
	if !valued || len(value) == 0 || !allClass(value, evalue) {
		return false
	}
	switch bit {
	case paramSize: // RFC 1870 §3: up to 20 digits
		p.size, ok = parseSize(value)
		return ok
	case paramBody: // RFC 6152 §2; BINARYMIME is not offered
		return foldIn(value, "7BIT", "8BITMIME")
	case paramRet: // RFC 3461 §4.3
		return foldIn(value, "FULL", "HDRS")
	case paramEnvid: // RFC 3461 §4.4
		return len("ENVID=")+len(value) <= maxEnvid && validXtext(value)
	case paramAuth: // RFC 4954 §5
		return validXtext(value)
	case paramNotify:
		return len("NOTIFY=")+len(value) <= maxNotify && validNotify(value)
	case paramOrcpt: // RFC 3461 §4.2: addr-type ";" xtext
		kind, addr, found := bytes.Cut(value, []byte{';'})
		fits := len("ORCPT=")+len(value) <= maxOrcpt
		return found && fits && len(kind) > 0 && (foldIn(kind, "UTF-8") || validXtext(addr))
	case paramPriority: // RFC 6710: -9 to 9
		digit := bytes.TrimPrefix(value, []byte{'-'})
		return len(digit) == 1 && '0' <= digit[0] && digit[0] <= '9' && (digit[0] > '0' || len(value) == 1)
	}
	return p.takeTime(bit, value)
}

// takeTime judges the value of one of the parameters about when a message is to be
// delivered.
func (p *params) takeTime(bit param, value []byte) (ok bool) {
	switch bit {
	case paramHoldFor: // RFC 4865: one to nine digits
		n, ok := parseSeconds(value)
		p.hold = n
		return ok && n > 0 && p.seen&paramHoldUntil == 0
	case paramHoldUntil: // RFC 4865: the date-time of RFC 3339
		until, err := time.Parse(time.RFC3339, string(value))
		p.until = until
		return err == nil && p.seen&paramHoldFor == 0
	case paramBy: // RFC 2852: a time, N or R, and T
		by, mode, found := bytes.Cut(value, []byte{';'})
		late := bytes.HasPrefix(by, []byte{'-'})
		if late || bytes.HasPrefix(by, []byte{'+'}) {
			by = by[1:]
		}
		n, ok := parseSeconds(by)
		returned := foldIn(mode, "R", "RT")
		if returned {
			p.by = n
		}
		return ok && found && (foldIn(mode, "N", "NT") || returned && n > 0 && !late)
	}
	return false
}

// parseSeconds reads one to nine digits.
func parseSeconds(b []byte) (time.Duration, bool) {
	n, err := strconv.ParseUint(string(b), 10, 64)
	return time.Duration(n) * time.Second, err == nil && len(b) <= 9
}

// timeFault is the reply to times that are beyond what was offered, "" if none is.
func (p *params) timeFault(e *Extensions) string {
	switch {
	case p.hold > e.FutureRelease, !p.until.IsZero() && p.until.After(time.Now().Add(e.FutureRelease)):
		return "501 5.5.4 Held for too long"
	case p.by > 0 && p.by < e.DeliverByMin:
		return "501 5.5.4 Time for delivery too short"
	}
	return ""
}

// validNotify is RFC 3461 §4.1: NEVER, or a list of the others.
func validNotify(value []byte) bool {
	if foldIn(value, "NEVER") {
		return true
	}
	for word := range bytes.SplitSeq(value, []byte{','}) {
		if !foldIn(word, "SUCCESS", "FAILURE", "DELAY") {
			return false
		}
	}
	return true
}

// validXtext is xtext of RFC 3461 §4: "+" and two upper-case hexadecimal digits
// stand for an octet, and what is not printable ASCII must stand so.
func validXtext(b []byte) bool {
	for i := 0; i < len(b); i++ {
		if b[i] != '+' {
			if b[i] >= 0x7f {
				return false
			}
			continue
		}
		if i+2 >= len(b) || !hexUpper(b[i+1]) || !hexUpper(b[i+2]) {
			return false
		}
		i += 2
	}
	return true
}

func hexUpper(c byte) bool { return '0' <= c && c <= '9' || 'A' <= c && c <= 'F' }

// allClass reports whether all octets are of a class.
func allClass(b []byte, class byte) bool {
	for _, c := range b {
		if charClass[c]&class == 0 {
			return false
		}
	}
	return true
}

// foldIn reports whether b is one of words, in any case.
func foldIn(b []byte, words ...string) bool {
	for _, w := range words {
		if rest, ok := cutPrefixFold(b, w); ok && len(rest) == 0 {
			return true
		}
	}
	return false
}

// paramMap converts parameters to the shape they have in a [Message]: keywords in
// upper case, values as they came. It is nil where there are none.
func paramMap(s string) map[string]string {
	var m map[string]string
	for word := range strings.FieldsSeq(s) {
		if m == nil {
			m = make(map[string]string)
		}
		keyword, value, _ := strings.Cut(word, "=")
		m[strings.ToUpper(keyword)] = value
	}
	return m
}
