// Package journal keeps records on disk, one behind the other, so that what was
// committed is there after a crash, a kill, or a power cut.
//
// A journal begins with a line that names its format, and the first record is its
// identity; both are there from the moment at which the file has its name. A record
// is a line: a check over the check of the record before it and its own text, its
// length, and the payload. So whatever was changed, lost, emptied, or put in another
// order is found when the journal is opened, and is an error: a record that was acted
// on may be among it. Only the beginning of a record at the very end is no error, for
// it is what a crash leaves of one that nobody had been told of; it is cut off. One
// thing cannot be found: the end of the file being gone.
package journal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
)

var (
	// ErrLocked is the error for a journal that another process has open.
	ErrLocked = errors.New("in use by another process")

	// ErrMoved is the error for a journal whose name no longer leads to it: it was
	// removed, renamed or replaced, and another process may have made a new one.
	ErrMoved = errors.New("removed, renamed or replaced while it was in use")

	// ErrOther is the error for a journal of another identity.
	ErrOther = errors.New("belongs to something else")

	// ErrVersion is the error for a journal in the format of another version.
	ErrVersion = errors.New("written by another version of this program")

	// ErrForeign is the error for a file that does not begin as journals do. It may
	// have been a journal; a journal is never empty.
	ErrForeign = errors.New("does not begin like a journal")

	// ErrDamaged is the error for a journal of which something is lost or changed,
	// in a [Damage].
	ErrDamaged = errors.New("damaged")
)

// Damage is the error for a damaged journal, an [ErrDamaged].
type Damage struct {
	Sound int64 // this many octets from its beginning are as they were written
	Err   error // what is wrong with what is behind them
}

// Error says where, and what.
func (d *Damage) Error() string {
	return fmt.Sprintf("damaged after octet %d: %v", d.Sound, d.Err)
}

// Unwrap makes it an ErrDamaged.
func (d *Damage) Unwrap() []error { return []error{ErrDamaged, d.Err} }

// Journal is an open journal. It may be used by several goroutines.
type Journal struct {
	name string
	file *os.File
	info fs.FileInfo

	mu      sync.Mutex
	changed *sync.Cond // something below did
	last    check      // of the last record
	written int64
	synced  int64 // how far the file is known to be on the disk
	syncing bool
	err     error // the first that a write or sync had; nothing is trusted after it
}

// Open opens the journal, or makes one if there is no file of that name, and calls
// replay with every payload that is in it, in order. Payloads must not be kept. The
// file itself is locked against other processes, whatever names it has, until Close.
// No file that is not a journal of this identity is changed. Where the system and the
// owner allow it, nobody but the owner can read the file from then on.
func Open(name string, identity []byte, replay func(payload []byte) error) (*Journal, error) {
	j, err := openLocked(name, identity)
	if err != nil {
		return nil, err
	}
	if err := j.resume(identity, replay); err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return j, nil
}

// Overwrite makes a new journal of a file that is none, whatever it holds. It fails
// with fs.ErrExist if the file is a journal.
func Overwrite(name string, identity []byte) (*Journal, error) {
	j, err := openLocked(name, identity)
	if err != nil {
		return nil, err
	}
	if err := j.overwrite(identity); err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return j, nil
}

