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
	To []string `arg:"" optional:"" name:"recipient" help:"Who shall get it: bare addresses, as in anne@example.com."`

	Message string  `placeholder:"FILE" help:"The message. Default: standard input."`
	Sender  *string `short:"f" name:"from" placeholder:"ADDRESS" help:"The envelope's sender, who gets the bounces; '<>' for nobody. Default: user@host, as sendmail has it."`
	Header  bool    `short:"t" name:"read-recipients" help:"Take the recipients from the fields To, Cc and Bcc of the message (Resent-To, Resent-Cc and Resent-Bcc if it has any of these), and remove Bcc and Resent-Bcc from what is sent."`

	Notify string `short:"N" placeholder:"WHEN" help:"Ask for delivery status notifications (DSN): never, or some of success,failure,delay."`
	Return string `short:"R" name:"ret" placeholder:"full|hdrs" help:"What of the message a notification returns."`
	EnvID  string `short:"V" name:"envid" placeholder:"ID" help:"An identifier that notifications repeat."`

	HoldFor   time.Duration `placeholder:"TIME" help:"Ask the server to hold the message for TIME before it delivers it (FUTURERELEASE)."`
	DeliverBy string        `placeholder:"TIME[,return]" help:"Ask for delivery within TIME, or else for a notice, with return for the message (DELIVERBY)."`
	Priority  int           `placeholder:"N" help:"Ask for a priority from -9 to 9, the most urgent (MT-PRIORITY)."`

	JSON    bool          `help:"Tell everything as one JSON object on standard output."`
	Verbose bool          `short:"v" help:"Show the dialogue with the server on standard error, without passwords and content."`
	DryRun  bool          `help:"Check everything and show what would be sent, but do not open a connection."`
	Timeout time.Duration `placeholder:"TIME" help:"Give up after so long, as in 30s or 5m. Default: never; each step has a limit of its own."`

	settings      `embed:""`
	sendmailFlags `embed:""`
}

// Help is the long part of the help text.
func (*sendCmd) Help() string {
	return `
The message is sent as it is, header and body, with the line ends of SMTP. Nothing
is printed if every recipient was accepted; else there is a line on standard error
for each who was not. Development mode is always told, and so is a name in the
configuration that looks misspelt.

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
		return errors.New("-t takes the recipients from the message: name none on the command line")
	case !c.Header && len(c.To) == 0:
		return errors.New("no recipient: name some, or take them from the message with -t")
	case c.Timeout < 0:
		return errors.New("--timeout: a time cannot be negative")
	}
	if !slices.Contains([]string{"", "FULL", "HDRS"}, strings.ToUpper(c.Return)) {
		return fmt.Errorf("-R %s: write full or hdrs", c.Return)
	}
	_, err := c.deliverBy()
	switch {
	case c.HoldFor < 0:
		err = errors.New("--hold-for: a time cannot be negative")
	case c.Priority < -9 || c.Priority > 9:
		err = errors.New("--priority: write a number from -9 to 9")
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
		err = fmt.Errorf("--deliver-by %s: write a time, as in 30m, or a time and return, as in 30m,return", c.DeliverBy)
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
			return fmt.Errorf("-N %s: write never, or some of success,failure,delay", c.Notify)
		}
	}
	return nil
}

// Run sends the message and reports.
func (c *sendCmd) Run(ctx context.Context, std streams) error {
	if c.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, c.Timeout, fmt.Errorf("gave up after --timeout %v: %w", c.Timeout, context.DeadlineExceeded))
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
		std.warn("reading the message from the terminal; it ends with Ctrl-D")
	}
	return openReader(ctx, std.in, c.Header)
}

// sender is the envelope's sender: what -f says, else user@host, as it is with
// sendmail. It is not taken from the field From, which says who wrote the message
// and not who wants its bounces.
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
