package mailing

import (
	"bytes"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"io"
	"maps"
	"mime/quotedprintable"
	"slices"
	"strings"
	"text/template"
	"unicode/utf8"

	"github.com/emersion/go-message"

	"github.com/postrider/postrider/internal/header"
	"github.com/postrider/postrider/internal/text"
)

// Merge makes a text for each recipient from templates, which have the recipient's data by lower-case names: {{.name}},
// {{.address}}, and all others. A missing key is an error before the first message leaves.
type Merge struct {
	// Fields are header fields by name, as text templates (text/template): "Subject": "{{.name}}, your ticket". They
	// replace the message's own.
	Fields map[string]string

	// Text is the body as plain text, a text template. Blanks at its ends and all line ends stay.
	Text string

	// HTML is the body in HTML, a template of html/template, which encodes each value for its place in the HTML.
	HTML string
}

// Edit returns the edit that does the merge. With Text and HTML the message has both (multipart/alternative); with
// neither it keeps its body.
func (m Merge) Edit() Edit {
	p, err := m.parse()
	return Edit{
		Check: func(r Recipient) error {
			if err != nil {
				return err
			}
			return p.check(r)
		},
		Apply: func(c *Draft) error {
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
	bodies []executor // the text, the HTML, or both: the preferred form comes last (RFC 2046 §5.1.4)
	frame  frame
}

// executor is a template of either package.
type executor interface {
	Execute(w io.Writer, data any) error
}

func (m Merge) parse() (p *merger, err error) {
	p = &merger{fields: map[string]*template.Template{}}
	p.names = slices.Sorted(maps.Keys(m.Fields))
	for _, name := range p.names {
		if p.fields[name], err = newText(name, m.Fields[name]); err != nil {
			return nil, err
		}
	}
	var kinds []string
	if m.Text != "" {
		t, err := newText("text", m.Text)
		if err != nil {
			return nil, err
		}
		p.bodies, kinds = append(p.bodies, t), append(kinds, "text/plain")
	}
	if m.HTML != "" {
		t, err := htmltemplate.New("html").Option("missingkey=error").Funcs(functions()).Parse(m.HTML)
		if err != nil {
			return nil, err
		}
		p.bodies, kinds = append(p.bodies, t), append(kinds, "text/html")
	}
	if len(kinds) > 0 {
		p.frame, err = newFrame(kinds)
	}
	return p, err
}

// check runs the templates only for their errors.
func (p *merger) check(r Recipient) error {
	data := r.values()
	if err := p.setFields(new(Header), data); err != nil {
		return err
	}
	for _, t := range p.bodies {
		if err := checkBody(t, data); err != nil {
			return err
		}
	}
	return nil
}

// checkBody runs a template only for its errors. The body is declared to be UTF-8, and must be UTF-8, whatever the
// template, the data, or a function that cuts strings has put there.
func checkBody(t executor, data any) error {
	made, err := executed(t, data)
	if err != nil || utf8.ValidString(made) {
		return err
	}
	_, err = io.Copy(io.Discard, text.NewReader(strings.NewReader(made))) // names the place
	return fmt.Errorf("the body that a template makes: %w", err)
}

func (p *merger) setFields(h *Header, data any) error {
	for _, name := range p.names {
		value, err := executed(p.fields[name], data)
		if err == nil {
			err = h.Set(name, value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *merger) apply(c *Draft) error {
	data := c.Recipient.values()
	if err := p.setFields(c.Header, data); err != nil || len(p.bodies) == 0 {
		return err
	}
	body, err := p.frame.fill(p.bodies, data)
	if err != nil {
		return fmt.Errorf("making the body: %w", err)
	}
	for f := c.Header.fields.Fields(); f.Next(); {
		if describesBody(f.Key()) {
			f.Del()
		}
	}
	for f := p.frame.header.Fields(); f.Next(); {
		c.Header.fields.Set(f.Key(), f.Value())
	}
	c.SetBody(body)
	return nil
}

// describesBody reports whether a field, by its canonical name, is wrong once the body is another.
func describesBody(name string) bool {
	return name == "Mime-Version" || len(name) > 8 && name[:8] == "Content-"
}

// boundary cannot occur in a part: after the = of quoted-printable there are hex digits or a line end (RFC 2045 §6.7).
const boundary = "=_postrider_alternative"

// frame is what is the same in every message: the header that describes the body, and what stands around its texts.
type frame struct {
	header message.Header
	pieces [][]byte // one more than there are texts
}

// newFrame makes the MIME of a body once, with a mark for each of its texts, which have these media types.
func newFrame(kinds []string) (f frame, err error) {
	body := []byte(mark)
	if len(kinds) == 1 {
		f.header = partHeader(kinds[0])
	} else {
		f.header.SetContentType("multipart/alternative", map[string]string{"boundary": boundary})
		body, err = alternatives(f.header, kinds)
	}
	f.header.Set("Mime-Version", "1.0")
	f.pieces = bytes.Split(body, []byte(mark))
	return f, err
}

// alternatives is a body of parts, each with a mark for its text.
func alternatives(h message.Header, kinds []string) ([]byte, error) {
	var b bytes.Buffer
	w, err := message.CreateWriter(&b, h)
	if err != nil {
		return nil, err
	}
	for _, kind := range kinds {
		if err := markPart(w, kind); err != nil {
			return nil, err
		}
	}
	err = w.Close()
	return b.Bytes()[header.Length(b.Bytes()):], err
}

// mark stands for a text, and is the same in quoted-printable.
const mark = "postrider-text"

func markPart(w *message.Writer, kind string) error {
	part, err := w.CreatePart(partHeader(kind))
	if err != nil {
		return err
	}
	_, err = io.WriteString(part, mark)
	return errors.Join(err, part.Close())
}

// partHeader describes a text of any length of lines, in UTF-8, for any server.
func partHeader(kind string) (h message.Header) {
	h.SetContentType(kind, map[string]string{"charset": "utf-8"})
	h.Set("Content-Transfer-Encoding", "quoted-printable")
	return h
}

// fill makes a body.
func (f *frame) fill(texts []executor, data any) ([]byte, error) {
	var b bytes.Buffer
	b.Write(f.pieces[0])
	for i, t := range texts {
		w := quotedprintable.NewWriter(&b)
		if err := errors.Join(t.Execute(w, data), w.Close()); err != nil {
			return nil, err
		}
		b.Write(f.pieces[i+1])
	}
	return b.Bytes(), nil
}
