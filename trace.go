package postrider

import (
	"crypto/tls"
	"fmt"
	"time"
)

// Trace is a set of hooks into what a [Connection] or a [Pool] does, like
// net/http/httptrace. Every hook may be nil. Hooks are called in the order of events,
// from the connection's own goroutines: they must be quick, and must not call the
// connection. A pool's connections call them at the same time.
//
// Events, dialogue, credentials and content are four hooks, so that a program that logs
// one of them does not log another by accident.
type Trace struct {
	// Event reports what happens to wires, transactions and a pool's servers: the kinds
	// from [EventDialed] to [EventLimitChanged].
	Event func(Event)

	// Dialogue reports what is said on a wire: [EventCommand] and [EventReply]. What
	// follows AUTH and its mechanism is masked, and so are passwords and tokens that the
	// server repeats.
	Dialogue func(Event)

	// Credentials reports the lines that Dialogue masks, as they go out, base64 and all.
	Credentials func(wire int, line string)

	// Content reports octets of a message as they go out. The slice is valid during the
	// call only.
	Content func(wire int, octets []byte)
}

// Event is something that happened. Kind, Time and Server are always set; the constants
// of [EventKind] name the other fields that each kind sets. Later versions may add
// kinds and fields: ignore the kinds that you do not know.
type Event struct {
	Kind   EventKind
	Time   time.Time
	Server string // the server, as errors name it
	Wire   int    // the number of the wire, from 1; a pool's connections number theirs together

	Address string        // the network address that was dialed
	Took    time.Duration // how long it took
	Err     error         // why it failed, or ended; nil: it did not fail, or we ended it because that was due

	TLS        *tls.ConnectionState // not to be changed
	Extensions []string             // what the server offers: the lines of its EHLO reply after the first
	Mechanism  string               // of AUTH

	Transaction  Transaction
	Outcomes     []Outcome // what became of the recipients of the transaction
	Transactions int       // how many transactions the wire has carried
	Fault        string    // what the server does not do well

	Until       time.Time // when the server is tried again
	Connections int       // how many connections the server gets at most

	Line  string // the command, without CRLF
	Reply Reply  // the reply to a command
}

// EventKind is what happened.
type EventKind int

// The kinds of events.
const (
	// EventDialed: a network connection was opened, or failed to open. Wire, Address,
	// Took, Err.
	EventDialed EventKind = iota + 1

	// EventTLS: a TLS handshake ended. Wire, TLS, Err.
	EventTLS

	// EventHello: the server named its extensions; reported again after STARTTLS. Wire,
	// Extensions.
	EventHello

	// EventAuthenticated: an AUTH exchange ended. Wire, Mechanism, Err.
	EventAuthenticated

	// EventTransaction: a transaction ended. A recipient that will be tried again is
	// Untried here. Wire, Took (from its MAIL on), Transaction, Outcomes.
	EventTransaction

	// EventClosed: the wire ended; it is the last event of a wire that was opened. Wire,
	// Transactions, Err.
	EventClosed

	// EventFellBack: the server offers what it does not do well, and what it offers is
	// not used for an hour; or it has a fault that is harmless. Wire, Fault.
	EventFellBack

	// EventServerDown: a pool does not use the server until the time. Until, Err.
	EventServerDown

	// EventServerUp: a pool uses the server again.
	EventServerUp

	// EventLimitChanged: a pool has another limit for the server. Connections.
	EventLimitChanged

	// EventCommand: a command line is being sent. Wire, Line.
	EventCommand

	// EventReply: a reply was read. Wire, Reply.
	EventReply
)

var eventWords = [...]string{
	EventDialed: "dialed", EventTLS: "tls", EventHello: "hello", EventAuthenticated: "authenticated",
	EventTransaction: "transaction", EventClosed: "closed", EventFellBack: "fell back",
	EventServerDown: "server down", EventServerUp: "server up", EventLimitChanged: "limit changed",
	EventCommand: "command", EventReply: "reply",
}

// String returns the kind in lower-case words.
func (k EventKind) String() string {
	if k <= 0 || int(k) >= len(eventWords) {
		return fmt.Sprintf("EventKind(%d)", int(k))
	}
	return eventWords[k]
}
