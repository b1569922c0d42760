package wire

import (
	"bytes"
	"strings"
	"testing"
)

// contents and what they are on the wire, before dots are stuffed. Each CR, LF
// and CRLF ends a line (RFC 5321 §2.3.8 forbids the bare ones).
var contents = []struct{ name, raw, canonical string }{
	{"empty", "", ""},
	{"one line", "a\r\n", "a\r\n"},
	{"two lines", "a\r\nb\r\n", "a\r\nb\r\n"},
	{"an empty line", "\r\n", "\r\n"},
	{"empty lines", "\r\n\r\n", "\r\n\r\n"},
	{"header and body", "A: b\r\n\r\nc\r\n", "A: b\r\n\r\nc\r\n"},
	{"no end", "a", "a\r\n"},
	{"no end of the second line", "a\r\nb", "a\r\nb\r\n"},
	{"Unix", "a\n\nb\n", "a\r\n\r\nb\r\n"},
	{"Unix without an end", "a\nb", "a\r\nb\r\n"},
	{"Macintosh", "a\r\rb\r", "a\r\n\r\nb\r\n"},
	{"Macintosh without an end", "a\rb", "a\r\nb\r\n"},
	{"only LF", "\n", "\r\n"},
	{"only CR", "\r", "\r\n"},
	{"mixed", "a\nb\rc\r\nd", "a\r\nb\r\nc\r\nd\r\n"},
	{"mixed the other way", "a\r\nb\rc\nd\r", "a\r\nb\r\nc\r\nd\r\n"},
	{"LF CR", "a\n\rb", "a\r\n\r\nb\r\n"},
	{"CR CR LF", "a\r\r\nb", "a\r\n\r\nb\r\n"},
	{"CR LF LF", "a\r\n\nb", "a\r\n\r\nb\r\n"},
	{"CR LF CR", "a\r\n\rb", "a\r\n\r\nb\r\n"},
	{"CR CR CR LF LF", "\r\r\r\n\n", "\r\n\r\n\r\n\r\n"},
	{"a CR within a line", "a\rb\r\n", "a\r\nb\r\n"},
	{"LF first, CR last", "\na\r", "\r\na\r\n"},
	{"as many CRs as LFs, apart", "a\rb\r\n\nc\r\n", "a\r\nb\r\n\r\nc\r\n"},
	{"as many CRs as LFs, apart and inside", "a\rb\r\nc\nd\r\n", "a\r\nb\r\nc\r\nd\r\n"},
	{"a dot", ".", ".\r\n"},
	{"a dot in the first line only", ".a\r\nb\r\n", ".a\r\nb\r\n"},
	{"a dot in the middle", "a\r\n.b\r\nc\r\n", "a\r\n.b\r\nc\r\n"},
	{"a dot and no more, in the ways of smugglers", "a\n.\r\nb\r\n.\nc\r.\rd\n.\ne\r\n.\r\n",
		"a\r\n.\r\nb\r\n.\r\nc\r\n.\r\nd\r\n.\r\ne\r\n.\r\n"},
	{"dots first", ".a\r\n..b\r\n...\r\n", ".a\r\n..b\r\n...\r\n"},
	{"dots last", "a.\r\nb..\r\n", "a.\r\nb..\r\n"},
	{"dots after bare line ends", "a\n.b\r.c", "a\r\n.b\r\n.c\r\n"},
	{"octets", "\x00\xff\x80\r\n\x7f", "\x00\xff\x80\r\n\x7f\r\n"},
	// Line ends to Unicode, not to SMTP.
	{"NEL, LS, VT, FF", "a\u0085b\u2028c\vd\fe\r\n", "a\u0085b\u2028c\vd\fe\r\n"},
}

// cuts calls f with all ways to cut s into three, empty pieces included.
func cuts(s string, f func(pieces ...[]byte)) {
	for i := range len(s) + 1 {
		for j := i; j <= len(s); j++ {
			f([]byte(s[:i]), []byte(s[i:j]), []byte(s[j:]))
		}
	}
}

func TestCanonical(t *testing.T) {
	for _, tt := range contents {
		if got, want := Canonical([]byte(tt.raw)), tt.raw == tt.canonical; got != want {
			t.Errorf("%s: Canonical(%q) = %t", tt.name, tt.raw, got)
		}
		if !Canonical([]byte(tt.canonical)) {
			t.Errorf("%s: Canonical(%q) = false", tt.name, tt.canonical)
		}
	}
}

// Survey saves a content the Repairer and the Stuffer, so it must not overlook
// the one line that needs them.
func TestSurvey(t *testing.T) {
	for _, tt := range contents {
		canonical, dots := Survey([]byte(tt.raw))
		want := strings.HasPrefix(tt.raw, ".") || strings.Contains(tt.raw, "\n.")
		if canonical != (tt.raw == tt.canonical) || canonical && dots != want {
			t.Errorf("%s: Survey(%q) = %t, %t", tt.name, tt.raw, canonical, dots)
		}
	}
}

// Idle decides whether canonical lines may pass the Repairer by: neither in the
// middle of a line, nor while the LF of a CR that was read may follow.
func TestRepairerIsIdle(t *testing.T) {
	var r Repairer
	for _, step := range []struct {
		src  string
		idle bool
	}{{"", true}, {"a", false}, {"", false}, {"\r", false}, {"", false}, {"\n", true}, {"a\r\n", true}, {"\r", false},
		{"b\n", true}, {"c\n.", false}} {
		r.Append(nil, []byte(step.src))
		if r.Idle() != step.idle {
			t.Errorf("behind %q: Idle() = %t", step.src, r.Idle())
		}
	}
	if r.Finish(nil); !r.Idle() {
		t.Error("not idle at the beginning of the next content")
	}
}

