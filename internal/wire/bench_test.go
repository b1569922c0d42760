package wire

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// texts are the kinds of content that are met: clean as a MIME library writes
// it, with dots to stuff, with Unix line ends, and with bare CRs only.
var texts = []struct{ name, line string }{
	{"clean", strings.Repeat("x", 70) + "\r\n"},
	{"dots", strings.Repeat("x", 70) + "\r\n." + strings.Repeat("x", 69) + "\r\n"},
	{"unix", strings.Repeat("x", 70) + "\n"},
	{"bare CRs", "\r"},
}

// benchmarkContent runs f on every kind and size of content.
func benchmarkContent(b *testing.B, f func(b *testing.B, src []byte)) {
	for _, text := range texts {
		for _, size := range []int{1 << 10, 100 << 10, 10 << 20} {
			b.Run(fmt.Sprintf("%s/%dK", text.name, size>>10), func(b *testing.B) {
				src := []byte(strings.Repeat(text.line, size/len(text.line)))
				b.SetBytes(int64(len(src)))
				b.ReportAllocs()
				f(b, src)
			})
		}
	}
}

func BenchmarkSurvey(b *testing.B) {
	benchmarkContent(b, func(b *testing.B, src []byte) {
		for b.Loop() {
			Survey(src)
		}
	})
}

// block is how much of a content the engine repairs and stuffs at a time.
const block = 64 << 10

func BenchmarkRepairer(b *testing.B) {
	benchmarkContent(b, func(b *testing.B, src []byte) {
		dst := make([]byte, 0, 2*block)
		for b.Loop() {
			var r Repairer
			for rest := src; len(rest) > 0; rest = rest[min(block, len(rest)):] {
				dst = r.Append(dst[:0], rest[:min(block, len(rest))])
			}
			dst = r.Finish(dst)
		}
	})
}

func BenchmarkStuffer(b *testing.B) {
	benchmarkContent(b, func(b *testing.B, src []byte) {
		dst := make([]byte, 0, 2*block)
		for b.Loop() {
			var s Stuffer
			for rest := src; len(rest) > 0; rest = rest[min(block, len(rest)):] {
				dst = s.Append(dst[:0], rest[:min(block, len(rest))])
			}
		}
	})
}

// BenchmarkCopy is what Repairer and Stuffer cannot beat while they give a copy.
func BenchmarkCopy(b *testing.B) {
	benchmarkContent(b, func(b *testing.B, src []byte) {
		dst := make([]byte, 0, 2*block)
		for b.Loop() {
			for rest := src; len(rest) > 0; rest = rest[min(block, len(rest)):] {
				dst = append(dst[:0], rest[:min(block, len(rest))]...)
			}
		}
	})
}

func BenchmarkReplyReader(b *testing.B) {
	ehlo := strings.Join([]string{"250-mx.example.com", "250-PIPELINING", "250-SIZE 10240000", "250-STARTTLS",
		"250-AUTH PLAIN LOGIN",
		"250-ENHANCEDSTATUSCODES", "250-8BITMIME", "250-DSN", "250-SMTPUTF8", "250 CHUNKING"}, "\r\n") + "\r\n"
	var queueIDs string // more than are remembered
	for i := range 20 {
		queueIDs += fmt.Sprintf("250 2.0.0 Ok: queued as 4D2A%02d\r\n", i)
	}
	for _, bb := range []struct {
		name, wire string
		how        func(io.Reader) io.Reader
	}{
		{"the same reply", "250 2.1.5 Ok\r\n", nil},
		{"queue ids", queueIDs, nil},
		{"EHLO", ehlo, nil},
		{"64K of lines", strings.Repeat("250-\r\n", 10000) + "250 \r\n", nil},
		{"64K of lines octet by octet", strings.Repeat("250-\r\n", 10000) + "250 \r\n", iotest.OneByteReader},
	} {
		b.Run(bb.name, func(b *testing.B) {
			var src io.Reader = &endless{data: []byte(bb.wire)}
			if bb.how != nil {
				src = bb.how(src)
			}
			in := NewReplyReader(src)
			b.SetBytes(int64(len(bb.wire)))
			b.ReportAllocs()
			replies := bytes.Count([]byte("\r\n"+bb.wire), []byte("\r\n250 "))
			for b.Loop() {
				for range replies {
					if _, err := in.Read(); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

// endless says its data again and again.
type endless struct {
	data []byte
	at   int
}

func (e *endless) Read(b []byte) (int, error) {
	n := copy(b, e.data[e.at:])
	e.at = (e.at + n) % len(e.data)
	return n, nil
}

func BenchmarkEnvelope(b *testing.B) {
	dst := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		if err := CheckAddress("test-bounces+aperson=example.com@example.com"); err != nil {
			b.Fatal(err)
		}
		dst = AppendMail(dst[:0], "test-bounces+aperson=example.com@example.com",
			MailParams{Size: 12345, EightBit: true})
		dst = AppendRcpt(dst, "aperson@example.com", RcptParams{})
	}
}
