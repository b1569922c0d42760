package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/postrider/postrider"
)

// input is a message to be sent. It can be read again, which the library needs
// when the recipients do not fit into one transaction.
type input struct {
	content    postrider.Content
	size       int64
	recipients []string // of the header, if that was asked for
	discard    func()   // to be called at the end
}

// openFile takes a message from a file.
func openFile(ctx context.Context, name string, header bool) (*input, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fail(exitNoInput, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fail(exitNoInput, err)
	}
	if info.IsDir() {
		return nil, fail(exitNoInput, fmt.Errorf("%s is a directory", name))
	}
	if header || !info.Mode().IsRegular() { // a pipe cannot be read again
		return openReader(ctx, f, header)
	}
	return &input{content: postrider.File(name), size: info.Size(), discard: func() {}}, nil
}

// openReader takes a message from what can be read once.
func openReader(ctx context.Context, r io.Reader, header bool) (*input, error) {
	source := interruptible(ctx, r)
	defer source.Close()
	if !header {
		return spool(source)
	}
	buffered := bufio.NewReader(source)
	section, err := readHeader(buffered)
	if err != nil {
		return nil, err
	}
	recipients, err := headerRecipients(section)
	if err != nil {
		return nil, fail(exitData, err)
	}
	in, err := spool(io.MultiReader(bytes.NewReader(withoutBcc(section)), buffered))
	if err == nil {
		in.recipients = recipients
	}
	return in, err
}

// inMemory is up to which size a message that can be read once stays in memory;
// a larger one waits in a temporary file.
const inMemory = 1 << 20

// spool reads a message to its end before anything is sent: a slow or broken
// writer at the other end of a pipe then holds up nobody's server, and what broke
// off is not sent.
func spool(r io.Reader) (*input, error) {
	head, err := io.ReadAll(io.LimitReader(r, inMemory+1))
	if err != nil {
		return nil, err
	}
	if len(head) <= inMemory {
		return &input{content: postrider.Bytes(head), size: int64(len(head)), discard: func() {}}, nil
	}
	f, err := os.CreateTemp("", "postrider-*.eml")
	if err != nil {
		return nil, fail(exitTempFail, err)
	}
	size, err := io.Copy(f, io.MultiReader(bytes.NewReader(head), r))
	discard := func() { os.Remove(f.Name()) }
	if err := errors.Join(err, f.Close()); err != nil {
		discard()
		return nil, fail(spoolCode(err), fmt.Errorf("keeping the message in a temporary file: %w", err))
	}
	return &input{content: postrider.File(f.Name()), size: size, discard: discard}, nil
}

// spoolCode tells a source that failed from a disk that is full.
func spoolCode(err error) int {
	var source *failure
	if errors.As(err, &source) {
		return source.code
	}
	return exitTempFail
}

// interruptible makes a blocked read end when ctx is done. The goroutine that may
// be left behind then is stuck in a Read that nothing ends but the input, or the
// end of the process, which is near.
func interruptible(ctx context.Context, r io.Reader) io.ReadCloser {
	pipe, w := io.Pipe()
	stop := context.AfterFunc(ctx, func() { w.CloseWithError(context.Cause(ctx)) })
	go func() {
		_, err := io.Copy(w, r)
		stop()
		if err != nil {
			err = fail(exitNoInput, fmt.Errorf("reading the message: %w", err))
		}
		w.CloseWithError(err)
	}()
	return pipe
}
