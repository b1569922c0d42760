package main

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/postrider/postrider/internal/doctor"
)

// checkCmd is postrider check.
type checkCmd struct {
	Host string `arg:"" optional:"" name:"server" placeholder:"HOST[:PORT]" help:"${help_check_server}"`

	Sender   *string       `short:"f" name:"from" placeholder:"ADDRESS" help:"${help_check_sender}"`
	To       *string       `placeholder:"ADDRESS" help:"Try this recipient, and take it back: nothing is sent."`
	Send     bool          `help:"Send a test message from --from to --to."`
	Idle     time.Duration `placeholder:"TIME" help:"${help_idle}"`
	Patience time.Duration `placeholder:"TIME" default:"30s" help:"${help_patience} Default: ${default}."`
	Timeout  time.Duration `placeholder:"TIME" help:"Give up after this time. Default: never."`
	JSON     bool          `help:"Print the result as one JSON object."`

	settings `embed:""`
}

// checkTable is for the help; docs/check.md has it too.
const checkTable = `
Exit status, by the stage of the first problem, like swaks:

   0  no problem; there may be warnings
   2  no connection, or the name does not resolve
  21  the greeting
  22  EHLO
  23  the sender
  24  the recipient
  25  DATA
  26  the message, after its end
  28  AUTH
  29  TLS, STARTTLS, the certificate
  64  the command line is wrong
  75  interrupted, or --timeout is over
  78  the configuration is wrong
`

// Help is the long part of the help text.
func (*checkCmd) Help() string {
	return `
Opens connections as a mail program does, step by step, and reports for each step
what was seen, what it means for mail, and what to set. No mail is sent, unless --send
asks for it. User and password are tried once, and never where others could read them.

The last lines are a working configuration, if there is one, ready to paste: TLS from
the start before STARTTLS (RFC 8314), and both verified.

Examples:

  postrider check smtp.example.com
  postrider check -C /etc/mailman3/mailman.cfg
  postrider check smtp.example.com:587 --mode starttls --user app --password-file pw
  postrider check localhost -f anne@example.com --to bart@example.com --send
` + checkTable
}

// Validate finds what is wrong with the command line itself.
func (c *checkCmd) Validate() error {
	switch {
	case c.Host != "" && len(c.Server) > 0 || len(c.Server) > 1:
		return errors.New("more than one server: name one, check examines one at a time")
	case c.Send && c.To == nil:
		return errors.New("--send: name a recipient with --to")
	case c.Idle < 0 || c.Patience <= 0 || c.Timeout < 0:
		return errors.New("--idle, --patience and --timeout: use a positive time")
	case c.Redirect != nil:
		return errors.New("--redirect: check sends only to the recipient of --to")
	}
	return c.settings.Validate()
}

// Run examines and reports.
func (c *checkCmd) Run(ctx context.Context, std streams) error {
	if c.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, c.Timeout, timeoutError(c.Timeout))
		defer cancel()
	}
	if c.Host != "" {
		c.Server = []string{c.Host}
	}
	route, err := c.settings.load(ctx)
	if err != nil {
		return err
	}
	route.redirected = "" // nothing is sent but by --send
	exam := doctor.Exam{
		Config: route.cfg, From: c.from(route), To: c.To, Send: c.Send,
		Idle: c.Idle, Patience: c.Patience, AllPorts: len(c.Server) > 0 && withoutPort(c.Server[0]),
	}
	var page *checkPage
	if !c.JSON {
		route.announce(std, false, nil)
		page = &checkPage{w: std.out, colour: colourful(terminal(std.out), os.Getenv), server: route.describe()}
		exam.Tell = page.finding
	}
	r, err := exam.Run(ctx)
	if err != nil {
		return fail(exitConfig, errors.New(words(err)))
	}
	code := checkCode(ctx, r)
	if c.JSON {
		err = writeJSON(std.out, checkJSON(r, code))
	} else {
		err = page.end(r)
	}
	if err != nil || code == exitOK {
		return err
	}
	return &toldError{code, errors.New("there is a problem")}
}

// from is the sender to try; nil if none is wanted.
func (c *checkCmd) from(r *route) *string {
	if c.Sender == nil && c.To == nil {
		return nil
	}
	sender := (&sendCmd{Sender: c.Sender}).sender(&r.cfg)
	return &sender
}

// checkCodes are those of swaks, where it has one, by the stages that the
// library's errors name.
var checkCodes = map[string]int{
	"dial": 2, "greeting": 21, "EHLO": 22, "MAIL": 23, "RCPT": 24, "DATA": 25, "content": 26,
	"AUTH": 28, "TLS handshake": 29, "STARTTLS": 29,
}

// checkCode is the status for what was found.
func checkCode(ctx context.Context, r *doctor.Report) int {
	worst := r.Worst()
	switch {
	case ctx.Err() != nil:
		return exitTempFail
	case worst.Level == doctor.Problem:
		return checkCodes[string(worst.Stage)]
	}
	return exitOK
}
