package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/config"
)

// settings are the flags that say how to reach the MTA. Each one that is given
// overrides a key of the configuration; those that are not leave it alone, so
// booleans and numbers are pointers.
type settings struct {
	Config string  `short:"C" placeholder:"FILE" group:"mta" help:"${help_config}"`
	Mode   *string `placeholder:"smtp|smtps|starttls" group:"mta" help:"${help_client_mode}"`

	User               string  `placeholder:"NAME" group:"mta" help:"Log in as NAME."`
	PasswordFile       string  `placeholder:"FILE" group:"mta" help:"${help_password_file}"`
	PasswordCommand    string  `placeholder:"COMMAND" group:"mta" help:"${help_password_command}"`
	AuthMechanisms     string  `placeholder:"WORDS" group:"mta" help:"${help_auth_mechanisms}"`
	AllowPlaintextAuth *bool   `negatable:"" group:"mta" help:"${help_allow_plaintext_auth}"`
	CAFile             string  `name:"ca-file" placeholder:"FILE" group:"mta" help:"${help_ca_file}"`
	Pins               string  `placeholder:"PINS" group:"mta" help:"${help_pins}"`
	ClientCert         string  `placeholder:"FILE" group:"mta" help:"${help_client_cert}"`
	ClientKey          string  `placeholder:"FILE" group:"mta" help:"${help_client_key}"`
	ServerName         string  `placeholder:"NAME" group:"mta" help:"${help_server_name}"`
	VerifyCert         *bool   `negatable:"" group:"mta" help:"${help_verify_cert}"`
	VerifyHostname     *bool   `negatable:"" group:"mta" help:"${help_verify_hostname}"`
	LocalName          string  `placeholder:"NAME" group:"mta" help:"Say NAME in EHLO."`
	MaxTransactions    *int    `placeholder:"N" group:"mta" help:"${help_max_transactions}"`
	MaxRecipients      *int    `placeholder:"N" group:"mta" help:"Send to at most N recipients in one transaction."`
	Redirect           *string `placeholder:"ADDRESS" group:"mta" help:"${help_redirect}"`

	// The first, and those that stand in for it.
	Server []string `placeholder:"HOST[:PORT]" sep:"none" group:"mta" help:"${help_server}"`

	Connections *int     `placeholder:"N" group:"mta" help:"Open at most N connections at a time."`
	Rate        *float64 `placeholder:"N" group:"mta" help:"Send at most N messages a second."`

	Set map[string]string `mapsep:"none" placeholder:"SECTION.KEY=VALUE" group:"mta" help:"${help_set}"`
}

// errPassword is for a password on the command line.
var errPassword = errors.New("everybody on this machine can read a password on the command line: " +
	"use --password-file, --password-command or $POSTRIDER_MTA_SMTP_PASS")

// Validate finds what is wrong with the command line itself.
func (s *settings) Validate() error {
	for key := range s.Set {
		if strings.EqualFold(key, "mta.smtp_pass") {
			return fmt.Errorf("--set: %w", errPassword)
		}
	}
	if s.PasswordFile != "" && s.PasswordCommand != "" {
		return errors.New("--password-file and --password-command: use only one of them")
	}
	switch {
	case s.Connections != nil && *s.Connections < 1:
		return errors.New("--connections: use a number from 1")
	case s.Rate != nil && (!(*s.Rate > 0) || math.IsInf(*s.Rate, 0)): // not NaN either
		return errors.New("--rate: use a number of messages a second, above 0")
	}
	if s.Mode != nil {
		if err := new(postrider.SecureMode).UnmarshalText([]byte(*s.Mode)); err != nil {
			return errors.New(words(err))
		}
	}
	return nil
}

// overrides are the flags that were given, by the keys that they override.
func (s *settings) overrides() map[string]string {
	keys := map[string]string{}
	for key, value := range s.Set {
		keys[key] = value
	}
	if len(s.Server) > 0 {
		// Port 0 is the mode's own, and lets the host carry one: --server says
		// where to go as a whole, and nothing of the file's port and servers stays.
		keys["mta.smtp_host"], keys["mta.smtp_port"] = s.Server[0], "0"
		keys["postrider.servers"] = strings.Join(s.Server[1:], " ")
	}
	if s.Redirect != nil {
		keys["devmode.enabled"], keys["devmode.recipient"] = "yes", *s.Redirect
	}
	for key, value := range map[string]string{
		"mta.smtp_user":               s.User,
		"postrider.smtp_pass_file":    s.PasswordFile,
		"postrider.smtp_pass_command": s.PasswordCommand,
		"postrider.auth_mechanisms":   s.AuthMechanisms,
		"postrider.ca_file":           s.CAFile,
		"postrider.pins":              s.Pins,
		"postrider.client_cert":       s.ClientCert,
		"postrider.client_key":        s.ClientKey,
		"postrider.server_name":       s.ServerName,
		"postrider.local_name":        s.LocalName,
	} {
		if value != "" {
			keys[key] = value
		}
	}
	put(keys, "mta.smtp_secure_mode", s.Mode)
	put(keys, "postrider.allow_plaintext_auth", s.AllowPlaintextAuth)
	put(keys, "mta.smtp_verify_cert", s.VerifyCert)
	put(keys, "mta.smtp_verify_hostname", s.VerifyHostname)
	put(keys, "mta.max_sessions_per_connection", s.MaxTransactions)
	put(keys, "mta.max_recipients", s.MaxRecipients)
	put(keys, "postrider.connections", s.Connections)
	put(keys, "postrider.rate", s.Rate)
	return keys
}

