package mailing_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/mailing"
)

// The examples of Mailman's bulk.rst.
//
// Fact 109
func TestTheDocumentsExamples(t *testing.T) {
	com := numbered(52, "person_%03d@example.com")
	equal(t, "52 of com", sizes(built(t, mailing.Bulk(4), message(com...))), slices.Repeat([]int{4}, 13))

	var mixed []string
	for domain, n := range map[string]int{"example.net": 4, "example.org": 3, "example.com": 5, "example.us": 2,
		"example.ca": 1, "example.it": 1, "example.xx": 1} {
		mixed = append(mixed, numbered(n, "person%d@"+domain)...)
	}
	slices.Sort(mixed)
	messages := built(t, mailing.Bulk(4), message(mixed...))
	equal(t, "17 of several", sizes(messages), []int{4, 3, 4, 1, 3, 2})
	for i, want := range []string{"net org", "net org", "com", "com", "us ca", "it xx"} {
		for _, to := range messages[i].To {
			if tld := to[strings.LastIndexByte(to, '.')+1:]; !strings.Contains(want, tld) {
				t.Errorf("chunk %d has %s; it is for %s", i+1, to, want)
			}
		}
	}
	equal(t, "100 without a domain", sizes(built(t, mailing.Bulk(20), message(numbered(100, "person_%03d")...))),
		slices.Repeat([]int{20}, 5))
}

// Fact 109
func TestTheRegionIsOfTheLastLabelAfterTheFirstAt(t *testing.T) {
	for _, same := range [][]string{
		{"a@x.net", "b@y.org"},
		{"a@x.edu", "b@y.us", "c@z.ca"},
		{"a@x.de", "b@y.COM", "c@z.com.", "d@[127.0.0.1]", "e", `"f@x.it"@y.com`},
	} {
		messages := built(t, mailing.Bulk(100), message(append([]string{"1@x.com", "2@x.com"}, same...)...))
		if len(messages) != 2 {
			t.Errorf("%v: %v; want them in one chunk beside com", same, sizes(messages))
		}
	}
}

// Fact 109
func TestOneChunkWithoutALimit(t *testing.T) {
	for _, max := range []int{0, -1} {
		messages := built(t, mailing.Bulk(max), message("a@x.com", "b@x.net", "a@x.com"))
		equal(t, "chunks", sizes(messages), []int{3})
	}
}

// Of equal regions the first seen is first; within one the order stays, and so do
// duplicates, which Mailman loses.
//
// Fact 109
func TestOrderAndDuplicatesStay(t *testing.T) {
	messages := built(t, mailing.Bulk(3), message("a@x.net", "b@x.com", "c@x.net", "b@x.com"))
	equal(t, "first", messages[0].To, []string{"a@x.net", "c@x.net"})
	equal(t, "second", messages[1].To, []string{"b@x.com", "b@x.com"})
}

// One content and one sender serve all chunks.
//
// Fact 108
func TestChunksShareTheMessage(t *testing.T) {
	m := message(numbered(10, "p%d@example.com")...)
	for _, one := range built(t, mailing.Bulk(3), m) {
		if one.From != m.From || text(t, one) != newsletter {
			t.Errorf("a chunk has <%s> and %q", one.From, text(t, one))
		}
	}
}

func TestByDomain(t *testing.T) {
	messages := built(t, mailing.ByDomain(2), message("a@x.com", "b@Y.com", "c@y.com", "d@X.COM", "e@y.com",
		"f@bücher.example", "g@xn--bcher-kva.example", "h"))
	var got []string
	for _, m := range messages {
		got = append(got, strings.Join(m.To, " "))
	}
	equal(t, "chunks", got, []string{"a@x.com d@X.COM", "b@Y.com c@y.com", "e@y.com",
		"f@bücher.example g@xn--bcher-kva.example", "h"})
	equal(t, "without a limit", sizes(built(t, mailing.ByDomain(0), message(numbered(1000, "p%d@x.com")...))),
		[]int{1000})
}

// Fact 111
func TestAMessageForEachRecipient(t *testing.T) {
	m := message("a@x.com", "b@x.com", "a@x.com")
	for i, one := range built(t, mailing.Individual(nil), m) {
		if one.To[0] != m.To[i] || text(t, one) != newsletter {
			t.Errorf("message %d is to %v: %q", i, one.To, text(t, one))
		}
	}
}

// Fields that no edit names stay octet for octet what they were.
func TestIndividualLeavesTheRestAsItIs(t *testing.T) {
	const head = "received: from a\r\n\tby b\r\nX-Odd:no blank\r\nSUBJECT:  =?utf-8?q?gr=C3=BC=C3=9Fe?=  \r\n"
	m := message("a@x.com")
	m.Content = postrider.Bytes([]byte(head + "\r\nbody without end"))
	one := built(t, mailing.Individual(nil, mailing.Set("X-New", "1")), m)[0]
	if got, want := text(t, one), "X-New: 1\r\n"+head+"\r\nbody without end"; got != want {
		t.Errorf("the copy is %q; want %q", got, want)
	}
}

func TestIndividualAsksBeforeAnythingLeaves(t *testing.T) {
	for what, plan := range map[string]mailing.Plan{
		"recipients of another number": mailing.Individual([]mailing.Recipient{{Address: "a@x.com"}}),
		"no field name":                mailing.Individual(nil, mailing.Set("X New", "1")),
		"a line end in a field":        mailing.Individual(nil, mailing.Set("X-New", "1\r\nBcc: everybody@x.com")),
		"a bad Message-ID":             mailing.Individual(nil, mailing.MessageID("no domain")),
	} {
		if _, err := plan(message("a@x.com", "b@x.com")); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
	m := message("a@x.com")
	m.Content = postrider.Bytes([]byte("this is no header\r\n\r\nbody"))
	if _, err := mailing.Individual(nil, mailing.Set("X-New", "1"))(m); err == nil {
		t.Error("no error for a message without a header")
	}
}

func TestMessageIDsAreEachCopysOwn(t *testing.T) {
	plan := mailing.Individual(nil, mailing.MessageID("2026-11.news@example.com"))
	first, again := built(t, plan, message("a@x.com", "b@x.com")), built(t, plan, message("a@x.com", "b@x.com"))
	a, b := field(t, first[0], "Message-ID"), field(t, first[1], "Message-ID")
	if a == b || a != field(t, again[0], "Message-ID") || !strings.HasPrefix(a, "<") ||
		!strings.HasSuffix(a, ".2026-11.news@example.com>") {
		t.Errorf("the ids are %s and %s; once more %s", a, b, field(t, again[0], "Message-ID"))
	}
}
