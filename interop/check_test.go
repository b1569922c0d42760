//go:build linux

package interop_test

import (
	"context"
	"crypto/tls"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/doctor"
	"github.com/postrider/postrider/internal/mtatest"
)

// TestServersAreSound: the doctor finds nothing wrong with real servers that are
// set up well, tells a wrong password, and a port that waits for TLS.
func TestServersAreSound(t *testing.T) {
	forEach(t, func(t *testing.T, kind mtatest.Kind, o mtatest.Options) {
		if o.User == "" && len(kind.Mechanisms) > 0 || kind.Name == "Mailman" {
			t.Skip("with an account there is more to see; Mailman's is aiosmtpd")
		}
		t.Parallel() // most of it is waiting for servers that start
		server := kind.Start(t, o)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		mode, _ := postrider.ParseSecureMode(string(o.Mode))
		from, to := "anne@example.com", "bart@example.com"
		exam := doctor.Exam{
			Config: postrider.Config{
				Address: server.Address, Mode: mode, ServerName: "localhost", TLS: &tls.Config{RootCAs: server.CAs},
				User: server.User, Password: postrider.NewSecret(server.Password), LocalName: "client.example.com",
			},
			From: &from, To: &to, Hush: time.Second,
		}
		r, err := exam.Run(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range r.Findings {
			if f.Check == "greeting" && f.Level == doctor.Warning {
				continue // it came late: on a machine under load that is not the server's fault
			}
			// The certificates of mtatest are for a day.
			if ends := f.Check == "certificate"; f.Level == doctor.Problem || (f.Level == doctor.Warning) != ends {
				t.Errorf("%+v", f)
			}
		}
		if r.Advice == nil ||
			!slices.Contains(r.Advice.Settings, doctor.Setting{Field: "Mode", Value: string(o.Mode)}) {
			t.Errorf("recommended: %+v", r.Advice)
		}
		if n := len(server.Messages(t)); n != 0 {
			t.Errorf("%d messages were sent", n)
		}
		meetsWrongPassword(ctx, t, exam)
		meetsTLS(ctx, t, exam)
	})
}

func meetsWrongPassword(ctx context.Context, t *testing.T, exam doctor.Exam) {
	t.Helper()
	if exam.Config.User == "" || exam.Config.Mode != postrider.StartTLS {
		return // servers take their time after a wrong one: once is enough
	}
	exam.Config.Password = postrider.NewSecret("another")
	r, err := exam.Run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if f := r.Worst(); f.Check != "login" || f.Level != doctor.Problem || f.Set.Field() != "User" {
		t.Errorf("wrong password: %+v", f)
	}
}

// meetsTLS: to a client that says nothing, a server on a TLS port says nothing.
func meetsTLS(ctx context.Context, t *testing.T, exam doctor.Exam) {
	t.Helper()
	if exam.Config.Mode != postrider.ImplicitTLS {
		return
	}
	exam.Config.Mode, exam.Hush = postrider.Insecure, 300*time.Millisecond // nothing will come
	r, err := exam.Run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if f := r.Worst(); f.Check != "greeting" || !strings.Contains(f.Saw, "answers a ClientHello") {
		t.Errorf("without TLS: %+v", f)
	}
	works := func(f doctor.Finding) bool { return f.Check == "another way" && strings.HasPrefix(f.Saw, "yes: ") }
	if !slices.ContainsFunc(r.Findings, works) || r.Advice == nil {
		t.Errorf("without TLS: %+v", r.Findings)
	}
}
