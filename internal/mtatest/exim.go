//go:build linux

package mtatest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Exim starts Debian's Exim (the light daemon, with GnuTLS) from the private tree, with a configuration
// and a spool of its own and Exim's default limits. It only queues.
func Exim(t testing.TB, o Options) *Server {
	t.Helper()
	program := privateTree() + "/exim4/usr/sbin/exim4"
	require(t, "exim4-daemon-light", program)
	dir := newDir(t)
	s := newServer(t, "Exim", dir, o)
	spool := filepath.Join(dir, "spool")
	if err := os.Mkdir(spool, 0o755); err != nil {
		t.Fatalf("mtatest: %v", err)
	}
	// Exim has given up root when it logs, when it writes its spool and when it reads its key.
	write(t, dir+"/log-main", "")
	write(t, dir+"/log-panic", "")
	write(t, dir+"/log-reject", "")
	for _, path := range []string{
		spool, dir + "/log-main", dir + "/log-panic", dir + "/log-reject", dir + "/" + keyFile,
	} {
		own(t, "Debian-exim", path)
	}
	if o.User != "" {
		write(t, dir+"/users", fmt.Sprintf("%q: %s\n", o.User, o.Password))
	}
	write(t, dir+"/exim.conf", eximConfiguration(s, dir, program, o))
	s.process = startProcess(t, s.Name, dir, exec.Command(program, "-C", dir+"/exim.conf", "-bdf"))
	s.process.awaitPort(t, s.Address)
	s.read = func() ([]Message, error) { return readExim(spool + "/input") }
	return s
}

// eximConfiguration writes the whole file: the main section, one access control list for RCPT, and the
// authenticators. Routers and transports are missing, since queued mail stays.
func eximConfiguration(s *Server, dir, program string, o Options) string {
	conf := fmt.Sprintf(eximMain, dir, s.port(), program)
	switch s.Mode {
	case Plain:
		conf += "tls_advertise_hosts =\n"
	case StartTLS:
		conf += fmt.Sprintf(eximTLS, dir)
	case ImplicitTLS:
		conf += fmt.Sprintf(eximTLS, dir) + "tls_on_connect_ports = " + s.port() + "\n"
	}
	acl := "begin acl\nrcpt:\n"
	if s.Mode != Plain {
		acl += "  deny message = TLS first\n    !encrypted = *\n"
	}
	if o.User != "" {
		conf += eximAdvertiseAuth(s.Mode)
		acl += "  deny message = authenticate first\n    !authenticated = *\n"
	}
	conf = replaceSettings(conf, o.Extra) + acl + "  accept\n"
	if o.User != "" {
		conf += fmt.Sprintf(eximAuth, dir)
	}
	return conf
}

// replaceSettings adds lines to a main section, in place of those that set the same: unlike Postfix,
// Exim does not let the last one win, and does not start.
func replaceSettings(conf string, extra []string) string {
	set := func(line string) string {
		name, _, _ := strings.Cut(line, "=")
		return strings.TrimSpace(name)
	}
	var kept strings.Builder
	for line := range strings.Lines(conf) {
		if !slices.ContainsFunc(extra, func(own string) bool { return set(own) == set(line) }) {
			kept.WriteString(line)
		}
	}
	return kept.String() + strings.Join(extra, "\n") + "\n"
}

// eximAdvertiseAuth offers AUTH, but not in the clear where TLS is to come first.
func eximAdvertiseAuth(mode Mode) string {
	if mode == Plain {
		return "auth_advertise_hosts = *\n"
	}
	return "auth_advertise_hosts = ${if def:tls_in_cipher{*}}\n"
}

// queue_only leaves each message in the spool; an ACL is needed, for without one Exim refuses every
// recipient. keep_environment only silences a warning.
const eximMain = `primary_hostname = exim.test
spool_directory = %[1]s/spool
log_file_path = %[1]s/log-%%s
exim_path = %[3]s
pid_file_path = %[1]s/pid
keep_environment =
local_interfaces = 127.0.0.1
daemon_smtp_ports = %[2]s
queue_only
acl_smtp_rcpt = rcpt
`

