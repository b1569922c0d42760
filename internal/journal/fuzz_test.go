package journal_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/postrider/postrider/internal/journal"
)

// FuzzDamage: however the octets of a journal were changed, cut, repeated or moved, opening it ends, and gives
// nothing but records that were written, in their order, from the first: never one more.
func FuzzDamage(f *testing.F) {
	f.Add(uint16(0), uint16(0), uint16(0), []byte{})                // as it was
	f.Add(uint16(40), uint16(65535), uint16(0), []byte{})           // cut
	f.Add(uint16(40), uint16(3), uint16(0), []byte("\x00\x00\x00")) // changed
	f.Add(uint16(0), uint16(65535), uint16(0), []byte{})            // emptied
	f.Add(uint16(65535), uint16(0), uint16(0), []byte("abc"))       // longer
	f.Add(uint16(65535), uint16(0), uint16(20), []byte{})           // its end repeated
	f.Fuzz(func(t *testing.T, at, gone, repeated uint16, inserted []byte) {
		whole, written := ofRecords(t)
		begin := min(int(at), len(whole))
		end := min(begin+int(gone), len(whole))
		damaged := slices.Concat(whole[:begin], inserted, whole[max(0, begin-int(repeated)):begin], whole[end:])
		name := filepath.Join(t.TempDir(), "j")
		if err := os.WriteFile(name, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		var read []string
		j, err := journal.Open(name, []byte("id"), func(p []byte) error {
			read = append(read, string(p))
			return nil
		})
		if err == nil {
			err = j.Close()
		}
		if len(read) > len(written) || !slices.Equal(read, written[:len(read)]) {
			t.Errorf("%q was read as %q (%v), written was %q", damaged, read, err, written)
		}
	})
}

// ofRecords returns a journal's file, and the records that were written to it.
func ofRecords(t *testing.T) (file []byte, records []string) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "j")
	j, err := journal.Open(name, []byte("id"), func([]byte) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		records = append(records, fmt.Sprintf("record %d", i))
		if err := j.Append([]byte(records[i])); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if file, err = os.ReadFile(name); err != nil {
		t.Fatal(err)
	}
	return file, records
}
