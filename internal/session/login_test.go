package session_test

import (
	"context"
	"errors"
	"testing"

	"github.com/postrider/postrider/internal/sasl"
)

func TestLogin(t *testing.T) {
	const first, second = "AGFubmUAb2xk", "AGFubmUAbmV3" // NUL anne NUL old, and new
	yes, no := "S: 235 2.7.0 in", "S: 535 5.7.8 no"
	asked := func() *sasl.Source {
		return sasl.Asked(sasl.Credentials{}, func(_ context.Context, refresh bool) (sasl.Credentials, error) {
			return sasl.Credentials{User: "anne", Password: map[bool]string{false: "old", true: "new"}[refresh]}, nil
		})
	}
	optional := sasl.Fixed(sasl.Credentials{Certificate: true})
	optional.Optional = true
	for _, tt := range []struct {
		name   string
		source *sasl.Source
		script script
		want   string
	}{
		{name: "asked", source: asked(), script: script{"C: AUTH PLAIN " + first, yes}},
		{name: "refreshed", source: asked(),
			script: script{"C: AUTH PLAIN " + first, no, "C: AUTH PLAIN " + second, yes}},
		{name: "refreshed once", source: asked(), want: "AUTH: 535 5.7.8 no (AUTH PLAIN was refused)",
			script: script{"C: AUTH PLAIN " + first, no, "C: AUTH PLAIN " + second, no}},
		{name: "fixed", source: sasl.Fixed(sasl.Credentials{User: "anne", Password: "old"}),
			script: script{"C: AUTH PLAIN " + first, no}, want: "AUTH: 535 5.7.8 no (AUTH PLAIN was refused)"},
		{name: "without an answer", want: "AUTH: there are no credentials: the vault is shut",
			source: sasl.Asked(sasl.Credentials{}, func(context.Context, bool) (sasl.Credentials, error) {
				return sasl.Credentials{}, errors.New("the vault is shut")
			})},
		{name: "not needed", source: optional},
		{name: "no mechanism", source: sasl.Fixed(sasl.Credentials{User: "anne", Password: "x", Token: true}),
			want: "AUTH: the server offers no AUTH mechanism that may be used"},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			r := introduced(t, "AUTH PLAIN", tt.script, nil)
			got := failure(r.Login(t.Context(), tt.source))
			if len(got) > len(tt.want) && tt.want != "" {
				got = got[:len(tt.want)]
			}
			if got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
			r.leave(t)
		})
	}
}
