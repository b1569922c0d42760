package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/mail"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/smtptest"
)

func TestSize(t *testing.T) {
	for _, tt := range []struct {
		word string
		want size
	}{
		{"256", 256}, {"1000", 1000}, {"1k", 1024}, {"100K", 102400}, {"10M", 10 << 20}, {"1024M", 1 << 30},
		{"255", 0}, {"0", 0}, {"-1k", 0}, {"", 0}, {"k", 0}, {"1G", 0}, {"1kk", 0}, {"1.5k", 0}, {"1 k", 0},
		{"1025M", 0}, {"2147483647k", 0}, {"99999999999999999999", 0},
	} {
		var s size
		err := s.UnmarshalText([]byte(tt.word))
		if s != tt.want || (err == nil) != (tt.want > 0) {
			t.Errorf("%q: %d, %v; want %d", tt.word, s, err, tt.want)
		}
	}
	for s, want := range map[size]string{1000: "1000", 1024: "1k", 1536: "1536", 102400: "100k", 10 << 20: "10M"} {
		if s.String() != want {
			t.Errorf("%d is %s", int(s), s)
		}
	}
}

// Whatever its size, it is a message as RFC 5322 wants it, in lines that SMTP
// carries as they are.
func TestMadeUpContent(t *testing.T) {
	now := time.Date(2026, 9, 30, 23, 59, 59, 0, time.FixedZone("", -11*3600))
	for s := minSize; s < minSize+200; s++ {
		content := s.content(now)
		if len(content) != int(s) {
			t.Fatalf("size %d has %d octets", s, len(content))
		}
		text, ended := strings.CutSuffix(string(content), "\r\n")
		for line := range strings.SplitSeq(text, "\r\n") {
			if !ended || strings.ContainsAny(line, "\r\n") || len(line) > 78 || strings.HasPrefix(line, ".") {
				t.Fatalf("size %d has the line %q", s, line)
			}
		}
		m, err := mail.ReadMessage(bytes.NewReader(content))
		if err != nil {
			t.Fatalf("size %d: %v", s, err)
		}
		if date, err := m.Header.Date(); err != nil || !date.Equal(now) {
			t.Fatalf("size %d has the date %v, %v", s, date, err)
		}
		if from, err := m.Header.AddressList("From"); err != nil || len(from) != 1 {
			t.Fatalf("size %d is from %v, %v", s, from, err)
		}
	}
}

func TestDialHere(t *testing.T) {
	for _, address := range []string{"192.0.2.1:25", "[::ffff:192.0.2.1]:25", "0.0.0.0:25"} {
		conn, err := dialHere(t.Context(), "tcp", address)
		if !errors.Is(err, errElsewhere) {
			t.Errorf("%s: %v, %v", address, conn, err)
		}
	}
	for _, own := range []struct{ network, address string }{{"tcp", "127.0.0.1:0"}, {"unix", t.TempDir() + "/mta"}} {
		l, err := net.Listen(own.network, own.address)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		names := []string{l.Addr().String()}
		if own.network == "tcp" {
			_, port, _ := net.SplitHostPort(names[0])
			names = append(names, "localhost:"+port, "[::ffff:127.0.0.1]:"+port)
		}
		for _, name := range names {
			conn, err := dialHere(t.Context(), own.network, name)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			conn.Close()
		}
	}
}

// What the flags make of the configuration.
func TestBenchAim(t *testing.T) {
	for _, force := range []bool{false, true} {
		c, cfg := benchCmd{Window: 7, Force: force}, postrider.Config{Address: "192.0.2.1"}
		c.Server = []string{cfg.Address}
		if _, err := c.aim(&cfg, streams{}); err != nil || cfg.Window != 7 || cfg.Address != "192.0.2.1" ||
			(cfg.Dial == nil) != force {
			t.Errorf("force %v: window %d, address %s, own dial %v, %v", force, cfg.Window, cfg.Address,
				cfg.Dial != nil, err)
		}
	}
}

