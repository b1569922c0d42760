package words_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/postrider/postrider"
)

// A goroutine that outlives the tests fails them.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lockedBuffer is a log that several goroutines write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write is io.Writer's.
func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// answer serves one wire: it greets, and answers each command by its first word.
func answer(nc net.Conn, say func(command string) string) {
	defer nc.Close()
	fmt.Fprint(nc, "220 test\r\n")
	for in := bufio.NewScanner(nc); in.Scan(); {
		reply := "250 Ok\r\n"
		if said := say(strings.ToUpper(strings.Fields(in.Text() + " .")[0])); said != "" {
			reply = said
		}
		if _, err := fmt.Fprint(nc, reply); err != nil || strings.HasPrefix(reply, "421") {
			return
		}
	}
}

// send sends one message to a server that answers so, and waits until its wire is
// closed.
func send(t *testing.T, cfg postrider.Config, say func(string) string) (*postrider.Result, error) {
	t.Helper()
	closed := make(chan struct{})
	if cfg.Trace == nil {
		cfg.Trace = &postrider.Trace{}
	}
	cfg.Trace.Event = func(e postrider.Event) {
		if e.Kind == postrider.EventClosed {
			close(closed)
		}
	}
	var server sync.WaitGroup
	cfg.Dial = func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		server.Go(func() { answer(theirs, say) })
		return ours, nil
	}
	conn, err := postrider.NewConnection(cfg)
	if err != nil {
		t.Fatal(err)
	}
	result, err := conn.Send(t.Context(), &postrider.Message{
		From: "a@example.com", To: []string{"b@example.com"},
		Content: postrider.Bytes([]byte("Subject: x\r\n\r\nx\r\n")),
	})
	conn.Close()
	<-closed
	server.Wait()
	return result, err
}

// A server that says 421 and does not stop fills no log: nothing is read of it but what
// it owed.
func TestAFloodOfRepliesIsNotRead(t *testing.T) {
	const flood = 5000
	var log lockedBuffer
	var mu sync.Mutex
	replies := 0
	cfg := postrider.Config{
		Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Trace: &postrider.Trace{
			Dialogue: func(e postrider.Event) {
				if e.Kind == postrider.EventReply {
					mu.Lock()
					replies++
					mu.Unlock()
				}
			},
		},
	}
	drained := make(chan struct{})
	_, err := send(t, cfg, func(command string) string {
		if command == "MAIL" {
			defer close(drained)
			return strings.Repeat("421 4.3.2 going down\r\n", flood)
		}
		return ""
	})
	<-drained
	if err == nil {
		t.Error("no error")
	}
	mu.Lock()
	defer mu.Unlock()
	if replies != 3 { // to the connection, EHLO and MAIL
		t.Errorf("%d replies were shown", replies)
	}
	if n := strings.Count(log.String(), "msg=reply"); n != replies {
		t.Errorf("%d replies are in the log, %d were shown", n, replies)
	}
}

// However much a server or a resolver says, an error, an outcome and the log stay
// readable, and nothing is lost of it.
func TestLongWordsAreBounded(t *testing.T) {
	long := strings.Repeat("no such user ", 4000)
	var lines strings.Builder
	for at := 0; at < len(long); at += 500 {
		fmt.Fprintf(&lines, "550-%s\r\n", long[at:min(len(long), at+500)])
	}
	var log lockedBuffer
	cfg := postrider.Config{Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	result, err := send(t, cfg, func(command string) string {
		if command == "RCPT" {
			return lines.String() + "550 end\r\n"
		}
		return ""
	})
	o := result.Outcomes[0]
	if o.State != postrider.Refused || len(o.Reply.Text) < len(long) {
		t.Fatalf("%v, %d octets of %d, %v", o.State, len(o.Reply.Text), len(long), err)
	}
	for name, s := range map[string]string{"Outcome": o.String(), "Reply": o.Reply.String(), "Error": err.Error()} {
		if len(s) > 3000 || !strings.Contains(s, "octets more)") {
			t.Errorf("%s: %d octets: %.200s", name, len(s), s)
		}
	}
	for line := range strings.Lines(log.String()) {
		if len(line) > 3000 {
			t.Errorf("a line of %d octets is in the log: %.100s", len(line), line)
		}
	}

	cause := errors.New(strings.Repeat("lookup mx.example.com: no such host; ", 4000))
	e := &postrider.Error{
		Stage: postrider.StageConnect, Step: "dial", Address: strings.Repeat("mx.example.com, ", 9000), Err: cause,
	}
	if s := e.Error(); len(s) > 5000 || strings.Count(s, "octets more)") != 2 || !errors.Is(e, cause) {
		t.Errorf("%d octets: %.200s", len(s), s)
	}
}
