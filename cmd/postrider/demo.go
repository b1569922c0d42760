package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/smtptest"
)

// demoCmd is postrider demo.
type demoCmd struct {
	Mode            postrider.SecureMode `default:"starttls" placeholder:"smtp|smtps|starttls" help:"${help_demo_mode}"`
	MaxTransactions int                  `default:"2" placeholder:"N" help:"${help_demo_max_transactions}"`
	Verbose         bool                 `short:"v" help:"Show the dialogue on standard error."`
}

// Help is the long part of the help text.
func (*demoCmd) Help() string {
	return `
Starts a test MTA on a free port that only this machine can reach, sends five messages
to a list of four members through one Connection, shows what became of every recipient,
and compares that with what the MTA received. No mail leaves this machine. The exit
status is 0 if every figure is right, else 70.

Examples:

  postrider demo
  postrider demo --mode smtp -v
`
}

// Validate finds what is wrong with the command line itself.
func (c *demoCmd) Validate() error {
	if c.MaxTransactions < 0 {
		return errors.New("--max-transactions: use a number from 0")
	}
	return nil
}

//go:embed testdata/mailing
var mailingFiles embed.FS

const (
	demoSender  = "riders-bounces@example.com"
	demoUnknown = "dora@example.com" // the MTA does not know her
)

// post is one message of the mailing.
type post struct {
	name    string
	content []byte
	result  *postrider.Result
}

// tour is what the demo sends.
type tour struct {
	members []string
	posts   []*post
}

func loadMailing(files fs.FS) (*tour, error) {
	dir, err := fs.Sub(files, "testdata/mailing")
	if err != nil {
		return nil, err
	}
	members, err := fs.ReadFile(dir, "members.txt")
	if err != nil {
		return nil, err
	}
	m := &tour{members: strings.Fields(string(members))}
	names, err := fs.Glob(dir, "*.eml")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		content, err := fs.ReadFile(dir, name)
		if err != nil {
			return nil, err
		}
		m.posts = append(m.posts, &post{name: name, content: content})
	}
	return m, nil
}

// Run sends the mailing, shows it, and checks it.
func (c *demoCmd) Run(ctx context.Context, std streams) error {
	m, err := loadMailing(mailingFiles)
	if err != nil {
		return err
	}
	s := smtptest.NewUnstartedServer()
	s.Mode = c.Mode
	s.Faults = []smtptest.Fault{{Command: "RCPT", Address: demoUnknown, Reply: "550 5.1.1 Nobody here by that name"}}
	s.Log = std.warn
	s.Start()
	defer s.Close()

	c.introduce(std.out, m, s)
	stats, err := c.send(ctx, std, m, s)
	if err != nil {
		return fail(exitSoftware, err)
	}
	s.Close()
	return c.conclude(std.out, m.compare(c.MaxTransactions, s, stats))
}

func (c *demoCmd) introduce(w io.Writer, m *tour, s *smtptest.Server) {
	limit := fmt.Sprintf("after %d transactions it changes to a new one.", c.MaxTransactions)
	if c.MaxTransactions == 0 {
		limit = "it keeps that for as long as it can."
	}
	fmt.Fprintf(w, `A mailing: %d messages to %d members, through one Connection.

The MTA is a test server on %s (%v). Only this machine can reach it, and
no mail leaves it. The Connection opens a wire, which is one TCP connection, when the
first message is sent; %s
Each message is one transaction: MAIL, RCPT for every member, the content, and one reply.
The MTA does not know %s, to show what a refusal looks like.
`, len(m.posts), len(m.members), s.Addr, s.Mode, limit, demoUnknown)
}

// send sends the mailing through one Connection.
func (c *demoCmd) send(ctx context.Context, std streams, m *tour, s *smtptest.Server) (postrider.Stats, error) {
	cfg := s.Config()
	cfg.MaxTransactions = c.MaxTransactions
	cfg.LocalName = "localhost"
	wires := &wireLog{tls: map[int]string{}}
	cfg.Trace = &postrider.Trace{}
	if c.Verbose {
		cfg.Trace = newDialogue(std.err)
	}
	wires.listen(cfg.Trace)
	conn, err := postrider.NewConnection(cfg)
	if err != nil {
		return postrider.Stats{}, err
	}
	defer conn.Close()
	progress := newProgress(std.err)
	for i, p := range m.posts {
		progress.show(fmt.Sprintf("%s %d of %d sent", bar(i, len(m.posts)), i, len(m.posts)))
		content := postrider.Bytes(p.content)
		p.result, err = conn.Send(ctx, &postrider.Message{From: demoSender, To: m.members, Content: content})
		progress.clear()
		wires.print(std.out, p, i+1)
		if err != nil {
			return postrider.Stats{}, err
		}
	}
	return conn.Stats(), conn.Quit(ctx)
}

