package send_test

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/test/rig"
	"github.com/postrider/postrider/smtptest"
)

func outcomes(states ...postrider.State) (all []postrider.Outcome) {
	for i, s := range states {
		all = append(all, postrider.Outcome{Recipient: string(rune('a'+i)) + "@example.com", State: s})
	}
	return all
}

func TestAll(t *testing.T) {
	const accepted, refused = postrider.Accepted, postrider.Refused
	for _, c := range []struct {
		result postrider.Result
		want   bool
	}{
		{postrider.Result{}, false},
		{postrider.Result{Outcomes: outcomes(accepted)}, true},
		{postrider.Result{Outcomes: outcomes(accepted, accepted)}, true},
		{postrider.Result{Outcomes: outcomes(accepted, refused)}, false},
		{postrider.Result{Outcomes: outcomes(refused, refused)}, false},
	} {
		if got := c.result.All(accepted); got != c.want {
			t.Errorf("All(Accepted) of %v is %t", c.result.Outcomes, got)
		}
	}
}

// The Untried and the Deferred, with their options; the Unknown may have it already.
func TestRemaining(t *testing.T) {
	m := &postrider.Message{
		From:    "anne@example.com",
		To:      []string{"a@example.com", "b@example.com", "c@example.com", "d@example.com", "e@example.com"},
		Content: postrider.Bytes([]byte("x")), RequireTLS: true, Priority: 3,
		Options: []postrider.RecipientOptions{
			{Notify: "0"}, {Notify: "1"}, {Notify: "2"}, {Notify: "3"}, {Notify: "4"},
		},
	}
	r := postrider.Result{Message: m, Outcomes: outcomes(
		postrider.Unknown, postrider.Untried, postrider.Accepted, postrider.Deferred, postrider.Refused)}
	want := *m
	want.To = []string{"b@example.com", "d@example.com"}
	want.Options = []postrider.RecipientOptions{{Notify: "1"}, {Notify: "3"}}
	if got := r.Remaining(); !reflect.DeepEqual(got, &want) {
		t.Errorf("got %+v\nwant %+v", got, &want)
	}
	if len(m.To) != 5 || len(m.Options) != 5 {
		t.Error("the message itself was changed")
	}
	m.Options = nil
	if got := r.Remaining(); got.Options != nil || len(got.To) != 2 {
		t.Errorf("without options: %+v", got)
	}
	r.Outcomes = outcomes(postrider.Unknown, postrider.Accepted, postrider.Refused)
	if got := r.Remaining(); got != nil {
		t.Errorf("nobody remains: %+v", got)
	}
}

// Each recipient gets the message once, however often what remains is sent.
func TestWhatRemainsIsSentOnceToEach(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{Faults: []smtptest.Fault{
			{Command: "RCPT", Nth: 2, Reply: "450 4.2.0 later"},
			{Command: "RCPT", Nth: 4, Reply: "421 4.3.2 bye", Then: smtptest.ThenClose},
		}})
		m := rig.Mail("a@example.com", "b@example.com", "c@example.com")
		for range 4 {
			result, _ := r.Deliver(m)
			if m = result.Remaining(); m == nil {
				break
			}
		}
		if m != nil {
			t.Fatalf("%q are left", m.To)
		}
		if got := strings.Join(r.Contents(), ""); strings.Count(got, "aardvarks") != len(r.Server.Messages()) {
			t.Errorf("got %q", got)
		}
		times := map[string]int{}
		for _, got := range r.Server.Messages() {
			for _, to := range got.To {
				times[to]++
			}
		}
		if !reflect.DeepEqual(times, map[string]int{"a@example.com": 1, "b@example.com": 1, "c@example.com": 1}) {
			t.Errorf("the server has %v", times)
		}
	})
}

// The words of states, stages and modes are read as they are written.
func TestWordsAreReadBack(t *testing.T) {
	for s := postrider.Untried; s <= postrider.Unknown; s++ {
		var got postrider.State
		if err := got.UnmarshalText([]byte(s.String())); err != nil || got != s {
			t.Errorf("%v is read as %v, %v", s, got, err)
		}
	}
	for s := postrider.StageLocal; s <= postrider.StageContent; s++ {
		var got postrider.Stage
		if err := got.UnmarshalText([]byte(s.String())); err != nil || got != s {
			t.Errorf("%v is read as %v, %v", s, got, err)
		}
	}
	for m := postrider.Insecure; m <= postrider.StartTLS; m++ {
		var got postrider.SecureMode
		if err := got.UnmarshalText([]byte(m.String())); err != nil || got != m {
			t.Errorf("%v is read as %v, %v", m, got, err)
		}
	}
	state, stage, mode := postrider.Refused, postrider.StageRcpt, postrider.StartTLS
	for _, word := range []string{"", "Accepted", "accepted ", "State(9)", "1", "lost"} {
		for _, v := range []encoding.TextUnmarshaler{&state, &stage, &mode} {
			if v.UnmarshalText([]byte(word)) == nil {
				t.Errorf("%q is read as %v", word, v)
			}
		}
	}
	if state != postrider.Refused || stage != postrider.StageRcpt || mode != postrider.StartTLS {
		t.Error("what cannot be read changes the value")
	}
}

