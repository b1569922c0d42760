package wire

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/postrider/postrider/internal/text"
)

// MailParams are the parameters of MAIL. The zero value has none.
type MailParams struct {
	Size       int64 // RFC 1870; 0: not declared
	EightBit   bool  // BODY=8BITMIME, RFC 6152
	UTF8       bool  // SMTPUTF8, RFC 6531
	RequireTLS bool  // REQUIRETLS, RFC 8689
	Return     string
	EnvelopeID string
	HoldFor    int64     // HOLDFOR in seconds, RFC 4865; 0: none
	HoldUntil  time.Time // HOLDUNTIL, RFC 4865; zero: none
	By         By
	Priority   int // MT-PRIORITY, RFC 6710; 0: none
}

// By is the parameter BY (RFC 2852). The zero value is none.
type By struct {
	Mode    ByMode
	Seconds int64 // until the message is to be delivered; negative: the time is over
	Trace   bool  // and a report of each relay
}

// ByMode is what happens to a message that is late.
type ByMode byte

// The modes; none leaves BY out.
const (
	ByNone   ByMode = 0
	ByNotify ByMode = 'N' // the sender is told, and delivery goes on
	ByReturn ByMode = 'R' // the message is returned
)

// RcptParams are the DSN parameters of RCPT (RFC 3461 §4). The zero value has none.
type RcptParams struct {
	Notify   string
	ORCPT    string // type and address, as CheckORCPT takes it
	Original string // the address that ORCPT is made of, if that is ""
	UTF8     bool   // the transaction has SMTPUTF8
}

// MaxCommand is how long a command line is at most, its CRLF included (RFC
// 5321 §4.5.3.1.4). Extensions add to it what their parameters need: SIZE 26
// octets (RFC 1870 §3), 8BITMIME 17 (RFC 6152 §2), SMTPUTF8 10 (RFC 6531 §3.1),
// REQUIRETLS 11 (RFC 8689 §2), FUTURERELEASE 34 (RFC 4865), DELIVERBY 17 (RFC 2852),
// MT-PRIORITY 15 (RFC 6710), DSN its parameters (RFC 3461 §5.4). No command of ours is
// longer than that, so that the rest of the line is what has to be looked at.
const MaxCommand = 512

// How long a server must take parameters to be, with their names (RFC 3461 §5.4).
const (
	maxENVID = 100
	maxORCPT = 500
)

// The bounds of numbers.
const (
	MaxSeconds  = 999_999_999 // of HOLDFOR and BY: nine digits
	MaxPriority = 9           // of MT-PRIORITY, and as a negative number (RFC 6710)
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
	return append(p.appendTimes(dst), "\r\n"...)
}

// appendTimes appends the parameters about when the message is to be delivered.
func (p *MailParams) appendTimes(dst []byte) []byte {
	if p.HoldFor > 0 {
		dst = strconv.AppendInt(append(dst, " HOLDFOR="...), p.HoldFor, 10)
	}
	if !p.HoldUntil.IsZero() {
		dst = p.HoldUntil.UTC().AppendFormat(append(dst, " HOLDUNTIL="...), "2006-01-02T15:04:05Z")
	}
	if p.By.Mode != ByNone {
		dst = strconv.AppendInt(append(dst, " BY="...), p.By.Seconds, 10)
		dst = append(dst, ';', byte(p.By.Mode))
		if p.By.Trace {
			dst = append(dst, 'T')
		}
	}
	if p.Priority != 0 {
		dst = strconv.AppendInt(append(dst, " MT-PRIORITY="...), int64(p.Priority), 10)
	}
	return dst
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
	case p.ORCPT != "":
		dst = appendORCPT(dst, p.ORCPT, p.UTF8)
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

// appendORCPT writes a type and an address. One of the type utf-8 is written as itself
// only behind SMTPUTF8, else in ASCII (RFC 6533 §3).
func appendORCPT(dst []byte, orcpt string, smtpUTF8 bool) []byte {
	kind, address, _ := strings.Cut(orcpt, ";")
	dst = append(append(append(dst, " ORCPT="...), kind...), ';')
	switch {
	case !strings.EqualFold(kind, "utf-8"):
		return appendXtext(dst, address)
	case smtpUTF8:
		return appendUnitext(dst, address)
	}
	for _, c := range address {
		if c <= ' ' || c >= 0x7f || c == '+' || c == '=' || c == '\\' {
			dst = fmt.Appendf(dst, `\x{%02X}`, c)
		} else {
			dst = append(dst, byte(c))
		}
	}
	return dst
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

// CheckDSN reports what is wrong with the values of RET and ENVID (RFC 3461 §4), each of
// which may be "".
func CheckDSN(ret, envid string) error {
	if u := strings.ToUpper(ret); u != "" && u != "FULL" && u != "HDRS" {
		return fmt.Errorf("DSN.Return is %q: write FULL or HDRS", ret)
	}
	if len("ENVID=")+len(appendXtext(nil, envid)) > maxENVID || strings.ContainsFunc(envid, unprintable) {
		return errors.New("DSN.EnvelopeID must be printable ASCII, of at most 94 characters " +
			"where a space, + or = counts as three")
	}
	return nil
}

// CheckNotify reports what is wrong with the value of NOTIFY (RFC 3461 §4.1), which may
// be "".
func CheckNotify(notify string) error {
	if notify == "" || strings.EqualFold(notify, "NEVER") {
		return nil
	}
	words := strings.Split(strings.ToUpper(notify), ",")
	slices.Sort(words)
	for i, w := range words {
		if !slices.Contains([]string{"SUCCESS", "FAILURE", "DELAY"}, w) || i > 0 && w == words[i-1] {
			return fmt.Errorf("NOTIFY is %q: write NEVER, or some of SUCCESS,FAILURE,DELAY", notify)
		}
	}
	return nil
}

// CheckORCPT reports what is wrong with an original recipient, which may be "": a type,
// a semicolon, and an address that is not encoded yet (RFC 3461 §4.2, RFC 6533 §3).
func CheckORCPT(orcpt string) error {
	if orcpt == "" {
		return nil
	}
	kind, address, found := strings.Cut(orcpt, ";")
	if !found || kind == "" || address == "" || strings.ContainsFunc(kind, notInAtom) {
		return fmt.Errorf("ORCPT is %q: write a type, a semicolon and an address, as in rfc822;anne@example.com", orcpt)
	}
	bad := unprintable
	if strings.EqualFold(kind, "utf-8") {
		bad = text.IsControl
	}
	if !utf8.ValidString(address) || strings.ContainsFunc(address, bad) {
		return fmt.Errorf("ORCPT is %q: the address has a character that is not allowed there "+
			"(only the type utf-8 has others than printable ASCII)", orcpt)
	}
	if n := max(len(appendORCPT(nil, orcpt, false)), len(appendORCPT(nil, orcpt, true))) - 1; n > maxORCPT {
		return fmt.Errorf("ORCPT has %d octets when it is encoded, and a server need not accept more than %d "+
			"(RFC 3461 §5.4)", n, maxORCPT)
	}
	return nil
}

func unprintable(c rune) bool { return c < ' ' || c > '~' }

// notInAtom is about the types of addresses. No value of a parameter has a "=" (RFC
// 5321 §4.1.2).
func notInAtom(c rune) bool {
	return !alphanumeric(c) && !strings.ContainsRune("!#$%&'*+-/?^_`{|}~", c)
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
