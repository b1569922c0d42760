package journal_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/postrider/postrider/internal/journal"
)

// open opens a journal and returns what is in it.
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
// returns the file and where each line ends: the first, the identity, the records.
func written(t testing.TB) (text []byte, ends []int) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "j")
	j, _, err := open(t, name, "id")
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(j.Append([]byte("one")), j.Commit([]byte("two")),
		j.Append([]byte("three")), j.Append([]byte("four")), j.Close())
	if err != nil {
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
	if len(ends) != 6 {
		t.Fatalf("the file is %q", text)
	}
	return text, ends
}

// file makes a file.
func file(t testing.TB, text []byte) (name string) {
	t.Helper()
	name = filepath.Join(t.TempDir(), "j")
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// reopened opens a journal of that text and returns what is in it.
func reopened(t testing.TB, text []byte) ([]string, error) {
	t.Helper()
	j, records, err := open(t, file(t, text), "id")
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

// Cut at any octet, as by a crash, a journal has the records that are whole, and can
// be written on. Before its header is whole it is no journal, and never a new one: a
// crash leaves no such file.
func TestATornTailIsCutOff(t *testing.T) {
	text, ends := written(t)
	all := []string{"one", "two", "three", "four"}
	for cut := range len(text) + 1 {
		whole := 0
		for whole < len(ends) && ends[whole] <= cut {
			whole++
		}
		name := file(t, text[:cut])
		j, records, err := open(t, name, "id")
		if whole < 2 {
			refuses(t, name, text[:cut], err)
			continue
		}
		want := all[:whole-2]
		if err != nil || !slices.Equal(records, want) {
			t.Fatalf("cut at %d: %v, %q; want %q", cut, err, records, want)
		}
		// The record that follows is shorter than what was torn, and must not end in the rest of it.
		if err := errors.Join(j.Commit([]byte("5")), j.Close()); err != nil {
			t.Fatal(err)
		}
		again, records, err := open(t, name, "id")
		if err != nil || !slices.Equal(records, append(slices.Clone(want), "5")) {
			t.Fatalf("cut at %d, written on: %v, %q", cut, err, records)
		}
		again.Close()
	}
}

// Whatever else is done to a journal is found: it is refused, and not touched. Every
// range of octets becomes NUL, is lost, or is overwritten; every octet changes; records
// are lost, doubled and put in every other order; something is put behind them. Only
// what is then a beginning of what was written looks like a journal that was cut.
func TestDamageIsFound(t *testing.T) {
	text, ends := written(t)
	name := file(t, nil)
	// Some file systems make a file that is emptied and written anew wait for the disk.
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tries := 0
	try := func(what string, damaged []byte) {
		if bytes.HasPrefix(text, damaged) {
			return
		}
		tries++
		_, err := f.WriteAt(damaged, 0)
		if err := errors.Join(err, f.Truncate(int64(len(damaged)))); err != nil {
			t.Fatal(err)
		}
		_, records, err := open(t, name, "id")
		if err == nil {
			t.Fatalf("%s: %q was taken for a journal with %q", what, damaged, records)
		}
		refuses(t, name, damaged, err)
		// What is said to be sound is a beginning of what was written.
		var damage *journal.Damage
		if errors.As(err, &damage) && damage.Sound > 0 &&
			!(bytes.HasPrefix(text, damaged[:damage.Sound]) && slices.Contains(ends[1:], int(damage.Sound))) {
			t.Fatalf("%s: %q: the first %d octets are not sound", what, damaged, damage.Sound)
		}
	}
	for i := range text {
		for j := i + 1; j <= len(text); j++ {
			try("NULs", slices.Concat(text[:i], make([]byte, j-i), text[j:]))
			try("NULs, and the rest lost", slices.Concat(text[:i], make([]byte, j-i)))
			try("a hole", slices.Concat(text[:i], text[j:]))
		}
		for bit := range 8 {
			changed := bytes.Clone(text)
			changed[i] ^= 1 << bit
			try("another octet", changed)
		}
	}
	var records [][]byte
	for i, end := range ends {
		records = append(records, text[append([]int{0}, ends...)[i]:end])
	}
	permute(records, func(order [][]byte) { try("another order", slices.Concat(order...)) })
	for i := range records {
		for j := range records {
			try("a record twice", slices.Concat(slices.Concat(records[:j]...), records[i],
				slices.Concat(records[j:]...)))
		}
	}
	for _, end := range ends {
		for _, tail := range []string{"\x00", strings.Repeat("\x00", 100), "\n", "garbage", "garbage\nand more\n",
			"0123\x00"} {
			try("a tail", append(bytes.Clone(text[:end]), tail...))
		}
	}
	t.Logf("%d octets, damaged in %d ways", len(text), tries)
}

// permute calls try with every order of the records.
func permute(records [][]byte, try func([][]byte)) {
	var rest func(k int)
	rest = func(k int) {
		if k == len(records) {
			try(records)
			return
		}
		for i := k; i < len(records); i++ {
			records[k], records[i] = records[i], records[k]
			rest(k + 1)
			records[k], records[i] = records[i], records[k]
		}
	}
	records = slices.Clone(records)
	rest(0)
}

// refuses checks an error that is to say what is the matter, and that the file is as
// it was.
func refuses(t *testing.T, name string, text []byte, err error) {
	t.Helper()
	if !errors.Is(err, journal.ErrDamaged) && !errors.Is(err, journal.ErrForeign) &&
		!errors.Is(err, journal.ErrVersion) {
		t.Errorf("%q: %v", text, err)
	}
	if after, err := os.ReadFile(name); err != nil || !bytes.Equal(after, text) {
		t.Fatalf("what was refused was changed: %q, was %q, %v", after, text, err)
	}
}

// What was there before is not overwritten but by Overwrite, which leaves journals
// alone.
func TestWhatIsNoJournalIsLeftAlone(t *testing.T) {
	for text, want := range map[string]error{
		"":                                  journal.ErrForeign,
		"\x00":                              journal.ErrForeign,
		strings.Repeat("\x00", 8192):        journal.ErrForeign,
		"my notes\n":                        journal.ErrForeign,
		"email\nanne@example.com\n":         journal.ErrForeign,
		"postrider journal":                 journal.ErrForeign,
		"postrider journal 3\nand so on\n":  journal.ErrVersion,
		"f7d94e58 0 {\"mailing\":\"00\"}\n": journal.ErrVersion, // the first format
		"postrider journal 2\n":             journal.ErrDamaged,
		"postrider journal 2\nand so on\n":  journal.ErrDamaged,
	} {
		name := file(t, []byte(text))
		_, _, err := open(t, name, "id")
		if !errors.Is(err, want) {
			t.Errorf("%q: %v; want %v", text, err, want)
		}
		refuses(t, name, []byte(text), err)
		j, err := journal.Overwrite(name, []byte("id"))
		if want != journal.ErrForeign {
			if !errors.Is(err, fs.ErrExist) {
				t.Errorf("%q: overwritten: %v", text, err)
			}
			refuses(t, name, []byte(text), want)
			continue
		}
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if err := errors.Join(j.Commit([]byte("one")), j.Close()); err != nil {
			t.Fatal(err)
		}
		j, records, err := open(t, name, "id")
		if err != nil || !slices.Equal(records, []string{"one"}) {
			t.Fatalf("%q, overwritten: %v, %q", text, err, records)
		}
		j.Close()
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
	name := file(t, text)
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
