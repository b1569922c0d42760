package mailing

import (
	"errors"
	"fmt"
	"net/mail"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// The longest that RFC 5321 §4.5.3.1 lets addresses be, in octets.
const (
	longestLocal   = 64
	longestDomain  = 255
	longestAddress = 254 // a path of 256 has the angle brackets
)

// Canonical checks the syntax of a bare address (RFC 5321 §4.1.2, RFC 6531 §3.3) and
// gives the form by which duplicates are told: the domain in lower case and A-labels
// (RFC 5890), the local part as it is, because only its own server knows what it
// makes of it. It is stricter than a [postrider.Sender], which also lets through what
// is harmless: an address must have a domain, and what is between dots must be there.
func Canonical(address string) (string, error) {
	if err := checkCharacters(address); err != nil {
		return "", err
	}
	local, domain := splitAddress(address)
	switch {
	case domain == "":
		return "", errors.New("it has no domain")
	case len(local) > longestLocal:
		return "", fmt.Errorf("what is before the @ is longer than %d octets", longestLocal)
	}
	if err := checkLocal(local); err != nil {
		return "", err
	}
	ascii, err := checkedDomain(domain)
	if err != nil {
		return "", err
	}
	if len(local)+1+len(ascii) > longestAddress {
		return "", fmt.Errorf("it is longer than %d octets", longestAddress)
	}
	return local + "@" + ascii, nil
}

func checkCharacters(address string) error {
	switch {
	case address == "":
		return errors.New("it is empty")
	case !utf8.ValidString(address):
		return errors.New("it is not valid UTF-8")
	}
	if i := strings.IndexFunc(address, func(c rune) bool { return unicode.IsControl(c) || c == '\u2028' || c == '\u2029' }); i >= 0 {
		return errors.New("it has a control character in it")
	}
	if strings.HasSuffix(address, ">") {
		return errors.New("it has a display name or angle brackets: write only what is between them")
	}
	return nil
}

// checkLocal lets net/mail judge: it knows Dot-string and Quoted-string, in UTF-8
// too. What it reads must be what was written, without the comments of RFC 5322.
func checkLocal(local string) error {
	if strings.ContainsAny(local, "()") && !strings.HasPrefix(local, `"`) {
		return errors.New("it has a comment in it")
	}
	a, err := mail.ParseAddress("<" + local + "@example.com>")
	if err != nil || strings.TrimSpace(local) != local || a.Name != "" || !strings.HasSuffix(a.Address, "@example.com") {
		return errors.New("what is before the @ is not as RFC 5321 §4.1.2 has it")
	}
	return nil
}

// checkedDomain gives the domain in lower case and A-labels, or the address literal.
func checkedDomain(domain string) (string, error) {
	if literal, ok := strings.CutPrefix(domain, "["); ok { // RFC 5321 §4.1.3
		ip, err := netip.ParseAddr(strings.TrimPrefix(strings.TrimSuffix(literal, "]"), "IPv6:"))
		if err != nil || !strings.HasSuffix(literal, "]") || ip.Zone() != "" || ip.Is6() != strings.HasPrefix(literal, "IPv6:") {
			return "", fmt.Errorf("%q is no address literal", domain)
		}
		return domain, nil
	}
	ascii, err := asciiDomain(domain)
	switch {
	case err != nil:
		return "", fmt.Errorf("the domain %q: %w", domain, err)
	case len(ascii) > longestDomain:
		return "", fmt.Errorf("the domain is longer than %d octets", longestDomain)
	}
	return ascii, nil
}

// domains is how a domain is read: as one that is looked up (RFC 5891 §5), with the
// lengths of the DNS.
var domains = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.StrictDomainName(true), idna.VerifyDNSLength(true))

// asciiDomain puts a domain in lower case and A-labels.
func asciiDomain(domain string) (string, error) { return domains.ToASCII(domain) }

// splitAddress cuts an address before the @ of its domain, which is the last one:
// only a quoted local part has others. Without one, domain is "".
func splitAddress(address string) (local, domain string) {
	i := strings.LastIndexByte(address, '@')
	if i < 0 {
		return address, ""
	}
	return address[:i], address[i+1:]
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c >= utf8.RuneSelf })
}
