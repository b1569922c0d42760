package chaos

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/memnet"
)

// grace is what a call may take behind the end of its context.
const grace = time.Second

// client is a Connection or a Pool, and what ends it.
type client interface {
	Send(context.Context, *postrider.Message) (*postrider.Result, error)
}

// run is one seed underway.
type run struct {
	w       *world
	rnd     *rand.Rand
	dir     string
	nets    []*memnet.Listener
	letters []*letter
	conn    *postrider.Connection
	pool    *postrider.Pool

	mu     sync.Mutex
	ending int64 // when Close, or a Quit that may break off, was called; 0: not yet
}

func (r *run) client() client {
	if r.pool != nil {
		return r.pool
	}
	return r.conn
}

// server starts one.
func (r *run) server(n int) *mta {
	m := &mta{w: r.w, name: fmt.Sprintf("mx%d.example", n+1), rnd: rand.New(rand.NewPCG(r.w.seed, uint64(n)+100)),
		sessions: map[string]*session{}}
	m.discards = r.rnd.IntN(3) > 0
	m.tls = []int{noTLS, noTLS, noTLS, implicitTLS, startTLS}[r.rnd.IntN(5)]
	r.w.secret = r.w.secret || m.tls != noTLS
	usual, changing := drawPlan(m.rnd), r.rnd.IntN(2) == 0
	m.plans = func(int) plan {
		if changing {
			return drawPlan(m.rnd)
		}
		return usual
	}
	m.onMail = func(from string) {
		if l := r.w.letters[from]; l != nil && l.onMail != nil {
			l.onMail()
		}
	}
	l := memnet.Listen(m.name)
	if usual.slow > 0 {
		l.Buffer = 1 + r.rnd.IntN(8000)
	}
	r.nets = append(r.nets, l)
	r.w.servers = append(r.w.servers, m)
	go m.serve(l)
	return m
}

// config is a client's, for that server.
func (r *run) config(m *mta, l *memnet.Listener) postrider.Config {
	pick := func(n ...int) int { return n[r.rnd.IntN(len(n))] }
	cfg := postrider.Config{Address: m.name, LocalName: "client.example", TLS: clientTLS(),
		Mode: []postrider.SecureMode{
			postrider.Insecure, postrider.ImplicitTLS, postrider.StartTLS}[m.tls]}
	cfg.MaxTransactions = pick(0, 0, 0, 1, 2, 5)
	cfg.MaxRecipients = pick(0, 0, 1, 2)
	cfg.Window = pick(0, 0, 1, 2, 8, 64)
	cfg.WindowOctets = pick(0, 0, 3000)
	cfg.IdleTimeout = time.Duration(pick(0, 0, 1, 20)) * time.Second
	cfg.ProbeAfter = time.Duration(pick(0, 0, 1)) * time.Second
	if r.rnd.IntN(2) == 0 {
		d := time.Duration(pick(2, 30)) * time.Second
		cfg.Timeouts = postrider.Timeouts{Greeting: d, Hello: d, Mail: d, Rcpt: d, Data: d, Final: d, Block: d}
	}
	cfg.Dial = r.w.dialer(m.name, m.tls != noTLS, func(ctx context.Context, network, address string) (net.Conn, error) {
		return l.Dial(ctx, network, address)
	})
	return cfg
}

// send is one Send, under a context that may end early.
func (r *run) send(l *letter, patience time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s := &sending{began: r.w.clock.tick()}
	start := time.Now()
	result, err := r.client().Send(ctx, l.message)
	r.note(l, s, ctx, result, err)
	if took := time.Since(start); took > patience+grace {
		s.late = took - patience
	}
}

func (r *run) note(l *letter, s *sending, ctx context.Context, result *postrider.Result, err error) {
	s.ended = r.w.clock.tick()
	s.result, s.err = result, err
	r.mu.Lock()
	defer r.mu.Unlock()
	s.cut = ctx.Err() != nil || r.ending != 0 && r.ending < s.ended
	l.sends = append(l.sends, s)
}

