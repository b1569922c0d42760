package postrider

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postrider/postrider/internal/dial"
	"github.com/postrider/postrider/internal/quirks"
	"github.com/postrider/postrider/internal/sasl"
	smtp "github.com/postrider/postrider/internal/wire"
)

// server is one MTA as its connections share it: how it is reached and trusted, who we are to it, and what was learnt
// of it. What can change is safe for any number of goroutines.
type server struct {
	*teller
	cfg      Config // without the password, which no dump shall show
	timeouts Timeouts
	address  dial.Address
	name     string       // address, as errors name it
	tls      *tls.Config  // with the session cache, so that one wire resumes what another began
	verified bool         // TLS proves that the server is the right one
	logins   *sasl.Source // nil: no AUTH
	secrets  sasl.Redactor
	dial     dialFunc
	jittered bool // wires end a little before they must, each at another time

	quirks       quirks.Quirks
	refusedLogin atomic.Pointer[refusedLogin]

	helloName dial.HelloName
	warned    sync.Once // of TLS that proves nothing
}

type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// refusedLogin is a server's refusal of our credentials, which is not asked for again before until.
type refusedLogin struct {
	err   *Error
	until time.Time
}

// Validate reports what [NewConnection] and [NewPool] would refuse, but for an Address with SRV records, which only
// NewPool takes. It opens no connection; of files it reads those that the fields name.
func (cfg Config) Validate() error {
	_, err := newServer(cfg)
	if err = cmp.Or(err, cfg.checkWeight()); err != nil {
		return &Error{Stage: StageLocal, Step: StepConfiguration, Err: err}
	}
	return nil
}

// checkWeight is for a pool.
func (cfg *Config) checkWeight() error {
	if cfg.Weight < 0 {
		return fmt.Errorf("field Weight is %d: write a share from 1, or 0 for standby", cfg.Weight)
	}
	return nil
}

// CheckAddress reports why an address cannot be a recipient of anything, because no RCPT command can carry it; nil if
// one can. A Send refuses such recipients by itself (Refused, Local).
func CheckAddress(address string) error {
	if err := smtp.CheckAddress(address); err != nil {
		return err
	}
	return smtp.NewPath(address).TooLong(smtp.CheckRecipientLength)
}

// newServer checks a configuration. It opens nothing; the only files that it reads are those that the fields name.
func newServer(cfg Config) (*server, error) {
	s := &server{cfg: cfg, timeouts: cfg.Timeouts.withDefaults()}
	if s.dial = cfg.Dial; s.dial == nil {
		s.dial = (&net.Dialer{}).DialContext
	}
	err := s.prepare()
	s.teller = newTeller(s.name, &s.cfg)
	return s, err
}

func (s *server) prepare() (err error) {
	cfg := &s.cfg
	if cfg.Mode < Insecure || cfg.Mode > StartTLS {
		return fmt.Errorf("field Mode is %v: use Insecure, ImplicitTLS or StartTLS", cfg.Mode)
	}
	if cfg.Chunking < UseAuto || cfg.Chunking > UseTrusted {
		return fmt.Errorf("field Chunking is %d: use UseAuto, UseOff or UseTrusted", cfg.Chunking)
	}
	if s.address, err = dial.ParseAddress(cfg.Address, dial.UsualPort(cfg.Mode == ImplicitTLS)); err != nil {
		return fmt.Errorf("field Address: %w", err)
	}
	s.name = s.address.String()
	if err := smtp.CheckHelloName(cfg.LocalName); err != nil {
		return fmt.Errorf("field LocalName: %w", err)
	}
	s.helloName.Configured = cfg.LocalName
	if cfg.Mode != Insecure {
		t := dial.TLS{
			Base: cfg.TLS, Host: s.address.ServerName(), ServerName: cfg.ServerName, CAFile: cfg.CAFile, Pins: cfg.Pins,
			CertFile: cfg.ClientCert, KeyFile: cfg.ClientKey,
			NoVerifyCert: cfg.NoVerifyCert, NoVerifyHostname: cfg.NoVerifyHostname,
		}
		if s.tls, err = t.Config(); err != nil {
			return err
		}
		s.verified = t.Proves()
	}
	return s.prepareLogin()
}

