package journal_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/journal"
)

// in lists what is in the directory.
func in(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// The lock is on the file, whatever it is called, and leaves nothing behind.
func TestLockIsOnTheFile(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "j")
	j, _, err := open(t, name, "id")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]func(to string) error{
		"itself":        func(string) error { return nil },
		"symbolic-link": func(to string) error { return os.Symlink(name, to) },
		"relative-link": func(to string) error { return os.Symlink("j", to) },
		"hard-link":     func(to string) error { return os.Link(name, to) },
		"directory":     func(to string) error { return os.Symlink(dir, to) },
	}
	other := map[string]string{"itself": name, "directory": filepath.Join(dir, "directory", "j")}
	for kind, link := range names {
		to := filepath.Join(dir, kind)
		if err := link(to); err != nil {
			t.Fatal(err)
		}
		if other[kind] != "" {
			to = other[kind]
		}
		if _, _, err := open(t, to, "id"); !errors.Is(err, journal.ErrLocked) {
			t.Errorf("by %s: %v", kind, err)
		}
	}
	if err := errors.Join(j.Commit([]byte("one")), j.Close()); err != nil {
		t.Fatal(err)
	}
	again, records, err := open(t, filepath.Join(dir, "hard-link"), "id")
	if err != nil || !slices.Equal(records, []string{"one"}) {
		t.Fatalf("after it was closed: %v, %q", err, records)
	}
	if _, _, err := open(t, filepath.Join(dir, "symbolic-link"), "id"); !errors.Is(err, journal.ErrLocked) {
		t.Errorf("both by other names: %v", err)
	}
	again.Close()
	if got := in(t, dir); !slices.Equal(got, []string{"directory", "hard-link", "j", "relative-link",
		"symbolic-link"}) {
		t.Errorf("in the directory: %q", got)
	}
}

// Whoever opens the name anew would not meet the lock: nothing more is committed.
func TestCommitFailsWhenOthersWouldNotFindTheJournal(t *testing.T) {
	for what, move := range map[string]func(name string) error{
		"removed":  os.Remove,
		"renamed":  func(name string) error { return os.Rename(name, name+".old") },
		"replaced": func(name string) error { return os.Rename(file(t, []byte("new")), name) },
	} {
		name := filepath.Join(t.TempDir(), "j")
		j, _, err := open(t, name, "id")
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(j.Commit([]byte("one")), move(name)); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := j.Commit([]byte("two")); !errors.Is(err, journal.ErrMoved) {
				t.Errorf("%s: committed: %v", what, err)
			}
		}
		j.Close()
	}
}

// What may be read by others is closed to them; what is no journal keeps its mode.
func TestOnlyTheOwnerReadsAJournal(t *testing.T) {
	text, _ := written(t)
	for _, try := range []struct {
		text      string
		mode, now os.FileMode
	}{{string(text), 0o644, 0o600}, {string(text), 0o666, 0o600}, {string(text), 0o600, 0o600}, {"my notes\n", 0o644,
		0o644}} {
		name := file(t, []byte(try.text))
		if err := os.Chmod(name, try.mode); err != nil {
			t.Fatal(err)
		}
		if j, _, err := open(t, name, "id"); err == nil {
			j.Close()
		}
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != try.now {
			t.Errorf("%q, %v: is %v, %v", try.text, try.mode, info.Mode(), err)
		}
	}
}

func TestSpecialFilesAreNoJournals(t *testing.T) {
	dir := t.TempDir()
	nowhere := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Join(dir, "nothing"), nowhere); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{os.DevNull, dir, nowhere} {
		j, _, err := open(t, name, "id")
		if err == nil {
			t.Errorf("%s was opened", name)
			j.Close()
		}
		// It is not even read: a read of a pipe or a terminal may never return.
		if name == os.DevNull && (err == nil || !strings.Contains(err.Error(), "not a regular file")) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := in(t, dir); !slices.Equal(got, []string{"link"}) {
		t.Errorf("in the directory: %q", got)
	}
}
