package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/text"
	"github.com/postrider/postrider/mailing"
)

// mailReport is what is known in the end; what was not reached is empty.
type mailReport struct {
	cmd      *mailCmd
	route    *route
	out      *outputs
	journal  string   // its name; "": none
	table    *output  // nil: none
	log      *os.File // nil: none
	from     string
	list     []mailing.Recipient // whom the journal knows, by their places
	people   []mailing.Recipient // of them, those who are not skipped
	places   []int               // of people, in list
	skipped  []mailing.Skipped
	ready    *prepared // nil: the messages are not made yet
	book     *book
	outcomes []postrider.Outcome // of people, earlier runs included; nil if nothing was to be sent
	earlier  int                 // of people: settled before this run
	sends    int
	took     time.Duration
	told     bool // everything is printed already
	err      error
}

// shownSkipped is how many skipped recipients are printed; JSON has all.
const shownSkipped = 20

// announceSkipped prints, before anything is sent, which recipients are skipped, and why.
func (r *mailReport) announceSkipped(std streams) {
	for i, s := range r.skipped {
		if i == shownSkipped {
			std.warn("skipped: %d more", len(r.skipped)-i)
			break
		}
		std.warn("skipped: %s", s)
	}
}

// report is the outcomes as the library has them.
func (r *mailReport) report() *mailing.Report {
	for i := range r.outcomes {
		r.outcomes[i].Recipient = r.people[i].Address
	}
	return &mailing.Report{Outcomes: r.outcomes}
}

// print prints the report, writes the table, and returns the error for the exit status.
func (r *mailReport) print(std streams) error {
	report := r.report()
	var result *postrider.Result
	if r.outcomes != nil {
		result = &postrider.Result{Outcomes: report.Outcomes}
	}
	if r.table != nil && result != nil {
		if err := r.table.write(report.WriteTable); err != nil {
			r.err = errors.Join(r.err, fail(exitCantCreate, err))
		}
	}
	code := exitCode(result, r.err)
	if code == exitOK && r.err != nil {
		code = errorCode(r.err)
	}
	switch {
	case r.told:
	case r.cmd.JSON:
		if err := writeJSON(std.out, r.json(report, code)); err != nil {
			return err
		}
	default:
		r.printLines(std, report)
	}
	if code == exitOK {
		return nil
	}
	told := r.err
	if told == nil {
		told = errors.New("not every recipient was accepted")
	}
	return &toldError{code, told}
}

// isTable recognizes a table of ours by its line of names.
func isTable(text []byte) bool {
	var names bytes.Buffer
	_ = new(mailing.Report).WriteTable(&names) // that cannot fail
	return bytes.HasPrefix(text, names.Bytes())
}

// closeLog closes it, if there is one.
func (r *mailReport) closeLog() error {
	if r.log == nil {
		return nil
	}
	if err := r.log.Close(); err != nil {
		return fail(exitCantCreate, err)
	}
	return nil
}

// states are all, the good one first.
var states = []postrider.State{
	postrider.Accepted, postrider.Deferred, postrider.Refused, postrider.Untried, postrider.Unknown,
}

// printLines has the figures on standard output, and on standard error what went
// wrong.
func (r *mailReport) printLines(std streams, report *mailing.Report) {
	if r.outcomes != nil {
		fmt.Fprintf(std.out, "recipients: %d", len(r.people))
		if n := len(r.skipped); n > 0 {
			fmt.Fprintf(std.out, " (and %d skipped)", n)
		}
		if r.earlier > 0 {
			fmt.Fprintf(std.out, ", settled before this run: %d", r.earlier)
		}
		fmt.Fprintln(std.out)
		for _, s := range states {
			if n := report.Count(s); n > 0 {
				fmt.Fprintf(std.out, "%s: %d\n", s, n)
			}
		}
		for _, f := range report.Failures() {
			fmt.Fprintf(std.out, "%6d %s at %s%s, first %s\n",
				f.Count, f.State, f.Stage, why(&f.Example), text.Printable(f.Example.Recipient))
		}
		if r.sends > 0 {
			fmt.Fprintf(std.out, "messages sent: %d in %v, %.0f a second\n",
				r.sends, r.took.Round(time.Millisecond), float64(r.sends)/r.took.Seconds())
		}
	}
	if r.err != nil {
		std.warn("%s", words(r.err))
	}
	if n := r.left(report); n > 0 && !r.cmd.NoJournal {
		std.warn("recipients who still need the message: %d. "+
			"Run the same command again to send to them, and to nobody else", n)
	}
}

// left is how many recipients the same command would send to again.
func (r *mailReport) left(report *mailing.Report) (n int) {
	for _, o := range report.Outcomes {
		if mailing.Temporary(o) {
			n++
		}
	}
	return n
}

// why is the reason of a failure, behind a colon.
func why(o *postrider.Outcome) string {
	switch {
	case o.Reply.Code != 0:
		return ": " + o.Reply.String()
	case o.Err != nil:
		return ": " + text.Printable(words(o.Err))
	}
	return ""
}

