package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/hint"
	"github.com/postrider/postrider/internal/wire"
)

// way is a port and the use of TLS on it, and what came of it.
type way struct {
	Port string
	Mode postrider.SecureMode

	bad      *trouble // nil: it works
	auth     []string // mechanisms
	startTLS bool     // offered in the end
	secure   bool     // it came to a handshake
}

func (w way) String() string {
	if w.Port == "" {
		return w.Mode.String()
	}
	return fmt.Sprintf("port %s with %s", w.Port, w.Mode)
}

// converse examines the configured way.
func (e *exam) converse(ctx context.Context) {
	t := &talk{way: way{Port: e.address.Port, Mode: e.Config.Mode}}
	defer func() { t.close() }()
	bad := e.open(ctx, t)
	if bad != nil {
		t.blame(bad)
	}
	e.ways = append(e.ways, t.result(bad))
	if bad != nil {
		if bad.step != hint.Handshake {
			return
		}
		// Who the server is could not be made out; what it offers can be told.
		t.close()
		t = &talk{way: t.way, silent: true, lenient: true}
		if e.open(ctx, t) != nil {
			return
		}
		t.silent = false
	}
	t.extensions()
	if bad := t.login(ctx); bad != nil {
		e.ways[0].bad = bad
	} else if !t.lenient {
		t.envelope()
	}
	t.pipelining()
	t.idle()
}

// result is the way of a conversation with what came of it.
func (t *talk) result(bad *trouble) way {
	w := t.way
	w.bad, w.auth, w.startTLS = bad, t.caps.Auth, t.caps.StartTLS
	w.secure = t.encrypted || bad != nil && bad.step == hint.Handshake
	return w
}

// others are the ways that the port suggests (RFC 8314 §3), and those that the
// configured one gave away.
func (e *exam) others() (ways []way) {
	add := func(port string, mode postrider.SecureMode) {
		w := way{Port: port, Mode: mode}
		same := func(v way) bool { return v.Port == w.Port && v.Mode == w.Mode }
		closed := e.server == "" && port == e.address.Port
		if !closed && !same(way{Port: e.address.Port, Mode: e.Config.Mode}) && !slices.ContainsFunc(ways, same) {
			ways = append(ways, w)
		}
	}
	if e.address.Network == "unix" {
		return nil
	}
	if e.AllPorts {
		add("465", postrider.ImplicitTLS)
		add("587", postrider.StartTLS)
		add("25", postrider.StartTLS)
	}
	if e.server == "" {
		return ways // nobody answers on the port that is configured
	}
	switch port := e.address.Port; port {
	case "465":
		add(port, postrider.ImplicitTLS)
	case "25", "587":
		add(port, postrider.StartTLS)
	}
	for _, w := range e.ways {
		for _, mode := range w.suggests() {
			add(w.Port, mode)
		}
	}
	return ways
}

// suggests gives the modes that a conversation showed to be there.
func (w way) suggests() []postrider.SecureMode {
	var notTLS tls.RecordHeaderError
	switch {
	case w.Mode == postrider.Insecure && w.startTLS:
		return []postrider.SecureMode{postrider.StartTLS}
	case w.bad == nil:
	case errors.Is(w.bad.err, hint.ErrTLSPort), w.bad.step == hint.Greeting && errors.Is(w.bad.err, wire.ErrSyntax):
		return []postrider.SecureMode{postrider.ImplicitTLS}
	case w.Mode == postrider.ImplicitTLS && (errors.As(w.bad.err, &notTLS) || errors.Is(w.bad.err, hint.ErrPlainPort)):
		return []postrider.SecureMode{postrider.StartTLS, postrider.Insecure}
	case errors.Is(w.bad.err, hint.ErrNoStartTLS):
		return []postrider.SecureMode{postrider.Insecure}
	}
	return nil
}

// explore looks at the other ways, without a login.
func (e *exam) explore(ctx context.Context) {
	for _, w := range e.others() {
		t := &talk{way: w, silent: true}
		start := time.Now()
		w = t.result(e.open(ctx, t))
		t.close()
		e.ways = append(e.ways, w)
		f := Finding{Check: "another way", Stage: hint.Dial, Level: OK, Took: time.Since(start)}
		if w.bad != nil {
			f.Saw = fmt.Sprintf("no: %s: %s: %s", w, w.bad.step, w.bad.saw())
			if w.bad.step != hint.Dial {
				f.Details = []string{"to use it: " + w.bad.set}
			}
		} else {
			f.Saw = fmt.Sprintf("yes: %s; logins %s", w, t.offered())
			e.praise(&f, w)
		}
		e.found(f)
	}
}

// praise says so if a way is safer than the configured one.
func (e *exam) praise(f *Finding, w way) {
	if e.Config.Mode != postrider.Insecure || w.Mode == postrider.Insecure || e.local {
		return
	}
	f.Level, f.Means = Warning, "mail goes out in the clear, and need not"
	f.Set = "see the recommendation"
}

// Advice is a configuration that works.
type Advice struct {
	Why      string
	settings []setting
}

