// Package seats decides which message goes out on which connection to which server: who is next, which server has the
// turn by priority, weight and limit, when a connection opens a wire or is ended, and what the results say about a
// server.
//
// A [Scheduler] has no lock, no network and no log. Its owner guards it with one lock, and holds that lock during each
// call of a method; the hooks and the methods of [Host] and [Connection] are called with it held, too.
package seats

import "time"

// Connection is what is asked of a connection. None of the methods waits.
type Connection interface {
	Active() bool // a wire is open or being opened
	Room() int    // how many messages its wire takes at a time; 0: there is no wire
	Connect()     // opens a wire; [Scheduler.Opened] or [Scheduler.Failed] is called when that has ended
}

// Host is what is asked about a server.
type Host interface {
	// LoginRefused returns the server's refusal of the credentials while it stands, and when it does no longer.
	LoginRefused() (until time.Time, err error)
	LogsIn() bool                   // a wire begins with the credentials
	NewConnection(*Seat) Connection // without a wire
}

// Hooks are what a Scheduler has its owner do.
type Hooks struct {
	// NoServer makes the error of a message that no server is left for.
	NoServer func([]Reason) error
	// Retire begins to end an idle connection, and calls [Scheduler.Gone] when it has ended; it reports false if all
	// connections are being ended anyway.
	Retire func(*Seat) bool
	// Gone is told of a connection that is not used any more.
	Gone func(Connection)
	// Late locks and calls [Scheduler.Dispatch]. It is called without the lock: a wire is not open in time.
	Late func()
	// Changed is told that a server is down, up again, or has another limit.
	Changed func(*Server, Change)
}

// Change is what happened to a server.
type Change int

// The changes.
const (
	WentDown Change = iota
	CameUp
	LimitChanged
)

// Reason says why a server is not used: a message has met Err there, or the server is Down because of it for another
// Rest.
type Reason struct {
	Err  error
	Down bool
	Rest time.Duration
}
