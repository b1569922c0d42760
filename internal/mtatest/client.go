//go:build linux

package mtatest

import (
	"fmt"
	"net"
	"testing"
)

// Target says to a client which server to reach, and how.
type Target struct {
	Address  string // host:port; the host is also the name that the certificate must have
	Mode     Mode   // "" means Plain
	CAFile   string // PEM of what the client trusts; "" means the machine's own authorities
	User     string // "" means no AUTH
	Password string
}

// Client is a mail client that is not ours, to try on our test server: a Python program that keeps one
// connection, opened by the first message, until Quit or until its test ends.
type Client struct{ script *script }

// Mail is one message for a Client.
type Mail struct {
	From    string
	To      []string
	Content []byte

	// MailOptions and RcptOptions follow the addresses in MAIL and in each RCPT, as "BODY=8BITMIME"
	// (smtplib only).
	MailOptions []string
	RcptOptions []string

	// As says in which Python type the content is handed over: "bytes" (the default), "str", or
	// "message", a parsed email message. Mailman's delivery uses the last; only MailmanClient knows it.
	As string
}

// Answer is what became of one request to a Client.
type Answer struct {
	Refused      map[string]Reply // the refused recipients, when others were accepted
	Err          *PythonError     // the exception that the client raised; nil if none
	Reply        Reply            // of Command
	Open         bool             // the client keeps a connection
	SessionsLeft int              // before MailmanClient changes connections; below 0 without a maximum
}

// Reply is a reply as Python shows it: the lines without their codes, joined by LF.
type Reply struct {
	Code int
	Text string
}

// PythonError is an exception of the client.
type PythonError struct {
	Type       string // name of its class, as "SMTPRecipientsRefused"
	Text       string
	Code       int              // of the reply, where the exception has one
	Recipients map[string]Reply // of SMTPRecipientsRefused
}

// Error returns the exception in one line.
func (e *PythonError) Error() string { return e.Type + ": " + e.Text }

// MailmanOptions are the other parameters of Mailman's Connection; the zero value has its defaults.
type MailmanOptions struct {
	MaxSessions      int // transactions on one connection; 0 means no limit
	NoVerifyCert     bool
	NoVerifyHostname bool
}

// clientArguments is what the two client scripts are started with.
type clientArguments struct {
	Host           string `json:"host"`
	Port           string `json:"port"`
	Mode           Mode   `json:"mode"`
	CA             string `json:"ca"`
	User           string `json:"user"`
	Password       string `json:"password"`
	MaxSessions    int    `json:"max_sessions"`
	VerifyCert     bool   `json:"verify_cert"`
	VerifyHostname bool   `json:"verify_hostname"`
}

// Smtplib starts a client on Python's smtplib, which Mailman is built on.
func Smtplib(t testing.TB, target Target) *Client {
	t.Helper()
	require(t, "python3", python)
	return startClient(t, "smtplib_client.py", target, MailmanOptions{})
}

// MailmanClient starts a client on GNU Mailman's own mailman.mta.connection.Connection. It reads no
// configuration of this machine; Push sets one.
func MailmanClient(t testing.TB, target Target, o MailmanOptions) *Client {
	t.Helper()
	require(t, "mailman3", python, mailmanModule)
	return startClient(t, "mailman_client.py", target, o)
}

func startClient(t testing.TB, file string, target Target, o MailmanOptions) *Client {
	t.Helper()
	host, port, err := net.SplitHostPort(target.Address)
	if err != nil {
		t.Fatalf("mtatest: %v", err)
	}
	if target.Mode == "" {
		target.Mode = Plain
	}
	return &Client{startScript(t, file, newDir(t), clientArguments{
		Host: host, Port: port, Mode: target.Mode, CA: target.CAFile,
		User: target.User, Password: target.Password,
		MaxSessions: o.MaxSessions, VerifyCert: !o.NoVerifyCert, VerifyHostname: !o.NoVerifyHostname,
	})}
}

// Send hands over one message. What the server or the client object to is in the Answer; the test
// fails only when the program itself breaks.
func (c *Client) Send(t testing.TB, m Mail) Answer {
	t.Helper()
	return c.ask(t, struct {
		Op string
		Mail
	}{"send", m})
}

// Quit says QUIT if a connection is open. The next Send opens another.
func (c *Client) Quit(t testing.TB) Answer {
	t.Helper()
	return c.ask(t, map[string]any{"Op": "quit"})
}

// Command says one command as it is, without EHLO before it, and returns the reply (smtplib only).
func (c *Client) Command(t testing.TB, line string) Answer {
	t.Helper()
	return c.ask(t, map[string]any{"Op": "command", "Line": line})
}

// Push lays a configuration in the form of mailman.cfg over Mailman's own; Pop removes it and those
// above it (MailmanClient only).
func (c *Client) Push(t testing.TB, name, text string) {
	t.Helper()
	c.mustAsk(t, map[string]any{"Op": "push", "Name": name, "Text": text})
}

// Pop removes a configuration that was pushed.
func (c *Client) Pop(t testing.TB, name string) {
	t.Helper()
	c.mustAsk(t, map[string]any{"Op": "pop", "Name": name})
}

func (c *Client) ask(t testing.TB, request any) Answer {
	t.Helper()
	var answer Answer
	if err := c.script.call(request, &answer); err != nil {
		t.Fatalf("mtatest: %v", err)
	}
	return answer
}

func (c *Client) mustAsk(t testing.TB, request map[string]any) {
	t.Helper()
	if answer := c.ask(t, request); answer.Err != nil {
		t.Fatal(fmt.Errorf("mtatest: %v: %w", request["Op"], answer.Err))
	}
}
