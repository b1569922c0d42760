//go:build linux

package interop_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/mtatest"
)

// Messages whose content is a list of commands, to servers of which some take the octets of a BDAT that they
// refused for commands: go-smtp until 0.25.0 does. What it executes is forged mail, and its replies to it would
// be read as the answers to other messages.

// commandKind is a server for these tests: with its options it refuses refused@example.com, and as often as asked.
type commandKind struct {
	mtatest.Kind
	options  mtatest.Options
	verbatim bool // takes a content without a header as it is
	discards bool // throws away the octets of a BDAT that it refused
}

func commandKinds() (all []commandKind) {
	patient := map[string][]string{"Postfix": {"smtpd_error_sleep_time = 0", "smtpd_soft_error_limit = 100000",
		"smtpd_hard_error_limit = 100000"},
		// A third of the messages have nobody accepted, and each costs a RSET: at the eleventh Exim hangs up, with a
		// window of messages behind it of which nobody knows.
		"Exim": {"smtp_accept_max_nonmail = 100000"}}
	for _, kind := range mtatest.Kinds() {
		lines, known := refusing[kind.Name]
		verbatim := strings.HasPrefix(kind.Name, "go-smtp")
		if known || verbatim {
			discards := slices.Contains([]string{"Postfix", "Exim", "go-smtp-0.25"}, kind.Name)
			o := mtatest.Options{Extra: append(slices.Clone(lines), patient[kind.Name]...)}
			all = append(all, commandKind{kind, o, verbatim, discards})
		}
	}
	return all
}

// executed are contents that forge mail, end the conversation, or shift the replies of a server that executes
// them in an open transaction with no recipient yet, or outside of one. %d is the message's number.
var executed = []string{
	"RSET\r\nMAIL FROM:<forger@example.com>\r\nRCPT TO:<victim%d@example.com>\r\n" +
		"DATA\r\nSubject: forged\r\n\r\nforged\r\n.\r\n",
	"RCPT TO:<victim%d@example.com>\r\nDATA\r\nSubject: forged under the sender of the message before\r\n.\r\n",
	"MAIL FROM:<forger@example.com>\r\nRCPT TO:<victim%d@example.com>\r\nBDAT 8 LAST\r\nforged\r\n",
	"NOOP %d\r\nNOOP\r\nNOOP\r\n",
	"RSET\r\nNOOP %d\r\nRSET\r\nRSET\r\nVRFY\r\nVRFY\r\n",
	"NOOP %d\r\nDATA\r\nBDAT 0 LAST\r\n",
	"NOOP %d\r\nQUIT\r\n",
}

// envelopes are the recipients of the messages, in turn: b is taken, r refused. Their cycle and that of the
// contents have no common divisor.
var envelopes = []string{"b", "rb", "rr", "r", "b", "rrb"}

// commandMessages gives messages to that kind of server: as many as there can be of each kind of envelope and
// content, and more to one that keeps none of them on a disk.
func commandMessages(verbatim bool) []*postrider.Message {
	n := 120
	if verbatim {
		n = 300
	}
	all := make([]*postrider.Message, n)
	for i := range all {
		content := fmt.Sprintf(executed[i%len(executed)], i)
		if !verbatim || i%4 == 3 {
			content = header(i) + "\r\n" + content
		}
		all[i] = &postrider.Message{From: fmt.Sprintf("anne%d@example.com", i),
			Content: postrider.Bytes([]byte(content))}
		for _, letter := range envelopes[i%len(envelopes)] {
			to := "refused@example.com"
			if letter == 'b' {
				to = fmt.Sprintf("bart%d@example.com", i)
			}
			all[i].To = append(all[i].To, to)
		}
	}
	return all
}

// ledger holds what was told of each message, and compares it with what a server took.
type ledger struct {
	t        *testing.T
	mu       sync.Mutex
	expected map[string]bool // sender, recipients and content of what was accepted
}

