package smtptest

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"
)

// script is a client whose every octet is known beforehand, and comes in pieces
// of one size.
type script struct {
	net.Conn // nil: nothing else is called
	said     []byte
	piece    int
	heard    bytes.Buffer
}

func (s *script) Read(p []byte) (int, error) {
	if len(s.said) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), s.piece)], s.said)
	s.said = s.said[n:]
	return n, nil
}

func (s *script) Write(p []byte) (int, error)      { return s.heard.Write(p) }
func (s *script) Close() error                     { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }
func (s *script) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv6loopback, Port: 1} }

// play lets a server hear what a client says, and returns the replies.
func play(s *Server, said []byte, piece int) string {
	nc := &script{said: said, piece: piece}
	c := &conn{srv: s, number: s.count(), peer: nc.RemoteAddr()}
	c.use(nc)
	s.admit(c)
	c.serve()
	return nc.heard.String()
}

// newPlayed returns a server that listens nowhere.
func newPlayed() *Server {
	s := NewUnstartedServer()
	s.Users = map[string]string{"testuser": "testpass"}
	s.AnyPipelining = true // all is said at once, whatever the replies are
	s.setDefaults()
	return s
}

// A connection that Accept gave while the server was being closed is not let in:
// Close would never hear of it.
func TestLateConnection(t *testing.T) {
	s := newPlayed()
	s.shutDoor()
	if s.admit(&conn{srv: s, number: s.count()}) {
		t.Error("let in")
	}
}

var replyLine = regexp.MustCompile(`^[2-5][0-9][0-9][ -][\x20-\x7e]*\r$`)

// FuzzDialogue: whatever a client says, and in whatever pieces, the server gives
// the same well-formed replies, and takes the same messages.
func FuzzDialogue(f *testing.F) {
	for _, seed := range []string{
		"EHLO x\r\nMAIL FROM:<a@b> SIZE=1\r\nRCPT TO:<c@d>\r\nDATA\r\n..a\r\n.\r\nQUIT\r\n",
		"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<\"q>\"@d> NOTIFY=NEVER\r\nBDAT 3\r\nabcBDAT 2 LAST\r\ndeRSET\r\n",
		"EHLO x\r\nAUTH PLAIN AHRlc3R1c2VyAHRlc3RwYXNz\r\nAUTH LOGIN\r\n*\r\nSTAT\r\nNOOP\nHELP\r\n",
		"HELO x\r\nBDAT 9\r\nMAIL FROM\r\nRSET\r\nVRFY\r\n\r\n\x00\xff\r\n",
		"EHLO [IPv6:::1]\r\nMAIL FROM:<\xc3\xb6@\xc3\xb6> SMTPUTF8 ENVID=+2B\r\n" +
			"RCPT TO:<POSTMASTER> ORCPT=rfc822;x\r\nDATA\r\n.\r\r\n.\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		whole, pieces := newPlayed(), newPlayed()
		heard := play(whole, said, inputSize)
		if again := play(pieces, said, 3); again != heard {
			t.Fatalf("in one piece:\n%q\nin pieces:\n%q", heard, again)
		}
		for line := range strings.SplitSeq(strings.TrimSuffix(heard, "\n"), "\n") {
			if !replyLine.MatchString(line) {
				t.Errorf("no reply: %q", line)
			}
		}
		checkTaken(t, whole, pieces, said)
	})
}

// checkTaken demands that all that was taken was said.
func checkTaken(t *testing.T, whole, pieces *Server, said []byte) {
	t.Helper()
	a, b := whole.Messages(), pieces.Messages()
	if len(a) != len(b) {
		t.Fatalf("%d messages in one piece, %d in pieces", len(a), len(b))
	}
	for i, m := range a {
		if fmt.Sprintf("%+v", *m) != fmt.Sprintf("%+v", *b[i]) {
			t.Errorf("in one piece %+v, in pieces %+v", m, b[i])
		}
		for _, address := range append(m.To, m.From) {
			if strings.ContainsAny(address, "\r\n\x00") || !bytes.Contains(said, []byte(address+">")) {
				t.Errorf("took the address %q", address)
			}
		}
		if len(m.To) == 0 || len(m.To) != len(m.RcptParams) {
			t.Errorf("took %+v", m)
		}
	}
}

