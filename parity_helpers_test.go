package postrider_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/smtptest"
)

// The tests of the facts in docs/parity.md share what is here. They run in
// synctest bubbles over a network in memory: minutes of silence cost nothing, a
// goroutine that is left behind fails the test, and so does everything that
// hangs, because the bubble's time then runs into the guard of its Send.

// setting is one of the six ways in which every row of the error table is tried.
type setting struct {
	mode       postrider.SecureMode
	pipelining bool
}

func (s setting) String() string {
	if s.pipelining {
		return s.mode.String() + ",pipelining"
	}
	return s.mode.String()
}

// intro is what the client says before the first MAIL.
func (s setting) intro() string {
	if s.mode == postrider.StartTLS {
		return "EHLO STARTTLS EHLO"
	}
	return "EHLO"
}

// inBubble is a subtest in a bubble of its own.
func inBubble(t *testing.T, name string, f func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

// inEverySetting runs f in {plain, STARTTLS, SMTPS} × {PIPELINING on, off}.
func inEverySetting(t *testing.T, f func(t *testing.T, s setting)) {
	t.Helper()
	for _, mode := range []postrider.SecureMode{postrider.Insecure, postrider.StartTLS, postrider.ImplicitTLS} {
		for _, pipelining := range []bool{false, true} {
			s := setting{mode, pipelining}
			inBubble(t, s.String(), func(t *testing.T) { f(t, s) })
		}
	}
}

// guard is the deadline of every Send: longer than all timeouts of RFC 5321.
const guard = 3 * time.Hour

// rig is a server and a connection to it, in memory.
type rig struct {
	setting
	t      *testing.T
	server *smtptest.Server
	conn   *postrider.Connection
}

// options change a rig before it starts. All may be nil.
type options struct {
	server func(*smtptest.Server)
	client func(*postrider.Config)
	faults []smtptest.Fault
}

func (s setting) start(t *testing.T, o options) *rig {
	t.Helper()
	r := &rig{setting: s, t: t, server: smtptest.NewUnstartedServer()}
	r.server.Listener = smtptest.InMemory("localhost:25")
	r.server.Mode = s.mode
	r.server.Extensions.Pipelining = s.pipelining
	r.server.Extensions.Chunking = false // the facts are about DATA
	r.server.Faults = o.faults
	r.server.Log = t.Logf
	if o.server != nil {
		o.server(r.server)
	}
	r.server.Start()
	t.Cleanup(r.server.Close)
	r.connect(o.client)
	return r
}

// connect makes another connection to the server.
func (r *rig) connect(change func(*postrider.Config)) {
	r.t.Helper()
	cfg := r.server.Config()
	cfg.LocalName = "client.example.com" // nothing is looked up
	cfg.Chunking = postrider.UseTrusted  // the probe has tests of its own
	if change != nil {
		change(&cfg)
	}
	conn, err := postrider.NewConnection(cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	r.conn = conn
	r.t.Cleanup(func() { conn.Close() })
}

const content = "From: anne@example.com\r\nTo: bart@example.com\r\nSubject: aardvarks\r\n\r\n"

func mail(to ...string) *postrider.Message {
	return &postrider.Message{From: "anne@example.com", To: to, Content: postrider.Bytes([]byte(content))}
}

// send sends the usual message.
func (r *rig) send(to ...string) (*postrider.Result, error) {
	r.t.Helper()
	return r.deliver(mail(to...))
}

// deliver sends a message, holds the answer against what every answer has to
// fulfil, and waits until nothing moves any more.
func (r *rig) deliver(m *postrider.Message) (*postrider.Result, error) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), guard)
	defer cancel()
	start := time.Now()
	result, err := r.conn.Send(ctx, m)
	if time.Since(start) >= guard {
		r.t.Errorf("Send hung until its context was done")
	}
	synctest.Wait()
	checkAnswer(r.t, m, result, err)
	return result, err
}

// accepted sends the usual message, which everybody has to get.
func (r *rig) accepted(to ...string) {
	r.t.Helper()
	result, err := r.send(to...)
	if err != nil || result.Count(postrider.Accepted) != len(to) {
		r.t.Errorf("Send to %v: %v, %v", to, result.Outcomes, err)
	}
}

func (r *rig) quit() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), guard)
	defer cancel()
	if err := r.conn.Quit(ctx); err != nil {
		r.t.Errorf("Quit: %v", err)
	}
	synctest.Wait()
}

// checkAnswer holds what Sender promises: one outcome per recipient in order, err
// nil exactly when somebody was accepted and nobody is untried or unknown, a
// reason for each one that was not accepted.
func checkAnswer(t *testing.T, m *postrider.Message, r *postrider.Result, err error) {
	t.Helper()
	if r == nil || r.Message != m || len(r.Outcomes) != len(m.To) {
		t.Fatalf("the result is not one for the message: %+v", r)
	}
	for i, o := range r.Outcomes {
		if o.Recipient != m.To[i] {
			t.Errorf("outcome %d is about %q, and the recipient is %q", i, o.Recipient, m.To[i])
		}
		if o.State != postrider.Accepted && o.Reply.Code == 0 && o.Err == nil {
			t.Errorf("nothing says why %q was %v", o.Recipient, o.State)
		}
	}
	left := r.Count(postrider.Untried) + r.Count(postrider.Unknown)
	if fine := r.Count(postrider.Accepted) > 0 && left == 0; (err == nil) != fine {
		t.Errorf("err is %v, and the outcomes are %v", err, r.Outcomes)
	}
	var e *postrider.Error
	if err != nil && !errors.As(err, &e) {
		t.Errorf("the error is a %T: %v", err, err)
	}
	if e != nil && e.Stage != postrider.StageLocal && e.Address == "" {
		t.Errorf("the error names no server: %v", err)
	}
}

