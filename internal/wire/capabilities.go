package wire

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// Capabilities are the extensions that the newest EHLO reply named. The zero
// value is a server that knows none.
type Capabilities struct {
	Pipelining, Chunking, EightBitMIME, SMTPUTF8, DSN, StartTLS, RequireTLS bool

	Size     int64    // the largest message in octets; 0: none stated (RFC 1870 §3)
	HasSize  bool     // SIZE was offered, with a limit or without
	Exchange bool     // X-EXPS or X-ANONYMOUSTLS: Microsoft Exchange
	Auth     []string // mechanisms in upper case, in the server's order

	// RFC 9422; 0: no limit stated.
	MailMax, RcptMax, RcptDomainMax int

	FutureRelease bool      // RFC 4865
	HoldMax       int64     // the longest HOLDFOR in seconds; 0: none stated
	HoldMaxDate   time.Time // the latest HOLDUNTIL; zero: none stated

	DeliverBy    bool  // RFC 2852
	DeliverByMin int64 // the shortest time for BY with R, in seconds; 0: none stated

	MTPriority bool // RFC 6710
}

// ParseCapabilities reads an EHLO reply's text. Its first line is the server's
// name and greeting. What it does not know it passes over.
func ParseCapabilities(text string) Capabilities {
	var c Capabilities
	lines := strings.Split(text, "\n")
	for _, line := range lines[1:] {
		words := strings.Fields(line)
		if len(words) > 0 {
			c.add(strings.ToUpper(words[0]), words[1:])
		}
	}
	return c
}

func (c *Capabilities) add(keyword string, params []string) {
	switch keyword {
	case "PIPELINING":
		c.Pipelining = true
	case "CHUNKING":
		c.Chunking = true
	case "8BITMIME":
		c.EightBitMIME = true
	case "SMTPUTF8":
		c.SMTPUTF8 = true
	case "DSN":
		c.DSN = true
	case "STARTTLS":
		c.StartTLS = true
	case "REQUIRETLS": // RFC 8689 §2
		c.RequireTLS = true
	case "SIZE":
		c.HasSize = true
		if len(params) > 0 {
			if n, err := strconv.ParseUint(params[0], 10, 63); err == nil {
				c.Size = int64(n)
			}
		}
	case "FUTURERELEASE":
		c.FutureRelease = true
		c.addHoldLimits(params)
	case "DELIVERBY": // "," and more may follow the number, in later extensions
		c.DeliverBy = true
		if len(params) > 0 {
			least, _, _ := strings.Cut(params[0], ",")
			c.DeliverByMin, _ = parseSeconds(least)
		}
	case "MT-PRIORITY":
		c.MTPriority = true
	case "X-EXPS", "X-ANONYMOUSTLS":
		c.Exchange = true
	case "AUTH":
		c.addAuth(params)
	case "LIMITS":
		c.addLimits(params)
	default: // "AUTH=LOGIN" is how servers wrote it before RFC 2554
		if old, ok := strings.CutPrefix(keyword, "AUTH="); ok {
			c.addAuth(append([]string{old}, params...))
		}
	}
}

// addAuth merges several AUTH lines.
func (c *Capabilities) addAuth(mechanisms []string) {
	for _, m := range mechanisms {
		if m = strings.ToUpper(m); m != "" && !slices.Contains(c.Auth, m) {
			c.Auth = append(c.Auth, m)
		}
	}
}

// addHoldLimits reads the interval and the date of FUTURERELEASE. What is not in their
// form limits nothing: then the server judges.
func (c *Capabilities) addHoldLimits(params []string) {
	if len(params) > 0 {
		c.HoldMax, _ = parseSeconds(params[0])
	}
	if len(params) > 1 {
		if t, err := time.Parse(time.RFC3339, params[1]); err == nil {
			c.HoldMaxDate = t
		}
	}
}

// parseSeconds reads one to nine digits.
func parseSeconds(s string) (n int64, ok bool) {
	u, err := strconv.ParseUint(s, 10, 64)
	if err != nil || len(s) > 9 {
		return 0, false
	}
	return int64(u), true
}

// addLimits reads LIMITS as RFC 9422 §3 wants it: a list with bad syntax is
// ignored whole, a bad value with its name, and unknown names.
func (c *Capabilities) addLimits(params []string) {
	if slices.ContainsFunc(params, badLimit) {
		return
	}
	limits := map[string]*int{"MAILMAX": &c.MailMax, "RCPTMAX": &c.RcptMax, "RCPTDOMAINMAX": &c.RcptDomainMax}
	for _, p := range params {
		name, value, _ := strings.Cut(p, "=")
		n, err := strconv.ParseUint(value, 10, 32)
		if f := limits[strings.ToUpper(name)]; f != nil && err == nil && len(value) <= 6 && value[0] != '0' {
			*f = int(n)
		}
	}
}

// badLimit reports what is neither a name of letters, digits, "-" and "_" nor
// such a name with a value, in which everything graphic but ";" may stand.
func badLimit(p string) bool {
	name, value, valued := strings.Cut(p, "=")
	return name == "" || valued && value == "" ||
		strings.ContainsFunc(name, func(c rune) bool { return !alphanumeric(c) && c != '-' && c != '_' }) ||
		strings.ContainsFunc(value, func(c rune) bool { return c <= ' ' || c > '~' || c == ';' })
}
