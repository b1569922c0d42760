//go:build linux

package mtatest

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Ran is what a client that sends one message and ends has said.
type Ran struct {
	Status int    // its exit status: 0 if it thinks that all recipients were accepted
	Output string // of both kinds, the server's replies included where it shows them
}

// Msmtp sends one message with msmtp, which logs in by PLAIN if the target has a user. It adds
// no header fields and reads no configuration of this machine.
func Msmtp(t testing.TB, target Target, m Mail) Ran {
	t.Helper()
	const program = "/usr/bin/msmtp"
	require(t, "msmtp", program)
	host, port := hostPort(t, target)
	dir := newDir(t)
	args := []string{
		"--host=" + host, "--port=" + port, "--domain=client.example.com", "--timeout=60", "--from=" + m.From,
		"--set-from-header=off", "--set-date-header=off", "--set-msgid-header=off", "--remove-bcc-headers=off"}
	if target.Mode == StartTLS || target.Mode == ImplicitTLS {
		starttls := "off"
		if target.Mode == StartTLS {
			starttls = "on"
		}
		args = append(args, "--tls=on", "--tls-starttls="+starttls, "--tls-trust-file="+target.CAFile)
	}
	if target.User != "" {
		write(t, dir+"/password", target.Password+"\n")
		args = append(args, "--auth=plain", "--user="+target.User, "--passwordeval=cat "+dir+"/password")
	}
	return runClient(t, dir, m.Content, program, append(append(args, "--"), m.To...))
}

// Swaks sends one message with swaks, which logs in by PLAIN if the target has a user.
func Swaks(t testing.TB, target Target, m Mail) Ran {
	t.Helper()
	const program = "/usr/bin/swaks"
	require(t, "swaks", program)
	host, port := hostPort(t, target)
	args := []string{
		"--server", host, "--port", port, "--helo", "client.example.com", "--timeout", "60s",
		"--from", m.From, "--to", strings.Join(m.To, ","), "--data", "-",
	}
	switch target.Mode {
	case StartTLS:
		args = append(args, "--tls")
	case ImplicitTLS:
		args = append(args, "--tls-on-connect")
	}
	if target.CAFile != "" {
		args = append(args, "--tls-verify", "--tls-ca-path", target.CAFile)
	}
	if target.User != "" {
		args = append(args, "--auth", "PLAIN", "--auth-user", target.User, "--auth-password", target.Password)
	}
	// It adds a line end of its own.
	return runClient(t, newDir(t), bytes.TrimSuffix(m.Content, []byte("\r\n")), program, args)
}

func hostPort(t testing.TB, target Target) (host, port string) {
	t.Helper()
	host, port, err := net.SplitHostPort(target.Address)
	if err != nil {
		t.Fatalf("mtatest: %v", err)
	}
	return host, port
}

// runClient runs the program with the directory as its home, so that it finds no settings of a user.
func runClient(t testing.TB, home string, input []byte, program string, args []string) Ran {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), answerLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = []string{"HOME=" + home, "PATH=" + os.Getenv("PATH")}
	cmd.Stdin = bytes.NewReader(input)
	output, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		t.Fatalf("mtatest: %s: %v\n%s", program, err, output)
	}
	return Ran{Status: cmd.ProcessState.ExitCode(), Output: string(output)}
}
