package text

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"":                     "",
		"5.1.1 no such user":   "5.1.1 no such user",
		`a "quoted" \ thing`:   `a "quoted" \ thing`,
		"Müßiggang 日本 עברית 🚫": "Müßiggang 日本 עברית 🚫",
		"e\u0301":              "e\u0301",
		"a\r\nb\tc":            `a\r\nb\tc`,
		"\x00\x07\x7f":         `\x00\a\x7f`,
		"\x1b[31mred":          `\x1b[31mred`,
		"\u0085\u009b31m":      `\u0085\u009b31m`, // C1: a CSI in one character
		"\xff\xc3(":            `\xff\xc3(`,
		"\xed\xa0\x80":         `\xed\xa0\x80`, // a surrogate
		"\ufffd":               `\ufffd`,
		// right-to-left override: the text behind it would be shown backwards
		"a\u202eb\u202c":           `a\u202eb\u202c`,
		"\u2066\u2069\u200f\u061c": `\u2066\u2069\u200f\u061c`,
		"a\u200bb\ufeff\u00ad":     `a\u200bb\ufeff\u00ad`,
		"a\u2028b\u2029":           `a\u2028b\u2029`,
		"a\u00a0b":                 `a\u00a0b`,
		"\U000e0041":               `\U000e0041`, // tag characters are invisible
		"\ue000":                   `\ue000`,
	} {
		got := Printable(in)
		if got != want {
			t.Errorf("Printable(%q) = %s, want %s", in, got, want)
		}
		if !utf8.ValidString(got) || Printable(got) != got {
			t.Errorf("Printable(%q) = %q, which is not printable", in, got)
		}
	}
}

func TestLines(t *testing.T) {
	if got := Lines("5.1.1 no\n5.1.1 such\x07 user"); got != `5.1.1 no / 5.1.1 such\a user` {
		t.Errorf("%q", got)
	}
	if got := Lines(strings.Repeat("\n", MaxWords)); len(got) > MaxWords+50 {
		t.Errorf("%d octets", len(got))
	}
}

func TestIsControl(t *testing.T) {
	for _, c := range "\x00\t\r\n\x1f\x7f\u0085\u009f\u2028\u2029" {
		if !IsControl(c) {
			t.Errorf("%U is none", c)
		}
	}
	for _, c := range " a\u00a0\u200b\ufffd" {
		if IsControl(c) {
			t.Errorf("%U is one", c)
		}
	}
}