// tell books a result, which has to be what the server says to each recipient on its own.
func (l *ledger) tell(r *postrider.Result, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var accepted []string
	for i, o := range r.Outcomes {
		want := postrider.Accepted
		if o.Recipient == "refused@example.com" {
			want = postrider.Refused
		}
		if o.State != want {
			l.t.Errorf("from %s, recipient %d: %v, want %v (%v)", r.Message.From, i, o, want, err)
		}
		if o.State == postrider.Accepted {
			accepted = append(accepted, o.Recipient)
		}
	}
	content, err := r.Message.Content.Open()
	if err != nil {
		l.t.Error(err)
		return
	}
	octets, _ := io.ReadAll(content) // of memory
	if len(accepted) > 0 {
		l.expected[entry(r.Message.From, accepted, octets)] = true
	}
}

// entry is one string for all of a message.
func entry(from string, to []string, content []byte) string {
	return fmt.Sprintf("from <%s> to %q: %q", from, slices.Sorted(slices.Values(to)), content)
}

// check: the server has each accepted message once, for exactly the accepted recipients, and nothing else.
func (l *ledger) check(server *mtatest.Server) {
	l.t.Helper()
	others, missing := 0, maps.Clone(l.expected)
	for _, m := range server.Messages(l.t) {
		text := entry(m.From, m.To, m.Content)
		if !missing[text] {
			if others++; others <= 3 {
				l.t.Errorf("taken, but not sent so, or not told, or there already: %.400s", text)
			}
		}
		delete(missing, text)
	}
	if others > 0 || len(missing) > 0 {
		l.t.Errorf("of %d accepted messages %d were not taken; %d others were", len(l.expected), len(missing), others)
	}
}

// chunkCounter counts the BDAT commands with content; the question whether the server discards has none.
func chunkCounter(n *atomic.Int64) *postrider.Trace {
	return &postrider.Trace{Dialogue: func(e postrider.Event) {
		if strings.HasPrefix(e.Line, "BDAT ") && e.Line != "BDAT 6 LAST" {
			n.Add(1)
		}
	}}
}

func TestContentsAreNotCommands(t *testing.T) {
	for _, kind := range commandKinds() {
		for name, send := range map[string]func(*ledger, postrider.Config, []*postrider.Message){
			"Connection": byConnection, "stream": byStream, "Pool": byPool,
		} {
			t.Run(kind.Name+"/"+name, func(t *testing.T) {
				t.Parallel() // most of it is waiting for servers that start, and for their disk
				server := kind.Start(t, kind.options)
				var chunks atomic.Int64
				cfg := configFor(t, server)
				cfg.Trace = chunkCounter(&chunks)
				l := &ledger{t: t, expected: map[string]bool{}}
				send(l, cfg, commandMessages(kind.verbatim))
				l.check(server)
				if kind.discards && chunks.Load() == 0 {
					t.Error("no BDAT was said: this test could not fail")
				}
				t.Logf("%d messages accepted, %d BDAT", len(l.expected), chunks.Load())
			})
		}
	}
}

func byConnection(l *ledger, cfg postrider.Config, messages []*postrider.Message) {
	conn, err := postrider.NewConnection(cfg)
	if err != nil {
		l.t.Fatal(err)
	}
	defer conn.Close()
	fromMany(l, conn, messages)
}

func byPool(l *ledger, cfg postrider.Config, messages []*postrider.Message) {
	pool, err := postrider.NewPool(postrider.PoolConfig{}, cfg)
	if err != nil {
		l.t.Fatal(err)
	}
	defer pool.Shutdown(l.t.Context())
	fromMany(l, pool, messages)
}

// fromMany sends from 32 goroutines, so that many messages wait and are in each other's company.
func fromMany(l *ledger, sender postrider.Sender, messages []*postrider.Message) {
	ctx, cancel := context.WithTimeout(l.t.Context(), 2*time.Minute)
	defer cancel()
	var next atomic.Int64
	var all sync.WaitGroup
	for range 32 {
		all.Go(func() {
			for i := int(next.Add(1)); i <= len(messages); i = int(next.Add(1)) {
				l.tell(sender.Send(ctx, messages[i-1]))
			}
		})
	}
	all.Wait()
}

func byStream(l *ledger, cfg postrider.Config, messages []*postrider.Message) {
	conn, err := postrider.NewConnection(cfg)
	if err != nil {
		l.t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(l.t.Context(), 2*time.Minute)
	defer cancel()
	for r, err := range conn.SendAll(ctx, slices.Values(messages)) {
		l.tell(r, err)
	}
}
