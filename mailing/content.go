package mailing

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/header"
)

const (
	// heldInMemory is up to how many octets a message is read once and shared; a larger one is opened again for each
	// copy.
	heldInMemory = 8 << 20

	// joined is up to how many octets a copy is one piece of memory, which a Sender takes as it is. The piece lives as
	// long as its Send.
	joined = 64 << 10
)

var errChanged = errors.New("the content was different when it was opened again: " +
	"use Bytes, or a File or Func whose content stays the same")

// source is a message that copies are made of: its header, and a body that all of them share.
type source struct {
	content postrider.Content
	head    []byte // the header section and the empty line behind it
	body    []byte // what follows, if it is held in memory
	held    bool
}

// newSource reads a message as far as it is held in memory.
func newSource(c postrider.Content) (*source, error) {
	r, err := c.Open()
	if err != nil {
		return nil, fmt.Errorf("opening the content: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(r, heldInMemory+1))
	if err = errors.Join(err, r.Close()); err != nil {
		return nil, fmt.Errorf("reading the content: %w", err)
	}
	end := header.Length(text)
	if err := header.Long(end); err != nil {
		return nil, err
	}
	s := &source{content: c, head: bytes.Clone(text[:end]), held: len(text) <= heldInMemory}
	if s.held {
		s.body = text[end:]
		return s, nil
	}
	again, err := s.open() // now, and not when the second copy is underway
	if err != nil {
		return nil, err
	}
	return s, again.Close()
}

// under is the source's body under another header.
func (s *source) under(head []byte) postrider.Content {
	if s.held {
		return inMemory(head, s.body)
	}
	return postrider.Func(func() (io.ReadCloser, error) {
		r, err := s.open()
		if err != nil {
			return nil, err
		}
		return &reader{io.MultiReader(bytes.NewReader(head), r), r}, nil
	})
}

// inMemory returns a content of two pieces. Small ones are joined; of a large one the second is shared.
func inMemory(head, body []byte) postrider.Content {
	if len(head)+len(body) <= joined {
		return postrider.Bytes(append(head[:len(head):len(head)], body...))
	}
	return postrider.Func(func() (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(bytes.NewReader(head), bytes.NewReader(body))), nil
	})
}

// open opens the body of a large message. If the header in front of it is the one that was read, it is still the same
// message.
func (s *source) open() (io.ReadCloser, error) {
	r, err := s.content.Open()
	if err != nil {
		return nil, err
	}
	head := make([]byte, len(s.head))
	if _, err := io.ReadFull(r, head); err != nil || !bytes.Equal(head, s.head) {
		r.Close()
		return nil, errChanged
	}
	return r, nil
}

// reader reads from one and closes another.
type reader struct {
	io.Reader
	io.Closer
}
