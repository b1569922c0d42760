package body

import (
	"fmt"
	"time"

	"github.com/postrider/postrider/internal/detach"
)

// Wait bounds the wait for a block of a content that is read by the caller's code, which
// may block for as long as it likes.
type Wait struct {
	Patience time.Duration   // how long a content may give nothing
	Woken    <-chan struct{} // something has happened to whoever waits
	Over     func() bool     // asked when woken: nobody waits any more
}

// NextWithin returns the next block, as Next does, or an error when the wait is over: a
// call into the caller's code is left behind then, and what it returns is thrown away.
func (s *Stream) NextWithin(w Wait) (Block, error) {
	if s.content.source == nil || s.peeked {
		return s.Next()
	}
	call := detach.Begin(s.Next, nil)
	begun := time.Since(s.begun)
	patience := time.NewTimer(w.Patience)
	defer patience.Stop()
	for {
		select {
		case <-call.Done():
			return call.Result()
		case <-w.Woken:
			if w.Over() {
				return Block{}, errDropped
			}
		case <-patience.C:
			silent := time.Since(s.begun) - max(begun, time.Duration(s.heard.Load()))
			if silent >= w.Patience {
				return Block{}, fmt.Errorf("reading the content: it gave nothing for %v", w.Patience)
			}
			patience.Reset(w.Patience - silent)
		}
	}
}
