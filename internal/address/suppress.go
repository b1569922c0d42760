package address

import (
	"errors"
	"iter"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// Entry is a line of a list of those who get no mail, in the form in which it is
// looked up: an address, or @domain, which stands for all of its subdomains too.
func Entry(written string) (key string, err error) {
	if domain, ok := strings.CutPrefix(written, "@"); ok {
		if err := checkCharacters(written); err != nil {
			return "", err
		}
		canonical, err := Domain(domain)
		return "@" + canonical, err
	}
	if local, domain := Split(written); local == "*" {
		return "", errors.New("an address has no wildcards: write @" + domain + " for all of a domain, its subdomains too")
	} else if domain == "" {
		return "", errors.New("it has no domain: write anne@example.com for a person, @example.com for a domain")
	}
	canonical, err := Canonical(written)
	if err != nil {
		return "", err
	}
	return folded(canonical), nil
}

// Keys are the entries that suppress an address in its canonical form, the narrowest
// first: its own, that of its domain, and those of the domains above it.
func Keys(canonical string) iter.Seq[string] {
	return func(yield func(string) bool) {
		if !yield(folded(canonical)) {
			return
		}
		_, domain := Split(canonical)
		for more := domain != ""; more && yield("@"+domain); {
			if domain[0] == '[' {
				return // the dots of an address literal are no levels
			}
			_, domain, more = strings.Cut(domain, ".")
		}
	}
}

// folded makes upper and lower case the same. RFC 5321 §2.4 leaves a local part's to
// its server, but hardly any tells Anne@ from anne@, and who asked for no mail as the
// one expects none as the other: here a mistake must go to the side of silence.
//
// It is Unicode's simple folding: the smallest of the characters that are one but for
// their case stands for all of them.
func folded(canonical string) string {
	return norm.NFC.String(strings.Map(func(c rune) rune {
		smallest := c
		for other := unicode.SimpleFold(c); other != c; other = unicode.SimpleFold(other) {
			smallest = min(smallest, other)
		}
		return unicode.ToLower(smallest)
	}, canonical))
}
