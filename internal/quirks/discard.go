package quirks

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// Discard is what is known of a server's way with the octets of a BDAT that it refuses (RFC 3030 §2 has them thrown
// away).
type Discard int

// The answers.
const (
	DiscardUnknown Discard = iota
	DiscardAsked           // the probe is on its way, or was never answered
	Executes               // it does not discard, or may not
	Discards               // BDAT may follow unread RCPTs
)

// mostServers bounds the memory for servers behind changing addresses.
const mostServers = 256

// discards remembers of servers whether they discard, each for a while. Behind one name there may be several: it goes
// by identity.
type discards struct {
	mu    sync.Mutex // a leaf: nothing is locked under it
	known map[string]discardFact
}

type discardFact struct {
	discard Discard
	until   time.Time
}

// RecallDiscard returns what is known of the server with an identity.
func (q *Quirks) RecallDiscard(identity string) Discard {
	d := &q.discards
	d.mu.Lock()
	defer d.mu.Unlock()
	if f := d.known[identity]; time.Now().Before(f.until) {
		return f.discard
	}
	return DiscardUnknown
}

// RememberDiscard notes it.
func (q *Quirks) RememberDiscard(identity string, is Discard) {
	d := &q.discards
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.known == nil || len(d.known) >= mostServers {
		d.known = map[string]discardFact{}
	}
	d.known[identity] = discardFact{is, time.Now().Add(life)}
}

// Identity is by what a server is known again: its address, its name and its keywords, from the text of its newest
// reply to EHLO. The rest of the first line often names us.
func Identity(address, hello string) string {
	first, rest, _ := strings.Cut(hello, "\n")
	name, _, _ := strings.Cut(first, " ")
	keywords := strings.Split(strings.ToUpper(rest), "\n")
	slices.Sort(keywords)
	return strings.Join(append(keywords, strings.ToLower(name), address), "\n")
}
