package postrider

import (
	"errors"
	"os"
	"time"

	"github.com/postrider/postrider/internal/body"
	smtp "github.com/postrider/postrider/internal/wire"
)

// verb is a command, as far as its reply and its timeout are concerned.
type verb int

const (
	verbMail verb = iota
	verbRcpt
	verbData
	verbTerminator // the line with the dot
	verbChunk      // BDAT … LAST and its octets
	verbReset
	verbQuit
	verbProbe // a BDAT outside of any transaction, to see what becomes of its octets
)

var verbSteps = [...]Step{StepMail, StepRcpt, StepData, StepContent, StepChunk, StepReset, StepQuit, StepChunk}

// command is the verb as what can answer it.
func (v verb) command() smtp.Command {
	return [...]smtp.Command{
		verbMail: smtp.Mail, verbRcpt: smtp.Rcpt, verbData: smtp.Data,
		verbTerminator: smtp.Content, verbChunk: smtp.Content,
		verbReset: smtp.Reset, verbQuit: smtp.Quit, verbProbe: smtp.Content,
	}[v]
}

func (v verb) stage() Stage {
	switch v {
	case verbRcpt:
		return StageRcpt
	case verbData, verbTerminator, verbChunk:
		return StageContent
	}
	return StageMail
}

// of is the timeout of a command's reply.
func (t *Timeouts) of(v verb) time.Duration {
	switch v {
	case verbRcpt:
		return t.Rcpt
	case verbData:
		return t.Data
	case verbTerminator, verbChunk:
		return t.Final
	case verbQuit:
		return t.Quit
	case verbProbe:
		return min(t.Mail, probePatience)
	}
	return t.Mail
}

// expectation is a reply to come: the answer to a command that was written, or stands in the flight that is being put
// together.
type expectation struct {
	verb verb
	tx   *transaction // nil for QUIT; of RSET and the probe, the one that follows
	rcpt int          // which of tx.rcpts
	at   int64        // where the command begins: in the flight, and then on the wire
}

// flight is what leaves together, before any reply to it is read: octets, the replies to expect, and the transactions
// that are complete with it. It belongs to the writer.
type flight struct {
	out      []byte
	expected []expectation
	complete []completion
}

// completion is a transaction for which nothing more will be written, and where in the flight its terminator lies;
// nowhere if it has none.
type completion struct {
	tx         *transaction
	begin, end int
}

// end puts the last octets of a transaction into the flight, and notes that the terminator is the last so many of them:
// in one step, since a terminator that left before it was noted would make Untried of what is Unknown.
func (f *flight) end(tx *transaction, octets []byte, terminator int) {
	f.out = append(f.out, octets...)
	f.complete = append(f.complete, completion{tx, len(f.out) - terminator, len(f.out)})
}

// expect notes that the command in out[begin:end] wants a reply.
func (w *wire) expect(e expectation, begin, end int) {
	e.at = int64(begin)
	w.flight.expected = append(w.flight.expected, e)
	w.c.observeCommand(w.id, w.flight.out[begin:end])
}

// say puts a command without parameters into the flight.
func (w *wire) say(e expectation, line string) {
	begin := len(w.flight.out)
	w.flight.out = append(w.flight.out, line...)
	w.expect(e, begin, len(w.flight.out))
}

// mayWait is from how many octets on a write may well wait for a server that does not read. Up to it there is room in
// any kernel's buffer.
const mayWait = 4 << 10

// flush registers what the flight is to be answered with, and hands it to the kernel. While a write is underway nobody
// can tell how much of it has left; so in one that may take a while the last octet of the last terminator comes in a
// write of its own, and a 2yz that is read before that is known to be none.
func (w *wire) flush() {
	f := &w.flight
	cut := 0
	if n := len(f.complete); n > 0 && len(f.out) > mayWait {
		cut = max(0, f.complete[n-1].end-1)
	}
	if len(f.expected) > 0 || len(f.complete) > 0 {
		w.register(f)
		clear(f.expected)
		clear(f.complete)
		f.expected, f.complete = f.expected[:0], f.complete[:0]
	}
	if len(f.out) > 0 {
		w.write(f.out[:cut])
		w.write(f.out[cut:])
		f.out = f.out[:0]
	}
}

// register notes what the flight is to be answered with, and where its terminators will lie on the wire.
func (w *wire) register(f *flight) {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	for _, e := range f.expected {
		e.at += w.handed
		if w.err == nil { // else it will never leave
			w.expected.Push(e)
		}
		if e.tx != nil {
			e.tx.unanswered++
		}
	}
	for _, done := range f.complete {
		tx := done.tx
		if done.end > done.begin {
			tx.terminator = span{w.handed + int64(done.begin), w.handed + int64(done.end)}
		}
		tx.state = txWritten
		w.endIfAnsweredLocked(tx)
		if tx.state == txEnded {
			w.nudge() // there may be room for the next one, and no reply will come to say so
		}
	}
}

// write hands octets to the kernel. A block of 256 KiB has Timeouts.Block to leave, which is a minimum rate. A failure
// poisons the wire; the reader then goes on, since the server's last words may lie in its buffers.
func (w *wire) write(b []byte) {
	size := body.MemoryBlock
	if w.encrypted {
		size = body.BlockSize // crypto/tls cannot go on behind a deadline
	}
	for len(b) > 0 {
		block := b[:min(len(b), size)]
		w.c.mu.Lock()
		if w.err != nil {
			w.c.mu.Unlock()
			return
		}
		// From here on the block may be in the server's hands.
		w.leaving = int64(len(block))
		w.handed += w.leaving
		w.c.mu.Unlock()

		start := time.Now()
		w.conn.SetWriteDeadline(start.Add(w.c.timeouts.Block))
		n, err := w.conn.Write(block)
		if n >= body.BlockSize && !w.encrypted && errors.Is(err, os.ErrDeadlineExceeded) {
			err = nil // slow, but not too slow: the rest has a deadline of its own
		}
		w.c.mu.Lock()
		w.handed -= w.leaving - int64(n)
		w.leaving = 0
		if err != nil {
			w.poisonLocked(lostByFault, w.failure(StepWrite, err))
			w.c.mu.Unlock()
			return
		}
		w.endPostponedLocked()
		if w.deadline.IsZero() || time.Since(start) > 100*time.Millisecond {
			w.armLocked() // the time for a reply begins when its command has left
		}
		w.c.mu.Unlock()
		b = b[n:]
	}
}
