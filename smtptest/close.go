package smtptest

import (
	"log"
	"time"
)

// grace is how long Close waits for transactions that are under way.
const grace = 5 * time.Second

// Close stops listening, closes connections without an open transaction with 421, and waits for the others. Those that
// are still open after 5 seconds are logged and closed as well. No goroutine of the server is left when Close returns.
// Later calls do nothing.
func (s *Server) Close() {
	s.once.Do(s.close)
}

// close runs once. Grace is for clients in the middle of a transaction, whose tests
// would otherwise fail or not by chance.
func (s *Server) close() {
	if s.closing == nil { // never started
		if s.Listener != nil {
			s.Listener.Close()
		}
		return
	}
	close(s.closing)
	s.Listener.Close()
	for _, c := range s.shutDoor() {
		c.end()
	}
	done := make(chan struct{})
	go func() {
		s.handlers.Wait()
		close(done)
	}()
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case <-done:
		return
	case <-t.C:
	}
	for _, c := range s.shutDoor() {
		s.logf("smtptest: Close: connection %d from %v is still in a transaction, last command %v; closing it",
			c.number, c.peer, verb(c.last.Load()))
		c.raw.Close()
	}
	<-done
}

// shutDoor lets no further connection in, and returns those that are open.
func (s *Server) shutDoor() (open []*conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shut = true
	for c := range s.open {
		open = append(open, c)
	}
	return open
}

// end tells a connection that the server is being closed.
func (c *conn) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ending = true
	if c.waiting {
		c.raw.SetReadDeadline(time.Unix(1, 0)) // long past: its read ends at once
	}
}

// logf is for Close only: all else that happens is in the transcripts.
func (s *Server) logf(format string, args ...any) {
	if s.Log != nil {
		s.Log(format, args...)
	} else {
		log.Printf(format, args...)
	}
}
