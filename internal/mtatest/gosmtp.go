//go:build linux

package mtatest

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// goSMTPVersions are the versions of go-smtp that have a program in interop/testdata. Until 0.25.0 it takes the
// octets of a BDAT that it refused for commands.
var goSMTPVersions = []string{"0.21", "0.24", "0.25"}

// GoSMTP returns the function that starts a server on that version of go-smtp. It refuses recipients whose local
// part begins with "refused", and keeps every message in memory. Only Plain, without a User, and it has
// nothing to configure: TLS and AUTH are the Go library's own, and seen elsewhere.
func GoSMTP(version string) func(testing.TB, Options) *Server {
	return func(t testing.TB, o Options) *Server {
		t.Helper()
		program := filepath.Join(privateTree(), "go-smtp", version)
		requireFile(t, program, "builds it from interop/testdata")
		dir := newDir(t)
		s := newServer(t, "go-smtp-"+version, dir, o)
		if s.Mode != Plain || o.User != "" || len(o.Extra) > 0 {
			t.Fatalf("mtatest: %s has no TLS, no AUTH and no configuration here", s.Name)
		}
		under := startAnswering(t, s.Name, dir, exec.Command(program), serverArguments{Port: s.port()})
		s.process, s.read = under.process, under.messages
		return s
	}
}
