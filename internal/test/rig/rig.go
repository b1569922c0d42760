package rig

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

// Tests with a Pair run in
// synctest bubbles over a network in memory: minutes of silence cost nothing, a
// goroutine that is left behind fails the test, and so does everything that
// hangs, because the bubble's time then runs into the guard of its Send.

// Setting is one of the six ways in which every row of the error table is tried.
type Setting struct {
	Mode       postrider.SecureMode
	Pipelining bool
}

// String is the name of a subtest.
func (s Setting) String() string {
	if s.Pipelining {
		return s.Mode.String() + ",pipelining"
	}
	return s.Mode.String()
}

// Intro is what the client says before the first MAIL.
func (s Setting) Intro() string {
	if s.Mode == postrider.StartTLS {
		return "EHLO STARTTLS EHLO"
	}
	return "EHLO"
}

// InBubble is a subtest in a bubble of its own.
func InBubble(t *testing.T, name string, f func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

// InEverySetting runs f in {plain, STARTTLS, SMTPS} × {PIPELINING on, off}.
func InEverySetting(t *testing.T, f func(t *testing.T, s Setting)) {
	t.Helper()
	for _, mode := range []postrider.SecureMode{postrider.Insecure, postrider.StartTLS, postrider.ImplicitTLS} {
		for _, pipelining := range []bool{false, true} {
			s := Setting{mode, pipelining}
			InBubble(t, s.String(), func(t *testing.T) { f(t, s) })
		}
	}
}

// Guard is the deadline of every Send: longer than all timeouts of RFC 5321.
const Guard = 3 * time.Hour

// Pair is a server and a connection to it, in memory.
type Pair struct {
	Setting
	T      *testing.T
	Server *smtptest.Server
	Conn   *postrider.Connection
}

// Options change a Pair before it starts. All may be nil.
type Options struct {
	Server func(*smtptest.Server)
	Client func(*postrider.Config)
	Faults []smtptest.Fault
}

// Start starts a server and makes a connection to it.
func (s Setting) Start(t *testing.T, o Options) *Pair {
	t.Helper()
	r := &Pair{Setting: s, T: t, Server: smtptest.NewUnstartedServer()}
	r.Server.Listener = smtptest.InMemory("localhost:25")
	r.Server.Mode = s.Mode
	r.Server.Extensions.Pipelining = s.Pipelining
	r.Server.Extensions.Chunking = false // the facts are about DATA
	r.Server.Faults = o.Faults
	r.Server.Log = t.Logf
	if o.Server != nil {
		o.Server(r.Server)
	}
	r.Server.Start()
	t.Cleanup(r.Server.Close)
	r.Connect(o.Client)
	return r
}

// Connect makes another connection to the server.
func (r *Pair) Connect(change func(*postrider.Config)) {
	r.T.Helper()
	cfg := r.Server.Config()
	cfg.LocalName = "client.example.com" // nothing is looked up
	cfg.Chunking = postrider.UseTrusted  // the probe has tests of its own
	if change != nil {
		change(&cfg)
	}
	conn, err := postrider.NewConnection(cfg)
	if err != nil {
		r.T.Fatal(err)
	}
	r.Conn = conn
	r.T.Cleanup(func() { conn.Close() })
}

// Content is the usual content: a header section and no body.
const Content = "From: anne@example.com\r\nTo: bart@example.com\r\nSubject: aardvarks\r\n\r\n"

// Mail is the usual message.
func Mail(to ...string) *postrider.Message {
	return &postrider.Message{From: "anne@example.com", To: to, Content: postrider.Bytes([]byte(Content))}
}

// Send sends the usual message.
func (r *Pair) Send(to ...string) (*postrider.Result, error) {
	r.T.Helper()
	return r.Deliver(Mail(to...))
}

// Deliver sends a message, holds the answer against what every answer has to
// fulfil, and waits until nothing moves any more.
func (r *Pair) Deliver(m *postrider.Message) (*postrider.Result, error) {
	r.T.Helper()
	ctx, cancel := context.WithTimeout(r.T.Context(), Guard)
	defer cancel()
	start := time.Now()
	result, err := r.Conn.Send(ctx, m)
	if time.Since(start) >= Guard {
		r.T.Errorf("Send hung until its context was done")
	}
	synctest.Wait()
	CheckAnswer(r.T, m, result, err)
	return result, err
}

// Accepted sends the usual message, which every recipient has to get.
func (r *Pair) Accepted(to ...string) {
	r.T.Helper()
	result, err := r.Send(to...)
	if err != nil || result.Count(postrider.Accepted) != len(to) {
		r.T.Errorf("Send to %v: %v, %v", to, result.Outcomes, err)
	}
}

// Quit ends the connection, which must not fail.
func (r *Pair) Quit() {
	r.T.Helper()
	ctx, cancel := context.WithTimeout(r.T.Context(), Guard)
	defer cancel()
	if err := r.Conn.Quit(ctx); err != nil {
		r.T.Errorf("Quit: %v", err)
	}
	synctest.Wait()
}

// CheckAnswer holds what Sender promises: one outcome per recipient in order, err
// nil exactly when a recipient was accepted and none is untried or unknown, a
// reason for each one that was not accepted.
func CheckAnswer(t *testing.T, m *postrider.Message, r *postrider.Result, err error) {
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

// Fates returns states, stages and reply codes of the outcomes, in few words.
func Fates(r *postrider.Result) string {
	var words []string
	for _, o := range r.Outcomes {
		words = append(words, fmt.Sprintf("%v %v %d", o.State, o.Stage, o.Reply.Code))
	}
	return strings.Join(words, ", ")
}

// Trouble returns what an error holds: stage, command, reply code, and whether it
// will pass.
func Trouble(err error) string {
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

// Text is an error's, "" if there is none.
func Text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// Said returns what the client said on a wire, without arguments: "." is the end
// of content, "…" content without an end, "*" a line inside AUTH.
func (r *Pair) Said(wire int) string {
	var words []string
	for line := range strings.Lines(r.Server.Transcript(wire)) {
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

// Wires returns what the client said on all wires, without the usual introduction.
func (r *Pair) Wires() string {
	var all []string
	for i := range int(r.Conn.Stats().Dials) {
		said := r.Said(i + 1)
		if rest, ok := strings.CutPrefix(said, r.Intro()); ok {
			said = strings.TrimSpace(rest)
		} else {
			said = "(" + said + ")"
		}
		all = append(all, said)
	}
	return strings.Join(all, " | ")
}

// Lines returns the client's lines on a wire that begin with prefix.
func (r *Pair) Lines(wire int, prefix string) []string {
	var found []string
	for line := range strings.Lines(r.Server.Transcript(wire)) {
		if text, ok := strings.CutPrefix(strings.TrimRight(line, "\n"), "C: "); ok && strings.HasPrefix(text, prefix) {
			found = append(found, text)
		}
	}
	return found
}

// Contents returns the contents of the messages that the server took.
func (r *Pair) Contents() []string {
	var all []string
	for _, m := range r.Server.Messages() {
		all = append(all, string(m.Content))
	}
	return all
}

// Equal compares, and shows the dialogues where there are any.
func (r *Pair) Equal(what, got, want string) {
	r.T.Helper()
	if got == want {
		return
	}
	var talk strings.Builder
	for i := range int(r.Conn.Stats().Dials) {
		fmt.Fprintf(&talk, "--- wire %d\n%s", i+1, r.Server.Transcript(i+1))
	}
	r.T.Errorf("%s:\n got %s\nwant %s\n%s", what, got, want, talk.String())
}

// Row is one row of the error table: what the server does on the first wire to
// the message for bart and cate, and what has to come of it.
type Row struct {
	Name      string
	Faults    []smtptest.Fault
	server    func(*smtptest.Server)
	client    func(*postrider.Config)
	Served    bool   // a message went over the wire before
	Fates     string // of bart and cate
	Trouble   string // "<nil>": none
	Is        []error
	Says      string // in the error's text
	Wires     string // what the client said: that message, then one for dirk, then QUIT
	Pipelined string // the same with PIPELINING, if it differs
}

// try runs a row in one setting.
func (row Row) try(t *testing.T, s Setting) {
	if s.Pipelining {
		row.Wires = cmp.Or(row.Pipelined, row.Wires)
	}
	r := s.Start(t, Options{Server: row.server, Client: row.client, Faults: OnFirstWire(row.Faults)})
	if row.Served {
		r.Accepted("abel@example.com")
	}
	result, err := r.Send("bart@example.com", "cate@example.com")
	r.Equal("outcomes", Fates(result), row.Fates)
	r.Equal("error", Trouble(err), row.Trouble)
	for _, target := range row.Is {
		if !errors.Is(err, target) {
			t.Errorf("errors.Is(%v, %v) is false", err, target)
		}
	}
	if row.Says != "" && (err == nil || !strings.Contains(err.Error(), row.Says)) {
		t.Errorf("the error does not say %q: %v", row.Says, err)
	}
	if n := r.Conn.Stats().Resends; !row.Served && n != 0 {
		t.Errorf("%d resends, on a wire that had not served", n)
	}
	r.Accepted("dirk@example.com")
	r.Quit()
	if row.Served {
		row.Wires = "MAIL RCPT DATA . " + row.Wires
	}
	r.Equal("said", r.Wires(), row.Wires)
}

// OnFirstWire restricts faults to the first wire, so that the next one is sound.
func OnFirstWire(faults []smtptest.Fault) []smtptest.Fault {
	faults = slices.Clone(faults)
	for i := range faults {
		if faults[i].Connection == 0 {
			faults[i].Connection = 1
		}
	}
	return faults
}

// InEveryRow tries each row in every setting.
func InEveryRow(t *testing.T, rows []Row) {
	t.Helper()
	for _, row := range rows {
		t.Run(row.Name, func(t *testing.T) {
			InEverySetting(t, row.try)
		})
	}
}

// After sends a message in a while, and returns what came of it.
func (r *Pair) After(d time.Duration, to ...string) <-chan string {
	came := make(chan string, 1)
	go func() {
		time.Sleep(d)
		result, _ := r.Conn.Send(r.T.Context(), Mail(to...))
		came <- Fates(result)
	}()
	synctest.Wait()
	return came
}

// SendMail sends the usual message by the short form, and returns the refused recipients.
func (r *Pair) SendMail(to ...string) map[string]postrider.Reply {
	r.T.Helper()
	ctx, cancel := context.WithTimeout(r.T.Context(), Guard)
	defer cancel()
	refused, err := r.Conn.SendMail(ctx, "anne@example.com", to, []byte(Content))
	if err != nil {
		r.T.Errorf("SendMail: %v", err)
	}
	synctest.Wait()
	return refused
}

// Counts sends n messages and returns the server's count of connections after each.
func (r *Pair) Counts(n int) (counts []int) {
	r.T.Helper()
	for range n {
		if refused := r.SendMail("bart@example.com"); refused == nil || len(refused) != 0 {
			r.T.Errorf("refused: %v", refused)
		}
		counts = append(counts, r.Server.ConnectionCount())
	}
	return counts
}
