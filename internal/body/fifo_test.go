//go:build unix

package body

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// A File that is a pipe is not a shorter message when it is opened again.
func TestAFileThatIsAPipeIsReadOnce(t *testing.T) {
	for _, size := range []int{1000, Kept + 1000} {
		name := filepath.Join(t.TempDir(), "pipe")
		if err := syscall.Mkfifo(name, 0o600); err != nil {
			t.Fatal(err)
		}
		written := make(chan error)
		go func() {
			w, err := os.OpenFile(name, os.O_WRONLY, 0)
			if err == nil {
				_, err = w.Write(text(size))
				w.Close()
			}
			written <- err
		}()
		s := File(name)
		if got, err := read(t, s, 500); len(got) != 500 || err != nil {
			t.Errorf("%d octets, %v", len(got), err)
		}
		if got, err := read(t, s, -1); len(got) != size || err != nil {
			t.Errorf("%d octets, %v", len(got), err)
		}
		if err := <-written; err != nil {
			t.Error(err)
		}
		got, err := read(t, s, -1)
		if size <= Kept && (len(got) != size || err != nil) || size > Kept && !errors.Is(err, ErrUsed) {
			t.Errorf("again: %d octets of %d, %v", len(got), size, err)
		}
	}
}
