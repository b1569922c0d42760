package postrider

import (
	"net"
	"slices"
	"sync"
	"time"

	"github.com/postrider/postrider/internal/detach"
	"github.com/postrider/postrider/internal/quirks"
	"github.com/postrider/postrider/internal/ring"
	"github.com/postrider/postrider/internal/verdict"
	smtp "github.com/postrider/postrider/internal/wire"
)

// wire is one TCP (and TLS) conversation, once it can carry transactions. Two goroutines ride it: the connection's own,
// which alone writes, and the reader, so that whatever the server says is seen when it arrives (see listen).
type wire struct {
	c       *Connection
	id      int
	conn    net.Conn // what is spoken on: TLS if there is TLS
	raw     net.Conn // the socket below it
	address string
	in      *smtp.ReplyReader
	opened  time.Time

	maxTransactions int // MAIL commands; 0: no limit
	maxAge, maxIdle time.Duration

	caps      smtp.Capabilities
	hello     bool   // EHLO was taken, not only HELO
	helloText string // its newest reply
	loggedIn  bool
	exim      bool // by its greeting
	encrypted bool

	flight flight // of the writer

	ear     sync.Mutex // held while what was read is told and entered; c.mu may be taken under it
	unheard bool       // nobody listens any more; guarded by ear

	// Guarded by c.mu.
	expected  ring.Ring[expectation]
	inFlight  []*transaction // begun and not ended, in order
	last      *transaction   // the one begun last
	unacked   int            // octets of content in flight
	window    int            // how many may be in flight
	drained   int            // how many ended in step since the window grew
	windowed  bool           // one that was begun behind an unread one has ended in step
	handed    int64          // octets handed to the kernel, those of a write underway included
	leaving   int64          // those of a write underway
	postponed bool           // a reply came before it was certain that its terminator had left
	mails     int            // MAIL commands
	answered  int            // MAIL commands that were answered
	completed int            // transactions whose last reply was read
	heard     time.Time      // when the server last said something
	deadline  time.Time      // of the read underway; zero: none
	err       *Error         // why nothing more may be written; nil: all is well
	lastCall  time.Time      // until when replies are waited for at the latest, once there is an err
	lost      lost           // what err is an instance of
	quitting  bool           // QUIT was said
	spent     bool           // no more transactions: end politely
	refused   int            // transactions without an accepted content
	rcptMax   int            // learnt from 452 to RCPT; 0: nothing
	rcptGuess int            // what one transaction let suppose of it
	discard   quirks.Discard // whether the octets of a refused BDAT are discarded
	domains   map[string]struct{}
	ending    ending  // why we end it
	reading   reading // who reads

	progress chan struct{} // the reader has done something; capacity 1
	ended    chan struct{} // the reader has stopped
}

// lost is why nothing more may be written on a wire.
type lost int

const (
	notLost       lost = iota
	lostByFault        // a timeout, a failed write, replies out of step
	lostByHangUp       // the server closed it, or said something final without having been asked
	lostByWord         // the server said that it closes it: 421, 451 4.4.2
	lostByContent      // we cut it, since a message broke off
	lostByUs           // we cut it, for a context, Quit or Close
)

// ours reports that we cut the wire in the middle.
func (l lost) ours() bool { return l >= lostByContent }

// On a wire that nothing more is written to, replies are waited for until none came for linger, and lingerAtMost in
// all: a server at its limit may refuse a whole window at its leisure.
const (
	linger       = 2 * time.Second
	lingerAtMost = 30 * time.Second
)

// nudge wakes the writer, if it waits.
func (w *wire) nudge() { ring.Signal(w.progress) }

// endIfAnsweredLocked takes a transaction whose last reply was read off the wire, and settles it.
func (w *wire) endIfAnsweredLocked(tx *transaction) {
	if tx.state != txWritten || tx.unanswered > 0 {
		return
	}
	if w.err != nil {
		return // what it means is known when the wire has ended
	}
	if tx.Final.Positive() && tx.border() < verdict.HandedOver {
		w.postponed = true
		return
	}
	for i := range w.inFlight {
		if w.inFlight[i] == tx {
			w.inFlight = append(w.inFlight[:i], w.inFlight[i+1:]...)
			break
		}
	}
	w.unacked -= tx.weight()
	w.completed++
	if !tx.Final.Positive() {
		w.refused++
	}
	w.growLocked(tx)
	w.c.settleLocked(tx)
}

// endPostponedLocked settles those whose last reply came while their own last octets were being written: now it is
// known that these have left.
func (w *wire) endPostponedLocked() {
	if !w.postponed {
		return
	}
	w.postponed = false
	for _, tx := range slices.Clone(w.inFlight) {
		w.endIfAnsweredLocked(tx)
	}
	w.nudge()
}

// growLocked doubles the window when as many transactions as it holds have ended in step.
func (w *wire) growLocked(tx *transaction) {
	w.windowed = w.windowed || tx.behind
	if w.drained++; w.drained >= w.window {
		w.window, w.drained = min(2*w.window, w.c.window()), 0
		if w.caps.Pipelining {
			w.c.room.Store(int32(w.window))
		}
	}
}

// poisonLocked forbids writing; the first reason counts. The reader lingers for the replies that are still underway.
func (w *wire) poisonLocked(why lost, e *Error) {
	switch {
	case w.err == nil:
		w.err, w.lost, w.lastCall = e, why, time.Now().Add(lingerAtMost)
		w.armLocked()
	case w.lost < why && why <= lostByWord:
		w.lost = why // what the server did explains the fault that we met first
	}
}

// killLocked ends the wire at once: no QUIT, nothing lingers.
func (w *wire) killLocked(why lost, e *Error) {
	w.poisonLocked(why, e)
	w.sever()
}

// sever closes the socket, and waits for nothing.
func (w *wire) sever() {
	if conn, ok := w.raw.(*detach.Conn); ok {
		conn.Cut()
		return
	}
	w.raw.Close()
}

// outOfStepLocked poisons a wire on which replies and commands do not match.
func (w *wire) outOfStepLocked(e *Error) {
	if w.discard == quirks.Discards {
		w.showLocked(quirks.Executes) // octets that it should have discarded may be what shifted them
	}
	if w.caps.Pipelining {
		w.c.pipeliningBrokenLocked(w)
	}
	for _, tx := range w.inFlight {
		// One reply too many may have been said at any time before; but a transaction that had all of its own in step,
		// and only waits for a write to return, is as good as settled.
		if tx.state == txOpen || tx.unanswered > 0 {
			tx.Mishap = verdict.Shifted
		}
	}
	w.poisonLocked(lostByFault, e)
}

// failure describes what befell the wire.
func (w *wire) failure(step Step, err error) *Error {
	e := &Error{Stage: StageContent, Step: step, Address: w.address, Err: err}
	if w.expected.Len() > 0 {
		e.Stage = w.expected.Front().verb.stage()
	}
	e.Hint = hintFor(e, w)
	return e
}

// ending is why a wire ends.
type ending int

const (
	endAsked ending = iota // by Quit or Close, or a context
	endCount
	endAge
	endIdle
	endServer
	endFault
)

// endingLocked is why a wire has ended, once it has.
func (w *wire) endingLocked() ending {
	switch {
	case w.lost == notLost || w.quitting:
		return w.ending
	case w.c.closed || w.lost == lostByUs:
		return endAsked
	case w.lost == lostByHangUp || w.lost == lostByWord:
		return endServer
	}
	return endFault
}
