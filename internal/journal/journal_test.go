package journal_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/postrider/postrider/internal/journal"
)

// open opens a journal and gives what is in it.
func open(t testing.TB, name, identity string) (*journal.Journal, []string, error) {
	t.Helper()
	var records []string
	j, err := journal.Open(name, []byte(identity), func(p []byte) error {
		records = append(records, string(p))
		return nil
	})
	return j, records, err
}

// written makes a journal of four records, of which the second was committed, and
// gives the file and where each record ends, the identity first.
func written(t testing.TB) (text []byte, ends []int) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "j")
	j, _, err := open(t, name, "id")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(j.Append([]byte("one")), j.Commit([]byte("two")), j.Append([]byte("three")), j.Append([]byte("four")), j.Close()); err != nil {
		t.Fatal(err)
	}
	text, err = os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range text {
		if c == '\n' {
			ends = append(ends, i+1)
		}
	}
	if len(ends) != 5 {
		t.Fatalf("the file is %q", text)
	}
	return text, ends
}

// reopened gives what is in a file.
func reopened(t testing.TB, text []byte) ([]string, error) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "j")
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	j, records, err := open(t, name, "id")
	if err == nil {
		err = j.Close()
	}
	return records, err
}

func TestRecordsComeBackInOrder(t *testing.T) {
	name := filepath.Join(t.TempDir(), "j")
	var want []string
	for run := range 3 {
		j, records, err := open(t, name, "id")
		if err != nil || !slices.Equal(records, want) {
			t.Fatalf("run %d: %v, %q; want %q", run, err, records, want)
		}
		for _, p := range []string{fmt.Sprint("a", run), "", strings.Repeat("long", 100000)} {
			want = append(want, p)
			if err := j.Commit([]byte(p)); err != nil {
				t.Fatal(err)
			}
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Cut at any octet, as by a crash, a journal gives the records that are whole, and can
// be written on.
func TestATornTailIsCutOff(t *testing.T) {
	text, ends := written(t)
	all := []string{"one", "two", "three", "four"}
	for cut := range len(text) + 1 {
		for _, tail := range [][]byte{nil, make([]byte, 100), []byte("garbage\nand more\n")} {
			whole := 0
			for whole < len(ends) && ends[whole] <= cut {
				whole++
			}
			name := filepath.Join(t.TempDir(), "j")
			if err := os.WriteFile(name, append(slices.Clone(text[:cut]), tail...), 0o600); err != nil {
				t.Fatal(err)
			}
			want := all[:max(whole-1, 0)]
			j, records, err := open(t, name, "id")
			if err != nil || !slices.Equal(records, want) {
				t.Fatalf("cut at %d, tail %q: %v, %q; want %q", cut, tail, err, records, want)
			}
			if err := errors.Join(j.Commit([]byte("next")), j.Close()); err != nil {
				t.Fatal(err)
			}
			again, records, err := open(t, name, "id")
			if err != nil || !slices.Equal(records, append(slices.Clone(want), "next")) {
				t.Fatalf("cut at %d, tail %q, written on: %v, %q", cut, tail, err, records)
			}
			again.Close()
		}
	}
}

// A power cut may lose a page and keep the one behind it. That is a torn tail if
// nobody had been told that it is on the disk, and damage if somebody had.
func TestDamageInWhatWasCommittedIsAnError(t *testing.T) {
	text, ends := written(t)
	for i := range text {
		damaged := bytes.Clone(text)
		damaged[i] ^= 0x10
		records, err := reopened(t, damaged)
		// "three" and "four" know that all up to "two" was on the disk.
		if i < ends[2] {
			if !errors.Is(err, journal.ErrDamaged) && !errors.Is(err, journal.ErrOther) {
				t.Errorf("octet %d of %q: %v, %q", i, text, err, records)
			}
		} else if err != nil || !slices.Equal(records[:2], []string{"one", "two"}) {
			t.Errorf("octet %d of %q: %v, %q", i, text, err, records)
		}
	}
	unsynced := slices.Concat(text[:ends[0]], make([]byte, ends[1]-ends[0]), text[ends[1]:ends[2]])
	name := filepath.Join(t.TempDir(), "j")
	if err := os.WriteFile(name, unsynced, 0o600); err != nil {
		t.Fatal(err)
	}
	// What was behind the hole does not come back when the hole is filled.
	for _, want := range [][]string{nil, {"new"}} {
		j, records, err := open(t, name, "id")
		if err != nil || !slices.Equal(records, want) {
			t.Fatalf("a hole in what nobody was told of: %v, %q; want %q", err, records, want)
		}
		if err := errors.Join(j.Append([]byte("new")), j.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAJournalBelongsToOne(t *testing.T) {
	name := filepath.Join(t.TempDir(), "j")
	j, _, err := open(t, name, "id")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := open(t, name, "id"); !errors.Is(err, journal.ErrLocked) {
		t.Errorf("opened twice: %v", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := open(t, name, "other"); !errors.Is(err, journal.ErrOther) {
		t.Errorf("another identity: %v", err)
	}
	if j, _, err := open(t, name, "id"); err != nil {
		t.Errorf("after it was closed, and refused to another: %v", err)
	} else {
		j.Close()
	}
	if _, _, err := open(t, filepath.Join(t.TempDir(), "no", "such", "directory"), "id"); err == nil {
		t.Error("no error for a directory that is not there")
	}
}

func TestReplayMayRefuse(t *testing.T) {
	text, _ := written(t)
	name := filepath.Join(t.TempDir(), "j")
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	bad := errors.New("no")
	if _, err := journal.Open(name, []byte("id"), func([]byte) error { return bad }); !errors.Is(err, bad) {
		t.Error(err)
	}
	if after, err := os.ReadFile(name); err != nil || !bytes.Equal(after, text) {
		t.Errorf("what was refused was changed: %q, %v", after, err)
	}
}

func TestManyCommitAtOnce(t *testing.T) {
	name := filepath.Join(t.TempDir(), "j")
	j, _, err := open(t, name, "id")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			if err := errors.Join(j.Commit(fmt.Append(nil, "c", i)), j.Append(fmt.Append(nil, "a", i))); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	// Without Close: what is written is there for the next process.
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	records, err := reopened(t, text)
	seen := map[string]bool{}
	for _, r := range records {
		seen[r] = true
	}
	if err != nil || len(records) != 400 || len(seen) != 400 {
		t.Errorf("%v, %d records, %d different", err, len(records), len(seen))
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
}

// FuzzOpen: whatever the file is, it is refused, or what was whole comes back.
func FuzzOpen(f *testing.F) {
	text, _ := written(f)
	f.Add(text)
	f.Add([]byte("00000000 0 \n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		first, err := reopened(t, text)
		if err == nil && bytes.ContainsAny([]byte(strings.Join(first, "")), "\n") {
			t.Errorf("%q", first)
		}
	})
}
