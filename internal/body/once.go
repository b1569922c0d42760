package body

import (
	"bytes"
	"errors"
	"io"
	"sync"
)

// Kept is up to how many octets of a source that can be read only once are kept, so that what ends within them can be
// read again.
const Kept = 64 << 10

// ErrUsed is the answer of a source that can be read only once, when it is opened again.
var ErrUsed = errors.New("the content can be read only once, and is needed again " +
	"(it is a Reader, or a File that is no regular file): " +
	"use Bytes, Func, File of a regular file, or what Prepare makes of it")

// once is a source that can be read only once, and everything that its readers share. It has one reader at a time.
type once struct {
	mu     sync.Mutex // never held while the source is read
	state  onceState
	failed error // what the source failed with: it may have lost octets, and is not read again

	now *onceReader // the one reader; nil: there is none, and those of before end nothing any more

	// Of the one reader.
	r    io.ReadCloser // the source; nil: it was not opened yet, or was closed
	kept []byte        // its beginning; an octet more than Kept shows that it goes on
}

type onceState int

const (
	unread onceState = iota // from the beginning, which may be kept
	beingRead
	whole // all of it is kept
	used  // more was read than is kept, or it has failed
)

// Open returns a reader from the beginning, if there can be one.
func (o *once) Open() (r io.ReadCloser, size int64, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch o.state {
	case whole:
		return io.NopCloser(bytes.NewReader(o.kept)), int64(len(o.kept)), nil
	case beingRead, used:
		if o.failed != nil {
			return nil, -1, o.failed
		}
		return nil, -1, ErrUsed
	}
	o.state, o.now = beingRead, &onceReader{o: o}
	return o.now, -1, nil
}

// begin makes r the source, if no other reader was first.
func (o *once) begin(r io.ReadCloser) (io.ReadCloser, int64, error) {
	o.mu.Lock()
	if o.state != unread || o.r != nil {
		o.mu.Unlock()
		r.Close()
		return o.Open()
	}
	o.r = r
	o.mu.Unlock()
	return o.Open()
}

// begun reports that there is a source, or was.
func (o *once) begun() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.state != unread || o.r != nil
}

// isWhole reports that all of the source is kept.
func (o *once) isWhole() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.state == whole
}

// isUsed reports that Open fails from now on.
func (o *once) isUsed() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.state == used
}

func (o *once) become(s onceState, failed error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.state, o.failed = s, failed
}

// onceReader is a reading of a once from its beginning.
type onceReader struct {
	o  *once
	at int  // in what is kept; −1: behind it
	in bool // a Read of the source has begun, and not returned
}

// Read reads first what is kept, and then the source.
func (r *onceReader) Read(p []byte) (int, error) {
	o := r.o
	switch {
	case r.at >= 0 && r.at < len(o.kept):
		n := copy(p, o.kept[r.at:])
		r.at += n
		return n, nil
	case r.at >= 0 && len(o.kept) <= Kept:
		return r.keep(p)
	case r.at >= 0:
		o.become(used, nil)
		r.at, o.kept = -1, nil
	}
	return o.r.Read(p)
}

// keep reads of the source what is to be kept.
func (r *onceReader) keep(p []byte) (int, error) {
	o := r.o
	r.in = true
	n, err := o.r.Read(p[:min(len(p), Kept+1-len(o.kept))])
	r.in = false
	if n > 0 && n <= len(p) {
		o.kept = append(o.kept, p[:n]...)
		r.at += n
	}
	switch err {
	case nil:
	case io.EOF:
		o.become(whole, nil)
	default:
		o.become(used, err)
	}
	return n, err
}

// Release ends a reading that does not count, for which nothing of the source is called: it does not block. It reports
// whether it was one; else Close has to end it.
func (r *onceReader) Release() bool {
	o := r.o
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.now != r || o.state != beingRead || r.in {
		return false
	}
	o.state, o.now = unread, nil
	return true
}

// Close ends the reading. It counts only if more was read than is kept.
func (r *onceReader) Close() error {
	if r.Release() {
		return nil
	}
	o := r.o
	o.mu.Lock()
	if o.now != r {
		o.mu.Unlock()
		return nil // it was closed before
	}
	if o.state == beingRead && r.in { // it panicked: nobody knows how far it came
		o.state, o.failed = used, errors.New("the content can be read only once, and its reader panicked")
	}
	source := o.r
	o.r, o.now = nil, nil
	o.mu.Unlock()
	if source == nil {
		return nil
	}
	return source.Close()
}
