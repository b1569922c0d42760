package postrider

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/postrider/postrider/internal/session"
	"github.com/postrider/postrider/internal/verdict"
	smtp "github.com/postrider/postrider/internal/wire"
)

// The reader of a wire: what the server says is seen when it arrives, matched with the oldest unanswered command, and
// entered into its transaction.

// reading says who takes the replies off the wire.
type reading int

const (
	writerReads reading = iota // while it waits for one
	readerReads
	readingDone // nobody: there is nothing more to read
)

// await flushes and waits until done, which is called with c.mu held. It reports false when the wire ended before that.
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

// listen sees to it that a reader runs. Where a server has PIPELINING it always does. Where it has not, nothing can be
// written while a reply is owed: there the writer reads for itself, and each reply wakes one goroutine less. It calls
// listen before it does anything but wait for a reply.
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

// hearing reports whether somebody else reads, or nobody needs to any more, and whether the server owes a reply.
func (w *wire) hearing() (listening, owed bool) {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	return w.reading != writerReads, w.expected.Len() > 0
}

// read is the reader: it takes replies until the wire ends, or until the writer reads for itself. Whatever it has done,
// the writer is woken.
func (w *wire) read() {
	defer w.nudge()
	for w.take() {
		if w.givesWay() {
			return
		}
	}
	w.stopReading()
}

// givesWay reports that the reader leaves the reading to the writer, which waits for a reply and can do nothing else
// meanwhile.
func (w *wire) givesWay() bool {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	if !w.caps.Pipelining && w.err == nil && len(w.inFlight) > 0 && w.inFlight[0].content != contentStreaming {
		w.reading = writerReads
	}
	return w.reading != readerReads
}

// take reads the replies that came together, and wakes the writer when all are entered. It reports whether reading
// makes sense any longer.
func (w *wire) take() (goOn bool) {
	for more := true; more; {
		goOn, more = w.enter(w.readReply())
	}
	return goOn
}

// enter tells of what was read and enters it, unless nobody listens any more; more reports that another reply came
// together with it.
func (w *wire) enter(reply smtp.Reply, err error) (goOn, more bool) {
	w.ear.Lock()
	defer w.ear.Unlock()
	if w.unheard {
		return false, false
	}
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
	return goOn, more
}

// stopHearing has no hook called, and nothing entered, for what the server may still say. A hook that is running is
// waited for.
func (w *wire) stopHearing() {
	w.ear.Lock()
	defer w.ear.Unlock()
	w.unheard = true
}

// stopReading marks the end of all replies, and closes the socket, so that a writer whom nobody reads does not wait for
// its deadline.
func (w *wire) stopReading() {
	w.raw.Close()
	w.c.mu.Lock()
	w.reading = readingDone
	w.c.mu.Unlock()
	close(w.ended)
}

// takeLocked matches a reply to the oldest unanswered command. It reports whether reading makes sense any longer.
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

// unaskedLocked: a reply to no command. It is the server's verdict on a content that is still leaving, or its goodbye,
// or the proof that we are out of step. In any case nothing can be built on this wire.
func (w *wire) unaskedLocked(r smtp.Reply) (goOn bool) {
	tx := w.last
	underway := tx != nil && tx.Data.Code == 354 && !tx.begun() && tx.state != txEnded
	e := w.failure(StepIdle, nil)
	if underway {
		e.Stage, e.Step = StageContent, StepContent
	}
	e.Reply = replyFrom(r)
	switch {
	case underway && r.Negative() && !tx.Mishap.OutOfStep():
		// No dot and no QUIT may follow, which could be taken for the end of the message: all that was said before was
		// answered, so there is nothing to read.
		tx.Final, tx.failedHere = r, true
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

// turnedAwayLocked: the server says that it closes the wire. What else it says to what is underway is still read.
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

// answerLocked enters a reply into its transaction, and ends that when it was the last.
func (w *wire) answerLocked(e expectation, r smtp.Reply) {
	tx := e.tx
	tx.unanswered--
	switch e.verb {
	case verbProbe:
		tx.probed = r
	case verbReset:
		tx.Clear = r
	case verbMail:
		tx.Mail = r
		if r.WireUsedUp() && w.mails > 1 {
			tx.Mishap, w.spent = verdict.Elsewhere, true
			w.c.learnCapLocked(w, verbMail)
		}
		w.answered++
		if r.Code == 503 { // the session is not what we take it for: the next one may be
			w.spent = true
			if w.completed > 0 {
				tx.Mishap = verdict.Elsewhere
			}
		}
	case verbRcpt:
		tx.Rcpt[e.rcpt] = r
		if e.rcpt == len(tx.Rcpt)-1 {
			w.learnRcptMax(tx)
		}
	case verbData:
		tx.Data = r
		w.learnDiscarding(tx)
	case verbTerminator:
		tx.Final = r
	case verbChunk:
		tx.Final = r
		if tx.Accepted() > 0 && r.NotUnderstood() {
			tx.Mishap = verdict.Unchunked
			w.c.fallBackLocked(w, &w.c.quirks.NoChunking, "BDAT is refused where it is due: messages go out by DATA")
		}
	}
	w.endIfAnsweredLocked(tx)
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
	if errors.Is(err, net.ErrClosed) || errors.Is(err, smtp.ErrSyntax) {
		why = lostByFault // we closed it, or it speaks, but not SMTP
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

// armLocked sets the deadline of the read underway: it belongs to the oldest unanswered command, and starts again with
// each reply.
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
