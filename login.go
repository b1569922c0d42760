package postrider

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/postrider/postrider/internal/detach"
	"github.com/postrider/postrider/internal/hint"
	"github.com/postrider/postrider/internal/sasl"
	smtp "github.com/postrider/postrider/internal/wire"
)

// login is who we are, as one wire says it. The credentials are behind a function,
// so that no dump shows them.
type login struct {
	credentials func() sasl.Credentials
	number      int // counts the answers of [Config.Credentials]
}

// logins answers who we are for the wires to one server: always the same, or what
// [Config.Credentials] says, of which one call at a time is made for all that ask.
type logins struct {
	fixed    login
	ask      func(ctx context.Context, refresh bool) (sasl.Credentials, error) // nil: fixed
	optional bool                                                              // only where EXTERNAL is offered

	mu     sync.Mutex
	asking *asking
	count  int
	fresh  login // the newest that refresh gave
}

// asking is a call that is underway.
type asking struct {
	refresh bool
	done    chan struct{}
	got     login
	err     error
	dropped bool // its caller left, which says nothing to those who wait
}

// get gives the credentials for a wire; refused are those that the server has just
// refused, nil at first.
func (l *logins) get(ctx context.Context, refused *login) (login, error) {
	if l.ask == nil {
		return l.fixed, nil
	}
	for {
		l.mu.Lock()
		if refused != nil && l.fresh.number > refused.number {
			defer l.mu.Unlock()
			return l.fresh, nil // somebody else has asked for fresh ones
		}
		a := l.asking
		if a == nil {
			a = &asking{refresh: refused != nil, done: make(chan struct{})}
			l.asking = a
			l.mu.Unlock()
			l.call(ctx, a)
			return a.got, a.err
		}
		l.mu.Unlock()
		select {
		case <-a.done:
		case <-ctx.Done():
			return login{}, context.Cause(ctx)
		}
		if !a.dropped && (a.refresh || refused == nil) {
			return a.got, a.err
		}
	}
}

func (l *logins) call(ctx context.Context, a *asking) {
	c, err := detach.Until(ctx, func() (sasl.Credentials, error) { return l.ask(ctx, a.refresh) }, nil)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count++
	a.got, a.err = login{func() sasl.Credentials { return c }, l.count}, err
	a.dropped = err != nil && ctx.Err() != nil
	if a.refresh && err == nil {
		l.fresh = a.got
	}
	l.asking = nil
	close(a.done)
}

// authenticate logs in. If the server refuses what [Config.Credentials] gave, fresh
// credentials are asked for, once, and tried on the same wire.
func (w *wire) authenticate(ctx context.Context) *Error {
	l := w.c.logins
	if l.optional && !slices.Contains(w.caps.Auth, sasl.External) {
		return nil
	}
	mechanism, failed := w.chooseMechanism()
	if failed != nil {
		return failed
	}
	who, err := l.get(ctx, nil)
	if err == nil {
		var renew bool
		if failed, renew = w.tryLogin(mechanism, who); !renew || l.ask == nil {
			return failed
		}
		if who, err = l.get(ctx, &who); err == nil {
			failed, _ = w.tryLogin(mechanism, who)
			return failed
		}
	}
	return w.openError(hint.Auth, smtp.Reply{}, fmt.Errorf("%w: %w", hint.ErrCredentials, err))
}

// chooseMechanism finds the one mechanism that is used: a password that was refused
// is not shown to the server in weaker and weaker ways.
func (w *wire) chooseMechanism() (string, *Error) {
	preferred, kind := w.c.cfg.AuthMechanisms, w.c.logins.fixed.credentials()
	if len(preferred) == 0 {
		preferred = sasl.Default(kind, w.encrypted && w.c.verified)
	}
	mechanism, known := sasl.Choose(preferred, kind, w.peer())
	var err error
	switch {
	case len(w.caps.Auth) == 0:
		err = hint.ErrNoAuth
	case !known:
		err = noMechanism(w.c.secrets.Hide(strings.Join(w.caps.Auth, " ")), sasl.Why(preferred, kind, w.peer()))
	case !w.encrypted && !w.local && !w.c.cfg.AllowPlaintextAuth:
		err = hint.ErrPlaintextAuth
	default:
		return mechanism, nil
	}
	return "", w.openError(hint.Auth, smtp.Reply{}, err)
}

// noMechanism says what a server offers instead, and why that does not do if it is not for the names alone.
func noMechanism(offered string, why error) error {
	if why != nil {
		return fmt.Errorf("%w: it offers %s; %w", hint.ErrNoMechanism, offered, why)
	}
	return fmt.Errorf("%w: it offers %s", hint.ErrNoMechanism, offered)
}

// peer is the server as a mechanism sees it.
func (w *wire) peer() sasl.Peer {
	p := sasl.Peer{Offered: w.caps.Auth, Host: w.c.address.Host, Port: w.c.address.Port}
	if conn, ok := w.conn.(*tls.Conn); ok {
		state := conn.ConnectionState()
		p.TLS = &state
	}
	return p
}

// tryLogin makes one attempt. renew: the server does not like the credentials, and
// others could do better.
func (w *wire) tryLogin(mechanism string, who login) (failed *Error, renew bool) {
	r, err := w.exchange(mechanism, who)
	if err == nil && r.Code != 235 { // 503 too: we have sent no AUTH before, so nobody is logged in
		if err = misfit(smtp.Auth, r); err == nil {
			err = errors.New("AUTH " + mechanism + " was refused")
		}
	}
	if err != nil {
		failed = w.openError(hint.Auth, r, err)
	}
	w.loggedIn = failed == nil
	w.c.observeAuth(w.id, mechanism, failed)
	return failed, failed != nil && (r.Code == 535 || errors.Is(err, sasl.ErrToken) && r.Code/100 == 5)
}

// exchange is the dialogue of one attempt. The reply is the one that ended it. Some servers repeat what they were told:
// no error, hook or log gets to see that.
func (w *wire) exchange(mechanism string, who login) (last smtp.Reply, err error) {
	x, err := sasl.New(mechanism, who.credentials(), w.peer())
	if err != nil {
		return last, permanentError{err}
	}
	w.c.secrets.Add(who.credentials())
	err = sasl.Converse(x, mechanism, func(line, shown string) (int, string, error) {
		if line != "*" {
			last = smtp.Reply{}
		}
		if err := w.tellMasked(line, shown); err != nil {
			return 0, "", err
		}
		r, err := w.overhear(w.c.timeouts.Auth)
		if err != nil {
			return 0, "", err
		}
		told := r.Redacted(w.c.secrets.HideInAuth)
		w.c.observeReply(w.id, told)
		if line != "*" {
			last = told
		}
		return r.Code, r.Text, nil // a challenge goes to the mechanism to the letter
	})
	if err != nil && (last.Code == 235 || errors.Is(err, sasl.ErrTooLong)) {
		err = permanentError{err} // a yes that is not believed, or what never fits: time does not mend it
	}
	return last, err
}
