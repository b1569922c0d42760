package wire

import (
	"cmp"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/text"
)

// Local parts and domains that CheckAddress lets through, in pairs as
// SplitAddress gives them.
var goodAddresses = [][2]string{
	{"anne", "example.com"},
	{"Anne.Person", "Example.COM"},
	{"a", "b"},
	{"postmaster", ""}, // RFC 5321 §4.1.1.3 knows one local name; there are more of them
	{"d", ""},          // fact 53
	{"test-bounces+aperson=example.org", "example.com"},
	{"!#$%&'*+-/=?^_`{|}~.0", "example.com"},
	{"0", "1.2"},
	// RFC 5321 §4.1.2: quoted local parts.
	{`""`, "example.com"},
	{`"anne person"`, "example.com"},
	{`"anne@home"`, "example.com"},
	{`"a<b>c"`, "example.com"},
	{`"a> ORCPT=rfc822;b"`, "example.com"},
	{`"a\"b"`, "example.com"},
	{`"a\\"`, "example.com"},
	{`"\a\ \>"`, "example.com"},
	{`"()[]:;,"`, "example.com"},
	{`"anne@home"`, ""},
	{`"anne"`, ""},
	// RFC 5321 §4.1.3: address literals.
	{"anne", "[192.0.2.1]"},
	{"anne", "[IPv6:2001:db8::1]"},
	{"anne", "[x-tag:!#@\"()]"},
	{`"a@[b]"`, "[192.0.2.1]"},
	// RFC 6531 §3.3.
	{"étienne", "exämple.com"},
	{"anne", "例え.jp"},
	{`"é è"`, "example.com"},
	{`"\é"`, "example.com"},
	{"ж", ""},
	{"a\u200db", "example.com"}, // joiners are spelling in some scripts
	{"a\u200cb", "example.com"},
	// Not the grammar, but in use, and harmless.
	{"anne..person", "example.com"},
	{".anne.", "example.com"},
	{"anne", "example.com."},
	{"anne", "my_host.example.com"},
	{"anne", "-x-.example"},
}

func join(local, domain string) string {
	if domain == "" {
		return local
	}
	return local + "@" + domain
}

func TestGoodAddresses(t *testing.T) {
	for _, good := range goodAddresses {
		a := join(good[0], good[1])
		if err := CheckAddress(a); err != nil {
			t.Errorf("CheckAddress(%q) = %v", a, err)
		}
		if local, domain := SplitAddress(a); local != good[0] || domain != good[1] {
			t.Errorf("SplitAddress(%q) = %q, %q", a, local, domain)
		}
	}
}

