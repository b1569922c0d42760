package body

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/postrider/postrider/internal/detach"
	smtp "github.com/postrider/postrider/internal/wire"
)

// Content is a message's header and body as octets, as the caller gave them: in memory, or from a source. The zero
// Content is empty.
type Content struct {
	text   []byte
	form   form    // of text
	source *Source // nil: text
}

// form is what is known of octets in memory.
type form int

const (
	asGiven       form = iota // nothing
	canonical                 // they can go out as they are, and no line begins with a dot
	canonicalDots             // they can, once the dots are stuffed
)

// Bytes returns the content that is b.
func Bytes(b []byte) Content { return Content{text: b} }

// From returns the content that comes from a source.
func From(s *Source) Content { return Content{source: s} }

// Prepare reads a content to its end and returns it held in memory, repaired and surveyed.
func (c Content) Prepare() (Content, error) {
	text := c.text
	if c.source != nil {
		r, err := c.Open()
		if err != nil {
			return Content{}, fmt.Errorf("opening the content: %w", err)
		}
		text, err = io.ReadAll(r)
		if err = errors.Join(err, r.Close()); err != nil {
			return Content{}, fmt.Errorf("reading the content: %w", err)
		}
	}
	ready, dots := smtp.Survey(text)
	if !ready {
		var r smtp.Repairer
		text = r.Finish(r.Append(make([]byte, 0, len(text)+len(text)/32+2), text))
		_, dots = smtp.Survey(text)
	}
	if dots {
		return Content{text: text, form: canonicalDots}, nil
	}
	return Content{text: text, form: canonical}, nil
}

// Open returns a reader of the content as the caller gave it. It must be closed.
func (c Content) Open() (io.ReadCloser, error) {
	if c.source == nil {
		return io.NopCloser(bytes.NewReader(c.text)), nil
	}
	r, _, err := c.source.Open(-1)
	return r, err
}

// Replayable reports whether every Open returns the whole content.
func (c Content) Replayable(ctx context.Context) (bool, error) {
	if c.source == nil {
		return true, nil
	}
	return detach.Until(ctx, c.source.Replayable, nil)
}

// InMemory reports that no code of the caller's runs when the content is read.
func (c Content) InMemory() bool { return c.source == nil }

// Used reports that the content cannot be opened any more.
func (c Content) Used() bool { return c.source != nil && c.source.Used() }
