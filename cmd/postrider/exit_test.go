package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/config"
)

const (
	accepted = postrider.Accepted
	deferred = postrider.Deferred
	refused  = postrider.Refused
	untried  = postrider.Untried
	unknown  = postrider.Unknown
)

// Nobody may be led to send the whole message again who could make a duplicate by
// it: with somebody Accepted or Unknown the status is never 75, whatever else.
func TestExitCodeNeverInvitesDuplicates(t *testing.T) {
	states := []postrider.State{accepted, deferred, refused, untried, unknown}
	temporary := &postrider.Error{Stage: postrider.StageConnect, Step: "dial", Err: syscall.ECONNREFUSED}
	for _, a := range states {
		for _, b := range states {
			for _, c := range states {
				r := &postrider.Result{Outcomes: []postrider.Outcome{{State: a}, {State: b}, {State: c}}}
				var err error
				if r.Count(untried)+r.Count(unknown) > 0 {
					err = temporary
				}
				got := exitCode(r, err)
				touched := r.Count(accepted)+r.Count(unknown) > 0
				if touched && got == exitTempFail {
					t.Errorf("%v %v %v: 75 invites to send again", a, b, c)
				}
				if (got == exitOK) != (r.Count(accepted) == 3) {
					t.Errorf("%v %v %v: status %d", a, b, c, got)
				}
				if (got == exitProtocol) != (r.Count(unknown) > 0) {
					t.Errorf("%v %v %v: status %d", a, b, c, got)
				}
			}
		}
	}
}

func TestExitCode(t *testing.T) {
	outcome := func(s postrider.State, at postrider.Stage) postrider.Outcome {
		return postrider.Outcome{State: s, Stage: at}
	}
	result := func(o ...postrider.Outcome) *postrider.Result { return &postrider.Result{Outcomes: o} }
	wire := func(stage postrider.Stage, step postrider.Step, code int, err error) error {
		return &postrider.Error{Stage: stage, Step: step, Reply: postrider.Reply{Code: code}, Err: err}
	}
	nobody := result(outcome(untried, postrider.StageLocal))
	for _, tt := range []struct {
		name   string
		result *postrider.Result
		err    error
		want   int
	}{
		{"local verdict", result(outcome(refused, postrider.StageLocal)), nil, exitData},
		{"local verdict and accepted", result(outcome(refused, postrider.StageLocal),
			outcome(accepted, postrider.StageContent)), nil, exitData},
		{"RCPT", result(outcome(refused, postrider.StageRcpt)), nil, exitNoUser},
		{"RCPT and local", result(outcome(refused, postrider.StageRcpt), outcome(refused, postrider.StageLocal)), nil,
			exitNoUser},
		{"MAIL", result(outcome(refused, postrider.StageMail)), nil, exitUnavailable},
		{"content", result(outcome(refused, postrider.StageRcpt), outcome(refused, postrider.StageContent)), nil,
			exitUnavailable},
		{"deferred and refused", result(outcome(refused, postrider.StageRcpt), outcome(deferred, postrider.StageRcpt)),
			nil, exitTempFail},

		{"no connection", nobody, wire(postrider.StageConnect, "dial", 0,
			&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}), exitTempFail},
		{"no such host", nobody, wire(postrider.StageConnect, "dial", 0, &net.DNSError{Err: "no such host"}),
			exitTempFail},
		{"hung up", nobody, wire(postrider.StageMail, "MAIL", 0, fmt.Errorf("closed: %w", io.EOF)), exitTempFail},
		{"421 greeting", nobody, wire(postrider.StageConnect, "greeting", 421, nil), exitTempFail},
		{"554 greeting", nobody, wire(postrider.StageConnect, "greeting", 554, nil), exitUnavailable},
		{"250 greeting", nobody, wire(postrider.StageConnect, "greeting", 250, nil), exitProtocol},
		{"garbage", nobody, wire(postrider.StageConnect, "greeting", 0, postrider.ErrProtocol), exitProtocol},
		{"certificate", nobody, wire(postrider.StageConnect, "TLS handshake", 0, x509.UnknownAuthorityError{}),
			exitUnavailable},
		{"535", nobody, wire(postrider.StageConnect, "AUTH", 535, errors.New("AUTH PLAIN was refused")), exitNoPerm},
		{"454 to AUTH", nobody, wire(postrider.StageConnect, "AUTH", 454, errors.New("AUTH PLAIN was refused")),
			exitTempFail},
		{"530 to MAIL", nobody, wire(postrider.StageMail, "MAIL", 530, nil), exitNoPerm},
		{"bad sender", nobody, wire(postrider.StageLocal, "message", 0, errors.New("sender")), exitData},
		{"bad configuration", nil, wire(postrider.StageLocal, "configuration", 0, errors.New("Mode")), exitConfig},
		{"interrupted", nobody, wire(postrider.StageLocal, "message", 0, context.Canceled), exitTempFail},
		{"late", nobody, wire(postrider.StageConnect, "greeting", 0, context.DeadlineExceeded), exitTempFail},
		{"input broke off", nobody, wire(postrider.StageContent, "content", 0, fail(exitNoInput, io.ErrUnexpectedEOF)),
			exitNoInput},

		{"file's setting", nil, &config.Error{Source: "mailman.cfg", Line: 1}, exitConfig},
		{"flag's setting", nil, &config.Error{Source: "override"}, exitUsage},
		{"one of several", nil, errors.Join(&config.Error{Source: "mailman.cfg"},
			&config.Error{Source: "$POSTRIDER_CA_FILE"}), exitConfig},
		{"interrupted before", nil, context.Canceled, exitTempFail},
		{"a fault of ours", nil, errors.New("?"), exitSoftware},
		{"nothing", nil, nil, exitOK},
	} {
		if got := exitCode(tt.result, tt.err); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}
