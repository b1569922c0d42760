package chaos

import (
	"bytes"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/postrider/postrider"
)

// judge holds every outcome of a run against what was said and what was taken.
type judgement struct {
	w         *world
	dialogues []*dialogue
	rides     map[string][]*transaction // by sender
	taken     map[string]int            // by sender and recipient
	crooked   map[string]bool           // senders whose mail met a server that lies
}

func (w *world) judge() {
	j := &judgement{w: w, rides: map[string][]*transaction{}, taken: map[string]int{}, crooked: map[string]bool{}}
	for _, t := range w.taps {
		j.listen(t)
	}
	for _, all := range j.rides {
		sort.Slice(all, func(i, k int) bool { return all[i].seq < all[k].seq })
	}
	for _, t := range w.takings {
		j.takenMail(t)
	}
	for _, from := range sortedKeys(w.letters) {
		j.letter(w.letters[from])
	}
}

func sortedKeys(m map[string]*letter) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func (j *judgement) listen(t *tap) {
	d := understand(t)
	j.dialogues = append(j.dialogues, d)
	j.w.vague = j.w.vague || d.vague
	s := j.w.sessionOf(t)
	if len(d.junk) > 0 {
		j.w.violated("words", "%s, wire %d: no command: %.100q", t.server, t.number, d.junk[0])
	}
	for _, tr := range d.openings {
		from := address(tr.mail.line)
		j.rides[from] = append(j.rides[from], tr)
		if s != nil && s.crooked {
			j.crooked[from] = true
		}
	}
}

// sessionOf finds the server's end of a wire.
func (w *world) sessionOf(t *tap) *session {
	for _, m := range w.servers {
		key := t.LocalAddr().String()
		if t.tls {
			key = t.RemoteAddr().String()
		}
		if s := m.sessions[key]; s != nil && m.name == t.server {
			return s
		}
	}
	return nil
}

// takenMail: nothing is taken that nobody sent, and nothing but the whole of it.
func (j *judgement) takenMail(t taking) {
	l := j.w.letters[t.from]
	switch {
	case t.misled:
	case l == nil:
		j.w.violated("forged", "%s took mail from %q to %q, which nobody sent: %.200q", t.server, t.from, t.to,
			t.content)
	case len(t.content) == 0 && j.crooked[t.from]:
		// 354 although every recipient was refused in words: a lone dot gets out of it (RFC 2920 §3.1), and a
		// server that lies takes that for a message.
	case l.broken:
		j.w.violated("broken", "%s took %d octets of letter %d, whose content fails (%s)", t.server, len(t.content),
			l.id, l.kind)
	case len(l.sends) > 1 && l.shrunk != nil && bytes.Equal(l.shrunk, t.content): // it was so when it was sent again
	case !bytes.Equal(l.content, t.content):
		var wires []*tap
		for _, ride := range j.rides[t.from] {
			wires = append(wires, ride.d.wire)
		}
		j.w.violatedOn(wires, "content", "%s took other octets of letter %d (%s): %s", t.server, l.id, l.kind,
			difference(l.content, t.content))
	}
	if l == nil {
		return
	}
	for _, to := range t.to {
		if !slices.Contains(l.message.To, to) && !t.misled {
			j.w.violated("forged", "%s took letter %d for %q, to whom it was not sent", t.server, l.id, to)
		}
		j.taken[t.from+" "+to]++
	}
}

func difference(want, got []byte) string {
	n := 0
	for n < min(len(want), len(got)) && want[n] == got[n] {
		n++
	}
	return fmt.Sprintf("%d octets for %d; from octet %d on %.60q for %.60q", len(got), len(want), n, got[n:], want[n:])
}

func (j *judgement) letter(l *letter) {
	for _, s := range l.sends {
		if j.complete(l, s) {
			for i, o := range s.result.Outcomes {
				j.outcome(l, s, l.message.To[i], o)
			}
		}
	}
	j.totals(l)
}

// complete: one outcome for each recipient, in order, and err as the contract has it.
func (j *judgement) complete(l *letter, s *sending) bool {
	if s.late > 0 {
		j.w.violated("time", "letter %d (%s): its Send returned %v behind the end of its context", l.id, l.kind, s.late)
	}
	if s.result == nil || len(s.result.Outcomes) != len(l.message.To) {
		j.w.violated("result", "letter %d: %+v for %q", l.id, s.result, l.message.To)
		return false
	}
	good, bad := false, false
	for i, o := range s.result.Outcomes {
		if o.Recipient != l.message.To[i] {
			j.w.violated("result", "letter %d: outcome %d is of %q", l.id, i, o.Recipient)
		}
		good = good || o.State == postrider.Accepted
		bad = bad || o.State == postrider.Untried || o.State == postrider.Unknown
	}
	if (s.err == nil) != (good && !bad) {
		j.w.violated("err", "letter %d: %v with %v", l.id, s.err, s.result.Outcomes)
	}
	return true
}

