package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/config"
	"github.com/postrider/postrider/internal/doctor"
)

// flagNames are those that set a field of a postrider.Config. For what is not here there is --set.
var flagNames = map[string]string{
	"Address":         "--server",
	"AuthMechanisms":  "--auth-mechanisms",
	"CAFile":          "--ca-file",
	"ClientCert":      "--client-cert",
	"ClientKey":       "--client-key",
	"Credentials":     "--password-command",
	"LocalName":       "--local-name",
	"MaxRecipients":   "--max-recipients",
	"MaxTransactions": "--max-transactions",
	"Mode":            "--mode",
	"Password":        "--password-file",
	"Pins":            "--pins",
	"Redirect":        "--redirect",
	"ServerName":      "--server-name",
	"User":            "--user",
}

// switchNames are the flags that are given or, with "no-" in front, not: "true" is what the field is then.
var switchNames = map[string]map[string]string{
	"AllowPlaintextAuth": {"true": "--allow-plaintext-auth", "false": "--no-allow-plaintext-auth"},
	"NoVerifyCert":       {"true": "--no-verify-cert", "false": "--verify-cert"},
	"NoVerifyHostname":   {"true": "--no-verify-hostname", "false": "--verify-hostname"},
}

// flagOf says by which flag a field gets a value; "" is one that is left open.
func flagOf(field, value string) string {
	if s := switchNames[field]; s != nil {
		if value == "" {
			value = "true"
		}
		return s[value]
	}
	if flag := flagNames[field]; flag != "" {
		return strings.TrimSpace(flag + " " + shell(value))
	}
	lines := config.Lines(field, value)
	if lines == nil {
		return ""
	}
	if value = lines[0].Value; value == "" {
		value = "VALUE"
		if strings.Contains(field, "Time") {
			value = "TIME"
		}
	}
	return fmt.Sprintf("--set %s.%s=%s", lines[0].Section, lines[0].Key, shell(value))
}

// setting says to the user of this program how a field is set: by which flag and, for those who have it in a file, by
// which key.
func setting(field, value string) string {
	flag := flagOf(field, value)
	if flag == "" || strings.HasPrefix(flag, "--set ") { // which names the key
		return flag
	}
	return flag + " (" + config.Setting(field, value) + ")"
}

// words is an error as the program says it: the library puts its own name before its errors, and so does warn; and what
// the library tells to set is a field, where this program has flags.
func words(err error) string {
	said := err.Error()
	if e, ok := errors.AsType[*postrider.Error](err); ok && e.Hint.Text != "" {
		said = strings.Replace(said, e.Hint.Text, e.Hint.In(setting), 1)
	}
	return strings.TrimPrefix(said, "postrider: ")
}

// adviceLines is a recommendation as a piece of mailman.cfg.
func adviceLines(a *doctor.Advice) string {
	var b strings.Builder
	section := ""
	for _, s := range a.Settings {
		for _, l := range config.Lines(s.Field, s.Value) {
			if l.Section != section {
				section = l.Section
				fmt.Fprintf(&b, "[%s]\n", section)
			}
			if s.Field == "Password" {
				b.WriteString("# smtp_pass: as it is, or smtp_pass_file in [postrider]\n")
				continue
			}
			fmt.Fprintf(&b, "%s: %s\n", l.Key, l.Value)
		}
	}
	return b.String()
}

// adviceFlags is a recommendation as flags.
func adviceFlags(a *doctor.Advice) string {
	var all []string
	for _, s := range a.Settings {
		if s.Field == "Password" {
			s.Value = "FILE"
		}
		all = append(all, flagOf(s.Field, s.Value))
	}
	return strings.Join(all, " ")
}

// shell quotes for a POSIX shell where that is needed.
func shell(s string) string {
	plain := func(c rune) bool { return c > ' ' && c < 0x7f && !strings.ContainsRune("\"'`$&|;<>()*?[]#~!\\{}", c) }
	if !strings.ContainsFunc(s, func(c rune) bool { return !plain(c) }) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
