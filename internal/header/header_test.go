package header

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// sections are what RFC 5322 has, and what stands in the files of real mail programs.
var sections = []struct {
	name, in string
	fields   []string // name, "=", value
	body     string
}{
	{"one field", "Subject: s\r\n\r\nbody\r\n", []string{"Subject=s"}, "body\r\n"},
	{"no body (§2.1)", "Subject: s\r\n", []string{"Subject=s"}, ""},
	{"no body and no line end", "Subject: s", []string{"Subject=s"}, ""},
	{"an empty body", "Subject: s\r\n\r\n", []string{"Subject=s"}, ""},
	{"no header", "\r\nSubject: no\r\n", nil, "Subject: no\r\n"},
	{"nothing", "", nil, ""},
	{"no value (obs-unstruct, §4.1)", "Subject:\r\n\r\n", []string{"Subject="}, ""},
	{"no blank behind the colon", "Subject:s\r\n\r\n", []string{"Subject=s"}, ""},
	{"colons in the value", "Subject: a: b\r\n\r\n", []string{"Subject=a: b"}, ""},
	{"folded (§2.2.3)", "To: a@x,\r\n\tb@x,\r\n c@x\r\nCc: d@x\r\n\r\n", []string{"To=a@x,\tb@x, c@x", "Cc=d@x"}, ""},
	{"folded to a line of blanks (obs-FWS, §4.2)", "Subject: a\r\n \t\r\n b\r\n\r\n", []string{"Subject=a \t b"}, ""},
	{"blanks before the colon (obs-optional, §4.5.8)", "Subject \t: s\r\n\r\n", []string{"Subject=s"}, ""},
	{"a field of that name in a fold", "Subject: s\r\n Bcc: no\r\n\r\n", []string{"Subject=s Bcc: no"}, ""},
	{"the same name twice", "Received: a\r\nReceived: b\r\n\r\n", []string{"Received=a", "Received=b"}, ""},
	{"LF", "To: a@x\nCc: b@x,\n c@x\n\nbody\n", []string{"To=a@x", "Cc=b@x, c@x"}, "body\n"},
	{"CR (RFC 5321 §2.3.8)", "To: a@x\rCc: b@x,\r c@x\r\rbody\r", []string{"To=a@x", "Cc=b@x, c@x"}, "body\r"},
	{"mixed line ends", "To: a@x\rCc: b@x\nBcc: c@x\r\n\nbody", []string{"To=a@x", "Cc=b@x", "Bcc=c@x"}, "body"},
	{"CR CR LF is two line ends on the wire", "To: a@x\r\r\nCc: b@x\r\n", []string{"To=a@x"}, "Cc: b@x\r\n"},
	{"CR at the end", "To: a@x\r", []string{"To=a@x"}, ""},
	{"UTF-8 (RFC 6532)", "Subject: gr\u00fc\u00dfe\r\n\r\n", []string{"Subject=gr\u00fc\u00dfe"}, ""},
	{"octets that are no text", "Subject: \x00\xff\xfe\x7f\r\n\r\n\x00\r\xff", []string{"Subject=\x00\xff\xfe\x7f"},
		"\x00\r\xff"},
	{"a name of octets above 127", "\xdcber: a\r\n\r\n", []string{"\xdcber=a"}, ""},
}

func listed(s Section) (all []string) {
	for _, f := range s {
		if f.Name != "" {
			all = append(all, f.Name+"="+f.Value())
		}
	}
	return all
}

func TestSections(t *testing.T) {
	for _, tt := range sections {
		t.Run(tt.name, func(t *testing.T) {
			s, body, err := Parse([]byte(tt.in))
			if err != nil || !slices.Equal(listed(s), tt.fields) || string(body) != tt.body {
				t.Errorf("Parse: %q, %q, %v; want %q, %q", listed(s), body, err, tt.fields, tt.body)
			}
			if got := string(s.Bytes()) + string(body); got != tt.in {
				t.Errorf("%q became %q", tt.in, got)
			}
			r := bufio.NewReader(iotest.OneByteReader(strings.NewReader(tt.in)))
			read, err := Read(r)
			rest, _ := io.ReadAll(r)
			if err != nil || !slices.Equal(listed(read), tt.fields) || string(rest) != tt.body {
				t.Errorf("Read: %q, %q, %v; want %q, %q", listed(read), rest, err, tt.fields, tt.body)
			}
			if n := Length([]byte(tt.in)); n != len(tt.in)-len(tt.body) {
				t.Errorf("Length is %d; the body begins at %d", n, len(tt.in)-len(tt.body))
			}
		})
	}
}

