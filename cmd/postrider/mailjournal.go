package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/journal"
	"github.com/postrider/postrider/internal/text"
	"github.com/postrider/postrider/mailing"
)

// book knows what became of each recipient of a mailing, and keeps it in a journal.
//
// A recipient's intent is on the disk before Send is called, and the outcome is written after it. The next intent of
// the same sending goroutine is synced after that, and with it the outcome: so at every moment at most one message for
// each of these goroutines is in doubt, whatever ends the process or the machine.
type book struct {
	created  time.Time
	tally    *tally
	journal  *journal.Journal // nil: nothing is kept
	outcomes []postrider.Outcome
	open     []bool // of outcomes: is owed a message
}

// The records. Recipients are named by their places among those who are to get it.
type (
	record struct {
		Created  *time.Time      `json:"created,omitempty"`
		Intent   [][2]int        `json:"i,omitempty"` // first and last, and so on
		Outcomes []recordOutcome `json:"outcomes,omitempty"`
		Short    []shortOutcome  `json:"o,omitempty"` // what the first versions wrote
	}
	recordOutcome struct {
		At      int               `json:"n"`
		Outcome postrider.Outcome `json:"outcome"`
	}
	shortOutcome struct {
		At       int                    `json:"n"`
		State    postrider.State        `json:"s"`
		Stage    postrider.Stage        `json:"g"`
		Code     int                    `json:"c"`
		Enhanced postrider.EnhancedCode `json:"e"`
		Text     string                 `json:"t"`
	}
)

// newBook begins a book for n recipients, without a journal.
func newBook(n int, created time.Time) *book {
	b := &book{created: created, tally: &tally{}, outcomes: make([]postrider.Outcome, n), open: make([]bool, n)}
	for i := range b.open {
		b.open[i] = true
	}
	return b
}

// keep opens the journal of the mailing, or makes it, and enters what is in it. With
// force it takes the place of a file that is no journal.
func (b *book) keep(name string, identity []byte, force bool) (err error) {
	known := false
	b.journal, err = journal.Open(name, identity, func(payload []byte) error {
		var r record
		if err := json.Unmarshal(payload, &r); err != nil {
			return fmt.Errorf("%w: unreadable record", journal.ErrDamaged)
		}
		if r.Created != nil {
			b.created, known = *r.Created, true
		}
		return b.replay(&r)
	})
	if force && errors.Is(err, journal.ErrForeign) {
		b.journal, err = journal.Overwrite(name, identity)
	}
	if err == nil && !known {
		err = b.commit(&record{Created: &b.created})
	}
	if err != nil {
		return journalError(name, errors.Join(err, b.close()))
	}
	return nil
}

// journalError says what to do.
func journalError(name string, err error) error {
	var damage *journal.Damage
	code, advice := exitData, ""
	switch {
	case errors.Is(err, journal.ErrOther):
		err = errors.New("belongs to another mailing, with other recipients, another message, or other flags")
		advice = "Name another file with --journal, or remove this one if that mailing is over"
	case errors.Is(err, journal.ErrLocked):
		code, advice = exitTempFail, "Wait until the other process has ended"
	case errors.Is(err, journal.ErrMoved):
		code, advice = exitTempFail, "Is another process sending the mailing?"
	case errors.Is(err, journal.ErrVersion):
		advice = "Finish the mailing with the version that began it. " +
			"With a new journal (--journal), all recipients get it again"
	case errors.As(err, &damage) && damage.Sound > 0:
		advice = fmt.Sprintf("The journal does not show who has got the message since then. Restore it from a copy; "+
			"or go on from the sound part with \"head -c %d %s > NEW\" and --journal NEW: "+
			"the recipients noted after it may then get the message twice", damage.Sound, name)
	case errors.Is(err, journal.ErrForeign), errors.Is(err, journal.ErrDamaged):
		advice = "If it was a journal, it was emptied or overwritten, and does not show who has got the message: " +
			"restore it from a copy. If it is another file, name a different one with --journal. " +
			"To send to all recipients and lose what is in it, remove it, or name it with --force"
	default:
		return fail(exitCantCreate, fmt.Errorf("the journal %s: %w", name, cause(err)))
	}
	return fail(code, fmt.Errorf("the journal %s: %w. %s", name, err, advice))
}

// errNoAnswer is what is known of a recipient whose intent is the last that is known.
var errNoAnswer = errors.New("the run that sent it ended before the answer was recorded")

// replay enters a record of an earlier run.
func (b *book) replay(r *record) error {
	for _, run := range r.Intent {
		if run[0] < 0 || run[1] >= len(b.outcomes) || run[0] > run[1] {
			return fmt.Errorf("%w: there is no recipient %v", journal.ErrDamaged, run)
		}
		for i := run[0]; i <= run[1]; i++ {
			b.outcomes[i] = postrider.Outcome{State: postrider.Unknown, Stage: postrider.StageContent, Err: errNoAnswer}
			b.open[i] = false
		}
	}
	for _, o := range r.Short {
		r.Outcomes = append(r.Outcomes, recordOutcome{o.At, o.outcome()})
	}
	for _, o := range r.Outcomes {
		if o.At < 0 || o.At >= len(b.outcomes) {
			return fmt.Errorf("%w: there is no recipient %d", journal.ErrDamaged, o.At)
		}
		b.outcomes[o.At] = o.Outcome
		b.open[o.At] = mailing.Temporary(o.Outcome)
	}
	return nil
}

