// Package journal keeps records on disk, one behind the other, so that what was
// committed is there after a crash, a kill, or a power cut.
//
// A record is a line: a checksum, how far the file was known to be on the disk when
// it was written, and the payload. The first is the journal's identity. What a crash
// left half-written at the end is cut off when the journal is opened again; damage in
// what was once known to be on the disk is an error, because a record that was acted
// on may be missing.
package journal

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/gofrs/flock"
)

// longestRecord bounds what a damaged file can make us read at once.
const longestRecord = 16 << 20

var (
	// ErrLocked answers who opens a journal that another process has open.
	ErrLocked = errors.New("it is in use by another process")

	// ErrOther answers who opens a journal of another identity.
	ErrOther = errors.New("it belongs to something else")

	// ErrDamaged answers who opens a journal of which something is lost that was on
	// the disk.
	ErrDamaged = errors.New("it is damaged")
)

// Journal is an open journal. It may be used by several goroutines.
type Journal struct {
	file *os.File
	lock *flock.Flock

	mu      sync.Mutex
	changed *sync.Cond // something below did
	written int64
	synced  int64 // how far the file is known to be on the disk
	syncing bool
	err     error // the first that a write or sync had; nothing is trusted after it
}

// Open opens the journal, or makes one, and gives every payload that is in it to
// replay, in order. Payloads must not be kept. A file of the name with ".lock" behind
// it keeps other processes away.
func Open(name string, identity []byte, replay func(payload []byte) error) (*Journal, error) {
	lock := flock.New(name + ".lock")
	switch ok, err := lock.TryLock(); {
	case err != nil:
		return nil, err
	case !ok:
		return nil, ErrLocked
	}
	j := &Journal{lock: lock}
	j.changed = sync.NewCond(&j.mu)
	if err := j.open(name, identity, replay); err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return j, nil
}

func (j *Journal) open(name string, identity []byte, replay func([]byte) error) (err error) {
	if j.file, err = os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return err
	}
	r := reading{identity: identity, replay: replay}
	if err := r.all(j.file); err != nil {
		return err
	}
	// What is behind the last whole record was never acted on.
	if err := j.file.Truncate(r.good); err != nil {
		return err
	}
	if _, err := j.file.Seek(r.good, io.SeekStart); err != nil {
		return err
	}
	j.written = r.good
	if r.records == 0 {
		if err := j.Append(identity); err != nil {
			return err
		}
	}
	// Now also what the last run had only written, and the name of a new file.
	if err := j.Sync(); err != nil {
		return err
	}
	return syncDirectory(filepath.Dir(name))
}

// Append adds a record. It is safe from the end of this process, but not from that of
// the machine before the next Commit or Sync of anybody's has returned.
func (j *Journal) Append(payload []byte) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.append(payload)
}

// Commit adds a record and waits until it, and all before it, are on the disk. Those
// who wait at the same time share one sync.
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
	n, err := j.file.Write(encode(payload, j.synced))
	j.written += int64(n)
	j.err = err
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

// Close syncs and closes the journal.
func (j *Journal) Close() (err error) {
	if j.file != nil {
		err = errors.Join(j.Sync(), j.file.Close())
	}
	return errors.Join(err, j.lock.Unlock())
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

var table = crc32.MakeTable(crc32.Castagnoli)

// encode makes a record of a payload without line ends.
func encode(payload []byte, synced int64) []byte {
	text := fmt.Appendf(nil, "%08x %x %s\n", 0, synced, payload)
	copy(text, fmt.Sprintf("%08x", crc32.Checksum(text[8:], table)))
	return text
}

// decode is the opposite; ok is false for what is no whole record.
func decode(line []byte) (payload []byte, synced int64, ok bool) {
	if len(line) < 12 || line[len(line)-1] != '\n' {
		return nil, 0, false
	}
	sum, err := strconv.ParseUint(string(line[:8]), 16, 32)
	if err != nil || uint32(sum) != crc32.Checksum(line[8:], table) {
		return nil, 0, false
	}
	number, payload, found := bytes.Cut(line[9:len(line)-1], []byte(" "))
	synced, err = strconv.ParseInt(string(number), 16, 64)
	return payload, synced, found && err == nil
}

// reading reads a journal that was there already.
type reading struct {
	identity []byte
	replay   func([]byte) error
	records  int
	good     int64 // where the last record ends behind which nothing is lost
}

// all reads the records up to the first that is not whole. If one behind that one
// knows that the disk had more, something is lost that was acted on.
func (r *reading) all(f io.Reader) error {
	lines := bufio.NewReaderSize(f, 1<<16)
	broken := false
	for {
		line, err := readLine(lines)
		if err != nil && err != io.EOF {
			return err
		}
		payload, synced, ok := decode(line)
		switch {
		case broken && ok && synced > r.good:
			return fmt.Errorf("%w: what began at octet %d is lost", ErrDamaged, r.good)
		case broken:
		case ok:
			if err := r.take(payload); err != nil {
				return err
			}
			r.good += int64(len(line))
		case len(line) > 0:
			broken = true
		}
		if err == io.EOF {
			return nil
		}
	}
}

// readLine reads up to a line end, or as much as a record may have.
func readLine(r *bufio.Reader) (line []byte, err error) {
	for len(line) < longestRecord {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if err != bufio.ErrBufferFull {
			return line, err
		}
	}
	return line, nil
}

func (r *reading) take(payload []byte) error {
	if r.records++; r.records > 1 {
		return r.replay(payload)
	}
	if !bytes.Equal(payload, r.identity) {
		return ErrOther
	}
	return nil
}
