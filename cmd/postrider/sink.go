package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/text"
	"github.com/postrider/postrider/smtptest"
)

// sinkCmd is postrider sink.
type sinkCmd struct {
	Listen      string               `default:"127.0.0.1:2525" placeholder:"ADDRESS" help:"${help_listen}"`
	Mode        postrider.SecureMode `default:"smtp" placeholder:"smtp|smtps|starttls" help:"${help_sink_mode}"`
	CAOut       string               `name:"ca-out" placeholder:"FILE" help:"${help_ca_out}"`
	Force       []string             `sep:"none" placeholder:"FILE" help:"${help_sink_force}"`
	User        []string             `sep:"none" placeholder:"NAME:env:VARIABLE" help:"${help_sink_user}"`
	RequireAuth bool                 `help:"Refuse mail from clients that have not logged in."`
	MaxMessages int                  `placeholder:"N" help:"Stop after N messages. Default: never."`
	Save        string               `placeholder:"DIR" help:"${help_save}"`
	Fault       []string             `sep:"none" placeholder:"WHEN=WHAT" help:"${help_fault}"`
	JSON        bool                 `help:"Print a JSON object per line instead of sentences."`
}

// Help is the long part of the help text.
func (*sinkCmd) Help() string {
	return `
Prints its address first, then one line for each message, and in the end, after Ctrl-C
or --max-messages, the numbers of connections, transactions and messages. No message
goes anywhere.

A fault is WHEN=WHAT. WHEN is a command (or "greeting", "TLS", and "." for the end of
the message), optionally with an address for MAIL and RCPT, and with #N for the N-th
only. WHAT is the reply, or one of: close (close the connection without a reply; at
the end of a message, after accepting it), hang (never answer).

Examples:

  postrider sink --listen 127.0.0.1:2525 --save mail/
  postrider sink --mode starttls --ca-out ca.pem --user app:env:APP_PASSWORD
  postrider sink --fault 'RCPT bart@example.com=550 5.1.1 no such user' \
      --fault 'MAIL#3=421 4.3.2 too busy' --fault '.#2=close' --json

Exit status: 0; 64 if the command line is wrong, 69 if the address cannot be used, 73
if a file or directory cannot be written.
`
}

// Validate finds what is wrong with the command line itself.
func (c *sinkCmd) Validate() error {
	if c.MaxMessages < 0 {
		return errors.New("--max-messages: use a number from 0")
	}
	if c.CAOut != "" && c.Mode == postrider.Insecure {
		return errors.New("--ca-out: with --mode smtp there is no certificate; use smtps or starttls")
	}
	if c.RequireAuth && len(c.User) == 0 {
		return errors.New("--require-auth: nobody can log in; add --user")
	}
	if !strings.HasPrefix(c.Listen, "unix:") {
		if _, _, err := net.SplitHostPort(c.Listen); err != nil {
			return fmt.Errorf("--listen: %w", err)
		}
	}
	_, err := parseFaults(c.Fault)
	return err
}

// Run serves until ctx is done or --max-messages have come.
func (c *sinkCmd) Run(ctx context.Context, std streams) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	l := &ledger{std: std, json: c.JSON, dir: c.Save, stopAfter: c.MaxMessages, stop: stop}
	s, err := c.server(l)
	if err != nil {
		return err
	}
	if err := c.prepare(std, s); err != nil {
		return err
	}
	if s.Listener, err = listen(c.Listen); err != nil {
		return fail(exitUnavailable, err)
	}
	l.listening(s) // the socket is open, and nothing else can be printed before
	s.Start()
	<-ctx.Done()
	s.Close()
	l.summary(s)
	return l.failed
}

// server is the test MTA that the flags describe, without a listener.
func (c *sinkCmd) server(l *ledger) (*smtptest.Server, error) {
	users, err := readUsers(c.User)
	if err != nil {
		return nil, fail(exitUsage, err)
	}
	faults, err := parseFaults(c.Fault)
	if err != nil {
		return nil, fail(exitUsage, err)
	}
	s := smtptest.NewUnstartedServer()
	s.Mode = c.Mode
	s.Users, s.RequireAuth, s.Faults = users, c.RequireAuth, faults
	s.Discard = true // it may run for long; the ledger has all that is printed
	s.OnMessage = l.message
	s.Log = l.std.warn
	return s, nil
}

// prepare writes what has to be there before the first client comes.
func (c *sinkCmd) prepare(std streams, s *smtptest.Server) error {
	if c.Save != "" {
		if err := os.MkdirAll(c.Save, 0o700); err != nil {
			return fail(exitCantCreate, err)
		}
	}
	if c.CAOut == "" {
		return nil
	}
	o := newOutputs(std, c.Force)
	defer o.close()
	for _, u := range c.User {
		if _, where, found := strings.Cut(u, ":file:"); found {
			o.reading("--user", where)
		}
	}
	out, err := o.open(&output{flag: "--ca-out", name: c.CAOut, mode: 0o666, ours: isAuthority})
	if err != nil {
		return err
	}
	if err := out.write(func(w io.Writer) error { _, err := w.Write(s.CAPEM()); return err }); err != nil {
		return fail(exitCantCreate, err)
	}
	return nil
}

// listen opens the address. Without a host it is this machine alone: a test MTA
// that takes everything is open to others only if somebody says so.
func listen(address string) (net.Listener, error) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		return net.Listen("unix", path)
	}
	if strings.HasPrefix(address, ":") {
		address = "127.0.0.1" + address
	}
	return net.Listen("tcp", address)
}

