package wire

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// MailParams are the parameters of MAIL. The zero value has none.
type MailParams struct {
	Size       int64 // RFC 1870; 0: not declared
	EightBit   bool  // BODY=8BITMIME, RFC 6152
	UTF8       bool  // SMTPUTF8, RFC 6531
	RequireTLS bool  // REQUIRETLS, RFC 8689
	Return     string
	EnvelopeID string
}

// RcptParams are the DSN parameters of RCPT (RFC 3461 §4). The zero value has none.
type RcptParams struct {
	Notify   string
	Original string // the address that ORCPT is made of
	UTF8     bool   // the transaction has SMTPUTF8
}

// MaxCommand is how long a command line is at the most, its CRLF included (RFC
// 5321 §4.5.3.1.4). Extensions add to it what their parameters need: SIZE 26
// octets (RFC 1870 §3), 8BITMIME 17 (RFC 6152 §2), SMTPUTF8 10 (RFC 6531 §3.1),
// REQUIRETLS 11 (RFC 8689 §2), DSN its parameters (RFC 3461 §5.4). None of ours is
// longer than that, so that the rest of the line is what has to be looked at.
const MaxCommand = 512

// How long a server must take parameters to be, with their names (RFC 3461 §5.4).
const (
	maxENVID = 100
	maxORCPT = 500
)

// AppendMail appends a MAIL command; from must have passed CheckAddress or be "".
func AppendMail(dst []byte, from string, p MailParams) []byte {
	dst = append(dst, "MAIL FROM:<"...)
	dst = append(dst, from...)
	dst = append(dst, '>')
	if p.Size > 0 {
		dst = append(dst, " SIZE="...)
		dst = strconv.AppendInt(dst, p.Size, 10)
	}
	if p.EightBit {
		dst = append(dst, " BODY=8BITMIME"...)
	}
	if p.UTF8 {
		dst = append(dst, " SMTPUTF8"...)
	}
	if p.RequireTLS {
		dst = append(dst, " REQUIRETLS"...)
	}
	if p.Return != "" {
		dst = append(append(dst, " RET="...), strings.ToUpper(p.Return)...)
	}
	if p.EnvelopeID != "" {
		dst = appendXtext(append(dst, " ENVID="...), p.EnvelopeID)
	}
	return append(dst, "\r\n"...)
}

// AppendRcpt appends a RCPT command; to must have passed CheckAddress.
func AppendRcpt(dst []byte, to string, p RcptParams) []byte {
	dst = append(dst, "RCPT TO:<"...)
	dst = append(dst, to...)
	dst = append(dst, '>')
	if p.Notify != "" {
		dst = append(append(dst, " NOTIFY="...), strings.ToUpper(p.Notify)...)
	}
	bare := len(dst)
	switch {
	case p.Original == "":
	case ASCII(p.Original):
		dst = appendXtext(append(dst, " ORCPT=rfc822;"...), p.Original)
	case p.UTF8:
		dst = appendUnitext(append(dst, " ORCPT=utf-8;"...), p.Original)
	}
	if len(dst) > bare+1+maxORCPT {
		dst = dst[:bare] // better no ORCPT than a recipient refused for it
	}
	return append(dst, "\r\n"...)
}

// appendXtext writes xtext: what is not printable, "+" and "=" as "+" and two
// digits (RFC 3461 §4).
func appendXtext(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || c == '+' || c == '=' {
			dst = fmt.Appendf(dst, "+%02X", c)
		} else {
			dst = append(dst, c)
		}
	}
	return dst
}

// appendUnitext writes an internationalised address as itself, with what the
// command's syntax needs as \x{…} (RFC 6533 §3).
func appendUnitext(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c == 0x7f || c == '+' || c == '=' || c == '\\' {
			dst = fmt.Appendf(dst, `\x{%02X}`, c)
		} else {
			dst = append(dst, c)
		}
	}
	return dst
}

// CheckDSN reports what is wrong with the values of RET, ENVID and NOTIFY
// (RFC 3461 §4), each of which may be "".
func CheckDSN(ret, envid, notify string) error {
	if u := strings.ToUpper(ret); u != "" && u != "FULL" && u != "HDRS" {
		return fmt.Errorf("DSN.Return is %q: write FULL or HDRS", ret)
	}
	if len("ENVID=")+len(appendXtext(nil, envid)) > maxENVID || strings.ContainsFunc(envid, func(c rune) bool { return c < ' ' || c > '~' }) {
		return errors.New("DSN.EnvelopeID must be printable ASCII, of at most 94 characters where a space, + or = counts as three")
	}
	if notify == "" || strings.EqualFold(notify, "NEVER") {
		return nil
	}
	words := strings.Split(strings.ToUpper(notify), ",")
	slices.Sort(words)
	for i, w := range words {
		if !slices.Contains([]string{"SUCCESS", "FAILURE", "DELAY"}, w) || i > 0 && w == words[i-1] {
			return fmt.Errorf("DSN.Notify is %q: write NEVER, or some of SUCCESS,FAILURE,DELAY", notify)
		}
	}
	return nil
}

// CheckSenderLength reports that a MAIL with this address would be longer than a
// server must take. (The 64 and 256 octets of RFC 5321 §4.5.3.1 are what a server
// must take of an address at least, and no limits: mail in use has longer ones.)
func CheckSenderLength(a string) error { return checkLength("MAIL FROM:<>\r\n", a) }

// CheckRecipientLength is the same for RCPT.
func CheckRecipientLength(a string) error { return checkLength("RCPT TO:<>\r\n", a) }

func checkLength(rest, a string) error {
	if most := MaxCommand - len(rest); len(a) > most {
		return fmt.Errorf("the address has %d octets, and a %s with more than %d is longer than "+
			"servers must take (RFC 5321 §4.5.3.1.4)", len(a), rest[:4], most)
	}
	return nil
}

// CheckHelloName reports why a name cannot follow EHLO. "" is let through: the
// engine puts its default there.
func CheckHelloName(name string) error {
	if most := MaxCommand - len("EHLO \r\n"); len(name) > most {
		return fmt.Errorf("the EHLO name has %d octets, and EHLO takes at most %d (RFC 5321 §4.5.3.1.4)",
			len(name), most)
	}
	if strings.ContainsFunc(name, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return fmt.Errorf("the EHLO name %q has a space, a control or a non-ASCII character", name)
	}
	return nil
}
