// Package text is about words that came from somewhere else: how they may be shown,
// which of them nobody can see, and whether they are what they are said to be.
package text

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Printable escapes what a terminal or a log must not get raw: control characters,
// line ends, what turns the direction of writing, and octets that are not UTF-8.
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

func unprintable(c rune) bool { return c == utf8.RuneError || !unicode.IsPrint(c) }

// MaxWords is how many octets Words shows of what somebody else said. A reply may
// have 64 KiB, and a resolver can say as much about each of many names.
const MaxWords = 2000

// Words are those of another machine, as they may stand in an error, a log or a
// report: escaped as by Printable, and no more than MaxWords octets of them. How many
// were left out stands at the end.
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
