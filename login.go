package postrider

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/postrider/postrider/internal/detach"
	"github.com/postrider/postrider/internal/hint"
	"github.com/postrider/postrider/internal/sasl"
	"github.com/postrider/postrider/internal/session"
)

// login is who we are, as one wire says it. The credentials are behind a function, so that no dump shows them.
type login struct {
	credentials func() sasl.Credentials
	number      int // counts the answers of [Config.Credentials]
}

// logins answers who we are for the wires to one server: always the same, or what [Config.Credentials] says, of which
// one call at a time is made for all that ask.
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

// get returns the credentials for a wire; refused are those that the server has just refused, nil at first.
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

// authenticate logs in. If the server refuses what [Config.Credentials] returned, fresh credentials are asked for,
// once, and tried on the same wire.
func (c *Connection) authenticate(ctx context.Context, s *session.Session) *session.Error {
	l := c.logins
	if l.optional && !slices.Contains(s.Caps.Auth, sasl.External) {
		return nil
	}
	mechanism, failed := s.Mechanism(l.fixed.credentials())
	if failed != nil {
		return failed
	}
	who, err := l.get(ctx, nil)
	if err == nil {
		var renew bool
		if failed, renew = s.Auth(mechanism, who.credentials()); !renew || l.ask == nil {
			return failed
		}
		if who, err = l.get(ctx, &who); err == nil {
			failed, _ = s.Auth(mechanism, who.credentials())
			return failed
		}
	}
	return &session.Error{Step: hint.Auth, Err: fmt.Errorf("%w: %w", hint.ErrCredentials, err)}
}
