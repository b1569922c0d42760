package mailing

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/postrider/postrider"
)

// Plan turns one message into a sequence of parts, each of which becomes a message of its own. Every recipient of the
// message must be in exactly one part.
//
// An error is about the whole plan, found before anything leaves: a template that needs data that a recipient does not
// have, a message without a header to change. The sequence may be run through several times, and must be the same each
// time.
type Plan func(m *postrider.Message) (iter.Seq[Part], error)

// Part is a share of a plan: some of the recipients, and how their message is made. Parts are small, so that a plan for
// many recipients fits into memory: the message is made only when its turn has come, and again when it is tried again.
type Part struct {
	// Index are the places of the part's recipients in the planned Message.To.
	Index []int

	// Build makes the message. Its To has the recipients of Index, in that order. Build may be called more than once,
	// and at the same time as that of other parts.
	Build func() (*postrider.Message, error)
}

// several reports whether a plan has more than one part.
func several(parts iter.Seq[Part]) bool {
	n := 0
	for range parts {
		if n++; n > 1 {
			return true
		}
	}
	return false
}

// replayable refuses a plan whose messages have a content that can be read only once. What
// the plan has made of the message counts: it may hold the content in memory by now.
func replayable(ctx context.Context, m *postrider.Message, parts iter.Seq[Part]) error {
	again, err := m.Content.Replayable(ctx)
	switch {
	case again:
		return nil
	case err != nil && !errors.Is(err, postrider.ErrContentUsed):
		return fmt.Errorf("reading the content: %w", err)
	}
	for p := range parts {
		one, err := p.Build()
		if err != nil {
			return nil // reported when its turn comes
		}
		if again, _ := one.Content.Replayable(ctx); again {
			return nil
		}
		break // all are made in the same way
	}
	return errOnce
}

var errOnce = fmt.Errorf("several messages, retries and signatures need the content more than once, "+
	"but it can be read only once; use Bytes or File: %w", postrider.ErrContentUsed)

// errNobody is the error of a message without recipients.
var errNobody = errors.New("the message has no recipient")

// Whole is the plan that changes nothing: one message for all. The zero Delivery has it.
func Whole(m *postrider.Message) (iter.Seq[Part], error) {
	return inChunks(m, [][]int{upTo(len(m.To))}), nil
}

// inChunks makes a part of each chunk of recipients; all share the content.
func inChunks(m *postrider.Message, chunks [][]int) iter.Seq[Part] {
	return func(yield func(Part) bool) {
		for _, chunk := range chunks {
			build := func() (*postrider.Message, error) { return addressed(m, chunk), nil }
			if !yield(Part{Index: chunk, Build: build}) {
				return
			}
		}
	}
}

// addressed returns m to some of its recipients only.
func addressed(m *postrider.Message, index []int) *postrider.Message {
	part := *m
	part.To = make([]string, len(index))
	for i, at := range index {
		part.To[i] = m.To[at]
	}
	if len(m.Options) == len(m.To) { // else Send says what is wrong
		part.Options = make([]postrider.RecipientOptions, len(index))
		for i, at := range index {
			part.Options[i] = m.Options[at]
		}
	}
	return &part
}

// upTo returns 0, 1, … n-1.
func upTo(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}
