package postrider

import (
	"errors"
	"fmt"
	"io"

	smtp "github.com/postrider/postrider/internal/wire"
)

// inMemory is up to how many octets a content is held in memory before its MAIL
// is written, and the size of the blocks that a larger one is read in. 64 KiB is
// most mail, and little enough for every message of a window.
const inMemory = 64 << 10

// body is the content of one Send, made canonical.
type body struct {
	content Content
	head    []byte  // canonical: the whole content if small, else its first block
	size    int64   // canonical octets; -1 if not known
	rest    *stream // what follows head, opened; nil for a small content
	least   int64   // octets at the least, for the check against SIZE
	utf8    bool    // the header needs SMTPUTF8
	spent   bool    // a one-shot content that was read
}

// loadBody reads as much of a content as is held in memory. It runs on the
// caller's goroutine: a reader that blocks there disturbs nobody.
func loadBody(c Content) (*body, error) {
	b := &body{content: c, size: -1}
	if c.open == nil && len(c.bytes) <= inMemory {
		var r smtp.Repairer
		b.head = r.Finish(r.Append(make([]byte, 0, len(c.bytes)+64), c.bytes))
		b.size, b.least = int64(len(b.head)), int64(len(b.head))
		b.utf8 = !smtp.HeaderASCII(b.head)
		return b, nil
	}
	s, err := openStream(c)
	if err != nil {
		return nil, err
	}
	b.head, err = s.next()
	if err == nil {
		b.rest = s
		b.least = max(c.knownSize(), int64(len(b.head)))
		if c.open == nil && smtp.Canonical(c.bytes) {
			b.size = int64(len(c.bytes))
		}
		// The stream's buffers are used again for what follows.
		b.head = append([]byte(nil), b.head...)
	} else if errors.Is(err, io.EOF) {
		b.size = int64(len(b.head))
		b.least = b.size
		err = s.close()
	} else {
		s.close()
	}
	if err != nil {
		return nil, fmt.Errorf("reading the content: %w", err)
	}
	b.utf8 = !smtp.HeaderASCII(b.head)
	return b, nil
}

// stream gives what follows head. A second call opens the content anew.
func (b *body) stream() (*stream, error) {
	if s := b.rest; s != nil {
		b.rest, b.spent = nil, b.content.once
		return s, nil
	}
	if b.spent {
		return nil, errReadOnce
	}
	s, err := openStream(b.content)
	if err != nil {
		return nil, err
	}
	// The head was sent from memory; pass over it.
	for n := 0; n < len(b.head); {
		block, err := s.next()
		if err != nil {
			s.close()
			return nil, fmt.Errorf("the content is shorter than it was: %w", err)
		}
		n += len(block)
	}
	return s, nil
}

// small reports that head is everything.
func (b *body) small() bool { return b.size >= 0 && b.size == int64(len(b.head)) }

// discard closes what was opened and not used.
func (b *body) discard() {
	if b != nil && b.rest != nil {
		b.rest.close()
		b.rest = nil
	}
}

// stream reads a content in canonical blocks.
type stream struct {
	r      io.ReadCloser
	repair smtp.Repairer
	raw    []byte
	clean  []byte
	err    error
}

func openStream(c Content) (*stream, error) {
	r, err := c.Open()
	if err != nil {
		return nil, fmt.Errorf("opening the content: %w", err)
	}
	block := int64(inMemory)
	if n := c.knownSize(); n >= 0 && n < block {
		block = n + 1 // one more, to see the end
	}
	return &stream{r: r, raw: make([]byte, block)}, nil
}

// next gives the next block, valid until the call after it. The last block comes
// together with io.EOF. The blocks are cut in the same places whenever the same
// content is read, however its reader cuts them.
func (s *stream) next() ([]byte, error) {
	n, err := io.ReadFull(s.r, s.raw)
	s.clean = s.repair.Append(s.clean[:0], s.raw[:n])
	switch err {
	case io.EOF, io.ErrUnexpectedEOF:
		s.clean = s.repair.Finish(s.clean)
		return s.clean, io.EOF
	}
	return s.clean, err
}

func (s *stream) close() error { return s.r.Close() }
