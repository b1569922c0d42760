package body

import "sync"

// Buffers are used again: one of 64 KiB for each small message of a Func costs more than the message.
var (
	smallBuffers = sync.Pool{New: func() any { return new([InMemory + 1]byte) }}
	largeBuffers = sync.Pool{New: func() any { return new([BlockSize]byte) }}
)

// takeBuffer returns a buffer of one of the two sizes.
func takeBuffer(size int) []byte {
	if size == BlockSize {
		return largeBuffers.Get().(*[BlockSize]byte)[:]
	}
	return smallBuffers.Get().(*[InMemory + 1]byte)[:]
}

// giveBuffer lets others have a buffer that nobody looks at any more.
func giveBuffer(b []byte) {
	switch len(b) {
	case InMemory + 1:
		smallBuffers.Put((*[InMemory + 1]byte)(b))
	case BlockSize:
		largeBuffers.Put((*[BlockSize]byte)(b))
	}
}

// recycle gives up the buffer of a stream from which nothing is read any more, when no code of the caller's is using
// it.
func (s *Stream) recycle() {
	giveBuffer(s.buf)
	s.buf, s.n, s.given = nil, 0, 0
}
