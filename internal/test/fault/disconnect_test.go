package fault_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"iter"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/memnet"
	"github.com/postrider/postrider/internal/test/ci"
	"github.com/postrider/postrider/internal/test/rig"
	"github.com/postrider/postrider/smtptest"
)

// A conversation of several messages over one Connection, whose first wire is cut
// after every octet, in both directions. What is said of each recipient is held
// against what the server took.

// letter is one message of the conversation, with what a sound wire makes of it.
type letter struct {
	content string
	arrives string // the content as the server has to get it
	to      []string
	fates   string
}

var letters = []letter{
	{
		to:      []string{"anne@example.com", "bart@example.com"},
		content: "Subject: two\r\n\r\nfor two\r\n", arrives: "Subject: two\r\n\r\nfor two\r\n",
		fates: "accepted content 250, accepted content 250",
	},
	{
		to:      []string{"no.one@example.com", "anne@example.com", "later@example.com"},
		content: "Subject: partial\n\n..\n.\nQUIT\n.", arrives: "Subject: partial\r\n\r\n..\r\n.\r\nQUIT\r\n.\r\n",
		fates: "refused rcpt 550, accepted content 250, deferred rcpt 450",
	},
	{
		to:      []string{"no.one@example.com", "no.body@example.com"},
		content: "Subject: nobody\r\n\r\n", fates: "refused rcpt 550, refused rcpt 550",
	},
	{to: []string{"cate@example.com"}, content: "", arrives: "", fates: "accepted content 250"},
	{
		to:      []string{"anne@example.com"},
		content: "Subject: last\r\n\r\n.", arrives: "Subject: last\r\n\r\n.\r\n", fates: "accepted content 250",
	},
}

// cutting is a way of talking: whether commands are pipelined, and whether whole
// messages follow each other unread.
type cutting struct {
	rig.Setting
	windowed, chunking bool
	concurrent         bool // by Sends of many goroutines, and not by SendAll
}

func (c cutting) String() string {
	s := c.Setting.String()
	if c.windowed {
		s += ",window"
	}
	if c.chunking {
		s += ",chunking"
	}
	if c.concurrent {
		s += ",concurrent"
	}
	return s
}

// conversation returns the messages; where they follow each other unread there are
// enough of them for the window to grow.
func (c cutting) conversation() []letter {
	if c.windowed {
		return slices.Repeat(letters, 3)
	}
	return letters
}

// server knows some recipients, and some not.
func (c cutting) server() *smtptest.Server {
	server := smtptest.NewUnstartedServer()
	ln := memnet.Listen("localhost:25")
	ln.Buffer = 4096 // small, because thousands of wires are opened
	server.Listener = ln
	server.Mode = c.Mode
	server.Extensions = smtptest.Extensions{
		Pipelining: c.Pipelining, Chunking: c.chunking, EnhancedStatusCodes: true, EightBitMIME: true,
	}
	server.IdleTimeout = -1
	server.Policy = func(c smtptest.Command) string {
		switch {
		case c.Verb != "RCPT":
		case strings.HasPrefix(c.Address, "no."):
			return "550 5.1.1 no such user"
		case strings.HasPrefix(c.Address, "later"):
			return "450 4.2.1 mailbox busy"
		}
		return ""
	}
	server.Start()
	return server
}

// meter counts the octets of a wire below TLS.
type meter struct {
	net.Conn
	sent, received atomic.Int64 // a handshake that is not waited for any more may still write
}

func (m *meter) Write(p []byte) (int, error) {
	n, err := m.Conn.Write(p)
	m.sent.Add(int64(n))
	return n, err
}

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.Conn.Read(p)
	m.received.Add(int64(n))
	return n, err
}

// told is what was said of the letters.
type told struct {
	results []*postrider.Result
	took    time.Duration
	meter   *meter                         // of the first wire
	opening struct{ sent, received int64 } // what it had counted when the first MAIL was said
}

// measure counts the octets of the first wire that cfg opens.
func (said *told) measure(cfg *postrider.Config) {
	dial := cfg.Dial
	cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		nc, err := dial(ctx, network, address)
		if err == nil && said.meter == nil {
			said.meter = &meter{Conn: nc}
			return said.meter, nil
		}
		return nc, err
	}
	cfg.Trace = &postrider.Trace{Dialogue: func(e postrider.Event) {
		if said.opening.sent == 0 && strings.HasPrefix(e.Line, "MAIL") {
			said.opening.sent, said.opening.received = said.meter.sent.Load(), said.meter.received.Load()
		}
	}}
}

