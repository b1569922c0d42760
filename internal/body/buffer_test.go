package body

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
)

// blocking is a reader whose Read keeps its buffer until it is let go.
type blocking struct{ buffer, free chan []byte }

func (r *blocking) Read(p []byte) (int, error) {
	r.buffer <- p
	<-r.free
	return 0, io.EOF
}

// A buffer that code of the caller's may still be writing to is nobody else's.
func TestABufferThatIsInUseIsNotUsedAgain(t *testing.T) {
	for range 50 {
		held := &blocking{make(chan []byte, 1), make(chan []byte)}
		ctx, cancel := context.WithCancel(t.Context())
		loaded := make(chan error)
		go func() {
			_, err := Load(ctx, From(Func(func() (io.ReadCloser, error) { return io.NopCloser(held), nil })))
			loaded <- err
		}()
		inUse := <-held.buffer
		cancel()
		if err := <-loaded; !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		for range 4 {
			other := &peeking{}
			open := func() (io.ReadCloser, error) { return io.NopCloser(other), nil }
			if _, err := Load(t.Context(), From(Func(open))); err != nil {
				t.Fatal(err)
			}
			if other.first == &inUse[0] {
				t.Fatal("two readers have one buffer")
			}
		}
		close(held.free)
	}
}

// peeking is a reader that remembers where its buffer lies.
type peeking struct{ first *byte }

func (r *peeking) Read(p []byte) (int, error) {
	r.first = &p[0]
	return 0, io.EOF
}

// A Load that is left at the moment at which it ends gives its buffer up once, and not while it copies from it: else
// one message would go out as another. The race detector sees it, and sometimes two buffers that are one.
func TestALoadThatIsLeftAsItEnds(t *testing.T) {
	for range 500 {
		ctx, cancel := context.WithCancel(t.Context())
		text := "Subject: x\r\n\r\nx\r\n"
		c := From(Func(func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }))
		go cancel()
		if b, err := Load(ctx, c); err == nil && string(b.Text) != text {
			t.Fatalf("%q", b.Text)
		}
	}
	seen := map[*byte]bool{}
	for range 100 {
		b := takeBuffer(InMemory + 1)
		if seen[&b[0]] {
			t.Fatal("a buffer was given up twice")
		}
		seen[&b[0]] = true
	}
}
