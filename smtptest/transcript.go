package smtptest

import (
	"fmt"
	"strings"
	"sync"
)

// transcript is what was said on one connection.
type transcript struct {
	mu    sync.Mutex
	lines strings.Builder
}

// Transcript returns the dialogue of a connection, one line each, with "C: " before
// what the client sent and "S: " before the server's replies. Each reply follows
// its command, even if it was written later. Content is shown as its length,
// credentials as asterisks. With Discard the transcript is empty.
func (s *Server) Transcript(connection int) string {
	s.mu.Lock()
	t := s.transcripts[connection]
	s.mu.Unlock()
	if t == nil {
		return ""
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lines.String()
}

// note adds to the transcript, if one is kept.
func (c *conn) note(who byte, text string) {
	t := c.transcript
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for line := range strings.Lines(text) {
		fmt.Fprintf(&t.lines, "%c: %s\n", who, strings.TrimRight(line, "\r\n"))
	}
}

// noteCommand hides what AUTH carries. The mechanism is shown: which one a client
// chose is what a test wants to see.
func (c *conn) noteCommand(v verb, line []byte) {
	if c.transcript == nil {
		return
	}
	text := string(line)
	if v == verbAuth {
		if parts := strings.SplitN(text, " ", 3); len(parts) == 3 {
			text = parts[0] + " " + parts[1] + " ********"
		}
	}
	c.note('C', text)
}