var durable = []struct {
	outcome postrider.Outcome
	json    string
}{
	{postrider.Outcome{}, `{"state":"untried","stage":"local"}`},
	{
		postrider.Outcome{
			Recipient: "bart@example.com", State: postrider.Accepted, Stage: postrider.StageContent,
			Reply: postrider.Reply{Code: 250, Enhanced: postrider.EnhancedCode{2, 0, 0}, Text: "2.0.0 <queued> as 1"},
		},
		`{"recipient":"bart@example.com","state":"accepted","stage":"content",` +
			`"code":250,"enhanced":"2.0.0","reply":"2.0.0 <queued> as 1"}`,
	},
	{
		postrider.Outcome{
			State: postrider.Deferred, Stage: postrider.StageRcpt,
			Reply: postrider.Reply{Code: 450, Text: "two\nlines\x00"},
		},
		`{"state":"deferred","stage":"rcpt","code":450,"reply":"two\nlines\u0000"}`,
	},
	{
		postrider.Outcome{Recipient: "\xff@x", State: postrider.Refused, Err: errors.New("\xffbad")},
		`{"recipient":"\ufffd@x","recipient_octets":"/0B4","state":"refused","stage":"local",` +
			`"error":"\ufffdbad","error_octets":"/2JhZA=="}`,
	},
	{
		postrider.Outcome{
			State: postrider.Unknown, Stage: postrider.StageMail, Reply: postrider.Reply{Code: 550, Text: "caf\xe9"},
		},
		`{"state":"unknown","stage":"mail","code":550,"reply":"caf\ufffd","reply_octets":"Y2Fm6Q=="}`,
	},
	{
		postrider.Outcome{
			Stage: postrider.StageConnect, Err: &postrider.Error{Step: postrider.StepDial, Err: errors.New("no")},
		},
		`{"state":"untried","stage":"connect","error":"postrider: dial: no"}`,
	},
}

// An Outcome as JSON is for keeping: the shape stands here.
func TestOutcomesAsJSON(t *testing.T) {
	for _, c := range durable {
		o, want := c.outcome, c.json
		got, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		got = bytes.ReplaceAll(got, []byte("\ufffd"), []byte(`\ufffd`))
		got = bytes.ReplaceAll(bytes.ReplaceAll(got, []byte(`\u003c`), []byte("<")), []byte(`\u003e`), []byte(">"))
		if string(got) != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		var back postrider.Outcome
		if err := json.Unmarshal([]byte(want), &back); err != nil {
			t.Fatal(err)
		}
		if (back.Err == nil) != (o.Err == nil) || o.Err != nil && back.Err.Error() != o.Err.Error() {
			t.Errorf("the error comes back as %v, not as %v", back.Err, o.Err)
		}
		back.Err, o.Err = nil, nil
		if back != o {
			t.Errorf("got  %+v\nback %+v", back, o)
		}
	}
}

// What is damaged must not be taken for Untried, which would be sent to again.
func TestOutcomesThatCannotBeRead(t *testing.T) {
	for _, bad := range []string{
		`{}`, `{"state":"accepted"}`, `{"stage":"rcpt"}`, `{"state":null,"stage":"rcpt"}`,
		`{"state":"lost","stage":"rcpt"}`, `{"state":"accepted","stage":"rcpt","enhanced":"5.1"}`,
		`{"state":"accepted","stage":"rcpt","enhanced":"5.1.1.1"}`,
		`{"state":"accepted","stage":"rcpt","enhanced":"05.1.1"}`, `{"state":"accepted","stage":"rcpt","code":"250"}`,
		`{"state":"accepted","stage":"rcpt","reply_octets":"?"}`, `[]`, `"accepted"`,
	} {
		o := postrider.Outcome{Recipient: "as it was"}
		if err := json.Unmarshal([]byte(bad), &o); err == nil || o.Recipient != "as it was" {
			t.Errorf("%s is read as %v, %v", bad, o, err)
		}
	}
	var o postrider.Outcome
	if err := json.Unmarshal([]byte(`{"state":"refused","stage":"rcpt","later":[1]}`), &o); err != nil {
		t.Errorf("a name of a later version: %v", err)
	}
}
