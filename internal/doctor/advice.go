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
	w.bad, w.auth, w.startTLS = bad, t.s.Caps.Auth, t.s.Caps.StartTLS
	w.secure = t.s.Encrypted || bad != nil && bad.step == hint.Handshake
	return w
}

// others are the ways that the port suggests (RFC 8314 §3), and those that the configured one showed.
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

// suggests returns the modes that a conversation showed to be there.
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
				f.Set = w.bad.set
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
	Settings []Setting
}

// Setting is a field of Config, by name, with its value in text. "" is the one that is set now, which is not shown.
type Setting struct{ Field, Value string }

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

// settings are those of a way, and what was configured besides.
func (e *exam) settings(w way) []Setting {
	cfg := &e.Config
	var all []Setting
	add := func(on bool, field, value string) {
		if on {
			all = append(all, Setting{field, value})
		}
	}
	server := net.JoinHostPort(e.address.Host, w.Port)
	if e.address.Network == "unix" {
		server = e.address.String()
	}
	pins, mechanisms := strings.Join(cfg.Pins, " "), strings.Join(cfg.AuthMechanisms, " ")
	secure := w.Mode != postrider.Insecure
	add(true, "Address", server)
	add(true, "Mode", w.Mode.String())
	add(secure && cfg.NoVerifyCert && !e.verifies, "NoVerifyCert", "true")
	add(secure && cfg.NoVerifyHostname && !e.verifies, "NoVerifyHostname", "true")
	add(cfg.User != "", "User", cfg.User)
	add(cfg.User != "", "Password", "")
	add(secure && cfg.CAFile != "", "CAFile", cfg.CAFile)
	add(secure && pins != "", "Pins", pins)
	add(secure && cfg.ClientCert != "", "ClientCert", cfg.ClientCert)
	add(secure && cfg.ClientKey != "", "ClientKey", cfg.ClientKey)
	add(secure && cfg.ServerName != "", "ServerName", cfg.ServerName)
	add(cfg.LocalName != "", "LocalName", cfg.LocalName)
	add(mechanisms != "", "AuthMechanisms", mechanisms)
	return all
}
