// Package doctor examines the way to an MTA step by step, as the library would go it, and says of each step what it
// saw, what that means for mail, and what to set.
//
// It takes the library's own steps (package session) and explains what is wrong by the same table as the library's
// errors (package hint). It goes on where the library stops, and looks at what the library has no need to.
package doctor

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/dial"
	"github.com/postrider/postrider/internal/hint"
	"github.com/postrider/postrider/internal/sasl"
	"github.com/postrider/postrider/internal/session"
)

// Level is how bad a finding is.
type Level string

// The levels. Mail goes out in spite of warnings, and not in spite of a problem.
const (
	OK      Level = "ok"
	Warning Level = "warning"
	Problem Level = "problem"
)

// Stage is where in a wire's life something happens: "dial", "TLS handshake",
// "greeting" … the words of the library's Error.Step.
type Stage = hint.Step

// Finding is the result of one check.
type Finding struct {
	Check   string // what was looked at: "resolve", "connect", "certificate" …
	Stage   Stage  // to which that belongs
	Level   Level
	Saw     string        // what was seen, printable
	Details []string      // more of it, a line each
	Means   string        // what that means for mail; "" if it goes without saying
	Set     hint.Hint     // what to set or mend; where nothing is wrong, what another way would take; "" if nothing
	Took    time.Duration // how long the server took; 0 if it was not asked
}

// Exam says what to examine.
type Exam struct {
	// Config is what the library would be given.
	Config postrider.Config

	// AllPorts looks at 465, 587 and 25 too, for a server that was named without
	// a port.
	AllPorts bool

	// From and To, if they are not nil, try an envelope as far as it is given:
	// nothing is sent, unless Send is set and both are there. Then a test message
	// is.
	From, To *string
	Send     bool

	// Idle is how long to wait in the end for the server to hang up. 0: not at all.
	Idle time.Duration

	// Patience is the longest wait for each answer; a shorter one of
	// Config.Timeouts wins. Default 30 s.
	Patience time.Duration

	// Hush is how long a server may say nothing before it is tried whether it
	// waits for TLS. Default 2 s.
	Hush time.Duration

	// Lookup resolves a name. nil: the system's resolver, and none if Config.Dial
	// is set.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)

	// Tell gets each finding when it is made. nil: nobody.
	Tell func(Finding)
}

// Report is all that was found.
type Report struct {
	Server   string // as configured
	Mode     postrider.SecureMode
	Findings []Finding
	Advice   *Advice // nil if no way was found
}

// Worst gives the first of the worst findings; a Report is never empty.
func (r *Report) Worst() Finding {
	worst := r.Findings[0]
	for _, f := range r.Findings {
		if f.Level == Problem && worst.Level != Problem || f.Level == Warning && worst.Level == OK {
			worst = f
		}
	}
	return worst
}

// exam is an examination under way.
type exam struct {
	Exam
	address   dial.Address
	tls       *tls.Config // as the library would use it for TLS of any mode
	proves    bool        // it would show that the server is who it is
	server    string      // the first address that answered, as Dial takes it
	local     bool        // it is on this machine
	verifies  bool        // the certificate is trusted, and for this name
	helloName dial.HelloName
	secrets   sasl.Redactor
	report    *Report
	ways      []way // those that were tried; the first is the configured one
}

// Run examines. It fails only for a Config that the library would not take.
func (e Exam) Run(ctx context.Context) (*Report, error) {
	x, err := e.prepare()
	if err != nil {
		return nil, err
	}
	if x.connect(ctx) {
		x.converse(ctx)
		x.protocols(ctx)
	}
	if ctx.Err() == nil {
		x.explore(ctx)
	}
	x.advise()
	return x.report, nil
}

// prepare lets the library judge the Config, and fills in the defaults.
func (e Exam) prepare() (*exam, error) {
	err := e.Config.Validate()
	if err != nil {
		return nil, err
	}
	if e.Patience <= 0 {
		e.Patience = 30 * time.Second
	}
	if e.Hush <= 0 {
		e.Hush = 2 * time.Second
	}
	x := &exam{Exam: e}
	cfg := &x.Config
	x.secrets.Add(sasl.Credentials{User: cfg.User, Password: cfg.Password.Reveal()})
	x.helloName.Configured = cfg.LocalName
	if x.address, err = dial.ParseAddress(cfg.Address, dial.UsualPort(cfg.Mode == postrider.ImplicitTLS)); err != nil {
		return nil, err
	}
	x.report = &Report{Server: x.address.String(), Mode: cfg.Mode}
	// Also without TLS configured: whether it would verify is worth knowing.
	t := dial.TLS{
		Base: cfg.TLS, Host: x.address.ServerName(), ServerName: cfg.ServerName, CAFile: cfg.CAFile, Pins: cfg.Pins,
		CertFile: cfg.ClientCert, KeyFile: cfg.ClientKey,
		NoVerifyCert: cfg.NoVerifyCert, NoVerifyHostname: cfg.NoVerifyHostname,
	}
	if x.tls, err = t.Config(); err != nil {
		return nil, err
	}
	x.proves = t.Proves()
	// Resumption would hide from the second handshake what the first one showed.
	x.tls.ClientSessionCache = nil
	return x, nil
}

func (e *exam) found(f Finding) {
	e.report.Findings = append(e.report.Findings, f)
	if e.Tell != nil {
		e.Tell(f)
	}
}

// session prepares a conversation with one address. Unless it is lenient, TLS in it is verified as the library does.
func (e *exam) session(target string, tlsConfig *tls.Config) *session.Session {
	open := e.Config.Dial
	if open == nil {
		open = (&net.Dialer{}).DialContext
	}
	return session.New(session.Settings{
		Dial: func(ctx context.Context) (net.Conn, error) { return open(ctx, e.address.Network, target) },
		TLS:  tlsConfig, Verified: e.proves, Host: e.address.Host, Port: e.address.Port, Name: e.helloName.For,
		Mechanisms: e.Config.AuthMechanisms, AllowPlaintextAuth: e.Config.AllowPlaintextAuth, Secrets: &e.secrets,
		Timeouts: session.Timeouts{
			Connect: e.limit(hint.Dial), Hello: e.limit(hint.Hello), TLS: e.limit(hint.Handshake),
			Auth:  e.limit(hint.Auth),
			Block: e.Patience,
		},
	})
}

// limit is how long to wait for an answer at a step.
func (e *exam) limit(step hint.Step) time.Duration {
	t := &e.Config.Timeouts
	own := map[hint.Step]time.Duration{
		hint.Dial: t.Connect, hint.Greeting: t.Greeting, hint.Hello: t.Hello, hint.StartTLS: t.TLS,
		hint.Handshake: t.TLS,
		hint.Auth:      t.Auth, hint.Mail: t.Mail, hint.Rcpt: t.Rcpt, hint.Data: t.Data, hint.Content: t.Final,
	}[step]
	if own > 0 {
		return min(own, e.Patience)
	}
	return e.Patience
}
