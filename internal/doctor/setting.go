package doctor

import (
	"regexp"
	"strings"
)

// The table of hints speaks to programmers and operators at once: "set Config.Mode
// to StartTLS (smtp_secure_mode: starttls)". An operator has no Config.
var (
	field = regexp.MustCompile(`Config\.[\w.]+(?: and Config\.\w+)?(?: to [A-Z]\w+)?( empty| allows)? \(([^)]+)\)`)
	bare  = regexp.MustCompile(`\((smtp_\w+: \w+)\)`)
)

// inSettings says a hint in keys of mailman.cfg and flags of the program.
func inSettings(hint string) string {
	hint = field.ReplaceAllStringFunc(hint, func(found string) string {
		m := field.FindStringSubmatch(found)
		return m[2] + " (" + flagsOf(m[2]) + ")" + m[1]
	})
	return bare.ReplaceAllStringFunc(hint, func(found string) string {
		keys := strings.Trim(found, "()")
		return "(" + keys + ", " + flagsOf(keys) + ")"
	})
}

// flagsOf gives the flags for "smtp_host, smtp_port", or "[postrider] ca_file".
func flagsOf(keys string) string {
	keys = strings.TrimPrefix(keys, "[postrider] ")
	var flags []string
	for setting := range strings.SplitSeq(keys, ", ") {
		key, value, _ := strings.Cut(setting, ": ")
		if f := flagOf(key, value); f != "" {
			flags = append(flags, f)
		}
	}
	return strings.Join(flags, ", ")
}

// flagOf is the program's flag for a key; those that it has none for can be --set.
func flagOf(key, value string) string {
	named := map[string]string{
		"smtp_host": "--server", "smtp_port": "", "smtp_user": "--user", "smtp_pass": "--password-file",
		"smtp_secure_mode": "--mode", "ca_file": "--ca-file", "server_name": "--server-name",
		"auth_mechanisms": "--auth-mechanisms", "local_name": "--local-name",
		"pins": "--pins", "client_cert": "--client-cert", "client_key": "--client-key",
	}
	onOff := map[string]string{
		"smtp_verify_cert": "verify-cert", "smtp_verify_hostname": "verify-hostname", "allow_plaintext_auth": "allow-plaintext-auth",
	}
	if name, ok := onOff[key]; ok {
		if value == "no" {
			name = "no-" + name
		}
		return "--" + name
	}
	if name, ok := named[key]; ok {
		return strings.TrimSpace(name + " " + value)
	}
	if value == "" {
		value = "TIME" // all others are times
	}
	return "--set postrider." + key + "=" + value
}
