package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// The test binary is the program: scripts run it as "postrider".
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"postrider": func() { os.Exit(start()) }})
}

// TestScripts runs testdata/*.txtar. Beside testscript's own commands they have:
//
//	exits STATUS COMMAND...   runs a command that must end with that status
//	sink [FLAGS]              starts "postrider sink" on a free port; $SINK is its address, with $SINKPORT
//	endsink                   interrupts it, and waits: sink.out and sink.err is what it said
//	waitsink                  waits for a sink that ends by itself
//	arrived GOT SENT          GOT has CRLF at every line end, and is SENT but for that
//	repeat N TEXT FILE        writes a file of N lines
//	octets TEXT FILE          writes a file of what TEXT says with Go's escapes
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			// No configuration of this machine has a say.
			env.Setenv("POSTRIDER_CONFIG_FILE", os.DevNull)
			env.Setenv("GORACE", swiftEnd)
			env.Setenv("LATIN1", "caf\xe9")
			env.Setenv("GREETING", "554 5.3.2 \x1b[2J clean")
			p := &sinkProcess{}
			env.Values[sinkKey{}] = p
			env.Defer(p.kill)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":    exits,
			"sink":     startSink,
			"endsink":  func(ts *testscript.TestScript, _ bool, _ []string) { sinkOf(ts).end(ts, true) },
			"waitsink": func(ts *testscript.TestScript, _ bool, _ []string) { sinkOf(ts).end(ts, false) },
			"arrived":  arrived,
			"repeat":   repeat,
			"octets":   octets,
		},
		RequireUniqueNames: true,
	})
}

// swiftEnd keeps a program with a race detector from waiting a second at its end,
// more than a hundred times.
const swiftEnd = "atexit_sleep_ms=0"

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS COMMAND...")
	}
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("exit status %d, want %s", got, args[0])
	}
}

func octets(ts *testscript.TestScript, _ bool, args []string) {
	text, err := strconv.Unquote(`"` + args[0] + `"`)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(text), 0o666))
}

type sinkKey struct{}

// sinkProcess is the sink of one script.
type sinkProcess struct {
	cmd    *exec.Cmd
	out    *bufio.Reader
	first  string
	stderr bytes.Buffer
}

func sinkOf(ts *testscript.TestScript) *sinkProcess { return ts.Value(sinkKey{}).(*sinkProcess) }

// startSink returns when the sink has named its address, and so can be reached.
func startSink(ts *testscript.TestScript, _ bool, args []string) {
	p := sinkOf(ts)
	*p = sinkProcess{}
	p.cmd = exec.Command("postrider", append([]string{"sink", "--listen", "127.0.0.1:0"}, args...)...)
	p.cmd.Dir = ts.MkAbs(".")
	p.cmd.Env = append(os.Environ(), "GORACE="+swiftEnd, "SINK_PASSWORD="+ts.Getenv("SINK_PASSWORD"))
	p.cmd.Stderr = &p.stderr
	stdout, err := p.cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(p.cmd.Start())
	p.out = bufio.NewReader(stdout)
	if p.first, err = p.out.ReadString('\n'); err != nil {
		ts.Fatalf("the sink named no address: %v\n%s", err, p.stderr.String())
	}
	port := regexp.MustCompile(`:[0-9]+`).FindString(p.first)
	if port == "" {
		ts.Fatalf("the sink said %q", p.first)
	}
	ts.Setenv("SINK", "127.0.0.1"+port)
	ts.Setenv("SINKPORT", port[1:])
}

// end waits for the end of the sink, and writes what it said to files.
func (p *sinkProcess) end(ts *testscript.TestScript, interrupt bool) {
	if interrupt {
		ts.Check(p.cmd.Process.Signal(os.Interrupt))
	}
	rest, err := io.ReadAll(p.out)
	ts.Check(err)
	err = p.cmd.Wait()
	p.cmd = nil
	ts.Check(os.WriteFile(ts.MkAbs("sink.out"), append([]byte(p.first), rest...), 0o666))
	ts.Check(os.WriteFile(ts.MkAbs("sink.err"), p.stderr.Bytes(), 0o666))
	if err != nil {
		ts.Fatalf("the sink: %v\n%s", err, p.stderr.String())
	}
}

func (p *sinkProcess) kill() {
	if p.cmd != nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	}
}

func arrived(ts *testscript.TestScript, _ bool, args []string) {
	got, sent := ts.ReadFile(args[0]), ts.ReadFile(args[1])
	if strings.Count(got, "\n") != strings.Count(got, "\r\n") || !strings.HasSuffix(got, "\r\n") {
		ts.Fatalf("%s: not every line ends in CRLF: %q", args[0], got)
	}
	if got := strings.ReplaceAll(got, "\r\n", "\n"); got != sent {
		ts.Fatalf("%s differs:\n%q\n%q", args[0], got, sent)
	}
}

func repeat(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), []byte(strings.Repeat(args[1]+"\n", n)), 0o666))
}