var stateBits = map[postrider.State]states{postrider.Accepted: accepted, postrider.Deferred: deferred,
	postrider.Refused: refused,
	postrider.Untried: untried, postrider.Unknown: unknown}

// outcome: what was read allows what was told.
func (j *judgement) outcome(l *letter, s *sending, to string, o postrider.Outcome) {
	if j.w.vague {
		return
	}
	var rides []*transaction
	for _, t := range j.rides[l.message.From] {
		if t.seq > s.began && t.seq < s.ended {
			rides = append(rides, t)
		}
	}
	allowed, why := untried, "it was never begun"
	var wires []*tap
	for i, t := range rides {
		if wires = append(wires, t.d.wire); t.rcpt(to) == nil {
			wires = wires[:len(wires)-1]
		}
		v := t.verdict(to)
		if t.d.wire.tls {
			v |= unknown | untried
		}
		if i < len(rides)-1 && !v.has(untried) && t.rcpt(to) != nil && laterRide(rides[i+1:], to) {
			j.w.violatedOn(wires, "again", "letter %d to %s was sent again, although %s (wire %d)", l.id, to, v,
				t.d.wire.number)
			return
		}
		if !allowed.has(untried) && i > 0 { // it was decided; the others go on
			continue
		}
		if t.rcpt(to) == nil {
			v |= allowed // perhaps it was to go in another transaction
		}
		allowed, why = v, fmt.Sprintf("wire %d leaves it %s", t.d.wire.number, v)
	}
	if j.w.secret {
		allowed |= unknown // what left the client and did not arrive cannot be seen within TLS
	}
	if o.Stage == postrider.StageLocal {
		allowed |= refused | deferred
	}
	if s.cut && len(rides) > 0 {
		allowed |= unknown
		if !allowed.has(accepted) || !rides[len(rides)-1].begun() {
			allowed |= untried
		}
	}
	if got := stateBits[o.State]; !allowed.has(got) {
		j.w.violatedOn(wires, "outcome", "letter %d (%s) to %s is %v, but %s\n\toutcome: %v\n\terr: %v", l.id, l.kind,
			to, o.State, why, o, s.err)
	}
}

func laterRide(rides []*transaction, to string) bool {
	return slices.ContainsFunc(rides, func(t *transaction) bool { return t.rcpt(to) != nil })
}

// totals: what servers took for a recipient agrees with what was told, where no server lies.
func (j *judgement) totals(l *letter) {
	if j.crooked[l.message.From] {
		return
	}
	for i, to := range l.message.To {
		var told []string
		least, most := 0, 0
		for _, s := range l.sends {
			if s.result == nil || len(s.result.Outcomes) <= i {
				return
			}
			switch state := s.result.Outcomes[i].State; state {
			case postrider.Accepted:
				least, most = least+1, most+1
			case postrider.Unknown:
				most++
			}
			told = append(told, s.result.Outcomes[i].State.String())
		}
		n := j.taken[l.message.From+" "+to]
		if n < least || n > most {
			var wires []*tap
			for _, t := range j.rides[l.message.From] {
				wires = append(wires, t.d.wire)
			}
			j.w.violatedOn(slices.Compact(wires), "taken", "letter %d (%s) to %s was taken %d times, and told as %s",
				l.id, l.kind, to, n, strings.Join(told, ", "))
		}
	}
}

// report is the failures, and for the first of them what was said on its wires.
func (w *world) report() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: %d violations\n", w.seed, len(w.failures))
	for i, f := range w.failures {
		if i == 12 {
			fmt.Fprintln(&b, "…")
			break
		}
		fmt.Fprintln(&b, " ", f)
	}
	shown := 0
	for _, f := range w.failures {
		for _, t := range f.wires {
			if shown++; shown <= 2 {
				fmt.Fprintln(&b, " ", f)
				b.WriteString(t.transcript())
			}
		}
	}
	return b.String()
}

// transcripts are the conversations.
func (w *world) transcripts() string {
	var b strings.Builder
	for _, t := range w.taps {
		b.WriteString(t.transcript())
		if s := w.sessionOf(t); s != nil && s.crooked {
			b.WriteString("  (what this server said is not what it did)\n")
		}
	}
	for _, t := range w.takings {
		fmt.Fprintf(&b, "%d: %s took %d octets from %s to %q (%s)\n", t.seq, t.server, len(t.content), t.from, t.to,
			t.wire)
	}
	return b.String()
}
