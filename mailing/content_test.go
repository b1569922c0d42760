package mailing_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/mailing"
)

// large is a message of about n octets.
func large(n int) []byte {
	return append([]byte("From: news@example.com\r\nSubject: large\r\n\r\n"),
		bytes.Repeat([]byte("a line of forty-eight octets, with its CRLF end\r\n"), n/48)...)
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
			"func": postrider.Func(func() (io.ReadCloser, error) {
				return io.NopCloser(bytes.NewReader(content)),
					nil
			}),
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

// readOnce is a content that can be read only once.
func readOnce(content []byte) postrider.Content {
	return postrider.Reader(struct{ io.Reader }{bytes.NewReader(content)})
}

// A content that can be read once is enough for many copies if it is held in memory.
func TestCopiesOfAOneShotContent(t *testing.T) {
	plan := mailing.Individual(nil, mailing.Set("X-Copy", "yes"))
	for _, size := range []int{1000, 1 << 20} {
		m := message("a@x.com", "b@x.com")
		m.Content = readOnce(large(size))
		sender := &reading{}
		delivery := mailing.Delivery{Plan: mailing.Signed(plan, key(t)), Retry: mailing.Retry{For: time.Hour}}
		report, err := delivery.Deliver(t.Context(), sender, m)
		if err != nil || report.Count(postrider.Accepted) != 2 {
			t.Fatalf("%v, %s", err, states(report))
		}
		for _, got := range sender.contents {
			if !strings.HasSuffix(got, string(large(size))) || !strings.Contains(got, "DKIM-Signature") {
				t.Errorf("a copy of %d octets has %d", size, len(got))
			}
		}
	}
}

// Where it is needed more than once nothing is sent, of as many messages as it may be. One
// that is small, or that can be read at any place, is no such content.
func TestAOneShotContentThatIsNeededAgainIsRefused(t *testing.T) {
	one, many := []string{"a@x.com"}, []string{"a@x.com", "b@x.com", "c@x.com", "d@x.com"}
	retry := mailing.Retry{For: time.Hour}
	for name, c := range map[string]struct {
		to       []string
		delivery mailing.Delivery
		size     int // of the content
	}{
		"chunks":     {many, mailing.Delivery{Plan: mailing.Bulk(2)}, 100_000},
		"domains":    {[]string{"a@x.com", "b@y.com"}, mailing.Delivery{Plan: mailing.ByDomain(0)}, 100_000},
		"individual": {many, mailing.Delivery{Plan: mailing.Individual(nil)}, 100_000},
		"edited, very large": {many, mailing.Delivery{Plan: mailing.Individual(nil, mailing.Set("X-Copy", "yes"))},
			20 << 20},
		"a retry": {one, mailing.Delivery{Retry: retry}, 100_000},
		"signed":  {one, mailing.Delivery{Plan: mailing.Signed(mailing.Whole, key(t))}, 14_800_000},
		"signed chunks": {many, mailing.Delivery{Plan: mailing.Signed(mailing.Bulk(2), key(t)), Retry: retry},
			100_000},
	} {
		t.Run(name, func(t *testing.T) {
			m := message(c.to...)
			m.Content = readOnce(large(c.size))
			sender := &reading{}
			report, err := c.delivery.Deliver(t.Context(), sender, m)
			if !errors.Is(err, postrider.ErrContentUsed) || report.Count(postrider.Untried) != len(c.to) ||
				len(sender.contents) > 0 {
				t.Errorf("%v, %s, %d sent", err, states(report), len(sender.contents))
			}
			for _, content := range []postrider.Content{readOnce(large(1000)),
				postrider.Reader(bytes.NewReader(large(min(c.size, 200_000))))} {
				m.Content = content
				sender := &reading{}
				if report, err := c.delivery.Deliver(t.Context(), sender, m); err != nil {
					t.Fatalf("%v, %s", err, states(report))
				}
				for _, got := range sender.contents {
					if want, _ := m.Content.Open(); !ends(got, want) {
						t.Errorf("a message has %d octets", len(got))
					}
				}
			}
		})
	}
}

// ends reports whether a content ends with what is read.
func ends(content string, with io.ReadCloser) bool {
	defer with.Close()
	text, err := io.ReadAll(with)
	body := text[bytes.Index(text, []byte("\r\n\r\n")):]
	return err == nil && strings.HasSuffix(content, string(body))
}

// One message, sent once, needs it once.
func TestAOneShotContentIsSentOnce(t *testing.T) {
	m := message("a@x.com", "b@x.com")
	m.Content = readOnce(large(1 << 20))
	sender := &reading{}
	report, err := (&mailing.Delivery{}).Deliver(t.Context(), sender, m)
	if err != nil || report.Count(postrider.Accepted) != 2 {
		t.Fatalf("%v, %s", err, states(report))
	}
	if got := sender.contents[0]; got != string(large(1<<20)) {
		t.Errorf("it has %d octets", len(got))
	}
	if _, err := (&mailing.Delivery{}).Deliver(t.Context(), sender, m); !errors.Is(err, postrider.ErrContentUsed) {
		t.Errorf("sent again: %v", err)
	}
}

// A file that became another one while it is sent is not sent in part, nor as what it
// is now.
func TestCopiesOfAContentThatChanges(t *testing.T) {
	asLong := large(9 << 20)
	asLong[0] = 'X'
	for _, another := range [][]byte{[]byte("Subject: another\r\n\r\n"), asLong} {
		opened := 0
		m := message("a@x.com")
		m.Content = postrider.Func(func() (io.ReadCloser, error) {
			if opened++; opened > 2 {
				return io.NopCloser(bytes.NewReader(another)), nil
			}
			return io.NopCloser(bytes.NewReader(large(9 << 20))), nil
		})
		report, err := (&mailing.Delivery{Plan: mailing.Individual(nil,
			mailing.Set("X-Copy", "yes"))}).Deliver(t.Context(), &reading{}, m)
		if err == nil || !strings.Contains(err.Error(), "the content was different") ||
			report.Count(postrider.Accepted) > 0 {
			t.Errorf("%d octets: %v, %s", len(another), err, states(report))
		}
	}
}

// reading is a Sender that reads each content, keeps it, and accepts what it can read.
type reading struct {
	mu       sync.Mutex
	contents []string
}

func (s *reading) Send(_ context.Context, m *postrider.Message) (*postrider.Result, error) {
	var text []byte
	c, err := m.Content.Open()
	if err == nil {
		text, err = io.ReadAll(c)
		c.Close()
	}
	r := &postrider.Result{Message: m}
	for _, to := range m.To {
		o := accepted
		if o.Recipient = to; err != nil {
			o.State, o.Err = postrider.Untried, err
		}
		r.Outcomes = append(r.Outcomes, o)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.contents = append(s.contents, string(text))
	}
	return r, err
}

// key is one to sign with.
func key(t *testing.T) mailing.DKIM {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return mailing.DKIM{Domain: "example.com", Selector: "e", Key: private}
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

// A content that blocks, while the plan is made or a message of it, holds a delivery up no longer than its context, and
// nobody is taken for refused.
func TestAContentThatBlocksInAPlan(t *testing.T) {
	for name, blocked := range map[string]int{"while it is planned": 1, "while a message is made": 2} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				stuck, opened := make(chan struct{}), 0
				m := message("a@x.com", "b@x.com")
				m.Content = postrider.Func(func() (io.ReadCloser, error) {
					if opened++; opened == blocked {
						<-stuck
					}
					return io.NopCloser(bytes.NewReader(large(9 << 20))), nil
				})
				delivery := mailing.Delivery{Concurrency: 1}
				if delivery.Plan = mailing.Signed(mailing.Whole, key(t)); blocked == 1 {
					delivery.Plan = mailing.Individual(nil, mailing.Set("X-Copy", "yes"))
				} else {
					opened = 1
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				start := time.Now()
				report, err := delivery.Deliver(ctx, &reading{}, m)
				if took := time.Since(start); took != time.Second || !errors.Is(err, context.DeadlineExceeded) ||
					report.Count(postrider.Untried) != 2 {
					t.Errorf("%v, %s after %v", err, states(report), took)
				}
				close(stuck) // and its goroutine ends
			})
		})
	}
}
