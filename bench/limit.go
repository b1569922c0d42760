package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
)

// limit writes prepared octets and counts replies: the least that any client has
// to do, without the care that a client has to take. Its figures are what is possible.
type limit struct {
	j       *job
	by      string // "bdat", "data" or "copy"
	writers []*writer

	half     int    // a window's half, in transactions
	envelope string // MAIL and every RCPT
	content  []byte
	group    []byte // what goes out at once
}

// writer is one connection of it.
type writer struct {
	conn    net.Conn
	replies *bufio.Reader
}

// open sends no message: there is nothing to warm up in prepared octets.
func (l *limit) open() (int, error) {
	l.prepare()
	for range l.j.Connections {
		w, err := connect(l.j.Address)
		if err != nil {
			return 0, err
		}
		l.writers = append(l.writers, w)
	}
	return 0, nil
}

// connect goes as far as EHLO.
func connect(address string) (*writer, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	w := &writer{conn, bufio.NewReaderSize(conn, 64<<10)}
	if err := errors.Join(w.expect(1), w.say("EHLO "+helloName+"\r\n", 1)); err != nil {
		conn.Close()
		return nil, err
	}
	return w, nil
}

// say writes and waits for this many replies.
func (w *writer) say(octets string, replies int) error {
	if _, err := w.conn.Write([]byte(octets)); err != nil {
		return err
	}
	return w.expect(replies)
}

// expect reads this many replies (RFC 5321 §4.2: the last line of each has a space
// behind the code), none of which may be a refusal.
func (w *writer) expect(replies int) error {
	for replies > 0 {
		line, err := w.replies.ReadSlice('\n')
		switch {
		case err != nil:
			return err
		case line[0] >= '4':
			return fmt.Errorf("the server says %q", line)
		case len(line) < 4 || line[3] != '-':
			replies--
		}
	}
	return nil
}

// prepare makes the octets, before the clock runs.
func (l *limit) prepare() {
	var b strings.Builder
	fmt.Fprintf(&b, "MAIL FROM:<%s> BODY=8BITMIME SIZE=%d\r\n", from, l.j.Size)
	for _, to := range l.j.recipients() {
		fmt.Fprintf(&b, "RCPT TO:<%s>\r\n", to)
	}
	l.envelope, l.content, l.half = b.String(), l.j.content(), max(1, l.j.Window/2)
	switch l.by {
	case "bdat":
		one := l.envelope + fmt.Sprintf("BDAT %d LAST\r\n", l.j.Size)
		l.group = bytes.Repeat(append([]byte(one), l.content...), l.half)
	case "data":
		l.group = []byte(string(l.content) + ".\r\n" + l.envelope + "DATA\r\n")
	}
}

// run has a goroutine for each connection, which writes and reads in turn: the
// replies to half a window fit into any socket buffer, so neither side blocks.
func (l *limit) run(c *clock) error {
	errs := make([]error, len(l.writers))
	send := map[string]func(*writer, *clock) error{"bdat": l.bdat, "data": l.data, "copy": l.copy}[l.by]
	var all sync.WaitGroup
	for i, w := range l.writers {
		all.Go(func() { errs[i] = send(w, c) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// bdat sends whole transactions by BDAT (RFC 3030), half a window at a time: one
// half is written while the replies to the other are underway.
func (l *limit) bdat(w *writer, c *clock) error {
	replies := l.half * (2 + l.j.Recipients)
	underway := 0
	for c.moreOf(l.half) {
		if _, err := w.conn.Write(l.group); err != nil {
			return err
		}
		if underway++; underway*l.half < l.j.Window {
			continue
		}
		if err := w.expect(replies); err != nil {
			return err
		}
		underway--
	}
	return w.expect(underway * replies)
}

// data sends the text of one message, the dot, and the next message's envelope and
// DATA in one group, which is as far as RFC 2920 §3.1 goes.
func (l *limit) data(w *writer, c *clock) error {
	if !c.more() {
		return nil
	}
	replies := 2 + l.j.Recipients
	if err := w.say(l.envelope+"DATA\r\n", replies); err != nil {
		return err
	}
	for c.more() {
		if _, err := w.conn.Write(l.group); err != nil {
			return err
		}
		if err := w.expect(1 + replies); err != nil {
			return err
		}
	}
	return w.say(string(l.content)+".\r\n", 1)
}

// copy does to the socket with the same octets what any program does that
// copies: it is what a large message costs at the least.
func (l *limit) copy(w *writer, c *clock) error {
	for c.more() {
		if err := w.say(l.envelope, 1+l.j.Recipients); err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w.conn, "BDAT %d LAST\r\n", l.j.Size); err != nil {
			return err
		}
		if _, err := bytes.NewReader(l.content).WriteTo(w.conn); err != nil {
			return err
		}
		if err := w.expect(1); err != nil {
			return err
		}
	}
	return nil
}

func (l *limit) close() {
	for _, w := range l.writers {
		w.conn.Close()
	}
}
