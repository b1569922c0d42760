package postrider

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postrider/postrider/internal/detach"
	smtp "github.com/postrider/postrider/internal/wire"
)

const (
	// inMemory is up to how many octets a content is held in memory before its MAIL
	// is written: most mail, and little enough for every message of a window.
	inMemory = 64 << 10

	// surveyed is up to how many octets a content in memory is looked through before
	// its MAIL is written, so that its SIZE can be declared. Larger ones are looked
	// through block by block, each just before it is written, while it is in the
	// processor's cache: a pass of its own costs half as much as the sending.
	surveyed = 1 << 20

	// blockSize is how much of a larger content is read at a time, and what has to
	// be written within Timeouts.Block.
	blockSize = 256 << 10

	// memoryBlock is how much of a content in memory is handed to the kernel at a
	// time: the fewer the writes, the less the processes wake each other.
	memoryBlock = 1 << 20
)

// body is the content of one Send, made canonical.
type body struct {
	content Content
	text    []byte  // of a small content, all of it; it may be the caller's own
	dots    bool    // a line of text may begin with a dot
	large   *stream // of a large one, opened; nil once it was taken
	small   bool
	size    int64 // canonical octets; -1 if not known
	least   int64 // octets at the least, for the check against SIZE
	given   int64 // octets that the content has promised to have; -1 if it has not
	utf8    bool  // the header needs SMTPUTF8
}

// loadBody reads as much of a content as is held in memory. It runs before the message
// is in any queue: a reader that blocks there disturbs nobody, and its Send no longer
// than until ctx is done.
func loadBody(ctx context.Context, c Content) (body, error) {
	if c.source == nil {
		if len(c.bytes) <= inMemory {
			return smallBody(c), nil
		}
		return newStream(c, -1).load()
	}
	s := newStream(c, -1)
	kept := false
	defer func() {
		if !kept { // it failed, was not waited for, or panicked
			s.drop()
		}
	}()
	b, err := detach.Until(ctx, s.load, nil)
	if ctx.Err() != nil && err == context.Cause(ctx) {
		err = fmt.Errorf("waiting for the content: %w", err)
	}
	kept = err == nil
	return b, err
}

// smallBody takes a small content in memory as it lies there, if it is canonical.
func smallBody(c Content) body {
	b := body{content: c, small: true, text: c.bytes}
	ready, dots := c.form != asGiven, c.form == canonicalDots
	if !ready {
		ready, dots = smtp.Survey(c.bytes)
	}
	if b.dots = dots; !ready {
		var r smtp.Repairer
		b.text, b.dots = r.Finish(r.Append(make([]byte, 0, len(c.bytes)+64), c.bytes)), true
	}
	b.size, b.least = int64(len(b.text)), int64(len(b.text))
	b.utf8 = !smtp.HeaderASCII(b.text)
	return b
}

// isUsed reports that a large content is not open, and cannot be opened again.
func (b *body) isUsed() bool { return !b.small && b.large == nil && b.content.isUsed() }

// stream gives the blocks of a large content from its beginning. Every call but
// the first is for the content opened anew.
func (b *body) stream() *stream {
	if s := b.large; s != nil {
		b.large = nil
		return s
	}
	return newStream(b.content, b.given)
}

// discard closes what was opened and not used. A Close that does not return is left
// behind when ctx is done.
func (b *body) discard(ctx context.Context) {
	if s := b.large; s != nil {
		b.large = nil
		if closing := s.drop(); closing != nil {
			select {
			case <-closing:
			case <-ctx.Done():
			}
		}
	}
}

// stream reads a content in canonical blocks, mostly of whole lines. What is
// canonical already is passed on as it lies there.
type stream struct {
	content  Content
	promised int64         // octets, by an earlier look; -1: none
	memory   []byte        // what is left of a content in memory
	piece    int           // how much of it is taken at a time
	r        io.ReadCloser // of any other; nil until it is opened
	buf      []byte
	n        int // octets in buf
	given    int // of them, those that next gave out

	canonical bool // all of memory is
	dots      bool // and has lines that begin with a dot
	repair    smtp.Repairer
	repaired  []byte
	ahead     block // what next gives first, if peeked
	peeked    bool
	loading   bool // this is the beginning, which is read before the MAIL

	heard atomic.Int64 // when the reader last gave something: nanoseconds since begun
	begun time.Time

	mu      sync.Mutex
	inside  bool // a call into the caller's code is underway
	dropped bool // there is to be no other one but Close
	closed  bool
}

// block is what is handed out at a time, valid until the next one is asked for.
type block struct {
	text []byte
	dots bool // a line in it may begin with a dot
	last bool
}

