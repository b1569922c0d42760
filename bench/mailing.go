package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"strings"
	"text/template"

	gomail "github.com/wneessen/go-mail"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/mailing"
)

// A mailing is a message for each recipient, with a sender of its own: the same body
// for all (VERP, which Mailman has too), or made from templates (a mail merge).

// batch is how many recipients one delivery has: as many as take a moment. The clock
// is looked at between two.
func (j *job) batch() int { return max(1, min(2000, 8*mib/j.Size)) }

// mailer is package mailing on one Connection.
type mailer struct {
	conn    *postrider.Connection
	plan    mailing.Plan
	message postrider.Message
}

func newMailer(j *job, merge bool) (load, error) {
	conn, err := postrider.NewConnection(postrider.Config{Address: j.Address, LocalName: helloName})
	if err != nil {
		return nil, err
	}
	people := make([]mailing.Recipient, j.batch())
	for i := range people {
		people[i] = mailing.Recipient{Address: fmt.Sprintf("recipient%05d@example.com", i), Name: "A Person",
			Data: map[string]any{"seat": i}}
	}
	edits := []mailing.Edit{mailing.VERP{}.Edit(), mailing.PersonalTo()}
	if merge {
		text, html := templates(j.Size)
		edits = append(edits, mailing.Merge{Fields: map[string]string{"Subject": mergeSubject}, Text: text,
			HTML: html}.Edit())
	}
	return &mailer{conn, mailing.Individual(people, edits...), postrider.Message{
		From: from, To: mailing.Addresses(people), Content: postrider.Bytes(j.content()),
	}}, nil
}

func (m *mailer) open() (int, error) {
	first := m.message
	first.To = first.To[:1]
	return 1, accepted(m.conn.Send(context.Background(), &first))
}

func (m *mailer) run(c *clock) error {
	for !c.over() {
		report, err := (&mailing.Delivery{Plan: m.plan}).Deliver(context.Background(), m.conn, &m.message)
		n := report.Count(postrider.Accepted)
		if err == nil && n < len(m.message.To) {
			err = fmt.Errorf("%d of %d accepted", n, len(m.message.To))
		}
		if err != nil {
			return err
		}
		c.sent.Add(int64(n))
	}
	return nil
}

func (m *mailer) close() { m.conn.Close() }

const mergeSubject = "{{.name}}, your ticket"

// templates are a text and its HTML, of this many octets together, and each with two
// places to fill.
func templates(size int) (plain, html string) {
	line := strings.Repeat("0123456789", lineLength/10) + "\n"
	filling := strings.Repeat(line, size/2/len(line)+1)
	return "Dear {{.name}},\n\nyou have seat {{.seat}}.\n\n" + filling,
		"<p>Dear {{.name}},</p><p>you have seat <b>{{.seat}}</b>.</p><pre>" + filling + "</pre>"
}

// goMailMerge is a loop as go-mail's documentation has it: templates of the standard
// library, and a Msg for each recipient.
type goMailMerge struct {
	*goMail
	subject, text *template.Template
	html          *htmltemplate.Template
	sent          int
}

func dialGoMailMerge(j *job) (session, error) {
	s, err := dialGoMail(j)
	if err != nil {
		return nil, err
	}
	text, html := templates(j.Size)
	return &goMailMerge{
		goMail: s.(*goMail), subject: template.Must(template.New("").Parse(mergeSubject)),
		text: template.Must(template.New("").Parse(text)), html: htmltemplate.Must(htmltemplate.New("").Parse(html)),
	}, nil
}

func (s *goMailMerge) send([]string) error {
	address := fmt.Sprintf("recipient%05d@example.com", s.sent%2000)
	data := map[string]any{"name": "A Person", "address": address, "seat": s.sent}
	s.sent++
	var subject bytes.Buffer
	if err := s.subject.Execute(&subject, data); err != nil {
		return err
	}
	m := gomail.NewMsg()
	m.Subject(subject.String())
	local, domain, _ := strings.Cut(from, "@")
	return errors.Join(
		m.From(from), m.EnvelopeFrom(local+"+"+strings.Replace(address, "@", "=", 1)+"@"+domain),
		m.AddToFormat("A Person", address),
		m.SetBodyTextTemplate(s.text, data), m.AddAlternativeHTMLTemplate(s.html, data), s.c.Send(m),
	)
}
