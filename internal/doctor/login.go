package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/hint"
	"github.com/postrider/postrider/internal/sasl"
	"github.com/postrider/postrider/internal/session"
	"github.com/postrider/postrider/internal/text"
)

// login says what logins the server offers, and tries the credentials: once in an
// examination, because servers lock accounts, and by one mechanism.
func (t *talk) login(ctx context.Context) *trouble {
	t.found(Finding{Check: "logins offered", Stage: hint.Auth, Level: OK, Saw: t.offered()})
	cfg := &t.e.Config
	switch {
	case !t.hasLogin():
		t.found(Finding{Check: "login", Stage: hint.Auth, Level: OK,
			Saw: "no user and password are set, so none were tried"})
		return nil
	case t.lenient:
		t.found(Finding{Check: "login", Stage: hint.Auth, Level: Warning, Saw: "not tried",
			Means: "a password is not shown to a server that cannot prove who it is", Set: "see to TLS first"})
		return nil
	}
	start := time.Now()
	mechanism, failed := t.authenticate(ctx)
	if failed != nil {
		bad := t.trouble(failed, start)
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
	case !t.s.Encrypted:
		return "in the clear: " + list(t.s.Caps.Auth)
	case t.before.StartTLS:
		return "under TLS: " + list(t.s.Caps.Auth) + "; before STARTTLS: " + list(t.before.Auth)
	}
	return "under TLS: " + list(t.s.Caps.Auth)
}

// authenticate makes one attempt.
func (t *talk) authenticate(ctx context.Context) (string, *session.Error) {
	mechanism, failed := t.s.Mechanism(t.e.kindOfLogin())
	if failed != nil {
		return "", failed
	}
	who, err := t.e.credentials(ctx)
	if err != nil {
		return "", &session.Error{Step: hint.Auth, Err: fmt.Errorf("%w: %w", hint.ErrCredentials, err)}
	}
	failed, _ = t.s.Auth(mechanism, who)
	return mechanism, failed
}

// hasLogin: there is something to log in with. A certificate alone may be all that
// a server wants, without any AUTH.
func (t *talk) hasLogin() bool {
	cfg := &t.e.Config
	password := cfg.Credentials != nil || cfg.User != "" && !cfg.Password.IsZero()
	wanted := len(cfg.AuthMechanisms) > 0 || slices.Contains(t.s.Caps.Auth, sasl.External)
	return password || cfg.Password.IsZero() && t.s.Encrypted && t.e.showsCertificate() && wanted
}

func (e *exam) showsCertificate() bool {
	return e.Config.ClientCert != "" || len(e.tls.Certificates) > 0 || e.tls.GetClientCertificate != nil
}

// kindOfLogin is what is configured; the password may have to be asked for.
func (e *exam) kindOfLogin() sasl.Credentials {
	cfg := &e.Config
	return sasl.Credentials{
		User: cfg.User, Password: cfg.Password.Reveal(), Later: cfg.Credentials != nil,
		Token:       slices.ContainsFunc(cfg.AuthMechanisms, sasl.ForTokens),
		Certificate: cfg.Mode != postrider.Insecure && e.showsCertificate(),
	}
}

// credentials are the configured ones, or those that Config.Credentials returns for the one attempt.
func (e *exam) credentials(ctx context.Context) (sasl.Credentials, error) {
	cfg := &e.Config
	who := e.kindOfLogin()
	if who.Later {
		user, secret, err := cfg.Credentials(ctx, false)
		if err != nil {
			return sasl.Credentials{}, err
		}
		cfg.User = user // for the report
		who.User, who.Password, who.Later = user, secret.Reveal(), false
	}
	return who, nil
}
