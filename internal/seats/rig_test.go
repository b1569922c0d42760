package seats

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/pace"
)

// conn is a connection that does what its test says.
type conn struct {
	host    *host
	opening bool
	room    int
}

func (c *conn) Active() bool { return c.opening || c.room > 0 }
func (c *conn) Room() int    { return c.room }
func (c *conn) Connect()     { c.opening = true }

// host is a server that does what its test says.
type host struct {
	name    string
	logsIn  bool
	refused error
	until   time.Time
}

func (h *host) LoginRefused() (time.Time, error) { return h.until, h.refused }
func (h *host) LogsIn() bool                     { return h.logsIn }
func (h *host) NewConnection(*Seat) Connection   { return &conn{host: h} }

func hostOf(srv *Server) *host { return srv.Host().(*host) }
func connOf(seat *Seat) *conn  { return seat.Conn.(*conn) }

// rig is a Scheduler with its owner.
type rig struct {
	looksAgain bool // the Late hook dispatches, under mu; set before any wire is opened
	*Scheduler
	mu      sync.Mutex
	retired []*Seat
	gone    int
	changes []string // server and what
	reasons []Reason // of the last message without a server
}

var errNone = errors.New("no server is left")

// share is a server with its weight; those with 0 stand by, in their order.
type share struct {
	name   string
	weight int
}

func newRig(most int, servers ...share) *rig {
	r := &rig{}
	r.Scheduler = New(most, pace.NewRate(0, 0), Hooks{
		NoServer: func(reasons []Reason) error { r.reasons = reasons; return errNone },
		Retire:   func(seat *Seat) bool { r.retired = append(r.retired, seat); return true },
		Gone:     func(Connection) { r.gone++ },
		Changed: func(srv *Server, what Change) {
			r.changes = append(r.changes, fmt.Sprint(hostOf(srv).name, " ", what))
		},
		Late: func() { // on a goroutine of its own, maybe behind the end of the test
			if r.looksAgain {
				r.mu.Lock()
				defer r.mu.Unlock()
				r.Dispatch()
			}
		},
	})
	for i, one := range servers {
		src := &Source{Priority: i, Weight: 1}
		if one.weight > 0 {
			src.Priority, src.Weight = -1, one.weight
		}
		r.Add(src, r.NewServer(src, one.name, &host{name: one.name}))
	}
	return r
}

// server is the one of that name.
func (r *rig) server(name string) *Server {
	i := slices.IndexFunc(r.Servers(), func(srv *Server) bool { return hostOf(srv).name == name })
	return r.Servers()[i]
}

// wire opens a wire to a server, which takes that many messages at a time.
func (r *rig) wire(t *testing.T, name string, room int) *Seat {
	t.Helper()
	srv := r.server(name)
	if !r.connect(srv, srv.Limit()) {
		t.Fatalf("%s gets no wire", name)
	}
	return r.arrive(t, name, room)
}

// arrive has the wire to a server that is being opened open.
func (r *rig) arrive(t *testing.T, name string, room int) *Seat {
	t.Helper()
	seat := r.opens(t, name)
	connOf(seat).opening, connOf(seat).room = false, room
	r.Opened(seat)
	return seat
}

// refuse has the wire to a server that is being opened fail.
func (r *rig) refuse(t *testing.T, name string, err error) {
	t.Helper()
	seat := r.opens(t, name)
	connOf(seat).opening = false
	r.Failed(seat, err, false)
}

// opens returns the first connection to a server that opens a wire.
func (r *rig) opens(t *testing.T, name string) *Seat {
	t.Helper()
	for _, seat := range r.Seats() {
		if seat.At == r.server(name) && connOf(seat).opening {
			return seat
		}
	}
	t.Fatalf("no wire to %s is being opened", name)
	return nil
}

// queue puts n new messages in line.
func (r *rig) queue(n int) (all []*Waiter) {
	for range n {
		all = append(all, NewWaiter())
		r.Queue(all[len(all)-1])
	}
	return all
}

// serve sends n messages one after the other, all answered at once, and counts those of each server.
func (r *rig) serve(t *testing.T, n int) map[string]int {
	t.Helper()
	counts := map[string]int{}
	for range n {
		w := r.queue(1)[0]
		counts[at(t, w)]++
		r.end(w)
	}
	return counts
}

// end has a message answered.
func (r *rig) end(w *Waiter) {
	r.Answered(w)
	r.WentWell(w)
	r.Stand(w)
}

// at is the server where a message has its place.
func at(t *testing.T, w *Waiter) string {
	t.Helper()
	if w.seat == nil {
		t.Fatalf("a message has no place; answered %v, error %v", w.answered, w.err)
	}
	return connOf(w.seat).host.name
}

// placed is how many of the messages have a place.
func placed(all []*Waiter) (n int) {
	for _, w := range all {
		if seat, _ := w.Answer(); seat != nil {
			n++
		}
	}
	return n
}
