package wire

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/postrider/postrider/internal/text"
)

// A part is what one call of a reader's Read gives.
type part struct {
	data string
	err  error
}

// script is a reader that gives its parts one after the other. A Read beyond the
// last one is a Read that would have blocked for ever.
type script struct {
	t     *testing.T
	parts []part
}

func (s *script) Read(b []byte) (int, error) {
	if len(s.parts) == 0 {
		s.t.Error("Read waits for octets that nobody needs")
		return 0, io.EOF
	}
	p := &s.parts[0]
	n := copy(b, p.data)
	if p.data = p.data[n:]; p.data != "" {
		return n, nil
	}
	err := p.err
	s.parts = s.parts[1:]
	return n, err
}

// says is a server that says data and then nothing more.
func says(t *testing.T, data string) *script { return &script{t, []part{{data, nil}}} }

// Facts are those of docs/parity.md.
func TestReply(t *testing.T) {
	line := "250 " + strings.Repeat("x", MaxReplyLine-6) + "\r\n"
	half := "250-" + strings.Repeat("x", MaxReplyLine-6) + "\r\n"
	for _, tt := range []struct {
		name, wire string
		code       int
		text       string
	}{
		{"one line", "250 ok\r\n", 250, "ok"},
		{"the lowest code", "200 a\r\n", 200, "a"},
		{"the highest code", "599 a\r\n", 599, "a"},
		{"three lines", "250-one\r\n250-two\r\n250 three\r\n", 250, "one\ntwo\nthree"},
		{"fact 89", "550-a\r\n550-b\r\n550 c\r\n", 550, "a\nb\nc"},
		{"fact 89, stripped", "550- a\t \r\n550 \t b\r\r\n", 550, "a\nb"},
		{"text that begins with a number", "250-234 a\r\n250 550 b\r\n", 250, "234 a\n550 b"},
		{"text that begins with a hyphen", "250--a\r\n250 -b\r\n", 250, "-a\n-b"},
		// RFC 5321 §4.2.1: the text may be missing, and its space with it.
		{"no text", "250 \r\n", 250, ""},
		{"no text and no space", "354\r\n", 354, ""},
		{"no text in the middle", "250-a\r\n250-\r\n250 b\r\n", 250, "a\n\nb"},
		{"no text at the end", "250-a\r\n250\r\n", 250, "a\n"},
		{"bare LF", "250 ok\n", 250, "ok"},
		{"bare LF in the middle", "250-a\n250-b\r\n250 c\n", 250, "a\nb\nc"},
		{"bare LF, no text", "250\n", 250, ""},
		{"a CR in the text", "250 a\rb\r\n", 250, "a\rb"},
		{"octets that are no text", "250 a\x00\x1b[31m\xff\r\n", 250, "a\x00\x1b[31m\xff"},
		{"UTF-8", "550 Müßiggang\r\n", 550, "Müßiggang"},
		{"the longest line", line, 250, line[4 : len(line)-2]},
		{"the longest reply", strings.Repeat(half, MaxReply/len(half)-1) + line, 250,
			strings.Repeat(half[4:len(half)-2]+"\n", MaxReply/len(half)-1) + line[4:len(line)-2]},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for how, r := range map[string]io.Reader{
				"at once":             strings.NewReader(tt.wire),
				"octet by octet":      iotest.OneByteReader(strings.NewReader(tt.wire)),
				"the end with an EOF": iotest.DataErrReader(strings.NewReader(tt.wire)),
			} {
				in := NewReplyReader(r)
				if got, err := in.Read(); err != nil || got != (Reply{tt.code, tt.text}) {
					t.Errorf("%s: Read() = %d %.200q, %v; want %d %.200q", how, got.Code, got.Text, err, tt.code,
						tt.text)
				}
				if got, err := in.Read(); err != io.EOF || got != (Reply{}) || in.Buffered() != 0 {
					t.Errorf("%s: behind it Read() = %d %.200q, %v, %d octets left", how, got.Code, got.Text, err,
						in.Buffered())
				}
			}
		})
	}
}

