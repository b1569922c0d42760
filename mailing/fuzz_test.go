package mailing_test

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/postrider/postrider/mailing"
)

// FuzzReadRecipients: whatever a list holds, it is refused with the line named, or read; and a table that was read
// says the same when it is written in the plainest form and read again.
func FuzzReadRecipients(f *testing.F) {
	for _, text := range []string{
		"address,name\nanne@example.com,Anne\n", "Email , Name\r\n\"a\"\"b\"@example.com,\"B\nC\"\r\n",
		"\ufeffemail;name\na@example.com;A\n", "email,email\n", "name\nx\n", "email\n\"", "email,address\n,a@b\n",
		"address\rone@example.com\rtwo@example.com\r", "address\n\xff@example.com\n",
	} {
		f.Add([]byte(text), uint8(1))
	}
	f.Add([]byte("# people\nAnne <anne@example.com>\n\"B \\\"C\\\"\" <b@example.com>\n<\n>\n"), uint8(0))
	f.Add([]byte(`{"Email":"a@example.com","n":1e400,"x":[null,{"y":null}]}`+"\n{}\n"), uint8(2))
	f.Fuzz(func(t *testing.T, text []byte, form uint8) {
		format := []mailing.Format{mailing.Plain, mailing.CSV, mailing.JSONLines}[form%3]
		all, err := mailing.ReadRecipients(bytes.NewReader(text), format)
		if err != nil {
			if all != nil || err.Error() == "" {
				t.Errorf("%d recipients beside the error %q", len(all), err)
			}
			return
		}
		if lines := bytes.Count(text, []byte("\n")) + bytes.Count(text, []byte("\r")) + 1; len(all) > lines {
			t.Errorf("%d recipients in %d lines", len(all), lines)
		}
		kept, skipped := mailing.Hygiene{}.Clean(all)
		if len(kept)+len(skipped) != len(all) {
			t.Errorf("of %d recipients %d are kept and %d skipped", len(all), len(kept), len(skipped))
		}
		if format == mailing.CSV && len(all) > 0 {
			again, err := mailing.ReadRecipients(strings.NewReader(written(t, all)), mailing.CSV)
			if err != nil || !reflect.DeepEqual(all, again) {
				t.Errorf("written and read again: %+v, %v; was %+v", again, err, all)
			}
		}
	})
}

// written is a table of recipients of one table.
func written(t *testing.T, all []mailing.Recipient) string {
	t.Helper()
	var names []string
	for name := range all[0].Data {
		names = append(names, name)
	}
	slices.Sort(names)
	var b strings.Builder
	w := csv.NewWriter(&b)
	record := slices.Clone(names)
	for i := -1; i < len(all); i++ {
		for k, name := range names {
			if i >= 0 {
				record[k] = fmt.Sprint(all[i].Data[name])
			}
		}
		if err := w.Write(record); err != nil {
			t.Fatal(err)
		}
	}
	w.Flush()
	return b.String()
}
