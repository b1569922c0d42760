package smtptest

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Fault is one thing that goes wrong: when, and what. Faults are never random, so
// a test that fails will fail again.
//
//	{Command: "RCPT", Nth: 3, Reply: "450 4.2.0 later"}                   the third RCPT is deferred
//	{Command: "RCPT", Address: "bart@example.com", Reply: "550 no"}       so is one address, for good
//	{Command: ".", Answer: AnswerNone, Then: ThenClose}                   taken, but the client is not told (RFC 1047)
//	{Command: ".", Reply: "451 no", Answer: AnswerNone, Then: ThenClose}  the same to the client, but not taken
//	{Command: "MAIL", Reply: "250 ok\n250 surplus"}                       one reply too many
//	{AfterWritten: 100, Then: ThenAbort}                                  reset after the server's 100th octet
//	{Idle: time.Minute, Reply: "421 4.3.2 going down"}                    sent unasked after a minute of silence
//
// If several faults match a command, the first takes effect; all of them count the
// command.
type Fault struct {
	// Command is the verb at which the fault happens, or one of Greeting,
	// Handshake, Response and Terminator.
	Command string

	// Address restricts the fault to a MAIL or RCPT with this address.
	Address string

	// Connection restricts the fault to one connection: 1 is the first that the
	// server accepted, 0 is any. With EachConnection, each connection has a count
	// of its own for Nth.
	Connection int

	// Nth selects the matching command at which the fault happens, counted from
	// 1. If 0, it happens at each of them.
	Nth int

	// AfterRead and AfterWritten, instead of Command, end the connection after
	// exactly this many octets were read from the client or written to it, as seen
	// on the network, TLS included. Commands read until then are answered first.
	// Then defaults to ThenClose; Delay and Reply must not be set.
	AfterRead, AfterWritten int64

	// Idle, instead of Command, makes the fault happen when the server has waited
	// this long for a command: once in each silence.
	Idle time.Duration

	// Delay is how long the server waits before it answers. Earlier answers are
	// written first.
	Delay time.Duration

	// Reply replaces the server's own reply. It is sent unchanged, except that line
	// ends become CRLF: several lines, surplus replies and garbage are all
	// possible. The command takes effect only if the server would have accepted it
	// and Reply starts with the same digit as its own reply.
	Reply string

	// Answer is how much of the reply is sent.
	Answer Answer

	// Then is what happens to the connection afterwards.
	Then Then
}

// EachConnection is the value of [Fault.Connection] that counts Nth on each
// connection separately.
const EachConnection = -1

// Answer is how much of a reply is sent.
type Answer uint8

// How much of a reply is sent.
const (
	AnswerWhole Answer = iota
	AnswerHalf         // the first half of its octets
	AnswerNone         // nothing
)

// Then is what happens to a connection after an answer.
type Then uint8

// What happens to a connection after an answer.
const (
	ThenProceed  Then = iota // goes on, but is closed after a 221 or 421, as RFC 5321 §3.8 demands
	ThenKeepOpen             // goes on, even after a 421
	ThenClose                // is closed with FIN after everything was written
	ThenAbort                // is reset
	ThenHang                 // stays open without answering; after AfterRead or AfterWritten without reading either
)

// atOctet reports a fault that counts octets and not commands.
func (f *Fault) atOctet() bool { return f.AfterRead > 0 || f.AfterWritten > 0 }

// check finds the fault that could never happen, which in a test is a mistake
// that lets the test pass.
func (f *Fault) check() error {
	kinds := 0
	for _, set := range []bool{f.Command != "", f.AfterRead > 0, f.AfterWritten > 0, f.Idle > 0} {
		if set {
			kinds++
		}
	}
	switch {
	case kinds != 1:
		return fmt.Errorf("fault %+v: set exactly one of Command, AfterRead, AfterWritten and Idle", *f)
	case f.Command != "" && verbByName(f.Command) == verbUnknown:
		return fmt.Errorf("fault %+v: unknown Command; use one of %s", *f, strings.Join(verbWords[1:], " "))
	case f.atOctet() && (f.Delay > 0 || f.Reply != "" || f.Answer != AnswerWhole || f.Then == ThenKeepOpen):
		return fmt.Errorf("fault %+v: AfterRead and AfterWritten allow no Delay, Reply or Answer, "+
			"and Then must end the connection", *f)
	case f.Address != "" && !foldIn([]byte(f.Command), "MAIL", "RCPT"):
		return fmt.Errorf("fault %+v: Address needs Command MAIL or RCPT", *f)
	}
	return nil
}

// verbByName reads the word of a Fault or of [Server.Commands].
func verbByName(word string) verb {
	for v, w := range verbWords[1:] {
		if strings.EqualFold(w, word) {
			return verb(v + 1)
		}
	}
	return verbUnknown
}

