package address

import (
	"slices"
	"strings"
	"testing"
)

// Spellings of one address, of which every server must make the same.
func TestSpellingsOfOneAddress(t *testing.T) {
	for canonical, spellings := range map[string][]string{
		"jörg@example.com": {"jo\u0308rg@example.com", "jörg@EXAMPLE.com", `"jörg"@example.com`,
			"\"jo\u0308rg\"@example.com.", `"j\ö\r\g"@example.com`},
		"anne@example.com":           {`"anne"@example.com`, `"\a\n\n\e"@Example.COM`, "anne@example.com."},
		`"anne person"@example.com`:  {`"anne\ person"@example.com`},
		`"a\"b\\c"@example.com`:      {`"\a\"b\\c"@example.com`},
		`"anne..person"@example.com`: {`"anne.\.person"@example.com`},
		"Anne@example.com":           {`"Anne"@example.com`}, // case is for the server to judge
		"a@xn--bcher-kva.example": {"a@Bücher.example", "a@bu\u0308cher.example", "a@XN--BCHER-KVA.example",
			"a@bücher。example"},
		"a@[192.0.2.1]":            nil,
		"a@[IPv6:2001:db8::1]":     {"a@[ipv6:2001:0DB8:0:0:0:0:0:1]", `"a"@[IPv6:2001:db8:0::1]`},
		`"a;b"@example.com`:        {"a\u037eb@example.com"}, // a Greek question mark is a semicolon in NFC
		"نامه\u200cای@example.com": nil,
	} {
		for _, s := range append(spellings, canonical) {
			if got, err := Canonical(s); got != canonical || err != nil {
				t.Errorf("%q: %q, %v; want %q", s, got, err, canonical)
			}
		}
	}
}

func TestWhatNobodySeesIsNamed(t *testing.T) {
	for address, want := range map[string]string{
		"\u200banne@example.com": "ZERO WIDTH SPACE (U+200B)", "e\u00adve@example.com": "SOFT HYPHEN (U+00AD)",
		"anne@exam\u00adple.com": "SOFT HYPHEN (U+00AD)", "anne@example\u2060.com": "WORD JOINER (U+2060)",
		"d\u00a0ora@example.com":     "NO-BREAK SPACE (U+00A0)",
		"\"d\u00a0ora\"@example.com": "NO-BREAK SPACE", "\ufeffanne@example.com": "BYTE ORDER MARK (U+FEFF)",
		"m\ufffdller@example.com": "REPLACEMENT CHARACTER (U+FFFD)",
	} {
		if _, err := Canonical(address); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %s", address, err, want)
		}
		if _, err := Entry(address); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the entry %q: %v; want %s", address, err, want)
		}
	}
	if _, err := Entry("@exam\u200bple.com"); err == nil || !strings.Contains(err.Error(), "ZERO WIDTH SPACE") {
		t.Error(err)
	}
}

func suppresses(t *testing.T, entry, address string) bool {
	t.Helper()
	key, err := Entry(entry)
	if err != nil {
		t.Fatalf("the entry %q: %v", entry, err)
	}
	canonical, err := Canonical(address)
	if err != nil {
		t.Fatalf("the address %q: %v", address, err)
	}
	return slices.Contains(slices.Collect(Keys(canonical)), key)
}

// Who asked for no mail gets none, however the address is written.
func TestEntriesSuppress(t *testing.T) {
	for entry, addresses := range map[string][]string{
		"jo\u0308rg@example.com": {"jörg@example.com", "JÖRG@Example.com", "JO\u0308RG@example.com"},
		`"bart"@example.com`:     {"bart@example.com", "Bart@example.com"},
		"anne@example.com":       {`"anne"@example.com`, `"\Anne"@EXAMPLE.COM`},
		"ΝΙΚΟΣ@example.com":      {"νικος@example.com", "νικοσ@example.com"},
		"stra\u1e9ee@x.example":  {"straße@x.example"},
		"ǰ@x.example":            {"J\u030c@x.example"},
		"@example.com": {"anne@example.com", "anne@a.example.com", "anne@a.b.Example.com",
			`"a@b"@c.example.com`},
		"@Bücher.example":     {"a@xn--bcher-kva.example", "a@laden.bu\u0308cher.example"},
		"@example.com.":       {"anne@example.com"},
		"@com":                {"anne@example.com"},
		"@[192.0.2.1]":        {"anne@[192.0.2.1]"},
		"@[IPv6:2001:db8::1]": {"anne@[ipv6:2001:DB8:0::1]"},
	} {
		for _, a := range addresses {
			if !suppresses(t, entry, a) {
				t.Errorf("%q does not suppress %q", entry, a)
			}
		}
	}
	for entry, a := range map[string]string{
		"@example.com": "anne@notexample.com", "@a.example.com": "anne@example.com",
		"anne@example.com": "anne@a.example.com",
		"anna@example.com": "anne@example.com", "strasse@x.example": "straße@x.example",
		"@[192.0.2.1]": "anne@[192.0.2.11]", "@1]": "anne@[192.0.2.1]",
	} {
		if key, err := Entry(entry); err == nil && suppresses(t, entry, a) {
			t.Errorf("%q (%s) suppresses %q", entry, key, a)
		}
	}
}

// What is meant as a wildcard or a domain would suppress nobody, silently.
func TestEntriesThatWouldSuppressNobody(t *testing.T) {
	for entry, want := range map[string]string{
		"*@example.com": "write @example.com", "example.com": "@example.com for a domain", "": "no domain",
		"@": "domain", "@a b": "domain",
		"Anne <anne@example.com>": "display name", "anne\xff@example.com": "not valid UTF-8",
		"@example\xff.com": "not valid UTF-8",
	} {
		if key, err := Entry(entry); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %q, %v; want %s", entry, key, err, want)
		}
	}
}

func FuzzCanonical(f *testing.F) {
	for _, a := range []string{"anne@example.com", `"a b"@bücher.example`, "a@[192.0.2.1]", "a(b)@c", "\"\\\"\"@x",
		"a\u037eb@x", "İ@x", "ſ@x"} {
		f.Add(a)
	}
	f.Fuzz(func(t *testing.T, address string) {
		canonical, err := Canonical(address)
		if err != nil {
			return
		}
		if again, err := Canonical(canonical); again != canonical || err != nil {
			t.Errorf("%q becomes %q, and that %q, %v", address, canonical, again, err)
		}
		if folded(folded(canonical)) != folded(canonical) {
			t.Errorf("%q is folded to %q, and that to %q", canonical, folded(canonical), folded(folded(canonical)))
		}
		if key, err := Entry(address); err == nil && !suppresses(t, address, address) {
			t.Errorf("%q (%q) does not suppress itself", address, key)
		}
	})
}
