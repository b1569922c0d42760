package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/text"
)

// benchReport is what is known in the end.
type benchReport struct {
	cmd        *benchCmd
	route      *route // nil if the configuration cannot be read
	meter      *meter
	took       time.Duration
	ended      string
	stats      postrider.Stats
	cpu        time.Duration // of this process, its own MTA included
	cpuCounted bool          // false: the platform does not tell
	err        error         // what ended it early
}

// print prints the report, and returns the error for the exit status.
func (r *benchReport) print(std streams) error {
	err := r.err
	if err == nil {
		err = r.meter.err
	}
	code := exitCode(r.meter.result(), err)
	if r.cmd.JSON {
		if err := r.printJSON(std.out, err, code); err != nil {
			return err
		}
	} else {
		if r.meter.recipients(postrider.Accepted) > 0 { // else not even the first was sent
			r.printLines(std.out)
		}
		if err != nil {
			std.warn("%s", words(err))
		}
	}
	if code == exitOK {
		return nil
	}
	if err == nil {
		err = errors.New("not every recipient was accepted")
	}
	return &toldError{code, err}
}

func (r *benchReport) printLines(w io.Writer) {
	m := r.meter
	fmt.Fprintf(w, "server:      %s\n", r.server())
	fmt.Fprintf(w, "load:        %s\n", r.cmd.describe())
	fmt.Fprintf(w, "messages:    %d in %v; %s\n", m.messages, short(r.took), r.why())
	fmt.Fprintf(w, "throughput:  %.0f messages/s, %.2f MB/s\n", r.perSecond(m.messages), r.perSecond(m.octets)/1e6)
	fmt.Fprint(w, "latency:     ")
	for _, q := range r.quantiles() {
		fmt.Fprintf(w, "%s %v, ", q.name, short(q.value))
	}
	fmt.Fprintf(w, "the first %v\n", short(m.first))
	for i, v := range m.verdicts() {
		label := "recipients:"
		if i > 0 {
			label = ""
		}
		fmt.Fprintf(w, "%-12s %s\n", label, m.groups[v].line(v))
	}
	fmt.Fprintf(w, "connections: %d, transactions %d, resends %d, fallbacks %d\n",
		r.connections(), r.stats.Transactions, r.stats.Resends, r.stats.Fallbacks)
	if r.cpuCounted {
		who := ""
		if len(r.cmd.Server) == 0 {
			who = ", the MTA's own included"
		}
		fmt.Fprintf(w, "CPU:         %v a message%s\n", short(r.cpu/time.Duration(m.messages)), who)
	}
}

// line is how many recipients the group has and, if they were deferred or refused, why the first was.
func (g *group) line(v verdict) string {
	s := fmt.Sprintf("%d %v", g.count, v.state)
	o := g.outcome
	switch {
	case v.state == postrider.Accepted:
		return s
	case v.state == postrider.Untried || v.state == postrider.Unknown: // the error says it
		return fmt.Sprintf("%s at %v", s, v.stage)
	case o.Reply.Code != 0:
		return fmt.Sprintf("%s at %v, the first: %s", s, v.stage, o.Reply)
	}
	return fmt.Sprintf("%s at %v, the first: %s", s, v.stage, text.Printable(words(o.Err)))
}

// server says where the messages went.
func (r *benchReport) server() string {
	if len(r.cmd.Server) == 0 {
		return "built-in, on " + r.route.describe()
	}
	return r.route.describe()
}

// describe is the flags in a sentence.
func (c *benchCmd) describe() string {
	sizes := make([]string, len(c.Size))
	for i, s := range c.Size {
		sizes[i] = s.String()
	}
	s := fmt.Sprintf("%s, recipients %d, size %s", c.way(), c.Recipients, strings.Join(sizes, ","))
	if c.pace > 0 {
		s += fmt.Sprintf(", at most %v messages/s", c.pace)
	}
	if c.Window > 0 {
		s += fmt.Sprintf(", window %d", c.Window)
	}
	return s
}

// way is how the library is called.
func (c *benchCmd) way() string {
	if c.Goroutines > 0 {
		return fmt.Sprintf("Send from %d goroutines", c.Goroutines)
	}
	return "SendAll"
}

// why is what ended it.
func (r *benchReport) why() string {
	switch r.ended {
	case endMessages:
		return "as many as --messages allows"
	case endDuration:
		return "as long as --duration allows"
	case endInterrupt:
		return "interrupted"
	}
	return "ended by an error"
}

func (r *benchReport) connections() int64 { return r.stats.Dials - r.stats.DialFailures }

func (r *benchReport) perSecond(n int64) float64 {
	return float64(n) / max(r.took, time.Microsecond).Seconds()
}

type quantile struct {
	name  string
	value time.Duration
}

func (r *benchReport) quantiles() []quantile {
	h := r.meter.latency
	at := func(percent float64) time.Duration { return time.Duration(h.ValueAtQuantile(percent)) }
	return []quantile{
		{"p50", at(50)}, {"p90", at(90)}, {"p99", at(99)}, {"p99.9", at(99.9)}, {"max", time.Duration(h.Max())},
	}
}

