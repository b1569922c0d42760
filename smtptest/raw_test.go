package smtptest_test

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/smtptest"
)

// raw is a client that knows nothing of SMTP but what a reply looks like.
type raw struct {
	testing.TB
	net.Conn
	r *bufio.Reader
}

func newRaw(tb testing.TB, nc net.Conn) *raw {
	return &raw{TB: tb, Conn: nc, r: bufio.NewReader(nc)}
}

// dial connects to a server, in memory or not, and reads nothing yet.
func dial(tb testing.TB, s *smtptest.Server) *raw {
	tb.Helper()
	var nc net.Conn
	var err error
	if d := s.Config().Dial; d != nil {
		nc, err = d(tb.Context(), "tcp", s.Addr)
	} else {
		nc, err = net.Dial("tcp", s.Addr)
	}
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { nc.Close() })
	return newRaw(tb, nc)
}

// say sends lines, each with CRLF, in one write.
func (c *raw) say(lines ...string) {
	c.Helper()
	c.send(strings.Join(lines, "\r\n") + "\r\n")
}

// send sends octets as they are.
func (c *raw) send(octets string) {
	c.Helper()
	if _, err := io.WriteString(c.Conn, octets); err != nil {
		c.Fatalf("write: %v", err)
	}
}

// reply reads one reply; its lines are joined with " / ".
func (c *raw) reply() (string, error) {
	var lines []string
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return strings.Join(append(lines, line), " / "), err
		}
		lines = append(lines, strings.TrimSuffix(line, "\r\n"))
		if len(line) < 4 || line[3] != '-' {
			return strings.Join(lines, " / "), nil
		}
	}
}

// expect reads as many replies as there are prefixes.
func (c *raw) expect(prefixes ...string) {
	c.Helper()
	for _, prefix := range prefixes {
		got, err := c.reply()
		if err != nil || !strings.HasPrefix(got, prefix) {
			c.Fatalf("reply %q, %v; want %q…", got, err, prefix)
		}
	}
}

// expectEnd demands that nothing more comes, and that the server closed.
func (c *raw) expectEnd() {
	c.Helper()
	c.SetReadDeadline(time.Now().Add(time.Minute))
	if rest, err := io.ReadAll(c.r); len(rest) > 0 || err != nil {
		c.Fatalf("after the last reply: %q, %v; want EOF", rest, err)
	}
}

// talk plays a dialogue: "C: " is a line to send, "S: " the beginning of the
// reply that must come.
func (c *raw) talk(dialogue string) {
	c.Helper()
	for line := range strings.Lines(dialogue) {
		line = strings.TrimSuffix(line, "\n")
		if said, ok := strings.CutPrefix(line, "C:"); ok {
			c.say(strings.TrimPrefix(said, " "))
		} else if want, ok := strings.CutPrefix(line, "S: "); ok {
			got, err := c.reply()
			if err != nil || !strings.HasPrefix(got, want) {
				c.Fatalf("in the dialogue: reply %q, %v; want %q…", got, err, want)
			}
		} else if line != "" {
			c.Fatalf("dialogue: %q", line)
		}
	}
}