func TestWhatIsNoSection(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		line     int
		want     string
	}{
		{"no colon", "To: a@x\r\nHello\r\n\r\n", 2, "no header field"},
		{"no colon, and the end", "To: a@x\r\nHel", 2, "no header field"},
		{"no colon behind a bare CR", "To: a@x\rHello\r\n\r\n", 2, "no header field"},
		{"no name", ": value\r\n\r\n", 1, "no header field"},
		{"a name of blanks", "To: a@x\r\n\t: b\n: value\r\n\r\n", 3, "no header field"},
		{"a blank in the name", "To me: a@x\r\n\r\n", 1, "no header field"},
		{"an mbox separator", "From anne Mon Jan  1 00:00:00 2026\nTo: a@x\n\n", 1, "no header field"},
		{"a continuation of nothing", " To: a@x\r\n\r\n", 1, "continuation"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := Parse([]byte(tt.in))
			_, readErr := Read(bufio.NewReader(strings.NewReader(tt.in)))
			for _, err := range []error{err, readErr} {
				var e *Error
				if !errors.As(err, &e) || e.Line != tt.line || !strings.Contains(e.Error(), tt.want) {
					t.Errorf("got %v; want line %d, %s", err, tt.line, tt.want)
				}
			}
		})
	}
}

func TestLongestSection(t *testing.T) {
	field := func(n int) string { return "A: " + strings.Repeat("x", n-4) + "\n" }
	folded := field(500) + strings.Repeat(" "+strings.Repeat("x", 998)+"\n", 2000)
	for in, want := range map[string]bool{
		field(MaxLength): true, field(MaxLength + 1): false, folded: false, strings.Repeat("x", 2*MaxLength): false,
		field(500) + "\n" + strings.Repeat("x", 2*MaxLength): true,
	} {
		_, _, err := Parse([]byte(in))
		_, readErr := Read(bufio.NewReader(strings.NewReader(in)))
		for _, err := range []error{err, readErr} {
			var e *Error
			if (err == nil) != want || err != nil && (!errors.As(err, &e) || e.Line != 0) {
				t.Errorf("%d octets, beginning with %.10q: %v", len(in), in, err)
			}
		}
	}
}

// An input that breaks off inside the header is no message, and its error no fault of one.
func TestBreaksOff(t *testing.T) {
	broken := errors.New("broken")
	for _, in := range []string{"To: a@x\nSubj", "To: a@x\n", "To: a@x\r", ""} {
		r := io.MultiReader(strings.NewReader(in), iotest.ErrReader(broken))
		if s, err := Read(bufio.NewReader(r)); err != broken {
			t.Errorf("%q: %v, %v", in, s, err)
		}
	}
}

func TestHasAndWithout(t *testing.T) {
	s, _, err := Parse([]byte("bcc: b@x\r\nTo: a@x\r\nBCC \t: c@x,\r\n d@x\r\nResent-Bcc: e@x\r\n\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	if !s.Has("Bcc") || !s.Has("Cc", "TO") || s.Has("Cc") || s.Has() {
		t.Error("Has is wrong")
	}
	if got := string(s.Without("Bcc", "Resent-Bcc").Bytes()); got != "To: a@x\r\n\r\n" {
		t.Errorf("left is %q", got)
	}
	if !s.Has("Bcc") {
		t.Error("Without changed the section that it was asked of")
	}
}

// Fields must not share memory, or to append to one would overwrite the next.
func TestFieldsAreApart(t *testing.T) {
	s, _, _ := Parse([]byte("A: 1\nB: 2\n\n"))
	_ = append(s[0].Raw, "XX"...)
	if string(s.Bytes()) != "A: 1\nB: 2\n\n" {
		t.Errorf("%q", s.Bytes())
	}
}

func TestBegins(t *testing.T) {
	for in, want := range map[string]bool{
		"Subject: s\n": true, "Subject : s\r\n": true, "Subject:": true, "\r\nHello": true, "\nHello": true,
		"\rHello": true, "": true,
		"Hello\n": false, "Dear Anne: hello\n": false, "Gr\u00fc\u00dfe: s\n": false, ": s\n": false,
		" To: a\n": false, "Hello": false,
	} {
		if Begins([]byte(in)) != want {
			t.Errorf("%q: %v", in, !want)
		}
	}
}

func FuzzSection(f *testing.F) {
	for _, tt := range sections {
		f.Add([]byte(tt.in))
	}
	f.Add([]byte("From anne\nTo: a\n\n"))
	f.Fuzz(func(t *testing.T, message []byte) {
		s, body, err := Parse(message)
		r := bufio.NewReader(bytes.NewReader(message))
		read, readErr := Read(r)
		if (err == nil) != (readErr == nil) || err != nil && err.Error() != readErr.Error() {
			t.Fatalf("Parse: %v; Read: %v", err, readErr)
		}
		if err != nil {
			return
		}
		rest, _ := io.ReadAll(r)
		if string(rest) != string(body) || !slices.Equal(listed(read), listed(s)) {
			t.Errorf("Parse: %q, %q; Read: %q, %q", listed(s), body, listed(read), rest)
		}
		if got := append(s.Bytes(), body...); !bytes.Equal(got, message) {
			t.Errorf("%q became %q", message, got)
		}
		if Length(message) != len(message)-len(body) {
			t.Errorf("Length is %d, the body begins at %d", Length(message), len(message)-len(body))
		}
		for i, f := range s {
			if (f.Name == "") != isEmpty(f.Raw) || f.Name == "" && i < len(s)-1 {
				t.Errorf("field %d is %q", i, f.Raw)
			}
			if strings.ContainsAny(f.Name+f.Value(), "\r\n") {
				t.Errorf("field %d has a line end in %q: %q", i, f.Name, f.Value())
			}
		}
	})
}
