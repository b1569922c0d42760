package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/mailing"
	"github.com/postrider/postrider/smtptest"
)

// moment is what is true from a length of the journal on.
type moment struct {
	length int64
	sent   []int // the server may have got it, as far as anybody knows
	owed   []int // it has not, or it said no and may be asked again
}

// history is a mailing to five, as it goes on.
type history struct {
	t       *testing.T
	name    string
	book    *book
	moments []moment
}

// note adds what is true now.
func (h *history) note(sent, owed []int) {
	info, err := os.Stat(h.name)
	if err != nil {
		h.t.Fatal(err)
	}
	h.moments = append(h.moments, moment{info.Size(), sent, owed})
}

func (h *history) before(index ...int) {
	if err := h.book.before(&mailing.Attempt{Index: index}, []int{0, 1, 2, 3, 4}); err != nil {
		h.t.Fatal(err)
	}
}

func (h *history) after(index []int, states ...postrider.State) {
	a := &mailing.Attempt{Index: index, Result: &postrider.Result{}}
	for _, s := range states {
		o := postrider.Outcome{State: s, Stage: postrider.StageContent}
		if s != postrider.Unknown && s != postrider.Untried {
			o.Reply = postrider.Reply{Code: map[postrider.State]int{postrider.Accepted: 250, postrider.Deferred: 450,
				postrider.Refused: 550}[s]}
		}
		a.Result.Outcomes = append(a.Result.Outcomes, o)
	}
	h.book.after(a, []int{0, 1, 2, 3, 4})
}

// lived is a history with every kind of outcome, and its journal.
func lived(t *testing.T) (h *history, text []byte) {
	h = &history{t: t, name: filepath.Join(t.TempDir(), "j"), book: newBook(5, time.Now())}
	if err := h.book.keep(h.name, []byte(`{"mailing":"00"}`), false); err != nil {
		t.Fatal(err)
	}
	h.note(nil, []int{0, 1, 2, 3, 4})
	h.before(0, 1)
	h.note([]int{0, 1}, []int{2, 3, 4})
	h.before(3) // it passes the other
	h.note([]int{0, 1, 3}, []int{2, 4})
	h.after([]int{0, 1}, postrider.Accepted, postrider.Deferred)
	h.note([]int{0, 3}, []int{1, 2, 4})
	h.before(2)
	h.note([]int{0, 2, 3}, []int{1, 4})
	h.after([]int{2}, postrider.Untried)
	h.note([]int{0, 3}, []int{1, 2, 4})
	h.after([]int{3}, postrider.Unknown)
	h.note([]int{0, 3}, []int{1, 2, 4})
	h.before(1)
	h.note([]int{0, 1, 3}, []int{2, 4})
	h.after([]int{1}, postrider.Refused)
	h.note([]int{0, 1, 3}, []int{2, 4})
	h.before(4)
	h.note([]int{0, 1, 3, 4}, []int{2})
	text, err := os.ReadFile(h.name)
	if err := errors.Join(err, h.book.close()); err != nil {
		t.Fatal(err)
	}
	return h, text
}

// next opens a journal as the next run does, and returns to whom that would send
// without being told to.
func next(t *testing.T, name string, text []byte) (owed []int, err error) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt(text, 0)
	if err := errors.Join(err, f.Truncate(int64(len(text))), f.Close()); err != nil {
		t.Fatal(err)
	}
	b := newBook(5, time.Now())
	if err := b.keep(name, []byte(`{"mailing":"00"}`), false); err != nil {
		return nil, err
	}
	for i, open := range b.open {
		if open {
			owed = append(owed, i)
		}
	}
	return owed, b.close()
}

// A run that ended at any octet of its journal is gone on with by one that sends to
// those who are owed the message, and to nobody who may have got it.
func TestMailingThatEndedAtAnyOctet(t *testing.T) {
	h, text := lived(t)
	name := filepath.Join(t.TempDir(), "j")
	header := bytes.IndexByte(text, '\n') + 1
	header += bytes.IndexByte(text[header:], '\n') + 1
	for length := range len(text) + 1 {
		owed, err := next(t, name, text[:length])
		if length < header {
			if errorCode(err) != exitData {
				t.Errorf("%q: %v, owed %v; no crash leaves that", text[:length], err, owed)
			}
			continue
		}
		now := h.moments[0]
		for _, m := range h.moments {
			if m.length <= int64(length) {
				now = m
			}
		}
		if err != nil || !slices.Equal(owed, now.owed) {
			t.Errorf("ended at octet %d: %v, owed %v; want %v, for %v may have it", length, err, owed, now.owed,
				now.sent)
		}
	}
}

