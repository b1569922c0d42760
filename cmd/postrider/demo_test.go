package main

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/smtptest"
)

// sendDemo sends the mailing to a server with faults, as the demo does, and gives
// what it concludes.
func sendDemo(t *testing.T, faults ...smtptest.Fault) (string, error) {
	t.Helper()
	m, err := loadMailing(mailingFiles)
	if err != nil {
		t.Fatal(err)
	}
	s := smtptest.NewUnstartedServer()
	s.Faults = append([]smtptest.Fault{{Command: "RCPT", Address: demoUnknown, Reply: "550 5.1.1 no"}}, faults...)
	s.Start()
	defer s.Close()
	c := &demoCmd{MaxTransactions: 2}
	var out, discard bytes.Buffer
	stats, err := c.send(context.Background(), streams{nil, &discard, &discard}, m, s)
	if err != nil {
		return discard.String(), err
	}
	s.Close()
	err = c.conclude(&out, m.compare(c.MaxTransactions, s, stats))
	return out.String(), err
}

// The demo tells when something is not as it must be: otherwise its last words
// would mean nothing.
func TestDemoSeesFaults(t *testing.T) {
	if out, err := sendDemo(t); err != nil || strings.Contains(out, "WRONG") {
		t.Fatalf("without a fault: %v\n%s", err, out)
	}
	for _, tt := range []struct {
		name  string
		fault smtptest.Fault
		wrong []string // figures; none: the demo ends at once
	}{
		{"one more is refused", smtptest.Fault{Command: "RCPT", Address: "anne@example.com", Nth: 1, Reply: "550 no"},
			[]string{"octet for octet", "recipients accepted", "recipients refused"}},
		{"a server that wants a new wire for the second message",
			smtptest.Fault{Command: "MAIL", Nth: 2, Reply: "421 bye"},
			[]string{"octet for octet"}},
		{"a message is refused", smtptest.Fault{Command: ".", Nth: 3, Reply: "554 no"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, err := sendDemo(t, tt.fault)
			if err == nil {
				t.Fatalf("the demo is content:\n%s", out)
			}
			for _, w := range tt.wrong {
				if !strings.Contains(out, w) || !strings.Contains(lineWith(out, w), "WRONG") {
					t.Errorf("%q is not found wrong:\n%s", w, out)
				}
			}
		})
	}
}

func lineWith(text, what string) string {
	for line := range strings.Lines(text) {
		if strings.Contains(line, what) {
			return line
		}
	}
	return ""
}

// A single octet that is not right is seen.
func TestDemoComparesOctets(t *testing.T) {
	m := &tour{members: []string{"anne@example.com", demoUnknown}}
	p := &post{content: []byte("a\n.b"), result: &postrider.Result{Outcomes: []postrider.Outcome{
		{Recipient: "anne@example.com", State: postrider.Accepted}, {Recipient: demoUnknown, State: postrider.Refused},
	}}}
	got := smtptest.Message{From: demoSender, To: []string{"anne@example.com"}, Content: []byte("a\r\n.b\r\n")}
	if !m.same(p, &got) {
		t.Fatal("what is the same is not seen to be")
	}
	for name, change := range map[string]func(*smtptest.Message){
		"octet":     func(m *smtptest.Message) { m.Content = []byte("a\r\n.B\r\n") },
		"dot":       func(m *smtptest.Message) { m.Content = []byte("a\r\n..b\r\n") },
		"line end":  func(m *smtptest.Message) { m.Content = []byte("a\n.b\r\n") },
		"truncated": func(m *smtptest.Message) { m.Content = []byte("a\r\n.b") },
		"sender":    func(m *smtptest.Message) { m.From = "" },
		"recipient": func(m *smtptest.Message) { m.To = []string{"bart@example.com"} },
	} {
		changed := got
		if change(&changed); m.same(p, &changed) {
			t.Errorf("a different %s is not seen", name)
		}
	}
}
