package journal_test

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/journal"
)

// makerIdentity is the variable that makes the test binary a maker.
const makerIdentity = "POSTRIDER_TEST_MAKER"

// maker makes journals, one after the other, until it is killed, and says so of each.
func maker(identity, dir string) {
	for i := 0; ; i++ {
		name := filepath.Join(dir, fmt.Sprint("j", i))
		j, err := journal.Open(name, []byte(identity), func([]byte) error { return nil })
		switch {
		case err == nil:
			err = errors.Join(j.Commit([]byte("one")), j.Close())
		case errors.Is(err, journal.ErrOther) || errors.Is(err, journal.ErrLocked):
			err = nil // the other one was there first
		}
		fmt.Println(name, err)
	}
}

// Two processes make journals of the same names, and are killed at any moment: each
// name then leads to one that is whole and belongs to one of them, or to none.
func TestCreationIsAtomic(t *testing.T) {
	for round := range 12 {
		dir := t.TempDir()
		var makers []*exec.Cmd
		for _, identity := range []string{"a", "b"} {
			cmd := exec.Command(os.Args[0], dir)
			cmd.Env = append(os.Environ(), makerIdentity+"="+identity, "GORACE=atexit_sleep_ms=0")
			said, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = cmd.Process.Kill() })
			makers = append(makers, cmd)
			lines := bufio.NewScanner(said)
			for range round + 1 { // the first is underway meanwhile
				if !lines.Scan() || !strings.HasSuffix(lines.Text(), "<nil>") {
					t.Errorf("a maker said %q", lines.Text())
				}
			}
		}
		for _, cmd := range makers {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
		examine(t, dir)
	}
}

func examine(t *testing.T, dir string) {
	t.Helper()
	for _, name := range in(t, dir) {
		if strings.HasPrefix(name, ".postrider-journal-") {
			continue // not made yet
		}
		owners := 0
		for _, identity := range []string{"a", "b"} {
			j, _, err := open(t, filepath.Join(dir, name), identity)
			if err == nil {
				owners++
				err = j.Close()
			}
			if err != nil && !errors.Is(err, journal.ErrOther) {
				t.Errorf("%s for %s: %v", name, identity, err)
			}
		}
		if owners != 1 {
			t.Errorf("%s belongs to %d", name, owners)
		}
	}
}

// What has come to be there meanwhile is another's.
func TestCreationReplacesNothing(t *testing.T) {
	name := file(t, []byte("another's"))
	if err := journal.Create(name, []byte("id")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("made: %v", err)
	}
	if text, err := os.ReadFile(name); string(text) != "another's" || len(in(t, filepath.Dir(name))) != 1 {
		t.Errorf("%q, %v, in the directory: %q", text, err, in(t, filepath.Dir(name)))
	}
}

// Where there are no links a journal is made in its place, but never in that of
// another.
func TestCreationWithoutLinks(t *testing.T) {
	name := filepath.Join(t.TempDir(), "j")
	text, ends := written(t)
	if err := journal.CreateInPlace(name, text[:ends[1]]); err != nil {
		t.Fatal(err)
	}
	if err := journal.CreateInPlace(name, text[:ends[1]]); !errors.Is(err, fs.ErrExist) {
		t.Errorf("made twice: %v", err)
	}
	j, _, err := open(t, name, "id")
	if err != nil {
		t.Fatal(err)
	}
	j.Close()
}

// A name that was given to another file between opening and locking is opened anew.
func TestLockOfAFileThatWasReplaced(t *testing.T) {
	name := file(t, nil)
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := journal.Lock(name, f); err != nil {
		t.Errorf("in its place: %v", err)
	}
	if err := os.Rename(file(t, nil), name); err != nil {
		t.Fatal(err)
	}
	if err := journal.Lock(name, f); !errors.Is(err, journal.ErrMoved) {
		t.Errorf("replaced: %v", err)
	}
}
