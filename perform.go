package postrider

import (
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/postrider/postrider/internal/body"
	"github.com/postrider/postrider/internal/cause"
	"github.com/postrider/postrider/internal/detach"
	"github.com/postrider/postrider/internal/quirks"
	smtp "github.com/postrider/postrider/internal/wire"
)

// perform writes one transaction. Without PIPELINING, command after command. With it (RFC 2920), MAIL, RCPT… and DATA
// are one flight, which begins with the content of the transaction before, if that is still there. With CHUNKING as
// well (RFC 3030), a small message is part of its flight, and whole transactions follow each other. When perform
// returns, the terminator is in the flight, or nothing more is to be written. The final reply is the reader's business.
func (w *wire) perform(tx *transaction) {
	if w.envelope(tx) {
		if tx.chunked {
			w.chunk(tx)
		} else if w.data(tx) {
			w.content(tx)
		}
	}
	if tx.content != contentCommitted {
		w.flight.end(tx, nil, 0) // it has no terminator
	}
	if len(w.flight.out) >= body.InMemory {
		w.flush()
	}
}

// envelope reports whether a content makes sense.
func (w *wire) envelope(tx *transaction) bool {
	if tx.prelude == probeFirst {
		w.say(expectation{verb: verbProbe, tx: tx}, discardProbe)
	}
	if tx.prelude != noPrelude {
		w.say(expectation{verb: verbReset, tx: tx}, "RSET\r\n")
		if !w.inStep() {
			return false
		}
	}
	d := tx.d
	begin := len(w.flight.out)
	w.flight.out = smtp.AppendMail(w.flight.out, d.from.Form(tx.utf8), w.mailParams(tx))
	w.expect(expectation{verb: verbMail, tx: tx}, begin, len(w.flight.out))
	if !w.inStep() || !w.caps.Pipelining && !tx.Mail.Positive() {
		return false
	}
	for k, i := range tx.rcpts {
		to := d.rcpts[i].Form(tx.utf8)
		begin := len(w.flight.out)
		p := d.wishes.RcptParams(i, to, &w.caps)
		p.UTF8 = tx.utf8
		w.flight.out = smtp.AppendRcpt(w.flight.out, to, p)
		w.expect(expectation{verb: verbRcpt, tx: tx, rcpt: k}, begin, len(w.flight.out))
		if !w.inStep() {
			return false
		}
		if len(w.flight.out) >= body.InMemory {
			w.flush()
		}
	}
	return w.caps.Pipelining || tx.Accepted() > 0
}

// inStep waits, on a wire without PIPELINING, for the reply to the command just put into the flight; it reports false
// when the wire has ended.
func (w *wire) inStep() bool {
	return w.caps.Pipelining || w.await(func() bool { return w.expected.Len() == 0 })
}

func (w *wire) mailParams(tx *transaction) smtp.MailParams {
	p := smtp.MailParams{EightBit: w.caps.EightBitMIME, UTF8: tx.utf8, RequireTLS: tx.d.requireTLS}
	if w.caps.HasSize && tx.d.body.Size > 0 {
		p.Size = tx.d.body.Size
	}
	if tx.d.wishes != nil {
		tx.d.wishes.MailParams(&p, &w.caps, time.Now())
	}
	return p
}

// chunk writes the content by BDAT, whole, behind the RCPTs. If those are all refused, the server throws the octets
// away and refuses the BDAT (RFC 3030 §2).
func (w *wire) chunk(tx *transaction) {
	if tx.afterSilence && !w.await(func() bool { return tx.Mail.Code != 0 }) {
		return
	}
	begin := len(w.flight.out)
	w.flight.out = append(w.flight.out, "BDAT "...)
	w.flight.out = strconv.AppendInt(w.flight.out, tx.d.body.Size, 10)
	w.flight.out = append(w.flight.out, " LAST\r\n"...)
	text := len(w.flight.out)
	if !w.commit(tx, func() { w.flight.end(tx, tx.d.body.Text, 1) }) { // the last octet is what ends it
		w.flight.out = w.flight.out[:begin]
		return
	}
	w.expect(expectation{verb: verbChunk, tx: tx}, begin, text)
	w.c.observeContent(w.id, w.flight.out[text:])
}

