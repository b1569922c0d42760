//go:build linux

package mtatest

import (
	"encoding/json"
	"strings"
	"testing"
)

// serverArguments is what the two server scripts are started with.
type serverArguments struct {
	Port     string                     `json:"port"`
	Mode     Mode                       `json:"mode"`
	Cert     string                     `json:"cert"`
	Key      string                     `json:"key"`
	CA       string                     `json:"ca"`
	User     string                     `json:"user"`
	Password string                     `json:"password"`
	Extra    map[string]json.RawMessage `json:"extra"`
}

// Aiosmtpd starts Python's aiosmtpd with a handler that keeps every message in memory.
func Aiosmtpd(t testing.TB, o Options) *Server {
	t.Helper()
	require(t, "python3-aiosmtpd", python, "/usr/lib/python3/dist-packages/aiosmtpd")
	extra := make(map[string]json.RawMessage)
	for _, line := range o.Extra {
		name, value, _ := strings.Cut(line, "=")
		if !json.Valid([]byte(value)) {
			t.Fatalf("mtatest: aiosmtpd: extra line %q is not NAME=JSON", line)
		}
		extra[name] = json.RawMessage(value)
	}
	s, _ := startServerScript(t, "aiosmtpd", "aiosmtpd_server.py", o, extra)
	return s
}

// startServerScript starts a server that is one of our scripts.
func startServerScript(
	t testing.TB, name, file string, o Options, extra map[string]json.RawMessage,
) (*Server, *script) {
	t.Helper()
	dir := newDir(t)
	s := newServer(t, name, dir, o)
	program := startScript(t, file, dir, serverArguments{
		Port: s.port(), Mode: s.Mode,
		Cert: dir + "/" + certFile, Key: dir + "/" + keyFile, CA: s.CAFile,
		User: o.User, Password: o.Password, Extra: extra,
	})
	s.process, s.read = program.process, program.messages
	return s, program
}
