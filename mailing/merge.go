package mailing

import (
	"bytes"
	"fmt"
	htmltemplate "html/template"
	"io"
	"maps"
	"slices"
	"text/template"

	"github.com/emersion/go-message"
)

// Merge makes a text for each recipient out of templates, which see the recipient's
// data by lower-case names: {{.name}}, {{.address}}, and whatever else there is. A
// key that is missing is an error before the first message leaves.
type Merge struct {
	// Fields are header fields by name, as text templates (text/template):
	// "Subject": "{{.name}}, your ticket". They take the place of the message's own.
	Fields map[string]string

	// Text is the body as plain text, a text template. Blanks at its ends and all
	// line ends stay.
	Text string

	// HTML is the body in HTML, a template of html/template, which knows where in
	// HTML a value stands, and encodes it accordingly.
	HTML string
}

// Edit does the merge. With Text and HTML the copy offers both
// (multipart/alternative); with neither it keeps the message's body.
func (m Merge) Edit() Edit {
	p, err := m.parse()
	return Edit{
		Check: func(r Recipient) error {
			if err != nil {
				return err
			}
			return p.check(r)
		},
		Apply: func(c *Copy) error {
			if err != nil {
				return err
			}
			return p.apply(c)
		},
	}
}

// merger is a Merge with its templates parsed.
type merger struct {
	names  []string // of fields, in order
	fields map[string]*template.Template
	text   *template.Template     // nil: none
	html   *htmltemplate.Template // nil: none
}

func (m Merge) parse() (p *merger, err error) {
	p = &merger{fields: map[string]*template.Template{}}
	p.names = slices.Sorted(maps.Keys(m.Fields))
	for _, name := range p.names {
		if p.fields[name], err = newText(name, m.Fields[name]); err != nil {
			return nil, err
		}
	}
	if m.Text != "" {
		if p.text, err = newText("text", m.Text); err != nil {
			return nil, err
		}
	}
	if m.HTML != "" {
		p.html, err = htmltemplate.New("html").Option("missingkey=error").Parse(m.HTML)
	}
	return p, err
}

// check runs the templates for nothing but their errors.
func (p *merger) check(r Recipient) error {
	data := r.values()
	var h Header
	for _, name := range p.names {
		value, err := executed(p.fields[name], data)
		if err == nil {
			err = h.Set(name, value)
		}
		if err != nil {
			return err
		}
	}
	if p.text != nil {
		if err := p.text.Execute(io.Discard, data); err != nil {
			return err
		}
	}
	if p.html != nil {
		return p.html.Execute(io.Discard, data)
	}
	return nil
}

func (p *merger) apply(c *Copy) error {
	data := c.Recipient.values()
	for _, name := range p.names {
		value, err := executed(p.fields[name], data)
		if err == nil {
			err = c.Header.Set(name, value)
		}
		if err != nil {
			return err
		}
	}
	if p.text == nil && p.html == nil {
		return nil
	}
	header, body, err := p.body(data)
	if err != nil {
		return err
	}
	for f := c.Header.fields.Fields(); f.Next(); {
		if describesBody(f.Key()) {
			f.Del()
		}
	}
	c.Header.fields.Set("Content-Transfer-Encoding", header.Get("Content-Transfer-Encoding"))
	if header.Get("Content-Transfer-Encoding") == "" {
		c.Header.Del("Content-Transfer-Encoding") // multipart has none (RFC 2045 §6.4)
	}
	c.Header.fields.Set("Content-Type", header.Get("Content-Type"))
	c.Header.fields.Set("Mime-Version", "1.0")
	c.SetBody(body)
	return nil
}

// describesBody reports that a field, by its canonical name, is of no use once the
// body is another.
func describesBody(name string) bool {
	return name == "Mime-Version" || len(name) > 8 && name[:8] == "Content-"
}

// boundary cannot stand in a part: after the = of quoted-printable there are hex
// digits or nothing (RFC 2045 §6.7).
const boundary = "=_postrider_alternative"

// body gives the body, and the header that describes it. The least wanted form comes
// first (RFC 2046 §5.1.4).
func (p *merger) body(data any) (header message.Header, body []byte, err error) {
	var b bytes.Buffer
	if p.text == nil || p.html == nil {
		header = partHeader(p.html != nil)
	} else {
		header.SetContentType("multipart/alternative", map[string]string{"boundary": boundary})
	}
	w, err := message.CreateWriter(&b, header)
	if err != nil {
		return header, nil, err
	}
	switch {
	case p.html == nil:
		err = p.text.Execute(w, data)
	case p.text == nil:
		err = p.html.Execute(w, data)
	default:
		err = p.parts(w, data)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return header, nil, fmt.Errorf("making the body: %w", err)
	}
	return header, b.Bytes()[headerEnd(b.Bytes()):], nil
}

func (p *merger) parts(w *message.Writer, data any) error {
	for _, html := range []bool{false, true} {
		part, err := w.CreatePart(partHeader(html))
		if err != nil {
			return err
		}
		if html {
			err = p.html.Execute(part, data)
		} else {
			err = p.text.Execute(part, data)
		}
		if err != nil {
			return err
		}
		if err := part.Close(); err != nil {
			return err
		}
	}
	return nil
}

// partHeader describes a text of any length of lines, in UTF-8, for any server.
func partHeader(html bool) (h message.Header) {
	kind := "text/plain"
	if html {
		kind = "text/html"
	}
	h.SetContentType(kind, map[string]string{"charset": "utf-8"})
	h.Set("Content-Transfer-Encoding", "quoted-printable")
	return h
}
