package chaos

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// kind is a kind of fault that a server has at a command.
type kind int

const (
	none kind = iota
	refuse
	nonsense // a code that cannot be the answer
	lie      // a code that says the opposite of what was done
	swallow  // done, and not answered
	ignore   // neither done nor answered
	double   // answered, and once more
	partial  // the answer breaks off, and the wire with it
	dieFirst // the wire ends before anything is done
	dieDone  // … when it was done
	hush     // nothing is said from here on; all is done, and then the wire ends
	late
	junk
	amid // an answer before the end of the content
	bye  // 421, and then one of several things
	kinds
)

func (k kind) String() string {
	return [...]string{"none", "refuse", "nonsense", "lie", "swallow", "ignore", "double", "partial", "die before",
		"die behind", "hush", "late",
		"junk", "amid", "421"}[k]
}

// aftermath is what a server does behind a 421.
type aftermath int

const (
	goOn       aftermath = iota // as if nothing had been said
	refuseAll                   // answers all, takes nothing
	takeAndDie                  // takes what is underway, says nothing, ends the wire
	closeFirst                  // ends its half at once, takes what is underway
	hangUp                      // closes at once
	reset
	aftermaths
)

var (
	refusals = []string{"400 no", "421 4.3.2 closing", "432 4.3.2 throttled", "450 4.2.1 busy", "451 local error",
		"451 4.4.2 timeout",
		"452 full", "452 4.5.3 too many", "452 4.2.2 full", "454 4.7.0 no", "499 no", "500 what", "501 5.5.4 syntax",
		"502 not here",
		"503 5.5.1 sequence", "504 no", "521 no mail", "530 5.7.0 authenticate", "535 5.7.8 no", "538 no",
		"550 5.1.1 nobody",
		"550 no", "551 not local", "552 full", "552 5.2.2 full", "552 5.5.3 too many", "552 5.3.4 big", "553 name",
		"554 5.7.1 policy",
		"554 no", "571 blocked", "599 no"}
	misplaced = []string{"211 status", "214 help", "220 ready", "221 2.0.0 bye", "235 2.7.0 in", "251 will forward",
		"252 perhaps",
		"334 go on", "354 go ahead"}
	rubbish = []string{
		"25\r\n", "2500 no\r\n", "\x00\xff\r\n", "HTTP/1.1 400 Bad Request\r\n", "150 early\r\n", "600 late\r\n",
	}
)

// fault is what is done at one command.
type fault struct {
	kind  kind
	code  string // refuse, nonsense, double, amid
	done  bool   // nonsense, lie: whether it is done all the same
	after aftermath
	abort bool // the wire ends by a reset
	at    int  // partial, amid: behind this many octets
	pause time.Duration
}

// moods are the faults that a connection tends to. A single one shows what a mix hides.
var moods = [][]kind{
	nil, nil, {refuse}, {nonsense}, {lie}, {swallow, ignore}, {double}, {partial}, {dieFirst, dieDone}, {hush}, {late},
	{junk}, {amid},
	{bye}, {bye}, {bye, refuse}, {refuse, late},
	{refuse, nonsense, swallow, ignore, double, partial, dieFirst, dieDone, hush, late, junk, amid, bye},
}

func drawFault(rnd *rand.Rand, verb string, among []kind) fault {
	f := fault{kind: among[rnd.IntN(len(among))], done: rnd.IntN(2) == 0, abort: rnd.IntN(2) == 0, at: rnd.IntN(40),
		after: aftermath(rnd.IntN(int(aftermaths)))}
	switch f.kind {
	case refuse:
		f.code = refusals[rnd.IntN(len(refusals))]
	case nonsense:
		f.code = pickMisplaced(rnd, verb)
	case amid:
		f.code = append([]string{"250 2.0.0 early", "421 4.3.2 closing"}, refusals...)[rnd.IntN(len(refusals)+2)]
		f.at = rnd.IntN(3000)
	case double:
		f.code = append([]string{"", "", "250 2.0.0 again", "220 ready"}, refusals...)[rnd.IntN(8)]
	case late:
		f.pause = time.Duration(rnd.Int64N(int64([]time.Duration{
			time.Second, 40 * time.Second, 11 * time.Minute,
		}[rnd.IntN(3)])))
	case bye:
		f.code = []string{"421 4.3.2 closing", "421 too many", "451 4.4.2 timeout"}[rnd.IntN(3)]
		f.pause = []time.Duration{0, 0, 60 * time.Millisecond, 1500 * time.Millisecond}[rnd.IntN(4)]
	}
	return f
}

