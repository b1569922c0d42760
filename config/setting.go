package config

import (
	"net"
	"slices"
	"strings"
)

// Setting returns how a configuration sets a field of a [postrider.Config], for the In of a [postrider.Hint]: "Mode"
// and "starttls" are "smtp_secure_mode: starttls", "CAFile" and "" are "[postrider] ca_file". A key without a section
// is one of [mta]. A field that no key sets is returned as "Config." and its name.
func Setting(field, value string) string {
	var said []string
	for _, l := range Lines(field, value) {
		said = append(said, l.String())
	}
	switch {
	case said == nil:
		return "Config." + field
	case value == "":
		return strings.Join(said, " and ")
	}
	return strings.Join(said, ", ")
}

// Line is one line of a configuration.
type Line struct{ Section, Key, Value string }

// String returns the key, with its section if that is not [mta], and with the value if there is one.
func (l Line) String() string {
	key := l.Key
	if l.Section != "mta" {
		key = "[" + l.Section + "] " + key
	}
	if l.Value == "" {
		return key
	}
	return key + ": " + l.Value
}

// Lines returns the lines that set a field of a [postrider.Config] to a value, nil if a configuration cannot set the
// field. A field of Timeouts is named "Timeouts.Hello". The value is text such as "smtps", "true" or "45s"; the value
// in a line may differ, because some keys are the negation of their field. If value is empty, so are those of the
// lines.
func Lines(field, value string) []Line {
	if timeout, ok := strings.CutPrefix(field, "Timeouts."); ok {
		key := "timeout_" + strings.ToLower(timeout)
		if findSection("postrider").key(key) == nil {
			return nil
		}
		return []Line{{"postrider", key, value}}
	}
	lines := slices.Clone(keysOf[field])
	switch {
	case value == "" || lines == nil:
		return lines
	case field == "Address":
		return addressLines(value)
	case strings.HasPrefix(field, "NoVerify"):
		value = map[string]string{"true": "no", "false": "yes"}[value]
	case field == "AllowPlaintextAuth":
		value = map[string]string{"true": "yes", "false": "no"}[value]
	}
	lines[0].Value = value
	return lines
}

// addressLines parts host and port. A socket has no port.
func addressLines(address string) []Line {
	host, port, err := net.SplitHostPort(address)
	if err != nil || strings.HasPrefix(address, "unix:") || strings.HasPrefix(address, "srv:") {
		return []Line{{"mta", "smtp_host", address}}
	}
	return []Line{{"mta", "smtp_host", host}, {"mta", "smtp_port", port}}
}

// keysOf are the keys of the fields that have one. Of two the first is the one to look at.
var keysOf = map[string][]Line{
	"Address":            {{"mta", "smtp_host", ""}, {"mta", "smtp_port", ""}},
	"AllowPlaintextAuth": {{"postrider", "allow_plaintext_auth", ""}},
	"AuthMechanisms":     {{"postrider", "auth_mechanisms", ""}},
	"AuthRetryAfter":     {{"postrider", "auth_retry_after", ""}},
	"CAFile":             {{"postrider", "ca_file", ""}},
	"ClientCert":         {{"postrider", "client_cert", ""}},
	"ClientKey":          {{"postrider", "client_key", ""}},
	"Credentials":        {{"postrider", "smtp_pass_command", ""}},
	"IdleTimeout":        {{"postrider", "idle_timeout", ""}},
	"LocalName":          {{"postrider", "local_name", ""}},
	"MaxAge":             {{"postrider", "max_age", ""}},
	"MaxRecipients":      {{"mta", "max_recipients", ""}},
	"MaxTransactions":    {{"mta", "max_sessions_per_connection", ""}},
	"Mode":               {{"mta", "smtp_secure_mode", ""}},
	"NoVerifyCert":       {{"mta", "smtp_verify_cert", ""}},
	"NoVerifyHostname":   {{"mta", "smtp_verify_hostname", ""}},
	"Password":           {{"mta", "smtp_pass", ""}},
	"Pins":               {{"postrider", "pins", ""}},
	"ProbeAfter":         {{"postrider", "probe_after", ""}},
	"Redirect":           {{"devmode", "recipient", ""}},
	"ServerName":         {{"postrider", "server_name", ""}},
	"User":               {{"mta", "smtp_user", ""}},
	"Window":             {{"postrider", "window", ""}},
	"WindowOctets":       {{"postrider", "window_octets", ""}},
}
