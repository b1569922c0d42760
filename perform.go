package postrider

import (
	"errors"
	"fmt"
	"io"

	smtp "github.com/postrider/postrider/internal/wire"
)

// perform writes one transaction: MAIL, RCPT… and DATA in one flight where the
// server offers PIPELINING (RFC 2920), one by one where it does not, then the
// content. When it returns, the terminator is in the flight, or nothing more is
// to be written. The final reply is the reader's business.
func (w *wire) perform(tx *transaction) {
	if w.envelope(tx) && w.data(tx) {
		w.content(tx)
	}
	w.c.mu.Lock()
	defer w.c.unlock()
	tx.written, tx.streaming = true, false
	if tx.unanswered == 0 && w.err == nil && !tx.ended {
		w.endLocked(tx)
	}
}

// envelope reports whether DATA makes sense.
func (w *wire) envelope(tx *transaction) bool {
	if w.needsReset {
		w.queueCommand(expectation{verb: verbReset}, []byte("RSET\r\n"))
		if !w.inStep() {
			return false
		}
	}
	// Until a terminator is sent, the server may hold on to this transaction: one
	// that is refused or left halfway needs a RSET behind it (RFC 5321 §4.1.1.5).
	w.needsReset = true
	d := tx.d
	w.queueCommand(expectation{verbMail, tx, 0}, smtp.AppendMail(nil, d.from.form(tx.utf8), w.mailParams(tx)))
	if !w.inStep() || !w.caps.Pipelining && tx.mail.Code/100 != 2 {
		return false
	}
	for k, i := range tx.rcpts {
		to := d.rcpts[i].form(tx.utf8)
		w.queueCommand(expectation{verbRcpt, tx, k}, smtp.AppendRcpt(nil, to, w.rcptParams(tx, to)))
		if !w.inStep() {
			return false
		}
		if len(w.out) > inMemory {
			w.flush()
		}
	}
	return w.caps.Pipelining || tx.accepted() > 0
}

// inStep waits, on a wire without PIPELINING, for the reply to the command just
// queued; it reports false when the wire has ended.
func (w *wire) inStep() bool {
	return w.caps.Pipelining || w.await(func() bool { return w.expected.len() == 0 })
}

func (w *wire) mailParams(tx *transaction) smtp.MailParams {
	p := smtp.MailParams{EightBit: w.caps.EightBitMIME, UTF8: tx.utf8}
	if w.caps.HasSize && tx.d.body.size > 0 {
		p.Size = tx.d.body.size
	}
	if w.caps.DSN {
		p.Return, p.EnvelopeID = tx.d.msg.DSN.Return, tx.d.msg.DSN.EnvelopeID
	}
	return p
}

// rcptParams derives ORCPT from the address that goes out, so that development
// mode tells nobody's address.
func (w *wire) rcptParams(tx *transaction, to string) smtp.RcptParams {
	if !w.caps.DSN || tx.d.msg.DSN == (DSN{}) {
		return smtp.RcptParams{}
	}
	return smtp.RcptParams{Notify: tx.d.msg.DSN.Notify, Original: to, UTF8: tx.utf8}
}

// data reports whether the server waits for a content.
func (w *wire) data(tx *transaction) bool {
	w.queueCommand(expectation{verbData, tx, 0}, []byte("DATA\r\n"))
	return w.await(func() bool { return tx.data.Code != 0 }) && tx.data.Code == 354
}

// content writes the message and its terminator into the flight. A content that
// breaks off is never ended: the wire is cut instead, without a dot and without a
// QUIT, whose line could be taken for the message's last.
func (w *wire) content(tx *transaction) {
	w.c.mu.Lock()
	nobody := tx.accepted() == 0
	w.c.mu.Unlock()
	if nobody {
		// 354 although every recipient was refused: a lone dot gets out of it
		// (RFC 2920 §3.1). It decides nothing.
		w.terminate(tx)
		return
	}
	var dots smtp.Stuffer
	body := tx.d.body
	w.putContent(&dots, body.head)
	if !body.small() {
		if err := w.streamRest(tx, &dots); err != nil {
			w.breakOff(tx, err)
			return
		}
	}
	if !w.terminate(tx) {
		w.breakOff(tx, tx.d.ctx.Err())
	}
}

func (w *wire) putContent(dots *smtp.Stuffer, canonical []byte) {
	from := len(w.out)
	w.out = dots.Append(w.out, canonical)
	w.c.observeContent(w.id, w.out[from:])
}

// streamRest writes what follows the first block.
func (w *wire) streamRest(tx *transaction, dots *smtp.Stuffer) error {
	w.c.mu.Lock()
	if tx.cancelled() {
		w.c.mu.Unlock()
		return tx.d.ctx.Err()
	}
	// From here on the Send waits for us: we read what is its caller's.
	tx.streaming = true
	w.c.mu.Unlock()
	s, err := tx.d.body.stream()
	if err != nil {
		return err
	}
	defer s.close()
	for {
		block, err := s.next()
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("reading the content: %w", err)
		}
		w.putContent(dots, block)
		if err != nil {
			return nil
		}
		w.flush()
		if w.dead() {
			return nil // the wire's own reason says more
		}
	}
}

// dead reports that nothing more can be written.
func (w *wire) dead() bool {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	return w.err != nil
}

// terminate puts the terminator into the flight, unless the caller has given up:
// that is decided here, in one step, so that a Send that reports Untried is right.
func (w *wire) terminate(tx *transaction) bool {
	w.c.mu.Lock()
	ok := !tx.cancelled()
	if ok {
		tx.terminator = w.handed + int64(len(w.out))
	}
	w.c.mu.Unlock()
	if ok {
		w.queueCommand(expectation{verbTerminator, tx, 0}, []byte(smtp.Terminator))
		w.needsReset = false
	}
	return ok
}

// breakOff cuts the wire in the middle of a content. The replies of the
// transactions before this one were read, since its 354 was.
func (w *wire) breakOff(tx *transaction, err error) {
	w.c.mu.Lock()
	defer w.c.unlock()
	if w.err == nil {
		w.ours = true
		tx.broken = &Error{Stage: StageContent, Command: "content", Address: w.address, Err: err}
		w.killLocked(tx.broken)
	}
}