// commit decides in one step whether a transaction is ended: not if its caller has given up, whose Send has then said
// Untried and is right. Otherwise put, if there is one, copies what is the caller's into the flight; from now on a Send
// that is cancelled can only say Unknown.
func (w *wire) commit(tx *transaction, put func()) bool {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	if tx.cancelled() {
		tx.content = contentAhead
		return false
	}
	if put != nil {
		put()
	}
	tx.content = contentCommitted
	return true
}

// data reports whether the server waits for a content.
func (w *wire) data(tx *transaction) bool {
	w.say(expectation{verb: verbData, tx: tx}, "DATA\r\n")
	return w.await(func() bool { return tx.Data.Code != 0 }) && tx.Data.Code == 354
}

// content writes the message and its terminator into the flight. A content that breaks off is never ended: the wire is
// cut instead, without a dot and without a QUIT, whose line could be taken for the message's last.
func (w *wire) content(tx *transaction) {
	if !tx.Mail.Positive() {
		// The server wants a content for a transaction that it has refused to begin: whatever we wrote would be for
		// somebody else's.
		w.cut(tx)
		return
	}
	if tx.Accepted() == 0 {
		// 354 although every recipient was refused: a lone dot gets out of it (RFC 2920 §3.1). It decides nothing.
		if w.commit(tx, nil) {
			w.terminate(tx)
		} else {
			w.breakOff(tx, tx.d.ctx.Err())
		}
		return
	}
	begin := len(w.flight.out)
	var whole func()
	if b := &tx.d.body; b.Small {
		whole = func() { w.put(&smtp.Stuffer{}, b.Text, b.Dots) }
	} else if err := w.stream(tx); err != nil {
		w.breakOff(tx, err)
		return
	}
	if !w.commit(tx, whole) {
		w.breakOff(tx, tx.d.ctx.Err())
		return
	}
	if tx.d.body.Small {
		w.c.observeContent(w.id, w.flight.out[begin:])
	}
	w.terminate(tx)
}

// putContent puts a block into the flight. A large one that needs no stuffing is written from where it lies.
func (w *wire) putContent(stuffer *smtp.Stuffer, block []byte, dots bool) {
	if !dots && len(block) >= body.InMemory {
		w.c.observeContent(w.id, block)
		w.flush()
		w.write(block)
		return
	}
	begin := len(w.flight.out)
	w.put(stuffer, block, dots)
	w.c.observeContent(w.id, w.flight.out[begin:])
}

// put copies a block into the flight.
func (w *wire) put(stuffer *smtp.Stuffer, block []byte, dots bool) {
	if len(block) > body.InMemory {
		w.flight.out = slices.Grow(w.flight.out, len(block)+len(block)/8) // at once, not by doubling
	}
	if dots {
		w.flight.out = stuffer.Append(w.flight.out, block)
	} else {
		w.flight.out = append(w.flight.out, block...)
	}
}

// stream writes a large content, block by block.
func (w *wire) stream(tx *transaction) error {
	w.c.mu.Lock()
	if tx.cancelled() {
		w.c.mu.Unlock()
		return tx.d.ctx.Err()
	}
	// From here on the Send waits for us: we send what is its caller's.
	tx.content = contentStreaming
	w.c.mu.Unlock()
	w.listen() // a refusal may come while it leaves
	s := tx.d.body.Stream()
	defer s.Drop()
	var stuffer smtp.Stuffer
	for !w.dead() {
		b, err := w.nextBlock(s)
		if err != nil {
			return err
		}
		w.putContent(&stuffer, b.Text, b.Dots)
		if b.Last {
			return nil
		}
		w.flush()
	}
	return nil // the wire's own reason says more
}

