package config

import (
	"context"
	"slices"
	"sync"

	"github.com/postrider/postrider"
)

// renewable reports whether the password is a token that a command can renew. A real
// password is not read again: sending the same wrong one twice gets accounts locked.
func (v *view) renewable(mechanisms []string) bool {
	from, _, err := v.passwordSource()
	token := slices.Contains(mechanisms, "XOAUTH2") || slices.Contains(mechanisms, "OAUTHBEARER")
	return err == nil && token && from.key == "smtp_pass_command"
}

// renewing returns a function that returns the newest token, and runs the command
// again if that was refused. The servers of a Pool share it and may call it together.
func (v *view) renewing(
	user string, token postrider.Secret,
) func(context.Context, bool) (string, postrider.Secret, error) {
	var mu sync.Mutex
	newest := token
	return func(ctx context.Context, refresh bool) (string, postrider.Secret, error) {
		if refresh {
			// Not under the lock: a command that hangs must not hold up those who
			// have a good token.
			fresh, err := v.password(ctx)
			if err != nil {
				return "", postrider.Secret{}, err
			}
			mu.Lock()
			defer mu.Unlock()
			newest = fresh
			return user, fresh, nil
		}
		mu.Lock()
		defer mu.Unlock()
		return user, newest, nil
	}
}
