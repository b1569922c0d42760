package body

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postrider/postrider/internal/detach"
	smtp "github.com/postrider/postrider/internal/wire"
)

// Stream reads a content in canonical blocks, mostly of whole lines. What is
// canonical already is passed on as it lies there.
type Stream struct {
	content  Content
	promised int64         // octets, by an earlier look; -1: none
	memory   []byte        // what is left of a content in memory
	piece    int           // how much of it is taken at a time
	r        io.ReadCloser // of any other; nil until it is opened
	buf      []byte
	n        int // octets in buf
	given    int // of them, those that Next returned

	canonical bool // all of memory is
	dots      bool // and has lines that begin with a dot
	repair    smtp.Repairer
	repaired  []byte
	ahead     Block // what Next returns first, if peeked
	peeked    bool
	loading   bool // this is the beginning, which is read before the MAIL

	heard atomic.Int64 // when the reader last gave something: nanoseconds since begun
	begun time.Time

	mu      sync.Mutex
	inside  bool // a call into the caller's code is underway
	dropped bool // there is to be no other one but Close
	closed  bool
}

// Block is what is handed out at a time, valid until the next one is asked for.
type Block struct {
	Text []byte
	Dots bool // a line in it may begin with a dot
	Last bool
}

func newStream(c Content, promised int64) *Stream {
	s := &Stream{content: c, promised: promised, begun: time.Now()}
	if c.source != nil {
		return s
	}
	s.memory, s.piece = c.text, MemoryBlock
	switch {
	case c.form != asGiven:
		s.canonical, s.dots = true, c.form == canonicalDots
		s.piece = BlockSize
	case len(c.text) > InMemory && len(c.text) <= surveyed:
		s.canonical, s.dots = smtp.Survey(c.text)
	}
	return s
}

// load reads the beginning, and makes a body of it.
func (s *Stream) load() (Body, error) {
	b := Body{content: s.content, Size: -1}
	s.loading = true
	first, err := s.Next()
	if err != nil {
		return b, err
	}
	s.loading = false
	b.given = s.promised
	b.UTF8 = !smtp.HeaderASCII(first.Text)
	if first.Last && len(first.Text) <= InMemory {
		b.Small, b.Text, b.Dots = true, bytes.Clone(first.Text), first.Dots
		b.Size, b.Least = int64(len(b.Text)), int64(len(b.Text))
		s.recycle()
		return b, nil
	}
	s.ahead, s.peeked, b.large = first, true, s
	b.Least = max(s.promised, int64(len(first.Text)), int64(len(s.content.text)))
	if s.canonical {
		b.Size = b.Least
	}
	return b, nil
}

// Next returns the next block. It calls the caller's code where the content is not in
// memory, and never again when it was dropped. Behind the last block the reader is
// closed.
func (s *Stream) Next() (b Block, err error) {
	if s.peeked {
		s.peeked = false
		return s.ahead, nil
	}
	if s.content.source != nil {
		if !s.enter() {
			return b, errDropped
		}
		defer s.leave()
	}
	if err = s.open(); err != nil {
		return b, fmt.Errorf("opening the content: %w", err)
	}
	if b, err = s.block(); err != nil {
		return b, fmt.Errorf("reading the content: %w", err)
	}
	return b, nil
}

func (s *Stream) block() (b Block, err error) {
	raw, last, err := s.raw()
	if err != nil {
		return b, err
	}
	if s.canonical {
		return Block{raw, s.dots, last}, nil
	}
	if s.repair.Idle() {
		canonical, dots := smtp.Survey(raw)
		if canonical && (!dots || s.r != nil || len(raw) <= BlockSize) {
			return Block{raw, dots, last}, nil
		}
	}
	if s.r == nil && len(raw) > BlockSize {
		// What has to be written again is taken in smaller pieces.
		s.memory, s.piece = raw[:len(raw)+len(s.memory)], BlockSize
		return s.block()
	}
	if s.repaired == nil {
		s.repaired = make([]byte, 0, len(raw)+len(raw)/8) // at once, not by doubling
	}
	s.repaired = s.repair.Append(s.repaired[:0], raw)
	if last {
		s.repaired = s.repair.Finish(s.repaired)
	}
	return Block{s.repaired, true, last}, nil
}

