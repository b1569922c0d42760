package smtptest

import (
	"bytes"
	"net/netip"
	"unicode/utf8"
)

// maxDomain is the limit of the domain name system (RFC 1035 §2.3.4), and that of
// RFC 5321 §4.5.3.1.2. The 64 octets of a local part and the 256 of a path there
// (§4.5.3.1.1, §4.5.3.1.3) are what a server must take at least: mailing lists
// send longer ones, and only the length of the line limits them here.
const maxDomain = 255

// cutPath takes "<path>" off the head of b. The octets between the brackets are
// not judged, but a bracket inside a quoted string ends nothing.
func cutPath(b []byte) (path, rest []byte, ok bool) {
	if len(b) == 0 || b[0] != '<' {
		return nil, b, false
	}
	if end := bytes.IndexByte(b, '>'); end > 0 && bytes.IndexByte(b[:end], '"') < 0 {
		return b[1:end], b[end+1:], true // as nearly always
	}
	quoted := false
	for i := 1; i < len(b); i++ {
		switch c := b[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == '>' && !quoted:
			return b[1:i], b[i+1:], true
		}
	}
	return nil, b, false
}

// cutRoute takes a source route off a path, "@a.example,@b.example:" before the
// mailbox: a server must accept it, and should ignore it (RFC 5321 §4.1.1.3 and
// Appendix C). What is none stays, and is no mailbox either.
func cutRoute(path []byte) (mailbox []byte) {
	if len(path) == 0 || path[0] != '@' {
		return path
	}
	route, mailbox, ok := bytes.Cut(path, []byte{':'})
	if !ok || len(mailbox) == 0 {
		return path
	}
	for hop := range bytes.SplitSeq(route, []byte{','}) {
		if len(hop) == 0 || hop[0] != '@' || !validDomain(hop[1:]) {
			return path
		}
	}
	return mailbox
}

// local reports a mailbox without a domain.
func local(path []byte) bool { return len(path) > 0 && bytes.LastIndexByte(path, '@') < 0 }

// pathFault says what is wrong with a mailbox, as the words of an SMTP reply, ""
// if nothing is. It is strict where real servers are lenient: a client under test
// should hear of it.
func pathFault(path []byte, utf8ok bool) string {
	if !utf8ok && !isASCII(path) {
		return "553 5.6.7 Non-ASCII address without SMTPUTF8"
	}
	at := bytes.LastIndexByte(path, '@')
	if at < 0 && validLocalPart(path) {
		return ""
	}
	if at < 0 {
		return "501 5.1.3 Bad local-part"
	}
	local, domain := path[:at], path[at+1:]
	switch {
	case !validLocalPart(local):
		return "501 5.1.3 Bad local-part"
	case !validDomain(domain):
		return "501 5.1.3 Bad domain"
	}
	return ""
}

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// validLocalPart is Local-part of RFC 5321 §4.1.2, with UTF-8 as in RFC 6531
// §3.3: a quoted string, or words of atext with single dots between them.
func validLocalPart(b []byte) bool {
	if len(b) > 0 && b[0] == '"' {
		return validQuoted(b)
	}
	last := byte('.')
	for _, c := range b {
		if c == '.' && last == '.' || c != '.' && charClass[c]&atext == 0 {
			return false
		}
		last = c
	}
	return last != '.' && utf8.Valid(b)
}

// validQuoted is Quoted-string of RFC 5321 §4.1.2.
func validQuoted(b []byte) bool {
	if len(b) < 2 || b[len(b)-1] != '"' {
		return false
	}
	b = b[1 : len(b)-1]
	for i := 0; i < len(b); i++ {
		if b[i] == '\\' {
			if i++; i == len(b) {
				return false
			}
		} else if b[i] == '"' {
			return false
		}
		if b[i] < ' ' || b[i] == 0x7f {
			return false
		}
	}
	return utf8.Valid(b)
}

// validDomain is Domain or address-literal of RFC 5321 §4.1.2 and §4.1.3. The
// underscore is none of its letters, but machines are called so.
func validDomain(b []byte) bool {
	if len(b) > 2 && b[0] == '[' && b[len(b)-1] == ']' {
		return validLiteral(b[1 : len(b)-1])
	}
	label := 0 // where the label at hand begins
	for i, c := range b {
		if c == '.' {
			if !validLabel(b[label:i]) {
				return false
			}
			label = i + 1
		} else if charClass[c]&dtext == 0 {
			return false
		}
	}
	return len(b) <= maxDomain && validLabel(b[label:]) && utf8.Valid(b)
}

// validLabel checks what a look at the characters cannot (RFC 1035 §2.3.1, RFC 1123
// §2.1).
func validLabel(b []byte) bool {
	return len(b) > 0 && len(b) <= 63 && b[0] != '-' && b[len(b)-1] != '-'
}

// validLiteral is IPv4 or "IPv6:" and IPv6 (RFC 5321 §4.1.3). General literals are
// not: no registry has any.
func validLiteral(b []byte) bool {
	v6, is6 := cutPrefixFold(b, "IPV6:")
	ip, err := netip.ParseAddr(string(v6))
	return err == nil && ip.Zone() == "" && ip.Is4() == !is6
}

// Classes of characters: one table and one comparison an octet.
const (
	atext  = 1 << iota // RFC 5322 §3.2.3, and UTF-8
	dtext              // letters, digits, hyphen, underscore, and UTF-8
	evalue             // esmtp-value, RFC 5321 §4.1.2, and UTF-8
)

var charClass = func() (t [256]byte) {
	for i := range t {
		c := byte(i)
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c >= utf8.RuneSelf:
			t[c] |= atext | dtext
		case bytes.IndexByte([]byte("!#$%&'*+/=?^`{|}~"), c) >= 0:
			t[c] |= atext
		}
		if c > ' ' && c != '=' && c != 0x7f {
			t[c] |= evalue
		}
	}
	return t
}()
