package smtptest

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// Extensions is what EHLO offers besides STARTTLS and AUTH, which follow from
// the server's other fields. The zero value offers nothing.
type Extensions struct {
	Pipelining          bool  // RFC 2920
	Chunking            bool  // RFC 3030
	EightBitMIME        bool  // RFC 6152
	SMTPUTF8            bool  // RFC 6531
	DSN                 bool  // RFC 3461
	EnhancedStatusCodes bool  // RFC 2034; without it the replies carry none
	RequireTLS          bool  // RFC 8689; offered and taken under TLS only
	Size                int64 // RFC 1870: the largest message; 0 is not offered, and DefaultMaxSize holds

	// Limits is RFC 9422: "MAILMAX=2 RCPTMAX=50". EHLO offers it as it is, even misspelt. What it says is enforced.
	Limits string

	// FutureRelease is RFC 4865: the longest HOLDFOR, and how far ahead a HOLDUNTIL may
	// lie. 0 is not offered. Messages are not held.
	FutureRelease time.Duration

	// DeliverBy is RFC 2852, and DeliverByMin the shortest time that is taken with R; 0
	// states none.
	DeliverBy    bool
	DeliverByMin time.Duration

	MTPriority bool // RFC 6710

	// Lines are further lines of the EHLO reply, as they are: a second
	// "AUTH LOGIN", "XCLIENT NAME", anything.
	Lines []string
}

// DefaultMaxSize is the largest message that a server takes if it is told no other.
const DefaultMaxSize = 64 << 20

// AllExtensions is what a modern server offers: everything but LIMITS, and but for
// FUTURERELEASE, DELIVERBY and MT-PRIORITY, which few have.
func AllExtensions() Extensions {
	return Extensions{
		Pipelining: true, Chunking: true, EightBitMIME: true, SMTPUTF8: true, DSN: true,
		EnhancedStatusCodes: true, RequireTLS: true, Size: DefaultMaxSize,
	}
}

// maxSize is the largest message that is taken.
func (e *Extensions) maxSize() int64 {
	if e.Size > 0 {
		return e.Size
	}
	return DefaultMaxSize
}

// limits are the values of RFC 9422; 0: no limit.
type limits struct{ mail, rcpt, domains int }

// limits reads Limits. What is misspelt there limits nothing.
func (e *Extensions) limits() (l limits) {
	for word := range strings.FieldsSeq(e.Limits) {
		name, value, _ := strings.Cut(word, "=")
		n, err := strconv.Atoi(value)
		if err != nil {
			continue
		}
		switch strings.ToUpper(name) {
		case "MAILMAX":
			l.mail = n
		case "RCPTMAX":
			l.rcpt = n
		case "RCPTDOMAINMAX":
			l.domains = n
		}
	}
	return l
}

// ehloLines gives the lines of the EHLO reply, the server's name first.
func (c *conn) ehloLines() []string {
	s, e := c.srv, c.offered()
	lines := []string{s.Hostname}
	add := func(on bool, line string) {
		if on {
			lines = append(lines, line)
		}
	}
	add(e.Pipelining, "PIPELINING")
	add(e.Chunking, "CHUNKING")
	add(e.Size > 0, "SIZE "+strconv.FormatInt(e.Size, 10))
	add(e.EightBitMIME, "8BITMIME")
	add(e.SMTPUTF8, "SMTPUTF8")
	add(e.DSN, "DSN")
	add(e.EnhancedStatusCodes, "ENHANCEDSTATUSCODES")
	add(e.RequireTLS && c.tls, "REQUIRETLS")
	add(c.startTLSOffered(), "STARTTLS")
	add(c.authOffered(), "AUTH "+strings.Join(c.mechanisms(), " "))
	add(e.Limits != "", "LIMITS "+e.Limits)
	add(e.FutureRelease > 0, "FUTURERELEASE "+wholeSeconds(e.FutureRelease)+" "+
		time.Now().Add(e.FutureRelease).UTC().Format(time.RFC3339))
	add(e.DeliverBy, strings.TrimSuffix("DELIVERBY "+wholeSeconds(e.DeliverByMin), " 0"))
	add(e.MTPriority, "MT-PRIORITY")
	return append(lines, e.Lines...)
}

func wholeSeconds(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) }

// pipelining reports whether the newest EHLO offered it, in whatever way.
func (c *conn) pipelining() bool {
	return c.ext.Pipelining ||
		slices.ContainsFunc(c.ext.Lines, func(l string) bool { return strings.EqualFold(l, "PIPELINING") })
}

// offered is what EHLO offers at this moment.
func (c *conn) offered() *Extensions {
	if !c.tls && c.srv.BeforeTLS != nil {
		return c.srv.BeforeTLS
	}
	return &c.srv.Extensions
}
