package session

import (
	"context"
	"fmt"
	"slices"

	"github.com/postrider/postrider/internal/hint"
	"github.com/postrider/postrider/internal/sasl"
)

// Login authenticates, unless the source says that this is not needed. If the server refuses credentials that were
// asked for, fresh ones are, once, and tried in the same conversation.
func (s *Session) Login(ctx context.Context, source *sasl.Source) *Error {
	if source.Optional && !slices.Contains(s.Caps.Auth, sasl.External) {
		return nil
	}
	mechanism, failed := s.Mechanism(source.Kind())
	if failed != nil {
		return failed
	}
	who, err := source.Get(ctx, nil)
	if err == nil {
		var renew bool
		if failed, renew = s.Auth(mechanism, who.Credentials()); !renew || !source.CanRefresh() {
			return failed
		}
		if who, err = source.Get(ctx, &who); err == nil {
			failed, _ = s.Auth(mechanism, who.Credentials())
			return failed
		}
	}
	return &Error{Step: hint.Auth, Err: fmt.Errorf("%w: %w", hint.ErrCredentials, err)}
}
