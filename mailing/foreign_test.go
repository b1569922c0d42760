package mailing_test

import (
	"bytes"
	"encoding/csv"
	"errors"
	"net/mail"
	"strings"
	"testing"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/mailing"
)

// Files that are not what they are taken for are refused, in words that help.
func TestFilesOfAnotherKindAreNamed(t *testing.T) {
	for _, c := range []struct {
		format     mailing.Format
		text, want string
	}{
		{mailing.CSV, "email,name\nanne@example.com,M\xfcller\n", "line 2, column 19: the octet 0xFC is not UTF-8"},
		// and not an open quote
		{mailing.CSV, "email,name\nanne@example.com,\"M\xfcller\n", "line 2, column 20: the octet 0xFC"},
		// and not a field too few
		{mailing.CSV, "email,name\nanne@example.com\nm@example.com,M\xfcller\n", "line 3, column 16: the octet 0xFC"},
		{mailing.CSV, "email;name\nanne@example.com;Anne\n", "semicolons between the columns"},
		{mailing.CSV, "email\tname\nanne@example.com\tAnne\n", "tabs between the columns"},
		{mailing.CSV, "email,name\ranne@example.com,Anne\r", "end with CR alone"},
		{mailing.CSV, "email\ranne@example.com\r", "end with CR alone"},
		{mailing.Plain, "anne@example.com\rbart@example.com\r", "line 1: lines end with CR alone"},
		{mailing.JSONLines, "{\"email\":\"a@x.com\"}\r{\"email\":\"b@x.com\"}\r", "line 1: lines end with CR alone"},
		{mailing.Plain, "anne@example.com\nM\xfcller <m@example.com>\n", "line 2, column 2: the octet 0xFC"},
		{mailing.JSONLines, "{\"email\":\"a@x.com\",\"name\":\"M\xfcller\"}\n", "line 1, column 29: the octet 0xFC"},
		{mailing.JSONLines, `{"email":"a@x.com","name":"\ud83d"}`, "line 1: half of a character"},
		{mailing.JSONLines, `{"email":"a@x.com","name":"\ude00\ud83d"}`, "half of a character"},
		{mailing.JSONLines, `{"email":"a@x.com","name":"\ud83d x\ude00"}`, "half of a character"},
	} {
		if _, err := mailing.ReadRecipients(strings.NewReader(c.text), c.format); err == nil ||
			!strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %.30q: %v; want %s", c.format, c.text, err, c.want)
		}
	}
	for _, text := range []string{`{"email":"a@x.com","name":"\ud83d\ude00"}`, `{"email":"a@x.com","name":"\\ud83d"}`} {
		if _, err := mailing.ReadRecipients(strings.NewReader(text), mailing.JSONLines); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	for text, want := range map[string]string{
		"anne@example.com\nm\xfcller@example.com\n": "line 2, column 2: the octet 0xFC is not UTF-8",
		"a@example.com\rb@example.com\r":            "CR alone",
		"a@example.com\nb\u200b@example.com\n": "line 2: \"b\\u200b@example.com\": " +
			"it has a ZERO WIDTH SPACE (U+200B)",
		"\xff\xfea\x00": "UTF-16",
	} {
		if _, err := mailing.ReadSuppression(strings.NewReader(text)); err == nil ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %s", text, err, want)
		}
	}
}

// Duplicates are told by the form that suppression looks up, but for upper and lower
// case: to take two people for one would leave one without mail.
func TestDuplicatesInOtherSpellings(t *testing.T) {
	var people []mailing.Recipient
	for _, a := range []string{"jo\u0308rg@example.com", "jörg@example.com", `"j\örg"@Example.com`,
		"Jörg@example.com"} {
		people = append(people, mailing.Recipient{Address: a})
	}
	kept, _ := mailing.Hygiene{}.Clean(people)
	equal(t, "kept", mailing.Addresses(kept), []string{"jo\u0308rg@example.com", "Jörg@example.com"})
	var list mailing.Suppression
	if err := list.Add("JÖRG@example.com"); err != nil {
		t.Fatal(err)
	}
	if kept, skipped := (mailing.Hygiene{Suppressed: &list}).Clean(people); len(kept) != 0 || len(skipped) != 4 {
		t.Errorf("%v gets mail", kept)
	}
}

