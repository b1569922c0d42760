package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/text"
	"github.com/postrider/postrider/mailing"
)

// mailCmd is postrider mail.
type mailCmd struct {
	Recipients string  `arg:"" name:"recipients" help:"${help_recipients}"`
	Format     string  `placeholder:"plain|csv|jsonl" help:"${help_format}"`
	Sender     *string `short:"f" name:"from" placeholder:"ADDRESS" help:"${help_sender}"`

	Encoding string `placeholder:"NAME" help:"${help_encoding}"`

	mailText `embed:""`
	mailPlan `embed:""`

	Suppress       string `placeholder:"FILE" help:"${help_suppress}"`
	KeepDuplicates bool   `help:"Send to an address as often as it is listed."`

	Concurrency int           `default:"64" placeholder:"N" help:"${help_concurrency} Default: ${default}."`
	Retry       time.Duration `placeholder:"TIME" help:"${help_retry}"`
	Drain       time.Duration `default:"30s" placeholder:"TIME" help:"${help_drain} Default: ${default}."`

	Journal   string `placeholder:"FILE" help:"${help_journal}"`
	NoJournal bool   `help:"Keep no journal: the same command sends to all recipients again."`
	Unknown   string `default:"ask" enum:"ask,resend,skip" placeholder:"ask|resend|skip" help:"${help_unknown}"`

	DryRun  bool   `help:"${help_dry_run}"`
	Preview string `placeholder:"DIR" help:"Write the first messages to DIR as .eml, and send nothing."`
	First   int    `default:"3" placeholder:"N" help:"Let --dry-run and --preview show N messages. Default: 3."`
	Table   string `placeholder:"FILE" help:"Write what became of each recipient to FILE, as CSV."`
	Log     string `placeholder:"FILE" help:"Append to FILE the lines that Mailman writes to its smtp.log."`
	JSON    bool   `help:"Print the result as one JSON object."`

	Force []string `sep:"none" placeholder:"FILE" help:"${help_force}"`

	settings `embed:""`
}

// Help is the long part of the help text.
func (*mailCmd) Help() string {
	return `
Recipients share the message, in chunks, unless a flag makes each message different:
then each recipient gets one of its own. Wrong addresses, duplicates and suppressed
recipients are reported before anything is sent.

A journal on disk records each recipient before the message is sent, and the outcome
afterwards. After a crash or Ctrl-C, run the same command again: it sends to exactly
those recipients who still need the message. If no answer came for some, it asks what
to do with them, because they may have got it.

Every output file is opened before anything is sent. A file that postrider may not
have written is overwritten only if --force names it; an input file never is.

In templates, {{.name}} is the recipient's name, and every other column or member of
the file has its own name. If a recipient lacks one, nothing is sent.

Examples:

  postrider mail -f bounces@example.com --message news.eml readers.txt
  postrider mail -f bounces@example.com --message news.eml --verp --personal \
      --list-id news.example.com --one-click \
      --unsubscribe 'https://example.com/leave?who={{urlquery .address}}' readers.csv
  postrider mail -f office@example.com --field 'From: Office <office@example.com>' \
      --subject '{{.name}}, your ticket' --text ticket.txt --html ticket.html \
      --dry-run guests.csv
` + exitTable
}

// Validate finds what is wrong with the command line itself.
func (c *mailCmd) Validate() error {
	switch {
	case c.Format != "" && c.Format != "plain" && c.Format != "csv" && c.Format != "jsonl":
		return fmt.Errorf("--format %s: unknown format; use plain, csv or jsonl", c.Format)
	case c.Concurrency < 1 || c.Retry < 0 || c.Drain < 0 || c.First < 0:
		return errors.New("--concurrency: use a number from 1; --retry, --drain and --first: do not use a negative one")
	case c.Journal != "" && c.NoJournal:
		return errors.New("--journal and --no-journal: use only one of them")
	case c.Encoding != "":
		if err := text.CheckEncoding(c.Encoding); err != nil {
			return fmt.Errorf("--encoding: %w", err)
		}
	}
	return errors.Join(c.mailText.validate(), c.mailPlan.validate(), c.settings.Validate())
}

// Run sends the mailing and reports.
func (c *mailCmd) Run(ctx context.Context, std streams) error {
	r := &mailReport{cmd: c, out: newOutputs(std, c.Force)}
	defer r.out.close()
	r.err = c.mail(ctx, std, r)
	return r.print(std)
}