// raw gives octets as the caller gave them, cut behind a line where there is one.
func (s *Stream) raw() (b []byte, last bool, err error) {
	if s.r == nil {
		if len(s.memory) <= s.piece {
			b, s.memory = s.memory, nil
			return b, true, nil
		}
		end := afterLine(s.memory[:s.piece])
		b, s.memory = s.memory[:end], s.memory[end:]
		return b, false, nil
	}
	s.makeRoom()
	switch err = s.fill(); err {
	case nil:
		s.given = afterLine(s.buf[:s.n])
	case io.EOF:
		s.given, last = s.n, true
		if err = s.close(); err != nil {
			err = fmt.Errorf("its Close failed: %w", err)
		}
	}
	return s.buf[:s.given], last, err
}

// makeRoom moves what was not given out to the front. The buffer of the beginning is for
// what a small content has, and an octet more that shows that it goes on; only a large
// one gets a large buffer.
func (s *Stream) makeRoom() {
	before, rest := s.buf, s.buf[s.given:s.n]
	switch {
	case s.buf == nil && s.promised >= 0 && s.promised < InMemory:
		s.buf = make([]byte, s.promised+1) // one more, to see the end
	case s.loading:
		s.buf = takeBuffer(InMemory + 1)
	case len(s.buf) < BlockSize:
		s.buf = takeBuffer(BlockSize)
	}
	s.n, s.given = copy(s.buf, rest), 0
	if len(before) != len(s.buf) {
		giveBuffer(before)
	}
}

// trickle is how long a block is waited for to become full, once the content is on the
// wire: a server that gets nothing for minutes gives up.
const trickle = time.Second

// fill reads until the buffer is full. It is not io.ReadFull, whose
// ErrUnexpectedEOF cannot be told from that of a reader which was cut short: a
// message would end there as if it were whole.
func (s *Stream) fill() error {
	start := time.Now()
	for idle := 0; s.n < len(s.buf); {
		if s.isDropped() {
			return errDropped
		}
		m, err := s.r.Read(s.buf[s.n:])
		if m < 0 || m > len(s.buf)-s.n {
			return fmt.Errorf("its reader says that it read %d octets into a buffer of %d", m, len(s.buf)-s.n)
		}
		s.n += m
		if err != nil {
			return err
		}
		if m > 0 {
			idle = 0
			s.heard.Store(int64(time.Since(s.begun)))
		} else if idle++; idle == 100 {
			return io.ErrNoProgress
		}
		if !s.loading && s.n > 0 && time.Since(start) >= trickle {
			break
		}
	}
	return nil
}

// afterLine is where the last whole line of b ends; all of b if it has none.
func afterLine(b []byte) int {
	if i := bytes.LastIndexByte(b, '\n'); i >= 0 {
		return i + 1
	}
	return len(b)
}

func (s *Stream) open() error {
	if s.r != nil || s.content.source == nil {
		return nil
	}
	r, size, err := s.content.source.Open(s.promised)
	if err == nil {
		s.r, s.promised = r, size
	}
	return err
}

// errDropped is the answer of a stream that nobody wants to read any more.
var errDropped = errors.New("the content is not wanted any more")

// enter begins a call into the caller's code; it reports false if there is to be none.
func (s *Stream) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dropped {
		return false
	}
	s.inside = true
	return true
}

// leave ends it, and closes a reader that was dropped meanwhile.
func (s *Stream) leave() {
	s.mu.Lock()
	s.inside = false
	dropped := s.dropped
	s.mu.Unlock()
	if dropped {
		_ = s.close()
	}
}

func (s *Stream) isDropped() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dropped
}

// Drop ends the use of a stream: nothing of it is read any more. Its reader is closed,
// on a goroutine of its own, or by the call that is underway when that returns; closing
// is done then. It is nil when there is nothing to wait for. One that is only released
// is free for the next at once, so that it can be sent again.
func (s *Stream) Drop() (closing <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.dropped && !s.inside { // else the call that is underway has the buffer
		s.recycle()
	}
	return s.dropLocked()
}

// abandon is Drop for a stream whose load may be underway, outside of any call as well: the
// buffer is that one's.
func (s *Stream) abandon() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropLocked()
}

func (s *Stream) dropLocked() (closing <-chan struct{}) {
	if s.dropped {
		return nil
	}
	if s.dropped = true; s.inside {
		return nil
	}
	if s.closed || s.r == nil {
		return nil
	}
	if r, is := s.r.(interface{ Release() bool }); is && r.Release() {
		s.closed = true
		return nil
	}
	return detach.Begin(func() (struct{}, error) { return struct{}{}, s.close() }, nil).Done()
}

// close closes the reader, once.
func (s *Stream) close() error {
	s.mu.Lock()
	before := s.closed
	s.closed = true
	s.mu.Unlock()
	if before || s.r == nil {
		return nil
	}
	return s.r.Close()
}
