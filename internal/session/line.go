package session

import (
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/postrider/postrider/internal/hint"
	"github.com/postrider/postrider/internal/wire"
)

// use speaks on conn from now on. Nothing that was read ahead survives (RFC 3207 §4.2).
func (s *Session) use(conn net.Conn) {
	s.Conn, s.In = conn, wire.NewReplyReader(conn)
	s.In.Hide = s.Secrets.Hide
}

// Tell writes a command, without its CRLF. Its reply is left to Hear.
func (s *Session) Tell(line string) error { return s.tell(line, line) }

// tell writes a line that is shown to others as shown.
func (s *Session) tell(line, shown string) error {
	s.tellOf(Event{Kind: Command, Line: line, Shown: shown})
	s.early = s.In.Buffered() > 0
	s.Conn.SetWriteDeadline(time.Now().Add(s.Timeouts.Block))
	_, err := s.Conn.Write([]byte(line + "\r\n"))
	s.Lost = s.Lost || err != nil
	return err
}

// Hear reads one reply, as others may see it.
func (s *Session) Hear(within time.Duration) (wire.Reply, error) {
	r, err := s.hearExactly(within)
	return r.Redacted(s.Secrets.Hide), err
}

// hearExactly reads one to the letter. Others are told of it without our secrets.
func (s *Session) hearExactly(within time.Duration) (wire.Reply, error) {
	r, err := s.overhear(within)
	if err == nil {
		s.show(r.Redacted(s.Secrets.Hide))
	}
	return r, err
}

// show tells others of a reply.
func (s *Session) show(r wire.Reply) {
	s.Last = r
	s.tellOf(Event{Kind: Reply, Reply: r})
}

// overhear reads a reply that nobody is told of yet, to the letter.
func (s *Session) overhear(within time.Duration) (wire.Reply, error) {
	s.Conn.SetReadDeadline(time.Now().Add(within))
	r, err := s.In.Read()
	var late net.Error
	switch {
	case err == nil && s.early && r.Code < 400: // a goodbye may come early
		err = ErrSurplus
	case err == io.EOF:
		err = ErrHungUp
	case err == io.ErrUnexpectedEOF:
		err = ErrCutOff
	case errors.As(err, &late) && late.Timeout():
		err = fmt.Errorf("no reply within %v: %w", within, err)
	}
	s.Lost = err != nil
	return r, err
}

// Ask writes a command and reads its reply, as others may see it.
func (s *Session) Ask(step hint.Step, within time.Duration, line string) (wire.Reply, *Error) {
	r, failed := s.askExactly(step, within, line)
	return r.Redacted(s.Secrets.Hide), failed
}

// askExactly writes a command and reads its reply to the letter.
func (s *Session) askExactly(step hint.Step, within time.Duration, line string) (wire.Reply, *Error) {
	err := s.Tell(line)
	if err != nil {
		within = linger
	}
	r, heard := s.hearExactly(within)
	if heard == nil {
		return r, nil
	}
	if err == nil || !errors.Is(heard, io.EOF) {
		err = heard
	}
	return wire.Reply{}, &Error{Step: step, Err: err}
}
