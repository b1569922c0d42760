package config

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/postrider/postrider"
)

// MTA returns the configuration of a connection to the server of section [mta], with
// the settings of section [postrider]. All mistakes in these sections are reported
// together. The context bounds the command that prints the password, if there is
// one: MTA runs it once, and only if smtp_user is set. If it prints an OAuth token
// (see [postrider.Config.AuthMechanisms]), Credentials is set as well, and runs the
// command again whenever the server refuses the token.
//
// The Redirect of the result is [Config.Redirect]: development mode follows Push
// and Pop, everything else stays as it was when MTA was called.
func (c *Config) MTA(ctx context.Context) (postrider.Config, error) {
	return c.mta(ctx, &mta{view: c.view.Load()})
}

// mta is MTA; mistakes that m has gathered before are reported with its own.
func (c *Config) mta(ctx context.Context, m *mta) (postrider.Config, error) {
	cfg := postrider.Config{
		Address:            m.address(),
		Mode:               get(m, m.view.secureMode, "mta", "smtp_secure_mode"),
		User:               m.text("mta", "smtp_user"),
		MaxTransactions:    get(m, m.view.integer, "mta", "max_sessions_per_connection"),
		MaxRecipients:      get(m, m.view.integer, "mta", "max_recipients"),
		NoVerifyCert:       !get(m, m.view.boolean, "mta", "smtp_verify_cert"),
		NoVerifyHostname:   !get(m, m.view.boolean, "mta", "smtp_verify_hostname"),
		Redirect:           c.Redirect,
		ServerName:         m.text("postrider", "server_name"),
		CAFile:             m.view.path("postrider", "ca_file"),
		Pins:               words(m.text("postrider", "pins")),
		ClientCert:         m.view.path("postrider", "client_cert"),
		ClientKey:          m.view.path("postrider", "client_key"),
		AuthMechanisms:     words(strings.ToUpper(m.text("postrider", "auth_mechanisms"))),
		AllowPlaintextAuth: get(m, m.view.boolean, "postrider", "allow_plaintext_auth"),
		LocalName:          m.text("postrider", "local_name"),
		IdleTimeout:        m.idleTimeout(),
		MaxAge:             get(m, m.view.duration, "postrider", "max_age"),
		Window:             get(m, m.view.integer, "postrider", "window"),
		WindowOctets:       get(m, m.view.integer, "postrider", "window_octets"),
		ProbeAfter:         get(m, m.view.duration, "postrider", "probe_after"),
		AuthRetryAfter:     get(m, m.view.duration, "postrider", "auth_retry_after"),
	}
	m.timeouts(&cfg.Timeouts)
	m.devmode()
	if m.errs != nil {
		return postrider.Config{}, errors.Join(m.errs...)
	}
	if cfg.User == "" {
		return cfg, nil // no authentication (facts 10, 92): no password is needed
	}
	var err error
	if cfg.Password, err = m.view.password(ctx); err != nil {
		return postrider.Config{}, err
	}
	if m.view.renewable(cfg.AuthMechanisms) {
		cfg.Credentials = m.view.renewing(cfg.User, cfg.Password)
	}
	return cfg, nil
}

// Redirect returns the current state of development mode, for the Redirect of a
// [postrider.Config]. If [devmode] enabled is not a boolean, development mode is on
// without an address, so that every Send fails before dialling: a typing mistake
// sends no mail to real recipients. [Config.Warnings] reports the mistake.
func (c *Config) Redirect() (address string, on bool) {
	v := c.view.Load() // both keys from one view: a Push between them would mix
	on, err := v.boolean("devmode", "enabled")
	if err != nil {
		return "", true
	}
	return v.values["devmode"]["recipient"].value, on
}

func (v *view) noRecipient() *Error {
	return v.at("devmode", "recipient", "empty although [devmode] is enabled; every message is refused until it "+
		"is an address")
}

// path is a file name, made independent of where the program runs if a file
// says it.
func (v *view) path(section, key string) string {
	s := v.values[section][key]
	if s.value == "" || filepath.IsAbs(s.value) {
		return s.value
	}
	return filepath.Join(s.dir, s.value)
}

