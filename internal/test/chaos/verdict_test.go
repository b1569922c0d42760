package chaos

import "strings"

// states is a set of what may have become of a recipient.
type states uint8

const (
	accepted states = 1 << iota
	deferred
	refused
	untried // nothing of it was taken, and nothing was decided: it may be sent again
	unknown
)

func (s states) has(other states) bool { return s&other != 0 }

func (s states) String() string {
	var words []string
	for i, w := range []string{"accepted", "deferred", "refused", "untried", "unknown"} {
		if s.has(1 << i) {
			words = append(words, w)
		}
	}
	return strings.Join(words, " or ")
}

// transaction is one MAIL and what belongs to it.
type transaction struct {
	d         *dialogue
	first     int // its MAIL's number among the ops
	mail      *op
	rset      *op  // right before its MAIL
	asked     bool // and before that, the question whether a refused chunk's octets are discarded
	rcpts     []*op
	data      *op
	content   []*op // "." or BDATs
	carried   bool  // the wire had carried another one before
	seq       int64 // when its MAIL was handed over
	disturbed bool  // an answer to it, or to one before it that was underway as well, was out of step
}

// transactions cuts a dialogue into them.
func transactions(d *dialogue) (all []*transaction) {
	var t *transaction
	for i, o := range d.ops {
		switch o.verb {
		case "MAIL":
			t = &transaction{d: d, first: i, mail: o, carried: len(all) > 0, seq: d.wire.seqOfWrite(o.at)}
			if i > 0 && d.ops[i-1].verb == "RSET" {
				t.rset = d.ops[i-1]
				t.asked = i > 1 && d.ops[i-2].isQuestion()
			}
			all = append(all, t)
		case "RCPT":
			if t != nil {
				t.rcpts = append(t.rcpts, o)
			}
		case "DATA":
			if t != nil {
				t.data = o
			}
		case ".", "BDAT":
			if t != nil {
				t.content = append(t.content, o)
			}
			if o.verb == "." || o.last {
				t = nil
			}
		case "RSET":
			t = nil
		}
	}
	for i, t := range all {
		t.disturbed = d.broken >= 0 && t.lastOp() >= t.d.underway(d.broken) || d.surplus > 0 && i == len(all)-1
	}
	return all
}

// isQuestion reports a chunk that is no message, but a command for who does not discard it.
func (o *op) isQuestion() bool { return o.verb == "BDAT" && string(o.body) == "HELP\r\n" }

// underway returns the first op that had not been answered when the op's answer was read.
func (d *dialogue) underway(i int) int { return max(0, i-1) }

func (t *transaction) lastOp() int {
	n := t.first + len(t.rcpts) + len(t.content)
	if t.data != nil {
		n++
	}
	return n
}

// begun reports whether an octet of the terminator was handed over.
func (t *transaction) begun() bool {
	for _, o := range t.content {
		if o.term >= 0 {
			return true
		}
	}
	return false
}

// end is the content's answer: of its chunks the first refusal, else the last one's reply.
func (t *transaction) end() (o *op, h *heard) {
	for _, o := range t.content {
		if o.reply.refused() {
			return o, o.reply
		}
		if o.verb == "." || o.last {
			return o, o.reply
		}
	}
	return nil, nil
}

// rcpt finds the recipient's command.
func (t *transaction) rcpt(to string) *op {
	for _, o := range t.rcpts {
		if address(o.line) == to {
			return o
		}
	}
	return nil
}

// verdict is the states that the transaction leaves its recipient: by its own replies,
// and by nothing else.
func (t *transaction) verdict(to string) states {
	s := t.byReplies(to)
	if t.disturbed {
		// What was read before the disturbance may be believed or not.
		if t.begun() {
			s |= unknown
		} else {
			s |= untried
		}
	}
	return s
}

func (t *transaction) byReplies(to string) states {
	r := t.rcpt(to)
	if t.mail.reply.refused() {
		return t.mailRefused(r)
	}
	if t.asked && t.data != nil && t.data.reply.refused() && !t.nobodyAccepted() {
		return untried // HELP may have been answered by 250, and this refusal be the last RCPT's
	}
	if r == nil {
		return untried // it goes in another transaction
	}
	if r.reply.refused() {
		return t.rcptRefused(r)
	}
	if t.data != nil && t.data.reply.refused() {
		return judge(t.data.reply)
	}
	if o, h := t.end(); h != nil {
		return t.contentAnswered(o, h)
	}
	if !t.begun() {
		return untried
	}
	if t.nobodyAccepted() {
		return untried
	}
	if !t.content[len(t.content)-1].whole {
		return untried | unknown // a cut behind a dot: the terminator's first octet, or a line's
	}
	return unknown
}

// nobodyAccepted reports that all RCPTs were answered, none 2yz.
func (t *transaction) nobodyAccepted() bool {
	for _, o := range t.rcpts {
		if !o.reply.refused() {
			return false
		}
	}
	return true
}

// contradicted: the server refused MAIL, and its other answers do not go with that.
func (t *transaction) contradicted() bool {
	bad := t.rset != nil && t.rset.reply != nil && t.rset.reply.code != 250
	for _, o := range t.rcpts {
		bad = bad || o.reply.class() == 2
	}
	return bad
}

func (t *transaction) mailRefused(r *op) states {
	h := t.mail.reply
	var own states
	switch {
	case h.code == 452 && h.enhanced == "4.5.3" && t.carried:
		own = untried
	default:
		own = judge(h)
	}
	if !t.begun() && t.contradicted() {
		return own | untried // a client may believe none of it
	}
	if _, end := t.end(); end.refused() || !t.begun() || r != nil && r.reply.refused() {
		return own
	}
	sound := t.rset == nil || t.rset.reply != nil && t.rset.reply.code == 250
	for _, o := range t.rcpts {
		sound = sound && o.reply.class() != 2
	}
	if sound {
		return own
	}
	if _, end := t.end(); end != nil {
		return own | accepted | unknown // MAIL refused, and the content taken: nobody can tell
	}
	return own&^untried | unknown
}

func (t *transaction) rcptRefused(r *op) states {
	h := r.reply
	switch {
	case h.tooMany():
		return deferred | untried
	default:
		return judge(h)
	}
}

func (t *transaction) contentAnswered(o *op, h *heard) states {
	early := h.wrote <= o.term || o.term < 0 // before the terminator
	switch {
	case h.class() == 2:
		return accepted
	case h.closing() && !early:
		return deferred
	case h.closing():
		return deferred | untried
	case o.verb == "BDAT" && h.code >= 500 && h.code <= 504 && h.code != 503:
		return refused | untried
	}
	return judge(h)
}

// judge is what a refusal says about those whom it is said to.
func judge(h *heard) states {
	switch {
	case h.closing(), h.session():
		return untried
	case h.class() == 4:
		return deferred
	}
	return refused
}
