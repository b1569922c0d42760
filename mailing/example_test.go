package mailing_test

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"strings"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/mailing"
	"github.com/postrider/postrider/smtptest"
)

// The newsletter of the examples.
const news = `From: News <news@example.com>
To: Readers <readers@example.com>
Subject: News

Nothing happened.
`

func newsTo(to ...string) *postrider.Message {
	return &postrider.Message{From: "bounces@example.com", To: to, Content: postrider.Bytes([]byte(news))}
}

// show prints what a plan makes of a message: sender, recipients, and the fields that
// are named.
func show(plan mailing.Plan, m *postrider.Message, fields ...string) {
	parts, err := plan(m)
	if err != nil {
		fmt.Println(err)
		return
	}
	for part := range parts {
		one, err := part.Build()
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(one.From, "to", strings.Join(one.To, ", "))
		r, _ := one.Content.Open()
		text, _ := io.ReadAll(r)
		for line := range strings.Lines(string(text)) {
			name, _, _ := strings.Cut(line, ":")
			for _, f := range fields {
				if f == name || f == "all" {
					fmt.Println("  " + strings.TrimSpace(line))
				}
			}
		}
	}
}

// A mailing in individual messages, to a server that does not know everybody. The
// outcomes stand in the order of the recipients.
func Example() {
	server := smtptest.NewUnstartedServer()
	server.Policy = func(c smtptest.Command) string {
		if c.Verb == "RCPT" && strings.HasPrefix(c.Address, "bart@") {
			return "550 5.1.1 no such user"
		}
		return ""
	}
	server.Start()
	defer server.Close()
	conn, err := postrider.NewConnection(server.Config())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()

	delivery := mailing.Delivery{Plan: mailing.Individual(nil, mailing.VERP{}.Edit(), mailing.PersonalTo())}
	report, err := delivery.Deliver(context.Background(), conn,
		newsTo("anne@example.com", "bart@example.com", "cris@example.org"))
	fmt.Println(report.Count(postrider.Accepted), "accepted,", err)
	for _, o := range report.Outcomes {
		fmt.Println(o.Recipient, o.State)
	}
	for _, f := range report.Failures() {
		fmt.Println(f.Count, "failed with", f.Example.Reply)
	}
	// Output:
	// 2 accepted, <nil>
	// anne@example.com accepted
	// bart@example.com refused
	// cris@example.org accepted
	// 1 failed with 550 5.1.1 no such user
}

// Whole sends the message as it is.
func ExampleWhole() {
	show(mailing.Whole, newsTo("anne@example.com", "bart@example.org"))
	// Output:
	// bounces@example.com to anne@example.com, bart@example.org
}

// Chunks of a region, the largest region first.
func ExampleBulk() {
	show(mailing.Bulk(2), newsTo("anne@example.com", "bart@example.org", "cris@example.net", "dora@example.org",
		"elle@example.com"))
	// Output:
	// bounces@example.com to bart@example.org, cris@example.net
	// bounces@example.com to dora@example.org
	// bounces@example.com to anne@example.com, elle@example.com
}

// Chunks of a domain.
func ExampleByDomain() {
	show(mailing.ByDomain(100), newsTo("anne@example.com", "bart@example.org", "cris@EXAMPLE.com"))
	// Output:
	// bounces@example.com to anne@example.com, cris@EXAMPLE.com
	// bounces@example.com to bart@example.org
}

// A message for each recipient, with a field of our own.
func ExampleIndividual() {
	show(mailing.Individual(nil, mailing.Set("X-Issue", "48")), newsTo("anne@example.com", "bart@example.org"),
		"X-Issue")
	// Output:
	// bounces@example.com to anne@example.com
	//   X-Issue: 48
	// bounces@example.com to bart@example.org
	//   X-Issue: 48
}

// The sender tells whose bounce comes back.
func ExampleVERP() {
	verp := mailing.VERP{}
	show(mailing.Individual(nil, verp.Edit()), newsTo("anne@example.com", "bart@example.org"))
	fmt.Println(verp.Decode("bounces@example.com", "bounces+bart=example.org@example.com"))
	// Output:
	// bounces+anne=example.com@example.com to anne@example.com
	// bounces+bart=example.org@example.com to bart@example.org
	// bart@example.org true
}

