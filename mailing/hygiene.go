package mailing

import (
	"fmt"
	"io"
	"strings"

	"github.com/postrider/postrider/internal/address"
	"github.com/postrider/postrider/internal/text"
)

// Hygiene checks recipients before anything is sent. It finds wrong addresses, duplicates, and recipients who do not
// want mail. The zero value finds the first two.
type Hygiene struct {
	// Suppressed are recipients who get nothing. nil: there are none.
	Suppressed *Suppression

	// KeepDuplicates keeps an address as often as it is listed.
	KeepDuplicates bool
}

// Reason is why a recipient is skipped.
type Reason string

// The reasons.
const (
	Syntax     Reason = "syntax"     // not an address
	Duplicate  Reason = "duplicate"  // listed before, perhaps in another spelling
	Suppressed Reason = "suppressed" // the suppression list has it, or a domain that it lies in
)

// Skipped is a recipient to whom nothing is sent.
type Skipped struct {
	Index     int // its place among the recipients
	Recipient Recipient
	Reason    Reason
	Detail    string // what is wrong, which recipient it repeats, or which entry suppresses it
}

// String is one line for a report.
func (s Skipped) String() string {
	who := s.Recipient.Address
	if who == "" {
		who = strings.TrimSpace(fmt.Sprintf("recipient %d %s", s.Index+1, s.Recipient.Name))
	}
	return fmt.Sprintf("%s: %s: %s", text.Printable(who), s.Reason, text.Printable(s.Detail))
}

// Clean returns the recipients who get the mailing, and those who are skipped, both in their order. Of duplicates,
// which have the same [Canonical] form, the first is kept. Addresses stay as they were written.
func (h Hygiene) Clean(recipients []Recipient) (kept []Recipient, skipped []Skipped) {
	first := map[string]int{}
	for i, r := range recipients {
		skip := func(reason Reason, detail string) {
			skipped = append(skipped, Skipped{i, r, reason, detail})
		}
		canonical, err := Canonical(r.Address)
		at, twice := first[canonical]
		by, suppressed := h.Suppressed.find(canonical) // false without a canonical form
		switch {
		case err != nil:
			skip(Syntax, err.Error())
		case suppressed:
			skip(Suppressed, "by "+by)
		case twice && !h.KeepDuplicates:
			skip(Duplicate, fmt.Sprintf("of recipient %d, %s", at+1, recipients[at].Address))
		default:
			if !twice {
				first[canonical] = i
			}
			kept = append(kept, r)
		}
	}
	return kept, skipped
}

// Suppression is a list of addresses and domains that get nothing. Its zero value is empty.
type Suppression struct {
	entries map[string]string // as they were written, by the form in which they are looked up
}

// ReadSuppression reads a file with an address or @domain per line, in UTF-8; @domain includes its subdomains. Empty
// lines and those that begin with # are ignored. Any other line is an error: a recipient who wanted no mail would get
// some. Addresses are compared by their [Canonical] form, and without regard to upper and lower case: it is better to
// skip an Anne@example.com whom her server would tell from anne@ than to write to somebody who asked us not to.
func ReadSuppression(r io.Reader) (*Suppression, error) {
	s := &Suppression{entries: map[string]string{}}
	err := eachLine(r, func(line string) error {
		if line == "" || line[0] == '#' {
			return nil
		}
		if err := s.Add(line); err != nil {
			return fmt.Errorf("%q: %w", line, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Add adds an address, or a domain with an @ before it.
func (s *Suppression) Add(entry string) error {
	key, err := address.Entry(entry)
	if err != nil {
		return err
	}
	if s.entries == nil {
		s.entries = map[string]string{}
	}
	s.entries[key] = entry
	return nil
}

// find returns the entry that suppresses a canonical address.
func (s *Suppression) find(canonical string) (entry string, ok bool) {
	if s == nil || len(s.entries) == 0 {
		return "", false
	}
	for key := range address.Keys(canonical) {
		if entry, ok = s.entries[key]; ok {
			return entry, true
		}
	}
	return "", false
}