// converse sends all letters over one Connection and ends it.
func (c cutting) converse(t *testing.T, server *smtptest.Server, sessions tls.ClientSessionCache) (said told) {
	t.Helper()
	cfg := server.Config()
	cfg.LocalName = "client.example.com"
	if cfg.TLS != nil {
		// Most handshakes are short ones.
		cfg.TLS.ClientSessionCache, cfg.TLS.CurvePreferences = sessions, []tls.CurveID{tls.X25519}
	}
	cfg.Window = 8
	said.measure(&cfg)
	conn, err := postrider.NewConnection(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	start := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), rig.Guard)
	defer cancel()
	for r, err := range c.sendAll(ctx, conn) {
		rig.CheckAnswer(t, r.Message, r, err)
		said.results = append(said.results, r)
	}
	if ctx.Err() != nil {
		t.Error("it hung")
	}
	if err := conn.Quit(ctx); err != nil {
		t.Errorf("Quit: %v", err)
	}
	said.took = time.Since(start)
	return said
}

func (c cutting) sendAll(ctx context.Context, conn *postrider.Connection) iter.Seq2[*postrider.Result, error] {
	messages := func(yield func(*postrider.Message) bool) {
		for i, l := range c.conversation() {
			from := fmt.Sprintf("letter%d@example.com", i)
			if !yield(&postrider.Message{From: from, To: l.to, Content: postrider.Bytes([]byte(l.content))}) {
				return
			}
		}
	}
	if c.concurrent {
		return sendAtOnce(ctx, conn, messages)
	}
	if c.windowed {
		return conn.SendAll(ctx, messages)
	}
	return func(yield func(*postrider.Result, error) bool) {
		for m := range messages {
			if !yield(conn.Send(ctx, m)) {
				return
			}
		}
	}
}

// sendAtOnce sends each message from a goroutine of its own.
func sendAtOnce(ctx context.Context, conn *postrider.Connection,
	messages iter.Seq[*postrider.Message]) iter.Seq2[*postrider.Result, error] {
	return func(yield func(*postrider.Result, error) bool) {
		var came []chan func() (*postrider.Result, error)
		for m := range messages {
			turn := time.Duration(len(came)) // nanoseconds of fake time: so that they come in order
			answer := make(chan func() (*postrider.Result, error), 1)
			came = append(came, answer)
			go func() {
				time.Sleep(turn)
				r, err := conn.Send(ctx, m)
				answer <- func() (*postrider.Result, error) { return r, err }
			}()
		}
		for _, answer := range came {
			if !yield((<-answer)()) {
				return
			}
		}
	}
}

// taken says how often the server took each letter for each recipient, and
// complains of contents that are not as they were sent.
func (c cutting) taken(t *testing.T, server *smtptest.Server) []map[string]int {
	t.Helper()
	all := c.conversation()
	got := make([]map[string]int, len(all))
	for i := range got {
		got[i] = map[string]int{}
	}
	for _, m := range server.Messages() {
		var i int
		if _, err := fmt.Sscanf(m.From, "letter%d@", &i); err != nil || i >= len(all) {
			t.Fatalf("the server took a message from %q", m.From)
		}
		if !bytes.Equal(m.Content, []byte(all[i].arrives)) {
			t.Errorf("letter %d arrived as %q", i, m.Content)
		}
		for _, to := range m.To {
			got[i][to]++
		}
	}
	return got
}

// compare holds outcomes against what the server took.
func (c cutting) compare(t *testing.T, said told, got []map[string]int) {
	t.Helper()
	harmed := 0
	for i, r := range said.results {
		for _, o := range r.Outcomes {
			if n := got[i][o.Recipient]; n > 1 || n == 1 && o.State != postrider.Accepted &&
				o.State != postrider.Unknown || n == 0 && o.State == postrider.Accepted {
				t.Errorf("letter %d: the server took it %d times for a recipient that is told of as %v", i, n, o)
			}
		}
		if rig.Fates(r) != c.conversation()[i].fates {
			harmed++
		}
		// Only a first wire that has not served at all is not replaced at once.
		if first := rig.Fates(said.results[0]); i > 0 && r.Count(postrider.Untried) > 0 &&
			(!c.windowed || first == letters[0].fates) {
			t.Errorf("letter %d was not sent again: %v", i, r.Outcomes)
		}
	}
	if harmed > 1 && !c.windowed {
		t.Errorf("one cut harmed %d messages", harmed)
	}
}

// way is a direction and a kind of cut.
type way struct {
	name string
	at   func(k int64) smtptest.Fault
	long time.Duration // how long the conversation may take at most
}

