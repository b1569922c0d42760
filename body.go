package postrider

import (
	"bytes"
	"fmt"
	"io"

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
	utf8    bool  // the header needs SMTPUTF8
	spent   bool  // a one-shot content that was read
}

// loadBody reads as much of a content as is held in memory. It runs on the
// caller's goroutine: a reader that blocks there disturbs nobody.
func loadBody(c Content) (body, error) {
	if c.open == nil && len(c.bytes) <= inMemory {
		return smallBody(c), nil
	}
	b := body{content: c, size: -1}
	s, err := openStream(c)
	if err != nil {
		return b, err
	}
	s.ahead, s.aheadDots, s.aheadErr = s.next()
	s.peeked = true
	switch {
	case s.aheadErr == nil || s.aheadErr == io.EOF && len(s.ahead) > inMemory:
		b.large = s
		b.least = max(c.knownSize(), int64(len(s.ahead)))
		if s.canonical {
			b.size = int64(len(c.bytes))
		}
	case s.aheadErr == io.EOF:
		b.small, b.text, b.dots = true, bytes.Clone(s.ahead), s.aheadDots
		b.size, b.least = int64(len(b.text)), int64(len(b.text))
		err = s.close()
	default:
		err = s.aheadErr
		s.close()
	}
	if err != nil {
		return b, fmt.Errorf("reading the content: %w", err)
	}
	b.utf8 = !smtp.HeaderASCII(s.ahead)
	return b, nil
}

// smallBody takes a small content in memory as it lies there, if it is canonical.
func smallBody(c Content) body {
	b := body{content: c, small: true, text: c.bytes}
	canonical, dots := smtp.Survey(c.bytes)
	if b.dots = dots; !canonical {
		var r smtp.Repairer
		b.text, b.dots = r.Finish(r.Append(make([]byte, 0, len(c.bytes)+64), c.bytes)), true
	}
	b.size, b.least = int64(len(b.text)), int64(len(b.text))
	b.utf8 = !smtp.HeaderASCII(b.text)
	return b
}

// stream gives the blocks of a large content from its beginning. Every call but
// the first opens the content anew.
func (b *body) stream() (*stream, error) {
	if s := b.large; s != nil {
		b.large, b.spent = nil, b.content.once
		return s, nil
	}
	if b.spent {
		return nil, errReadOnce
	}
	return openStream(b.content)
}

// discard closes what was opened and not used.
func (b *body) discard() {
	if b.large != nil {
		b.large.close()
		b.large = nil
	}
}

// stream reads a content in canonical blocks, mostly of whole lines. What is
// canonical already is passed on as it lies there.
type stream struct {
	memory []byte        // what is left of a content in memory
	piece  int           // how much of it is taken at a time
	r      io.ReadCloser // of any other
	buf    []byte
	n      int // octets in buf
	given  int // of them, those that next gave out

	canonical bool // all of memory is
	dots      bool // and has lines that begin with a dot
	repair    smtp.Repairer
	repaired  []byte

	peeked    bool // what next gives first
	ahead     []byte
	aheadDots bool
	aheadErr  error
}

func openStream(c Content) (*stream, error) {
	if c.open == nil {
		s := &stream{memory: c.bytes, piece: memoryBlock}
		if len(c.bytes) > inMemory && len(c.bytes) <= surveyed {
			s.canonical, s.dots = smtp.Survey(c.bytes)
		}
		return s, nil
	}
	r, err := c.open()
	if err != nil {
		return nil, fmt.Errorf("opening the content: %w", err)
	}
	size := int64(blockSize)
	if n := c.knownSize(); n >= 0 && n < size {
		size = n + 1 // one more, to see the end
	}
	return &stream{r: r, buf: make([]byte, size)}, nil
}

// next gives the next block, valid until the call after it, and whether a line in
// it may begin with a dot. The last block comes together with io.EOF.
func (s *stream) next() (block []byte, dots bool, err error) {
	if s.peeked {
		s.peeked = false
		return s.ahead, s.aheadDots, s.aheadErr
	}
	raw, err := s.raw()
	if err != nil && err != io.EOF {
		return nil, false, err
	}
	if s.canonical {
		return raw, s.dots, err
	}
	if s.repair.Idle() {
		canonical, dots := smtp.Survey(raw)
		if canonical && (!dots || s.r != nil || len(raw) <= blockSize) {
			return raw, dots, err
		}
	}
	if s.r == nil && len(raw) > blockSize {
		// What has to be written anew is taken in smaller pieces.
		s.memory, s.piece = raw[:len(raw)+len(s.memory)], blockSize
		return s.next()
	}
	if s.repaired == nil {
		s.repaired = make([]byte, 0, len(raw)+len(raw)/8) // at once, not by doubling
	}
	s.repaired = s.repair.Append(s.repaired[:0], raw)
	if err == io.EOF {
		s.repaired = s.repair.Finish(s.repaired)
	}
	return s.repaired, true, err
}

// raw gives octets as the caller gave them, cut behind a line where there is one.
func (s *stream) raw() (b []byte, err error) {
	if s.r == nil {
		if len(s.memory) <= s.piece {
			b, s.memory = s.memory, nil
			return b, io.EOF
		}
		end := afterLine(s.memory[:s.piece])
		b, s.memory = s.memory[:end], s.memory[end:]
		return b, nil
	}
	s.n = copy(s.buf, s.buf[s.given:s.n])
	switch err = s.fill(); err {
	case nil:
		s.given = afterLine(s.buf[:s.n])
	case io.EOF:
		s.given = s.n
	default:
		return nil, err
	}
	return s.buf[:s.given], err
}

// fill reads until the buffer is full. It is not io.ReadFull, whose
// ErrUnexpectedEOF cannot be told from that of a reader which was cut short: a
// message would end there as if it were whole.
func (s *stream) fill() error {
	for idle := 0; s.n < len(s.buf); {
		m, err := s.r.Read(s.buf[s.n:])
		s.n += m
		if err != nil {
			return err
		}
		if m > 0 {
			idle = 0
		} else if idle++; idle == 100 {
			return io.ErrNoProgress
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

func (s *stream) close() error {
	if s.r == nil {
		return nil
	}
	return s.r.Close()
}