// The figures of a thousand messages whose times are known.
func TestMeter(t *testing.T) {
	m := newMeter()
	kind := &postrider.Message{}
	m.sizes[kind] = 500
	refusal := postrider.Reply{Code: 550, Text: "no"}
	for i := range 1000 {
		r := &postrider.Result{Message: kind, Outcomes: []postrider.Outcome{{State: postrider.Accepted,
			Stage: postrider.StageContent}}}
		var err error
		switch {
		case i >= 990:
			r.Outcomes[0] = postrider.Outcome{State: postrider.Unknown, Stage: postrider.StageContent}
			err = errors.New("lost")
		case i >= 900:
			r.Outcomes = append(r.Outcomes, postrider.Outcome{State: postrider.Refused, Stage: postrider.StageRcpt,
				Reply: refusal})
			refusal.Text = "not the first"
		case i >= 800:
			r.Outcomes[0] = postrider.Outcome{State: postrider.Deferred, Stage: postrider.StageMail}
			err = errors.New("told by the recipients")
		}
		m.record(time.Duration(1000-i)*time.Millisecond, r, err)
	}
	report := &benchReport{meter: m}
	for i, want := range []time.Duration{500, 900, 990, 999, 1000} {
		q, want := report.quantiles()[i], want*time.Millisecond
		if off := q.value - want; off < -want/1000 || off > want/1000 {
			t.Errorf("%s is %v, want %v", q.name, q.value, want)
		}
	}
	if m.first != time.Second || m.count() != 1000 || m.octets != 890*500 || m.err == nil || m.err.Error() != "lost" {
		t.Errorf("first %v, messages %d, octets %d, error %v", m.first, m.count(), m.octets, m.err)
	}
	for state, want := range map[postrider.State]int64{
		postrider.Accepted: 890, postrider.Deferred: 100, postrider.Refused: 90, postrider.Untried: 0,
		postrider.Unknown: 10,
	} {
		if got := m.recipients(state); got != want {
			t.Errorf("%v: %d, want %d", state, got, want)
		}
	}
	if all := m.verdicts(); len(all) != 4 || all[0].state != postrider.Accepted {
		t.Errorf("verdicts %v", all)
	}
	if g := m.groups[verdict{postrider.Refused, postrider.StageRcpt}]; g.outcome.Reply.Text != "no" {
		t.Errorf("the first refusal is %v", g.outcome)
	}
	if code := exitCode(m.result(), m.err); code != exitProtocol {
		t.Errorf("status %d", code)
	}
}

// A Send that takes longer than the histogram is wide is counted all the same.
func TestMeterBeyondItsBounds(t *testing.T) {
	m := newMeter()
	m.record(100*longest, &postrider.Result{}, nil)
	m.record(0, &postrider.Result{}, nil)
	if n := m.latency.TotalCount(); n != 2 {
		t.Errorf("%d values", n)
	}
}

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 8: "8ns", 1234: "1.23µs", 1235678: "1.24ms", 10 * time.Second: "10s",
		1437 * time.Millisecond: "1.44s", 899951 * time.Microsecond: "900ms",
	} {
		if got := short(d).String(); got != want {
			t.Errorf("%d: %s, want %s", d, got, want)
		}
	}
}

// Where the platform tells it, the time grows with the work.
func TestProcessTime(t *testing.T) {
	before, ok := processTime()
	if !ok {
		if runtime.GOOS == "linux" || runtime.GOOS == "darwin" {
			t.Error("not known")
		}
		return
	}
	for after := before; after == before; after, _ = processTime() {
	}
}

// Ctrl-C: the message that is underway is finished, no other is begun, and what
// was measured is told.
func TestBenchInterrupted(t *testing.T) {
	for _, goroutines := range []string{"0", "1"} {
		ctx, cancel := context.WithCancel(t.Context())
		server := smtptest.NewUnstartedServer()
		taken := 0
		server.OnMessage = func(*smtptest.Message) {
			if taken++; taken == 5 {
				cancel()
			}
		}
		server.Start()
		defer server.Close()
		// With goroutines there is one message at a time, and so no other underway.
		status, stdout, stderr := call(t, ctx, nil, "bench", "--server", server.Addr, "--goroutines", goroutines,
			"--json")
		var got jsonBench
		if err := json.Unmarshal([]byte(stdout), &got); err != nil {
			t.Fatal(err)
		}
		if status != exitOK || got.EndedBy != endInterrupt || stderr != "" {
			t.Errorf("goroutines %s: status %d, ended by %s, %s", goroutines, status, got.EndedBy, stderr)
		}
		if n := int64(len(server.Messages())); got.Messages != n || got.Outcomes.Accepted != n || n < 5 ||
			n > 5+2*64 || goroutines == "1" && n != 5 {
			t.Errorf("goroutines %s: the server has taken %d messages, and of %d recipients %d are accepted",
				goroutines, n, got.Messages, got.Outcomes.Accepted)
		}
	}
}

// Interrupted before the first message has an end: nobody waits for a server that
// does not answer.
func TestBenchInterruptedAtFirst(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	server := smtptest.NewUnstartedServer()
	server.Faults = []smtptest.Fault{{Command: "MAIL", Answer: smtptest.AnswerNone, Then: smtptest.ThenHang}}
	server.Policy = func(c smtptest.Command) string {
		if c.Verb == "MAIL" {
			cancel()
		}
		return ""
	}
	server.Start()
	defer server.Close()
	status, stdout, _ := call(t, ctx, nil, "bench", "--server", server.Addr, "--json")
	if status != exitTempFail || !strings.Contains(stdout, `"ended_by": "interrupt"`) ||
		!strings.Contains(stdout, context.Canceled.Error()) {
		t.Errorf("status %d\n%s", status, stdout)
	}
}

