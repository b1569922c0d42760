package main

import (
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/journal"
	"github.com/postrider/postrider/mailing"
)

// A journal that an earlier version began is read as that one meant it.
func TestJournalsOfTheFirstVersions(t *testing.T) {
	name := filepath.Join(t.TempDir(), "j")
	j, err := journal.Open(name, []byte("id"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, record := range []string{
		`{"created":"2026-01-02T03:04:05Z"}`, `{"i":[[0,4]]}`,
		`{"o":[{"n":0,"s":"accepted","g":"content","c":250,"e":[2,0,0],"t":"2.0.0 Ok"},` +
			`{"n":1,"s":"refused","g":"rcpt","c":550,"t":"no"},{"n":2,"s":"deferred","g":"mail","c":451,"t":"later"},` +
			`{"n":3,"s":"refused","g":"local","t":"the address is empty"}]}`,
	} {
		if err := j.Commit([]byte(record)); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	b := newBook(5, time.Now())
	if err := b.keep(name, []byte("id"), false); err != nil {
		t.Fatal(err)
	}
	defer b.close()
	var got []string
	for _, o := range b.outcomes {
		got = append(got, strings.TrimPrefix(o.String(), ": "))
	}
	want := []string{
		"accepted at content: 250 2.0.0 Ok", "refused at rcpt: 550 no", "deferred at mail: 451 later",
		"refused at local: the address is empty", "unknown at content: " + errNoAnswer.Error(),
	}
	if !reflect.DeepEqual(got, want) || !reflect.DeepEqual(b.open, []bool{false, false, true, false, false}) {
		t.Errorf("got %q, open %t", got, b.open)
	}
}

// Whatever a server says is in the journal as it was said, and no record is too long to be read.
func TestOutcomesInTheJournal(t *testing.T) {
	const n = 500
	name := filepath.Join(t.TempDir(), "j")
	b := newBook(n, time.Now())
	if err := b.keep(name, []byte("id"), false); err != nil {
		t.Fatal(err)
	}
	said := postrider.Reply{Code: 550, Text: "5.1.1 caf\xe9\x00" + strings.Repeat("\xff", 60_000)}
	a := &mailing.Attempt{Result: &postrider.Result{}}
	places := make([]int, n)
	for i := range n {
		places[i] = i
		a.Index = append(a.Index, i)
		a.Result.Outcomes = append(a.Result.Outcomes, postrider.Outcome{
			Recipient: "bart@example.com", State: postrider.Refused, Stage: postrider.StageRcpt, Reply: said,
		})
	}
	b.after(a, places)
	if err := b.close(); err != nil {
		t.Fatal(err)
	}
	again := newBook(n, time.Now())
	if err := again.keep(name, []byte("id"), false); err != nil {
		t.Fatal(err)
	}
	defer again.close()
	for i, o := range again.outcomes {
		if o.State != postrider.Refused || o.Reply != said || again.open[i] {
			t.Fatalf("recipient %d: %.200q", i, o.String())
		}
	}
}
