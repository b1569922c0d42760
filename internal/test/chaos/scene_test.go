package chaos

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/memnet"
)

// scene is a scenario with a script of its own: one server, and what is expected by hand.
type scene struct {
	*run
	t   *testing.T
	m   *mta
	cfg postrider.Config
}

// play runs one in a bubble of its own. The laws are held to besides.
func play(t *testing.T, p plan, act func(s *scene)) {
	t.Helper()
	var w *world
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, p)
		act(s)
		s.finish()
		w = s.w
	})
	if len(w.failures) > 0 {
		t.Error(w.report())
	}
}

func newScene(t *testing.T, p plan) *scene {
	s := &scene{run: &run{w: newWorld(0), rnd: rand.New(rand.NewPCG(1, 1)), dir: t.TempDir()}, t: t}
	s.m = &mta{w: s.w, name: "mx1.example", rnd: rand.New(rand.NewPCG(2, 2)), sessions: map[string]*session{},
		discards: true,
		plans:    func(int) plan { return p }}
	s.m.onMail = func(from string) {
		if l := s.w.letters[from]; l != nil && l.onMail != nil {
			l.onMail()
		}
	}
	l := memnet.Listen(s.m.name)
	s.nets, s.w.servers = append(s.nets, l), append(s.w.servers, s.m)
	go s.m.serve(l)
	s.cfg = postrider.Config{Address: s.m.name, LocalName: "client.example", Dial: s.w.dialer(s.m.name, false, l.Dial)}
	return s
}

// connect opens the Connection.
func (s *scene) connect() {
	var err error
	if s.conn, err = postrider.NewConnection(s.cfg); err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) finish() {
	if s.conn != nil && s.ending == 0 {
		s.quit(time.Hour)
		s.end(time.Hour)
	}
	for _, l := range s.nets {
		l.Close()
	}
	s.m.conns.Wait()
	s.w.judge()
}

// on scripts a server: the fault at the nth of a verb on the first wire.
func on(verb string, nth int, f fault) func(*session, string, string) (fault, bool) {
	seen := 0
	return func(s *session, v, line string) (fault, bool) {
		if v != verb || s.n > 1 {
			return fault{}, true
		}
		seen++
		if seen == nth {
			return f, true
		}
		return fault{}, true
	}
}

// mail makes a letter of that size to so many.
func (s *scene) mail(size, recipients int) *letter {
	const line = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n"
	return s.letterOf([]byte("Subject: x\r\n\r\n"+strings.Repeat(line, size/64)), recipients)
}

func (s *scene) letterOf(raw []byte, recipients int) *letter {
	id := len(s.letters)
	raw = append([]byte(fmt.Sprintf("%s%d\r\n", firstWords, id)), raw...)
	l := &letter{id: id, kind: "bytes", content: canonical(raw)}
	l.message = &postrider.Message{From: fmt.Sprintf("s%d@sender.example", id), Content: postrider.Bytes(raw)}
	for r := range recipients {
		l.message.To = append(l.message.To, fmt.Sprintf("r%d.%d@d.example", id, r))
	}
	s.letters = append(s.letters, l)
	s.w.letters[l.message.From] = l
	return l
}

// sendOne sends it and waits.
func (s *scene) sendOne(l *letter) *sending {
	s.send(l, 3*time.Hour)
	return l.sends[len(l.sends)-1]
}

// together sends letters from a goroutine each, in their order.
func (s *scene) together(letters []*letter) {
	var all sync.WaitGroup
	for _, l := range letters {
		all.Go(func() { s.send(l, 3*time.Hour) })
		synctest.Wait()
	}
	all.Wait()
}

// want holds the outcomes of a letter's last Send against what was computed by hand.
func (s *scene) want(l *letter, states ...postrider.State) {
	s.t.Helper()
	one := l.sends[len(l.sends)-1]
	for i, o := range one.result.Outcomes {
		if o.State != states[min(i, len(states)-1)] {
			s.t.Errorf("letter %d: %v, err %v; want %v", l.id, o, one.err, states[min(i, len(states)-1)])
		}
	}
}

// none reports that nobody's outcome is one of these.
func (s *scene) none(states ...postrider.State) {
	s.t.Helper()
	for _, l := range s.letters {
		for _, one := range l.sends {
			for _, o := range one.result.Outcomes {
				for _, bad := range states {
					if o.State == bad {
						s.t.Errorf("letter %d: %v, err %v", l.id, o, one.err)
					}
				}
			}
		}
	}
}

// said counts the clients' commands that begin so.
func (s *scene) said(verb string) (n int) {
	for _, t := range s.w.taps {
		for _, o := range understand(t).ops {
			if o.verb == verb {
				n++
			}
		}
	}
	return n
}

func sound() plan { return plan{pipelining: true, enhanced: true, eightBit: true} }

func chunking() plan {
	p := sound()
	p.chunking = true
	return p
}

// busy takes its time for each answer, so that windows fill.
func busy(p plan) plan {
	p.latency = 20 * time.Millisecond
	return p
}
