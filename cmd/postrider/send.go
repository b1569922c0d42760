package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strings"
	"time"

	"github.com/postrider/postrider"
)

// sendCmd is postrider send.
type sendCmd struct {
	To []string `arg:"" optional:"" name:"recipient" help:"The recipients, as bare addresses, like anne@example.com."`

	Message string  `placeholder:"FILE" help:"Read the message from FILE. Default: standard input."`
	Sender  *string `short:"f" name:"from" placeholder:"ADDRESS" help:"${help_sender}"`
	Header  bool    `short:"t" name:"read-recipients" help:"${help_read_recipients}"`

	Notify string `short:"N" placeholder:"WHEN" help:"${help_notify}"`
	Return string `short:"R" name:"ret" placeholder:"full|hdrs" help:"Ask notifications to return this of the message."`
	EnvID  string `short:"V" name:"envid" placeholder:"ID" help:"Set an identifier that notifications repeat."`

	HoldFor   time.Duration `placeholder:"TIME" help:"${help_hold_for}"`
	DeliverBy string        `placeholder:"TIME[,return]" help:"${help_deliver_by}"`
	Priority  int           `placeholder:"N" help:"${help_priority}"`

	JSON    bool          `help:"Print the result as one JSON object."`
	Verbose bool          `short:"v" help:"${help_verbose}"`
	DryRun  bool          `help:"Check everything and show what would be sent, but open no connection."`
	Timeout time.Duration `placeholder:"TIME" help:"${help_timeout}"`

	settings      `embed:""`
	sendmailFlags `embed:""`
}

// Help is the long part of the help text.
func (*sendCmd) Help() string {
	return `
Sends the message as it is, header and body, with the line ends of SMTP. Prints nothing
if every recipient was accepted, else a line on standard error for each recipient who
was not. Always reports development mode, and names in the configuration that look
misspelt.

Flags override the environment (POSTRIDER_MTA_SMTP_HOST and so on), which
overrides the configuration file. See docs/program.md.

Examples:

  postrider send -f anne@example.com bart@example.com < message.eml
  postrider send -C /etc/mailman3/mailman.cfg -t --message message.eml
  postrider send --server smtp.example.com:587 --mode starttls --user app \
      --password-file ~/.smtp-password -v -t < message.eml
  postrider send --redirect me@example.com --dry-run --json -t < message.eml
` + exitTable
}

// Validate finds what is wrong with the command line itself.
func (c *sendCmd) Validate() error {
	if err := c.sendmailFlags.validate(); err != nil {
		return err
	}
	switch {
	case c.Header && len(c.To) > 0:
		return errors.New("-t takes the recipients from the message: name no recipient on the command line")
	case !c.Header && len(c.To) == 0:
		return errors.New("no recipient: name one, or take the recipients from the message with -t")
	case c.Timeout < 0:
		return errors.New("--timeout: use a positive time")
	}
	if !slices.Contains([]string{"", "FULL", "HDRS"}, strings.ToUpper(c.Return)) {
		return fmt.Errorf("-R %s: use full or hdrs", c.Return)
	}
	_, err := c.deliverBy()
	switch {
	case c.HoldFor < 0:
		err = errors.New("--hold-for: use a positive time")
	case c.Priority < -9 || c.Priority > 9:
		err = errors.New("--priority: use a number from -9 to 9")
	}
	return errors.Join(err, c.validateNotify(), c.settings.Validate())
}

// deliverBy reads --deliver-by.
func (c *sendCmd) deliverBy() (by postrider.DeliverBy, err error) {
	if c.DeliverBy == "" {
		return by, nil
	}
	word, mode, found := strings.Cut(c.DeliverBy, ",")
	by.Within, err = time.ParseDuration(word)
	by.OrReturn = found
	if err != nil || by.Within <= 0 || found && mode != "return" {
		err = fmt.Errorf("--deliver-by %s: use a time, like 30m, or a time and return, like 30m,return", c.DeliverBy)
	}
	return by, err
}

