package postrider

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	smtp "github.com/postrider/postrider/internal/wire"
)

// Trace is a set of hooks into what a [Connection] or a [Pool] does, like net/http/httptrace. Every hook may be nil.
// Hooks are called in the order of events, from the connection's own goroutines: they must be quick, and must not call
// the connection. A pool's connections call them at the same time.
//
// Events, dialogue, credentials and content are four hooks, so that a program that logs
// one of them does not log another by accident.
type Trace struct {
	// Event reports what happens to wires, transactions and a pool's servers: the kinds
	// from [EventDialed] to [EventLimitChanged].
	Event func(Event)

	// Dialogue reports what is said on a wire: [EventCommand] and [EventReply]. What follows AUTH and its mechanism is
	// masked, and so are passwords and tokens that the server repeats.
	Dialogue func(Event)

	// Credentials reports the lines that Dialogue masks, as they go out, base64 and all.
	Credentials func(wire int, line string)

	// Content reports octets of a message as they go out. The slice is valid during the call only.
	Content func(wire int, octets []byte)
}

// Event is something that happened. Kind, Time and Server are always set; the constants of [EventKind] name the other
// fields that each kind sets. Later versions may add kinds and fields: ignore the kinds that you do not know.
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
	// EventDialed: a network connection was opened, or failed to open. Wire, Address, Took, Err.
	EventDialed EventKind = iota + 1

	// EventTLS: a TLS handshake ended. Wire, TLS, Err.
	EventTLS

	// EventHello: the server named its extensions; reported again after STARTTLS. Wire, Extensions.
	EventHello

	// EventAuthenticated: an AUTH exchange ended. Wire, Mechanism, Err.
	EventAuthenticated

	// EventTransaction: a transaction ended. A recipient that will be tried again is
	// Untried here. Wire, Took (from its MAIL on), Transaction, Outcomes.
	EventTransaction

	// EventClosed: the wire ended; it is the last event of a wire that was opened. Wire, Transactions, Err.
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

// teller reports what happens at one server to the Trace and the Logger of its Config, for a Connection and a Pool
// alike. It is called without any lock held, since hooks are the caller's code.
type teller struct {
	server string
	trace  Trace
	logger *slog.Logger // never nil
	silent bool         // there is no Logger
}

func newTeller(server string, cfg *Config) *teller {
	t := &teller{server: server}
	if cfg.Trace != nil {
		t.trace = *cfg.Trace
	}
	if t.silent = cfg.Logger == nil; t.silent {
		t.logger = slog.New(slog.DiscardHandler)
	} else {
		t.logger = cfg.Logger.With("server", server)
	}
	return t
}

// log returns the logger, which always exists.
func (t *teller) log() *slog.Logger { return t.logger }

// debugging reports that the dialogue is wanted in the log.
func (t *teller) debugging() bool {
	return !t.silent && t.logger.Enabled(context.Background(), slog.LevelDebug)
}

// tracing reports that somebody wants to hear of transactions.
func (t *teller) tracing() bool { return t.trace.Event != nil || t.debugging() }

// listening reports that somebody wants to hear the dialogue.
func (t *teller) listening() bool { return t.trace.Dialogue != nil || t.debugging() }

// tell reports an event to the hook, and then to the log. One that is told later than it happened has its time already.
func (t *teller) tell(e Event) {
	if t.trace.Event != nil {
		e.Server = t.server
		if e.Time.IsZero() {
			e.Time = time.Now()
		}
		t.trace.Event(e)
	}
	if t.silent || e.Kind == EventTransaction && !t.debugging() {
		return
	}
	if level, message, attrs := e.entry(); message != "" {
		t.logger.Log(context.Background(), level, message, attrs...)
	}
}

// entry is what the log has of an event; without a message it has nothing.
func (e *Event) entry() (level slog.Level, message string, attrs []any) {
	debug, info, warn := slog.LevelDebug, slog.LevelInfo, slog.LevelWarn
	failed := e.Err != nil
	switch {
	case e.Kind == EventDialed && !failed:
		return info, "wire opened", []any{"wire", e.Wire, "address", e.Address, "took", e.Took}
	case e.Kind == EventTLS && !failed:
		return debug, "TLS is up", []any{"wire", e.Wire, "version", tls.VersionName(e.TLS.Version),
			"cipher", tls.CipherSuiteName(e.TLS.CipherSuite), "resumed", e.TLS.DidResume}
	case e.Kind == EventAuthenticated && !failed:
		return debug, "authenticated", []any{"wire", e.Wire, "mechanism", e.Mechanism}
	case e.Kind == EventTransaction:
		return debug, "transaction done", []any{"wire", e.Wire, "recipients", e.Transaction.Recipients,
			"reply", e.Transaction.Reply.String()}
	case e.Kind == EventClosed && !failed:
		return info, "wire closed", []any{"wire", e.Wire, "transactions", e.Transactions}
	case e.Kind == EventClosed:
		return info, "wire lost", []any{"wire", e.Wire, "transactions", e.Transactions, "reason", e.Err.Error()}
	case e.Kind == EventFellBack:
		return warn, "server fault", []any{"wire", e.Wire, "fault", e.Fault}
	case e.Kind == EventServerDown:
		return warn, "server is down", []any{"until", e.Until, "reason", e.Err.Error()}
	case e.Kind == EventServerUp:
		return info, "server is up again", nil
	case e.Kind == EventLimitChanged:
		return info, "connection limit changed", []any{"connections", e.Connections}
	}
	return level, "", nil // what failed while a wire was opened is in the error that is logged
}