// setting is one key with its flag.
type setting struct{ section, key, value, flag string }

// MailmanCfg gives it as a piece of mailman.cfg.
func (a *Advice) MailmanCfg() string {
	var b strings.Builder
	for i, s := range a.settings {
		if i == 0 || s.section != a.settings[i-1].section {
			fmt.Fprintf(&b, "[%s]\n", s.section)
		}
		fmt.Fprintf(&b, "%s: %s\n", s.key, s.value)
	}
	return b.String()
}

// Flags gives it as flags of the program.
func (a *Advice) Flags() string {
	var flags []string
	for _, s := range a.settings {
		if s.flag != "" {
			flags = append(flags, s.flag)
		}
	}
	return strings.Join(flags, " ")
}

// advise recommends the best of the ways that work, in the order of RFC 8314 §3:
// TLS from the start, then STARTTLS. What stays on this machine needs neither.
func (e *exam) advise() {
	best, rank := way{}, 0
	for i, w := range e.ways {
		r := e.rank(w)
		if i == 0 && r > 0 && e.local {
			r = 4 // why change what works and is safe?
		}
		if r > rank {
			best, rank = w, r
		}
	}
	if rank > 0 {
		e.report.Advice = &Advice{e.why(best), e.settings(best)}
	}
}

// rank is how good a way is; 0 is one that does not serve.
func (e *exam) rank(w way) int {
	refused := w.bad != nil && w.bad.step == hint.Auth && w.bad.reply.Code != 0 // the login is wrong, and not the way
	switch {
	case w.bad != nil && !refused:
		return 0
	case e.Config.User != "" && len(w.auth) == 0:
		return 0
	case w.Mode == postrider.ImplicitTLS:
		return 3
	case w.Mode == postrider.StartTLS:
		return 2
	}
	return 1
}

func (e *exam) why(w way) string {
	verified := ", verified"
	if !e.verifies && (e.Config.NoVerifyCert || e.Config.NoVerifyHostname) {
		verified = ", not verified"
	}
	switch {
	case w.Mode == postrider.ImplicitTLS:
		return "TLS from the start" + verified + " (RFC 8314 §3.3)"
	case w.Mode == postrider.StartTLS:
		return "STARTTLS, and never without" + verified
	case e.local:
		return "the server is on this machine, where mail is safe without TLS"
	}
	return "no TLS: whoever is on the way can read the mail; no better way was found"
}

// settings are the keys of a way, and what was configured besides.
func (e *exam) settings(w way) []setting {
	cfg := &e.Config
	var all []setting
	add := func(on bool, section, key, value, flag string) {
		if on {
			all = append(all, setting{section, key, value, flag})
		}
	}
	host, server := e.address.Host, net.JoinHostPort(e.address.Host, w.Port)
	if e.address.Network == "unix" {
		host, server = e.address.String(), e.address.String()
	}
	secure := w.Mode != postrider.Insecure
	add(true, "mta", "smtp_host", host, "--server "+shell(server))
	add(w.Port != "", "mta", "smtp_port", w.Port, "")
	add(true, "mta", "smtp_secure_mode", w.Mode.String(), "--mode "+w.Mode.String())
	add(secure && cfg.NoVerifyCert && !e.verifies, "mta", "smtp_verify_cert", "no", "--no-verify-cert")
	add(secure && cfg.NoVerifyHostname && !e.verifies, "mta", "smtp_verify_hostname", "no", "--no-verify-hostname")
	add(cfg.User != "", "mta", "smtp_user", cfg.User, "--user "+shell(cfg.User))
	add(cfg.User != "", "mta", "# smtp_pass", "as it is, or smtp_pass_file in [postrider]", "--password-file FILE")
	add(secure && cfg.CAFile != "", "postrider", "ca_file", cfg.CAFile, "--ca-file "+shell(cfg.CAFile))
	pins := strings.Join(cfg.Pins, " ")
	add(secure && pins != "", "postrider", "pins", pins, "--pins "+shell(pins))
	add(secure && cfg.ClientCert != "", "postrider", "client_cert", cfg.ClientCert, "--client-cert "+shell(cfg.ClientCert))
	add(secure && cfg.ClientKey != "", "postrider", "client_key", cfg.ClientKey, "--client-key "+shell(cfg.ClientKey))
	add(secure && cfg.ServerName != "", "postrider", "server_name", cfg.ServerName, "--server-name "+shell(cfg.ServerName))
	add(cfg.LocalName != "", "postrider", "local_name", cfg.LocalName, "--local-name "+shell(cfg.LocalName))
	mechanisms := strings.Join(cfg.AuthMechanisms, " ")
	add(mechanisms != "", "postrider", "auth_mechanisms", mechanisms, "--auth-mechanisms "+shell(mechanisms))
	return all
}

// shell quotes for a POSIX shell where that is needed.
func shell(s string) string {
	plain := func(c rune) bool { return c > ' ' && c < 0x7f && !strings.ContainsRune("\"'`$&|;<>()*?[]#~!\\{}", c) }
	if s != "" && !strings.ContainsFunc(s, func(c rune) bool { return !plain(c) }) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
