// Bench sends the same messages with Postrider and with its peers to the same fast
// sink, and to real mail servers, and prints what each of them reached.
//
//	go -C bench run . --quick            all scenarios in under two minutes
//	go -C bench run .                    the same with longer runs and more clients
//	go -C bench run . --into ../docs/performance.md
//	go -C bench run . --scenarios S1,S4 --clients 'SendAll|net/smtp'
//	go -C bench run . --scenarios S1 --seconds 3 --cpuprofile /tmp/profiles
//
// Every client and every sink is a process of its own, so that the processor time
// of each is known. The clients take turns, and what the sink has counted is checked
// after every run; a run with another count does not appear in the tables.
//
// It needs Linux or another Unix. Peers and servers that are not installed are left
// out; Postfix and Exim are started if Debian's are there and the user is root.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	// Ctrl-C ends the clients, but not the MTAs: run has to see to them.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run is the program in whichever role it has.
func run(ctx context.Context, args []string) error {
	if len(args) > 0 && args[0] == roleClient {
		return work(os.Stdin, os.Stdout)
	}
	if len(args) > 1 && args[0] == roleSink {
		var b basin
		if err := json.Unmarshal([]byte(args[1]), &b); err != nil {
			return err
		}
		return serveSink(b, os.Stdin, os.Stdout)
	}
	b, err := parse(args)
	if err != nil {
		return err
	}
	if b.into == "" {
		return b.measure(ctx, os.Stdout)
	}
	var report bytes.Buffer
	if err := b.measure(ctx, io.MultiWriter(os.Stdout, &report)); err != nil {
		return err
	}
	return publish(b.into, report.Bytes())
}

// The lines between which a document shows a report.
const (
	reportBegins = "<!-- measured: written by bench --into -->\n"
	reportEnds   = "<!-- end of measured -->\n"
)

// publish puts a report into a document, in place of the one before.
func publish(name string, report []byte) error {
	document, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	before, rest, begins := bytes.Cut(document, []byte(reportBegins))
	_, after, ends := bytes.Cut(rest, []byte(reportEnds))
	if !begins || !ends {
		return fmt.Errorf("%s has no place for the report: the lines %q and %q", name, reportBegins, reportEnds)
	}
	document = slices.Concat(before, []byte(reportBegins+"\n"), report, []byte("\n"+reportEnds), after)
	return os.WriteFile(name, document, 0o644)
}

// encode is the argument of a sink.
func encode(b basin) string {
	text, err := json.Marshal(b)
	if err != nil {
		panic(err) // strings, numbers and truth values
	}
	return string(text)
}

// parse reads the command line.
func parse(args []string) (*bench, error) {
	b := &bench{progress: os.Stderr}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.BoolVar(&b.quick, "quick", false, "shorter runs, and only the clients that the goals are about")
	flags.IntVar(&b.rounds, "rounds", 5, "how many times each client runs")
	flags.StringVar(&b.into, "into", "", "put the report into this `document` too, in place of the one in it")
	flags.Float64Var(&b.seconds, "seconds", 0, "how long each run is; without it, as suits the scenario")
	flags.StringVar(&b.profiles, "cpuprofile", "", "write a CPU profile of each Go client's last run to `directory`")
	scenarios := flags.String("scenarios", "", "which scenarios, as `S1,S4`; without it, all")
	clients := flags.String("clients", "", "which clients, as a `regexp`; without it, all")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	which, err := regexp.Compile(*clients)
	switch {
	case err != nil:
		return nil, err
	case b.rounds < 1:
		return nil, fmt.Errorf("--rounds %d: at least one", b.rounds)
	case flags.NArg() > 0:
		return nil, fmt.Errorf("what is %q? See --help", flags.Arg(0))
	}
	wanted := strings.Split(*scenarios, ",")
	for _, name := range wanted {
		if *scenarios != "" && !slices.ContainsFunc(allScenarios(), func(s scenario) bool { return s.name == name }) {
			return nil, fmt.Errorf("--scenarios: no scenario is called %q", name)
		}
	}
	b.scenario = func(name string) bool { return *scenarios == "" || slices.Contains(wanted, name) }
	b.client = which.MatchString
	if b.profiles != "" {
		err = os.MkdirAll(b.profiles, 0o755)
	}
	return b, err
}

// measure runs all that was chosen and writes the report.
func (b *bench) measure(ctx context.Context, w io.Writer) error {
	b.prepare()
	defer b.stop()
	began := time.Now()
	b.reportMachine(w)
	for _, s := range allScenarios() {
		if !b.scenario(s.name) || b.quick && s.quick != nil && len(s.quick) == 0 {
			continue
		}
		r, err := b.run(ctx, s)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			fmt.Fprintf(w, "\n### %s: %s\n\nNot measured: %v\n", s.name, s.title, err)
			continue
		}
		b.report(w, r)
	}
	b.reportGoals(w)
	fmt.Fprintf(w, "\n%v; load %s\n", time.Since(began).Round(time.Second), loadAverage())
	return nil
}

const legend = `Medians of %d runs, which take turns. "best" is the best run. CPU is the client's own, user and system,
per message; beside it the sink's.
On the right, how many times as fast as that row Postrider is: A is SendAll, 64 is 64 goroutines that call Send, 1 is
one, F is SendAll with a reader for its content; c is a server with CHUNKING, p with PIPELINING only, n with neither.
Each ratio is the median of the ratios within a round.
`

// reportMachine writes what the figures depend on.
func (b *bench) reportMachine(w io.Writer) {
	var peers []string
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			if strings.Contains(d.Path, "mail") || strings.Contains(d.Path, "go-smtp") {
				peers = append(peers, d.Path+" "+d.Version)
			}
		}
	}
	fmt.Fprintf(w, "%s, %s/%s, %d processors, load %s\n%s\n\n", runtime.Version(), runtime.GOOS, runtime.GOARCH,
		runtime.NumCPU(), loadAverage(), strings.Join(peers, ", "))
	fmt.Fprintf(w, legend, b.rounds)
}

// loadAverage is how busy the machine is, where that can be read.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(text))[:3], " ")
}