const eximTLS = `tls_certificate = %[1]s/cert.pem
tls_privatekey = %[1]s/key.pem
`

const eximAuth = `begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${if eq{$auth3}{${lookup{$auth2}lsearch{%[1]s/users}{$value}fail}}}
  server_set_id = $auth2
login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = <| Username: | Password:
  server_condition = ${if eq{$auth2}{${lookup{$auth1}lsearch{%[1]s/users}{$value}fail}}}
  server_set_id = $auth1
cram_md5:
  driver = cram_md5
  public_name = CRAM-MD5
  server_secret = ${lookup{$auth1}lsearch{%[1]s/users}{$value}fail}
  server_set_id = $auth1
`

// readExim reads the spool. A message is there when its -H file is: Exim writes that last, and renames it.
func readExim(input string) ([]Message, error) {
	heads, err := filepath.Glob(input + "/*-H")
	if err != nil {
		return nil, err
	}
	// An id begins with the time (base 62, in the order of ASCII).
	slices.Sort(heads)
	var messages []Message
	for _, name := range heads {
		head, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		data, err := os.ReadFile(strings.TrimSuffix(name, "-H") + "-D")
		if err != nil {
			return nil, err
		}
		m, err := parseExim(head, data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		messages = append(messages, m)
	}
	return messages, nil
}

// parseExim reads the two files of one message, as the chapter on spool files of Exim's specification
// describes them.
func parseExim(head, data []byte) (Message, error) {
	envelope, header, found := bytes.Cut(head, []byte("\n\n"))
	if !found {
		return Message{}, fmt.Errorf("no empty line behind the envelope")
	}
	lines := strings.Split(string(envelope), "\n")
	// Name of the file, user, sender, time, options, and last "XX", the number of recipients, and they.
	none := slices.Index(lines, "XX")
	if none < 4 || len(lines) < none+3 {
		return Message{}, fmt.Errorf("envelope not understood: %q", envelope)
	}
	m := Message{From: strings.Trim(lines[2], "<>"), Record: string(envelope)}
	for _, line := range lines[none+2:] {
		m.To = append(m.To, eximRecipient(line))
	}
	content, err := eximHeader(header)
	if err != nil {
		return m, err
	}
	// The first line of the data file is its name.
	_, body, _ := bytes.Cut(data, []byte("\n"))
	m.Content = wireForm(slices.Concat(content, []byte("\n"), body))
	return m, nil
}

// eximRecipient takes the address from a line that may have four more fields, for DSN (RFC 3461), the
// last of them marked "#3"; the address itself may contain quoted spaces.
func eximRecipient(line string) string {
	fields := strings.Split(line, " ")
	if !strings.HasSuffix(line, "#3") || len(fields) < 5 {
		return line
	}
	return strings.Join(fields[:len(fields)-4], " ")
}

// eximHeader joins the header fields, each of which stands behind its length in octets, a letter for
// its kind and a space; "*" marks one that Exim has replaced or removed.
func eximHeader(stored []byte) ([]byte, error) {
	var header []byte
	for len(stored) > 0 {
		digits := bytes.IndexFunc(stored, func(r rune) bool { return r < '0' || r > '9' })
		if digits < 1 || len(stored) < digits+2 {
			return nil, fmt.Errorf("header field not understood: %q", stored)
		}
		length, _ := strconv.Atoi(string(stored[:digits]))
		kind, field := stored[digits], stored[digits+2:]
		if len(field) < length {
			return nil, fmt.Errorf("header field cut short: %q", stored)
		}
		if kind != '*' {
			header = append(header, field[:length]...)
		}
		stored = field[length:]
	}
	return header, nil
}
