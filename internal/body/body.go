package body

import (
	"context"
	"fmt"

	"github.com/postrider/postrider/internal/detach"
	smtp "github.com/postrider/postrider/internal/wire"
)

const (
	// InMemory is up to how many octets a content is held in memory before its MAIL
	// is written: most mail, and little enough for every message of a window.
	InMemory = 64 << 10

	// surveyed is up to how many octets a content in memory is looked through before
	// its MAIL is written, so that its SIZE can be declared. Larger ones are looked
	// through block by block, each just before it is written, while it is in the
	// processor's cache: a pass of its own costs half as much as the sending.
	surveyed = 1 << 20

	// BlockSize is how much of a larger content is read at a time, and what has to
	// be written within Timeouts.Block.
	BlockSize = 256 << 10

	// MemoryBlock is how much of a content in memory is handed to the kernel at a
	// time: the fewer the writes, the less the processes wake each other.
	MemoryBlock = 1 << 20
)

// Body is the content of one Send, made canonical.
type Body struct {
	content Content
	Text    []byte  // of a small content, all of it; it may be the caller's own
	Dots    bool    // a line of text may begin with a dot
	large   *Stream // of a large one, opened; nil once it was taken
	Small   bool
	Size    int64 // canonical octets; -1 if not known
	Least   int64 // octets at the least, for the check against SIZE
	given   int64 // octets that the content has promised to have; -1 if it has not
	UTF8    bool  // the header needs SMTPUTF8
}

// Load reads as much of a content as is held in memory. It runs before the message
// is in any queue: a reader that blocks there disturbs nobody, and its Send no longer
// than until ctx is done.
func Load(ctx context.Context, c Content) (Body, error) {
	if c.source == nil {
		if len(c.text) <= InMemory {
			return smallBody(c), nil
		}
		return newStream(c, -1).load()
	}
	s := newStream(c, -1)
	kept := false
	defer func() {
		if !kept { // it failed, was not waited for, or panicked
			s.abandon()
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
func smallBody(c Content) Body {
	b := Body{content: c, Small: true, Text: c.text}
	ready, dots := c.form != asGiven, c.form == canonicalDots
	if !ready {
		ready, dots = smtp.Survey(c.text)
	}
	if b.Dots = dots; !ready {
		var r smtp.Repairer
		b.Text, b.Dots = r.Finish(r.Append(make([]byte, 0, len(c.text)+64), c.text)), true
	}
	b.Size, b.Least = int64(len(b.Text)), int64(len(b.Text))
	b.UTF8 = !smtp.HeaderASCII(b.Text)
	return b
}

// IsUsed reports that a large content is not open, and cannot be opened again.
func (b *Body) IsUsed() bool { return !b.Small && b.large == nil && b.content.Used() }

// Stream returns the blocks of a large content from its beginning. Every call but
// the first is for the content opened again.
func (b *Body) Stream() *Stream {
	if s := b.large; s != nil {
		b.large = nil
		return s
	}
	return newStream(b.content, b.given)
}

// Discard closes what was opened and not used. A Close that does not return is left
// behind when ctx is done.
func (b *Body) Discard(ctx context.Context) {
	if s := b.large; s != nil {
		b.large = nil
		if closing := s.Drop(); closing != nil {
			select {
			case <-closing:
			case <-ctx.Done():
			}
		}
	}
}
