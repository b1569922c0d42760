package sasl

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/postrider/postrider/internal/detach"
)

// Source says who we are to one server: always the same, or what a function answers, of which one call at a time is
// made for all that ask. It is safe for any number of goroutines.
type Source struct {
	// Optional: to log in is not needed where the server does not offer EXTERNAL.
	Optional bool

	fixed Answer
	ask   func(ctx context.Context, refresh bool) (Credentials, error) // nil: fixed

	mu     sync.Mutex // a leaf
	asking *asking
	count  int
	fresh  Answer // the newest after a refresh
}

// Answer is who we are, as one conversation says it. The credentials are behind a function, so that no dump shows them.
type Answer struct {
	Credentials func() Credentials
	number      int // counts the answers of the function
}

// Fixed is a Source that always answers c.
func Fixed(c Credentials) *Source {
	return &Source{fixed: Answer{Credentials: func() Credentials { return c }}}
}

// Asked is a Source that calls ask. What it returns is of the kind that is given, which is what choosing a mechanism
// needs. With refresh, what was answered last was refused.
func Asked(kind Credentials, ask func(ctx context.Context, refresh bool) (Credentials, error)) *Source {
	kind.Later = true
	s := Fixed(kind)
	s.ask = ask
	return s
}

// Kind is what is known of the credentials before they are asked for.
func (s *Source) Kind() Credentials { return s.fixed.Credentials() }

// CanRefresh reports whether asking again may have another answer.
func (s *Source) CanRefresh() bool { return s.ask != nil }

// asking is a call that is underway.
type asking struct {
	refresh bool
	done    chan struct{}
	got     Answer
	err     error
	dropped bool // its caller left, which says nothing to those who wait
}

// Get returns the credentials; refused are those that the server has just refused, nil at first.
func (s *Source) Get(ctx context.Context, refused *Answer) (Answer, error) {
	if s.ask == nil {
		return s.fixed, nil
	}
	for {
		s.mu.Lock()
		if refused != nil && s.fresh.number > refused.number {
			defer s.mu.Unlock()
			return s.fresh, nil // somebody else has asked for fresh ones
		}
		a := s.asking
		if a == nil {
			a = &asking{refresh: refused != nil, done: make(chan struct{})}
			s.asking = a
			s.mu.Unlock()
			s.call(ctx, a)
			return a.got, a.err
		}
		s.mu.Unlock()
		select {
		case <-a.done:
		case <-ctx.Done():
			return Answer{}, context.Cause(ctx)
		}
		if !a.dropped && (a.refresh || refused == nil) {
			return a.got, a.err
		}
	}
}

func (s *Source) call(ctx context.Context, a *asking) {
	c, err := detach.Until(ctx, func() (Credentials, error) { return s.ask(ctx, a.refresh) }, nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count++
	a.got, a.err = Answer{func() Credentials { return c }, s.count}, err
	a.dropped = err != nil && ctx.Err() != nil
	if a.refresh && err == nil {
		s.fresh = a.got
	}
	s.asking = nil
	close(a.done)
}

// KindFor tells a token from a password by the mechanisms that may be used, in any case. They cannot be for both: what
// is meant for one must not be sent as the other.
func KindFor(mechanisms []string) (kind Credentials, err error) {
	for _, m := range mechanisms {
		if !slices.Contains(Known(), strings.ToUpper(m)) {
			return kind, fmt.Errorf("%q is not known; known are %s", m, strings.Join(Known(), ", "))
		}
	}
	kind.Token = slices.ContainsFunc(mechanisms, ForTokens)
	for _, m := range mechanisms {
		if kind.Token && !ForTokens(m) && !strings.EqualFold(m, External) {
			return kind, fmt.Errorf("%s takes a password, and others there an OAuth token: name one kind", m)
		}
	}
	return kind, nil
}

// FitAny tells why none of the mechanisms can do anything with these credentials; nil if one can, or if there is no
// list.
func (c Credentials) FitAny(mechanisms []string) (err error) {
	for _, m := range mechanisms {
		unfit := c.Fit(m)
		if unfit == nil {
			return nil
		}
		err = fmt.Errorf("%s: %w", strings.ToUpper(m), unfit)
	}
	return err
}
