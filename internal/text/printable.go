// Package text is about text that came from somewhere else: how it may be shown, which of its characters are invisible,
// and whether it has the encoding that it should have.
package text

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Printable escapes what a terminal or a log must not get raw: control characters, line ends, what turns the direction
// of writing, and octets that are not UTF-8.
func Printable(s string) string {
	if strings.IndexFunc(s, unprintable) < 0 {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		c, n := utf8.DecodeRuneInString(s)
		if unprintable(c) {
			q := strconv.QuoteToASCII(s[:n])
			b.WriteString(q[1 : len(q)-1])
		} else {
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String()
}

// Lines are Words of several lines, such as those of a reply, on one line.
func Lines(s string) string { return Words(strings.ReplaceAll(s, "\n", " / ")) }

// IsControl reports whether c is a control character, or ends a line for a server that splits decoded text.
func IsControl(c rune) bool { return unicode.IsControl(c) || c == '\u2028' || c == '\u2029' }

func unprintable(c rune) bool { return c == utf8.RuneError || !unicode.IsPrint(c) }

// MaxWords is how many octets Words shows. A reply may have 64 KiB, and a resolver can say as much about each of many
// names.
const MaxWords = 2000

// Words returns the words of another machine for an error, a log or a report: escaped by Printable, and at most
// MaxWords octets of them. The end says how many were left out.
func Words(s string) string {
	cut := s[:min(len(s), MaxWords)]
	for len(cut) < len(s) && len(cut) > MaxWords-utf8.UTFMax && !utf8.RuneStart(s[len(cut)]) {
		cut = cut[:len(cut)-1]
	}
	if left := len(s) - len(cut); left > 0 {
		return fmt.Sprintf("%s ... (and %d octets more)", Printable(cut), left)
	}
	return Printable(s)
}
