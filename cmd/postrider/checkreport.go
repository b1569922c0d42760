package main

import (
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/doctor"
)

// checkPage is the report for people: a line for each finding as it is made, and below it what it means and what to
// set.
type checkPage struct {
	w      io.Writer
	colour bool
	server string // not yet told
	err    error  // of writing
}

// colourful reports whether colours are wanted: on a terminal, by those who did not decline them
// (https://no-color.org).
func colourful(terminal bool, env func(string) string) bool {
	return terminal && env("NO_COLOR") == "" && env("TERM") != "dumb"
}

// withoutPort reports a server that was named, and whose port was not.
func withoutPort(server string) bool {
	if server == "" || strings.HasPrefix(server, "unix:") {
		return false
	}
	if _, err := netip.ParseAddr(strings.Trim(server, "[]")); err == nil {
		return true
	}
	return !strings.Contains(server, ":")
}

func (p *checkPage) printf(format string, args ...any) {
	if _, err := fmt.Fprintf(p.w, format, args...); err != nil && p.err == nil {
		p.err = err
	}
}

// colours are green, yellow and red, as SGR numbers.
var colours = map[doctor.Level]string{doctor.OK: "32", doctor.Warning: "33", doctor.Problem: "31;1"}

func (p *checkPage) finding(f doctor.Finding) {
	if p.server != "" {
		p.printf("Checking %s\n\n", p.server)
		p.server = ""
	}
	level := fmt.Sprintf("%-7s", f.Level)
	if p.colour {
		level = "\x1b[" + colours[f.Level] + "m" + level + "\x1b[0m"
	}
	p.printf("%s  %-14s  ", level, f.Check)
	for i, part := range wrap(f.Saw+took(f.Took), width-indent) {
		if i > 0 {
			p.printf("%*s", indent, "")
		}
		p.printf("%s\n", part)
	}
	for _, d := range f.Details {
		p.line("", d)
	}
	if f.Level == doctor.OK { // what is well needs no more words
		p.line("to use it: ", f.Set.In(setting))
		return
	}
	p.line("means: ", f.Means)
	p.line("to do: ", f.Set.In(setting))
}

// The width of a page, and the column where the lines of a finding begin.
const width, indent = 110, 25

// line is one beneath a finding, wrapped.
func (p *checkPage) line(label, text string) {
	if text == "" {
		return
	}
	lead := label
	for _, part := range wrap(text, width-indent-len(label)) {
		p.printf("%*s%s%s\n", indent, "", lead, part)
		lead = strings.Repeat(" ", len(label))
	}
}

// wrap cuts a text between words; a key of the configuration stays with its value.
func wrap(text string, width int) (lines []string) {
	line, whole := "", false
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(line)+1+len(word) > width && !whole {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
		whole = strings.Contains(word, "_") && strings.HasSuffix(word, ":")
	}
	return append(lines, line)
}

// took is how long the server took, in figures that say something.
func took(d time.Duration) string {
	switch {
	case d <= 0:
		return ""
	case d < 100*time.Millisecond:
		return fmt.Sprintf(" (%.1f ms)", d.Seconds()*1000)
	case d < 10*time.Second:
		return fmt.Sprintf(" (%.0f ms)", d.Seconds()*1000)
	}
	return fmt.Sprintf(" (%.0f s)", d.Seconds())
}

// end prints the result.
func (p *checkPage) end(r *doctor.Report) error {
	count := map[doctor.Level]int{}
	for _, f := range r.Findings {
		count[f.Level]++
	}
	p.printf("\n%s, %s.\n", number(count[doctor.Problem], "problem"), number(count[doctor.Warning], "warning"))
	if r.Advice == nil {
		p.printf("No working configuration was found: fix the problems above first.\n")
		return p.err
	}
	p.printf("\nRecommended: %s.\n\nIn mailman.cfg:\n\n%s\nAs flags:\n\n    %s\n",
		r.Advice.Why, indented(adviceLines(r.Advice)), adviceFlags(r.Advice))
	return p.err
}

func number(n int, noun string) string {
	switch n {
	case 0:
		return "no " + noun + "s"
	case 1:
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func indented(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n    ") + "\n"
}

// The shapes of check --json.
type (
	jsonCheck struct {
		Server      string        `json:"server"`
		Mode        string        `json:"mode"`
		Findings    []jsonFinding `json:"findings"`
		Recommended *jsonAdvice   `json:"recommended"`
		ExitCode    int           `json:"exit_code"`
	}
	jsonFinding struct {
		Check   string   `json:"check"`
		Stage   string   `json:"stage"`
		Level   string   `json:"level"`
		Saw     string   `json:"saw"`
		Details []string `json:"details,omitempty"`
		Means   string   `json:"means,omitempty"`
		Set     string   `json:"set,omitempty"`
		Took    float64  `json:"ms,omitempty"`
	}
	jsonAdvice struct {
		Why        string `json:"why"`
		MailmanCfg string `json:"mailman_cfg"`
		Flags      string `json:"flags"`
	}
)

func checkJSON(r *doctor.Report, code int) jsonCheck {
	j := jsonCheck{Server: r.Server, Mode: r.Mode.String(), ExitCode: code}
	for _, f := range r.Findings {
		j.Findings = append(j.Findings, jsonFinding{
			f.Check, string(f.Stage), string(f.Level), f.Saw, f.Details, f.Means, f.Set.In(setting),
			float64(f.Took.Microseconds()) / 1000,
		})
	}
	if a := r.Advice; a != nil {
		j.Recommended = &jsonAdvice{a.Why, adviceLines(a), adviceFlags(a)}
	}
	return j
}
