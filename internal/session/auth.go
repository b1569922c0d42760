package session

import (
	"errors"
	"fmt"
	"strings"

	"github.com/postrider/postrider/internal/cause"
	"github.com/postrider/postrider/internal/hint"
	"github.com/postrider/postrider/internal/sasl"
	"github.com/postrider/postrider/internal/wire"
)

// Mechanism returns the one mechanism that is used for credentials of this kind: a password that was refused is not
// shown to the server in weaker and weaker ways. It fails if they are not to be shown to this server at all.
func (s *Session) Mechanism(kind sasl.Credentials) (string, *Error) {
	preferred := s.Mechanisms
	if len(preferred) == 0 {
		preferred = sasl.Default(kind, s.Encrypted && s.Verified)
	}
	mechanism, known := sasl.Choose(preferred, kind, s.peer())
	var err error
	switch {
	case len(s.Caps.Auth) == 0:
		err = hint.ErrNoAuth
	case !known:
		err = s.noMechanism(sasl.Why(preferred, kind, s.peer()))
	case !s.Encrypted && !s.Local && !s.AllowPlaintextAuth:
		err = hint.ErrPlaintextAuth
	default:
		return mechanism, nil
	}
	return "", &Error{Step: hint.Auth, Err: err}
}

// noMechanism says what the server offers instead, and why that does not do if it is not for the names alone.
func (s *Session) noMechanism(why error) error {
	offered := s.Secrets.Hide(strings.Join(s.Caps.Auth, " "))
	if why != nil {
		return fmt.Errorf("%w: it offers %s; %w", hint.ErrNoMechanism, offered, why)
	}
	return fmt.Errorf("%w: it offers %s", hint.ErrNoMechanism, offered)
}

// peer is the server as a mechanism sees it.
func (s *Session) peer() sasl.Peer {
	p := sasl.Peer{Offered: s.Caps.Auth, Host: s.Host, Port: s.Port}
	if s.Encrypted {
		p.TLS = &s.TLSState
	}
	return p
}

// Auth makes one attempt to log in. renew: the server does not like these credentials, and others could do better.
func (s *Session) Auth(mechanism string, who sasl.Credentials) (failed *Error, renew bool) {
	r, err := s.exchange(mechanism, who)
	switch {
	case err != nil:
		failed = &Error{Step: hint.Auth, Reply: r, Err: err}
	case r.Code != 235: // 503 too: no AUTH was sent before, so nobody is logged in
		failed = refusal(hint.Auth, wire.Auth, r)
		if failed.Err == nil {
			failed.Err = errors.New("AUTH " + mechanism + " was refused")
		}
	}
	s.LoggedIn = failed == nil
	s.tellOf(Event{Kind: Authenticated, Mechanism: mechanism, Failed: failed})
	return failed, failed != nil && (r.Code == 535 || errors.Is(err, sasl.ErrToken) && r.Code/100 == 5)
}

// exchange is the dialogue of one attempt. The reply is the one that ended it. Some servers repeat what they were told:
// no error and no observer gets to see that.
func (s *Session) exchange(mechanism string, who sasl.Credentials) (last wire.Reply, err error) {
	x, err := sasl.New(mechanism, who, s.peer())
	if err != nil {
		return last, cause.Lasting{Err: err}
	}
	s.Secrets.Add(who)
	err = sasl.Converse(x, mechanism, func(line, shown string) (int, string, error) {
		if line != "*" {
			last = wire.Reply{}
		}
		if err := s.tell(line, shown); err != nil {
			return 0, "", err
		}
		r, err := s.overhear(s.Timeouts.Auth)
		if err != nil {
			return 0, "", err
		}
		told := r.Redacted(s.Secrets.HideInAuth)
		s.show(told)
		if line != "*" {
			last = told
		}
		return r.Code, r.Text, nil // a challenge goes to the mechanism to the letter
	})
	if err != nil && (last.Code == 235 || errors.Is(err, sasl.ErrTooLong)) {
		err = cause.Lasting{Err: err} // a yes that is not believed, or what never fits: time does not mend it
	}
	return last, err
}