// A journal to which anything else has happened is not gone on with.
func TestMailingWithADamagedJournal(t *testing.T) {
	_, text := lived(t)
	name := filepath.Join(t.TempDir(), "j")
	try := func(what string, damaged []byte) {
		if bytes.HasPrefix(text, damaged) {
			return // it looks like one that ended there
		}
		if owed, err := next(t, name, damaged); errorCode(err) != exitData {
			t.Errorf("%s: %q: %v, owed %v", what, damaged, err, owed)
		}
	}
	for i := range text {
		for _, j := range []int{i + 1, i + 60, len(text)} {
			j = min(j, len(text))
			try("NULs", slices.Concat(text[:i], make([]byte, j-i), text[j:]))
			try("a hole", slices.Concat(text[:i], text[j:]))
		}
		try("NULs behind it", slices.Concat(text[:i], make([]byte, 512)))
	}
	lines := slices.Collect(bytes.Lines(text))
	for i := range lines {
		try("a record lost", slices.Concat(slices.Concat(lines[:i]...), slices.Concat(lines[i+1:]...)))
		for j := range i {
			swapped := slices.Clone(lines)
			swapped[i], swapped[j] = swapped[j], swapped[i]
			try("two records in another order", slices.Concat(swapped...))
		}
	}
}

// begun starts a mailing to five, one after the other, whose first message is at the
// server and not answered yet.
func begun(t *testing.T) (dir string, server *smtptest.Server, first *exec.Cmd, answer func()) {
	t.Helper()
	server = smtptest.NewUnstartedServer()
	arrived, answers := make(chan struct{}), make(chan struct{})
	var another atomic.Bool
	server.OnMessage = func(*smtptest.Message) {
		if !another.Swap(true) {
			close(arrived)
			<-answers
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	dir = mailDir(t)
	first = mailAgain(dir, server, "j")
	first.Stderr = new(bytes.Buffer)
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	<-arrived
	return dir, server, first, func() { close(answers) }
}

// mailAgain is the same mailing with the journal of a name.
func mailAgain(dir string, server *smtptest.Server, journal string) *exec.Cmd {
	cmd := exec.Command("postrider", "mail", "--server", server.Addr, "-f", "b@example.com", "--message", "news.eml",
		"--plan", "individual", "--concurrency", "1", "--journal", journal, "--unknown", "resend", "list.txt")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "POSTRIDER_CONFIG_FILE="+os.DevNull, "GORACE="+swiftEnd)
	return cmd
}

// While a mailing is underway nobody begins it again, by no name of its journal.
func TestTwoRunsOfOneMailing(t *testing.T) {
	dir, server, first, answer := begun(t)
	journal := filepath.Join(dir, "j")
	err := errors.Join(os.Symlink("j", filepath.Join(dir, "soft")), os.Symlink(".", filepath.Join(dir, "up")),
		os.Link(journal, filepath.Join(dir, "hard")))
	if err != nil {
		t.Fatal(err)
	}
	_ = os.Remove(journal + ".lock")
	for _, name := range []string{"j", journal, "soft", "hard", "up/j", "up/soft"} {
		second := mailAgain(dir, server, name)
		text, _ := second.CombinedOutput()
		if second.ProcessState.ExitCode() != exitTempFail ||
			!strings.Contains(string(text), name+": in use by another process") {
			t.Errorf("by %s: %v\n%s", name, second.ProcessState, text)
		}
	}
	answer()
	if err := first.Wait(); err != nil {
		t.Error(err)
	}
	if n := len(server.Messages()); n != 5 {
		t.Errorf("%d messages to five", n)
	}
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	hidden, _ := filepath.Glob(filepath.Join(dir, ".*"))
	if len(names) != 6 || len(hidden) > 0 {
		t.Errorf("in the directory: %q, %q, %v", names, hidden, err)
	}
}

// Whoever takes the journal away from a mailing that is underway ends it: the next one
// would not know of it.
func TestMailingWhoseJournalIsTakenAway(t *testing.T) {
	dir, server, first, answer := begun(t)
	if err := os.Rename(filepath.Join(dir, "j"), filepath.Join(dir, "moved")); err != nil {
		t.Fatal(err)
	}
	answer()
	_ = first.Wait()
	if n := len(server.Messages()); n != 1 ||
		!strings.Contains(fmt.Sprint(first.Stderr), "removed, renamed or replaced") {
		t.Errorf("%d messages, %v\n%s", n, first.ProcessState, first.Stderr)
	}
	// The second intent was written when that was found.
	text, err := mailAgain(dir, server, "moved").CombinedOutput()
	if n := len(server.Messages()); n != 5 || err != nil ||
		!strings.Contains(string(text), "settled before this run: 1") {
		t.Errorf("with the journal that was moved: %v, %d messages\n%s", err, n, text)
	}
}