// The shapes of --json.
type (
	jsonMail struct {
		DryRun       bool           `json:"dry_run,omitempty"`
		Server       string         `json:"server,omitempty"`
		Mode         string         `json:"mode,omitempty"`
		From         *string        `json:"from,omitempty"`
		RedirectedTo string         `json:"redirected_to,omitempty"`
		Plan         string         `json:"plan,omitempty"`
		Messages     int            `json:"messages,omitempty"`
		Recipients   int            `json:"recipients"`
		Skipped      []jsonSkipped  `json:"skipped"`
		Earlier      int            `json:"settled_before"`
		Sends        int            `json:"sends"`
		Seconds      float64        `json:"seconds"`
		Counts       map[string]int `json:"outcomes,omitempty"`
		Failures     []jsonFailure  `json:"failures,omitempty"`
		Owed         int            `json:"owed"`
		Error        *jsonError     `json:"error"`
		ExitCode     int            `json:"exit_code"`
	}
	jsonSkipped struct {
		Recipient string `json:"recipient"`
		Reason    string `json:"reason"`
		Detail    string `json:"detail"`
	}
	jsonFailure struct {
		Count int         `json:"count"`
		First jsonOutcome `json:"first"`
	}
)

func (r *mailReport) json(report *mailing.Report, code int) *jsonMail {
	j := &jsonMail{
		Recipients: len(r.people), Skipped: []jsonSkipped{}, Earlier: r.earlier, Owed: r.left(report),
		Sends: r.sends, Seconds: r.took.Seconds(), Error: errorJSON(r.err), ExitCode: code,
	}
	if r.route != nil {
		j.Server, j.Mode, j.RedirectedTo = r.route.addresses(), r.route.cfg.Mode.String(), r.route.redirected
	}
	if r.people != nil {
		j.From = &r.from
	}
	for _, s := range r.skipped {
		j.Skipped = append(j.Skipped, jsonSkipped{s.Recipient.Address, string(s.Reason), s.Detail})
	}
	if r.outcomes != nil {
		j.Counts = map[string]int{}
		for s := postrider.Untried; s <= postrider.Unknown; s++ {
			j.Counts[s.String()] = report.Count(s)
		}
	}
	for _, f := range report.Failures() {
		j.Failures = append(j.Failures, jsonFailure{f.Count, outcomeJSON(f.Example)})
	}
	return j
}

// show is --dry-run and --preview: the plan, and its first messages.
func (c *mailCmd) show(std streams, r *mailReport, files *mailTextFiles) error {
	ready, err := c.prepare(r.from, r.people, files, time.Now())
	if err != nil {
		return err
	}
	shown, err := firstMessages(ready.parts, c.First)
	if err != nil {
		return fail(exitData, err)
	}
	if c.Preview != "" {
		if err := c.writePreview(std, r.out, shown.messages); err != nil {
			return err
		}
	}
	if c.DryRun && c.JSON {
		return c.showJSON(std, r, files, shown.count)
	}
	if c.DryRun {
		return c.showText(std, r, files, shown)
	}
	return nil
}

func (c *mailCmd) showText(std streams, r *mailReport, files *mailTextFiles, p preview) error {
	fmt.Fprintln(std.out, "dry run: nothing was sent")
	fmt.Fprintf(std.out, "server:     %s\n", r.route.describe())
	fmt.Fprintf(std.out, "sender:     <%s>\n", text.Printable(r.from))
	fmt.Fprintf(std.out, "recipients: %d, skipped %d\n", len(r.people), len(r.skipped))
	fmt.Fprintf(std.out, "plan:       %s, %d messages\n", c.kind(files), p.count)
	for i, m := range p.messages {
		fmt.Fprintf(std.out, "\nmessage %d from %s\n", i+1, envelope(m))
		octets, err := content(m)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(octets)) {
			fmt.Fprintf(std.out, "    %s\n", text.Printable(strings.TrimRight(line, "\r\n")))
		}
	}
	return nil
}

func (c *mailCmd) showJSON(std streams, r *mailReport, files *mailTextFiles, count int) error {
	j := r.json(r.report(), exitOK)
	j.DryRun, j.Plan, j.Messages = true, c.kind(files), count
	r.told = true
	return writeJSON(std.out, j)
}

// envelope is a message's sender and recipients.
func envelope(m *postrider.Message) string {
	return fmt.Sprintf("<%s> to <%s>", text.Printable(m.From), text.Printable(strings.Join(m.To, ">, <")))
}

func content(m *postrider.Message) ([]byte, error) {
	r, err := m.Content.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// writePreview writes messages as files. They are mail, and so nobody else's to read.
func (c *mailCmd) writePreview(std streams, o *outputs, first []*postrider.Message) error {
	if err := os.MkdirAll(c.Preview, 0o700); err != nil {
		return fail(exitCantCreate, err)
	}
	for i, m := range first {
		name := filepath.Join(c.Preview, fmt.Sprintf("%06d.eml", i+1))
		octets, err := content(m)
		if err != nil {
			return fail(exitCantCreate, err)
		}
		out, err := o.open(&output{flag: "--preview", name: name, mode: 0o600})
		if err != nil {
			return err
		}
		if err := out.write(func(w io.Writer) error { _, err := w.Write(octets); return err }); err != nil {
			return fail(exitCantCreate, err)
		}
		std.warn("%s: from %s", name, envelope(m))
	}
	return nil
}
