package postrider

import (
	"crypto/tls"
	"time"
)

// Trace is a set of hooks into what a connection does, in the manner of
// net/http/httptrace. Every hook may be nil. Hooks are called in the order of
// events, from the connection's own goroutines: they must be quick, and must not
// call the connection. Wires are numbered from 1; a pool's connections number theirs
// together, and call the hooks of different wires at the same time.
//
// Commands, credentials and content are three hooks, so that a program that logs
// the dialogue does not log passwords and mail by accident.
type Trace struct {
	// Dialed: a network connection was opened, or not.
	Dialed func(wire int, address string, took time.Duration, err error)

	// TLSDone: a TLS handshake ended.
	TLSDone func(wire int, state tls.ConnectionState, err error)

	// Hello: the server named its extensions: the lines of the EHLO reply after
	// the first. Called again after STARTTLS.
	Hello func(wire int, extensions []string)

	// Authenticated: an AUTH exchange ended.
	Authenticated func(wire int, mechanism string, err error)

	// TransactionDone: a transaction ended, with what became of its recipients
	// in it. A recipient that will be tried again is Untried here.
	TransactionDone func(t Transaction, outcomes []Outcome)

	// WireClosed: the wire ended after so many transactions; reason is nil when
	// we ended it because it was due or no longer needed.
	WireClosed func(wire int, transactions int, reason error)

	// FellBack: the server offers what it does not do well; from now on, for an
	// hour, it is met by doing without. Also a server's fault that only costs words.
	FellBack func(wire int, what string)

	// ServerDown, ServerUp: a pool leaves a server alone until then, or uses it again.
	// LimitChanged: so many connections it gets at the most from now on.
	ServerDown   func(address string, until time.Time, reason error)
	ServerUp     func(address string)
	LimitChanged func(address string, connections int)

	// Command: a command line that is being sent, without CRLF; what follows AUTH
	// and its mechanism is masked. Reply: an answer that was read, with passwords
	// and tokens that the server repeats in it masked.
	Command func(wire int, line string)
	Reply   func(wire int, reply Reply)

	// Credentials: what Command masks, as it goes out, base64 and all.
	Credentials func(wire int, line string)

	// Content: octets of a message as they go out. The slice is valid during the
	// call only.
	Content func(wire int, octets []byte)
}

// Stats is a snapshot of what a connection has done so far. Of the recipients'
// counts each recipient of each Send that has returned is in exactly one.
type Stats struct {
	Dials        int64 // attempts to open a wire
	DialFailures int64 // of them, those that did not come as far as the first MAIL: dial, TLS, EHLO, AUTH
	Transactions int64 // MAIL commands
	Reuses       int64 // of them, those on a wire that had carried one before
	Resends      int64 // transactions that were repeated on another wire
	Fallbacks    int64 // faults of the server that were recognised, and are met by doing without
	TurnedAway   int64 // wires on which the server said that it closes: 421, 451 4.4.2

	// Wires that ended, by the reason; those that Quit and Close ended are not counted.
	EndedByCount  int64 // they had carried what they may: MaxTransactions, MAILMAX, what was learnt
	EndedByAge    int64
	EndedByIdle   int64
	EndedByServer int64 // it hung up, with a 421 or without
	EndedByFault  int64 // a timeout, replies out of step, a message that broke off

	Accepted, Deferred, Refused, Untried, Unknown int64 // recipients

	Open     bool // is a wire open now
	InFlight int  // transactions begun and not ended
	Queued   int  // Sends that wait for their turn
}
