package body

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"syscall"
)

// Source is where the octets of a message come from.
type Source struct {
	// open returns a reader from the beginning, and how many octets it will give, or fail; −1: that is not known.
	open func() (r io.ReadCloser, size int64, err error)
	once *once // of a source that can be, or may turn out to be, read only once
	what string
}

// Func is a source that open opens again each time.
func Func(open func() (io.ReadCloser, error)) *Source {
	return Sized(open, -1)
}

// Sized is a Func that has promised its size; −1 is no promise.
func Sized(open func() (io.ReadCloser, error), size int64) *Source {
	return &Source{what: "the content is not as long as was promised", open: func() (io.ReadCloser, int64, error) {
		r, err := open()
		return r, max(size, -1), err
	}}
}

const fileChanged = "the file changed while it was read"

// File is a source that is a file by its name. What is no regular file, a pipe for one, can be read only once, and has
// no size.
func File(name string) *Source {
	o := new(once)
	return &Source{what: fileChanged, once: o, open: func() (io.ReadCloser, int64, error) {
		if o.begun() {
			return o.Open()
		}
		f, err := os.Open(name)
		if err != nil {
			return nil, -1, err
		}
		info, err := f.Stat()
		switch {
		case err != nil:
			f.Close()
			return nil, -1, err
		case info.Mode().IsRegular():
			return f, info.Size(), nil
		case info.IsDir():
			f.Close()
			return nil, -1, &os.PathError{Op: "read", Path: name, Err: syscall.EISDIR}
		}
		return o.begin(f)
	}}
}

// Reader is a source that is read from where r stands now. It can be opened again if r can be read at any place: an
// *os.File that is regular, or what has ReadAt and Size and tells where it stands. Else it can be read only once.
func Reader(r io.Reader) *Source {
	if s := replayable(r); s != nil {
		return s
	}
	o := &once{r: io.NopCloser(r)}
	return &Source{once: o, open: o.Open}
}

// replayable is the source for a reader that can be read at any place; nil: it cannot.
func replayable(r io.Reader) *Source {
	at, isAt := r.(io.ReaderAt)
	seeker, isSeeker := r.(io.Seeker)
	if !isAt || !isSeeker {
		return nil
	}
	size, what := sizeOf(r)
	if size == nil {
		return nil
	}
	start, err := seeker.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil
	}
	return &Source{what: what, open: func() (io.ReadCloser, int64, error) {
		n, err := size()
		// To the end, wherever that is: that there is more than there should be must be seen.
		return io.NopCloser(io.NewSectionReader(at, start, math.MaxInt64-start)), max(0, n-start), err
	}}
}

// sizeOf returns a function for the size of what is read; nil: it has none.
func sizeOf(r io.Reader) (size func() (int64, error), what string) {
	switch r := r.(type) {
	case *os.File:
		if info, err := r.Stat(); err != nil || !info.Mode().IsRegular() {
			return nil, ""
		}
		return func() (int64, error) {
			info, err := r.Stat()
			if err != nil {
				return -1, err
			}
			return info.Size(), nil
		}, fileChanged
	case interface{ Size() int64 }:
		return func() (int64, error) { return r.Size(), nil }, "the reader's content changed while it was read"
	}
	return nil, ""
}

// Open returns a reader from the beginning, and how many octets it will give, or fail; −1: that is not known. promised
// is what an earlier Open has said, −1 at first.
func (s *Source) Open(promised int64) (r io.ReadCloser, size int64, err error) {
	r, size, err = s.open()
	switch {
	case err != nil:
		return nil, -1, err
	case r == nil:
		return nil, -1, errors.New("the content has no reader")
	case promised >= 0 && size >= 0 && size != promised:
		r.Close()
		return nil, -1, fmt.Errorf("%s: it has %d octets, and had %d", s.what, size, promised)
	case size < 0:
		return r, -1, nil
	}
	return &exactly{ReadCloser: r, size: size, left: size, what: s.what}, size, nil
}

// Used reports that the source can be read only once, and was.
func (s *Source) Used() bool { return s.once != nil && s.once.isUsed() }

// Replayable reports whether every Open gives all of the source. Of one that can be read only once it reads the
// beginning, to see whether it ends within what is kept.
func (s *Source) Replayable() (bool, error) {
	if s.once == nil {
		return true, nil
	}
	if s.once.isUsed() {
		return false, nil
	}
	r, _, err := s.Open(-1)
	if err != nil {
		return false, err
	}
	defer r.Close()
	reading, isOnce := r.(*onceReader)
	if !isOnce {
		return true, nil
	}
	beginning := make([]byte, Kept+1)
	_, err = io.ReadFull(reading, beginning)
	if err == io.EOF || err == io.ErrUnexpectedEOF && s.once.isWhole() {
		err = nil
	}
	return s.once.isWhole(), err
}

// exactly is a reader that fails unless it ends behind size octets.
type exactly struct {
	io.ReadCloser
	size, left int64
	what       string
}

// Read passes on what was promised.
func (e *exactly) Read(p []byte) (int, error) {
	n, err := e.ReadCloser.Read(p)
	e.left -= int64(n)
	switch {
	case e.left < 0:
		return n, fmt.Errorf("%s: it has more than %d octets", e.what, e.size)
	case err == io.EOF && e.left > 0:
		return n, fmt.Errorf("%s: it ended after %d octets of %d", e.what, e.size-e.left, e.size)
	}
	return n, err
}
