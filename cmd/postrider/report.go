package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/text"
)

// report is what is known in the end; what was not reached is nil.
type report struct {
	dryRun  bool
	route   *route
	message *postrider.Message
	size    int64
	result  *postrider.Result
	err     error
}

// print prints the report, and returns the error for the exit status.
func (r *report) print(std streams, asJSON bool) error {
	code := exitCode(r.result, r.err)
	if asJSON {
		if err := r.printJSON(std, code); err != nil {
			return err
		}
	} else {
		r.printLines(std)
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

// printLines has a line for each recipient that was not accepted, and then what went wrong as a whole.
func (r *report) printLines(std streams) {
	if r.dryRun && r.result != nil {
		r.printPlan(std)
		return
	}
	if r.result != nil {
		for _, o := range r.result.Outcomes {
			if o.State != postrider.Accepted {
				std.warn("%s", r.line(o))
			}
		}
		for _, t := range r.result.Transactions {
			if len(t.LeftOut) > 0 {
				std.warn("the server does not offer %s: it was not asked for that", strings.Join(t.LeftOut, ", "))
				break
			}
		}
	}
	if r.err != nil && !r.allRefused() {
		std.warn("%s", words(r.err))
	}
}

// allRefused reports that the error only repeats what the recipients' lines say.
func (r *report) allRefused() bool {
	return r.result != nil && r.result.Count(postrider.Untried)+r.result.Count(postrider.Unknown) == 0 &&
		r.result.Count(postrider.Refused) == len(r.result.Outcomes)
}

// line is about one recipient. The reason for which the Send as a whole failed is not repeated for each.
func (r *report) line(o postrider.Outcome) string {
	s := fmt.Sprintf("%s: %s", text.Printable(o.Recipient), o.State)
	switch {
	case o.State == postrider.Unknown:
		return s + ": the message was handed over, but no answer came; it may or may not arrive"
	case o.State == postrider.Untried && r.err != nil:
		return s
	case o.Reply.Code != 0:
		return s + ": " + o.Reply.String()
	case o.Err != nil:
		return s + ": " + text.Printable(words(o.Err))
	}
	return s
}

// printPlan is the outcome of --dry-run.
func (r *report) printPlan(std streams) {
	fmt.Fprintln(std.out, "dry run: nothing was sent")
	fmt.Fprintf(std.out, "server:  %s\n", r.route.describe())
	fmt.Fprintf(std.out, "sender:  <%s>\n", text.Printable(r.message.From))
	fmt.Fprintf(std.out, "message: %d octets\n", r.size)
	for _, o := range r.result.Outcomes {
		verdict := ""
		if o.State == postrider.Refused {
			verdict = ": " + o.Err.Error()
		}
		fmt.Fprintf(std.out, "to:      <%s>%s\n", text.Printable(o.Recipient), verdict)
	}
	if r.err != nil {
		std.warn("%s", words(r.err))
	}
}

// The shapes of --json. Names are lower case with underscores, and what does not
// apply is left out.
type (
	jsonReport struct {
		DryRun       bool              `json:"dry_run,omitempty"`
		Server       string            `json:"server,omitempty"`
		Mode         string            `json:"mode,omitempty"`
		From         *string           `json:"from,omitempty"` // "" is a sender
		RedirectedTo string            `json:"redirected_to,omitempty"`
		Octets       int64             `json:"octets,omitempty"`
		Outcomes     []jsonOutcome     `json:"outcomes"`
		Transactions []jsonTransaction `json:"transactions"`
		Warnings     []string          `json:"warnings,omitempty"`
		Error        *jsonError        `json:"error"`
		ExitCode     int               `json:"exit_code"`
	}
	jsonOutcome struct {
		Recipient string `json:"recipient"`
		State     string `json:"state"`
		Stage     string `json:"stage"`
		jsonReply
		Error string `json:"error,omitempty"`
	}
	jsonTransaction struct {
		Wire       int `json:"wire"`
		Recipients int `json:"recipients"`
		jsonReply
		LeftOut []string `json:"left_out,omitempty"`
	}
	jsonReply struct {
		Code     int    `json:"code,omitempty"`
		Enhanced string `json:"enhanced,omitempty"`
		Reply    string `json:"reply,omitempty"`
	}
	jsonError struct {
		Message   string `json:"message"`
		Stage     string `json:"stage,omitempty"`
		Step      string `json:"step,omitempty"`
		Hint      string `json:"hint,omitempty"`
		Temporary bool   `json:"temporary"`
		Unknown   bool   `json:"unknown,omitempty"`
		jsonReply
	}
)

func replyJSON(r postrider.Reply) jsonReply {
	return jsonReply{r.Code, r.Enhanced.String(), r.Text}
}

func (r *report) printJSON(std streams, code int) error {
	j := jsonReport{
		DryRun: r.dryRun, Octets: r.size, Outcomes: []jsonOutcome{}, Transactions: []jsonTransaction{},
		Error: errorJSON(r.err), ExitCode: code,
	}
	if r.route != nil {
		j.Server, j.RedirectedTo = r.route.addresses(), r.route.redirected
		for _, w := range r.route.warnings {
			j.Warnings = append(j.Warnings, w.Error())
		}
		if j.Server != "" {
			j.Mode = r.route.cfg.Mode.String()
		}
	}
	if r.message != nil {
		j.From = &r.message.From
	}
	if r.result != nil {
		for _, o := range r.result.Outcomes {
			j.Outcomes = append(j.Outcomes, outcomeJSON(o))
		}
		for _, t := range r.result.Transactions {
			told := jsonTransaction{t.Wire, t.Recipients, replyJSON(t.Reply), t.LeftOut}
			j.Transactions = append(j.Transactions, told)
		}
	}
	return writeJSON(std.out, j)
}

// writeJSON writes an object as a person can read it, too.
func writeJSON(w io.Writer, object any) error { return writeEncoded(w, object, "  ") }

// writeJSONLine writes an object on a line of its own.
func writeJSONLine(w io.Writer, object any) error { return writeEncoded(w, object, "") }

// writeEncoded is how this program prints JSON.
func writeEncoded(w io.Writer, object any, indent string) error {
	encoded, err := text.JSON(object, indent)
	if err == nil {
		_, err = w.Write(append(encoded, '\n'))
	}
	return err
}

func outcomeJSON(o postrider.Outcome) jsonOutcome {
	j := jsonOutcome{
		Recipient: o.Recipient, State: o.State.String(), Stage: o.Stage.String(), jsonReply: replyJSON(o.Reply),
	}
	if o.Err != nil && !errors.Is(o.Err, errNowhere) {
		j.Error = words(o.Err)
	}
	return j
}

func errorJSON(err error) *jsonError {
	if err == nil {
		return nil
	}
	j := &jsonError{Message: strings.TrimSpace(words(err)), Temporary: interrupted(err)}
	var e *postrider.Error
	if errors.As(err, &e) {
		j.Stage, j.Step, j.Hint = e.Stage.String(), string(e.Step), e.Hint.In(setting)
		j.Temporary, j.Unknown = e.Temporary(), e.Unknown
		j.jsonReply = replyJSON(e.Reply)
	}
	return j
}
