package mailing

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// Hygiene looks through recipients before anything is sent: wrong addresses,
// addresses that are there twice, and people who do not want mail. The zero value
// finds the first two.
type Hygiene struct {
	// Suppressed are those who get nothing. nil: nobody.
	Suppressed *Suppression

	// KeepDuplicates sends to an address as often as it is there.
	KeepDuplicates bool
}

// Reason is why a recipient is skipped.
type Reason string

// The reasons.
const (
	Syntax     Reason = "syntax"     // it is no address
	Duplicate  Reason = "duplicate"  // it is there already, perhaps in another spelling
	Suppressed Reason = "suppressed" // it, or its domain, is in the suppression list
)

// Skipped is a recipient who gets nothing.
type Skipped struct {
	Index     int // its place among the recipients
	Recipient Recipient
	Reason    Reason
	Detail    string // what is wrong, which one it repeats, or what suppresses it
}

// String is one line for a report.
func (s Skipped) String() string {
	who := s.Recipient.Address
	if who == "" {
		who = strings.TrimSpace(fmt.Sprintf("recipient %d %s", s.Index+1, s.Recipient.Name))
	}
	return fmt.Sprintf("%s: %s: %s", printable(who), s.Reason, printable(s.Detail))
}

// Clean gives those who are to get the mailing, and those who are not, both in their
// order. Of duplicates the first is kept. Addresses stay as they were written.
func (h Hygiene) Clean(recipients []Recipient) (kept []Recipient, skipped []Skipped) {
	first := map[string]int{}
	for i, r := range recipients {
		skip := func(reason Reason, detail string) {
			skipped = append(skipped, Skipped{i, r, reason, detail})
		}
		canonical, err := Canonical(r.Address)
		at, twice := first[canonical]
		by, suppressed := "", false
		if h.Suppressed != nil && err == nil {
			by, suppressed = h.Suppressed.find(canonical)
		}
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

// Suppression is a list of addresses and domains that get nothing. Its zero value is
// empty.
type Suppression struct {
	entries map[string]string // canonical address, local part in lower case, or @domain: as it was written
}

// ReadSuppression reads a file with an address or @domain a line. Empty lines and
// those that begin with # do not count. A line that is neither is an error: whoever
// wanted no mail would get some. Upper and lower case are the same here: it is
// better to leave out an Anne@example.com whom her server would tell from anne@ than
// to write to somebody who asked us not to.
func ReadSuppression(r io.Reader) (*Suppression, error) {
	s := &Suppression{entries: map[string]string{}}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, longestLine)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(strings.TrimPrefix(lines.Text(), "\ufeff"))
		if line == "" || line[0] == '#' {
			continue
		}
		if err := s.Add(line); err != nil {
			return nil, fmt.Errorf("line %d: %q: %w", n, line, err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	return s, nil
}

// Add adds an address, or a domain with an @ before it.
func (s *Suppression) Add(entry string) error {
	key := ""
	if domain, ok := strings.CutPrefix(entry, "@"); ok {
		ascii, err := checkedDomain(domain)
		if err != nil {
			return err
		}
		key = "@" + ascii
	} else {
		canonical, err := Canonical(entry)
		if err != nil {
			return err
		}
		key = strings.ToLower(canonical)
	}
	if s.entries == nil {
		s.entries = map[string]string{}
	}
	s.entries[key] = entry
	return nil
}

// Len is how many entries there are.
func (s *Suppression) Len() int { return len(s.entries) }

// find gives the entry that a canonical address falls under.
func (s *Suppression) find(canonical string) (entry string, ok bool) {
	if entry, ok = s.entries[strings.ToLower(canonical)]; !ok {
		_, domain := splitAddress(canonical)
		entry, ok = s.entries["@"+domain]
	}
	return entry, ok
}