func newStream(c Content, promised int64) *stream {
	s := &stream{content: c, promised: promised, begun: time.Now()}
	if c.source != nil {
		return s
	}
	s.memory, s.piece = c.bytes, memoryBlock
	switch {
	case c.form != asGiven:
		s.canonical, s.dots = true, c.form == canonicalDots
		s.piece = blockSize
	case len(c.bytes) > inMemory && len(c.bytes) <= surveyed:
		s.canonical, s.dots = smtp.Survey(c.bytes)
	}
	return s
}

// load reads the beginning, and makes a body of it.
func (s *stream) load() (body, error) {
	b := body{content: s.content, size: -1}
	s.loading = true
	first, err := s.next()
	if err != nil {
		return b, err
	}
	s.loading = false
	b.given = s.promised
	b.utf8 = !smtp.HeaderASCII(first.text)
	if first.last && len(first.text) <= inMemory {
		b.small, b.text, b.dots = true, bytes.Clone(first.text), first.dots
		b.size, b.least = int64(len(b.text)), int64(len(b.text))
		return b, nil
	}
	s.ahead, s.peeked, b.large = first, true, s
	b.least = max(s.promised, int64(len(first.text)), int64(len(s.content.bytes)))
	if s.canonical {
		b.size = b.least
	}
	return b, nil
}

// next gives the next block. It calls the caller's code where the content is not in
// memory, and never again when it was dropped. Behind the last block the reader is
// closed.
func (s *stream) next() (b block, err error) {
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

func (s *stream) block() (b block, err error) {
	raw, last, err := s.raw()
	if err != nil {
		return b, err
	}
	if s.canonical {
		return block{raw, s.dots, last}, nil
	}
	if s.repair.Idle() {
		canonical, dots := smtp.Survey(raw)
		if canonical && (!dots || s.r != nil || len(raw) <= blockSize) {
			return block{raw, dots, last}, nil
		}
	}
	if s.r == nil && len(raw) > blockSize {
		// What has to be written anew is taken in smaller pieces.
		s.memory, s.piece = raw[:len(raw)+len(s.memory)], blockSize
		return s.block()
	}
	if s.repaired == nil {
		s.repaired = make([]byte, 0, len(raw)+len(raw)/8) // at once, not by doubling
	}
	s.repaired = s.repair.Append(s.repaired[:0], raw)
	if last {
		s.repaired = s.repair.Finish(s.repaired)
	}
	return block{s.repaired, true, last}, nil
}

// raw gives octets as the caller gave them, cut behind a line where there is one.
func (s *stream) raw() (b []byte, last bool, err error) {
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
func (s *stream) makeRoom() {
	rest := s.buf[s.given:s.n]
	switch {
	case s.buf == nil && s.promised >= 0 && s.promised < inMemory:
		s.buf = make([]byte, s.promised+1) // one more, to see the end
	case s.loading:
		s.buf = make([]byte, inMemory+1)
	case len(s.buf) < blockSize:
		s.buf = make([]byte, blockSize)
	}
	s.n, s.given = copy(s.buf, rest), 0
}

// trickle is how long a block is waited for to become full, once the content is on the
// wire: a server that gets nothing for minutes gives up.
const trickle = time.Second

// fill reads until the buffer is full. It is not io.ReadFull, whose
// ErrUnexpectedEOF cannot be told from that of a reader which was cut short: a
// message would end there as if it were whole.
func (s *stream) fill() error {
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

func (s *stream) open() error {
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
func (s *stream) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dropped {
		return false
	}
	s.inside = true
	return true
}

// leave ends it, and closes a reader that was dropped meanwhile.
func (s *stream) leave() {
	s.mu.Lock()
	s.inside = false
	dropped := s.dropped
	s.mu.Unlock()
	if dropped {
		_ = s.close()
	}
}

func (s *stream) isDropped() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dropped
}

// drop ends the use of a stream: nothing of it is read any more. Its reader is closed,
// on a goroutine of its own, or by the call that is underway when that returns; closing
// is done then. It is nil when there is nothing to wait for. One that is only released
// is free for the next at once, so that it can be sent again.
func (s *stream) drop() (closing <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dropped {
		return nil
	}
	if s.dropped = true; s.inside || s.closed || s.r == nil {
		return nil
	}
	if r, is := s.r.(interface{ Release() bool }); is && r.Release() {
		s.closed = true
		return nil
	}
	return detach.Begin(func() (struct{}, error) { return struct{}{}, s.close() }, nil).Done()
}

// close closes the reader, once.
func (s *stream) close() error {
	s.mu.Lock()
	before := s.closed
	s.closed = true
	s.mu.Unlock()
	if before || s.r == nil {
		return nil
	}
	return s.r.Close()
}