// fates tells states, stages and reply codes of the outcomes, in few words.
func fates(r *postrider.Result) string {
	var words []string
	for _, o := range r.Outcomes {
		words = append(words, fmt.Sprintf("%v %v %d", o.State, o.Stage, o.Reply.Code))
	}
	return strings.Join(words, ", ")
}

// trouble tells what an error holds: stage, command, reply code, and whether it
// will pass.
func trouble(err error) string {
	var e *postrider.Error
	if !errors.As(err, &e) {
		return fmt.Sprint(err)
	}
	lasting := "lasts"
	if e.Temporary() {
		lasting = "passes"
	}
	return fmt.Sprintf("%v %s %d %s", e.Stage, e.Step, e.Reply.Code, lasting)
}

// text is an error's, "" if there is none.
func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// said gives what the client said on a wire, without arguments: "." is the end
// of content, "…" content without an end, "*" a line inside AUTH.
func (r *rig) said(wire int) string {
	var words []string
	for line := range strings.Lines(r.server.Transcript(wire)) {
		text, ok := strings.CutPrefix(strings.TrimRight(line, "\n"), "C: ")
		if !ok {
			continue
		}
		word, _, _ := strings.Cut(text, " ")
		switch {
		case strings.HasSuffix(text, "and the final dot)"):
			word = "."
		case strings.HasPrefix(text, "("):
			word = "…"
		case strings.HasPrefix(text, "********"):
			word = "*"
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

// wires gives what the client said on all wires, without the usual introduction.
func (r *rig) wires() string {
	var all []string
	for i := range int(r.conn.Stats().Dials) {
		said := r.said(i + 1)
		if rest, ok := strings.CutPrefix(said, r.intro()); ok {
			said = strings.TrimSpace(rest)
		} else {
			said = "(" + said + ")"
		}
		all = append(all, said)
	}
	return strings.Join(all, " | ")
}

// lines gives the client's lines on a wire that begin with prefix.
func (r *rig) lines(wire int, prefix string) []string {
	var found []string
	for line := range strings.Lines(r.server.Transcript(wire)) {
		if text, ok := strings.CutPrefix(strings.TrimRight(line, "\n"), "C: "); ok && strings.HasPrefix(text, prefix) {
			found = append(found, text)
		}
	}
	return found
}

// contents gives the contents of the messages that the server took.
func (r *rig) contents() []string {
	var all []string
	for _, m := range r.server.Messages() {
		all = append(all, string(m.Content))
	}
	return all
}

// equal compares, and shows the dialogues where there are any.
func (r *rig) equal(what, got, want string) {
	r.t.Helper()
	if got == want {
		return
	}
	var talk strings.Builder
	for i := range int(r.conn.Stats().Dials) {
		fmt.Fprintf(&talk, "--- wire %d\n%s", i+1, r.server.Transcript(i+1))
	}
	r.t.Errorf("%s:\n got %s\nwant %s\n%s", what, got, want, talk.String())
}

// row is one row of the error table: what the server does on the first wire to
// the message for bart and cate, and what has to come of it.
type row struct {
	name      string
	faults    []smtptest.Fault
	server    func(*smtptest.Server)
	client    func(*postrider.Config)
	served    bool   // a message went over the wire before
	fates     string // of bart and cate
	trouble   string // "<nil>": none
	is        []error
	says      string // in the error's text
	wires     string // what the client said: that message, then one for dirk, then QUIT
	pipelined string // the same with PIPELINING, if it differs
}

// try runs a row in one setting.
func (row row) try(t *testing.T, s setting) {
	if s.pipelining {
		row.wires = cmp.Or(row.pipelined, row.wires)
	}
	r := s.start(t, options{server: row.server, client: row.client, faults: onFirstWire(row.faults)})
	if row.served {
		r.accepted("abel@example.com")
	}
	result, err := r.send("bart@example.com", "cate@example.com")
	r.equal("outcomes", fates(result), row.fates)
	r.equal("error", trouble(err), row.trouble)
	for _, target := range row.is {
		if !errors.Is(err, target) {
			t.Errorf("errors.Is(%v, %v) is false", err, target)
		}
	}
	if row.says != "" && (err == nil || !strings.Contains(err.Error(), row.says)) {
		t.Errorf("the error does not say %q: %v", row.says, err)
	}
	if n := r.conn.Stats().Resends; !row.served && n != 0 {
		t.Errorf("%d resends, on a wire that had not served", n)
	}
	r.accepted("dirk@example.com")
	r.quit()
	if row.served {
		row.wires = "MAIL RCPT DATA . " + row.wires
	}
	r.equal("said", r.wires(), row.wires)
}

// onFirstWire restricts faults to the first wire, so that the next one is sound.
func onFirstWire(faults []smtptest.Fault) []smtptest.Fault {
	faults = slices.Clone(faults)
	for i := range faults {
		if faults[i].Connection == 0 {
			faults[i].Connection = 1
		}
	}
	return faults
}

func inEveryRow(t *testing.T, rows []row) {
	t.Helper()
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			inEverySetting(t, row.try)
		})
	}
}
