package postrider

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"time"

	"github.com/postrider/postrider/internal/quirks"
	"github.com/postrider/postrider/internal/ring"
	"github.com/postrider/postrider/internal/session"
	smtp "github.com/postrider/postrider/internal/wire"
)

// wire is one TCP (and TLS) conversation, once it can carry transactions. Two
// goroutines ride it: the connection's own, which alone writes, and the reader, so
// that whatever the server says is seen when it arrives (see listen).
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

// reading says who takes the replies off the wire.
type reading int

const (
	writerReads reading = iota // while it waits for one
	readerReads
	readingDone // nobody: there is nothing more to read
)

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

// On a wire that nothing more is written to, replies are waited for until none came
// for linger, and lingerAtMost in all: a server at its limit may refuse a whole window
// at its leisure.
const (
	linger       = 2 * time.Second
	lingerAtMost = 30 * time.Second
)

// await flushes and waits until done, which is called with c.mu held. It reports
// false when the wire ended before that.
func (w *wire) await(done func() bool) bool {
	w.flush()
	for {
		w.c.mu.Lock()
		ok, dead, listening := done(), w.err != nil, w.reading == readerReads
		w.c.mu.Unlock()
		switch {
		case ok || dead:
			return ok && !dead
		case listening:
			<-w.progress
		default:
			w.takeOrStop()
		}
	}
}

// takeOrStop reads on the writer's own goroutine.
func (w *wire) takeOrStop() {
	if !w.take() {
		w.stopReading()
	}
}

// nudge wakes the writer, if it waits.
func (w *wire) nudge() { ring.Signal(w.progress) }

// listen sees to it that a reader runs. Where a server has PIPELINING it always
// does. Where it has not, nothing can be written while a reply is owed: there the
// writer reads for itself, and each reply wakes one goroutine less. It calls listen
// before it does anything but wait for a reply.
func (w *wire) listen() {
	w.c.mu.Lock()
	start := w.reading == writerReads
	if start {
		w.reading = readerReads
	}
	w.c.mu.Unlock()
	if start {
		go w.read()
	}
}

// hearing reports whether somebody else reads, or nobody needs to any more, and
// whether the server owes a reply.
func (w *wire) hearing() (listening, owed bool) {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	return w.reading != writerReads, w.expected.Len() > 0
}

// read is the reader: it takes replies until the wire ends, or until the writer
// reads for itself. Whatever it has done, the writer is woken.
func (w *wire) read() {
	defer w.nudge()
	for w.take() {
		if w.givesWay() {
			return
		}
	}
	w.stopReading()
}

// givesWay reports that the reader leaves the reading to the writer, which waits
// for a reply and can do nothing else meanwhile.
func (w *wire) givesWay() bool {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	if !w.caps.Pipelining && w.err == nil && len(w.inFlight) > 0 && w.inFlight[0].content != contentStreaming {
		w.reading = writerReads
	}
	return w.reading != readerReads
}

// take reads the replies that came together, and wakes the writer when all are
// entered. It reports whether reading makes sense any longer.
func (w *wire) take() (goOn bool) {
	for more := true; more; {
		reply, err := w.readReply()
		if err == nil {
			w.c.observeReply(w.id, reply)
		}
		w.c.mu.Lock()
		if err == nil {
			goOn = w.takeLocked(reply)
		} else {
			goOn = w.readFailedLocked(err)
		}
		if more = goOn && w.in.Ready(); !more {
			w.heard = time.Now()
			w.armLocked()
		}
		listening := w.reading == readerReads
		w.c.mu.Unlock()
		if !more && listening {
			w.nudge()
		}
	}
	return goOn
}

// stopReading marks the end of all replies, and closes the socket, so that a writer
// whom nobody reads does not wait for its deadline.
func (w *wire) stopReading() {
	w.raw.Close()
	w.c.mu.Lock()
	w.reading = readingDone
	w.c.mu.Unlock()
	close(w.ended)
}

// takeLocked matches a reply to the oldest unanswered command. It reports whether
// reading makes sense any longer.
func (w *wire) takeLocked(r smtp.Reply) (goOn bool) {
	if !w.owedLocked() {
		return w.unaskedLocked(r)
	}
	e := w.expected.Pop()
	if w.answersHelpLocked(e, r) {
		return true
	}
	if !e.fits(r) {
		bad := w.failure(verbSteps[e.verb], errOutOfStep)
		bad.Stage, bad.Reply = e.verb.stage(), replyFrom(r)
		w.outOfStepLocked(bad)
		w.expected.Unpop(e) // still unanswered
		return false
	}
	if e.endedBy(r) {
		w.turnedAwayLocked(e, r)
	}
	if e.tx != nil {
		w.answerLocked(e, r)
	}
	return w.err == nil || w.owedLocked() // else there is nothing to wait for
}

// owedLocked reports that a command which has left is not answered yet.
func (w *wire) owedLocked() bool { return w.expected.Len() > 0 && w.expected.Front().at < w.handed }

var errOutOfStep = session.ErrOutOfStep

// unaskedLocked: a reply to no command. It is the server's verdict on a content that
// is still leaving, or its farewell, or the proof that we are out of step. In any case
// nothing can be built on this wire.
func (w *wire) unaskedLocked(r smtp.Reply) (goOn bool) {
	tx := w.last
	underway := tx != nil && tx.data.Code == 354 && !tx.begun() && tx.state != txEnded
	e := w.failure(StepIdle, nil)
	if underway {
		e.Stage, e.Step = StageContent, StepContent
	}
	e.Reply = replyFrom(r)
	switch {
	case underway && r.Negative() && !tx.mishap.outOfStep():
		// No dot and no QUIT may follow, which could be taken for the end of the
		// message: all that was said before was answered, so there is nothing to read.
		tx.final, tx.failedHere = r, true
		e.Hint = hintFor(e, w)
		w.poisonLocked(lostByHangUp, e)
		return false
	case r.EndsWire():
		w.c.stats.TurnedAway++
		w.poisonLocked(lostByHangUp, e)
		return false // nothing is owed, however much more it may say
	}
	e.Err = errors.New("the server said something that answers no command")
	w.outOfStepLocked(e)
	return false
}

