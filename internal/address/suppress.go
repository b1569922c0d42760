package address

import (
	"errors"
	"fmt"
	"iter"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// Entry returns a line of a suppression list in the form in which it is looked up: an address, or @domain, which
// includes all of its subdomains.
func Entry(written string) (key string, err error) {
	if domain, ok := strings.CutPrefix(written, "@"); ok {
		if err := checkCharacters(written); err != nil {
			return "", err
		}
		canonical, err := Domain(domain)
		return "@" + canonical, err
	}
	if local, domain := Split(written); local == "*" {
		return "", fmt.Errorf("an address has no wildcards: write @%s for all of a domain, its subdomains too", domain)
	} else if domain == "" {
		return "", errors.New("it has no domain: write anne@example.com for a person, @example.com for a domain")
	}
	canonical, err := Canonical(written)
	if err != nil {
		return "", err
	}
	return folded(canonical), nil
}

// Keys returns the entries that suppress an address in its canonical form, the narrowest first: its own, that of its
// domain, and those of the domains above it.
func Keys(canonical string) iter.Seq[string] {
	return func(yield func(string) bool) {
		if !yield(folded(canonical)) {
			return
		}
		_, domain := Split(canonical)
		for more := domain != ""; more && yield("@"+domain); {
			if domain[0] == '[' {
				return // the dots of an address literal do not divide levels
			}
			_, domain, more = strings.Cut(domain, ".")
		}
	}
}

// folded makes upper and lower case the same. RFC 5321 §2.4 leaves the case of a local part to its server, but hardly
// any tells Anne@ from anne@, and a recipient who asked for no mail as the one expects none as the other: here a
// mistake must be on the side of silence.
//
// The folding is Unicode's simple one: the smallest of the characters that differ only in case stands for all of them.
func folded(canonical string) string {
	return norm.NFC.String(strings.Map(func(c rune) rune {
		smallest := c
		for other := unicode.SimpleFold(c); other != c; other = unicode.SimpleFold(other) {
			smallest = min(smallest, other)
		}
		return unicode.ToLower(smallest)
	}, canonical))
}
