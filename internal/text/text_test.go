package text

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode"
)

// What a server or a resolver says is shown up to a bound, and the rest is counted.
func TestWordsAreBounded(t *testing.T) {
	for _, c := range []struct{ said, shown string }{
		{"550 no \x1b[2J", `550 no \x1b[2J`},
		{strings.Repeat("x", MaxWords), strings.Repeat("x", MaxWords)},
		{strings.Repeat("x", MaxWords) + "yz", strings.Repeat("x", MaxWords) + " ... (and 2 octets more)"},
		// no character is cut
		{strings.Repeat("x", MaxWords-1) + "éz", strings.Repeat("x", MaxWords-1) + " ... (and 3 octets more)"},
		{strings.Repeat("\x80", MaxWords+1), strings.Repeat(`\x80`, MaxWords-4) + " ... (and 5 octets more)"},
	} {
		if got := Words(c.said); got != c.shown {
			t.Errorf("Words of %d octets: %d octets, ending in %q", len(c.said), len(got), got[max(0, len(got)-40):])
		}
	}
	if n := len(Words(strings.Repeat("\x00", 1<<20))); n > 5*MaxWords {
		t.Errorf("%d octets of a megabyte", n)
	}
}

// Of Unicode's characters these cannot be seen: Default_Ignorable_Code_Point of
// DerivedCoreProperties.txt, and the general categories Cf and Zs.
func TestWhatCannotBeSeen(t *testing.T) {
	ignorable := [][2]rune{
		{0xad, 0xad}, {0x34f, 0x34f}, {0x61c, 0x61c}, {0x115f, 0x1160}, {0x17b4, 0x17b5}, {0x180b, 0x180f},
		{0x200b, 0x200f},
		{0x202a, 0x202e}, {0x2060, 0x206f}, {0x3164, 0x3164}, {0xfe00, 0xfe0f}, {0xfeff, 0xfeff}, {0xffa0, 0xffa0},
		{0xfff0, 0xfff8},
		{0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a}, {0xe0000, 0xe0fff},
	}
	for _, r := range ignorable {
		for c := r[0]; c <= r[1]; c++ {
			if _, found := Unseen("a" + string(c)); found == (c == 0x200c || c == 0x200d) {
				t.Errorf("%U: %t", c, found)
			}
		}
	}
	for _, c := range "\u00a0\u1680\u2000\u2007\u202f\u205f\u3000\ufff9\u2800\ufffd" {
		if _, found := Unseen(string(c)); !found {
			t.Errorf("%U is taken for a character like others", c)
		}
	}
	// What can be seen, or is needed; the Arabic number sign is a format character that can be.
	for _, s := range []string{"anne person", "é", "e\u0301", "日本", "عمر", "نامه\u200cای", "क\u094d\u200dष", "\u0600",
		"😀", "\t"} {
		if name, found := Unseen(s); found {
			t.Errorf("%q has a %s", s, name)
		}
	}
	for s, want := range map[string]string{
		"a\u200bb": "ZERO WIDTH SPACE (U+200B)", "\u00ad": "SOFT HYPHEN (U+00AD)", "\u00a0": "NO-BREAK SPACE (U+00A0)",
		"\ufeff": "BYTE ORDER MARK (U+FEFF)", "\u202e": "character that turns the direction of writing (U+202E)",
		"\u2003": "blank that is no space (U+2003)", "\U000e0041": "invisible character (U+E0041)",
		"\ufe0f": "variation selector (U+FE0F)",
	} {
		if name, _ := Unseen(s); name != want {
			t.Errorf("%q: %s; want %s", s, name, want)
		}
	}
}

// Every character comes back from JSON as it was, and none gets out raw that a
// terminal would act upon or not show.
func TestJSONIsForTerminalsToo(t *testing.T) {
	var all strings.Builder
	for c := rune(0); c <= unicode.MaxRune; c++ {
		if c > 0x20000 && c < 0xe0000 {
			c += 96 // they are all alike
		}
		if c < 0xd800 || c > 0xdfff {
			all.WriteRune(c)
		}
	}
	encoded, err := JSON(map[string]string{"<": all.String()}, "  ")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range string(encoded) {
		if !unicode.IsPrint(c) && c != '\n' {
			t.Fatalf("%U is written raw", c)
		}
	}
	var back map[string]string
	if err := json.Unmarshal(encoded, &back); err != nil || back["<"] != all.String() {
		t.Errorf("it does not come back: %v", err)
	}
	if encoded, err := JSON("\u202ea\u009b\U000e0041\x7f", ""); string(encoded) != `"\u202ea\u009b\udb40\udc41\u007f"` {
		t.Errorf("%s, %v", encoded, err)
	}
	if _, err := JSON(func() {}, ""); err == nil {
		t.Error("a function is no JSON")
	}
}