// wireLog remembers how each wire was opened, and shows messages below theirs.
type wireLog struct {
	mu    sync.Mutex // the hooks run on the connection's goroutines
	tls   map[int]string
	shown int // the newest wire that was shown
}

// listen adds a hook before the one that is there.
func (l *wireLog) listen(t *postrider.Trace) {
	next := t.Event
	t.Event = func(e postrider.Event) {
		if e.Kind == postrider.EventTLS && e.Err == nil {
			l.mu.Lock()
			l.tls[e.Wire] = tls.VersionName(e.TLS.Version)
			if e.TLS.DidResume {
				l.tls[e.Wire] += ", the session of the wire before resumed"
			}
			l.mu.Unlock()
		}
		if next != nil {
			next(e)
		}
	}
}

func (l *wireLog) print(w io.Writer, p *post, number int) {
	for _, t := range p.result.Transactions {
		if t.Wire != l.shown {
			l.shown = t.Wire
			fmt.Fprintf(w, "\nwire %d%s\n", t.Wire, l.describe(t.Wire))
		}
		fmt.Fprintf(w, "  message %d, %s (%d octets): %s\n", number, p.name, len(p.content), t.Reply)
	}
	for _, o := range p.result.Outcomes {
		fmt.Fprintf(w, "    %-9s %s", o.State, o.Recipient)
		if o.State != postrider.Accepted {
			fmt.Fprintf(w, ": %s", o.Reply)
		}
		fmt.Fprintln(w)
	}
}

func (l *wireLog) describe(wire int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tls[wire] == "" {
		return ", no TLS"
	}
	return ", " + l.tls[wire]
}

// check is a figure as it must be, and as it is.
type check struct {
	what      string
	want, got int
}

// compare compares what was sent with what the MTA received. The figures come from the server, which knows nothing of
// the client's.
func (m *tour) compare(maxTransactions int, s *smtptest.Server, stats postrider.Stats) []check {
	perWire := maxTransactions
	if perWire == 0 {
		perWire = len(m.posts)
	}
	got := s.Messages()
	octets, equal, received := 0, 0, 0
	for i, p := range m.posts {
		octets += len(canonical(p.content))
		if i >= len(got) {
			continue
		}
		inPlace := got[i].Connection == i/perWire+1 && got[i].Transaction == i%perWire+1
		if inPlace && m.same(p, got[i]) {
			equal++
		}
	}
	for _, g := range got {
		received += len(g.Content)
	}
	n := len(m.posts)
	return []check{
		{"TCP connections", (n + perWire - 1) / perWire, s.ConnectionCount()},
		{"transactions", n, s.Transactions()},
		{"messages", n, len(got)},
		{"octets of content", octets, received},
		{"messages received octet for octet as sent, on the expected wire", n, equal},
		{"recipients accepted", n * (len(m.members) - 1), int(stats.Accepted)},
		{"recipients refused", n, int(stats.Refused)},
	}
}

// same reports whether a message arrived as it was sent, for all recipients that the MTA knows, and whether its sender
// was told so.
func (m *tour) same(p *post, got *smtptest.Message) bool {
	var accepted []string
	for _, o := range p.result.Outcomes {
		if o.State == postrider.Accepted {
			accepted = append(accepted, o.Recipient)
		}
	}
	known := slices.DeleteFunc(slices.Clone(m.members), func(a string) bool { return a == demoUnknown })
	return got.From == demoSender && bytes.Equal(got.Content, canonical(p.content)) &&
		slices.Equal(got.To, known) && slices.Equal(accepted, known)
}

// canonical is what SMTP makes of a text file: CRLF at the end of every line
// (RFC 5321 §2.3.8).
func canonical(text []byte) []byte {
	lines := bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n"))
	if !bytes.HasSuffix(lines, []byte("\n")) {
		lines = append(lines, "\r\n"...)
	}
	return lines
}

// conclude prints the figures. A wrong one is an error.
func (c *demoCmd) conclude(w io.Writer, checks []check) error {
	fmt.Fprintln(w, "\nWhat the MTA counted:")
	wrong := 0
	for _, k := range checks {
		verdict := ""
		if k.got != k.want {
			verdict = fmt.Sprintf("   WRONG, expected %d", k.want)
			wrong++
		}
		fmt.Fprintf(w, "  %5d  %s%s\n", k.got, k.what, verdict)
	}
	if wrong > 0 {
		return fail(exitSoftware, fmt.Errorf("%d of the figures are wrong", wrong))
	}
	fmt.Fprint(w, `
All figures are right. To go on by hand:

  postrider sink --listen 127.0.0.1:2525
  postrider send --server 127.0.0.1:2525 -v anne@example.com < message.eml
`)
	return nil
}
