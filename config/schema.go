package config

import "strings"

// kind is what a value has to look like.
type kind int

const (
	text kind = iota
	boolean
	integer
	duration
	optionalDuration // a duration, or empty for package postrider's own choice
	secureMode
	secret // text that nothing may show
)

type keySpec struct {
	name, def string
	kind      kind
}

// sectionSpec is a section that is known. An open one belongs to Mailman, whose
// versions differ: its other keys are kept and not judged.
type sectionSpec struct {
	name string
	open bool
	keys []keySpec
}

// schema holds the keys that Postrider reads, with Mailman's defaults (3.3.8;
// facts 2.1), and those of [mta] and [devmode] that only Mailman reads, so that
// they are not taken for mistakes. It is never changed.
var schema = []sectionSpec{
	{name: "mta", keys: []keySpec{
		// incoming, lmtp_* and configuration are how mail comes in to Mailman.
		{"incoming", "mailman.mta.postfix.LMTP", text},
		{"outgoing", "mailman.mta.deliver.deliver", text},
		{"smtp_host", "localhost", text},
		{"smtp_port", "25", integer},
		{"smtp_user", "", text},
		{"smtp_pass", "", secret},
		{"smtp_secure_mode", "smtp", secureMode},
		{"smtp_verify_cert", "yes", boolean},
		{"smtp_verify_hostname", "yes", boolean},
		{"lmtp_host", "127.0.0.1", text},
		{"lmtp_port", "8024", integer},
		// Mailman 3.3.9 went down to 10 because an MTA that hangs up amid many
		// recipients made it lose mail (fact 69); here they are Untried, not lost.
		{"max_recipients", "500", integer},
		{"max_sessions_per_connection", "0", integer},
		{"max_delivery_threads", "0", integer}, // no code of Mailman reads it
		{"delivery_retry_period", "5d", duration},
		{"verp_delimiter", "+", text},
		{"verp_format", "${bounces}+${local}=${domain}", text},
		{"verp_confirm_format", "$address+$cookie", text},
		{"verp_regexp", `^(?P<bounces>[^+]+?)\+(?P<local>[^=]+)=(?P<domain>[^@]+)@.*$`, text},
		{"verp_confirm_regexp", `^(.*<)?(?P<addr>[^+]+?)\+(?P<cookie>[^@]+)@.*$`, text},
		{"verp_confirmations", "yes", boolean},
		{"verp_personalized_deliveries", "no", boolean},
		{"verp_delivery_interval", "0", integer},
		{"verp_probe_format", "$bounces+$token@$domain", text},
		{"verp_probe_regexp", `^(?P<bounces>[^+]+?)\+(?P<token>[^@]+)@.*$`, text},
		{"verp_probes", "no", boolean},
		{"max_autoresponses_per_day", "10", integer},
		{"remove_dkim_headers", "no", boolean},
		{"configuration", "python:mailman.config.postfix", text},
	}},
	{name: "devmode", keys: []keySpec{
		{"enabled", "no", boolean},
		{"recipient", "", text},
		{"testing", "no", boolean},
		{"wait", "60s", duration},
	}},
	{name: "postrider", keys: []keySpec{
		{"server_name", "", text},
		{"ca_file", "", text},
		{"pins", "", text},
		{"client_cert", "", text},
		{"client_key", "", text},
		{"auth_mechanisms", "", text},
		{"allow_plaintext_auth", "no", boolean},
		{"local_name", "", text},
		{"smtp_pass_file", "", text},
		{"smtp_pass_command", "", secret}, // people write passwords into commands
		{"timeout_connect", "", optionalDuration},
		{"timeout_greeting", "", optionalDuration},
		{"timeout_hello", "", optionalDuration},
		{"timeout_tls", "", optionalDuration},
		{"timeout_auth", "", optionalDuration},
		{"timeout_mail", "", optionalDuration},
		{"timeout_rcpt", "", optionalDuration},
		{"timeout_data", "", optionalDuration},
		{"timeout_block", "", optionalDuration},
		{"timeout_final", "", optionalDuration},
		{"timeout_quit", "", optionalDuration},
		{"idle_timeout", "", optionalDuration},
		{"max_age", "0s", duration},
		{"window", "0", integer},
		{"window_octets", "0", integer},
		{"probe_after", "0s", duration},
		{"auth_retry_after", "0s", duration},
	}},
	{name: "logging.smtp", keys: []keySpec{
		{"format", "%(asctime)s (%(process)d) %(message)s", text},
		{"datefmt", "%b %d %H:%M:%S %Y", text},
		{"propagate", "no", boolean},
		{"level", "info", text},
		{"path", "smtp.log", text},
		{"every", "$msgid smtp to $listname for $recip recips, completed in $time seconds", text},
		{"success", "$msgid post to $listname from $sender, $size bytes", text},
		{"refused", "$msgid post to $listname from $sender, $size bytes, $refused failures", text},
		{"failure", "$msgid delivery to $recip failed with code $smtpcode, $smtpmsg", text},
	}},
	// Read before there are layers, by extends; here so that its slips are seen.
	{name: "meta", keys: []keySpec{{"extends", "", text}}},
	// Of Mailman's own sections the keys that a delivery needs defaults of.
	{name: "mailman", open: true, keys: []keySpec{{"site_owner", "changeme@example.com", text}}},
	{name: "runner.out", open: true, keys: []keySpec{{"sleep_time", "1s", duration}}},
	{name: "runner.retry", open: true, keys: []keySpec{{"sleep_time", "15m", duration}}},
}

