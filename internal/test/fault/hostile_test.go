package fault_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/memnet"
	"github.com/postrider/postrider/internal/test/rig"
)

// A server that says whatever it likes, at every point. It cannot make Send panic,
// hang, or call accepted what it did not accept.

// hostile speaks a script: one piece of it for the greeting, and one for every
// command, content and chunk that it hears, on as many wires as it takes.
type hostile struct {
	mu     sync.Mutex
	script [][]byte
	spoken []*speech // by wire
}

// speech is what the server said on one wire.
type speech struct {
	out  bytes.Buffer
	ends map[string]int // by sender and recipient: how much had been said when the end of the message was heard
}

// What a piece of the script may begin with, apart from words.
const (
	scriptSeparator = "\x00"
	scriptClose     = '\x01' // say the rest, and close
	scriptReset     = '\x02' // reset
	scriptLate      = '\x03' // wait a minute first
)

// maxSaid keeps what is said at once within one read of the client: what is said
// too early must be seen to be.
const maxSaid = 3000

func newHostile(script []byte) *hostile {
	return &hostile{script: bytes.Split(script, []byte(scriptSeparator))}
}

// next returns the next piece; without one the server hangs up.
func (h *hostile) next() []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.script) == 0 {
		return []byte{scriptClose}
	}
	piece := h.script[0]
	h.script = h.script[1:]
	return piece
}

func (h *hostile) serve(ln net.Listener) {
	for {
		nc, err := ln.Accept()
		if err != nil {
			return
		}
		w := &hostileWire{h: h, nc: nc, in: bufio.NewReader(nc), speech: &speech{ends: map[string]int{}}}
		h.mu.Lock()
		h.spoken = append(h.spoken, w.speech)
		h.mu.Unlock()
		w.talk()
		nc.Close()
	}
}

// hostileWire is one wire of the server.
type hostileWire struct {
	h      *hostile
	nc     net.Conn
	in     *bufio.Reader
	speech *speech
	owed   []byte // said together, when there is nothing more to hear
	sender string
	to     []string
	over   bool
}

func (w *hostileWire) talk() {
	w.say(w.h.next())
	for !w.over {
		if w.in.Buffered() == 0 {
			w.flush()
		}
		line, err := w.in.ReadString('\n')
		if err != nil {
			return
		}
		w.hear(strings.TrimSpace(line))
	}
	w.flush()
}

func (w *hostileWire) hear(line string) {
	if rest, ok := strings.CutPrefix(line, "MAIL FROM:<"); ok {
		w.sender, _, _ = strings.Cut(rest, ">")
		w.to = nil
	}
	if rest, ok := strings.CutPrefix(line, "RCPT TO:<"); ok {
		to, _, _ := strings.Cut(rest, ">")
		w.to = append(w.to, to)
	}
	if strings.HasPrefix(line, "From:") { // so the client took something for a 354
		w.content()
		return
	}
	piece := w.h.next()
	if size, ok := strings.CutPrefix(line, "BDAT "); ok {
		size, _, _ = strings.Cut(size, " ")
		n, _ := strconv.Atoi(size)
		if _, err := io.CopyN(io.Discard, w.in, int64(n)); err == nil {
			w.ended()
		}
	}
	w.say(piece)
}

// content hears up to the dot.
func (w *hostileWire) content() {
	for {
		line, err := w.in.ReadString('\n')
		if err != nil {
			return
		}
		if line == ".\r\n" {
			w.ended()
			w.say(w.h.next())
			return
		}
	}
}

// ended notes that a message came to its end.
func (w *hostileWire) ended() {
	w.h.mu.Lock()
	defer w.h.mu.Unlock()
	for _, to := range w.to {
		w.speech.ends[w.sender+" "+to] = w.speech.out.Len() + len(w.owed)
	}
}

func (w *hostileWire) say(piece []byte) {
	for len(piece) > 0 && piece[0] <= scriptLate {
		switch piece[0] {
		case scriptClose:
			w.over = true
		case scriptReset:
			w.nc.(*memnet.Conn).Abort()
		case scriptLate:
			w.flush()
			time.Sleep(time.Minute)
		}
		piece = piece[1:]
	}
	w.owed = append(w.owed, piece...)
}

func (w *hostileWire) flush() {
	w.owed = w.owed[:min(len(w.owed), maxSaid)]
	w.h.mu.Lock()
	w.speech.out.Write(w.owed)
	w.h.mu.Unlock()
	w.nc.Write(w.owed)
	w.owed = w.owed[:0]
}

// accepts reports whether some wire said a 2yz that came to its end behind the end
// of the sender's message to the recipient.
func (h *hostile) accepts(path string) bool {
	for _, s := range h.spoken {
		said, heard := s.ends[path]
		if !heard {
			continue
		}
		at := 0
		for line := range strings.Lines(s.out.String()) {
			if at += len(line); at > said && strings.HasPrefix(line, "2") && strings.HasSuffix(line, "\n") {
				return true
			}
		}
	}
	return false
}