// nextBlock waits for the next block of a content, as long as the wire works, its Send waits, and the content goes on
// giving something.
func (w *wire) nextBlock(s *body.Stream) (body.Block, error) {
	return s.NextWithin(body.Wait{Patience: w.c.timeouts.Block, Woken: w.progress, Over: w.dead})
}

// dead reports that nothing more can be written.
func (w *wire) dead() bool {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	return w.err != nil
}

// terminate puts the terminator of DATA into the flight.
func (w *wire) terminate(tx *transaction) {
	begin := len(w.flight.out)
	w.flight.end(tx, []byte(smtp.Terminator), len(smtp.Terminator))
	w.expect(expectation{verb: verbTerminator, tx: tx}, begin, len(w.flight.out))
}

// breakOff cuts the wire in the middle of a content. The replies of the transactions before this one were read, since
// its 354 was. That a content breaks off is its own fault, which time does not mend.
func (w *wire) breakOff(tx *transaction, err error) {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	tx.content = contentAhead
	waited := tx.d.state != sendAbandoned // else its Send has returned, and reads without the lock
	if p, is := err.(*detach.Panic); is && waited {
		tx.d.panicked = p.Value
	}
	if w.err == nil {
		if waited {
			tx.d.ownFault = true
		}
		tx.broken = &Error{Stage: StageContent, Step: StepContent, Address: w.address, Err: cause.Lasting{Err: err}}
		w.killLocked(lostByContent, tx.broken)
	}
}

// cut ends a wire on which the server does not know any more where it is.
func (w *wire) cut(tx *transaction) {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	e := w.failure(StepData, errors.New("the server wants a content although it refused MAIL: "+
		"replies and commands are out of step"))
	e.Reply = replyFrom(tx.Data)
	w.outOfStepLocked(e)
	w.raw.Close()
}

// beginLocked prepares a transaction that is about to be written.
func (w *wire) beginLocked(tx *transaction) {
	before := w.last
	if before != nil {
		tx.behind = before.state != txEnded
		// Until its content has come to its end, a server may hold on to the transaction before: Exim does after a BDAT
		// whose recipients were all refused, and would take our RCPTs under the old sender. RSET ends it for sure (RFC
		// 5321 §4.1.1.5, RFC 3030 §2). Behind DATA's own terminator there is nothing to end.
		if before.content != contentCommitted || before.chunked && !before.Final.Positive() {
			tx.prelude = resetFirst
		}
	}
	if w.probesLocked(tx) {
		tx.prelude, w.discard = probeFirst, quirks.DiscardAsked
	}
	tx.ResetFirst = tx.prelude != noPrelude
	tx.chunked = w.chunksLocked(tx)
	tx.afterSilence = tx.chunked && len(w.inFlight) == 0 && time.Since(w.heard) > w.c.probeAfter()
	if w.c.trace.Event != nil {
		tx.since = time.Now()
	}
	w.mails++
	w.last = tx
	w.inFlight = append(w.inFlight, tx)
	w.unacked += tx.weight()
}

// chunksLocked decides for BDAT: where the next transaction can follow unread, which DATA does not allow. A message
// alone goes out by DATA, whose terminator is sent only when the server has answered the envelope: then a wire that
// turns out to be dead costs a second try and not an Unknown outcome.
func (w *wire) chunksLocked(tx *transaction) bool {
	company := len(w.inFlight) > 0 || w.c.queue.Len() > 0
	return w.chunks() && company && tx.d.body.Small && w.discard == quirks.Discards
}

// chunks reports whether BDAT is wanted and of use on this wire, if the server can be trusted with it.
func (w *wire) chunks() bool {
	wanted := w.c.cfg.Chunking != UseOff && !w.c.quirks.NoChunking.Holds()
	return wanted && w.caps.Chunking && w.caps.Pipelining && w.c.window() > 1
}

// roomLocked reports whether another transaction may be begun now.
func (w *wire) roomLocked() bool {
	if len(w.inFlight) == 0 {
		return true
	}
	return w.caps.Pipelining && len(w.inFlight) < w.windowLocked() && w.unacked < w.c.windowOctets()
}