// readUsers reads NAME:env:VARIABLE and NAME:file:PATH.
func readUsers(flags []string) (map[string]string, error) {
	users := map[string]string{}
	for _, flag := range flags {
		name, source, _ := strings.Cut(flag, ":")
		kind, where, found := strings.Cut(source, ":")
		var password string
		switch {
		case name == "" || !found || kind != "env" && kind != "file":
			// What stands there may be a password: it is not repeated.
			return nil, errors.New("--user: use NAME:env:VARIABLE or NAME:file:PATH; " +
				"everybody on this machine could read the password itself")
		case kind == "env":
			password = os.Getenv(where)
		case kind == "file":
			text, err := os.ReadFile(where)
			if err != nil {
				return nil, fmt.Errorf("--user %s: %w", name, err)
			}
			password, _, _ = strings.Cut(string(text), "\n")
			password = strings.TrimSuffix(password, "\r")
		}
		if password == "" {
			return nil, fmt.Errorf("--user %s: there is no password in %s %s", name, kind, where)
		}
		users[name] = password
	}
	return users, nil
}

// ledger prints what a sink accepts.
type ledger struct {
	std       streams
	json      bool
	dir       string // "": messages are not kept
	stopAfter int    // 0: never
	stop      func()

	mu     sync.Mutex // messages come from several connections at once
	count  int
	file   int // the newest number in dir
	failed error
}

// taken is a message, as --json shows it.
type taken struct {
	Event       string              `json:"event"`
	Message     int                 `json:"message"`
	Connection  int                 `json:"connection"`
	Transaction int                 `json:"transaction"`
	TLS         bool                `json:"tls"`
	User        string              `json:"user,omitempty"`
	From        string              `json:"from"`
	To          []string            `json:"to"`
	MailParams  map[string]string   `json:"mail_params,omitempty"`
	RcptParams  []map[string]string `json:"rcpt_params,omitempty"`
	Octets      int                 `json:"octets"`
	File        string              `json:"file,omitempty"`
}

// message is called before the client learns that its message was taken.
func (l *ledger) message(m *smtptest.Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count++
	t := taken{
		Event: "message", Message: l.count, Connection: m.Connection, Transaction: m.Transaction,
		TLS: m.TLS, User: m.User, From: m.From, MailParams: m.MailParams, To: m.To,
		Octets: len(m.Content), File: l.save(m.Content),
	}
	for _, p := range m.RcptParams {
		if p != nil {
			t.RcptParams = m.RcptParams
		}
	}
	l.print(t, t.sentence())
	if l.count == l.stopAfter {
		l.stop()
	}
}

func (t *taken) sentence() string {
	var b strings.Builder
	fmt.Fprintf(&b, "message %d: connection %d, transaction %d", t.Message, t.Connection, t.Transaction)
	if t.TLS {
		b.WriteString(", TLS")
	}
	if t.User != "" {
		b.WriteString(", user " + text.Printable(t.User))
	}
	fmt.Fprintf(&b, ": from <%s> to <%s>, %d octets",
		text.Printable(t.From), text.Printable(strings.Join(t.To, ">, <")), t.Octets)
	if t.File != "" {
		b.WriteString(", " + t.File)
	}
	return b.String()
}

// save keeps a message and returns its file. A failure is printed, and remembered for the exit status; the client
// cannot be told any more.
func (l *ledger) save(content []byte) string {
	if l.dir == "" {
		return ""
	}
	name, err := l.create(content)
	if err != nil {
		l.std.warn("a message could not be saved: %v", err)
		l.failed = fail(exitCantCreate, errors.New("not every message was saved"))
		return ""
	}
	return name
}

// create writes a file under the next number that is free.
func (l *ledger) create(content []byte) (string, error) {
	for {
		l.file++
		name := filepath.Join(l.dir, fmt.Sprintf("%06d.eml", l.file))
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		_, err = f.Write(content)
		return name, errors.Join(err, f.Close())
	}
}

// listening prints the address, and a warning if others can reach it.
func (l *ledger) listening(s *smtptest.Server) {
	address := s.Listener.Addr().String()
	switch a := s.Listener.Addr().(type) {
	case *net.UnixAddr:
		address = "unix:" + address
	case *net.TCPAddr:
		if !a.IP.IsLoopback() {
			l.std.warn("warning: other machines can connect to %s, which accepts mail from everybody", address)
		}
	}
	l.print(struct {
		Event   string `json:"event"`
		Address string `json:"address"`
		Mode    string `json:"mode"`
	}{"listening", address, s.Mode.String()},
		fmt.Sprintf("listening on %s (%v)", address, s.Mode))
}

// summary prints the numbers, when nothing more can come.
func (l *ledger) summary(s *smtptest.Server) {
	l.mu.Lock()
	defer l.mu.Unlock()
	connections, transactions := s.ConnectionCount(), s.Transactions()
	l.print(struct {
		Event        string `json:"event"`
		Connections  int    `json:"connections"`
		Transactions int    `json:"transactions"`
		Messages     int    `json:"messages"`
	}{"summary", connections, transactions, l.count},
		fmt.Sprintf("connections: %d, transactions: %d, messages: %d", connections, transactions, l.count))
}

// print writes a line in one of its two forms.
func (l *ledger) print(object any, sentence string) {
	if !l.json {
		fmt.Fprintln(l.std.out, sentence)
		return
	}
	// These shapes always encode; a closed standard output is nobody's loss here.
	_ = writeJSONLine(l.std.out, object)
}