// mailmans are the other sections of Mailman, all of them open.
var mailmans = strings.Fields(`
	ARC antispam bounces database digests dmarc nntp passwords shell styles webservice
	logging.archiver logging.bounce logging.config logging.database logging.debug logging.error
	logging.fromusenet logging.http logging.locks logging.mischief logging.plugins logging.root
	logging.runner logging.smtp-failure logging.subscribe logging.task logging.vette`)

// categories are the first words of sections that a configuration may add:
// Mailman's schema has a .master for them (facts 2.2).
var categories = strings.Fields("archiver language paths plugin runner")

// findSection looks a section up: case and blanks count. nil if it is unknown.
func findSection(name string) *sectionSpec {
	for i := range schema {
		if schema[i].name == name {
			return &schema[i]
		}
	}
	for _, m := range mailmans {
		if m == name {
			return &sectionSpec{name: name, open: true}
		}
	}
	first, _, dotted := strings.Cut(name, ".")
	for _, c := range categories {
		if dotted && c == first {
			return &sectionSpec{name: name, open: true}
		}
	}
	return nil
}

// key looks a key up, which is in lower case. nil if the schema does not name it.
func (s *sectionSpec) key(name string) *keySpec {
	for i := range s.keys {
		if s.keys[i].name == name {
			return &s.keys[i]
		}
	}
	return nil
}

// knows reports whether a key of this name is kept.
func (s *sectionSpec) knows(key string) bool { return s.open || s.key(key) != nil }

// isSecret reports whether a value must not be shown. In sections that are not
// ours the name has to tell; a database's url holds its password.
func isSecret(section, key string) bool {
	if s := findSection(section); s != nil {
		if k := s.key(key); k != nil {
			return k.kind == secret
		}
	}
	for _, word := range [...]string{"pass", "secret", "token", "url"} {
		if strings.Contains(key, word) {
			return true
		}
	}
	return false
}

// sectionNames are the names to suggest for an unknown section.
func sectionNames() []string {
	names := append([]string(nil), mailmans...)
	for _, s := range schema {
		names = append(names, s.name)
	}
	return names
}

// keyNames are the names to suggest for an unknown key.
func (s *sectionSpec) keyNames() []string {
	var names []string
	for _, k := range s.keys {
		names = append(names, k.name)
	}
	return names
}

// home is the section, not Mailman's own, that has a key of this name.
func home(key string) string {
	for i := range schema {
		if !schema[i].open && schema[i].key(key) != nil {
			return schema[i].name
		}
	}
	return ""
}
