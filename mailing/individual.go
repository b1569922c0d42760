package mailing

import (
	"fmt"
	"iter"

	"github.com/postrider/postrider"
)

// Draft is the message for one recipient while it is made.
type Draft struct {
	// Recipient is who gets it.
	Recipient Recipient

	// From is the envelope's sender; at first the planned message's.
	From string

	// Header is the header section, at first the planned message's.
	Header *Header

	body []byte // nil: the planned message's, shared
}

// SetBody gives the copy a body of its own. The header must describe it (RFC 2045):
// its type, and its encoding.
func (c *Draft) SetBody(body []byte) {
	if body == nil {
		body = []byte{}
	}
	c.body = body
}

// Edit changes the copies that [Individual] makes.
type Edit struct {
	// Check finds, for each recipient, before the first message leaves, what would
	// keep Apply from its work. nil: nothing can.
	Check func(Recipient) error

	// Apply changes a copy. It is called for several copies at the same time, and
	// again for a copy that is sent again.
	Apply func(*Draft) error
}

// Individual is a plan of a message for each recipient (fact 111), to which the edits
// are done in their order. Recipients gives names and data: it is empty, or has an
// entry for each of the message's recipients, in their order. The header is each
// copy's own, the body is shared unless an edit makes another.
func Individual(recipients []Recipient, edits ...Edit) Plan {
	return func(m *postrider.Message) (iter.Seq[Part], error) {
		if len(recipients) > 0 && len(recipients) != len(m.To) {
			return nil, fmt.Errorf("the plan has %d recipients and the message %d", len(recipients), len(m.To))
		}
		w, err := newWorkshop(m, recipients, edits)
		if err != nil {
			return nil, err
		}
		return func(yield func(Part) bool) {
			for i := range m.To {
				if !yield(Part{Index: []int{i}, Build: func() (*postrider.Message, error) { return w.build(i) }}) {
					return
				}
			}
		}, w.check()
	}
}

// workshop makes the copies of one message.
type workshop struct {
	message    *postrider.Message
	recipients []Recipient
	edits      []Edit
	source     *source
	header     *Header
}

func newWorkshop(m *postrider.Message, recipients []Recipient, edits []Edit) (*workshop, error) {
	w := &workshop{message: m, recipients: recipients, edits: edits}
	if len(edits) == 0 {
		return w, nil
	}
	var err error
	if w.source, err = newSource(m.Content); err != nil {
		return nil, err
	}
	w.header, err = readHeader(w.source.head)
	return w, err
}

func (w *workshop) recipient(i int) Recipient {
	if len(w.recipients) == 0 {
		return Recipient{Address: w.message.To[i]}
	}
	return w.recipients[i]
}

// check asks every edit about every recipient.
func (w *workshop) check() error {
	for _, e := range w.edits {
		if e.Check == nil {
			continue
		}
		for i := range w.message.To {
			if err := e.Check(w.recipient(i)); err != nil {
				return fmt.Errorf("recipient %d, %s: %w", i+1, w.message.To[i], err)
			}
		}
	}
	return nil
}

// build makes the copy for one recipient.
func (w *workshop) build(i int) (*postrider.Message, error) {
	m := addressed(w.message, []int{i})
	if len(w.edits) == 0 {
		return m, nil
	}
	c := &Draft{Recipient: w.recipient(i), From: m.From, Header: w.header.copy()}
	for _, e := range w.edits {
		if err := e.Apply(c); err != nil {
			return nil, err
		}
	}
	head, err := c.Header.write()
	if err != nil {
		return nil, err
	}
	m.From = c.From
	if c.body != nil {
		m.Content = inMemory(head, c.body)
	} else {
		m.Content = w.source.under(head)
	}
	return m, nil
}
