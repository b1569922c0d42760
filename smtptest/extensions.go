package smtptest

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// Extensions are the extensions that EHLO offers besides STARTTLS and AUTH, which depend on other fields of the server.
// The zero value offers none.
type Extensions struct {
	Pipelining          bool  // RFC 2920
	Chunking            bool  // RFC 3030
	EightBitMIME        bool  // RFC 6152
	SMTPUTF8            bool  // RFC 6531
	DSN                 bool  // RFC 3461
	EnhancedStatusCodes bool  // RFC 2034; without it replies have no enhanced codes
	RequireTLS          bool  // RFC 8689; offered and accepted only under TLS
	Size                int64 // RFC 1870: the largest message; 0 offers no SIZE, the limit is DefaultMaxSize

	// Limits is RFC 9422, such as "MAILMAX=2 RCPTMAX=50". EHLO offers the text unchanged, even misspelt; limits that
	// can be read from it are enforced.
	Limits string

	// FutureRelease is RFC 4865: the longest HOLDFOR, and how far ahead HOLDUNTIL may
	// be. If 0, it is not offered. Messages are not held.
	FutureRelease time.Duration

	// DeliverBy is RFC 2852, and DeliverByMin the shortest time accepted with mode R; if
	// 0, EHLO states no minimum.
	DeliverBy    bool
	DeliverByMin time.Duration

	MTPriority bool // RFC 6710

	// Lines are further lines of the EHLO reply, sent unchanged: a second
	// "AUTH LOGIN", "XCLIENT NAME", anything.
	Lines []string
}

// DefaultMaxSize is the largest message that a server accepts unless Extensions.Size sets another limit.
const DefaultMaxSize = 64 << 20

// AllExtensions returns what a modern server offers: everything but LIMITS, FUTURERELEASE, DELIVERBY and MT-PRIORITY,
// which few servers have.
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

// ehloLines returns the lines of the EHLO reply, the server's name first.
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