// sendAll is SendAll over all letters.
func (r *run) sendAll(letters []*letter, patience time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	byMessage := map[*postrider.Message]*letter{}
	began := r.w.clock.tick()
	var messages iter.Seq[*postrider.Message] = func(yield func(*postrider.Message) bool) {
		for _, l := range letters {
			r.mu.Lock()
			byMessage[l.message] = l
			r.mu.Unlock()
			if !yield(l.message) {
				return
			}
		}
	}
	start := time.Now()
	for result, err := range r.conn.SendAll(ctx, messages) {
		r.mu.Lock()
		l := byMessage[result.Message]
		r.mu.Unlock()
		if l == nil {
			r.w.violated("result", "SendAll gives a result of nobody's message")
			return
		}
		r.note(l, &sending{began: began}, ctx, result, err)
	}
	if took := time.Since(start); took > patience+grace {
		r.w.violated("time", "SendAll returned %v behind the end of its context", took-patience)
	}
}

// patience is how long a caller waits.
func patience(rnd *rand.Rand) time.Duration {
	if rnd.IntN(3) == 0 {
		return time.Duration(rnd.Int64N(int64([]time.Duration{
			50 * time.Millisecond, 3 * time.Second, time.Minute,
		}[rnd.IntN(3)])))
	}
	return 3 * time.Hour
}

// callers send the letters from many goroutines.
func (r *run) callers() {
	var all sync.WaitGroup
	n := 1 + r.rnd.IntN(12)
	for c := range n {
		rnd := rand.New(rand.NewPCG(r.w.seed, 1000+uint64(c)))
		all.Go(func() {
			for i := c; i < len(r.letters); i += n {
				l := r.letters[i]
				wait := patience(rnd)
				if l.block != nil {
					wait = min(wait, time.Minute)
				}
				if rnd.IntN(4) == 0 {
					time.Sleep(time.Duration(rnd.Int64N(int64(8 * time.Second))))
				}
				r.send(l, wait)
				if rnd.IntN(3) == 0 && l.worthAnother() {
					r.send(l, wait+time.Minute)
				}
			}
		})
	}
	all.Wait()
}

// worthAnother: everybody is Untried, so that a caller may send the same message again.
func (l *letter) worthAnother() bool {
	s := l.sends[len(l.sends)-1]
	for _, o := range s.result.Outcomes {
		if o.State != postrider.Untried {
			return false
		}
	}
	return l.block == nil
}

// disturb calls Quit, and at last Close, while mail is underway.
func (r *run) disturb(done <-chan struct{}) {
	rnd := rand.New(rand.NewPCG(r.w.seed, 5000))
	for range rnd.IntN(3) {
		select {
		case <-done:
			return
		case <-time.After(time.Duration(rnd.Int64N(int64(20 * time.Second)))):
		}
		if r.conn != nil && rnd.IntN(2) == 0 {
			r.quit(patience(rnd))
		}
	}
	if rnd.IntN(4) == 0 {
		r.end(patience(rnd))
	}
}

func (r *run) quit(patience time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if patience < time.Hour {
		r.endsNow()
	}
	start := time.Now()
	r.conn.Quit(ctx)
	if took := time.Since(start); took > patience+grace {
		r.w.violated("time", "Quit returned %v behind the end of its context", took-patience)
	}
}

func (r *run) endsNow() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ending == 0 {
		r.ending = r.w.clock.tick()
	}
}

// end closes the client.
func (r *run) end(patience time.Duration) {
	r.endsNow()
	start := time.Now()
	limit := grace
	if r.pool != nil {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		r.pool.Shutdown(ctx)
		limit += patience
	} else {
		r.conn.Close()
	}
	if took := time.Since(start); took > limit {
		r.w.violated("time", "Close returned %v late", took-limit)
	}
}
