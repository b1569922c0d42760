package memnet

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// DefaultBuffer is how many octets a connection holds in each direction.
const DefaultBuffer = 64 << 10

// stream is one direction of a connection: a bounded ring of octets between one
// end that writes and one that reads.
type stream struct {
	mu      sync.Mutex
	changed sync.Cond // broadcast after every change of what follows

	ring        []byte // its length is the bound
	start, held int    // where the oldest octet is, and how many there are

	broken     error // set by fail: for both ends, at once
	writerGone bool  // no more octets will come
	readerGone bool  // the reader is closed
	localRead  bool  // the reading end closed itself: its own reads say so
	localWrite bool  // the same for the writing end

	readLimit, writeLimit deadline
}

func newStream(size int) *stream {
	if size <= 0 {
		size = DefaultBuffer
	}
	s := &stream{ring: make([]byte, size)}
	s.changed.L = &s.mu
	return s
}

// read takes what there is, and waits while there is nothing.
func (s *stream) read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.localRead:
			return 0, net.ErrClosed
		case s.broken != nil:
			return 0, s.broken
		case s.readLimit.passed:
			return 0, os.ErrDeadlineExceeded
		case s.held > 0 || len(p) == 0:
			return s.take(p), nil
		case s.writerGone:
			return 0, io.EOF
		}
		s.changed.Wait()
	}
}

// write puts all of p, and waits while the ring is full.
func (s *stream) write(p []byte) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.localWrite:
			return n, net.ErrClosed
		case s.broken != nil:
			return n, s.broken
		case s.writeLimit.passed:
			return n, os.ErrDeadlineExceeded
		case s.writerGone, s.readerGone:
			return n, syscall.EPIPE
		}
		n += s.put(p[n:])
		if n == len(p) {
			return n, nil
		}
		s.changed.Wait()
	}
}

// take moves octets out of the ring; mu is held.
func (s *stream) take(p []byte) int {
	n := 0
	for n < len(p) && s.held > 0 {
		end := min(s.start+s.held, len(s.ring))
		k := copy(p[n:], s.ring[s.start:end])
		s.start = (s.start + k) % len(s.ring)
		s.held -= k
		n += k
	}
	if n > 0 {
		s.changed.Broadcast()
	}
	return n
}

// put moves octets into the ring; mu is held.
func (s *stream) put(p []byte) int {
	n := 0
	for n < len(p) && s.held < len(s.ring) {
		free := (s.start + s.held) % len(s.ring)
		end := len(s.ring)
		if free < s.start {
			end = s.start
		}
		k := copy(s.ring[free:end], p[n:])
		s.held += k
		n += k
	}
	if n > 0 {
		s.changed.Broadcast()
	}
	return n
}

// change runs f under the lock and wakes whoever waits.
func (s *stream) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	s.changed.Broadcast()
}

// closeWriter lets the reader have what is buffered, and then EOF.
func (s *stream) closeWriter() { s.change(func() { s.writerGone = true }) }

// shut makes further writes of the end that closed itself say so.
func (s *stream) shut() {
	s.change(func() { s.localWrite = true })
	s.writeLimit.set(s, time.Time{})
}

// closeReader ends the reads of the end that closed, and the writes of the other:
// TCP would answer them with a reset.
func (s *stream) closeReader() {
	s.change(func() { s.readerGone, s.localRead = true, true })
	s.readLimit.set(s, time.Time{}) // a timer left behind would keep the stream alive
}

// fail is the reset: at once, for both ends, and what is buffered is lost.
func (s *stream) fail(err error) {
	s.change(func() {
		if s.broken == nil {
			s.broken, s.start, s.held = err, 0, 0
		}
	})
}

// deadline is a point in time after which reads, or writes, of a stream fail.
// The lock of the stream guards it.
type deadline struct {
	passed bool
	timer  *time.Timer
}

// set moves the deadline of stream s to t.
func (d *deadline) set(s *stream, t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
	}
	d.timer, d.passed = nil, false
	if t.IsZero() {
		return
	}
	wait := time.Until(t)
	if wait <= 0 {
		d.passed = true
		s.changed.Broadcast()
		return
	}
	var own *time.Timer
	own = time.AfterFunc(wait, func() {
		s.change(func() {
			// A timer that fired while another deadline was set is too late.
			if d.timer == own {
				d.passed = true
			}
		})
	})
	d.timer = own
}