// FuzzDots: the reader of the server agrees, for every octet and every division
// into pieces, with one that sees the whole at once.
func FuzzDots(f *testing.F) {
	for _, seed := range []string{".\r\n", "a\r\n.\r\nrest", "..\r\n.\r\n", "a\n.\r\nb\r.\r\n.\r\n", "\r\n.\r\r\n.\r\n",
		"a\r\n.b\r\r\n.\r\n", "no end\r\n."} {
		f.Add([]byte(seed), uint8(1))
	}
	f.Fuzz(func(t *testing.T, wire []byte, piece uint8) {
		want, used, ends := readWhole(wire)
		var got []byte
		var d dotReader
		at, done := 0, false
		for at < len(wire) && !done {
			end := min(len(wire), at+max(1, int(piece)))
			for at < end && !done {
				out, n, last := d.next(wire[at:end])
				got, at, done = append(got, out...), at+n, last
			}
		}
		if done != ends || done && (at != used || !bytes.Equal(got, want)) {
			t.Errorf("%q in pieces of %d: content %q, %d octets, end %v; want %q, %d, %v", wire, piece, got, at, done,
				want, used, ends)
		}
	})
}

// readWhole is RFC 5321 §4.5.2 word by word: split at CRLF, end at the line that
// is a dot, take the first dot off every other.
func readWhole(wire []byte) (content []byte, used int, ends bool) {
	for {
		line, rest, ok := bytes.Cut(wire[used:], []byte("\r\n"))
		if !ok {
			return nil, 0, false
		}
		used = len(wire) - len(rest)
		if string(line) == "." {
			return content, used, true
		}
		content = append(content, bytes.TrimPrefix(line, []byte("."))...)
		content = append(content, "\r\n"...)
	}
}

// FuzzChunks: what is sent in chunks, cut anywhere, is what is taken, and what
// stands behind it is a command again.
func FuzzChunks(f *testing.F) {
	f.Add([]byte("a\r\n.\r\nQUIT\r\n"), uint16(3), uint16(2), uint8(1))
	f.Fuzz(func(t *testing.T, content []byte, first, second uint16, piece uint8) {
		a := min(int(first), len(content))
		b := a + min(int(second), len(content)-a)
		said := fmt.Appendf(nil, "EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<b@a>\r\nBDAT %d\r\n%sBDAT %d\r\n"+
			"%sBDAT %d LAST\r\n%sQUIT\r\n",
			a, content[:a], b-a, content[a:b], len(content)-b, content[b:])
		s := newPlayed()
		heard := play(s, said, max(1, int(piece)))
		if !strings.HasSuffix(heard, "\r\n221 2.0.0 localhost says goodbye\r\n") {
			t.Errorf("out of step: %q", heard)
		}
		if got := s.Messages(); len(got) != 1 || !bytes.Equal(got[0].Content, content) {
			t.Errorf("sent %q in chunks of %d, %d and %d; taken: %v", content, a, b-a, len(content)-b, got)
		}
	})
}

// FuzzPath: no address that is let through can end a line, a path or a string
// early, or is one that the same rules refuse when they see it again.
func FuzzPath(f *testing.F) {
	for _, seed := range []string{"<a@b> x", "<>", `<"a>\"b"@c.d>`, "<a@[127.0.0.1]>", "<@a:b@c>", "<\xc3\xb6@b>",
		"<a@b"} {
		f.Add([]byte(seed), true)
	}
	f.Fuzz(func(t *testing.T, b []byte, utf8ok bool) {
		path, rest, ok := cutPath(b)
		if !ok {
			return
		}
		if joined := "<" + string(path) + ">" + string(rest); joined != string(b) {
			t.Fatalf("%q was cut into %q and %q", b, path, rest)
		}
		if fault := pathFault(path, utf8ok); fault != "" {
			if !positive(fault) && fault[0] != '5' {
				t.Errorf("%q: %q", path, fault)
			}
			return
		}
		again, tail, ok := cutPath([]byte("<" + string(path) + "> SIZE=1"))
		if !ok || !bytes.Equal(again, path) || string(tail) != " SIZE=1" || bytes.ContainsAny(path, "\r\n\x00") {
			t.Errorf("let through: %q", path)
		}
	})
}