// mail does the work and fills in the report as far as it comes.
func (c *mailCmd) mail(ctx context.Context, std streams, r *mailReport) error {
	route, err := c.settings.load(ctx)
	r.route = route
	if route != nil && !c.JSON {
		route.announce(std, c.DryRun, err)
	}
	if err != nil {
		return err
	}
	if r.journal, err = c.journalName(); err != nil {
		return err
	}
	c.inputs(r)
	if err := c.readPeople(r); err != nil {
		return err
	}
	if !c.JSON {
		r.announceSkipped(std)
	}
	if len(r.people) == 0 {
		return fail(exitData, errors.New("no recipient is left: all were skipped"))
	}
	files, err := c.readTexts()
	if err != nil {
		return err
	}
	r.from = senderAddress(c.Sender, &route.cfg)
	if err := checkSender(ctx, r.from); err != nil {
		return err
	}
	if c.DryRun || c.Preview != "" {
		return c.show(std, r, files)
	}
	if err := c.openOutputs(r); err != nil {
		return err
	}
	if err := c.openJournal(std, r, files); err != nil {
		return errors.Join(err, r.closeLog())
	}
	defer r.book.close()
	return errors.Join(c.deliver(ctx, std, r, files), r.closeLog())
}

// readPeople reads the recipients, and takes out those who are skipped.
func (c *mailCmd) readPeople(r *mailReport) error {
	f, err := c.openText(c.Recipients)
	if err != nil {
		return err
	}
	defer f.Close()
	format := mailing.Format(c.Format)
	if format == "" {
		format = mailing.FormatOf(c.Recipients)
	}
	all, err := mailing.ReadRecipients(f, format)
	if err != nil {
		return fail(exitData, c.wrongText(c.Recipients, err))
	}
	r.list, r.skipped = mailing.Hygiene{KeepDuplicates: c.KeepDuplicates}.Clean(all)
	return c.suppress(r)
}

// suppress takes out the recipients in the suppression list. They keep their places in the journal: a recipient who
// leaves a list while it is being sent to does not make it another mailing.
func (c *mailCmd) suppress(r *mailReport) error {
	list := &mailing.Suppression{}
	if c.Suppress != "" {
		f, err := c.openText(c.Suppress)
		if err != nil {
			return err
		}
		defer f.Close()
		if list, err = mailing.ReadSuppression(f); err != nil {
			return fail(exitData, c.wrongText(c.Suppress, err))
		}
	}
	people, skipped := mailing.Hygiene{Suppressed: list, KeepDuplicates: true}.Clean(r.list)
	r.people, r.skipped = people, append(r.skipped, skipped...)
	for i := range r.list {
		if len(skipped) > 0 && skipped[0].Index == i {
			skipped = skipped[1:]
		} else {
			r.places = append(r.places, i)
		}
	}
	return nil
}

// inputs enters what is read: no output takes its place.
func (c *mailCmd) inputs(r *mailReport) {
	r.out.reading("the file of recipients", c.Recipients)
	r.out.reading("--suppress", c.Suppress)
	r.out.reading("--message", c.Message)
	r.out.reading("--text", c.Text)
	r.out.reading("--html", c.HTML)
	r.out.reading("--dkim-key", c.DKIMKey)
	c.settings.inputs(r.out, r.route)
}

// openOutputs opens what is written in the end, while nothing is sent yet.
func (c *mailCmd) openOutputs(r *mailReport) (err error) {
	if c.Table != "" {
		if r.table, err = r.out.open(&output{flag: "--table", name: c.Table, mode: 0o666, ours: isTable}); err != nil {
			return err
		}
	}
	if c.Log != "" {
		r.log, err = r.out.append("--log", c.Log)
	}
	return err
}

// journalName is where the journal is, if there is one. It is beside the recipients
// only if those are in a file that is the same one next time.
func (c *mailCmd) journalName() (string, error) {
	switch {
	case c.NoJournal || c.DryRun || c.Preview != "":
		return "", nil
	case c.Journal != "":
		return c.Journal, nil
	}
	info, err := os.Stat(c.Recipients)
	if err == nil && !info.IsDir() && !info.Mode().IsRegular() || ofProcess(c.Recipients) {
		return "", fail(exitUsage, fmt.Errorf("the recipients come from %s, "+
			"and the next run could not find a journal beside that: name one with --journal, or use --no-journal",
			c.Recipients))
	}
	return c.Recipients + ".journal", nil
}

// ofProcess reports a name that leads elsewhere in every process, such as /dev/stdin.
func ofProcess(name string) bool {
	path, err := filepath.Abs(name)
	return err == nil && (strings.HasPrefix(path, "/dev/") || strings.HasPrefix(path, "/proc/"))
}