// inBubble is a load on a server in a synctest bubble.
func inBubble(t *testing.T, c benchCmd, faults ...smtptest.Fault) (*load, *smtptest.Server) {
	t.Helper()
	server := smtptest.NewUnstartedServer()
	server.Listener, server.Faults = smtptest.InMemory("localhost:25"), faults
	server.Log = t.Logf
	server.Start()
	t.Cleanup(server.Close)
	cfg := server.Config()
	cfg.LocalName = "localhost"
	cfg.Chunking = postrider.UseTrusted // no probe among the commands that are counted
	via, err := (&route{servers: []postrider.Config{cfg}}).lane()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { via.leave(context.Background(), errNowhere) })
	c.Size, c.To = []size{1000}, "anne@example.com"
	c.Recipients = 1
	return c.load(via, newMeter()), server
}

// A server that falls silent is not waited for longer than the time that there is,
// and the grace; one that is only slow may finish.
func TestBenchEnds(t *testing.T) {
	hang := smtptest.Fault{Command: ".", Nth: 3, Answer: smtptest.AnswerNone, Then: smtptest.ThenHang}
	slow := smtptest.Fault{Command: ".", Delay: grace - time.Second}
	for _, tt := range []struct {
		name       string
		fault      smtptest.Fault
		goroutines int
		window     int
		messages   int
		unknown    int64
		took       time.Duration
		ended      string
	}{
		{"hangs", hang, 1, 1, 1000, 1, time.Minute + grace, endDuration},
		{"hangs in a stream of three", hang, 0, 1, 3, 1, time.Minute + grace, endMessages},
		{"slow", slow, 7, 1, 1000, 0, 117 * time.Second, endDuration},
		{"slow stream", slow, 0, 0, 15, 0, 15 * slow.Delay, endMessages},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, server := inBubble(t, benchCmd{Messages: tt.messages, Duration: time.Minute,
					Goroutines: tt.goroutines, Window: tt.window}, tt.fault)
				start := time.Now()
				ended, err := l.run(t.Context())
				if took := time.Since(start); took != tt.took || ended != tt.ended || err != nil {
					t.Errorf("took %v, ended by %s, %v", took, ended, err)
				}
				m := l.meter
				if got := m.recipients(postrider.Unknown); got != tt.unknown || m.recipients(postrider.Accepted) == 0 {
					t.Errorf("verdicts %v of %d messages", m.groups, m.count())
				}
				if tt.unknown > 0 && !errors.Is(m.err, errLate) {
					t.Errorf("%v", m.err)
				}
				if int(m.count()) != server.Commands(".") {
					t.Errorf("%d messages, the server knows of %d", m.count(), server.Commands("."))
				}
			})
		})
	}
}

// At ten messages a second, the 51st comes after five seconds.
func TestBenchRate(t *testing.T) {
	for _, goroutines := range []int{0, 3} {
		synctest.Test(t, func(t *testing.T) {
			l, _ := inBubble(t, benchCmd{Messages: 51, Duration: time.Minute, pace: 10, Goroutines: goroutines})
			start := time.Now()
			if ended, err := l.run(t.Context()); ended != endMessages || err != nil {
				t.Errorf("ended by %s, %v", ended, err)
			}
			if took := time.Since(start).Round(time.Microsecond); took != 5*time.Second {
				t.Errorf("took %v", took)
			}
			// The wait for its time is not a message's own.
			if longest := time.Duration(l.meter.latency.Max()); longest != 0 {
				t.Errorf("the slowest message took %v", longest)
			}
		})
	}
}

// The line on a terminal is written over itself, and taken away.
func TestBenchProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := inBubble(t, benchCmd{Messages: 40, Duration: time.Minute})
		l.meter.messages = 30
		var shown bytes.Buffer
		wipe := (&progress{w: &shown, terminal: true}).follow(l.progress)
		time.Sleep(2250 * time.Millisecond) // of the bubble
		synctest.Wait()
		wipe()
		lines := strings.Split(shown.String(), "\r\x1b[K")
		if len(lines) != 11 || lines[8] != "30 of 40 messages, 2s of 1m0s, 15 a second" || lines[10] != "" {
			t.Errorf("%q", lines)
		}
		shown.Reset()
		wipe = newProgress(&shown).follow(l.progress) // which is no terminal
		time.Sleep(time.Minute)
		if wipe(); shown.Len() > 0 {
			t.Errorf("%q", &shown)
		}
	})
}

// docs/program.md shows the names that --json has.
func TestBenchJSONIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/program.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## bench\n")
	section, _, _ = strings.Cut(section, "\n## ")
	_, stdout, _ := call(t, t.Context(), nil, "bench", "--messages", "3", "--window", "5", "--rate", "1e6",
		"--redirect", "me@example.com", "--json")
	var got map[string]any
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`"([a-z0-9_]+)":`)
	var written, shown []string
	for _, m := range names.FindAllStringSubmatch(stdout, -1) {
		written = append(written, m[1])
	}
	for _, m := range names.FindAllStringSubmatch(section, -1) {
		shown = append(shown, m[1])
	}
	for _, name := range written {
		if !slices.Contains(shown, name) {
			t.Errorf("%q is not on the page", name)
		}
	}
	for _, name := range shown {
		if !slices.Contains(written, name) && name != "warnings" {
			t.Errorf("%q is on the page, and not written", name)
		}
	}
	if len(written) < 30 {
		t.Errorf("only %d names", len(written))
	}
}
