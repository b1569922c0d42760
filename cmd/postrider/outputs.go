package main

import (
	"bufio"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// outputs are the files that a command writes. Every one is opened before anything is done that cannot be undone: a
// file that exists is overwritten only if we wrote it, or if --force names it, and never if it is read too or written
// twice. Two names of one file are one file.
type outputs struct {
	force []string // names
	used  []used
	made  []*output
}

// used is a file that is in use already.
type used struct {
	as   string // "the message", "--table"
	info fs.FileInfo
	use  use
}

// use is what is done with a file.
type use int

const (
	reads use = iota
	writes
	appends
)

// newOutputs begins with those that every command has. A file that a shell redirected an output to is appended to.
func newOutputs(std streams, force []string) *outputs {
	o := &outputs{force: force}
	o.redirected("standard output", std.out)
	o.redirected("standard error", std.err)
	return o
}

func (o *outputs) redirected(as string, w io.Writer) {
	if f, ok := w.(*os.File); ok {
		if info, err := f.Stat(); err == nil {
			o.used = append(o.used, used{as, info, appends})
		}
	}
}

// reading enters a file that is read, if one is named. If it cannot be read, others report it.
func (o *outputs) reading(as, name string) {
	if info, err := os.Stat(name); name != "" && err == nil {
		o.used = append(o.used, used{as, info, reads})
	}
}

// take enters a file that is about to be written, unless it has another use. Two may
// append to one; and what is no regular file has nothing that could be lost.
func (o *outputs) take(flag, name string, info fs.FileInfo, as use) error {
	for _, u := range o.used {
		if info.Mode().IsRegular() && os.SameFile(u.info, info) && !(u.use == appends && as == appends) {
			return fail(exitCantCreate, fmt.Errorf("%s %s: this file is in use already, for %s: name another",
				flag, name, u.as))
		}
	}
	o.used = append(o.used, used{flag, info, as})
	return nil
}

// forced reports whether --force names a file.
func (o *outputs) forced(info fs.FileInfo) bool {
	for _, name := range o.force {
		if named, err := os.Stat(name); err == nil && os.SameFile(named, info) {
			return true
		}
	}
	return false
}

// output is an open file that is to be written, once and as a whole.
type output struct {
	flag, name string
	mode       fs.FileMode            // if it is made
	ours       func(text []byte) bool // tells by its beginning that we wrote it; nil: never
	file       *os.File
	empty      bool // made by us, with nothing in it yet
}

// longestBeginning is how much of a file ours gets.
const longestBeginning = 64 << 10

// open opens an output, or makes it, and changes nothing that is in it.
func (o *outputs) open(out *output) (*output, error) {
	info, err := os.Stat(out.name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		out.file, err = os.OpenFile(out.name, os.O_RDWR|os.O_CREATE|os.O_EXCL, out.mode)
		out.empty = err == nil
	case err == nil && info.Mode()&(fs.ModeCharDevice|fs.ModeNamedPipe) != 0:
		out.file, err = os.OpenFile(out.name, os.O_WRONLY, 0)
	case err == nil && !info.Mode().IsRegular():
		err = errors.New("not a file that can be written")
	case err == nil:
		out.file, err = os.OpenFile(out.name, os.O_RDWR, 0)
	}
	if err != nil {
		return nil, fail(exitCantCreate, fmt.Errorf("%s %s: %w", out.flag, out.name, cause(err)))
	}
	o.made = append(o.made, out)
	if info, err = out.file.Stat(); err == nil {
		err = o.take(out.flag, out.name, info, writes)
	}
	if err == nil && info.Mode().IsRegular() && info.Size() > 0 && !o.forced(info) {
		err = out.recognise()
	}
	return out, err
}

// cause is an error without the name of the file, which is told already.
func cause(err error) error {
	if e := (*fs.PathError)(nil); errors.As(err, &e) {
		return e.Err
	}
	return err
}

// recognise fails if we cannot tell that we wrote what is there.
func (out *output) recognise() error {
	if out.ours != nil {
		text, err := io.ReadAll(io.LimitReader(out.file, longestBeginning))
		if err != nil {
			return fail(exitCantCreate, err)
		}
		if out.ours(text) {
			return nil
		}
	}
	return fail(exitCantCreate, fmt.Errorf("%s %s: the file exists, and postrider may not have written it: "+
		"name another, or allow to overwrite it with --force %s", out.flag, out.name, out.name))
}

// append opens a file to which lines are appended.
func (o *outputs) append(flag, name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o666)
	if err != nil {
		return nil, fail(exitCantCreate, fmt.Errorf("%s %s: %w", flag, name, cause(err)))
	}
	info, err := f.Stat()
	if err == nil {
		err = o.take(flag, name, info, appends)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// write puts text in the place of what was there, and closes the file.
func (out *output) write(text func(io.Writer) error) error {
	f := out.file
	out.file, out.empty = nil, false
	info, err := f.Stat()
	if err == nil && info.Mode().IsRegular() {
		if _, err = f.Seek(0, io.SeekStart); err == nil {
			err = f.Truncate(0)
		}
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	w := bufio.NewWriter(f)
	return errors.Join(text(w), w.Flush(), f.Close())
}

// close leaves no empty file behind for an output that was not written after all.
func (o *outputs) close() {
	for _, out := range o.made {
		if out.file == nil {
			continue
		}
		out.file.Close()
		if out.empty {
			_ = os.Remove(out.name)
		}
	}
}

// isAuthority tells a certificate authority of package smtptest, and nothing else.
func isAuthority(text []byte) bool {
	block, rest := pem.Decode(text)
	if block == nil || len(rest) > 0 {
		return false
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	return err == nil && cert.Subject.CommonName == "smtptest CA" && cert.CheckSignatureFrom(cert) == nil
}
