package main

import (
	"context"
	"errors"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/config"
)

// The exit statuses, by the names that sysexits.h has for them. They answer the
// question of a program that called us and cannot read: what may I do now?
const (
	exitOK          = 0
	exitUsage       = 64
	exitData        = 65
	exitNoInput     = 66
	exitNoUser      = 67
	exitUnavailable = 69
	exitSoftware    = 70
	exitCantCreate  = 73
	exitTempFail    = 75
	exitProtocol    = 76
	exitNoPerm      = 77
	exitConfig      = 78
)

// exitTable is for the help; docs/program.md has it too.
const exitTable = `
Exit status, as in sysexits.h:

   0  every recipient was accepted
  64  the command line is wrong
  65  the message, its header or an address is wrong
  66  the message cannot be read
  67  recipients were refused
  69  the MTA refused the message or the sender, or cannot be used; or some
      recipients were accepted and others have to be tried again
  73  a file cannot be written, or must not be overwritten (postrider mail)
  75  no recipient was accepted, but the same may succeed later: send it again
  76  a recipient may or may not get the message, because no answer came after its
      end: sending again may duplicate it; or the MTA does not speak SMTP
  77  the MTA refused the user or password, or requires a login
  78  the configuration is wrong
`

// failure is an error with the status that it stands for.
type failure struct {
	code int
	err  error
}

func fail(code int, err error) error { return &failure{code, err} }

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// toldError is an error that was printed already, with its status.
type toldError struct {
	code int
	err  error
}

func (t *toldError) Error() string { return t.err.Error() }

// exitCode is the one place where what happened becomes a status. r is nil if it
// never came to a Send.
//
// A caller who reads only the status may send the whole message again after 75 and after nothing else. So 75 is never
// the status when a recipient has the message (69) or may have it (76).
func exitCode(r *postrider.Result, err error) int {
	if r == nil {
		return errorCode(err)
	}
	code := exitOK
	switch {
	case r.Count(postrider.Unknown) > 0:
		return exitProtocol
	case r.Count(postrider.Untried) > 0:
		code = errorCode(err)
	case r.Count(postrider.Deferred) > 0:
		code = exitTempFail
	case r.Count(postrider.Refused) > 0:
		code = refusalCode(r.Outcomes)
	}
	if code == exitTempFail && r.Count(postrider.Accepted) > 0 {
		return exitUnavailable
	}
	return code
}

// refusalCode is about recipients of whom none is to be tried again: what the
// server said of the message weighs more than what it said of a recipient, and
// that more than what we found wrong with an address.
func refusalCode(outcomes []postrider.Outcome) int {
	code := exitData
	for _, o := range outcomes {
		switch {
		case o.State != postrider.Refused || o.Stage == postrider.StageLocal:
		case o.Stage == postrider.StageRcpt:
			code = exitNoUser
		default:
			return exitUnavailable
		}
	}
	return code
}

// errorCode is the status of an error that is not about single recipients.
func errorCode(err error) int {
	var (
		ours    *failure
		told    *toldError
		setting *config.Error
		wire    *postrider.Error
	)
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &told):
		return told.code
	case errors.As(err, &ours):
		return ours.code
	case errors.As(err, &setting):
		return settingCode(setting)
	case errors.As(err, &wire):
		return wireCode(wire)
	case interrupted(err):
		return exitTempFail
	}
	return exitSoftware
}

// settingCode tells a flag that cannot be read from what is wrong with the file,
// the environment, or a file that a flag names.
func settingCode(e *config.Error) int {
	if e.Source == "override" && e.Err == nil {
		return exitUsage
	}
	return exitConfig
}

// wireCode is the status of what kept the library from sending.
func wireCode(e *postrider.Error) int {
	code := e.Reply.Code
	switch {
	case e.Step == postrider.StepConfiguration:
		return exitConfig
	case interrupted(e):
		return exitTempFail
	case e.Stage == postrider.StageLocal:
		return exitData
	case code == 530 || code == 538 || e.Step == postrider.StepAuth && !e.Temporary(): // RFC 4954 §6
		return exitNoPerm
	case !e.Temporary() && errors.Is(e, postrider.ErrProtocol):
		return exitProtocol
	case e.Temporary():
		return exitTempFail
	}
	return exitUnavailable
}

func interrupted(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