// pickMisplaced returns a code that cannot answer the command.
func pickMisplaced(rnd *rand.Rand, verb string) string {
	for {
		c := misplaced[rnd.IntN(len(misplaced))]
		if verb == "DATA" && rnd.IntN(2) == 0 {
			c = "250 2.0.0 ok"
		}
		var code int
		fmt.Sscanf(c, "%d", &code)
		if !inStep(verb, code) || verb == "QUIT" {
			return c
		}
	}
}

// plan is how a server is on one connection.
type plan struct {
	mood    []kind
	rate    float64
	verbs   map[string]bool // nil: at all
	latency time.Duration   // at most, of each answer
	split   bool            // answers come in pieces
	slow    int             // octets it reads at a time; 0: as they come
	readCut int             // the wire ends behind this many octets; 0: it does not
	sayCut  int

	pipelining, chunking, enhanced, eightBit, auth bool
	size, mailMax, rcptMax, domainMax              int
	announce                                       bool // the limits, by RFC 9422
	cap                                            int  // MAIL commands; 0: any number
	capStyle                                       int
	capPause                                       time.Duration
	keeps                                          bool // the transaction, when a content was refused
}

// Styles of a server at its limit.
const (
	capExim      = iota // 421 to each MAIL, 503 to the rest, 250 to RSET; waits for the client
	capOpenSMTPD        // 452 4.5.3
	capHangUp           // 421 and hangs up
	capStyles
)

func drawPlan(rnd *rand.Rand) plan {
	p := plan{mood: moods[rnd.IntN(len(moods))], rate: []float64{0.02, 0.1, 0.3}[rnd.IntN(3)], split: rnd.IntN(3) == 0,
		pipelining: rnd.IntN(5) > 0, chunking: rnd.IntN(5) > 1, enhanced: rnd.IntN(2) == 0, eightBit: rnd.IntN(4) > 0,
		keeps: rnd.IntN(2) == 0}
	p.latency = []time.Duration{0, time.Millisecond, 30 * time.Millisecond, 300 * time.Millisecond}[rnd.IntN(4)]
	if rnd.IntN(2) == 0 {
		p.verbs = map[string]bool{
			[]string{"MAIL", "RCPT", "DATA", "BDAT", ".", "RSET", "QUIT", "", "EHLO"}[rnd.IntN(9)]: true,
		}
		p.rate *= 2
	}
	switch rnd.IntN(12) {
	case 0:
		p.slow = 64 + rnd.IntN(4000)
	case 1:
		p.readCut = 1 + rnd.IntN([]int{600, 6000, 400_000}[rnd.IntN(3)])
	case 2:
		p.sayCut = 1 + rnd.IntN([]int{300, 2000}[rnd.IntN(2)])
	}
	p.announce = rnd.IntN(2) == 0
	if rnd.IntN(6) == 0 {
		p.size = []int{1000, 70_000, 1 << 20}[rnd.IntN(3)]
	}
	if rnd.IntN(6) == 0 {
		p.rcptMax = 1 + rnd.IntN(4)
	}
	if rnd.IntN(10) == 0 {
		p.domainMax = 1 + rnd.IntN(2)
	}
	if rnd.IntN(4) == 0 {
		p.cap, p.capStyle = 1+rnd.IntN(12), rnd.IntN(capStyles)
		p.capPause = []time.Duration{0, 60 * time.Millisecond}[rnd.IntN(2)]
		if rnd.IntN(3) == 0 {
			p.mailMax = p.cap
		}
	}
	return p
}