// prepareLogin checks names and credentials now, so that a mistake does not wait for the first message.
func (s *server) prepareLogin() error {
	cfg := &s.cfg
	kind, err := sasl.KindFor(cfg.AuthMechanisms)
	if err != nil {
		return fmt.Errorf("field AuthMechanisms: %w", err)
	}
	inTLS := cfg.TLS != nil && (len(cfg.TLS.Certificates) > 0 || cfg.TLS.GetClientCertificate != nil)
	kind.Certificate = cfg.Mode != Insecure && (cfg.ClientCert != "" || inTLS)
	switch {
	case cfg.Credentials != nil:
		s.logins = sasl.Asked(kind, asker(cfg.Credentials, kind))
	case cfg.User != "" && !cfg.Password.IsZero():
		kind.User, kind.Password = cfg.User, cfg.Password.Reveal()
		if err := kind.Check(); err != nil {
			return fmt.Errorf("fields User and Password: %w", err)
		}
		if err := kind.FitAny(cfg.AuthMechanisms); err != nil {
			return fmt.Errorf("field AuthMechanisms: %w", err)
		}
		s.secrets.Add(kind)
		s.logins = sasl.Fixed(kind)
	case kind.Certificate && cfg.Password.IsZero():
		// A certificate alone may be all that a server wants, without any AUTH.
		kind.User = cfg.User
		s.logins = sasl.Fixed(kind)
		s.logins.Optional = len(cfg.AuthMechanisms) == 0
	}
	if s.logins != nil {
		cfg.Password = Secret{}
	}
	return nil
}

// asker turns [Config.Credentials] into what the wires ask.
func asker(
	ask func(context.Context, bool) (string, Secret, error), kind sasl.Credentials,
) func(context.Context, bool) (sasl.Credentials, error) {
	return func(ctx context.Context, refresh bool) (sasl.Credentials, error) {
		user, secret, err := ask(ctx, refresh)
		if err != nil {
			return sasl.Credentials{}, err
		}
		c := kind
		c.User, c.Password = user, secret.Reveal()
		return c, c.Check()
	}
}

// warnUnverified tells the operator once that anybody could be the server. Who has
// chosen to verify the chain alone has an authority's word at least.
func (s *server) warnUnverified() {
	anybody := s.cfg.NoVerifyCert || s.cfg.TLS != nil && s.cfg.TLS.InsecureSkipVerify
	if !anybody {
		return
	}
	s.warned.Do(func() {
		s.log().Warn("the server's certificate is not fully verified: somebody on the way could read the mail and "+
			"the password", "server", s.name)
	})
}

// rejectLogin remembers a refusal for a while.
func (s *server) rejectLogin(err *Error) {
	s.refusedLogin.Store(&refusedLogin{err, time.Now().Add(s.authRetryAfter())})
}

// loginRefused returns the refusal that still stands; nil: none.
func (s *server) loginRefused() *Error {
	r := s.refusedLogin.Load()
	if r == nil {
		return nil
	}
	left := time.Until(r.until)
	if left <= 0 {
		s.refusedLogin.CompareAndSwap(r, nil)
		return nil
	}
	again := *r.err
	again.Err = fmt.Errorf("refused before; not asked again for %v", left.Round(time.Second))
	return &again
}

// orDefault is a setting, or its default where it is not set.
func orDefault[T int | time.Duration](value, otherwise T) T {
	if value > 0 {
		return value
	}
	return otherwise
}

func (s *server) authRetryAfter() time.Duration {
	return orDefault(s.cfg.AuthRetryAfter, DefaultAuthRetryAfter)
}

func (s *server) idleTimeout() time.Duration { return cmp.Or(s.cfg.IdleTimeout, DefaultIdleTimeout) }

// window is how many transactions may be in flight on a wire to this server.
func (s *server) window() int {
	if s.quirks.NoWindow.Holds() || s.quirks.NoPipelining.Holds() {
		return 1
	}
	return s.maxWindow()
}

// maxWindow is what the configuration allows.
func (s *server) maxWindow() int { return orDefault(s.cfg.Window, DefaultWindow) }

func (s *server) windowOctets() int { return orDefault(s.cfg.WindowOctets, DefaultWindowOctets) }

func (s *server) probeAfter() time.Duration { return orDefault(s.cfg.ProbeAfter, DefaultProbeAfter) }