func TestRepairer(t *testing.T) {
	for _, tt := range contents {
		cuts(tt.raw, func(pieces ...[]byte) {
			var r Repairer
			// Used twice: Finish leaves it at the beginning of the next content.
			for range 2 {
				got := []byte("x")
				for _, p := range pieces {
					got = r.Append(got, p)
				}
				if got = r.Finish(got); string(got) != "x"+tt.canonical {
					t.Fatalf("%s, cut %q: %q, want %q behind x", tt.name, pieces, got, tt.canonical)
				}
			}
		})
	}
}

// What Append gave is final: a stream is sent on before the next piece is read.
func TestRepairerEndsNoLineLater(t *testing.T) {
	var r Repairer
	for _, step := range []struct{ src, want string }{
		{"a\r", "a\r\n"}, {"", ""}, {"\n", ""}, {"\n", "\r\n"}, {"b\r", "b\r\n"}, {"c", "c"},
	} {
		if got := string(r.Append(nil, []byte(step.src))); got != step.want {
			t.Errorf("Append(%q) = %q, want %q", step.src, got, step.want)
		}
	}
	if got := string(r.Finish(nil)); got != "\r\n" {
		t.Errorf("Finish() = %q", got)
	}
}

func TestRepairerLeavesItsSourceAlone(t *testing.T) {
	src := []byte("a\nb\r\nc\rd\n.")
	was := bytes.Clone(src)
	var r Repairer
	r.Finish(r.Append(nil, src))
	if !bytes.Equal(src, was) {
		t.Errorf("%q became %q", was, src)
	}
}

func TestStuffer(t *testing.T) {
	for _, tt := range []struct{ canonical, stuffed string }{
		{"", ""},
		{"a\r\n", "a\r\n"},
		{"\r\n", "\r\n"},
		// RFC 5321 §4.5.2.
		{".\r\n", "..\r\n"},
		{"..\r\n", "...\r\n"},
		{".a\r\n", "..a\r\n"},
		{"a\r\n.\r\nb\r\n", "a\r\n..\r\nb\r\n"},
		{".\r\n.\r\n.\r\n", "..\r\n..\r\n..\r\n"},
		{"a\r\n.b\r\n..c\r\n", "a\r\n..b\r\n...c\r\n"},
		{"a.\r\n", "a.\r\n"},
		{"a.b\r\n", "a.b\r\n"},
		{" .\r\n", " .\r\n"},
		{"\r\n\r\n.\r\n", "\r\n\r\n..\r\n"},
		{"a\r\n.", "a\r\n.."},
	} {
		cuts(tt.canonical, func(pieces ...[]byte) {
			var s Stuffer
			got := []byte(".")
			for _, p := range pieces {
				got = s.Append(got, p)
			}
			if string(got) != "."+tt.stuffed {
				t.Fatalf("cut %q: %q, want %q behind a dot", pieces, got, tt.stuffed)
			}
		})
	}
}

// dotReader is a server's reading of what follows 354 (RFC 5321 §4.5.2), by the
// line and with nothing of ours in it. It gives the content and what is left
// behind the terminator, and wants every line ended by CRLF.
func dotReader(t *testing.T, wire string) (content, rest string) {
	t.Helper()
	for {
		line, rest, ok := strings.Cut(wire, "\r\n")
		switch {
		case !ok:
			t.Fatalf("no terminator: %q is left", wire)
		case strings.ContainsAny(line, "\r\n"):
			t.Fatalf("a bare CR or LF in %q", line)
		case line == ".":
			return content, rest
		}
		content += strings.TrimPrefix(line, ".") + "\r\n"
		wire = rest
	}
}

func TestServerReadsWhatWasMeant(t *testing.T) {
	for _, tt := range contents {
		var r Repairer
		var s Stuffer
		wire := s.Append(nil, r.Finish(r.Append(nil, []byte(tt.raw))))
		got, rest := dotReader(t, string(wire)+Terminator+"QUIT\r\n")
		if got != tt.canonical || rest != "QUIT\r\n" {
			t.Errorf("%s: read as %q, and then %q", tt.name, got, rest)
		}
	}
}

func TestHeaderASCII(t *testing.T) {
	long := strings.Repeat("A: b\r\n", 1000)
	for _, tt := range []struct {
		canonical string
		want      bool
	}{
		{"", true},
		{"A: b\r\n\r\nc\r\n", true},
		{"A: é\r\n\r\nc\r\n", false},
		{"A: b\r\nC:\r\n é\r\n\r\nc\r\n", false},
		{"A: b\r\n\r\né\r\n", true},
		{"A: b\r\n\r\nc\r\n\r\né\r\n", true},
		{"A: b\r\n \r\nC: é\r\n\r\n", false}, // a line of a space is folding, no end
		{"A: b\r\n\r\né\r\n\r\nc\r\n", true},
		{"\r\né\r\n", true},
		{"\r\n\r\né\r\n", true},
		{"é\r\n\r\n", false},
		{"A: \x80\r\n\r\n", false},
		{"A: \x7f\x00\r\n\r\n", true},
		// As far as it is there.
		{"A: b", true},
		{"A: b\r\n", true},
		{"A: b\r\n\xc3", false},
		{long + "A: é", false},
		{long + "\r\né", true},
	} {
		if got := HeaderASCII([]byte(tt.canonical)); got != tt.want {
			t.Errorf("HeaderASCII(%.50q) = %t", tt.canonical, got)
		}
	}
}
