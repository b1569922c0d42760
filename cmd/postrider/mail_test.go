package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/mailing"
	"github.com/postrider/postrider/smtptest"
)

// mailDir has a list of five, and a message.
func mailDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"list.txt": "a@example.com\nb@example.com\nc@example.com\nd@example.com\ne@example.com\n",
		"news.eml": "From: news@example.com\nSubject: News\n\nhello\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Ctrl-C begins nothing more; what is underway ends with its answer, and the next run
// sends to the others.
func TestMailIsInterrupted(t *testing.T) {
	server := smtptest.NewUnstartedServer()
	arrived, answer := make(chan struct{}, 5), make(chan struct{})
	server.OnMessage = func(*smtptest.Message) {
		arrived <- struct{}{}
		<-answer
	}
	server.Start()
	defer server.Close()
	dir := mailDir(t)
	args := []string{"mail", "--server", server.Addr, "-f", "b@example.com", "--message", "news.eml", "--plan",
		"individual", "--concurrency", "1", "list.txt"}
	cmd := exec.Command("postrider", args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "POSTRIDER_CONFIG_FILE="+os.DevNull, "GORACE="+swiftEnd)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-arrived
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	close(answer)
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != exitUnavailable && got != exitOK {
		t.Errorf("status %d", got)
	}
	if strings.Contains(out.String(), "unknown") || !strings.Contains(out.String(), "accepted: ") {
		t.Errorf("it said\n%s%s", &out, &complaints)
	}
	again := exec.Command("postrider", args...)
	again.Dir, again.Env = cmd.Dir, cmd.Env
	if text, err := again.CombinedOutput(); err != nil {
		t.Errorf("the next run: %v\n%s", err, text)
	}
	if n := server.Transactions(); n != 5 || len(server.Messages()) != 5 {
		t.Errorf("%d transactions, %d messages", n, len(server.Messages()))
	}
}

// Whoever types anything else is asked again; at the end of the input nothing is sent.
func TestUnknownIsAskedAbout(t *testing.T) {
	for typed, want := range map[string]string{"resend\n": "resend", "what?\n\nSKIP\n": "skip", "quit\n": "", "": ""} {
		var said bytes.Buffer
		got, err := ask(streams{in: strings.NewReader(typed), err: &said}, 3)
		if got != want || (err == nil) != (want != "") ||
			!strings.Contains(said.String(), "3 recipients may or may not have got the message") {
			t.Errorf("%q: %q, %v\n%s", typed, got, err, &said)
		}
	}
}

func TestMailProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		var tally tally
		wipe := tally.follow(&b, 10)
		attempt := func(at int, states ...postrider.State) {
			a := &mailing.Attempt{Result: &postrider.Result{}}
			for i, s := range states {
				a.Index = append(a.Index, at+i)
				a.Result.Outcomes = append(a.Result.Outcomes, postrider.Outcome{State: s})
			}
			tally.add(a)
		}
		attempt(0, postrider.Accepted, postrider.Deferred, postrider.Refused)
		attempt(3, postrider.Unknown)
		attempt(1, postrider.Deferred) // again
		time.Sleep(11 * time.Second)
		attempt(1, postrider.Accepted)
		attempt(4, make([]postrider.State, 6)...)
		time.Sleep(10 * time.Second)
		wipe()
		want := "postrider: [########------------] 4 of 10, 0 a second, 15s left; accepted 1, deferred 1, refused " +
			"1, untried 0, unknown 1\n" +
			"postrider: [####################] 10 of 10, 0 a second; accepted 2, deferred 0, refused 1, untried 6, " +
			"unknown 1\n"
		if b.String() != want {
			t.Errorf("it said\n%s\nwant\n%s", &b, want)
		}
	})
}

// openBook opens the journal of a mailing to n.
func openBook(name string, n int, created time.Time) (*book, error) {
	b := newBook(n, created)
	return b, b.keep(name, []byte("id"), false)
}

// A journal of another mailing, or one that is damaged, is not written to.
func TestMailJournalThatIsWrong(t *testing.T) {
	dir := mailDir(t)
	name := filepath.Join(dir, "j")
	b, err := openBook(name, 5, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	owed := []int{0, 1, 2, 3, 4}
	a := &mailing.Attempt{Index: []int{0, 1, 3}, Result: &postrider.Result{Outcomes: []postrider.Outcome{
		{State: postrider.Accepted, Stage: postrider.StageContent, Reply: postrider.Reply{Code: 250, Text: "2.0.0 Ok"}},
		{State: postrider.Deferred, Stage: postrider.StageRcpt,
			Reply: postrider.Reply{Code: 450, Enhanced: postrider.EnhancedCode{4, 2, 0}, Text: "4.2.0 later"}},
		{State: postrider.Untried, Stage: postrider.StageConnect, Err: context.Canceled},
	}}}
	if err := b.before(a, owed); err != nil {
		t.Fatal(err)
	}
	b.after(a, owed)
	if err := b.before(&mailing.Attempt{Index: []int{2, 4}}, owed); err != nil {
		t.Fatal(err)
	}
	if _, err := openBook(name, 5, time.Now()); errorCode(err) != exitTempFail {
		t.Errorf("while it is open: %v", err)
	}
	if err := b.close(); err != nil {
		t.Fatal(err)
	}
	if _, err := openBook(name, 3, time.Now()); errorCode(err) != exitData {
		t.Errorf("with fewer recipients than it names: %v", err)
	}
	again, err := openBook(name, 5, time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	defer again.close()
	if !again.created.Equal(b.created) || !slices.Equal(again.doubtful(owed), []int{2, 4}) ||
		!slices.Equal(again.open, []bool{false, true, false, true, false}) {
		t.Errorf("%v, %v: %v", again.created, again.open, again.outcomes)
	}
	for i, want := range []string{"accepted at content: 250 2.0.0 Ok", "deferred at rcpt: 450 4.2.0 later",
		"unknown at content", "untried at connect: context canceled"} {
		if got := again.outcomes[i].String(); !strings.Contains(got, want) {
			t.Errorf("%d: %s; want %s", i, got, want)
		}
	}
}