// short rounds to three digits or so: no clock here is worth more.
func short(d time.Duration) time.Duration {
	unit := time.Nanosecond
	for d >= 1000*unit {
		unit *= 10
	}
	return d.Round(unit)
}

// The shape of --json; what is the same as that of send has its names.
type (
	jsonBench struct {
		Server       string   `json:"server,omitempty"`
		BuiltIn      bool     `json:"built_in"`
		Mode         string   `json:"mode,omitempty"`
		RedirectedTo string   `json:"redirected_to,omitempty"`
		Warnings     []string `json:"warnings,omitempty"`

		Goroutines int     `json:"goroutines"` // 0: SendAll
		Window     int     `json:"window,omitempty"`
		Rate       float64 `json:"rate,omitempty"`
		Sizes      []int   `json:"sizes"`
		Recipients int     `json:"recipients_per_message"`

		EndedBy   string        `json:"ended_by,omitempty"`
		Messages  int64         `json:"messages"`
		Octets    int64         `json:"octets"`
		Seconds   float64       `json:"seconds"`
		PerSecond float64       `json:"messages_per_second"`
		Latency   *jsonLatency  `json:"latency_ms"` // null without messages
		Outcomes  jsonStates    `json:"outcomes"`
		Verdicts  []jsonVerdict `json:"verdicts"`

		Connections  int64    `json:"connections"`
		Transactions int64    `json:"transactions"`
		Resends      int64    `json:"resends"`
		Fallbacks    int64    `json:"fallbacks"`
		CPU          *float64 `json:"cpu_us_per_message"` // null where it is not known
		CPUOfBoth    bool     `json:"cpu_includes_server"`

		Error    *jsonError `json:"error"`
		ExitCode int        `json:"exit_code"`
	}
	jsonLatency struct {
		First float64 `json:"first"`
		P50   float64 `json:"p50"`
		P90   float64 `json:"p90"`
		P99   float64 `json:"p99"`
		P999  float64 `json:"p99_9"`
		Max   float64 `json:"max"`
	}
	jsonStates struct {
		Accepted int64 `json:"accepted"`
		Deferred int64 `json:"deferred"`
		Refused  int64 `json:"refused"`
		Untried  int64 `json:"untried"`
		Unknown  int64 `json:"unknown"`
	}
	jsonVerdict struct {
		Count int64       `json:"count"`
		First jsonOutcome `json:"first"`
	}
)

func (r *benchReport) printJSON(w io.Writer, err error, code int) error {
	m, c := r.meter, r.cmd
	j := jsonBench{
		BuiltIn: len(c.Server) == 0, Goroutines: c.Goroutines, Window: c.Window, Rate: c.pace, Recipients: c.Recipients,
		EndedBy: r.ended, Messages: m.messages, Octets: m.octets,
		Seconds: round(r.took.Seconds()), PerSecond: round(r.perSecond(m.messages)),
		Latency: r.latencyJSON(), Verdicts: []jsonVerdict{},
		Outcomes: jsonStates{
			m.recipients(postrider.Accepted), m.recipients(postrider.Deferred), m.recipients(postrider.Refused),
			m.recipients(postrider.Untried), m.recipients(postrider.Unknown),
		},
		Connections: r.connections(), Transactions: r.stats.Transactions,
		Resends: r.stats.Resends, Fallbacks: r.stats.Fallbacks,
		CPUOfBoth: len(c.Server) == 0, Error: errorJSON(err), ExitCode: code,
	}
	for _, s := range c.Size {
		j.Sizes = append(j.Sizes, int(s))
	}
	if r.route != nil {
		j.Server, j.Mode, j.RedirectedTo = r.route.addresses(), r.route.cfg.Mode.String(), r.route.redirected
		for _, warning := range r.route.warnings {
			j.Warnings = append(j.Warnings, warning.Error())
		}
	}
	for _, v := range m.verdicts() {
		j.Verdicts = append(j.Verdicts, jsonVerdict{m.groups[v].count, outcomeJSON(m.groups[v].outcome)})
	}
	if r.cpuCounted && m.messages > 0 {
		each := round(float64(r.cpu.Microseconds()) / float64(m.messages))
		j.CPU = &each
	}
	return writeJSON(w, j)
}

func (r *benchReport) latencyJSON() *jsonLatency {
	if r.meter.messages == 0 {
		return nil
	}
	ms := []float64{round(r.meter.first.Seconds() * 1e3)}
	for _, q := range r.quantiles() {
		ms = append(ms, round(q.value.Seconds()*1e3))
	}
	return &jsonLatency{ms[0], ms[1], ms[2], ms[3], ms[4], ms[5]}
}

// round leaves three decimals.
func round(x float64) float64 { return math.Round(x*1e3) / 1e3 }