// say reports what is said on a wire.
func (t *teller) say(e Event) {
	if t.trace.Dialogue != nil {
		e.Server, e.Time = t.server, time.Now()
		t.trace.Dialogue(e)
	}
	switch {
	case !t.debugging():
	case e.Kind == EventCommand:
		t.logger.Debug("command", "wire", e.Wire, "line", e.Line)
	default:
		t.logger.Debug("reply", "wire", e.Wire, "reply", e.Reply.String())
	}
}

// asError turns a nil *Error into a nil error.
func asError(err *Error) error {
	if err == nil {
		return nil
	}
	return err
}

func (t *teller) observeDial(w *wire, conn net.Conn, took time.Duration, err error) {
	remote := t.server
	if conn != nil && conn.RemoteAddr() != nil {
		remote = conn.RemoteAddr().String()
	}
	t.tell(Event{Kind: EventDialed, Wire: w.id, Address: remote, Took: took, Err: err})
}

func (t *teller) observeTLS(id int, state tls.ConnectionState, err error) {
	t.tell(Event{Kind: EventTLS, Wire: id, TLS: &state, Err: err})
}

func (t *teller) observeHello(id int, text string) {
	t.tell(Event{Kind: EventHello, Wire: id, Extensions: strings.Split(text, "\n")[1:]})
}

func (t *teller) observeAuth(id int, mechanism string, failed *Error) {
	t.tell(Event{Kind: EventAuthenticated, Wire: id, Mechanism: mechanism, Err: asError(failed)})
}

func (t *teller) observeTransaction(tx Transaction, took time.Duration, outcomes []Outcome) {
	t.tell(Event{Kind: EventTransaction, Wire: tx.Wire, Took: took, Transaction: tx, Outcomes: outcomes})
}

func (t *teller) observeClosed(w *wire, transactions int, reason *Error) {
	t.tell(Event{Kind: EventClosed, Wire: w.id, Transactions: transactions, Err: asError(reason)})
}

func (t *teller) observeFallback(id int, what string) {
	t.tell(Event{Kind: EventFellBack, Wire: id, Fault: what})
}

// observeCommand shows a command of a transaction.
func (t *teller) observeCommand(id int, line []byte) {
	if t.listening() {
		t.say(Event{Kind: EventCommand, Wire: id, Line: string(bytes.TrimRight(line, "\r\n"))})
	}
}

// observeLine shows a line; only the hook that asks for credentials gets what is masked in shown.
func (t *teller) observeLine(id int, line, shown string) {
	if t.listening() {
		t.say(Event{Kind: EventCommand, Wire: id, Line: shown})
	}
	if t.trace.Credentials != nil && line != shown {
		t.trace.Credentials(id, line)
	}
}

func (t *teller) observeReply(id int, r smtp.Reply) {
	if t.listening() {
		t.say(Event{Kind: EventReply, Wire: id, Reply: replyFrom(r)})
	}
}

func (t *teller) observeContent(id int, octets []byte) {
	if t.trace.Content != nil && len(octets) > 0 {
		t.trace.Content(id, octets)
	}
}

// readReply is where replies enter: without what the server repeats of our secrets, so that no outcome, error, hook or
// log gets to see that. What takes part in AUTH or names extensions is read by overhear.
func (w *wire) readReply() (smtp.Reply, error) {
	r, err := w.in.Read()
	return r.Redacted(w.c.secrets.Hide), err
}

// observeSettled tells the hooks what Connection.mu's Unlock has for them.
func (c *Connection) observeSettled(s settlement) {
	if s.outcomes != nil {
		c.observeTransaction(s.told, s.took, s.outcomes)
	}
	if s.fallback != "" {
		c.observeFallback(s.told.Wire, s.fallback)
	}
}