// armed is a fault with its counters. The lock of the server guards them: with
// several connections the order of arrival decides what is the n-th, as it does
// on a real server.
type armed struct {
	Fault
	verb  verb
	count int         // of commands that fit
	each  map[int]int // the same by connection
}

// occasion is a command, as far as faults look at it.
type occasion struct {
	verb       verb
	terminates bool // a BDAT LAST is both a BDAT and a terminator
	address    string
	connection int
}

// strikes counts the occasion if it fits, and reports whether it is the one.
func (a *armed) strikes(o occasion) bool {
	fits := a.verb == o.verb || a.verb == pointTerminator && o.terminates
	if !fits || a.Address != "" && a.Address != o.address {
		return false
	}
	return a.counted(o.connection)
}

// counted counts one occasion of a connection, and reports whether it is the one.
func (a *armed) counted(connection int) bool {
	n := &a.count
	switch a.Connection {
	case 0, connection:
	case EachConnection:
		if a.each == nil {
			a.each = make(map[int]int)
		}
		a.each[connection]++
		return a.Nth == 0 || a.Nth == a.each[connection]
	default:
		return false
	}
	*n++
	return a.Nth == 0 || a.Nth == *n
}

// Inject adds faults to those of the field Faults; the server may be running.
// Faults that count octets apply to connections accepted from now on. Inject
// panics if a fault could never happen.
func (s *Server) Inject(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range faults {
		if err := f.check(); err != nil {
			panic("smtptest: " + err.Error())
		}
		s.armed = append(s.armed, &armed{Fault: f, verb: verbByName(f.Command)})
	}
	s.scripted.Store(s.scripted.Load() || len(faults) > 0)
}

// ClearFaults removes all faults and queued errors.
func (s *Server) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.armed, s.queued = nil, nil
	s.scripted.Store(s.Policy != nil)
}

// fault finds the fault that strikes at this occasion. All faults are asked even
// if one was found, so that the count of none depends on the others.
func (s *Server) fault(o occasion) (found *Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.armed {
		if a.Command != "" && a.strikes(o) && found == nil {
			found = &a.Fault
		}
	}
	return found
}

// idleFault finds the fault that strikes first when a connection is silent.
// Nothing is counted before it strikes.
func (s *Server) idleFault(connection int) *armed {
	s.mu.Lock()
	defer s.mu.Unlock()
	var first *armed
	for _, a := range s.armed {
		if a.Idle > 0 && slices.Contains([]int{0, EachConnection, connection}, a.Connection) &&
			(first == nil || a.Idle < first.Idle) {
			first = a
		}
	}
	return first
}

// octetFaults returns the faults that count octets of one connection.
func (s *Server) octetFaults(connection int) (faults []Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.armed {
		if a.atOctet() && a.counted(connection) {
			faults = append(faults, a.Fault)
		}
	}
	return faults
}

// QueueError makes a later MAIL or RCPT (command, in any case) fail with this
// code, like Mailman's test MTA: errors wait in one queue for the whole server. At
// each MAIL and RCPT the connection takes the next error, unless it still holds
// one. If the error is for this command, it is the reply; otherwise the connection
// keeps it and goes on normally. So an error at the head of the queue holds up
// those behind it, and one that a connection holds is lost with the connection.
// For any other purpose [Fault] is the better tool.
func (s *Server) QueueError(command string, code int) {
	v := verbByName(command)
	if v != verbMail && v != verbRcpt {
		panic("smtptest: QueueError: the command must be MAIL or RCPT, not " + command)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queued = append(s.queued, queuedError{v, code})
	s.scripted.Store(true)
}

type queuedError struct {
	verb verb
	code int
}

// text is the reply of Mailman's test MTA.
func (q queuedError) text() string {
	if q.verb == verbMail {
		return fmt.Sprintf("%d Error: SMTPResponseException", q.code)
	}
	return fmt.Sprintf("%d Error: SMTPRecipientsRefused", q.code)
}

// queuedReply returns the queued error that is the answer to this command, or "".
// An error is pulled before it is known whether it fits (fact 36 of
// docs/parity.md), which is what makes the head of the queue block the rest.
func (c *conn) queuedReply(v verb) string {
	if v != verbMail && v != verbRcpt {
		return ""
	}
	if c.held == nil {
		c.held = c.srv.pullError()
	}
	if c.held == nil || c.held.verb != v {
		return ""
	}
	text := c.held.text()
	c.held = nil
	return text
}

// pullError takes the head off the queue; nil if there is none.
func (s *Server) pullError() *queuedError {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queued) == 0 {
		return nil
	}
	q := s.queued[0]
	s.queued = s.queued[1:]
	return &q
}