// turnedAwayLocked: the server says that it closes the wire. What else it says to what
// is underway is still read.
func (w *wire) turnedAwayLocked(e expectation, r smtp.Reply) {
	if w.lost >= lostByWord {
		return // it says so to everything behind the first as well
	}
	if e.tx != nil && e.verb.stage() != StageContent {
		e.tx.failedHere = true
	}
	if r.Enhanced() != [3]int{4, 3, 2} { // busy (RFC 3463 §3.4), which is about a moment and not about this wire
		w.c.learnCapLocked(w, e.verb)
	}
	w.c.stats.TurnedAway++
	bye := w.failure(verbSteps[e.verb], nil)
	bye.Stage, bye.Reply = e.verb.stage(), replyFrom(r)
	bye.Hint = hintFor(bye, w)
	w.poisonLocked(lostByWord, bye)
	if half, ok := w.raw.(interface{ CloseWrite() error }); ok {
		half.CloseWrite() // it can stop waiting for more, and its own close tells that this was all
	}
}

// answerLocked enters a reply into its transaction, and ends that when it was the
// last.
func (w *wire) answerLocked(e expectation, r smtp.Reply) {
	tx := e.tx
	tx.unanswered--
	switch e.verb {
	case verbProbe:
		tx.probed = r
	case verbReset:
		tx.clear = r
	case verbMail:
		tx.mail = r
		if r.WireUsedUp() && w.mails > 1 {
			tx.mishap, w.spent = elsewhere, true
			w.c.learnCapLocked(w, verbMail)
		}
		w.answered++
		if r.Code == 503 { // the session is not what we take it for: the next one may be
			w.spent = true
			if w.completed > 0 {
				tx.mishap = elsewhere
			}
		}
	case verbRcpt:
		tx.rcpt[e.rcpt] = r
		if e.rcpt == len(tx.rcpt)-1 {
			w.learnRcptMax(tx)
		}
	case verbData:
		tx.data = r
		w.learnDiscarding(tx)
	case verbTerminator:
		tx.final = r
	case verbChunk:
		tx.final = r
		if tx.accepted() > 0 && r.NotUnderstood() {
			tx.mishap = unchunked
			w.c.fallBackLocked(w, &w.c.quirks.NoChunking, "BDAT is refused where it is due: messages go out by DATA")
		}
	}
	w.endIfAnsweredLocked(tx)
}

// endIfAnsweredLocked takes a transaction whose last reply was read off the wire,
// and settles it.
func (w *wire) endIfAnsweredLocked(tx *transaction) {
	if tx.state != txWritten || tx.unanswered > 0 {
		return
	}
	if w.err != nil {
		return // what it means is known when the wire has ended
	}
	if tx.final.Positive() && !tx.handedOver() {
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
	if !tx.final.Positive() {
		w.refused++
	}
	w.growLocked(tx)
	w.c.settleLocked(tx)
}

// endPostponedLocked settles those whose last reply came while their own last octets
// were being written: now it is known that these have left.
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

// growLocked doubles the window when as many transactions as it holds have ended
// in step.
func (w *wire) growLocked(tx *transaction) {
	w.windowed = w.windowed || tx.behind
	if w.drained++; w.drained >= w.window {
		w.window, w.drained = min(2*w.window, w.c.window()), 0
		if w.caps.Pipelining {
			w.c.room.Store(int32(w.window))
		}
	}
}

// readFailedLocked decides what an error of reading means: false is the end.
func (w *wire) readFailedLocked(err error) bool {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		if w.deadline.IsZero() || time.Now().Before(w.deadline) {
			w.armLocked() // it was for a reply that came in time
			return true
		}
		if w.err != nil {
			return false // the lingering is over
		}
		e := w.expected.Front()
		late := w.failure(verbSteps[e.verb], fmt.Errorf("no reply within %v: %w", w.c.timeouts.of(e.verb), err))
		late.Stage = e.verb.stage()
		w.poisonLocked(lostByFault, late)
		return true
	}
	why := lostByHangUp
	if errors.Is(err, net.ErrClosed) {
		why = lostByFault // we closed it
	}
	if err == io.EOF {
		err = errHungUp
	}
	step := StepIdle
	if w.expected.Len() > 0 {
		step = verbSteps[w.expected.Front().verb]
	}
	w.poisonLocked(why, w.failure(step, err))
	return false
}

var errHungUp = session.ErrHungUp

// armLocked sets the deadline of the read underway: it belongs to the oldest
// unanswered command, and starts anew with each reply.
func (w *wire) armLocked() {
	var t time.Time
	switch {
	case w.err != nil:
		if t = time.Now().Add(linger); t.After(w.lastCall) {
			t = w.lastCall
		}
	case w.owedLocked():
		t = time.Now().Add(w.c.timeouts.of(w.expected.Front().verb))
	case w.deadline.IsZero():
		return
	}
	w.deadline = t
	w.conn.SetReadDeadline(t)
}

// poisonLocked forbids writing; the first reason counts. The reader lingers for
// the replies that are still underway.
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
	if loose, ok := w.raw.(*looseConn); ok {
		loose.cut()
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
		// One reply too many may have been said at any time before; but who had all of his
		// in step, and only waits for a write to return, is as good as settled.
		if tx.state == txOpen || tx.unanswered > 0 {
			tx.mishap = shifted
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