func TestBadAddresses(t *testing.T) {
	for _, tt := range []struct{ address, want string }{
		{"", "is empty"},
		// Fact 54: an address ends no command.
		{"anne@example.com\r\nRCPT TO:<bart@example.com>", "control character (U+000D)"},
		{"anne@example.com\n", "control character (U+000A)"},
		{"\ranne@example.com", "control character (U+000D)"},
		{"an\x00ne@example.com", "control character (U+0000)"},
		{"anne@exam\tple.com", "control character (U+0009)"},
		{"anne@example.com\x7f", "control character (U+007F)"},
		{"\"an\nne\"@example.com", "control character (U+000A)"},
		{"\"an\\\nne\"@example.com", "control character (U+000A)"},
		{"anne@[192.0.2.1\r\n]", "control character (U+000D)"},
		// Line ends to whoever splits decoded text.
		{"é\u0085x@example.com", "control character (U+0085)"},
		{"a\u009bx@example.com", "control character (U+009B)"},
		{"a\u2028x@example.com", "control character (U+2028)"},
		{"a@example.com\u2029", "control character (U+2029)"},
		// What nobody sees, by name.
		{"\u200banne@example.com", "ZERO WIDTH SPACE (U+200B)"},
		{"anne@exam\u00adple.com", "SOFT HYPHEN (U+00AD)"},
		{"an\u00a0ne@example.com", "NO-BREAK SPACE (U+00A0)"},
		{"\"an\u00a0ne\"@example.com", "NO-BREAK SPACE (U+00A0)"},
		{"\ufeffanne@example.com", "BYTE ORDER MARK (U+FEFF)"},
		{"anne\u202e@example.com", "turns the direction of writing (U+202E)"},
		{"anne\U000e0041@example.com", "invisible character (U+E0041)"},
		{"anne\ufffd@example.com", "REPLACEMENT CHARACTER (U+FFFD)"},
		{"\xe9tienne@example.com", "not valid UTF-8"},
		{"anne@ex\xffmple.com", "not valid UTF-8"},
		{"\xc0\x8danne@example.com", "not valid UTF-8"}, // an overlong CR

		// GHSA-wpwj-69cm-q9c5: nothing behind the bracket is smuggled in.
		{"a@example.com> ORCPT=rfc822;b@example.com", `has '>'`},
		{"a> ORCPT=rfc822;b@example.com", `has '>'`},
		{"a@example.com> SIZE=1", `has '>'`},
		{"a@example.com NOTIFY=NEVER", `has ' '`},
		{"a@[192.0.2.1]> NOTIFY=NEVER", "bad address literal"},
		{"a@[192.0.2.1> NOTIFY=NEVER]", "bad address literal"},
		{`"a"> NOTIFY=NEVER@example.com`, "between its quoted local part and the @"},
		{`"a\"> NOTIFY=NEVER@example.com`, "open quote"},
		{`"a\\"> NOTIFY="b"@example.com`, "between its quoted local part and the @"},
		{`"a" @example.com`, "between its quoted local part and the @"},
		{`a"b> NOTIFY=NEVER"@example.com`, `has '"'`},
		{`"a"@"> NOTIFY=NEVER"`, `has '"'`},
		{"<a@example.com", `has '<'`},
		{"a@example.com>", `has '>'`},
		{"<>", `has '<'`},
		{">", `has '>'`},
		{"<", `has '<'`},
		{"a\\>@example.com", `has '\\'`},

		{"anne person@example.com", `has ' '`},
		{"anne@example.com ", `has ' '`},
		{" anne@example.com", `has ' '`},
		{"anne,bart@example.com", `has ','`},
		{"anne@example.com,bart@example.com", `has ','`},
		{"anne@example.com;bart@example.com", `has ';'`},
		{"(anne)@example.com", `has '('`},
		{"anne(her)@example.com", `has '('`},
		{"list:anne@example.com", `has ':'`},
		{"[192.0.2.1]", `has '['`},
		{"mailto:anne@example.com", `has ':'`},
		{"anne@bart@example.com", `has '@'`},
		{"@example.com", "nothing before its @"},
		{"@a.example,@b.example:anne@example.com", "nothing before its @"}, // a source route, RFC 5321 Appendix C
		{"@", "nothing before its @"},
		{"anne@", "nothing after its @"},
		{`"anne"@`, "nothing after its @"},
		{"anne@.example.com", "empty label"},
		{"anne@example..com", "empty label"},
		{"anne@.", "empty label"},
		{`"`, "open quote"},
		{`"anne`, "open quote"},
		{`"anne\`, "open quote"},
		{`"anne\"@example.com`, "open quote"},
		{`"anne"person@example.com`, "between its quoted local part and the @"},
		{`"a""b"@example.com`, "between its quoted local part and the @"},
		{`anne."person"@example.com`, `has '"'`},
		{"anne@[]", "bad address literal"},
		{"anne@[", "bad address literal"},
		{"anne@]", `has ']'`},
		{"anne@[a]b", "bad address literal"},
		{"anne@[a]]", "bad address literal"},
		{"anne@[[a]", "bad address literal"},
		{"anne@[a b]", "bad address literal"},
		{"anne@[a>b]", "bad address literal"},
		{"anne@[a<b]", "bad address literal"},
		{"anne@[a>", "bad address literal"},
		{"anne@[a<", "bad address literal"},
		{"anne@[a[", "bad address literal"},
		{"anne@[a ", "bad address literal"},
		{`anne@[a\b]`, "bad address literal"},
		{`anne@[a\]b]`, "bad address literal"},
		{"anne@[é]", "bad address literal"}, // dcontent stays ASCII in RFC 6531
		{"anne@x[a]", `has '['`},
		{"anne@exa%mple.com", `has '%'`},
		{"anne@exa/mple.com", `has '/'`},
	} {
		err := CheckAddress(tt.address)
		if err == nil {
			t.Errorf("CheckAddress(%q) lets it through", tt.address)
		} else if s := err.Error(); !strings.Contains(s, tt.want) || text.Printable(s) != s {
			t.Errorf("CheckAddress(%q) = %q, want %q in it and nothing raw", tt.address, s, tt.want)
		}
	}
}

// Mailman strips display names (fact 53). Here they are an error that says what
// to write.
func TestDisplayNamesAreNamed(t *testing.T) {
	const intro = "write only "
	for address, bare := range map[string]string{
		"Anne <anne@example.com>":             "anne@example.com",
		"<anne@example.com>":                  "anne@example.com",
		"<anne>":                              "anne",
		`"Anne <x>" <anne@example.com>`:       "anne@example.com",
		`"Anne Person" <"a > b"@example.com>`: `"a > b"@example.com`,
		"Étienne <étienne@example.com>":       "étienne@example.com",
		"a@example.com> <b@example.com>":      "b@example.com",
		"Anne <anne@bart@example.com>":        "",
		"Anne <>":                             "",
		"Anne <Anne <anne@example.com>>":      "",
	} {
		err := CheckAddress(address)
		switch {
		case err == nil:
			t.Errorf("CheckAddress(%q) lets it through", address)
		case bare == "" && strings.Contains(err.Error(), intro):
			t.Errorf("CheckAddress(%q) = %v, which recommends what it would refuse", address, err)
		case bare != "" && !strings.HasSuffix(err.Error(), intro+bare):
			t.Errorf("CheckAddress(%q) = %v, want %q at its end", address, err, intro+bare)
		}
	}
}

// SplitAddress is asked about addresses that were not checked, too.
func TestSplitWhatIsNoAddress(t *testing.T) {
	for _, a := range []string{"", "@", `"`, `"@`, `"a`, "@example.com"} {
		if local, domain := SplitAddress(a); local != a || domain != "" {
			t.Errorf("SplitAddress(%q) = %q, %q", a, local, domain)
		}
	}
}

func TestASCII(t *testing.T) {
	for s, want := range map[string]bool{"": true, "a\x00\x7f": true, "aé": false, "\x80": false, "é": false} {
		if ASCII(s) != want || ASCII([]byte(s)) != want {
			t.Errorf("ASCII(%q) = %t, %t; want %t", s, ASCII(s), ASCII([]byte(s)), want)
		}
	}
}

// What is known at a glance is judged, and cut, no other than by looking closely.
func TestPlainAddressesAreJudgedAsOthers(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	const signs = "aZ0..@@-_+=<>[]\"\\ \r\n\x00\x7f\xc3\xa9,;:()"
	plain := 0
	for range 200_000 {
		a := make([]byte, rnd.IntN(9))
		for i := range a {
			a[i] = signs[rnd.IntN(len(signs))]
			if rnd.IntN(3) > 0 {
				a[i] = "ab.@"[rnd.IntN(4)]
			}
		}
		at, ok := plainAddress(string(a))
		if !ok {
			continue
		}
		plain++
		rest, err := skipLocalPart(string(a))
		if err := cmp.Or(checkAddress(string(a)), err); err != nil || len(rest) != len(a)-at {
			t.Fatalf("%q is plain with its @ at %d; looking closely: %q, %v", a, at, rest, err)
		}
	}
	if plain < 1000 {
		t.Errorf("only %d were plain", plain)
	}
	for _, a := range []string{"anne.person+list=x@sub-1.example.com", "a@b", "x_y@z_1"} {
		if _, ok := plainAddress(a); !ok {
			t.Errorf("%q is not known", a)
		}
	}
}
