package smtptest_test

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/postrider/postrider/smtptest"
)

// blastWindow is how many transactions the blaster has under way.
const blastWindow = 64

// blaster sends transactions without looking at the replies, except to count
// them: what it reaches is the most that a client could get out of the server.
type blaster struct {
	nc    net.Conn
	group []byte // one window of transactions
	lines int    // replies to a transaction
	buf   []byte
}

func newBlaster(tb testing.TB, s *smtptest.Server, transaction string) *blaster {
	nc, err := net.Dial("tcp", s.Addr)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { nc.Close() })
	c := newRaw(tb, nc)
	c.expect("220")
	c.say("EHLO blaster.example")
	c.expect("250")
	return &blaster{
		nc: nc, buf: make([]byte, 64<<10),
		lines: strings.Count(transaction, "\r\n") - strings.Count(transaction, "\r\n\r\n"),
		group: bytes.Repeat([]byte(transaction), blastWindow),
	}
}

// window sends one group while the replies to the group before are read.
func (b *blaster) run(tb testing.TB, messages, replies int) {
	go func() {
		for sent := 0; sent < messages; sent += blastWindow {
			b.nc.Write(b.group)
		}
	}()
	for want := messages * replies; want > 0; {
		n, err := b.nc.Read(b.buf)
		if err != nil {
			tb.Error(err)
			return
		}
		want -= bytes.Count(b.buf[:n], []byte("\n"))
		if i := bytes.Index(b.buf[:n], []byte("\n5")); i >= 0 {
			tb.Fatalf("refused: %s", b.buf[i:n])
		}
	}
}

func bdatTransaction(size, recipients int) string {
	content := strings.Repeat("x", 70) + "\r\n"
	content = strings.Repeat(content, size/len(content)+1)[:size]
	return "MAIL FROM:<anne@example.com> BODY=8BITMIME SIZE=" + fmt.Sprint(size) + "\r\n" +
		strings.Repeat("RCPT TO:<bart@example.com>\r\n", recipients) +
		fmt.Sprintf("BDAT %d LAST\r\n", size) + content
}

// BenchmarkBDAT is the sink of a client that pipelines whole transactions.
func BenchmarkBDAT(b *testing.B) {
	for _, bm := range []struct{ size, recipients int }{{1 << 10, 1}, {4 << 10, 50}, {100 << 10, 1}} {
		b.Run(fmt.Sprintf("size=%d/rcpts=%d", bm.size, bm.recipients), func(b *testing.B) {
			s := smtptest.NewUnstartedServer()
			s.Discard = true
			s.Start()
			defer s.Close()
			bl := newBlaster(b, s, bdatTransaction(bm.size, bm.recipients))
			b.ReportAllocs()
			b.ResetTimer()
			n := (b.N + blastWindow - 1) / blastWindow * blastWindow
			bl.run(b, n, bm.recipients+2)
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "messages/s")
			if got := s.Commands(smtptest.Terminator); got != n {
				b.Errorf("%d messages sent, %d taken", n, got)
			}
		})
	}
}

// BenchmarkDATA is the sink of a client that sends text, MAIL, RCPT and DATA in
// one group (RFC 2920 §3.1), without waiting for 354, as no client may.
func BenchmarkDATA(b *testing.B) {
	for _, size := range []int{1 << 10, 100 << 10} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			s := smtptest.NewUnstartedServer()
			s.Discard = true
			s.Start()
			defer s.Close()
			line := strings.Repeat("x", 70) + "\r\n"
			bl := newBlaster(b, s, "MAIL FROM:<anne@example.com>\r\nRCPT TO:<bart@example.com>\r\nDATA\r\n"+
				strings.Repeat(line, size/len(line))+".\r\n")
			b.ReportAllocs()
			b.ResetTimer()
			n := (b.N + blastWindow - 1) / blastWindow * blastWindow
			bl.run(b, n, 4)
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}
