package journal

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
)

// magic is the first line. The number is that of the format.
const magic = "postrider journal 2\n"

// longestRecord bounds what a damaged file can make us read at once.
const longestRecord = 16 << 20

// check is that of a record, over the one before it and its own text: SHA-256, cut
// to what no accident gets past.
type check [8]byte

// digits is how long a check is in the file.
const digits = 2 * len(check{})

// next is the check of a text that follows.
func (c check) next(text []byte) (n check) {
	sum := sha256.New()
	sum.Write(c[:])
	sum.Write(text)
	copy(n[:], sum.Sum(nil))
	return n
}

// start is what the first record follows.
func start() check { return check{}.next([]byte(magic)) }

// encode makes a record: its check, the length of the payload, and the payload.
func encode(last check, payload []byte) (line []byte, c check) {
	line = fmt.Appendf(nil, "%*s %x %s\n", digits, "", len(payload), payload)
	c = last.next(line[digits+1:])
	hex.Encode(line, c[:])
	return line, c
}

// encodeHeader makes what every journal begins with.
func encodeHeader(identity []byte) (text []byte, last check) {
	line, last := encode(start(), identity)
	return append([]byte(magic), line...), last
}

// decode is the opposite of encode; ok is false for what is no whole record, or not
// the one that was written behind the last.
func decode(last check, line []byte) (payload []byte, c check, ok bool) {
	sum, text, _ := bytes.Cut(line, []byte(" "))
	c = last.next(text)
	if string(sum) != hex.EncodeToString(c[:]) {
		return nil, c, false
	}
	_, payload, _ = bytes.Cut(text, []byte(" "))
	return payload[:len(payload)-1], c, true
}

// torn reports whether a text may be the beginning of a record, as a crash leaves it.
// It is not if it is as long as the whole would be, or has NULs: those stand where
// something was not written, or is lost, and nobody can tell which.
func torn(text []byte) bool {
	form := regexp.MustCompile(`^(?:[0-9a-f]{0,16}|[0-9a-f]{16} [0-9a-f]{0,7}|` +
		`[0-9a-f]{16} ([0-9a-f]{1,7}) ([^\x00]*))$`)
	parts := form.FindSubmatch(text)
	if parts == nil || parts[1] == nil {
		return parts != nil
	}
	length, err := strconv.ParseUint(string(parts[1]), 16, 31)
	return err == nil && len(parts[2]) <= int(length)
}

// readMagic reads the first line, and fails if it is another.
func readMagic(r io.Reader) error {
	line := make([]byte, len(magic))
	n, err := io.ReadFull(r, line)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return err
	}
	line = line[:n]
	// The first format had a checksum of 8 digits and no line of its own.
	versions := regexp.MustCompile(`^(?:postrider journal [0-9]|[0-9a-f]{8} 0 )`)
	switch {
	case string(line) == magic:
		return nil
	case n == 0:
		return fmt.Errorf("%w: empty", ErrForeign)
	case bytes.IndexByte(line, 0) >= 0:
		return fmt.Errorf("%w: begins with NULs", ErrForeign)
	case n == len(magic) && versions.Match(line):
		return ErrVersion
	}
	return ErrForeign
}

// errNotWritten is what is wrong with a record.
var errNotWritten = errors.New("not what was written there")

// reading reads a journal that was there already.
type reading struct {
	identity []byte
	replay   func([]byte) error
	records  int
	last     check
	sound    int64 // where the last whole record ends
}

// all reads the records to the end, or to where one is torn.
func (r *reading) all(f io.Reader) error {
	if err := readMagic(f); err != nil {
		return err
	}
	r.last, r.sound = start(), int64(len(magic))
	lines := bufio.NewReaderSize(f, 1<<16)
	for {
		line, err := readLine(lines)
		switch {
		case err == nil:
			if err := r.take(line); err != nil {
				return err
			}
		case err != io.EOF:
			return err
		case r.records == 0: // it never was without
			return &Damage{Err: errNotWritten}
		case !torn(line):
			return &Damage{r.sound, errNotWritten}
		default:
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

// take takes a line that has its end.
func (r *reading) take(line []byte) error {
	payload, c, ok := decode(r.last, line)
	if !ok && r.records == 0 {
		return &Damage{Err: errNotWritten}
	}
	if !ok {
		return &Damage{r.sound, errNotWritten}
	}
	if r.records == 0 && !bytes.Equal(payload, r.identity) {
		return ErrOther
	}
	if r.records > 0 {
		if err := r.replay(payload); errors.Is(err, ErrDamaged) {
			return &Damage{r.sound, err}
		} else if err != nil {
			return err
		}
	}
	r.records++
	r.last, r.sound = c, r.sound+int64(len(line))
	return nil
}
