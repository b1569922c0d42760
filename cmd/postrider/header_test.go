package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
)

// What is left of a message after its Bcc is removed, octet for octet, line ends
// and all (RFC 5322 §2.2.3, §3.6.3).
func TestWithoutBcc(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"LF", "To: a@x\nBcc: b@x\nSubject: s\n\nbody\n", "To: a@x\nSubject: s\n\nbody\n"},
		{"CRLF", "To: a@x\r\nBcc: b@x,\r\n\tc@x\r\n\r\nbody\r\n", "To: a@x\r\n\r\nbody\r\n"},
		{"mixed line ends stay mixed", "To: a@x\r\nBcc: b@x\nSubject: s\n\r\nbody", "To: a@x\r\nSubject: s\n\r\nbody"},
		{"Bcc first", "Bcc: b@x\nTo: a@x\n\n", "To: a@x\n\n"},
		{"Bcc last, without a line end", "To: a@x\nBcc: b@x", "To: a@x\n"},
		{"two of them", "bcc: b@x\nTo: a@x\nBCC: c@x\n\n", "To: a@x\n\n"},
		{"Resent-Bcc", "Resent-Bcc: b@x\nResent-To: a@x\n\n", "Resent-To: a@x\n\n"},
		{"blanks before the colon", "Bcc \t: b@x\nTo : a@x\n\n", "To : a@x\n\n"},
		{"in another field", "To: a@x\nSubject: s\n Bcc: no\n\n", "To: a@x\nSubject: s\n Bcc: no\n\n"},
		{"in the body", "To: a@x\n\nBcc: b@x\n", "To: a@x\n\nBcc: b@x\n"},
		{"eight bits", "To: a@x\nSubject: \xff\xfe\x00\n\n\x00\r\xff", "To: a@x\nSubject: \xff\xfe\x00\n\n\x00\r\xff"},
		{"no body", "To: a@x\n", "To: a@x\n"},
		{"no line end", "To: a@x", "To: a@x"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := bufio.NewReader(strings.NewReader(tt.in))
			h, err := readHeader(r)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(io.MultiReader(bytes.NewReader(withoutBcc(h)), r))
			if err != nil || string(got) != tt.want {
				t.Errorf("got %q, %v\nwant %q", got, err, tt.want)
			}
		})
	}
}

func TestHeaderRecipients(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     []string // nil: an error
	}{
		{"all three fields, each address once", "Cc: b@x\nTo: a@x, b@x\nBcc: c@x\n\n", []string{"b@x", "a@x", "c@x"}},
		{"display names", "To: Anne <a@x>, \"B, b\" <b@x>, c@x (Cris)\n\n", []string{"a@x", "b@x", "c@x"}},
		{"encoded words of any charset", "To: =?no-such?q?=FF?= <a@x>\n\n", []string{"a@x"}},
		{"groups", "To: g: a@x, B <b@x>;, undisclosed:;\n\n", []string{"a@x", "b@x"}},
		{"a group alone", "To: undisclosed:;\nBcc: a@x\n\n", []string{"a@x"}},
		{"folded", "To: a@x,\r\n\tb@x,\r\n c@x\r\n\r\n", []string{"a@x", "b@x", "c@x"}},
		{"quotes stay where they are needed", "To: \"a b\"@x, \"plain\"@x\n\n", []string{`"a b"@x`, "plain@x"}},
		{"not ASCII", "To: j\u00f6rg@k\u00f6ln.example\n\n", []string{"j\u00f6rg@k\u00f6ln.example"}},
		{"resent: only these", "To: a@x\nResent-Cc: b@x\nBcc: c@x\nResent-Bcc: d@x\n\n", []string{"b@x", "d@x"}},
		{"empty fields", "To:\nCc: a@x\nBcc: \n\n", []string{"a@x"}},
		{"nobody", "From: a@x\nReply-To: b@x\n\nTo: c@x\n", nil},
		{"nobody to resend to", "To: a@x\nResent-To:\n\n", nil},
		{"no domain", "To: anne\n\n", nil},
		{"no field", "To: a@x\nwhat is this\n\n", nil},
		{"a blank in the name", "To me: a@x\n\n", nil},
		{"an mbox separator", "From anne Mon Jan 1\nTo: a@x\n\n", nil},
		{"a continuation of nothing", " To: a@x\n\n", nil},
		{"nothing", "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, err := readHeader(bufio.NewReader(strings.NewReader(tt.in)))
			var got []string
			if err == nil {
				got, err = headerRecipients(h)
			}
			if (err == nil) != (tt.want != nil) || !slices.Equal(got, tt.want) {
				t.Errorf("got %q, %v; want %q", got, err, tt.want)
			}
		})
	}
}

// An input that breaks off inside the header is no message.
func TestHeaderBreaksOff(t *testing.T) {
	broken := errors.New("broken")
	r := io.MultiReader(strings.NewReader("To: a@x\nSubj"), failingReader{broken})
	if h, err := readHeader(bufio.NewReader(r)); !errors.Is(err, broken) {
		t.Errorf("got %v, %v", h, err)
	}
}

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }
