package mailing_test

import (
	"strings"
	"testing"

	"github.com/postrider/postrider/mailing"
)

// Fact 112
func TestVERPSenders(t *testing.T) {
	const sender = "test@example.com"
	for recipient, want := range map[string]string{
		"aperson@example.com":   "test+aperson=example.com@example.com",
		"a+tag@example.org":     "test+a+tag=example.org@example.com",
		"a=b@example.org":       "test+a=b=example.org@example.com",
		"unqualified":           sender,
		"a@bücher.example":      "test+a=xn--bcher-kva.example@example.com",
		"a@Example.ORG":         "test+a=Example.ORG@example.com",
		`"a b"@example.org`:     `"test+\"a b\"=example.org"@example.com`,
		`"a@b"@example.org`:     `"test+\"a@b\"=example.org"@example.com`,
		"a@[192.0.2.1]":         `"test+a=[192.0.2.1]"@example.com`,
		"grüße@example.org":     "test+grüße=example.org@example.com",
		"grüße@bücher.example":  "test+grüße=xn--bcher-kva.example@example.com",
		"$local@example.org":    "test+$local=example.org@example.com",
		"${bounces}@example.de": `test+${bounces}=example.de@example.com`,
	} {
		if got := (mailing.VERP{}).Encode(sender, recipient); got != want {
			t.Errorf("%s: %s; want %s", recipient, got, want)
		}
	}
	for _, sender := range []string{"", "postmaster"} {
		if got := (mailing.VERP{}).Encode(sender, "a@x.com"); got != sender {
			t.Errorf("the sender %q became %q", sender, got)
		}
	}
	got := built(t, mailing.Individual(nil, mailing.VERP{}.Edit()), message("a@x.com", "b@x.com"))
	equal(t, "senders", []string{got[0].From, got[1].From},
		[]string{"bounces+a=x.com@example.com", "bounces+b=x.com@example.com"})
	if text(t, got[0]) != newsletter {
		t.Errorf("the content became %q", text(t, got[0]))
	}
}

// Mailman cannot decode what has a + in the list's name.
//
// Fact 112
func TestVERPIsDecoded(t *testing.T) {
	for _, c := range []struct {
		v                          mailing.VERP
		sender, address, recipient string
	}{
		{mailing.VERP{}, "test@example.com", "test+aperson=example.org@example.com", "aperson@example.org"},
		{mailing.VERP{}, "test@example.com", "TEST+aperson=example.org@Example.COM", "aperson@example.org"},
		{mailing.VERP{}, "my+list@example.com", "my+list+a+b=example.org@example.com", "a+b@example.org"},
		{mailing.VERP{Delimiter: "-"}, "a-b@example.com", "a-b-c-d=example.org@example.com", "c-d@example.org"},
		{mailing.VERP{Delimiter: "$"}, "a@example.com", "a$c=example.org@example.com", "c@example.org"},
		{mailing.VERP{Format: "${domain}--${local}--$bounces"}, "news@example.com", "example.org--a--news@example.com",
			"a@example.org"},
		{mailing.VERP{Regexp: `^(?P<bounces>[^+]+?)\+(?P<local>[^=]+)=(?P<domain>[^@]+)@.*$`}, "",
			"test+a=example.org@example.com", "a@example.org"},
		{mailing.VERP{}, "test@example.com", "test@example.com", ""},
		{mailing.VERP{}, "test@example.com", "test+a=example.org@example.net", ""},
		{mailing.VERP{}, "test@example.com", "other+a=example.org@example.com", ""},
		{mailing.VERP{}, "", "test+a=example.org@example.com", ""},
	} {
		if got, ok := c.v.Decode(c.sender, c.address); got != c.recipient || ok != (c.recipient != "") {
			t.Errorf("%+v, %s of %s: %q, %v; want %q", c.v, c.address, c.sender, got, ok, c.recipient)
		}
	}
}

func TestVERPThatNobodyCouldDecodeIsAnError(t *testing.T) {
	for _, v := range []mailing.VERP{{Format: "${bounces}"}, {Format: "${local}"},
		{Format: "${local}=${domain}=${host}"}, {Regexp: "("}, {Regexp: "a(?P<local>b)"}} {
		if _, err := mailing.Individual(nil, v.Edit())(message("a@x.com")); err == nil {
			t.Errorf("%+v: no error", v)
		}
	}
}

// Fact 113
func TestTheInterval(t *testing.T) {
	for interval, want := range map[int]string{0: "----", 1: "****", 3: "--*-", 2: "-*-*", -1: "----"} {
		got := ""
		for post := 1; post <= 4; post++ {
			if (mailing.VERP{Interval: interval}).Due(post) {
				got += "*"
			} else {
				got += "-"
			}
		}
		if got != want {
			t.Errorf("interval %d: %s; want %s", interval, got, want)
		}
	}
}

// FuzzVERP: what is a recipient is decoded to what it was, whatever the sender, and
// the sender made of them is an address.
func FuzzVERP(f *testing.F) {
	f.Add("test@example.com", "aperson@example.org", "")
	f.Add("my+list=x@example.com", `"a \" b"@example.org`, "-")
	f.Add(`"my list"@example.com`, "grüße@bücher.example", "$")
	f.Fuzz(func(t *testing.T, sender, recipient, delimiter string) {
		canonical, err := mailing.Canonical(recipient)
		if err != nil {
			return
		}
		if _, err := mailing.Canonical(sender); err != nil {
			return
		}
		if strings.ContainsFunc(delimiter, func(c rune) bool { return c < ' ' || c == 0x7f || c == '=' || c > '~' }) {
			return
		}
		v := mailing.VERP{Delimiter: delimiter}
		made := v.Encode(sender, recipient)
		if _, err := mailing.Canonical(made); err != nil && !strings.Contains(err.Error(), "longer") {
			t.Fatalf("the sender is %q: %v", made, err)
		}
		back, ok := v.Decode(sender, made)
		if !ok {
			t.Fatalf("%q of %q is not decoded", made, sender)
		}
		again, err := mailing.Canonical(back)
		if err != nil || again != canonical {
			t.Fatalf("%q became %q by way of %q", recipient, back, made)
		}
	})
}
