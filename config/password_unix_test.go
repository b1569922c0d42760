//go:build unix

package config

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestPasswordCommand(t *testing.T) {
	for _, test := range []struct{ command, want, fail string }{
		{"printf 'hunter2\\nmore\\n'", "hunter2", ""},
		{"printf ' hunter2 '", " hunter2 ", ""},
		{"echo hunter2 | tr 2 3", "hunter3", ""},
		{"cat", "", "the first line is empty"}, // standard input is empty, not the program's
		{"echo hunter2; echo hunter2 >&2; exit 3", "", "the command failed; run it by hand to see why: exit status 3"},
		{"head -c 1000000 /dev/zero | tr '\\0' x", "", "longer than"},
		{"no-such-command-hunter2", "", "exit status 127"},
	} {
		c := parsed(t, "[mta]\nsmtp_user: u\n[postrider]\nsmtp_pass_command: "+test.command+"\n")
		cfg, err := c.MTA(t.Context())
		if test.fail == "" {
			if err != nil || cfg.Password.Reveal() != test.want {
				t.Errorf("%s: %q, %v", test.command, cfg.Password.Reveal(), err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), test.fail) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want %s", test.command, err, test.fail)
		}
	}
}

// Nobody logs in: the command is not run.
func TestPasswordCommandWithoutUser(t *testing.T) {
	ran := filepath.Join(t.TempDir(), "ran")
	if _, err := parsed(t, "[postrider]\nsmtp_pass_command: touch "+ran+"\n").MTA(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(ran); err == nil {
		t.Error("it was run")
	}
}

// A command that hangs ends with the context.
func TestPasswordCommandHangs(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		os.ReadFile(pipe) // returns when the command has written there
		cancel()
	}()
	_, err := parsed(t, "[mta]\nsmtp_user: u\n[postrider]\nsmtp_pass_command: echo > "+pipe+"; exec tail -f "+
		"/dev/null\n").MTA(ctx)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