func TestNoReply(t *testing.T) {
	long := strings.Repeat("x", MaxReplyLine)
	for _, tt := range []struct{ name, wire string }{
		{"nothing", "\r\n"},
		{"only LF", "\n"},
		{"words", "hello\r\n"},
		{"two digits", "25\r\n"},
		{"two digits and a space", "25 0\r\n"},
		{"four digits", "2500 a\r\n"},
		{"tab", "250\ta\r\n"},
		{"underscore", "250_a\r\n"},
		{"space first", " 250 a\r\n"},
		{"sign", "-250 a\r\n"},
		{"1yz is gone since RFC 2821", "150 a\r\n"},
		{"6yz", "600 a\r\n"},
		{"0yz", "050 a\r\n"},
		{"a letter for a digit", "2a0 x\r\n"},
		{"a letter for the last digit", "25a x\r\n"},
		{"digits of another script", "25٠ a\r\n"},
		{"HTTP", "HTTP/1.1 400 Bad Request\r\n"},
		{"SSH", "SSH-2.0-OpenSSH_9.2p1\r\n"},
		{"POP3", "+OK ready\r\n"},
		{"IMAP", "* OK ready\r\n"},
		{"a TLS alert", "\x15\x03\x01\x00\x02\x02\x0a"},
		{"garbage in the middle", "250-a\r\nb\r\n"},
		{"an empty line in the middle", "250-a\r\n\r\n"},
		{"another code at the end", "250-a\r\n550 b\r\n"},
		{"another code in the middle", "250-a\r\n251-b\r\n"},
		{"a line too long", "250 " + long[:MaxReplyLine-5] + "\r\n"},
		{"a line too long, bare LF", "250 " + long[:MaxReplyLine-4] + "\n"},
		{"a line without an end", "250 " + long[:MaxReplyLine-4]},
		{"a line too long in the middle", "250-a\r\n250-" + long + "\r\n"},
		{"a line too long at the end", "250-a\r\n250 " + long[:MaxReplyLine-5] + "\r\n"},
		{"a line without an end in the middle", "250-a\r\n250-" + long[:MaxReplyLine-4]},
		{"a reply too long", strings.Repeat("250-"+long[:1018]+"\r\n", MaxReply/1024)},
		{"a reply too long, cut in a line", strings.Repeat("250-"+long[:1000]+"\r\n", MaxReply/1006+1)[:MaxReply]},
		{"a reply too long of empty lines", strings.Repeat("250-\n", MaxReply/5+1)[:MaxReply]},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, r := range []io.Reader{says(t, tt.wire), iotest.OneByteReader(says(t, tt.wire))} {
				in := NewReplyReader(r)
				_, err := in.Read()
				if !errors.Is(err, ErrSyntax) {
					t.Fatalf("Read() = %v, want an ErrSyntax", err)
				}
				// It goes to an operator: short, and nothing raw in it.
				if s := err.Error(); len(s) > 500 || text.Printable(s) != s {
					t.Errorf("not fit for a terminal: %d octets, %.100q", len(s), s)
				}
			}
		})
	}
}

// What the server said has to be in the error: it tells an operator that this is
// no SMTP port.
func TestNoReplyIsQuoted(t *testing.T) {
	for wire, want := range map[string]string{
		"SSH-2.0-OpenSSH_9.2p1\r\n":                                  `"SSH-2.0-OpenSSH_9.2p1"`,
		"\x15\x03\x01 \"\r\n":                                        `"\x15\x03\x01 \""`,
		strings.Repeat("é", 999) + "\r\n":                            `"` + strings.Repeat(`\u00e9`, 40) + `"`,
		"250-a\r\n550 b\r\n":                                         "code 550 in a reply that began with 250",
		"250-a\r\n250-" + strings.Repeat("x", MaxReplyLine) + "\r\n": "a line of more than 4096 octets",
		strings.Repeat("x", MaxReplyLine):                            "a line of more than 4096 octets",
		strings.Repeat("250-a\r\n", 9999):                            "more than 65536 octets in one reply",
	} {
		if _, err := NewReplyReader(says(t, wire)).Read(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Read() of %.50q = %v, want %s in it", wire, err, want)
		}
	}
}

// Not only the reply is bounded, but what is held of it.
func TestReplyTakesNoMoreThanItsBound(t *testing.T) {
	const plenty = 1 << 20
	src := &io.LimitedReader{R: &endless{data: []byte("250-a\r\n")}, N: plenty}
	if _, err := NewReplyReader(src).Read(); !errors.Is(err, ErrSyntax) {
		t.Errorf("Read() = %v, want an ErrSyntax", err)
	}
	if taken := plenty - src.N; taken > MaxReply {
		t.Errorf("%d octets were taken from the network", taken)
	}
}

// The engine arms a deadline per command: one that passes while half a reply is
// there must not lose that half.
func TestDeadlineInTheMiddle(t *testing.T) {
	const wire = "250-one\r\n250 two\r\n"
	for k := range wire {
		late := part{"", os.ErrDeadlineExceeded}
		in := NewReplyReader(&script{t, []part{{wire[:k], nil}, late, late, {wire[k:] + "354\r\n", nil}}})
		for range 2 {
			if got, err := in.Read(); err != os.ErrDeadlineExceeded || got != (Reply{}) {
				t.Fatalf("cut at %d: Read() = %v, %v", k, got, err)
			}
			if in.Buffered() != k || in.Ready() {
				t.Fatalf("cut at %d: %d octets buffered, ready %t", k, in.Buffered(), in.Ready())
			}
		}
		if got, err := in.Read(); err != nil || got != (Reply{250, "one\ntwo"}) {
			t.Errorf("cut at %d: Read() = %v, %v", k, got, err)
		}
		if got, err := in.Read(); err != nil || got != (Reply{354, ""}) {
			t.Errorf("cut at %d: the next Read() = %v, %v", k, got, err)
		}
	}
}

