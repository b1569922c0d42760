package smtptest

import (
	"bytes"
	"math"
)

// verb is a command of SMTP, or a point of the dialogue that has none and where
// something can be made to go wrong all the same.
type verb uint8

const (
	verbUnknown verb = iota
	verbEhlo
	verbHelo
	verbStartTLS
	verbAuth
	verbMail
	verbRcpt
	verbData
	verbBdat
	verbRset
	verbNoop
	verbVrfy
	verbHelp
	verbStat
	verbQuit
	pointGreeting   // the server's first words
	pointTLS        // the handshake
	pointResponse   // a line of the client inside AUTH
	pointTerminator // the final dot, or a BDAT LAST
	numVerbs
)

// Values of [Fault.Command] for points of the dialogue that are not commands.
const (
	Greeting   = "greeting" // before the server's greeting
	Handshake  = "TLS"      // the TLS handshake
	Response   = "response" // a client's response during AUTH
	Terminator = "."        // the final dot, or BDAT with LAST
)

var verbWords = [numVerbs]string{
	verbUnknown: "?",
	verbEhlo:    "EHLO", verbHelo: "HELO", verbStartTLS: "STARTTLS", verbAuth: "AUTH",
	verbMail: "MAIL", verbRcpt: "RCPT", verbData: "DATA", verbBdat: "BDAT",
	verbRset: "RSET", verbNoop: "NOOP", verbVrfy: "VRFY", verbHelp: "HELP",
	verbStat: "STAT", verbQuit: "QUIT",
	pointGreeting: Greeting, pointTLS: Handshake, pointResponse: Response, pointTerminator: Terminator,
}

func (v verb) String() string { return verbWords[v] }

// cutVerb takes a command line apart: RFC 5321 §2.4 has the verb in any case,
// and a space before the argument.
func cutVerb(line []byte) (v verb, arg []byte) {
	word, arg, _ := bytes.Cut(line, []byte{' '})
	return lookupVerb(word), arg
}

// lookupVerb compares four letters at once: it runs for every line.
func lookupVerb(word []byte) verb {
	if len(word) != 4 {
		if foldIn(word, "STARTTLS") {
			return verbStartTLS
		}
		return verbUnknown
	}
	switch [4]byte{word[0] &^ 0x20, word[1] &^ 0x20, word[2] &^ 0x20, word[3] &^ 0x20} {
	case [4]byte{'M', 'A', 'I', 'L'}:
		return verbMail
	case [4]byte{'R', 'C', 'P', 'T'}:
		return verbRcpt
	case [4]byte{'B', 'D', 'A', 'T'}:
		return verbBdat
	case [4]byte{'D', 'A', 'T', 'A'}:
		return verbData
	case [4]byte{'R', 'S', 'E', 'T'}:
		return verbRset
	case [4]byte{'E', 'H', 'L', 'O'}:
		return verbEhlo
	case [4]byte{'H', 'E', 'L', 'O'}:
		return verbHelo
	case [4]byte{'A', 'U', 'T', 'H'}:
		return verbAuth
	case [4]byte{'N', 'O', 'O', 'P'}:
		return verbNoop
	case [4]byte{'V', 'R', 'F', 'Y'}:
		return verbVrfy
	case [4]byte{'H', 'E', 'L', 'P'}:
		return verbHelp
	case [4]byte{'S', 'T', 'A', 'T'}:
		return verbStat
	case [4]byte{'Q', 'U', 'I', 'T'}:
		return verbQuit
	}
	return verbUnknown
}

// cutPrefixFold is bytes.CutPrefix in any case; prefix is in upper case.
func cutPrefixFold(b []byte, prefix string) ([]byte, bool) {
	if len(b) < len(prefix) {
		return b, false
	}
	for i := range len(prefix) {
		c := b[i]
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		if c != prefix[i] {
			return b, false
		}
	}
	return b[len(prefix):], true
}

// parseBdat reads the argument of BDAT: a count of octets, and perhaps LAST
// (RFC 3030 §2).
func parseBdat(arg []byte) (size int64, last, ok bool) {
	count, rest, more := bytes.Cut(arg, []byte{' '})
	if more {
		if rest, last = cutPrefixFold(rest, "LAST"); !last || len(rest) > 0 {
			return 0, false, false
		}
	}
	size, ok = parseCount(count)
	return size, last, ok
}

// parseSize reads the up to 20 digits of SIZE, of which any number beyond 18 is
// larger than every limit.
func parseSize(b []byte) (n int64, ok bool) {
	if len(b) > 20 {
		return 0, false
	}
	if len(b) <= 18 {
		return parseCount(b)
	}
	high, ok := parseCount(b[:len(b)-18])
	n, low := parseCount(b[len(b)-18:])
	if high > 0 {
		n = math.MaxInt64
	}
	return n, ok && low
}

// parseCount reads 1 to 18 digits, which no int64 is too small for.
func parseCount(b []byte) (n int64, ok bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}
