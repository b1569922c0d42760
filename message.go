package postrider

import (
	"context"
	"io"

	"github.com/postrider/postrider/internal/body"
)

// Sender hands one message to an MTA and says what became of every recipient.
// [Connection] is a Sender; so are a pool, a wrapper that splits or signs, and a
// fake in a test. An implementation must return a Result with exactly one
// Outcome per recipient of m.To, in the same order, also when the error is not
// nil; the error is nil exactly when at least one recipient is [Accepted] and
// none is [Untried] or [Unknown]. It must be safe for use by several goroutines,
// must not change m, and must not read m's content after it has returned. There is
// one exception: if the context is done while a call into the caller's own code
// (the open of a [Func], a Read, a Close) does not return, Send returns without it.
// That call is left behind on a goroutine of its own. What it returns later is thrown
// away; the reader is closed then, and never read again.
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

	// Content is header and body, made by [Bytes], [File], [Func], [FuncSize] or [Reader].
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
//
// A content of up to 64 KiB is in memory before the MAIL of its message is written. A
// larger one is read while it goes out, and if it fails then, or gives nothing for
// [Timeouts].Block, it is broken off: the server gets no end of it and takes none of it.
type Content struct{ octets body.Content }

// ErrContentUsed is why a content that can be read only once (see [Reader]) is not sent
// again. Nothing was sent: its recipients are [Untried] at [StageLocal], and time does not
// mend it.
var ErrContentUsed = body.ErrUsed

// Bytes is a content held in memory. b must not be changed while a Send uses it.
func Bytes(b []byte) Content { return Content{body.Bytes(b)} }

// File is the content of a file, opened anew for each attempt. A file whose size is
// another than when the Send began, or becomes another while it is read, is broken off:
// it is sent as it was, or not at all. A name that stands for no regular file, but for a
// pipe or a device, can be read only once, as a [Reader].
func File(name string) Content { return Content{body.From(body.File(name))} }

// Func is a content that open generates. Each call must give an independent
// reader from the beginning, which is closed after use. If a Read fails, or the Close
// behind the last of it, the message is not sent: never a part of it.
func Func(open func() (io.ReadCloser, error)) Content { return Content{body.From(body.Func(open))} }

// FuncSize is a Func whose readers give size octets, as they come out of the reader. One
// that gives fewer or more is broken off. A size below 0 promises nothing.
func FuncSize(open func() (io.ReadCloser, error), size int64) Content {
	return Content{body.From(body.Sized(open, size))}
}

// Reader is a content that is read from where r stands now. All copies of the
// Content share it. An [*os.File] that is
// regular, a [*bytes.Reader], a [*strings.Reader], and whatever else has ReadAt, Seek and
// Size() int64, can be read as often as need be.
//
// Anything else, such as standard input, can be read only once. Its first 64 KiB are kept,
// and if it ends within them it is from then on as good as [Bytes]. A longer one goes out
// once: when more than these was read of it, or while another reader of it is open, Open
// answers [ErrContentUsed]. So it cannot be sent again when a wire is lost in the middle
// of it, nor to recipients that need a second transaction: those are left [Untried].
func Reader(r io.Reader) Content { return Content{body.From(body.Reader(r))} }

// Prepare reads a content to its end and makes one of it that is held in memory, ready to
// go out: line ends repaired, and looked through, which a Send then need not do. It is for
// a content that is sent many times, and for a [Reader] that has to be sent again. It
// takes as much memory as the content has octets.
func Prepare(c Content) (Content, error) {
	octets, err := c.octets.Prepare()
	return Content{octets}, err
}

// Open gives a reader of the content as the caller gave it. It must be closed.
func (c Content) Open() (io.ReadCloser, error) { return c.octets.Open() }

// Replayable reports whether every Open gives the whole content, so that it can be sent
// more than once. Of a [Reader] it reads up to 64 KiB to tell, which are kept. The error
// says why it cannot be told; it is ErrContentUsed while another reader is open.
func (c Content) Replayable(ctx context.Context) (bool, error) { return c.octets.Replayable(ctx) }