func TestEndInTheMiddle(t *testing.T) {
	const wire = "250-one\r\n250 two\r\n"
	for k := range wire {
		for end, want := range map[error]error{io.EOF: io.ErrUnexpectedEOF, net.ErrClosed: net.ErrClosed} {
			if k == 0 {
				want = end
			}
			in := NewReplyReader(&script{t, []part{{wire[:k], nil}, {"", end}}})
			if got, err := in.Read(); err != want || got != (Reply{}) {
				t.Errorf("%v after %d octets: Read() = %v, %v; want %v", end, k, got, err, want)
			}
		}
	}
}

func TestReaderThatGivesNothing(t *testing.T) {
	if _, err := NewReplyReader(nothing{}).Read(); err != io.ErrNoProgress {
		t.Errorf("Read() = %v, want io.ErrNoProgress", err)
	}
}

type nothing struct{}

func (nothing) Read([]byte) (int, error) { return 0, nil }

// Replies that came together are all there: Ready says so, and Read does not go
// to the network for them.
func TestRepliesThatCameTogether(t *testing.T) {
	in := NewReplyReader(says(t, "250 a\r\n250-b\r\n250 c\r\n421\r\nrubbish\r\n250-d\r\n25"))
	if in.Ready() || in.Buffered() != 0 {
		t.Errorf("before the first Read: ready %t, %d octets", in.Ready(), in.Buffered())
	}
	for i, want := range []Reply{{250, "a"}, {250, "b\nc"}, {421, ""}} {
		if i > 0 && !in.Ready() {
			t.Errorf("reply %d is there and not ready", i)
		}
		if got, err := in.Read(); err != nil || got != want {
			t.Errorf("Read() = %v, %v; want %v", got, err, want)
		}
	}
	if !in.Ready() {
		t.Error("what is no reply would be waited for")
	}
	if _, err := in.Read(); !errors.Is(err, ErrSyntax) {
		t.Errorf("Read() = %v, want an ErrSyntax", err)
	}
	if in.Ready() || in.Buffered() != len("250-d\r\n25") {
		t.Errorf("half a reply: ready %t, %d octets", in.Ready(), in.Buffered())
	}
}

func TestRepliesOutliveTheBuffer(t *testing.T) {
	in := NewReplyReader(strings.NewReader(strings.Repeat("250 a\r\n", 2000) + "550-b\r\n550 c\r\n" +
		strings.Repeat("250 d\r\n", 2000)))
	var got []Reply
	for {
		r, err := in.Read()
		if err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		got = append(got, r)
	}
	if len(got) != 4001 || got[0] != (Reply{250, "a"}) || got[2000] != (Reply{550, "b\nc"}) ||
		got[4000] != (Reply{250, "d"}) {
		t.Errorf("%d replies, %v, %v, %v", len(got), got[0], got[2000], got[4000])
	}
}

// A long reply must not take the room, or the turn, of the one after it.
func TestReplyAfterALongOne(t *testing.T) {
	long := strings.Repeat("250-"+strings.Repeat("x", 1000)+"\r\n", 60) + "250 y\r\n"
	in := NewReplyReader(iotest.HalfReader(strings.NewReader(long + "250 a\r\n" + long + "421 b\r\n")))
	for _, want := range []string{"y", "a", "y", "b"} {
		if got, err := in.Read(); err != nil || !strings.HasSuffix(got.Text, want) {
			t.Fatalf("Read() = %.50q, %v; want %q at its end", got.Text, err, want)
		}
	}
}

