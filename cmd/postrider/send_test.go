package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/smtptest"
)

// call runs the program inside the test.
func call(t *testing.T, ctx context.Context, stdin io.Reader, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	t.Setenv("POSTRIDER_CONFIG_FILE", os.DevNull)
	var out, err bytes.Buffer
	status = run(ctx, args, streams{stdin, &out, &err})
	return status, out.String(), err.String()
}

// stuckReader is a terminal at which the user presses Ctrl-C and then does nothing.
type stuckReader struct {
	interrupt func()
	released  chan struct{}
}

func (r stuckReader) Read([]byte) (int, error) {
	r.interrupt()
	<-r.released
	return 0, io.EOF
}

func TestInterruptWhileReading(t *testing.T) {
	server := smtptest.NewServer()
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	stdin := stuckReader{cancel, make(chan struct{})}
	defer close(stdin.released)
	status, _, stderr := call(t, ctx, stdin, "send", "--server", server.Addr, "-f", "a@example.com", "b@example.com")
	if status != exitTempFail || server.ConnectionCount() != 0 {
		t.Errorf("status %d, connections %d\n%s", status, server.ConnectionCount(), stderr)
	}
}

// Interrupted inside a transaction that is not at its end: nobody has the message.
func TestInterruptWhileSending(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	server := smtptest.NewUnstartedServer()
	server.Faults = []smtptest.Fault{{Command: "RCPT", Answer: smtptest.AnswerNone, Then: smtptest.ThenHang}}
	server.Policy = func(c smtptest.Command) string {
		if c.Verb == "RCPT" {
			cancel()
		}
		return ""
	}
	server.Start()
	defer server.Close()
	status, _, stderr := call(t, ctx, strings.NewReader("text"), "send", "--server", server.Addr, "-f",
		"a@example.com", "b@example.com")
	if status != exitTempFail || !strings.Contains(stderr, "b@example.com: untried") || len(server.Messages()) != 0 {
		t.Errorf("status %d, messages %d\n%s", status, len(server.Messages()), stderr)
	}
}

// A source that breaks off is not sent, neither in part nor as if it were whole,
// and leaves nothing behind.
func TestInputBreaksOff(t *testing.T) {
	server := smtptest.NewServer()
	defer server.Close()
	t.Setenv("TMPDIR", t.TempDir())
	for _, size := range []int{0, 10, inMemory, 3 * inMemory} {
		for _, flags := range [][]string{{"b@example.com"}, {"-t"}} {
			stdin := io.MultiReader(strings.NewReader("To: b@example.com\n\n"+strings.Repeat("x", size)),
				failingReader{errors.New("the disk is gone")})
			status, _, stderr := call(t, t.Context(), stdin,
				append([]string{"send", "--server", server.Addr, "-f", "a@example.com"}, flags...)...)
			if status != exitNoInput || !strings.Contains(stderr, "the disk is gone") || server.ConnectionCount() != 0 {
				t.Errorf("%d octets, %v: status %d, connections %d\n%s", size, flags, status, server.ConnectionCount(),
					stderr)
			}
		}
	}
	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// A sink without --max-messages ends when it is told to, and says so.
func TestSinkInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	status, stdout, _ := call(t, ctx, nil, "sink", "--listen", "127.0.0.1:0")
	if status != exitOK || !strings.HasSuffix(stdout, "connections: 0, transactions: 0, messages: 0\n") {
		t.Errorf("status %d\n%s", status, stdout)
	}
}

// A server that never answers is left when --timeout is over. No time is measured:
// without the flag this test would hang for five minutes.
func TestTimeout(t *testing.T) {
	server := smtptest.NewUnstartedServer()
	server.Faults = []smtptest.Fault{{Command: smtptest.Greeting, Answer: smtptest.AnswerNone, Then: smtptest.ThenHang}}
	server.Start()
	defer server.Close()
	status, _, stderr := call(t, t.Context(), strings.NewReader("text"), "send", "--server", server.Addr, "--timeout",
		time.Millisecond.String(), "b@example.com")
	if status != exitTempFail || !strings.Contains(stderr, "gave up after --timeout 1ms") {
		t.Errorf("status %d\n%s", status, stderr)
	}
}

// A unix socket is a place to listen and a server to send to.
func TestUnixSocket(t *testing.T) {
	socket := "unix:" + t.TempDir() + "/mta"
	out, printed := io.Pipe()
	ended := make(chan int)
	go func() {
		status := run(t.Context(), []string{"sink", "--listen", socket, "--max-messages", "1"},
			streams{nil, printed, io.Discard})
		printed.Close()
		ended <- status
	}()
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "listening on "+socket+" (smtp)" {
		t.Fatalf("the sink said %q", lines.Text())
	}
	var said bytes.Buffer
	go func() {
		for lines.Scan() {
			said.WriteString(lines.Text() + "\n")
		}
		ended <- -1
	}()
	status, _, stderr := call(t, t.Context(), strings.NewReader("text"), "send", "--server", socket, "-f",
		"a@example.com", "b@example.com")
	if status != exitOK {
		t.Errorf("status %d\n%s", status, stderr)
	}
	if a, b := <-ended, <-ended; a+b != exitOK-1 || !strings.Contains(said.String(), "messages: 1") {
		t.Errorf("the sink ended with %d, %d and said\n%s", a, b, said.String())
	}
}