// What is not UTF-8 is never declared to be, wherever it comes from: the plan is
// refused before the first message leaves.
func TestNothingElseIsDeclaredToBeUTF8(t *testing.T) {
	anne := mailing.Recipient{Address: "anne@example.com", Name: "Örs",
		Data: map[string]any{"bad": "M\xfcller", "cut": "Örs"}}
	latin := anne
	latin.Name = "M\xfcller"
	for name, c := range map[string]struct {
		recipient mailing.Recipient
		edit      mailing.Edit
		want      string
	}{
		"data in a subject": {anne, mailing.Merge{Fields: map[string]string{"Subject": "Hi {{.bad}}"}}.Edit(),
			"the field Subject: column 5: the octet 0xFC"},
		"a template of a subject": {anne, mailing.Merge{Fields: map[string]string{"Subject": "M\xfcller"}}.Edit(),
			"the field Subject: column 2"},
		"data in a text": {anne, mailing.Merge{Text: "Hi\n{{.bad}}"}.Edit(),
			"line 2, column 2: the octet 0xFC"},
		"half a character, cut off": {anne, mailing.Merge{Text: "{{slice .cut 0 1}}."}.Edit(),
			"line 1, column 1: the octet 0xC3"},
		"a template of a text": {anne, mailing.Merge{Text: "Gr\xfc\xdfe"}.Edit(), "line 1, column 3"},
		"a template of HTML":   {anne, mailing.Merge{HTML: "<p>Gr\xfc\xdfe"}.Edit(), "line 1, column 6"},
		"a display name":       {latin, mailing.PersonalTo(), "column 2: the octet 0xFC"},
		"a field":              {anne, mailing.Set("X-Name", "M\xfcller"), "the field X-Name"},
		"a list's name": {anne, mailing.ListFields{ID: "news.example.com", Name: "M\xfcller"}.Edit(),
			"the field List-Id"},
		"a message id": {anne, mailing.MessageID("m\xfc@example.com"), "the field Message-ID"},
	} {
		plan := mailing.Individual([]mailing.Recipient{c.recipient}, c.edit)
		if _, err := plan(message("anne@example.com")); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %s", name, err, c.want)
		}
	}
	set := mailing.Edit{Apply: func(c *mailing.Draft) error {
		c.Header.SetAddresses("Cc", &mail.Address{Name: "M\xfcller", Address: "m@example.com"})
		return nil
	}}
	parts, err := mailing.Individual(nil, set)(message("anne@example.com"))
	if err != nil {
		t.Fatal(err)
	}
	for p := range parts {
		if _, err := p.Build(); err == nil || !strings.Contains(err.Error(), "0xFC") {
			t.Errorf("an address that an edit of one's own sets: %v", err)
		}
	}
}

func TestAddressesInFieldsHaveNothingInvisible(t *testing.T) {
	set := mailing.Set("From", "News <ne\u200bws@example.com>")
	parts, err := mailing.Individual(nil, set)(message("anne@example.com"))
	if err != nil {
		t.Fatal(err)
	}
	for p := range parts {
		if _, err := p.Build(); err == nil || !strings.Contains(err.Error(), "ZERO WIDTH SPACE (U+200B)") {
			t.Error(err)
		}
	}
}

// A spreadsheet calculates nothing of what a server or a list has said, and a program
// gets back what was meant.
func TestTheTableIsNoSpreadsheetProgram(t *testing.T) {
	said := []string{"=HYPERLINK(\"http://x.example\")", "+1", "-1+1|cmd", "@SUM(1)", "\uff1dx", "'quoted'", "plain",
		"5.1.1 no"}
	report := &mailing.Report{}
	for _, s := range said {
		report.Outcomes = append(report.Outcomes, postrider.Outcome{Recipient: s, State: postrider.Refused,
			Err: errors.New(s)})
	}
	var b bytes.Buffer
	if err := report.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&b).ReadAll()
	if err != nil || len(rows) != len(said)+1 {
		t.Fatal(rows, err)
	}
	for i, row := range rows[1:] {
		for _, cell := range []string{row[0], row[5]} {
			if strings.ContainsAny(cell[:1], "=+-@\t\r\n") || strings.HasPrefix(cell, "\uff1d") ||
				strings.TrimPrefix(cell, "'") != said[i] {
				t.Errorf("%q becomes %q", said[i], cell)
			}
		}
	}
	for _, s := range []string{"\t=1", "\r=1", "\n=1"} {
		report.Outcomes = []postrider.Outcome{{Recipient: s}}
		b.Reset()
		if err := report.WriteTable(&b); err != nil || !strings.Contains(b.String(), "'"+s[:1]) {
			t.Errorf("%q: %q, %v", s, b.String(), err)
		}
	}
}

// A server may say a lot; a cell of the table has some 2,000 octets of it.
func TestTheTableIsBounded(t *testing.T) {
	lot := strings.Repeat("a lot ", 20_000)
	report := &mailing.Report{Outcomes: []postrider.Outcome{
		{Recipient: "anne@example.com", State: postrider.Refused, Reply: postrider.Reply{Code: 550, Text: lot}},
		{Recipient: "bart@example.com", State: postrider.Untried, Err: errors.New(lot)},
	}}
	var b bytes.Buffer
	if err := report.WriteTable(&b); err != nil || b.Len() > 5000 || strings.Count(b.String(), "octets more)") != 2 {
		t.Errorf("%d octets, %v", b.Len(), err)
	}
}