// A server says the same few things over and over: to each recipient of each
// message of a mailing, say.
func TestEqualRepliesCostNothing(t *testing.T) {
	said := []Reply{{250, "ok"}, {250, "2.1.5 recipient ok"}, {354, "ok"}, {550, "5.1.1 no such user"}}
	var wire string
	for _, r := range said {
		wire += fmt.Sprintf("%d %s\r\n", r.Code, r.Text)
	}
	in := NewReplyReader(&endless{data: []byte(wire)})
	if n := testing.AllocsPerRun(100, func() {
		for _, want := range said {
			if got, err := in.Read(); err != nil || got != want {
				t.Fatalf("Read() = %v, %v; want %v", got, err, want)
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations for replies that were said before", n)
	}
}

// Remembering must not mix up what is new.
func TestRepliesThatDiffer(t *testing.T) {
	var wire string
	for i := range 1000 {
		wire += fmt.Sprintf("%d queued as %d\r\n", 200+i%7, i/3)
	}
	in := NewReplyReader(strings.NewReader(wire))
	for i := range 1000 {
		want := Reply{200 + i%7, fmt.Sprintf("queued as %d", i/3)}
		if got, err := in.Read(); err != nil || got != want {
			t.Fatalf("Read() = %v, %v; want %v", got, err, want)
		}
	}
}

func TestEnhanced(t *testing.T) {
	for _, tt := range []struct {
		code int
		text string
		want [3]int
	}{
		{250, "2.1.5 recipient ok", [3]int{2, 1, 5}},
		{421, "4.4.2 idle", [3]int{4, 4, 2}},
		{550, "5.1.1 no such user", [3]int{5, 1, 1}},
		{550, "5.1.1", [3]int{5, 1, 1}},
		{550, "5.7.999 x", [3]int{5, 7, 999}},
		{550, "5.123.456", [3]int{5, 123, 456}},
		{550, "5.123.456 x", [3]int{5, 123, 456}},
		{550, "5.123.4567 x", [3]int{}},
		{550, "5.123.456.7 x", [3]int{}},
		{550, "5.1.1x a b c", [3]int{}},
		{550, "5.0.0 x", [3]int{5, 0, 0}},
		{550, "5.1.1\nno such user", [3]int{5, 1, 1}},
		{550, "5.1.1 no\n5.1.1 such user", [3]int{5, 1, 1}},
		// RFC 2034 §4: the class is the reply's; there is none for 3yz.
		{550, "4.1.1 x", [3]int{}},
		{250, "5.1.1 x", [3]int{}},
		{421, "2.0.0 x", [3]int{}},
		{354, "3.0.0 go on", [3]int{}},
		{354, "2.0.0 go on", [3]int{}},
		// RFC 3463 §2: class of one digit, two numbers of one to three, no zero before them.
		{550, "5.1.1000 x", [3]int{}},
		{550, "5.01.1 x", [3]int{}},
		{550, "5.1.00 x", [3]int{}},
		{550, "05.1.1 x", [3]int{}},
		{550, "55.1.1 x", [3]int{}},
		{550, "5.1 x", [3]int{}},
		{550, "5.1. x", [3]int{}},
		{550, "5..1 x", [3]int{}},
		{550, "5.1.1.1 x", [3]int{}},
		{550, "5.1.1, x", [3]int{}},
		{550, "5.-1.1 x", [3]int{}},
		{550, "5.+1.1 x", [3]int{}},
		{550, "5.1.x x", [3]int{}},
		{550, "5.1.١ x", [3]int{}},
		{550, "x 5.1.1", [3]int{}},
		{550, "x\n5.1.1 y", [3]int{}},
		{550, "", [3]int{}},
		{0, "", [3]int{}},
	} {
		if got := (Reply{tt.code, tt.text}).Enhanced(); got != tt.want {
			t.Errorf("Enhanced() of %d %q = %v, want %v", tt.code, tt.text, got, tt.want)
		}
	}
}

// What is hidden is words: the codes decide, and stay, whatever they have in common with what is hidden.
func TestRedacted(t *testing.T) {
	for _, tt := range []struct{ text, secret, want string }{
		{"5.1.1 no secret here", "secret", "5.1.1 no * here"},
		{"5.1.1 5.1.1 it is", "5.1.1", "5.1.1 * it is"},
		{"5.1.1", "5.1.1", "5.1.1"},
		{"5.1.1\n5.1.1 two", "5.1.1", "5.1.1\n* two"},
		{"4.1.1 is of another class", "4.1.1", "* is of another class"},
		{"nothing", "secret", "nothing"},
		{"", "secret", ""},
	} {
		r := Reply{550, tt.text}.Redacted(func(s string) string { return strings.ReplaceAll(s, tt.secret, "*") })
		if r != (Reply{550, tt.want}) {
			t.Errorf("%q became %q; want %q", tt.text, r.Text, tt.want)
		}
	}
}

// A line that is no reply is shown without what is hidden, which comes before it is cut.
func TestSyntaxErrorsHide(t *testing.T) {
	secret := strings.Repeat("s", 40)
	for _, line := range []string{"what " + secret, strings.Repeat("x", 60) + secret} {
		r := NewReplyReader(strings.NewReader(line + "\r\n"))
		r.Hide = func(s string) string { return strings.ReplaceAll(s, secret, "*") }
		if _, err := r.Read(); !errors.Is(err, ErrSyntax) || strings.Contains(err.Error(), "sss") ||
			!strings.Contains(err.Error(), "*") {
			t.Errorf("%q: %v", line, err)
		}
	}
}