func TestReaderTellsWhereATextIsNotUTF8(t *testing.T) {
	long := strings.Repeat("é", 1<<15) // more than is read at once, with characters across the border
	for _, c := range []struct{ in, out, fault string }{
		{"", "", ""},
		{"\ufeffa\n", "a\n", ""},
		{"a\ufeff", "a\ufeff", ""}, // not at the beginning: for others to judge
		{"x" + long, "x" + long, ""},
		{"x" + long + "\xff", "x" + long, "line 1, column 32770: the octet 0xFF is not UTF-8"},
		{"email,name\nanne,Mé\xfcller\n", "email,name\nanne,Mé", "line 2, column 8: the octet 0xFC is not UTF-8"},
		{"a\n\n\xe2\x82", "a\n\n", "line 3, column 1: the octet 0xE2 is not UTF-8"}, // the end of a file
		{"\xed\xa0\x80", "", "line 1, column 1: the octet 0xED is not UTF-8"},
		{"\xff\xfea\x00", "", "line 1, column 1: the text is UTF-16, by its byte order mark, and not UTF-8"},
		{"\xfe\xff\x00a", "", "line 1, column 1: the text is UTF-16, by its byte order mark, and not UTF-8"},
		{"e\x00m\x00", "e", "line 1, column 2: a NUL octet, as in UTF-16 and in files that are not text"},
	} {
		for name, wrap := range map[string]func(io.Reader) io.Reader{"at " +
			"once": func(r io.Reader) io.Reader { return r }, "by octets": iotest.OneByteReader, "with " +
			"EOF": iotest.DataErrReader} {
			r := NewReader(wrap(strings.NewReader(c.in)))
			got, err := io.ReadAll(r)
			fault := ""
			if err != nil {
				fault = err.Error()
			}
			if string(got) != c.out || fault != c.fault || err != r.Err() {
				t.Errorf("%.20q %s: %.20q, %v, %v; want %s", c.in, name, got, err, r.Err(), c.fault)
			}
		}
	}
	broken := errors.New("disk")
	if _, err := io.ReadAll(NewReader(iotest.ErrReader(broken))); err != broken {
		t.Errorf("%v", err)
	}
}

func TestCheckALine(t *testing.T) {
	if err := Check("Hé \xfc"); err == nil || err.Error() != "column 4: the octet 0xFC is not UTF-8" {
		t.Error(err)
	}
	if err := Check("Hé \ufffd"); err != nil {
		t.Error(err)
	}
}

func TestDecode(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"iso-8859-1", "M\xfcller\x80", "Müller€"}, // windows-1252, as on the web
		{"Windows-1252", "Gr\xfc\xdfe", "Grüße"},
		{"iso-8859-15", "\xa4", "€"},
		{"koi8-r", "\xe1\xce\xce\xc1", "Анна"},
		{"shift_jis", "\x93\xfa\x96\x7b", "日本"},
		{"gbk", "\xc1\xaa\xcd\xa8", "联通"}, // which would pass for UTF-8
		{"utf-16", "\xff\xfea\x00\xe9\x00", "aé"},
		{"utf-16", "\xfe\xff\x00a\x00\xe9", "aé"},
		{"utf-16le", "a\x00\xe9\x00", "aé"},
		{"windows-1252", "Müller", "Müller"}, // it is UTF-8 already
		{"utf-16", "\ufeffMüller", "\ufeffMüller"},
		{"utf-8", "a\xff", "a\xff"}, // which Reader refuses
	} {
		got, err := Decode([]byte(c.in), c.name)
		if strings.TrimPrefix(string(got), "\ufeff") != strings.TrimPrefix(c.want, "\ufeff") || err != nil {
			t.Errorf("%q in %s: %q, %v", c.in, c.name, got, err)
		}
	}
	for _, c := range []struct{ name, in, want string }{
		{"windows-1252", "a\nb\x81", "line 2, column 2: not a character of windows-1252"},
		{"shift_jis", "a\x80", "line 1, column 2"}, // a C1 control to browsers, and so in no text
		{"shift_jis", "\x93", "line 1, column 1"},
		{"utf-16le", "a\x00b", "line 1, column 2"},
		{"utf-16le", "\x00\xd8a\x00", "line 1, column 1"},
		{"latin-nix", "", `unknown encoding "latin-nix"`},
		{"iso-2022-kr", "", "unknown encoding"}, // of which browsers make one U+FFFD
	} {
		if _, err := Decode([]byte(c.in), c.name); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q in %s: %v; want %s", c.in, c.name, err, c.want)
		}
	}
}
