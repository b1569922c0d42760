package doctor

import (
	"context"
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/hint"
	"github.com/postrider/postrider/internal/sasl"
	"github.com/postrider/postrider/internal/text"
	"github.com/postrider/postrider/internal/wire"
)

// login says what logins the server offers, and tries the credentials: once in an
// examination, because servers lock accounts, and by one mechanism.
func (t *talk) login(ctx context.Context) *trouble {
	t.found(Finding{Check: "logins offered", Stage: hint.Auth, Level: OK, Saw: t.offered()})
	cfg := &t.e.Config
	switch {
	case !t.hasLogin():
		t.found(Finding{Check: "login", Stage: hint.Auth, Level: OK, Saw: "no user and password are set, so none were tried"})
		return nil
	case t.lenient:
		t.found(Finding{Check: "login", Stage: hint.Auth, Level: Warning, Saw: "not tried",
			Means: "a password is not shown to a server that cannot prove who it is", Set: "see to TLS first"})
		return nil
	}
	start := time.Now()
	mechanism, r, err := t.authenticate(ctx)
	if err != nil || r.Code != 235 && r.Code != 503 { // 503: authenticated already
		bad := t.trouble(hint.Auth, r, err, start)
		t.blame(bad)
		return bad
	}
	t.found(Finding{Check: "login", Stage: hint.Auth, Level: OK, Took: time.Since(start),
		Saw: fmt.Sprintf("%q is let in by %s", cfg.User, mechanism)})
	return nil
}

// offered says where which mechanisms are offered.
func (t *talk) offered() string {
	list := func(mechanisms []string) string {
		if len(mechanisms) == 0 {
			return "none"
		}
		return text.Printable(t.e.secrets.Hide(strings.Join(mechanisms, " ")))
	}
	switch {
	case !t.encrypted:
		return "in the clear: " + list(t.caps.Auth)
	case t.before.StartTLS:
		return "under TLS: " + list(t.caps.Auth) + "; before STARTTLS: " + list(t.before.Auth)
	}
	return "under TLS: " + list(t.caps.Auth)
}

// authenticate chooses as the library does, and is as careful with the password.
func (t *talk) authenticate(ctx context.Context) (mechanism string, r wire.Reply, err error) {
	cfg := &t.e.Config
	preferred := cfg.AuthMechanisms
	who, err := t.e.credentials(ctx)
	if err != nil {
		return "", r, fmt.Errorf("%w: %w", hint.ErrCredentials, err)
	}
	if len(preferred) == 0 {
		preferred = sasl.Default(who, t.encrypted && t.e.proves)
	}
	peer := t.peer()
	mechanism, known := sasl.Choose(preferred, who, peer)
	switch {
	case len(t.caps.Auth) == 0:
		return "", r, hint.ErrNoAuth
	case !known:
		return "", r, t.noMechanism(sasl.Why(preferred, who, peer))
	case !t.encrypted && !t.e.local && !cfg.AllowPlaintextAuth:
		return "", r, hint.ErrPlaintextAuth
	}
	x, err := sasl.New(mechanism, who, peer)
	if err != nil {
		return mechanism, r, err
	}
	r, err = t.exchange(mechanism, x)
	return mechanism, r, err
}

// noMechanism says what the server offers instead, and why that does not do if it is not for the names alone.
func (t *talk) noMechanism(why error) error {
	offered := t.e.secrets.Hide(strings.Join(t.caps.Auth, " "))
	if why != nil {
		return fmt.Errorf("%w: it offers %s; %w", hint.ErrNoMechanism, offered, why)
	}
	return fmt.Errorf("%w: it offers %s", hint.ErrNoMechanism, offered)
}

// hasLogin: there is something to log in with. A certificate alone may be all that
// a server wants, without any AUTH.
func (t *talk) hasLogin() bool {
	cfg := &t.e.Config
	password := cfg.Credentials != nil || cfg.User != "" && !cfg.Password.IsZero()
	wanted := len(cfg.AuthMechanisms) > 0 || slices.Contains(t.caps.Auth, sasl.External)
	return password || cfg.Password.IsZero() && t.encrypted && t.e.showsCertificate() && wanted
}

func (e *exam) showsCertificate() bool {
	return e.Config.ClientCert != "" || len(e.tls.Certificates) > 0 || e.tls.GetClientCertificate != nil
}

// credentials are the configured ones, or those that Config.Credentials gives for
// the one attempt.
func (e *exam) credentials(ctx context.Context) (sasl.Credentials, error) {
	cfg := &e.Config
	if cfg.Credentials != nil {
		user, secret, err := cfg.Credentials(ctx, false)
		if err != nil {
			return sasl.Credentials{}, err
		}
		cfg.User, cfg.Password = user, secret
	}
	who := sasl.Credentials{
		User: cfg.User, Password: cfg.Password.Reveal(),
		Token:       slices.ContainsFunc(cfg.AuthMechanisms, sasl.ForTokens),
		Certificate: cfg.Mode != postrider.Insecure && e.showsCertificate(),
	}
	e.secrets.Add(who)
	return who, nil
}

// peer is the server as a mechanism sees it.
func (t *talk) peer() sasl.Peer {
	p := sasl.Peer{Offered: t.caps.Auth, Host: t.e.address.Host, Port: t.e.address.Port}
	if conn, ok := t.conn.(*tls.Conn); ok {
		state := conn.ConnectionState()
		p.TLS = &state
	}
	return p
}

// exchange is the dialogue of the one attempt. The reply is the one that ended it.
func (t *talk) exchange(mechanism string, x sasl.Exchange) (last wire.Reply, err error) {
	err = sasl.Converse(x, mechanism, func(line, _ string) (int, string, error) {
		if line != "*" {
			last = wire.Reply{}
		}
		r, bad := t.askExactly(hint.Auth, line)
		if bad != nil {
			return 0, "", bad.err
		}
		if line != "*" {
			last = r.Redacted(t.e.secrets.HideInAuth)
		}
		return r.Code, r.Text, nil
	})
	return last, err
}