// openJournal opens the journal, and finds out who still needs the message. A mailing that cannot be made leaves no
// journal behind: it will be another when it is mended.
func (c *mailCmd) openJournal(std streams, r *mailReport, text *mailTextFiles) (err error) {
	created := time.Now()
	r.book = newBook(len(r.list), created)
	info, err := os.Stat(r.journal)
	if r.journal == "" || errors.Is(err, fs.ErrNotExist) {
		if r.ready, err = c.prepare(r.from, r.people, text, created); err != nil {
			return err
		}
	} else if err == nil {
		if err := r.out.take("--journal", r.journal, info, writes); err != nil {
			return err
		}
	}
	if r.journal != "" {
		if err := r.book.keep(r.journal, c.identity(r, text), info != nil && r.out.forced(info)); err != nil {
			return err
		}
	}
	if err := c.decideUnknown(std, r); err != nil {
		r.outcomes = r.book.of(r.places)
		return errors.Join(err, r.book.close())
	}
	return nil
}

// prepared is a message, and the parts of its plan, with all checks done.
type prepared struct {
	message *postrider.Message
	parts   iter.Seq[mailing.Part]
}

func (c *mailCmd) prepare(
	from string, people []mailing.Recipient, text *mailTextFiles, created time.Time,
) (*prepared, error) {
	m, plan, err := c.plan(from, people, text, created)
	if err != nil {
		return nil, err
	}
	parts, err := plan(m)
	if err != nil {
		return nil, fail(exitData, err)
	}
	return &prepared{m, parts}, nil
}

// deliver sends to those who still need the message.
func (c *mailCmd) deliver(ctx context.Context, std streams, r *mailReport, text *mailTextFiles) (err error) {
	r.outcomes = r.book.of(r.places)
	var people []mailing.Recipient
	var owed, places []int // of people: among r.people, and in the journal
	for i, at := range r.places {
		if r.book.open[at] {
			people, owed, places = append(people, r.people[i]), append(owed, i), append(places, at)
		}
	}
	r.earlier = len(r.people) - len(owed)
	if len(owed) == 0 {
		return nil
	}
	if r.ready == nil || r.earlier > 0 {
		if r.ready, err = c.prepare(r.from, people, text, r.book.created); err != nil {
			return err
		}
	}
	pace := r.route.pool.MessageRate
	r.route.pool.MessageRate = 0 // the wait for it comes before the journal's note that a message is about to be sent
	pool, err := r.route.newPool(nil, false)
	if err != nil {
		return err
	}
	defer leave(context.WithoutCancel(ctx), pool, nil)
	d := c.delivery(r, places, pace)
	wipe := r.book.tally.follow(std.err, len(owed))
	report, err := d.Deliver(ctx, pool, r.ready.message)
	wipe()
	r.sends, r.took = r.book.tally.sends, report.Took
	for i := range report.Outcomes {
		r.outcomes[owed[i]] = r.book.doubted(places[i], report.Outcomes[i])
	}
	if failed := r.book.close(); failed != nil {
		err = errors.Join(err, fail(exitCantCreate, fmt.Errorf("the journal: %w", failed)))
	}
	return err
}

// delivery is how the mailing is sent. Its hooks keep the journal: what is about to happen is on disk before it does,
// and the outcome is written afterwards.
func (c *mailCmd) delivery(r *mailReport, places []int, pace float64) *mailing.Delivery {
	limiter := rate.NewLimiter(rate.Inf, 0)
	if pace > 0 {
		limiter = rate.NewLimiter(rate.Limit(pace), 1)
	}
	d := &mailing.Delivery{
		Plan: func(*postrider.Message) (iter.Seq[mailing.Part], error) { return r.ready.parts, nil },

		Concurrency: c.Concurrency, Drain: c.Drain, Retry: mailing.Retry{For: c.Retry},
		Before: func(ctx context.Context, a *mailing.Attempt) error {
			if err := limiter.Wait(ctx); err != nil {
				return context.Cause(ctx)
			}
			return r.book.before(a, places)
		},
		After: func(a *mailing.Attempt) { r.book.after(a, places) },
	}
	if r.log != nil {
		d.Log = mailing.Log{Writer: r.log, ListName: c.ListID}
	}
	return d
}

// checkSender refuses a sender that no message could have, before any is made.
func checkSender(ctx context.Context, from string) error {
	if from == "" {
		return nil
	}
	if err := postrider.CheckAddress(from); err != nil {
		return fail(exitData, fmt.Errorf("the sender %q (-f) is no address: %w", from, err))
	}
	return nil
}

// senderAddress is the envelope's sender: that of -f, else user@host.
func senderAddress(from *string, cfg *postrider.Config) string {
	return strings.TrimSpace((&sendCmd{Sender: from}).sender(cfg))
}
