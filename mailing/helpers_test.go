package mailing_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/mailing"
)

const newsletter = "From: News <news@example.com>\r\nTo: Readers <readers@example.com>\r\nSubject: News\r\n" +
	"Message-ID: <1@example.com>\r\n\r\nNothing happened.\r\n"

func message(to ...string) *postrider.Message {
	return &postrider.Message{From: "bounces@example.com", To: to, Content: postrider.Bytes([]byte(newsletter))}
}

// fake is a Sender that answers for each recipient what verdict says.
type fake struct {
	verdict func(m *postrider.Message, to string) postrider.Outcome // nil: Accepted

	mu   sync.Mutex
	sent []*postrider.Message
}

func (f *fake) Send(_ context.Context, m *postrider.Message) (*postrider.Result, error) {
	f.mu.Lock()
	f.sent = append(f.sent, m)
	f.mu.Unlock()
	r := &postrider.Result{Message: m}
	for _, to := range m.To {
		o := postrider.Outcome{State: postrider.Accepted, Stage: postrider.StageContent,
			Reply: postrider.Reply{Code: 250, Text: "Ok"}}
		if f.verdict != nil {
			o = f.verdict(m, to)
		}
		o.Recipient = to
		r.Outcomes = append(r.Outcomes, o)
	}
	if r.Count(postrider.Untried)+r.Count(postrider.Unknown) > 0 || r.Count(postrider.Accepted) == 0 {
		return r, &postrider.Error{Stage: r.Outcomes[0].Stage, Reply: r.Outcomes[0].Reply, Err: r.Outcomes[0].Err}
	}
	return r, nil
}

func (f *fake) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.sent)
}

func refused(stage postrider.Stage, code int, text string) postrider.Outcome {
	state := postrider.Refused
	if code < 500 {
		state = postrider.Deferred
	}
	return postrider.Outcome{State: state, Stage: stage, Reply: postrider.Reply{Code: code, Text: text}}
}

var errNetwork = errors.New("the network is down")

func untried() postrider.Outcome {
	return postrider.Outcome{State: postrider.Untried, Stage: postrider.StageConnect, Err: errNetwork}
}

var accepted = postrider.Outcome{State: postrider.Accepted, Stage: postrider.StageContent,
	Reply: postrider.Reply{Code: 250}}

// built runs a plan and gives its messages, having seen to it that every recipient is
// in exactly one of them, under the address that the caller gave it.
func built(t *testing.T, plan mailing.Plan, m *postrider.Message) []*postrider.Message {
	t.Helper()
	parts, err := plan(m)
	if err != nil {
		t.Fatal(err)
	}
	seen := make([]int, len(m.To))
	var all []*postrider.Message
	for p := range parts {
		one, err := p.Build()
		if err != nil {
			t.Fatal(err)
		}
		if len(one.To) != len(p.Index) {
			t.Fatalf("a part of %d recipients has a message for %d", len(p.Index), len(one.To))
		}
		for i, at := range p.Index {
			seen[at]++
			if one.To[i] != m.To[at] {
				t.Errorf("recipient %d is %q in the plan and %q in the message", at, one.To[i], m.To[at])
			}
		}
		all = append(all, one)
	}
	for i, n := range seen {
		if n != 1 {
			t.Errorf("recipient %d, %s, is in %d parts", i, m.To[i], n)
		}
	}
	return all
}

// text is the content of a message.
func text(t *testing.T, m *postrider.Message) string {
	t.Helper()
	r, err := m.Content.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// field is the value of a header field, unfolded.
func field(t *testing.T, m *postrider.Message, name string) string {
	t.Helper()
	head, _, _ := strings.Cut(text(t, m), "\r\n\r\n")
	head = strings.ReplaceAll(head, "\r\n ", " ")
	var found []string
	for line := range strings.SplitSeq(head, "\r\n") {
		if n, value, _ := strings.Cut(line, ":"); strings.EqualFold(n, name) {
			found = append(found, strings.TrimSpace(value))
		}
	}
	if len(found) > 1 {
		t.Errorf("the field %s is there %d times", name, len(found))
	}
	return strings.Join(found, "\n")
}

// states are the outcomes' states, in order.
func states(r *mailing.Report) string {
	var words []string
	for _, o := range r.Outcomes {
		words = append(words, o.State.String())
	}
	return strings.Join(words, " ")
}

// numbered gives n addresses.
func numbered(n int, format string) []string {
	to := make([]string, n)
	for i := range to {
		to[i] = fmt.Sprintf(format, i)
	}
	return to
}

// sizes are how many recipients each message has.
func sizes(messages []*postrider.Message) []int {
	var n []int
	for _, m := range messages {
		n = append(n, len(m.To))
	}
	return n
}

func equal[T comparable](t *testing.T, what string, got, want []T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %v; want %v", what, got, want)
	}
}