func (o *shortOutcome) outcome() postrider.Outcome {
	out := postrider.Outcome{
		State: o.State, Stage: o.Stage,
		Reply: postrider.Reply{Code: o.Code, Enhanced: o.Enhanced, Text: o.Text},
	}
	if o.Code == 0 && o.Text != "" {
		out.Reply.Text, out.Err = "", errors.New(o.Text)
	}
	return out
}

// commit writes a record, and waits until it is on the disk.
func (b *book) commit(r *record) error {
	payload, err := text.JSON(r, "")
	if err == nil {
		err = b.journal.Commit(payload)
	}
	return err
}

// before notes whom a message is about to be sent to.
func (b *book) before(a *mailing.Attempt, places []int) error {
	if b.journal == nil {
		return nil
	}
	if err := b.commit(&record{Intent: runs(a.Index, places)}); err != nil {
		return fail(exitCantCreate, fmt.Errorf("the journal: %w", err))
	}
	return nil
}

// after notes what became of them. If that cannot be written, they are unknown to the next run, which is all that can
// be done about it; the next Before reports it.
func (b *book) after(a *mailing.Attempt, places []int) {
	r := &record{}
	size := 0
	for i := range a.Result.Outcomes {
		at := places[a.Index[i]]
		now := b.doubted(at, a.Result.Outcomes[i])
		now.Recipient = "" // the place says it
		r.Outcomes = append(r.Outcomes, recordOutcome{at, now})
		if size += len(now.Reply.Text); size > largeRecord {
			b.note(r)
			r, size = &record{}, 0
		}
	}
	b.note(r)
	b.tally.add(a)
}

// largeRecord is how much the replies of a record may have before the next is begun, so
// that none is longer than the journal reads, whatever a server says.
const largeRecord = 1 << 20

// note writes a record of outcomes.
func (b *book) note(r *record) {
	if b.journal == nil || len(r.Outcomes) == 0 {
		return
	}
	if payload, err := text.JSON(r, ""); err == nil {
		_ = b.journal.Append(payload)
	}
}

// doubted is what became of a recipient, by the earlier runs too: one who may have got the message from one of them,
// and whom this run did not reach, still may have got it. Else the next run would send it again without asking.
func (b *book) doubted(at int, now postrider.Outcome) postrider.Outcome {
	if before := b.outcomes[at]; before.State == postrider.Unknown && now.State == postrider.Untried {
		return before
	}
	return now
}

// runs puts places that follow each other together.
func runs(index, places []int) (all [][2]int) {
	sorted := make([]int, len(index))
	for i, at := range index {
		sorted[i] = places[at]
	}
	slices.Sort(sorted)
	for _, p := range sorted {
		if n := len(all); n > 0 && all[n-1][1] == p-1 {
			all[n-1][1] = p
		} else {
			all = append(all, [2]int{p, p})
		}
	}
	return all
}

// of returns the outcomes of some recipients.
func (b *book) of(places []int) []postrider.Outcome {
	outcomes := make([]postrider.Outcome, len(places))
	for i, at := range places {
		outcomes[i] = b.outcomes[at]
	}
	return outcomes
}

// doubtful are those who may have got it, or not.
func (b *book) doubtful(places []int) (all []int) {
	for _, at := range places {
		if !b.open[at] && b.outcomes[at].State == postrider.Unknown {
			all = append(all, at)
		}
	}
	return all
}

func (b *book) close() (err error) {
	if b.journal != nil {
		err = b.journal.Close()
		b.journal = nil
	}
	return err
}

// decideUnknown asks what to do with those whose outcome is not known, or does what the flag says.
func (c *mailCmd) decideUnknown(std streams, r *mailReport) error {
	doubtful := r.book.doubtful(r.places)
	n := len(doubtful)
	if n == 0 || c.Unknown == "skip" {
		return nil
	}
	answer := c.Unknown
	if answer == "ask" {
		if !terminal(std.in) || !terminal(std.err) {
			return fail(exitProtocol, fmt.Errorf("%d recipients may or may not have got the message already. "+
				"Nothing was sent; choose what to do with them: --unknown=resend or --unknown=skip", n))
		}
		var err error
		if answer, err = ask(std, n); err != nil {
			return err
		}
	}
	if answer == "resend" {
		for _, at := range doubtful {
			r.book.open[at] = true
		}
	}
	return nil
}

// ask asks the person at the terminal.
func ask(std streams, n int) (string, error) {
	lines := bufio.NewScanner(std.in)
	for {
		fmt.Fprintf(std.err, "%d recipients may or may not have got the message already. "+
			"Send it to them again, or skip them? [resend/skip/quit] ", n)
		if !lines.Scan() {
			return "", fail(exitTempFail, errors.New("nothing was sent"))
		}
		switch answer := strings.ToLower(strings.TrimSpace(lines.Text())); answer {
		case "resend", "skip":
			return answer, nil
		case "quit", "q":
			return "", fail(exitTempFail, errors.New("nothing was sent"))
		}
	}
}
