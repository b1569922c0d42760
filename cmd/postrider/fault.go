package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/postrider/postrider/smtptest"
)

// faultCommands are the occasions for a fault, as smtptest calls them.
var faultCommands = []string{
	smtptest.Greeting, smtptest.Handshake, "EHLO", "HELO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "BDAT",
	smtptest.Terminator, "RSET", "QUIT",
}

// parseFaults reads the values of --fault.
func parseFaults(flags []string) ([]smtptest.Fault, error) {
	var faults []smtptest.Fault
	for _, flag := range flags {
		f, err := parseFault(flag)
		if err != nil {
			return nil, fmt.Errorf("--fault %q: %w", flag, err)
		}
		faults = append(faults, f)
	}
	return faults, nil
}

// parseFault reads "COMMAND[ ADDRESS][#N]=REPLY|close|hang". The reply may have
// an equals sign, and no address before it may: they are rare.
func parseFault(flag string) (f smtptest.Fault, err error) {
	when, what, found := strings.Cut(flag, "=")
	if !found || what == "" {
		return f, fmt.Errorf("use WHEN=WHAT, like 'RCPT bart@example.com=550 no such user'")
	}
	when, nth, numbered := strings.Cut(when, "#")
	if numbered {
		if f.Nth, err = strconv.Atoi(nth); err != nil || f.Nth < 1 {
			return f, fmt.Errorf("%q: use a number from 1 after #", nth)
		}
	}
	f.Command, f.Address, _ = strings.Cut(strings.TrimSpace(when), " ")
	known := slices.ContainsFunc(faultCommands, func(c string) bool { return strings.EqualFold(c, f.Command) })
	if !known {
		return f, fmt.Errorf("%q is unknown; use one of %s", f.Command, strings.Join(faultCommands, " "))
	}
	if f.Address != "" && !strings.EqualFold(f.Command, "MAIL") && !strings.EqualFold(f.Command, "RCPT") {
		return f, fmt.Errorf("only MAIL and RCPT have an address")
	}
	switch {
	case what == "close":
		f.Answer, f.Then = smtptest.AnswerNone, smtptest.ThenClose
	case what == "hang":
		f.Answer, f.Then = smtptest.AnswerNone, smtptest.ThenHang
	case len(what) >= 3 && '2' <= what[0] && what[0] <= '5':
		f.Reply = what
	default:
		return f, fmt.Errorf("%q is unknown; use a reply, like 450, or close or hang", what)
	}
	return f, nil
}
