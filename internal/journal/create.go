package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// create makes a journal that has its header as soon as it has its name. It fails
// with fs.ErrExist if there is anything of that name.
func create(name string, identity []byte) error {
	header, _ := encodeHeader(identity)
	dir := filepath.Dir(name)
	f, err := os.CreateTemp(dir, ".postrider-journal-*")
	if err != nil {
		return fmt.Errorf("making %s: %w", name, err)
	}
	defer os.Remove(f.Name())
	if err := fill(f, header); err != nil {
		return err
	}
	// A rename would put it in the place of another's; a link does not.
	switch err := os.Link(f.Name(), name); {
	case errors.Is(err, fs.ErrExist):
		return lead(name, err)
	case err != nil: // a file system without links
		if err := createInPlace(name, header); err != nil {
			return err
		}
	}
	return syncDirectory(dir)
}

// createInPlace is for where there are no links. A crash in the middle of it leaves
// an empty file, or the beginning of a header, which the next Open refuses.
func createInPlace(name string, header []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return fill(f, header)
}

// fill writes a file that others are to find whole, and closes it.
func fill(f *os.File, text []byte) error {
	_, err := f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// lead tells a symbolic link that leads nowhere, which is there and is not, from a
// file that somebody else has made meanwhile.
func lead(name string, exists error) error {
	info, err := os.Lstat(name)
	if err != nil || info.Mode()&fs.ModeSymlink == 0 {
		return exists
	}
	if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is a symbolic link that leads nowhere", name)
	}
	return exists
}

// syncDirectory makes a new name in it durable. Not every system can; there is nothing
// to be done about it then.
func syncDirectory(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	defer d.Close()
	_ = d.Sync()
	return nil
}
