package rig

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/smtptest"
)

// WithUser lets testuser log in with the password testpass.
func WithUser(s *smtptest.Server) { s.Users = map[string]string{"testuser": "testpass"} }

// Discarding returns a connection to a server that keeps nothing.
func Discarding(tb testing.TB, mode postrider.SecureMode) *postrider.Connection {
	server := smtptest.NewUnstartedServer()
	server.Discard, server.Mode = true, mode
	server.Start()
	tb.Cleanup(server.Close)
	conn, err := postrider.NewConnection(server.Config())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { conn.Close() })
	return conn
}

// Clean returns a content of that many octets that needs no repair.
func Clean(octets int) []byte {
	return Lines("0123456789abcdef0123456789abcdef0123456789abcdef\r\n", octets)
}

// Lines returns a content of about that many octets, a header section and then one line again and again.
func Lines(line string, octets int) []byte {
	return append([]byte("Subject: x\r\n\r\n"), bytes.Repeat([]byte(line), octets/len(line))...)
}

// Within runs f and returns how long it took.
func Within(f func()) time.Duration {
	start := time.Now()
	f()
	return time.Since(start)
}

// Zeros is a reader that never ends, of lines of the digit zero.
type Zeros struct{}

// Read fills p.
func (Zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '0'
		if i%64 == 63 {
			p[i] = '\n'
		}
	}
	return len(p), nil
}

// People returns n recipients.
func People(n int) (to []string) {
	for i := range n {
		to = append(to, fmt.Sprintf("p%d@example.com", i))
	}
	return to
}

// Password is one that no test says by chance.
const Password = "Tr0ub4dor&3"