// put enters a flag that was given, whatever its value.
func put[T any](keys map[string]string, key string, value *T) {
	if value != nil {
		keys[key] = fmt.Sprint(*value)
	}
}

// route is how a message will travel.
type route struct {
	cfg      postrider.Config // of the first server
	pool     postrider.PoolConfig
	servers  []postrider.Config // all of them
	warnings []*config.Error
	file     string // the configuration's; "": there is none

	redirected string // development mode's address, "" if it is off
	origin     string // where that was switched on
}

// load reads the configuration under and above the flags.
func (s *settings) load(ctx context.Context) (*route, error) {
	c, err := config.Load(config.Options{File: s.Config, Environ: os.Environ(), Overrides: s.overrides()})
	if err != nil {
		return nil, err
	}
	r := &route{warnings: c.Warnings(), file: c.File()}
	if r.pool, r.servers, err = c.Pool(ctx); err != nil {
		return r, err
	}
	r.cfg = r.servers[0]
	if err := s.checkLogin(&r.cfg); err != nil {
		return r, err
	}
	if to, on := c.Redirect(); on {
		r.redirected = to
		r.origin = strings.Replace(c.Origin("devmode", "enabled"), "override", "by a flag", 1)
		if err := postrider.CheckAddress(to); err != nil {
			return r, fail(exitConfig, fmt.Errorf("development mode is on (%s), but its recipient %q is no address: %w",
				r.origin, to, err))
		}
	}
	return r, nil
}

// inputs enters the files that say how to reach the MTA.
func (s *settings) inputs(o *outputs, r *route) {
	o.reading("the configuration", r.file)
	o.reading("--password-file", s.PasswordFile)
	for i := range r.servers {
		o.reading("--ca-file", r.servers[i].CAFile)
		o.reading("--client-cert", r.servers[i].ClientCert)
		o.reading("--client-key", r.servers[i].ClientKey)
	}
}

// checkLogin finds half a login. The library does not log in with it, as Mailman
// does not, but that cannot be what a flag was given for.
func (s *settings) checkLogin(cfg *postrider.Config) error {
	switch {
	case s.User != "" && cfg.Password.IsZero() && cfg.Credentials == nil && cfg.ClientCert == "":
		return fail(exitConfig, errors.New("--user without a password: add --password-file, "+
			"--password-command or $POSTRIDER_MTA_SMTP_PASS, or a certificate with --client-cert"))
	case s.PasswordFile+s.PasswordCommand != "" && cfg.User == "":
		return fail(exitConfig, errors.New("a password without a user: add --user"))
	}
	return nil
}

// errNowhere is the error of a Send that finds nothing wrong and must not send.
var errNowhere = errors.New("dry run")

func goNowhere(context.Context, string, string) (net.Conn, error) { return nil, errNowhere }

// announce prints what one should know before anything happens. Development mode is printed loudly: the mail does not
// go where it says. Warnings of unknown names, of which Debian's own mailman.cfg has one, come only with everything;
// those of names that look misspelt always: one may stand for [devmode]. A warning that is part of the error is not
// printed again.
func (r *route) announce(std streams, everything bool, err error) {
	for _, w := range r.warnings {
		told := err != nil && strings.Contains(err.Error(), w.Error())
		if !told && (everything || !strings.HasSuffix(w.Problem, "which is ignored")) {
			std.warn("warning: %s", w)
		}
	}
	if r.redirected != "" {
		std.warn("*** DEVELOPMENT MODE *** (%s): %s gets everything, the recipients get nothing",
			r.origin, r.redirected)
	}
}

// addresses are those of all servers.
func (r *route) addresses() string {
	list := make([]string, len(r.servers))
	for i, s := range r.servers {
		list[i] = s.Address
	}
	return strings.Join(list, ", ")
}

// describe says where the message goes, for --dry-run.
func (r *route) describe() string {
	c := &r.cfg
	text := r.addresses() + ", " + c.Mode.String()
	switch {
	case strings.HasPrefix(c.Address, "srv:"):
		text = r.addresses() + ", TLS as its records say"
	case c.Mode == postrider.Insecure:
		text += " (no TLS)"
	case c.NoVerifyCert:
		text += " (the certificate is not checked)"
	case c.NoVerifyHostname:
		text += " (the name in the certificate is not checked)"
	}
	if c.User != "" && !c.Password.IsZero() {
		text += ", as " + strconv.Quote(c.User)
	}
	return text
}