// declines reports whether anything was ever refused.
func (h *hostile) declines() bool {
	for _, s := range h.spoken {
		for line := range strings.Lines(s.out.String()) {
			if line[0] == '4' || line[0] == '5' {
				return true
			}
		}
	}
	return false
}

// heard reports whether the sender's message to the recipient came to its end.
func (h *hostile) heard(path string) bool {
	for _, s := range h.spoken {
		if _, ok := s.ends[path]; ok {
			return true
		}
	}
	return false
}

// converse sends messages one by one, and then some behind each other.
func (h *hostile) converse(t *testing.T) {
	ln := memnet.Listen("localhost:25")
	ln.Buffer = 1 << 14
	var server sync.WaitGroup
	server.Go(func() { h.serve(ln) })
	conn, err := postrider.NewConnection(postrider.Config{
		Address: "localhost:25", Dial: ln.Dial, LocalName: "client.example.com", Window: 8,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*rig.Guard)
	defer cancel()
	check := func(m *postrider.Message, r *postrider.Result, err error) {
		rig.CheckAnswer(t, m, r, err)
		synctest.Wait()
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, o := range r.Outcomes {
			path := m.From + " " + o.Recipient
			if o.State == postrider.Accepted && !h.accepts(path) {
				t.Errorf("%s: the server did not say so: %v", m.From, o)
			}
			if o.State == postrider.Untried && h.heard(path) && !h.declines() {
				t.Errorf("%s: the server has it: %v", m.From, o)
			}
		}
	}
	var messages []*postrider.Message
	for i := range 5 {
		m := rig.Mail("bart@example.com", "cate@example.com")
		m.From = fmt.Sprintf("sender%d@example.com", i)
		messages = append(messages, m)
	}
	for _, m := range messages[:2] {
		r, err := conn.Send(ctx, m)
		check(m, r, err)
	}
	for r, err := range conn.SendAll(ctx, func(yield func(*postrider.Message) bool) {
		for _, m := range messages[2:] {
			if !yield(m) {
				return
			}
		}
	}) {
		check(r.Message, r, err)
	}
	if ctx.Err() != nil {
		t.Error("it hung")
	}
	conn.Quit(ctx)
	conn.Close()
	ln.Close()
	server.Wait()
}

// scripts are dialogues with which the fuzzer begins.
var scripts = []string{
	"220 x|250 x|250 ok|250 ok|250 ok|354 go|250 ok|250 ok|250 ok|250 ok|354 go|250 ok|221 bye",
	"220 x|250-x\n250-PIPELINING\n250 SIZE 1000|250 ok|250 ok|550 no|354 go|250 ok|250 ok|250 ok|250 ok|354 go|250 " +
		"ok|250 ok|250 ok|250 ok|354 go|250 ok",
	"220 x|250-x\n250-PIPELINING\n250 CHUNKING|250 ok|250 ok|250 ok|354 go|250 ok|250 ok|250 ok|250 ok|354 go|250 " +
		"ok|250 ok|250 ok|250 ok|250 ok|250 ok|250 ok|250 ok|250 ok|250 ok|250 ok",
	"220 x|250-x\n250-PIPELINING\n250 CHUNKING|250 ok|250 ok|250 ok|354 go|250 ok|250 ok|250 ok|250 ok|354 go|250 " +
		"ok|250 ok|550 no|550 no|503 no|250 ok|250 ok|250 ok|421 bye",
	"220 x|250-x\n250-PIPELINING\n250 LIMITS MAILMAX=1 RCPTMAX=1|250 ok|250 ok|354 go|250 ok|221 bye|220 x|250 x|421 " +
		"no",
	"220 x|250 x|250 ok|452 4.5.3 many|250 ok|354 go|\x01250 ok|220 x|500 what|250 x|452 4.5.3 used|250 ok",
	"220 x|250 x|250 ok|250 ok|250 ok|354 go|\x03250 ok|\x01421 late",
	"220 x|250 x|250 ok\n250 surplus|354 go|250 ok|250 ok",
	"554 no|421 x|\x02|garbage|",
	"220-x\n220 x|250 x|550 no|250 ok|550 no|550 no|550 no|250 ok|550 no",
}

func FuzzServerWords(f *testing.F) {
	for _, s := range scripts {
		s = strings.ReplaceAll(s, "\n", "\r\n")
		f.Add([]byte(strings.ReplaceAll(s, "|", "\r\n"+scriptSeparator) + "\r\n"))
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		synctest.Test(t, func(t *testing.T) { newHostile(script).converse(t) })
	})
}