var ways = []way{
	{"FIN from the client's octet", func(k int64) smtptest.Fault { return smtptest.Fault{AfterRead: k, Nth: 1} },
		3 * time.Second},
	{"FIN from the server's octet", func(k int64) smtptest.Fault { return smtptest.Fault{AfterWritten: k, Nth: 1} },
		3 * time.Second},
	{"RST from the client's octet", func(k int64) smtptest.Fault {
		return smtptest.Fault{AfterRead: k, Nth: 1, Then: smtptest.ThenAbort}
	}, 3 * time.Second},
	{"RST from the server's octet", func(k int64) smtptest.Fault {
		return smtptest.Fault{AfterWritten: k, Nth: 1, Then: smtptest.ThenAbort}
	}, 3 * time.Second},
	{"silence from the client's octet", func(k int64) smtptest.Fault {
		return smtptest.Fault{AfterRead: k, Nth: 1, Then: smtptest.ThenHang}
	}, 12 * time.Minute},
	{"silence from the server's octet", func(k int64) smtptest.Fault {
		return smtptest.Fault{AfterWritten: k, Nth: 1, Then: smtptest.ThenHang}
	}, 12 * time.Minute},
}

// positions returns the octets after which to cut: all that carry transactions, and
// of a TLS handshake some.
func (c cutting) positions(t *testing.T, w way) (at []int64) {
	var opening, end int64
	synctest.Test(t, func(t *testing.T) {
		server := c.server()
		defer server.Close()
		sessions := tls.NewLRUClientSessionCache(1)
		c.converse(t, server, sessions)
		said := c.converse(t, server, sessions)
		for i, r := range said.results {
			if rig.Fates(r) != c.conversation()[i].fates {
				t.Fatalf("without any cut, letter %d: %v", i, r.Outcomes)
			}
		}
		opening, end = said.opening.received, said.meter.received.Load()
		if w.at(1).AfterRead > 0 {
			opening, end = said.opening.sent, said.meter.sent.Load()
		}
	})
	if c.Mode != postrider.Insecure {
		for k := int64(1); k < opening; k += 61 {
			at = append(at, k)
		}
	}
	opening = max(1, opening-100) // a handshake varies by some octets
	if c.Mode == postrider.Insecure {
		opening = 1
	}
	for k := opening; k < end+8; k += c.step() {
		at = append(at, k)
	}
	return at
}

// step is how many octets are between two cuts. All are tried where tests are to
// be thorough. One octet of a TLS record is much like another, and of a long
// conversation, too.
func (c cutting) step() int64 {
	switch {
	case rig.Raced:
		return 23
	case ci.On():
		return 1
	case c.Mode != postrider.Insecure || c.windowed:
		return 23
	}
	return 3
}

// cutBatch is how many cuts share a bubble and a server.
const cutBatch = 64

func (c cutting) cutAll(t *testing.T, w way) {
	t.Parallel()
	for batch := range slices.Chunk(c.positions(t, w), cutBatch) {
		synctest.Test(t, func(t *testing.T) { c.cutSome(t, w, batch) })
		if t.Failed() {
			return
		}
	}
}

func (c cutting) cutSome(t *testing.T, w way, at []int64) {
	server := c.server()
	defer server.Close()
	sessions := tls.NewLRUClientSessionCache(1)
	c.converse(t, server, sessions)
	for _, k := range at {
		server.Clear()
		server.ClearFaults()
		server.Inject(w.at(k))
		said := c.converse(t, server, sessions)
		synctest.Wait()
		c.compare(t, said, c.taken(t, server))
		if said.took > w.long {
			t.Errorf("it took %v", said.took)
		}
		if t.Failed() {
			for i, r := range said.results {
				t.Logf("letter %d: %v", i, r.Outcomes)
			}
			t.Fatalf("all this with the wire cut after octet %d", k)
		}
	}
}

func TestCutAfterEveryOctet(t *testing.T) {
	for _, c := range []cutting{
		{Setting: rig.Setting{Mode: postrider.Insecure, Pipelining: false}},
		{Setting: rig.Setting{Mode: postrider.Insecure, Pipelining: true}},
		{Setting: rig.Setting{Mode: postrider.StartTLS, Pipelining: false}},
		{Setting: rig.Setting{Mode: postrider.ImplicitTLS, Pipelining: true}},
		{rig.Setting{Mode: postrider.Insecure, Pipelining: true}, true, false, false},
		{rig.Setting{Mode: postrider.Insecure, Pipelining: true}, true, false, true},
		{rig.Setting{Mode: postrider.Insecure, Pipelining: true}, true, true, false},
		{rig.Setting{Mode: postrider.Insecure, Pipelining: true}, true, true, true},
		{rig.Setting{Mode: postrider.ImplicitTLS, Pipelining: true}, true, false, false},
		{rig.Setting{Mode: postrider.StartTLS, Pipelining: true}, true, false, true},
		{rig.Setting{Mode: postrider.StartTLS, Pipelining: true}, true, true, false},
		{rig.Setting{Mode: postrider.ImplicitTLS, Pipelining: true}, true, true, true},
	} {
		for _, w := range ways {
			t.Run(c.String()+"/"+w.name, func(t *testing.T) { c.cutAll(t, w) })
		}
	}
}
