// Package address has the one form in which addresses are compared: for duplicates, and for suppression lists.
package address

import (
	"errors"
	"fmt"
	"net/mail"
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"

	"github.com/postrider/postrider/internal/text"
)

// The longest that RFC 5321 §4.5.3.1 lets addresses be, in octets.
const (
	longestLocal   = 64
	longestDomain  = 255
	longestAddress = 254 // a path of 256 has the angle brackets
)

// Canonical checks the syntax of a bare address (RFC 5321 §4.1.2, RFC 6531 §3.3) and returns its canonical form. Two
// addresses have the same one if every server must take them for the same:
//
//   - the domain is in lower case and A-labels (RFC 5890), without a last dot; an address literal is in the form of
//     RFC 5952;
//   - the local part is in NFC (RFC 6532 §3.1), without quotes if it needs none and without escapes that are not needed
//     (RFC 5321 §4.1.2). Its upper and lower case stay, because only its own server knows whether they differ.
func Canonical(address string) (string, error) {
	if err := checkCharacters(address); err != nil {
		return "", err
	}
	local, domain := Split(address)
	if domain == "" {
		return "", errors.New("it has no domain")
	}
	if err := checkLocal(local); err != nil {
		return "", err
	}
	ascii, err := Domain(domain)
	if err != nil {
		return "", err
	}
	canonical := Quote(norm.NFC.String(Unquote(local)))
	for _, l := range []string{local, canonical} { // NFC makes some characters longer
		switch {
		case len(l) > longestLocal:
			return "", fmt.Errorf("what is before the @ is longer than %d octets", longestLocal)
		case len(l)+1+len(ascii) > longestAddress:
			return "", fmt.Errorf("it is longer than %d octets", longestAddress)
		}
	}
	return canonical + "@" + ascii, nil
}

func checkCharacters(address string) error {
	switch {
	case address == "":
		return errors.New("it is empty")
	case !utf8.ValidString(address):
		return errors.New("it is not valid UTF-8")
	}
	if strings.ContainsFunc(address, text.IsControl) {
		return errors.New("it has a control character in it")
	}
	if name, found := text.Unseen(address); found {
		return fmt.Errorf("it has a %s in it, which cannot be seen", name)
	}
	if strings.HasSuffix(address, ">") {
		return errors.New("it has a display name or angle brackets: write only what is between the brackets")
	}
	return nil
}

// checkLocal lets net/mail judge: its parser knows Dot-string and Quoted-string, in UTF-8 too. What it reads must be
// what was written, without the comments of RFC 5322.
func checkLocal(local string) error {
	if strings.ContainsAny(local, "()") && !strings.HasPrefix(local, `"`) {
		return errors.New("it has a comment in it")
	}
	a, err := mail.ParseAddress("<" + local + "@example.com>")
	if err != nil || strings.TrimSpace(local) != local ||
		a.Name != "" || !strings.HasSuffix(a.Address, "@example.com") {
		return errors.New("what is before the @ is not well-formed (RFC 5321 §4.1.2)")
	}
	return nil
}

// Domain checks a domain, or an address literal (RFC 5321 §4.1.3), and returns its canonical form.
func Domain(domain string) (string, error) {
	if strings.HasPrefix(domain, "[") {
		return literal(domain)
	}
	ascii, err := ASCII(domain)
	switch {
	case err != nil:
		return "", fmt.Errorf("the domain %q: %w", domain, err)
	case len(ascii) > longestDomain:
		return "", fmt.Errorf("the domain is longer than %d octets", longestDomain)
	}
	return ascii, nil
}

func literal(domain string) (string, error) {
	const tag = "IPv6:" // in any case, as all of ABNF's strings
	text, closed := strings.CutSuffix(domain[1:], "]")
	v6 := len(text) > len(tag) && strings.EqualFold(text[:len(tag)], tag)
	if v6 {
		text = text[len(tag):]
	}
	ip, err := netip.ParseAddr(text)
	switch {
	case err != nil || !closed || ip.Zone() != "" || ip.Is6() != v6:
		return "", fmt.Errorf("%q is no address literal", domain)
	case v6:
		return "[" + tag + ip.String() + "]", nil
	}
	return "[" + ip.String() + "]", nil
}

// domains is how a domain is read: as one that is looked up (RFC 5891 §5), with the lengths of the DNS.
var domains = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.StrictDomainName(true), idna.VerifyDNSLength(true))

// ASCII returns a domain in lower case and A-labels.
func ASCII(domain string) (string, error) {
	ascii, err := domains.ToASCII(domain)
	return strings.TrimSuffix(ascii, "."), err
}

// Split cuts an address before the @ of its domain, which is the last one: only a quoted local part has others. Without
// an @, domain is "".
func Split(address string) (local, domain string) {
	i := strings.LastIndexByte(address, '@')
	if i < 0 {
		return address, ""
	}
	return address[:i], address[i+1:]
}

// Quote quotes a local part that is no Dot-string (RFC 5321 §4.1.2).
func Quote(local string) string {
	special := strings.ContainsFunc(local, func(c rune) bool {
		return c <= ' ' || c == 0x7f || strings.ContainsRune(`()<>[]:;@\,"`, c)
	})
	if !special && local != "" && local[0] != '.' && !strings.HasSuffix(local, ".") && !strings.Contains(local, "..") {
		return local
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(local) + `"`
}

// Unquote removes the quotes of a Quoted-string, and its escapes.
func Unquote(local string) string {
	if len(local) < 2 || local[0] != '"' || local[len(local)-1] != '"' {
		return local
	}
	var b strings.Builder
	for i := 1; i < len(local)-1; i++ {
		if local[i] == '\\' && i+1 < len(local)-1 {
			i++
		}
		b.WriteByte(local[i])
	}
	return b.String()
}
