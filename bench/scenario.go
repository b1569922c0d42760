package main

import "time"

// scenario is one table: what is sent, over what path, to whom, and by which
// clients.
type scenario struct {
	name, title string

	size, recipients, connections int
	rtt                           time.Duration
	secure                        bool   // STARTTLS and AUTH PLAIN, one message a connection
	mta                           string // "Postfix" or "Exim"; else the sink
	heap                          bool

	seconds, quickSeconds float64  // of one run
	clients               []string // in the order of the table
	quick                 []string // those of them that also --quick runs; nil: all; none: it is not run
}

const (
	kib = 1 << 10
	mib = 1 << 20
	rtt = 20 * time.Millisecond
)

// Rows of the tables.
var (
	ways     = []string{"SendAll/chunking", "Send×64/chunking", "Send/chunking"}
	pipeline = []string{"SendAll/pipelining", "Send×64/pipelining", "Send/pipelining"}
	neither  = []string{"SendAll/plain", "Send×64/plain", "Send/plain"}
	goPeers  = []string{"net/smtp", "go-smtp", "go-mail", "gomail.v2"}
	pyPeers  = []string{"smtplib", "mailman", "mailman-message"}
	source1  = []string{"smtp-source"}
	goals    = []string{"net/smtp", "mailman"} // whom the goals are about
)

// all joins lists of rows.
func all(lists ...[]string) (rows []string) {
	for _, l := range lists {
		rows = append(rows, l...)
	}
	return rows
}

// allScenarios is the comparison: S1 to S8 against the sink, P and E against Postfix
// and Exim, and M a mailing to the sink. An r stands for a round-trip time of 20 ms. The sizes are those of a
// notification (1 KiB), of mailing list traffic (4 KiB), of a newsletter and of an
// attachment; 50 recipients are a small mailing list.
func allScenarios() []scenario {
	limits := []string{"limit-bdat", "limit-bdat-sync", "limit-data"}
	peers := all(goPeers, pyPeers, source1)
	everything := all(ways, pipeline, neither, limits, peers)
	// 64 messages without pipelining take a minute there.
	distant := all(ways, pipeline, []string{"SendAll/plain", "Send/plain"}, limits, peers)
	return []scenario{
		{
			name: "S1", title: "1 connection, 1 recipient, 1 KiB", size: kib, recipients: 1,
			seconds: 0.6, quickSeconds: 0.1, clients: everything,
			quick: all(ways, pipeline, neither, limits, goPeers, goals[1:]),
		}, {
			name: "S2", title: "1 connection, 1 recipient, 100 KiB", size: 100 * kib, recipients: 1,
			seconds: 0.6, quickSeconds: 0.1, clients: everything,
			quick: all(ways, pipeline[:1], limits[:1], goals),
		}, {
			name: "S3", title: "1 connection, 50 recipients, 4 KiB", size: 4 * kib, recipients: 50,
			seconds: 0.6, quickSeconds: 0.1, clients: everything,
			quick: all(ways, pipeline, limits[:1], goals),
		}, {
			name: "S4", title: "round-trip time 20 ms, 1 connection, 1 recipient, 4 KiB", size: 4 * kib,
			recipients: 1, rtt: rtt, seconds: 2.4, quickSeconds: 1, clients: distant,
			quick: all(ways, pipeline, limits[:1], goals),
		}, {
			name: "S5", title: "round-trip time 20 ms, 1 connection, 50 recipients, 4 KiB", size: 4 * kib,
			recipients: 50, rtt: rtt, seconds: 2.4, quickSeconds: 1, clients: distant,
			quick: all(ways, pipeline, limits[:1], goals),
		}, {
			name: "S6", title: "16 connections, 1 recipient, 4 KiB", size: 4 * kib, recipients: 1, connections: 16,
			seconds: 0.6, quickSeconds: 0.1, clients: all(ways, pipeline, limits[:1], peers),
			quick: all(ways, limits[:1], goals),
		}, {
			name: "S7", title: "STARTTLS and AUTH PLAIN, a connection for each message, 1 KiB", size: kib,
			recipients: 1, secure: true, seconds: 0.6, quickSeconds: 0.1,
			clients: all(ways, pipeline, goPeers, pyPeers),
			quick:   all(ways, goals),
		}, {
			name: "S7r", title: "the same with a round-trip time of 20 ms", size: kib, recipients: 1, secure: true,
			rtt: rtt, seconds: 1.8, quickSeconds: 0.6, clients: all(ways, pipeline, goPeers, pyPeers),
			// One wire after the other, 64 take long.
			quick: []string{"SendAll/chunking", "Send/chunking", "SendAll/pipelining", "net/smtp", "mailman"},
		}, {
			name: "S8", title: "1 connection, 1 recipient, 10 MiB", size: 10 * mib, recipients: 1, heap: true,
			seconds: 1, quickSeconds: 0.15,
			clients: all(ways, []string{"SendAll-Func/chunking"}, pipeline, []string{"limit-copy"}, peers),
			quick:   all(ways[:2], []string{"SendAll-Func/chunking", "limit-copy"}, goals[:1]),
		},
		{
			name: "M", title: "a mailing: a message for each recipient with a sender of its own, 4 KiB", size: 4 * kib,
			recipients: 1, seconds: 2, quick: []string{},
			clients: []string{"mailing-verp", "mailing-merge", "mailman-verp", "go-mail-merge"},
		},
		real("P1", "Postfix", kib, 0), real("P8", "Postfix", 8*kib, 0),
		real("E1", "Exim", kib, 0), real("E8", "Exim", 8*kib, 0),
		real("P4r", "Postfix", 4*kib, rtt), real("E4r", "Exim", 4*kib, rtt),
	}
}

// pinged reports whether round trips are counted. With a real MTA they are not: it
// counts NOOPs against its clients.
func (s *scenario) pinged() bool { return s.rtt > 0 && s.mta == "" }

// real is a scenario with a real MTA.
func real(name, mta string, size int, rtt time.Duration) scenario {
	title, quick, rows := mta+", "+octetCount(size), 0.25, all(ways[2:], goals[:1])
	if rtt > 0 {
		title, quick, rows = title+", round-trip time 20 ms", 0.8, all(ways[:2], goals[1:])
	}
	if rtt > 0 && mta == "Exim" {
		rows = []string{} // no goal is about it
	}
	return scenario{
		name: name, title: title, size: size, recipients: 1, rtt: rtt, mta: mta,
		seconds: 1, quickSeconds: quick,
		clients: all(ways, []string{"limit-bdat", "limit-data"}, goPeers, pyPeers),
		quick:   rows,
	}
}