// mta gathers a Config's fields from a view, and what is wrong with them.
type mta struct {
	view *view
	errs []error
}

// get reads a value with one of the view's conversions.
func get[T any](m *mta, as func(section, key string) (T, error), section, key string) T {
	// Going on after a mistake is safe: MTA returns no configuration then.
	value, err := as(section, key)
	if err != nil {
		m.errs = append(m.errs, err)
	}
	return value
}

func (m *mta) text(section, key string) string { return m.view.values[section][key].value }

func (m *mta) wrong(section, key, problem string) {
	m.errs = append(m.errs, m.view.at(section, key, problem))
}

// address joins smtp_host and smtp_port. Port 0 is the mode's default; only then
// may the host have a port of its own (fact 45).
func (m *mta) address() string {
	host, port := m.text("mta", "smtp_host"), get(m, m.view.integer, "mta", "smtp_port")
	_, notNumeric := netip.ParseAddr(strings.Trim(host, "[]"))
	switch {
	case host == "": // Mailman would fail at every message (fact 45)
		m.wrong("mta", "smtp_host", "empty, want the name or address of the mail server")
	// ours; a socket has no port, SRV records name theirs
	case strings.HasPrefix(host, "unix:"), strings.HasPrefix(host, "srv:"):
		return host
	case port < 0 || port > 65535:
		m.errs = append(m.errs, m.view.unfit("mta", "smtp_port", "a port from 1 to 65535, or 0 for the default"))
	case notNumeric == nil:
		host = strings.Trim(host, "[]")
	case strings.Contains(host, ":") && port == 0:
		return host
	case strings.Contains(host, ":"):
		m.errs = append(m.errs, m.view.unfit("mta", "smtp_host", "a host without a port (smtp_port sets the port)"))
	}
	if port == 0 {
		port = 25
		if mode, _ := m.view.secureMode("mta", "smtp_secure_mode"); mode == postrider.ImplicitTLS {
			port = 465
		}
	}
	return net.JoinHostPort(host, strconv.Itoa(port))
}

// words are divided by blanks or commas.
func words(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return isSpace(r) || r == ',' })
}

// idleTimeout: 0s is no limit, as 0 is for Mailman's maxima; package postrider
// has a negative time for that, which cannot be written here.
func (m *mta) idleTimeout() time.Duration {
	if m.text("postrider", "idle_timeout") == "" {
		return 0
	}
	d := get(m, m.view.duration, "postrider", "idle_timeout")
	if d == 0 {
		return -1
	}
	return d
}

// timeouts: package postrider takes 0 for its default, which is not what 0s
// means in a file.
func (m *mta) timeouts(t *postrider.Timeouts) {
	for _, f := range [...]struct {
		key   string
		field *time.Duration
	}{
		{"timeout_connect", &t.Connect},
		{"timeout_greeting", &t.Greeting},
		{"timeout_hello", &t.Hello},
		{"timeout_tls", &t.TLS},
		{"timeout_auth", &t.Auth},
		{"timeout_mail", &t.Mail},
		{"timeout_rcpt", &t.Rcpt},
		{"timeout_data", &t.Data},
		{"timeout_block", &t.Block},
		{"timeout_final", &t.Final},
		{"timeout_quit", &t.Quit},
	} {
		value := m.text("postrider", f.key)
		if value == "" {
			continue
		}
		*f.field = get(m, m.view.duration, "postrider", f.key)
		if _, ok := asDuration(value); ok && *f.field == 0 {
			m.wrong("postrider", f.key, "0s is not allowed, every step has a limit; leave it empty for the default")
		}
	}
}

// devmode finds out at once what Redirect could only refuse to do, and says it
// with the file and line that Redirect has no means to say.
func (m *mta) devmode() {
	if get(m, m.view.boolean, "devmode", "enabled") && m.text("devmode", "recipient") == "" {
		m.errs = append(m.errs, m.view.noRecipient())
	}
}