// openLocked opens the file of the name, which it makes if there is none, and locks it.
func openLocked(name string, identity []byte) (*Journal, error) {
	// A file that is removed again and again between the steps is given up.
	for range 10 {
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if errors.Is(err, fs.ErrNotExist) {
			if err := create(name, identity); err != nil && !errors.Is(err, fs.ErrExist) {
				return nil, err
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		j := &Journal{name: name, file: f}
		j.changed = sync.NewCond(&j.mu)
		if err := j.lock(); err == nil {
			return j, nil
		} else if f.Close(); !errors.Is(err, ErrMoved) {
			return nil, err
		}
	}
	return nil, ErrMoved
}

// lock takes the lock of the file. Between opening and locking, the name may have been
// given to another file, which others lock: then this one is worth nothing.
func (j *Journal) lock() (err error) {
	if j.info, err = j.file.Stat(); err != nil {
		return err
	}
	if !j.info.Mode().IsRegular() {
		return errors.New("not a regular file")
	}
	switch ok, err := tryLock(j.file); {
	case err != nil:
		return fmt.Errorf("locking %s: %w", j.name, err)
	case !ok:
		return ErrLocked
	}
	return j.inPlace()
}

// inPlace looks whether the name still leads to the file.
func (j *Journal) inPlace() error {
	switch info, err := os.Stat(j.name); {
	case errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(info, j.info):
		return ErrMoved
	default:
		return err
	}
}

// resume reads what is there, and makes the journal ready to be written on.
func (j *Journal) resume(identity []byte, replay func([]byte) error) error {
	r := reading{identity: identity, replay: replay}
	if err := r.all(j.file); err != nil {
		return err
	}
	// What is behind the last whole record was never acted on.
	if err := j.file.Truncate(r.sound); err != nil {
		return err
	}
	if _, err := j.file.Seek(r.sound, io.SeekStart); err != nil {
		return err
	}
	j.last, j.written = r.last, r.sound
	if j.info.Mode().Perm()&0o077 != 0 {
		_ = j.file.Chmod(0o600) // not everybody who may write it may do that
	}
	return j.Sync() // what the last run had only written, too
}

func (j *Journal) overwrite(identity []byte) error {
	if err := readMagic(j.file); !errors.Is(err, ErrForeign) {
		if err == nil || errors.Is(err, ErrVersion) {
			err = fmt.Errorf("already a journal: %w", fs.ErrExist)
		}
		return err
	}
	header, last := encodeHeader(identity)
	if err := errors.Join(j.file.Truncate(0), j.file.Chmod(0o600)); err != nil {
		return err
	}
	// A crash before this is synced leaves what is no journal either.
	n, err := j.file.WriteAt(header, 0)
	if err != nil {
		return err
	}
	if _, err := j.file.Seek(int64(n), io.SeekStart); err != nil {
		return err
	}
	j.last, j.written = last, int64(n)
	return j.Sync()
}

// Info tells the file from others.
func (j *Journal) Info() fs.FileInfo { return j.info }

// Append adds a record, whose payload has no line ends and no NULs. It is safe from
// the end of this process, but not from that of the machine before the next Commit or
// Sync of anybody's has returned.
func (j *Journal) Append(payload []byte) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.append(payload)
}

// Commit adds a record and waits until it, and all before it, are on the disk. Those
// who wait at the same time share one sync. It fails with [ErrMoved] if others would
// not find it there.
func (j *Journal) Commit(payload []byte) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.append(payload); err != nil {
		return err
	}
	return j.syncTo(j.written)
}

// Sync waits until everything is on the disk.
func (j *Journal) Sync() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.syncTo(j.written)
}

// append is called with mu held.
func (j *Journal) append(payload []byte) error {
	if j.err != nil {
		return j.err
	}
	line, last := encode(j.last, payload)
	n, err := j.file.Write(line)
	j.last, j.written, j.err = last, j.written+int64(n), err
	return err
}

// syncTo is called with mu held, and gives it up while it waits. One of those who wait
// does it for all that is written by then.
func (j *Journal) syncTo(end int64) error {
	for j.synced < end && j.err == nil {
		if j.syncing {
			j.changed.Wait()
			continue
		}
		j.syncing = true
		target := j.written
		j.mu.Unlock()
		err := j.file.Sync()
		if err == nil {
			err = j.inPlace()
		}
		j.mu.Lock()
		j.syncing = false
		if err == nil {
			j.synced = max(j.synced, target)
		} else if j.err == nil {
			// A second fsync may succeed although the pages are lost.
			j.err = err
		}
		j.changed.Broadcast()
	}
	if j.synced >= end {
		return nil
	}
	return j.err
}

// Close syncs and closes the journal, and lets others have it.
func (j *Journal) Close() error {
	return errors.Join(j.Sync(), unlock(j.file), j.file.Close())
}
