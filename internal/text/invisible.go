package text

import (
	"fmt"
	"unicode"
	"unicode/utf8"
)

// Unseen finds the first character of s that is invisible, or looks like a blank, and returns its name, like
// "ZERO WIDTH SPACE (U+200B)": format characters (Cf), blanks (Zs),
// the default ignorable code points of Unicode, and U+FFFD, which stands for
// characters that were lost. Not among them are U+0020, the common blank,
// U+200C and U+200D, without which words of some scripts cannot be written, and the
// few format characters that can be seen.
func Unseen(s string) (name string, found bool) {
	for _, c := range s {
		if unseen(c) {
			return nameOf(c), true
		}
	}
	return "", false
}

const (
	nonJoiner = '\u200c'
	joiner    = '\u200d'
	blankCell = '\u2800' // a pattern of Braille without a dot: a symbol to Unicode
)

func unseen(c rune) bool {
	switch {
	case c < utf8.RuneSelf, c == nonJoiner, c == joiner:
		return false
	case c == utf8.RuneError, c == blankCell:
		return true
	case unicode.Is(unicode.Prepended_Concatenation_Mark, c):
		return false
	}
	return unicode.In(c, unicode.Cf, unicode.Zs, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point)
}

// nameOf returns Unicode's name of the common ones. The tables of all names are larger than this program's own code.
func nameOf(c rune) string {
	name := ""
	switch c {
	case '\u00a0':
		name = "NO-BREAK SPACE"
	case '\u00ad':
		name = "SOFT HYPHEN"
	case '\u034f':
		name = "COMBINING GRAPHEME JOINER"
	case '\u061c':
		name = "ARABIC LETTER MARK"
	case '\u180e':
		name = "MONGOLIAN VOWEL SEPARATOR"
	case '\u200b':
		name = "ZERO WIDTH SPACE"
	case '\u200e':
		name = "LEFT-TO-RIGHT MARK"
	case '\u200f':
		name = "RIGHT-TO-LEFT MARK"
	case '\u202f':
		name = "NARROW NO-BREAK SPACE"
	case '\u2060':
		name = "WORD JOINER"
	case '\u3000':
		name = "IDEOGRAPHIC SPACE"
	case '\u3164':
		name = "HANGUL FILLER"
	case '\ufeff':
		name = "BYTE ORDER MARK"
	case utf8.RuneError:
		name = "REPLACEMENT CHARACTER"
	default:
		name = kindOf(c)
	}
	return fmt.Sprintf("%s (%U)", name, c)
}

func kindOf(c rune) string {
	switch {
	case '\u202a' <= c && c <= '\u202e', '\u2066' <= c && c <= '\u2069':
		return "character that turns the direction of writing"
	case unicode.Is(unicode.Zs, c):
		return "blank that is no space"
	case unicode.Is(unicode.Variation_Selector, c):
		return "variation selector"
	}
	return "invisible character"
}
