package mailing_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/mailing"
)

// large is a message of about n octets.
func large(n int) []byte {
	return append([]byte("From: news@example.com\r\nSubject: large\r\n\r\n"), bytes.Repeat([]byte("a line of forty-eight octets, with its CRLF end\r\n"), n/48)...)
}

func TestCopiesOfAnyContentHaveAllOfIt(t *testing.T) {
	plan := mailing.Individual(nil, mailing.Set("X-Copy", "yes"))
	for _, size := range []int{0, 1 << 10, 63 << 10, 65 << 10, 1 << 20, 9 << 20} {
		content := large(size)
		name := filepath.Join(t.TempDir(), "m.eml")
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
		for what, c := range map[string]postrider.Content{
			"bytes": postrider.Bytes(content),
			"file":  postrider.File(name),
			"func":  postrider.Func(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }),
		} {
			m := message("a@x.com", "b@x.com")
			m.Content = c
			for _, one := range built(t, plan, m) {
				for range 2 { // a retry opens it again
					if got := text(t, one); got != "X-Copy: yes\r\n"+string(content) {
						t.Fatalf("%s of %d octets: the copy has %d octets", what, len(content), len(got))
					}
				}
			}
		}
	}
}

// A content that can be read once is enough for many copies if it is held in memory.
// If it is not, that is found before anything leaves.
func TestCopiesOfAOneShotContent(t *testing.T) {
	plan := mailing.Individual(nil, mailing.Set("X-Copy", "yes"))
	m := message("a@x.com", "b@x.com")
	m.Content = postrider.Reader(bytes.NewReader(large(1 << 20)))
	if all := built(t, plan, m); text(t, all[0]) != text(t, all[1]) {
		t.Error("the copies differ")
	}
	m.Content = postrider.Reader(bytes.NewReader(large(20 << 20)))
	sender := &fake{}
	report, err := (&mailing.Delivery{Plan: plan}).Deliver(t.Context(), sender, m)
	if err == nil || !strings.Contains(err.Error(), "not Reader") || sender.count() > 0 {
		t.Errorf("%v, %s", err, states(report))
	}
}

// A file that became another one while it is sent is not sent in part, nor as what it
// is now.
func TestCopiesOfAContentThatChanges(t *testing.T) {
	opened := 0
	m := message("a@x.com")
	m.Content = postrider.Func(func() (io.ReadCloser, error) {
		if opened++; opened > 2 {
			return io.NopCloser(strings.NewReader("Subject: another\r\n\r\n")), nil
		}
		return io.NopCloser(bytes.NewReader(large(9 << 20))), nil
	})
	report, err := (&mailing.Delivery{Plan: mailing.Individual(nil, mailing.Set("X-Copy", "yes"))}).Deliver(t.Context(), &reading{}, m)
	if err == nil || !strings.Contains(err.Error(), "the content was another") || report.Count(postrider.Accepted) > 0 {
		t.Errorf("%v, %s", err, states(report))
	}
}

// reading is a Sender that reads each content, and accepts what it can read.
type reading struct{}

func (s *reading) Send(_ context.Context, m *postrider.Message) (*postrider.Result, error) {
	r := &postrider.Result{Message: m, Outcomes: []postrider.Outcome{{Recipient: m.To[0], State: postrider.Accepted}}}
	c, err := m.Content.Open()
	if err == nil {
		_, err = io.Copy(io.Discard, c)
		c.Close()
	}
	if err != nil {
		r.Outcomes[0].State = postrider.Untried
	}
	return r, err
}

// 10,000 copies of 1 MiB are 10 GiB, and must never be that in memory: what is made
// for a copy is its header.
func TestCopiesShareTheBody(t *testing.T) {
	m := message(numbered(10000, "p%d@x.com")...)
	m.Content = postrider.Bytes(large(1 << 20))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	messages := built(t, mailing.Individual(nil, mailing.VERP{}.Edit(), mailing.PersonalTo()), m)
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / uint64(len(messages)); each > 16<<10 {
		t.Errorf("a copy takes %d octets", each)
	}
	runtime.KeepAlive(messages)
}
