package mailing_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/mailing"
	"github.com/postrider/postrider/smtptest"
)

// merged is a mail merge as it is in use: both forms, a sender, a To, a way out.
func merged(n int) (mailing.Plan, *postrider.Message) {
	people := make([]mailing.Recipient, n)
	for i := range people {
		people[i] = mailing.Recipient{Address: fmt.Sprintf("person%d@example.com", i), Name: "A Person",
			Data: map[string]any{"seat": i}}
	}
	merge := mailing.Merge{
		Fields: map[string]string{"Subject": "{{.name}}, your ticket"},
		Text:   "Dear {{.name}},\n\nyou have seat {{.seat}}.\n\nYours\n",
		HTML:   "<p>Dear {{.name}},</p><p>you have seat <b>{{.seat}}</b>.</p><p>Yours</p>",
	}
	list := mailing.ListFields{
		ID: "news.example.com", OneClick: true,
		Unsubscribe: []string{"https://example.com/leave?who={{urlquery .address}}"},
	}
	return mailing.Individual(people, merge.Edit(), mailing.VERP{}.Edit(), mailing.PersonalTo(),
		list.Edit()), message(mailing.Addresses(people)...)
}

// plans are what is compared: making the messages, and sending them.
func plans(n int) map[string]func() (mailing.Plan, *postrider.Message) {
	return map[string]func() (mailing.Plan, *postrider.Message){
		"merge": func() (mailing.Plan, *postrider.Message) { return merged(n) },
		"verp": func() (mailing.Plan, *postrider.Message) {
			return mailing.Individual(nil, mailing.VERP{}.Edit(),
				mailing.PersonalTo()), message(numbered(n, "p%d@example.com")...)
		},
	}
}

// BenchmarkBuild: what one message costs to make.
func BenchmarkBuild(b *testing.B) {
	for name, make := range plans(1000) {
		b.Run(name, func(b *testing.B) {
			plan, m := make()
			parts, err := plan(m)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for n := 0; n < b.N; {
				for p := range parts {
					if _, err := p.Build(); err != nil {
						b.Fatal(err)
					}
					if n++; n == b.N {
						break
					}
				}
			}
		})
	}
}

// BenchmarkDeliver: what it costs to make and send, to a server that keeps nothing.
func BenchmarkDeliver(b *testing.B) {
	for name, make := range plans(5000) {
		b.Run(name, func(b *testing.B) {
			server := smtptest.NewUnstartedServer()
			server.Discard = true
			server.Start()
			b.Cleanup(server.Close)
			conn, err := postrider.NewConnection(server.Config())
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { conn.Close() })
			plan, m := make()
			for b.Loop() {
				if _, err := (&mailing.Delivery{Plan: plan}).Deliver(context.Background(), conn, m); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(m.To)), "ns/message")
		})
	}
}
