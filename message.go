package postrider

import (
	"context"
	"io"
	"time"

	"github.com/postrider/postrider/internal/body"
)

// Sender hands one message to an MTA and says what became of every recipient. [Connection] is a Sender; so are a pool,
// a wrapper that splits or signs, and a fake in a test. An implementation must return a Result with exactly one Outcome
// per recipient of m.To, in the same order, also when the error is not nil; the error is nil exactly when at least one
// recipient is [Accepted] and none is [Untried] or [Unknown]. It must be safe for use by several goroutines, must not
// change m, and must not read m's content after it has returned. There is one exception: if the context is done while a
// call into the caller's own code (the open of a [Func], a Read, a Close) does not return, Send returns without it.
// That call is left behind on a goroutine of its own. What it returns later is thrown away; the reader is closed then,
// and never read again.
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

	// Options are what is asked for single recipients: nil, or one for each of To. Another
	// number is an error, and nothing is sent.
	Options []RecipientOptions

	// DSN is what delivery status notifications shall hold (RFC 3461). A server that does
	// not offer DSN is not told, see [Transaction.LeftOut].
	DSN DSN

	// RequireTLS asks every server on the way to pass the message on over verified TLS or not at all (REQUIRETLS, RFC
	// 8689). Without verified TLS to the MTA ([Config.Pins] will do), or if it does not offer REQUIRETLS, all
	// recipients are Refused and nothing is sent.
	RequireTLS bool

	// HoldFor and HoldUntil ask the server to keep the message for a time, or until one, before it delivers it
	// (FUTURERELEASE, RFC 4865): one of them, HoldFor in whole seconds, rounded up. If the server does not offer that,
	// or not for so long, all recipients are Refused and nothing is sent. A HoldUntil that has passed asks for nothing.
	HoldFor   time.Duration
	HoldUntil time.Time

	// DeliverBy asks for delivery within a time (DELIVERBY, RFC 2852).
	DeliverBy DeliverBy

	// Priority is −9 to 9, where more is more urgent and 0 is usual (MT-PRIORITY, RFC
	// 6710). A server that does not offer it is not told, see [Transaction.LeftOut].
	Priority int
}

// RecipientOptions are what is asked for one recipient (RFC 3461), where the server
// offers DSN. Values that are wrong in themselves refuse that recipient.
type RecipientOptions struct {
	// Notify says when the sender wants to hear of it: "NEVER", or some of
	// "SUCCESS,FAILURE,DELAY"; "" leaves it to the MTA.
	Notify string

	// ORCPT is the address that notifications name: a type, a semicolon, and the address as it is, as in
	// "rfc822;anne@example.com"; it is encoded here. If it is "", a recipient for whom notifications are asked has the
	// address that RCPT names. [Config.Redirect] ignores it.
	ORCPT string
}

// DSN is what delivery status notifications about a message hold (RFC 3461).
type DSN struct {
	Return     string // RET: "FULL" or "HDRS"; "" leaves it to the MTA
	EnvelopeID string // ENVID, printable ASCII, at most 94 characters as xtext (RFC 3461 §5.4)
}

// DeliverBy is by when a message is to be delivered. The zero value asks for nothing.
type DeliverBy struct {
	// Within is counted from the call of Send, in whole seconds, rounded up. A negative
	// one says that the time is over already.
	Within time.Duration

	// OrReturn has a message that is late returned instead of delivered. Without it only its sender is told. If the
	// server does not offer DELIVERBY, or not for so short a time, or if the time is over, all recipients are Refused
	// and nothing is sent. Without OrReturn a server that does not offer DELIVERBY is not told, see
	// [Transaction.LeftOut].
	OrReturn bool

	// Trace asks for a report from each server on the way.
	Trace bool
}

// Content is a message's header and body as octets. Whatever the line endings, CRLF goes out on the wire, a missing
// last one is added, and nothing else is changed. The zero Content is an empty message.
//
// A content of up to 64 KiB is in memory before the MAIL of its message is written. A
// larger one is read while it goes out, and if it fails then, or returns nothing for
// [Timeouts].Block, it is broken off: the server gets no end of it and takes none of it.
type Content struct{ octets body.Content }

// ErrContentUsed is why a content that can be read only once (see [Reader]) is not sent again. Nothing was sent: its
// recipients are [Untried] at [StageLocal], and time does not mend it.
var ErrContentUsed = body.ErrUsed

// Bytes is a content held in memory. b must not be changed while a Send uses it.
func Bytes(b []byte) Content { return Content{body.Bytes(b)} }

// File is the content of a file, opened again for each attempt. A file whose size is another than when the Send began,
// or becomes another while it is read, is broken off: it is sent as it was, or not at all. A name that stands for no
// regular file, but for a pipe or a device, can be read only once, as a [Reader].
func File(name string) Content { return Content{body.From(body.File(name))} }

// Func is a content that open generates. Each call must return an independent reader from the beginning, which is
// closed after use. If a Read fails, or the Close behind the last of it, the message is not sent: never a part of it.
func Func(open func() (io.ReadCloser, error)) Content { return Content{body.From(body.Func(open))} }

// FuncSize is a Func whose readers return size octets each. A message whose reader
// returns fewer or more is broken off. A size below 0 promises nothing.
func FuncSize(size int64, open func() (io.ReadCloser, error)) Content {
	return Content{body.From(body.Sized(open, size))}
}

// Reader is a content that is read from where r stands now. All copies of the Content share it. An [*os.File] that is
// regular, a [*bytes.Reader], a [*strings.Reader], and whatever else has ReadAt, Seek and Size() int64, can be read any
// number of times.
//
// Anything else, such as standard input, can be read only once. Its first 64 KiB are kept, and if it ends within them
// it is from then on as good as [Bytes]. A longer one goes out once: when more than these was read of it, or while
// another reader of it is open, Open answers [ErrContentUsed]. So it cannot be sent again when a wire is lost in the
// middle of it, nor to recipients that need a second transaction: those are left [Untried].
func Reader(r io.Reader) Content { return Content{body.From(body.Reader(r))} }

// Prepare reads a content to its end and makes one of it that is held in memory, ready to go out: line ends repaired,
// and looked through, which a Send then need not do. It is for a content that is sent many times, and for a [Reader]
// that has to be sent again. It takes as much memory as the content has octets.
func Prepare(c Content) (Content, error) {
	octets, err := c.octets.Prepare()
	return Content{octets}, err
}

// Open returns a reader of the content as the caller gave it. It must be closed.
func (c Content) Open() (io.ReadCloser, error) { return c.octets.Open() }

// Replayable reports whether every Open returns the whole content, so that it can be sent
// more than once. Of a [Reader] it reads up to 64 KiB to tell, which are kept. The error
// says why it cannot be told; it is ErrContentUsed while another reader is open.
func (c Content) Replayable(ctx context.Context) (bool, error) { return c.octets.Replayable(ctx) }
