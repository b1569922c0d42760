package content_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/smtptest"
)

// A goroutine that outlives the tests fails them, and one that outlives its bubble that test: so each stuck call is let
// go at the end, and is seen to end.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a server in memory, and a Sender to it.
type rig struct {
	t      *testing.T
	server *smtptest.Server
	sender postrider.Sender
	close  func()
}

// doors are the Senders of the library, each over one server.
var doors = map[string]func(t *testing.T, cfg postrider.Config) (s postrider.Sender, end func()){
	"Connection": func(t *testing.T, cfg postrider.Config) (postrider.Sender, func()) {
		c, err := postrider.NewConnection(cfg)
		if err != nil {
			t.Fatal(err)
		}
		return c, func() { c.Close() }
	},
	"Pool": func(t *testing.T, cfg postrider.Config) (postrider.Sender, func()) {
		p, err := postrider.NewPool(postrider.PoolConfig{MaxConnections: 1}, cfg)
		if err != nil {
			t.Fatal(err)
		}
		return p, func() { closePool(p, time.Minute) }
	},
}

func closePool(p *postrider.Pool, d time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return p.Shutdown(ctx)
}

// throughEachDoor runs f in a bubble for each kind of Sender, with PIPELINING and CHUNKING and without.
func throughEachDoor(t *testing.T, change func(*postrider.Config), f func(t *testing.T, r *rig)) {
	t.Helper()
	for name, door := range doors {
		for _, pipelining := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, pipelining %v", name, pipelining), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { f(t, startRig(t, door, pipelining, change)) })
			})
		}
	}
}

func startRig(t *testing.T, door func(*testing.T, postrider.Config) (postrider.Sender, func()), pipelining bool,
	change func(*postrider.Config)) *rig {
	t.Helper()
	r := &rig{t: t, server: smtptest.NewUnstartedServer()}
	r.server.Listener, r.server.IdleTimeout = smtptest.InMemory("localhost:25"), -1
	r.server.Extensions.Pipelining, r.server.Extensions.Chunking = pipelining, pipelining
	r.server.Start()
	t.Cleanup(r.server.Close)
	cfg := r.server.Config()
	cfg.LocalName, cfg.IdleTimeout = "client.example.com", -1
	if change != nil {
		change(&cfg)
	}
	r.sender, r.close = door(t, cfg)
	t.Cleanup(r.close)
	return r
}

func mail(to string, c postrider.Content) *postrider.Message {
	return &postrider.Message{From: "anne@example.com", To: []string{to}, Content: c}
}

// answer is what a Send said, and how long it took.
type answer struct {
	result *postrider.Result
	err    error
	took   time.Duration
}

func (a answer) state() postrider.State { return a.result.Outcomes[0].State }

// send sends for at most d.
func (r *rig) send(d time.Duration, m *postrider.Message) answer {
	ctx, cancel := context.WithTimeout(r.t.Context(), d)
	defer cancel()
	start := time.Now()
	result, err := r.sender.Send(ctx, m)
	return answer{result, err, time.Since(start)}
}

// begin is send on a goroutine of its own; it is underway when begin returns.
func (r *rig) begin(d time.Duration, m *postrider.Message) <-chan answer {
	said := make(chan answer, 1)
	go func() { said <- r.send(d, m) }()
	synctest.Wait()
	return said
}

// accepted sends a small message, which has to be taken at once.
func (r *rig) accepted(to string) {
	r.t.Helper()
	if a := r.send(time.Hour, mail(to, postrider.Bytes([]byte("Subject: small\r\n\r\n")))); a.err != nil || a.took > 0 {
		r.t.Errorf("to %s: %v after %v", to, a.err, a.took)
	}
}

// taken is how often the server took a message for somebody, and the content.
func (r *rig) taken(to string) (n int, content string) {
	for _, m := range r.server.Messages() {
		if m.To[0] == to {
			n++
			content = string(m.Content)
		}
	}
	return n, content
}

// gaveUp checks that a Send returned when its context was done, d after its beginning, and that nothing was taken.
func (r *rig) gaveUp(a answer, d time.Duration) {
	r.t.Helper()
	if a.took != d || !errors.Is(a.err, context.DeadlineExceeded) || a.state() != postrider.Untried {
		r.t.Errorf("%v, %v after %v", a.result.Outcomes, a.err, a.took)
	}
	if n, _ := r.taken(a.result.Outcomes[0].Recipient); n > 0 {
		r.t.Errorf("%d were taken", n)
	}
}

// lines is a content of n octets, more or less, which tell their place.
func lines(n int) string {
	var b strings.Builder
	b.WriteString("Subject: lines\r\n\r\n")
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "line %d\r\n", i)
	}
	return b.String()
}

// script is a content whose reader does what a test wants at a place, and which notes what is done to it.
type script struct {
	text   string
	at     int          // where
	do     func() error // what, once; nil: nothing
	onOpen func()       // nil: nothing
	close  func() error // nil: nothing

	mu     sync.Mutex
	opened int
	closed int
	reads  int
}

func (s *script) content() postrider.Content { return postrider.Func(s.open) }

func (s *script) open() (io.ReadCloser, error) {
	s.mu.Lock()
	s.opened++
	s.mu.Unlock()
	if s.onOpen != nil {
		s.onOpen()
	}
	return &scripted{s: s, r: strings.NewReader(s.text)}, nil
}

// check holds the counts of opened and closed readers against what they should be, when all is over.
func (s *script) check(t *testing.T, opened int) {
	t.Helper()
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opened != opened || s.closed != opened {
		t.Errorf("%d readers were opened and %d closed; want %d", s.opened, s.closed, opened)
	}
}

func (s *script) readsSoFar() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reads
}

type scripted struct {
	s    *script
	r    *strings.Reader
	done bool
}

func (r *scripted) Read(p []byte) (int, error) {
	r.s.mu.Lock()
	r.s.reads++
	r.s.mu.Unlock()
	at := len(r.s.text) - r.r.Len()
	if at == r.s.at && !r.done && r.s.do != nil {
		r.done = true
		if err := r.s.do(); err != nil {
			return 0, err
		}
	}
	if at < r.s.at {
		p = p[:min(len(p), r.s.at-at)]
	}
	return r.r.Read(p)
}

func (r *scripted) Close() error {
	r.s.mu.Lock()
	r.s.closed++
	r.s.mu.Unlock()
	if r.s.close != nil {
		return r.s.close()
	}
	return nil
}

// once hides everything of a reader but Read.
func once(text string) postrider.Content {
	return postrider.Reader(struct{ io.Reader }{bytes.NewReader([]byte(text))})
}
