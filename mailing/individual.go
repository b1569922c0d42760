package mailing

import (
	"fmt"
	"iter"

	"github.com/postrider/postrider"
)

// Draft is the message for one recipient while edits change it.
type Draft struct {
	// Recipient is the one who gets it.
	Recipient Recipient

	// From is the envelope's sender; at first the planned message's.
	From string

	// Header is the header section, at first the planned message's.
	Header *Header

	body []byte // nil: the planned message's, shared
}

// SetBody replaces the body. The header must describe the new one (RFC 2045): its type, and its encoding.
func (d *Draft) SetBody(body []byte) {
	if body == nil {
		body = []byte{}
	}
	d.body = body
}

// Edit changes the message for one recipient, in the plan of [Individual].
type Edit struct {
	// Check reports, for each recipient and before the first message leaves, why Apply would fail. nil: it never does.
	Check func(Recipient) error

	// Apply changes a draft. It is called for several drafts at the same time, and again for a message that is sent
	// again.
	Apply func(*Draft) error
}

// Individual is a plan of one message for each recipient (fact 111), changed by the edits in their order. Recipients
// has names and data: it is empty, or has an entry for each of the message's recipients, in their order. Each message
// has a header of its own; the body is shared unless an edit replaces it.
func Individual(recipients []Recipient, edits ...Edit) Plan {
	return func(m *postrider.Message) (iter.Seq[Part], error) {
		if len(recipients) > 0 && len(recipients) != len(m.To) {
			return nil, fmt.Errorf("the plan has %d recipients and the message %d", len(recipients), len(m.To))
		}
		c, err := newCopier(m, recipients, edits)
		if err != nil {
			return nil, err
		}
		return func(yield func(Part) bool) {
			for i := range m.To {
				build := func() (*postrider.Message, error) { return c.build(i) }
				if !yield(Part{Index: []int{i}, Build: build}) {
					return
				}
			}
		}, c.check()
	}
}

// copier makes the copies of one message.
type copier struct {
	message    *postrider.Message
	recipients []Recipient
	edits      []Edit
	source     *source
	header     *Header
}

func newCopier(m *postrider.Message, recipients []Recipient, edits []Edit) (*copier, error) {
	c := &copier{message: m, recipients: recipients, edits: edits}
	if len(edits) == 0 {
		return c, nil
	}
	var err error
	if c.source, err = newSource(m.Content); err != nil {
		return nil, err
	}
	c.header, err = readHeader(c.source.head)
	return c, err
}

func (c *copier) recipient(i int) Recipient {
	if len(c.recipients) == 0 {
		return Recipient{Address: c.message.To[i]}
	}
	return c.recipients[i]
}

// check runs the Check of every edit for every recipient.
func (c *copier) check() error {
	for _, e := range c.edits {
		if e.Check == nil {
			continue
		}
		for i := range c.message.To {
			if err := e.Check(c.recipient(i)); err != nil {
				return fmt.Errorf("recipient %d, %s: %w", i+1, c.message.To[i], err)
			}
		}
	}
	return nil
}

// build makes the message for one recipient.
func (c *copier) build(i int) (*postrider.Message, error) {
	m := addressed(c.message, []int{i})
	if len(c.edits) == 0 {
		return m, nil
	}
	draft := &Draft{Recipient: c.recipient(i), From: m.From, Header: c.header.copy()}
	for _, e := range c.edits {
		if err := e.Apply(draft); err != nil {
			return nil, err
		}
	}
	head, err := draft.Header.write()
	if err != nil {
		return nil, err
	}
	m.From = draft.From
	if draft.body != nil {
		m.Content = inMemory(head, draft.body)
	} else {
		m.Content = c.source.under(head)
	}
	return m, nil
}
