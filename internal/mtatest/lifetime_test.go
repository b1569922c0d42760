//go:build linux

package mtatest

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// When its test has ended, nothing of a server is left: no process, no directory, no listener.
func TestNothingStays(t *testing.T) {
	for _, kind := range Kinds() {
		var group int
		var dir, address string
		started := t.Run(kind.Name, func(t *testing.T) {
			s := kind.Start(t, Options{})
			group, dir, address = s.process.cmd.Process.Pid, filepath.Dir(s.CAFile), s.Address
			if !alive(t, group) {
				t.Fatal("a running server is not seen: this test could not fail")
			}
		})
		if started && group != 0 {
			wantGone(t, kind.Name, group, dir, address)
		}
	}
}

// When the test binary dies without any cleanup, as after "panic: test timed out", the guard does it.
func TestNothingStaysAfterACrash(t *testing.T) {
	if os.Getenv("MTATEST_CRASH") != "" {
		s := Postfix(t, Options{})
		fmt.Println("started", s.process.cmd.Process.Pid, filepath.Dir(s.CAFile), s.Address)
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
	require(t, "postfix", "/usr/lib/postfix/sbin/master")
	cmd := exec.Command(os.Args[0], "-test.run=^TestNothingStaysAfterACrash$")
	cmd.Env = append(os.Environ(), "MTATEST_CRASH=1")
	out, err := cmd.Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the crash did not happen: %v: %s", err, out)
	}
	scanner := bufio.NewScanner(strings.NewReader(string(out)))
	for scanner.Scan() {
		var group int
		var dir, address string
		if n, _ := fmt.Sscanf(scanner.Text(), "started %d %s %s", &group, &dir, &address); n == 3 {
			wantGone(t, "Postfix", group, dir, address)
			return
		}
	}
	t.Fatalf("no server was started: %s", out)
}

// wantGone returns the kernel and the guard their time.
func wantGone(t *testing.T, name string, group int, dir, address string) {
	t.Helper()
	remains := ""
	poll(stopLimit, func() bool {
		remains = ""
		if alive(t, group) {
			remains += " processes"
		}
		if _, err := os.Stat(dir); err == nil {
			remains += " " + dir
		}
		if listens(address) {
			remains += " a listener at " + address
		}
		return remains == ""
	})
	if remains != "" {
		t.Errorf("%s leaves behind:%s", name, remains)
	}
}

// alive says whether a process of the group still runs; one that is dead but not yet reaped does not.
func alive(t *testing.T, group int) bool {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(stats) == 0 {
		t.Fatalf("no processes in /proc: %v", err)
	}
	for _, name := range stats {
		stat, err := os.ReadFile(name)
		if err != nil {
			continue // it has just ended
		}
		// The fields behind the name, which may contain anything: state, parent, group.
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		if fields[0] != "Z" && fields[0] != "X" && fields[2] == strconv.Itoa(group) {
			return true
		}
	}
	return false
}

// A missing server skips a test, but fails it in continuous integration.
func TestMissing(t *testing.T) {
	tests := []struct {
		ci, postriderCI string
		want            string
	}{
		{"", "", "skipped"},
		{"false", "0", "skipped"},
		{"true", "", "failed"},
		{"", "1", "failed"},
	}
	for _, test := range tests {
		t.Setenv("CI", test.ci)
		t.Setenv("POSTRIDER_CI", test.postriderCI)
		fake := &verdict{TB: t}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			require(fake, "some-package", "/nonexistent/server")
		}()
		<-ended
		if fake.is != test.want {
			t.Errorf("CI=%q POSTRIDER_CI=%q: %q, want %q", test.ci, test.postriderCI, fake.is, test.want)
		}
		if os.Getuid() == 0 && !strings.Contains(fake.why, "some-package") {
			t.Errorf("%q does not name the package", fake.why)
		}
	}
}

// verdict stands in for the test that asks for a server, and notes how that ended.
type verdict struct {
	testing.TB
	is, why string
}

func (v *verdict) Helper() {}

func (v *verdict) Fatalf(format string, args ...any) { v.end("failed", format, args) }

func (v *verdict) Skipf(format string, args ...any) { v.end("skipped", format, args) }

func (v *verdict) end(is, format string, args []any) {
	v.is, v.why = is, fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// A DSN recipient has four more fields behind its address, which may itself contain blanks.
func TestEximRecipient(t *testing.T) {
	for line, want := range map[string]string{
		"bart@example.com": "bart@example.com",
		`"a b"@example.com rfc822;c@example.com 20,1  0,-1#3`: `"a b"@example.com`,
		`bart@example.com  0,1  0,-1#3`:                       "bart@example.com",
		`"a b"@example.com`:                                   `"a b"@example.com`,
	} {
		if got := eximRecipient(line); got != want {
			t.Errorf("eximRecipient(%q) = %q, want %q", line, got, want)
		}
	}
}

// Only the server's own field goes, that is the first, and a body never.
func TestCutReceived(t *testing.T) {
	for queued, want := range map[string]string{
		"Received: a\n\tb\n c\nReceived: d\n\nbody\n": "Received: d\n\nbody\n",
		"Subject: x\nReceived: a\n\n":                 "Subject: x\nReceived: a\n\n",
		"\nReceived: a\n":                             "\nReceived: a\n",
		"Received: a\n\nbody\n":                       "\nbody\n",
		"":                                            "",
	} {
		if got := string(cutReceived([]byte(queued))); got != want {
			t.Errorf("cutReceived(%q) = %q, want %q", queued, got, want)
		}
	}
}

// An extra line that sets what the harness has set stands in its place: a Postfix that finds a parameter twice warns
// of it when it starts, which its logging daemon can hang on.
func TestPostfixSettingsStandOnce(t *testing.T) {
	got := settings("a = 1\nbc = 2\nb = 3\n", []string{"b=4", "bc ="})
	if want := "a = 1\nb=4\nbc =\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := settings("a = 1\n", nil); got != "a = 1\n" {
		t.Errorf("without extra lines: %q", got)
	}
}
