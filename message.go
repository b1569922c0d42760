package postrider

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
)

// Sender hands one message to an MTA and says what became of every recipient.
// [Connection] is a Sender; so are a pool, a wrapper that splits or signs, and a
// fake in a test. An implementation must return a Result with exactly one
// Outcome per recipient of m.To, in the same order, also when the error is not
// nil; the error is nil exactly when at least one recipient is [Accepted] and
// none is [Untried] or [Unknown]. It must be safe for use by several goroutines,
// must not change m, and must not read m's content after it has returned.
type Sender interface {
	Send(ctx context.Context, m *Message) (*Result, error)
}

// Message is an envelope and a content. Addresses are bare, as in
// "anne@example.com": a display name or angle brackets are refused.
type Message struct {
	// From is the reverse-path; "" is the null path <> of bounces.
	From string

	// To are the forward-paths. Duplicates are kept.
	To []string

	// Content is header and body, made by [Bytes], [File], [Func] or [Reader].
	Content Content

	// DSN asks for delivery status notifications, where the server knows them
	// (RFC 3461); elsewhere it has no effect.
	DSN DSN

	// RequireTLS asks every server on the way to pass the message on over verified
	// TLS or not at all (REQUIRETLS, RFC 8689). Without verified TLS to the MTA
	// ([Config.Pins] will do), or if it does not offer REQUIRETLS, everybody is
	// Refused and nothing is sent.
	RequireTLS bool
}

// DSN is what a sender wants to hear of a message's fate (RFC 3461). Every
// recipient carries it, together with an ORCPT that is derived from its address.
type DSN struct {
	Return     string // RET: "FULL" or "HDRS"; "" leaves it to the MTA
	EnvelopeID string // ENVID, printable ASCII, at most 94 characters as xtext (RFC 3461 §5.4)
	Notify     string // NOTIFY: "NEVER", or of "SUCCESS,FAILURE,DELAY"; "" leaves it to the MTA
}

// Content is a message's header and body as octets. Whatever the line endings,
// CRLF goes out on the wire, a missing last one is added, and nothing else is
// changed. The zero Content is an empty message.
type Content struct {
	bytes []byte
	open  func() (io.ReadCloser, error) // nil: bytes
	size  func() int64                  // octets before repair, -1 if not known; may be nil
	once  bool                          // open may be called once only
}

// Bytes is a content held in memory. b must not be changed while a Send uses it.
func Bytes(b []byte) Content { return Content{bytes: b} }

// File is the content of a file, opened anew for each attempt.
func File(name string) Content {
	return Content{
		open: func() (io.ReadCloser, error) { return os.Open(name) },
		size: func() int64 {
			if fi, err := os.Stat(name); err == nil && fi.Mode().IsRegular() {
				return fi.Size()
			}
			return -1
		},
	}
}

// Func is a content that open generates. Each call must give an independent
// reader from the beginning, which is closed after use. If a Read fails, the
// message is not sent: never a part of it.
func Func(open func() (io.ReadCloser, error)) Content { return Content{open: open} }

// Reader is a content that can be read once only, such as standard input. A
// large one (over 64 KiB) cannot be sent again when a wire is lost, nor to
// recipients that need a second transaction: those are left [Untried].
func Reader(r io.Reader) Content {
	return Content{open: func() (io.ReadCloser, error) { return io.NopCloser(r), nil }, once: true}
}

// Open gives a reader of the content as the caller gave it.
func (c Content) Open() (io.ReadCloser, error) {
	if c.open == nil {
		return io.NopCloser(bytes.NewReader(c.bytes)), nil
	}
	return c.open()
}

// knownSize is the content's length before repair, or -1.
func (c Content) knownSize() int64 {
	switch {
	case c.open == nil:
		return int64(len(c.bytes))
	case c.size == nil:
		return -1
	}
	return c.size()
}

// errReadOnce says why recipients of a one-shot content were left.
var errReadOnce = errors.New("the content can be read only once and was already read: give Bytes, File or Func instead of Reader")