// validateNotify is RFC 3461 §4.1.
func (c *sendCmd) validateNotify() error {
	if c.Notify == "" || strings.EqualFold(c.Notify, "never") {
		return nil
	}
	for word := range strings.SplitSeq(strings.ToUpper(c.Notify), ",") {
		if !slices.Contains([]string{"SUCCESS", "FAILURE", "DELAY"}, word) {
			return fmt.Errorf("-N %s: use never, or some of success,failure,delay", c.Notify)
		}
	}
	return nil
}

// Run sends the message and reports.
func (c *sendCmd) Run(ctx context.Context, std streams) error {
	if c.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, c.Timeout, timeoutError(c.Timeout))
		defer cancel()
	}
	r := &report{dryRun: c.DryRun}
	r.err = c.send(ctx, std, r)
	if r.dryRun && errors.Is(r.err, errNowhere) {
		r.err = nil // it came as far as it should
		if n := r.result.Count(postrider.Refused); n > 0 {
			r.err = fail(exitData, fmt.Errorf("wrong addresses: %d", n))
		}
	}
	return r.print(std, c.JSON)
}

// timeoutError is why everything ends when the time of --timeout is over.
func timeoutError(after time.Duration) error {
	return fmt.Errorf("gave up after --timeout %v: %w", after, context.DeadlineExceeded)
}

// send does the work and fills in the report as far as it comes.
func (c *sendCmd) send(ctx context.Context, std streams, r *report) error {
	route, err := c.settings.load(ctx)
	r.route = route
	if route != nil && !c.JSON {
		route.announce(std, c.Verbose || c.DryRun, err)
	}
	if err != nil {
		return err
	}
	in, err := c.open(ctx, std)
	if err != nil {
		return err
	}
	defer in.discard()
	r.size = in.size
	r.message = &postrider.Message{
		From: c.sender(&route.cfg), To: c.To, Content: in.content,
		DSN:     postrider.DSN{Return: strings.ToUpper(c.Return), EnvelopeID: c.EnvID},
		HoldFor: c.HoldFor, Priority: c.Priority,
	}
	r.message.DeliverBy, _ = c.deliverBy() // Validate has read it
	if c.Header {
		r.message.To = in.recipients
	}
	if c.Notify != "" {
		each := []postrider.RecipientOptions{{Notify: strings.ToUpper(c.Notify)}}
		r.message.Options = slices.Repeat(each, len(r.message.To))
	}
	return c.hand(ctx, std, r)
}

// hand hands the message over.
func (c *sendCmd) hand(ctx context.Context, std streams, r *report) error {
	var trace *postrider.Trace
	if c.Verbose && !c.DryRun {
		trace = newDialogue(std.err)
	}
	pool, err := r.route.newPool(trace, c.DryRun)
	if err != nil {
		return err
	}
	r.result, err = pool.Send(ctx, r.message)
	leave(ctx, pool, err)
	return err
}

// open opens the message, from where the flags say it is.
func (c *sendCmd) open(ctx context.Context, std streams) (*input, error) {
	if c.Message != "" && c.Message != "-" {
		return openFile(ctx, c.Message, c.Header)
	}
	if terminal(std.in) && terminal(std.err) {
		std.warn("reading the message from the terminal; end it with Ctrl-D")
	}
	return openReader(ctx, std.in, c.Header)
}

// sender is the envelope's sender: that of -f, else user@host, like sendmail's. The field From has no say: it names who
// wrote the message, and not who wants its bounces.
func (c *sendCmd) sender(cfg *postrider.Config) string {
	if from := cmp.Or(c.Sender, c.OldSender); from != nil {
		if *from == "<>" {
			return ""
		}
		return *from
	}
	host := cfg.LocalName
	if host == "" || host[0] == '[' {
		host, _ = os.Hostname()
	}
	return userName() + "@" + cmp.Or(host, "localhost")
}

func userName() string {
	name := cmp.Or(os.Getenv("LOGNAME"), os.Getenv("USER"))
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	// On Windows it is DOMAIN\name.
	name = name[strings.LastIndexByte(name, '\\')+1:]
	return cmp.Or(name, "nobody")
}
