package config

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/postrider/postrider"
)

const (
	// commandTimeout leaves time to unlock a key ring.
	commandTimeout = 30 * time.Second

	// maxPassword bounds what is read of a file or command.
	maxPassword = 4096
)

// password finds the password in the highest layer that sets one, and reads it.
func (v *view) password(ctx context.Context) (postrider.Secret, error) {
	from, value, err := v.passwordSource()
	if err != nil {
		return postrider.Secret{}, err
	}
	// The file or the command of the layer that won, and no other: a lower one
	// that fails does not matter any more.
	switch from.key {
	case "smtp_pass_file":
		value, err = passwordOfFile(v.path(from.section, from.key))
	case "smtp_pass_command":
		value, err = passwordOfCommand(ctx, value)
	}
	if err != nil {
		e := v.at(from.section, from.key, "cannot get the password")
		e.Err = err
		return postrider.Secret{}, e
	}
	return postrider.NewSecret(value), nil
}

// passwordSource finds the key that says what the password is. Two that say so in
// the same layer are an error: none of them is what was forgotten.
func (v *view) passwordSource() (from keyPath, value string, err error) {
	var top setting
	for _, at := range [...]keyPath{{"mta", "smtp_pass"}, {"postrider", "smtp_pass_file"},
		{"postrider", "smtp_pass_command"}} {
		s := v.values[at.section][at.key]
		switch {
		case s.value == "" || s.layer < top.layer:
		case s.layer == top.layer:
			return from, "", v.at(at.section, at.key, fmt.Sprintf("the password is also set by [%s] %s; keep only "+
				"one of them", from.section, from.key))
		default:
			from, top = at, s
		}
	}
	return from, top.value, nil
}

func passwordOfFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxPassword+1))
	if err != nil {
		return "", err
	}
	return firstLine(text)
}

// passwordOfCommand runs a shell command. Neither it nor what it prints, on either
// stream, is repeated in an error: both may hold the password.
func passwordOfCommand(ctx context.Context, command string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	shell := []string{"/bin/sh", "-c"}
	if runtime.GOOS == "windows" {
		shell = []string{"cmd", "/C"}
	}
	var out clipped
	// Standard input stays empty: it may be the message that is to be sent.
	cmd := exec.CommandContext(ctx, shell[0], shell[1], command)
	cmd.Stdout = &out
	cmd.WaitDelay = time.Second // a grandchild may hold the pipe open
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return "", fmt.Errorf("the command was stopped after at most %v: %w", commandTimeout, ctx.Err())
	case err != nil: // also when it printed something: that may be half a password
		return "", fmt.Errorf("the command failed; run it by hand to see why: %w", err)
	}
	return firstLine(out.kept)
}

// firstLine is what comes before the first line end, blanks included.
func firstLine(text []byte) (string, error) {
	line, _, _ := strings.Cut(string(text), "\n")
	line = strings.TrimSuffix(line, "\r")
	switch {
	case line == "":
		return "", errors.New("the first line is empty")
	case len(line) > maxPassword:
		return "", fmt.Errorf("the first line is longer than %d bytes", maxPassword)
	}
	return line, nil
}

// clipped keeps as much as tells a password from something too long, and lets
// the writer go on.
type clipped struct{ kept []byte }

func (c *clipped) Write(p []byte) (int, error) {
	room := maxPassword + 1 - len(c.kept)
	c.kept = append(c.kept, p[:min(room, len(p))]...)
	return len(p), nil
}
