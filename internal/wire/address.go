package wire

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/postrider/postrider/internal/text"
)

// CheckAddress reports why an address cannot stand between the angle brackets of
// MAIL or RCPT (RFC 5321 §4.1.2, RFC 6531 §3.3), nil if it can. What it lets
// through cannot end the command or add a parameter to it, and has nothing in it that
// nobody can see. It is lenient where addresses in use break the grammar harmlessly
// (dots in a row, no domain).
func CheckAddress(a string) error {
	if _, plain := plainAddress(a); plain {
		return nil
	}
	return checkAddress(a)
}

// plainAddress knows what nearly all addresses are like, letters, digits and a few
// signs round one @, by looking at each octet once, and returns the place of the @.
// What it does not know, checkAddress judges.
func plainAddress(a string) (at int, ok bool) {
	for i := range len(a) {
		switch c := a[i]; {
		case alphanumeric(rune(c)), c == '-', c == '_':
		case c == '.':
			if at > 0 && (a[i-1] == '.' || a[i-1] == '@') {
				return 0, false
			}
		case c == '@' && i > 0 && at == 0:
			at = i
		case (c == '+' || c == '=') && at == 0:
		default:
			return 0, false
		}
	}
	return at, at > 0 && at < len(a)-1
}

func checkAddress(a string) error {
	switch {
	case a == "":
		return errors.New("the address is empty")
	case !utf8.ValidString(a):
		return errors.New("the address is not valid UTF-8")
	}
	if i := strings.IndexFunc(a, text.IsControl); i >= 0 {
		c, _ := utf8.DecodeRuneInString(a[i:])
		return fmt.Errorf("the address has a control character (%U) in it", c)
	}
	if name, found := text.Unseen(a); found {
		return fmt.Errorf("the address has a %s in it, which cannot be seen", name)
	}
	if bare, ok := bareAddress(a); ok {
		return fmt.Errorf("the address has a display name or angle brackets: write only %s", bare)
	}
	rest, err := skipLocalPart(a)
	if err != nil {
		return err
	}
	if rest == "" {
		return nil // a local name, such as postmaster
	}
	return checkDomain(rest[1:])
}

// bareAddress finds what is meant by "Anne <anne@example.com>".
func bareAddress(a string) (bare string, ok bool) {
	i := strings.LastIndexByte(a, '<')
	if i < 0 || !strings.HasSuffix(a, ">") {
		return "", false
	}
	bare = a[i+1 : len(a)-1]
	return bare, bare != "" && CheckAddress(bare) == nil
}

// skipLocalPart returns what follows the local part: "" or "@" and a domain.
func skipLocalPart(a string) (rest string, err error) {
	if strings.HasPrefix(a, `"`) {
		return skipQuoted(a)
	}
	i := strings.IndexByte(a, '@')
	if i < 0 {
		i = len(a)
	}
	if i == 0 {
		return "", errors.New("the address has nothing before its @")
	}
	if j := strings.IndexAny(a[:i], "()<>[]:;,\\\" "); j >= 0 {
		return "", fmt.Errorf("the address has %q outside of quotes", a[j])
	}
	return a[i:], nil
}

// skipQuoted passes a Quoted-string, in which a backslash takes the next
// character along.
func skipQuoted(a string) (rest string, err error) {
	for i := 1; i < len(a); i++ {
		switch a[i] {
		case '\\':
			i++
		case '"':
			if rest = a[i+1:]; rest != "" && rest[0] != '@' {
				return "", errors.New("the address has something between its quoted local part and the @")
			}
			return rest, nil
		}
	}
	return "", errors.New("the address has an open quote")
}

func checkDomain(d string) error {
	if d == "" {
		return errors.New("the address has nothing after its @")
	}
	if d[0] == '[' { // of ASCII also with SMTPUTF8 (RFC 5321 §4.1.3)
		if len(d) < 3 || strings.IndexAny(d[1:], "[]\\<> ") != len(d)-2 || d[len(d)-1] != ']' || !ASCII(d) {
			return fmt.Errorf("the address has a bad address literal %q", d)
		}
		return nil
	}
	bad := func(c rune) bool {
		return c < utf8.RuneSelf && c != '-' && c != '.' && c != '_' && !alphanumeric(c)
	}
	if i := strings.IndexFunc(d, bad); i >= 0 {
		return fmt.Errorf("the address has %q in its domain", d[i])
	}
	if d[0] == '.' || strings.Contains(d, "..") {
		return errors.New("the address has an empty label in its domain")
	}
	return nil
}

// alphanumeric knows the letters and digits of ASCII only.
func alphanumeric(c rune) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
}

// ASCII reports whether s needs no SMTPUTF8.
func ASCII[T string | []byte](s T) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// SplitAddress cuts an address before the @ of its domain; domain is "" where
// there is none.
func SplitAddress(a string) (local, domain string) {
	if at, plain := plainAddress(a); plain {
		return a[:at], a[at+1:]
	}
	rest, err := skipLocalPart(a)
	if err != nil || rest == "" {
		return a, ""
	}
	return a[:len(a)-len(rest)], rest[1:]
}
