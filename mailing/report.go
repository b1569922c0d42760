package mailing

import (
	"encoding/csv"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/text"
)

// Report is what became of a mailing.
type Report struct {
	// Message is what was delivered.
	Message *postrider.Message

	// Outcomes has exactly one entry for each recipient of Message.To, in that order: that of the last try.
	Outcomes []postrider.Outcome

	// Sends is how many messages were handed to the Sender, retries included.
	Sends int

	// Took is how long it took.
	Took time.Duration

	known        []bool // which Outcomes are entered
	transactions []postrider.Transaction
}

// enter sets an outcome, with the caller's address of the recipient. A place that the message does not have is a fault
// of the plan, and is ignored. An Unknown recipient stays so if a later try did not reach a server: the doubt is about
// the earlier one.
func (r *Report) enter(i int, o *postrider.Outcome) {
	if i < 0 || i >= len(r.Outcomes) {
		return
	}
	unsent := o.State == postrider.Untried || o.Stage == postrider.StageLocal
	if r.known[i] && r.Outcomes[i].State == postrider.Unknown && unsent {
		return
	}
	r.Outcomes[i] = *o
	r.Outcomes[i].Recipient, r.known[i] = r.Message.To[i], true
}

// untried enters the same reason for every recipient.
func (r *Report) untried(err error) {
	for i := range r.Outcomes {
		r.enter(i, &postrider.Outcome{State: postrider.Untried, Stage: postrider.StageLocal, Err: err})
	}
}

// Count returns how many recipients have the state.
func (r *Report) Count(s postrider.State) (n int) {
	for i := range r.Outcomes {
		if r.Outcomes[i].State == s {
			n++
		}
	}
	return n
}

// Failed returns the outcomes of recipients who were not accepted, in order.
func (r *Report) Failed() []postrider.Outcome {
	accepted := func(o postrider.Outcome) bool { return o.State == postrider.Accepted }
	return slices.DeleteFunc(slices.Clone(r.Outcomes), accepted)
}

// Failure is a kind of failure, and how many recipients had it.
type Failure struct {
	State    postrider.State
	Stage    postrider.Stage
	Code     int                    // of the reply; 0 without one
	Enhanced postrider.EnhancedCode // of the reply
	Count    int                    // of recipients
	Example  postrider.Outcome      // of the first of them, with the server's words
}

// Failures counts the recipients who were not accepted by kind of failure, the most frequent kind first.
func (r *Report) Failures() []Failure {
	type kind struct {
		state    postrider.State
		stage    postrider.Stage
		code     int
		enhanced postrider.EnhancedCode
	}
	var all []Failure
	place := map[kind]int{}
	for _, o := range r.Outcomes {
		if o.State == postrider.Accepted {
			continue
		}
		k := kind{o.State, o.Stage, o.Reply.Code, o.Reply.Enhanced}
		i, ok := place[k]
		if !ok {
			i = len(all)
			place[k] = i
			all = append(all, Failure{
				State: o.State, Stage: o.Stage, Code: o.Reply.Code, Enhanced: o.Reply.Enhanced, Example: o,
			})
		}
		all[i].Count++
	}
	slices.SortStableFunc(all, func(a, b Failure) int { return b.Count - a.Count })
	return all
}

// WriteTable writes a line for each recipient as comma-separated values (RFC 4180):
// recipient, state, stage, code, enhanced, text, under a line of these names.
//
// Spreadsheets calculate cells that begin with one of = + - @, a tab or a CR, and servers and lists can say what they
// like. So such a cell gets an apostrophe before it, and so does one that begins with an apostrophe: to read a cell,
// remove one apostrophe from its beginning. The address is not changed otherwise; the text has its control characters
// escaped.
func (r *Report) WriteTable(w io.Writer) error {
	table := csv.NewWriter(w)
	_ = table.Write([]string{"recipient", "state", "stage", "code", "enhanced", "text"}) // Error reports
	for i := range r.Outcomes {
		o := &r.Outcomes[i]
		code := ""
		if o.Reply.Code != 0 {
			code = strconv.Itoa(o.Reply.Code)
		}
		_ = table.Write([]string{
			cell(o.Recipient), o.State.String(), o.Stage.String(), code, o.Reply.Enhanced.String(), cell(reason(o)),
		})
	}
	table.Flush()
	return table.Error()
}

// cell keeps a spreadsheet from taking a text for a formula (CSV injection).
func cell(s string) string {
	first, _ := utf8.DecodeRuneInString(s)
	const formula = "=+-@\t\r\n'\uff1d\uff0b\uff0d\uff20" // the last four are = + - @ in full width
	if s != "" && strings.ContainsRune(formula, first) {
		return "'" + s
	}
	return s
}

// reason is the server's reply, or our error, on one line.
func reason(o *postrider.Outcome) string {
	switch {
	case o.Reply.Code != 0:
		return text.Lines(o.Reply.Text)
	case o.Err != nil:
		return text.Words(strings.TrimPrefix(o.Err.Error(), "postrider: "))
	}
	return ""
}
