package mailing

import (
	"errors"
	"iter"

	"github.com/postrider/postrider"
)

// Plan turns one message into a sequence of parts, each of which becomes a message
// of its own. Every recipient of the message must be in exactly one part.
//
// An error is one of the whole plan, found before anything leaves: a template that
// wants what a recipient does not have, a message without a header to change. The
// sequence may be run through several times, and must give the same each time.
type Plan func(m *postrider.Message) (iter.Seq[Part], error)

// Part is a share of a plan: some of the recipients, and how their message is made.
// It is small, so that a plan for many can be held, and the message is made only
// when its turn has come, and anew when it is tried again.
type Part struct {
	// Index are the places of the part's recipients in the planned Message.To.
	Index []int

	// Build makes the message. Its To has the recipients of Index, in that order.
	// It may be called more than once, and at the same time as that of other parts.
	Build func() (*postrider.Message, error)
}

// errNobody is what a plan without recipients comes to.
var errNobody = errors.New("the message has no recipient")

// Whole is the plan that changes nothing: one message for all. It is the zero
// Delivery's.
func Whole(m *postrider.Message) (iter.Seq[Part], error) {
	return inChunks(m, [][]int{upTo(len(m.To))}), nil
}

// inChunks makes a part of each chunk of recipients; all share the content.
func inChunks(m *postrider.Message, chunks [][]int) iter.Seq[Part] {
	return func(yield func(Part) bool) {
		for _, chunk := range chunks {
			if !yield(Part{Index: chunk, Build: func() (*postrider.Message, error) { return addressed(m, chunk), nil }}) {
				return
			}
		}
	}
}

// addressed is m to some of its recipients only.
func addressed(m *postrider.Message, index []int) *postrider.Message {
	part := *m
	part.To = make([]string, len(index))
	for i, at := range index {
		part.To[i] = m.To[at]
	}
	return &part
}

// upTo gives 0, 1, … n-1.
func upTo(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}