// Each finds only herself in To.
func ExamplePersonalTo() {
	people := []mailing.Recipient{{Address: "anne@example.com", Name: "Anne Person"},
		{Address: "zoe@example.org", Name: "Zoë"}}
	show(mailing.Individual(people, mailing.PersonalTo()), newsTo(mailing.Addresses(people)...), "To")
	// Output:
	// bounces@example.com to anne@example.com
	//   To: "Anne Person" <anne@example.com>
	// bounces@example.com to zoe@example.org
	//   To: =?utf-8?q?Zo=C3=AB?= <zoe@example.org>
}

// Data from a file goes into templates. What one of the recipients lacks is found
// before anything is sent.
func ExampleMerge() {
	people, err := mailing.ReadRecipients(strings.NewReader("email,name,seat\nanne@example.com,Anne,12\n"+
		"bart@example.org,Bart,7\n"), mailing.CSV)
	if err != nil {
		fmt.Println(err)
		return
	}
	merge := mailing.Merge{
		Fields: map[string]string{"Subject": "{{.name}}, your ticket"},
		Text:   "Dear {{.name}},\r\n\r\nyou have seat {{.seat}}.\r\n",
	}
	show(mailing.Individual(people, merge.Edit()), newsTo(mailing.Addresses(people)...), "Subject",
		"you have seat 12.\r\n", "you have seat 7.\r\n")
	show(mailing.Individual(people, mailing.Merge{Text: "{{.row}}"}.Edit()), newsTo(mailing.Addresses(people)...))
	// Output:
	// bounces@example.com to anne@example.com
	//   Subject: Anne, your ticket
	//   you have seat 12.
	// bounces@example.com to bart@example.org
	//   Subject: Bart, your ticket
	//   you have seat 7.
	// recipient 1, anne@example.com: template: text:1:2: executing "text" at <.row>: map has no entry for key "row"
}

// A way out in one click (RFC 8058), for each recipient another.
func ExampleListFields() {
	list := mailing.ListFields{
		ID: "news.example.com", OneClick: true, Precedence: "bulk",
		Unsubscribe: []string{"https://example.com/leave?who={{urlquery .address}}"},
	}
	show(mailing.Individual(nil, list.Edit()), newsTo("anne@example.com"), "List-Id", "List-Unsubscribe",
		"List-Unsubscribe-Post", "Precedence")
	// Output:
	// bounces@example.com to anne@example.com
	//   List-Id: <news.example.com>
	//   List-Unsubscribe: <https://example.com/leave?who=anne%40example.com>
	//   List-Unsubscribe-Post: List-Unsubscribe=One-Click
	//   Precedence: bulk
}

// The signature comes last, over everything else.
func ExampleSigned() {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	plan := mailing.Signed(mailing.Bulk(100), mailing.DKIM{Domain: "example.com", Selector: "2026", Key: key})
	parts, err := plan(newsTo("anne@example.com"))
	if err != nil {
		fmt.Println(err)
		return
	}
	for part := range parts {
		m, _ := part.Build()
		r, _ := m.Content.Open()
		text, _ := io.ReadAll(r)
		name, _, _ := strings.Cut(string(text), ":")
		fmt.Println(name)
	}
	// Output:
	// DKIM-Signature
}

// Who is skipped is known, with the reason, before anything is sent.
func ExampleHygiene() {
	left, err := mailing.ReadSuppression(strings.NewReader("# who left\ncris@example.com\n@example.net\n"))
	if err != nil {
		fmt.Println(err)
		return
	}
	people, err := mailing.ReadRecipients(strings.NewReader(`
Anne Person <anne@example.com>
bart@example,com
anne@EXAMPLE.com
cris@example.com
dora@example.net
`), mailing.Plain)
	if err != nil {
		fmt.Println(err)
		return
	}
	kept, skipped := mailing.Hygiene{Suppressed: left}.Clean(people)
	fmt.Println(mailing.Addresses(kept))
	for _, s := range skipped {
		fmt.Println(s)
	}
	// Output:
	// [anne@example.com]
	// bart@example,com: syntax: the domain "example,com": idna: disallowed rune U+002C
	// anne@EXAMPLE.com: duplicate: of recipient 1, anne@example.com
	// cris@example.com: suppressed: by cris@example.com
	// dora@example.net: suppressed: by @example.net
}
