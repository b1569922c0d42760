//go:build linux

package mtatest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Postfix starts an instance of Debian's Postfix with directories of its own, with every limit as
// Postfix has it by default. All mail is held, so that nothing leaves the machine
// and the queue files stay as they were when the message was accepted.
func Postfix(t testing.TB, o Options) *Server {
	t.Helper()
	const master = "/usr/lib/postfix/sbin/master"
	require(t, "postfix", master, "/usr/sbin/postcat")
	dir := newDir(t)
	s := newServer(t, "Postfix", dir, o)
	makePostfixDirectories(t, dir)
	main := fmt.Sprintf(postfixMain, dir)
	if s.Mode != Plain {
		main += fmt.Sprintf(postfixTLS, dir)
	}
	if o.User != "" {
		require(t, "sasl2-bin", "/usr/sbin/saslpasswd2")
		writePostfixAccount(t, dir, o)
		main += postfixAuth
	}
	write(t, dir+"/conf/main.cf", settings(main, o.Extra))
	write(t, dir+"/conf/master.cf", postfixMaster(s))
	// Not by "postfix start-fg": that keeps a shell above the master, which then leads a process
	// group of its own, and stopping the shell would leave it behind.
	s.start = func(t testing.TB) {
		t.Helper()
		s.process = startProcess(t, s.Name, dir, exec.Command(master, "-c", dir+"/conf", "-s"))
		s.process.awaitPort(t, s.Address)
	}
	s.start(t)
	s.read = func() ([]Message, error) { return readPostfix(dir) }
	return s
}

// makePostfixDirectories makes what "postfix check" would, in a hundredth of its time.
func makePostfixDirectories(t testing.TB, dir string) {
	t.Helper()
	for _, name := range []string{"conf", "queue", "queue/pid"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatalf("mtatest: %v", err)
		}
	}
	for _, name := range strings.Fields(`data queue/active queue/bounce queue/corrupt queue/defer
		queue/deferred queue/flush queue/hold queue/incoming queue/maildrop queue/private queue/public
		queue/saved queue/trace`) {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatalf("mtatest: %v", err)
		}
		own(t, "postfix", filepath.Join(dir, name))
	}
}

// settings returns a main.cf in which the extra lines stand in the place of those that set the same parameters. Postfix
// would take a second one, but each of its daemons warns of it when it starts, by way of postlogd, and postlogd too:
// it waits for ever, and all others with it, if its queue (net.unix.max_dgram_qlen, 10 messages) is full by then.
func settings(main string, extra []string) string {
	parameter := func(line string) string {
		name, _, _ := strings.Cut(line, "=")
		return strings.TrimSpace(name)
	}
	lines := slices.DeleteFunc(strings.Split(strings.TrimSuffix(main, "\n"), "\n"), func(line string) bool {
		return slices.ContainsFunc(extra, func(e string) bool { return parameter(e) == parameter(line) })
	})
	return strings.Join(append(lines, extra...), "\n") + "\n"
}

// What matters here: every message is put on hold; messages from this host get no header fields
// repaired (local_header_rewrite_clients), as a submission by a local program would; queue ids
// in long form sort by time.
const postfixMain = `compatibility_level = 3.6
myhostname = postfix.test
mydestination =
inet_interfaces = loopback-only
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
alias_maps =
alias_database =
local_header_rewrite_clients =
smtpd_client_restrictions = check_client_access static:HOLD
enable_long_queue_ids = yes
queue_directory = %[1]s/queue
data_directory = %[1]s/data
maillog_file = %[1]s/log-postfix
maillog_file_prefixes = %[1]s
`

const postfixTLS = `smtpd_tls_cert_file = %[1]s/cert.pem
smtpd_tls_key_file = %[1]s/key.pem
smtpd_tls_security_level = encrypt
smtpd_tls_auth_only = yes
`

// A message from a stranger is refused at RCPT by 554 5.7.1.
const postfixAuth = `smtpd_sasl_auth_enable = yes
smtpd_sasl_local_domain = postfix.test
smtpd_relay_restrictions = permit_sasl_authenticated, reject
`

// writePostfixAccount makes Cyrus SASL's own user database, which keeps the password as it is: the
// challenge-response mechanisms need it so. Debian's Postfix looks for SASL's configuration
// in the directory sasl beside main.cf and nowhere else.
func writePostfixAccount(t testing.TB, dir string, o Options) {
	t.Helper()
	users := dir + "/data/users"
	if err := os.Mkdir(dir+"/conf/sasl", 0o755); err != nil {
		t.Fatalf("mtatest: %v", err)
	}
	write(t, dir+"/conf/sasl/smtpd.conf", "pwcheck_method: auxprop\nauxprop_plugin: sasldb\n"+
		"sasldb_path: "+users+"\nmech_list: PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256\n")
	cmd := exec.Command("/usr/sbin/saslpasswd2", "-p", "-c", "-u", "postfix.test", "-f", users, o.User)
	cmd.Stdin = strings.NewReader(o.Password)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("mtatest: saslpasswd2: %v: %s", err, out)
	}
	own(t, "postfix", users)
}

// postfixMaster lists the services that taking and holding mail needs, none of them in a chroot.
func postfixMaster(s *Server) string {
	smtpd := s.Address + " inet n - n - - smtpd\n"
	if s.Mode == ImplicitTLS {
		smtpd += "  -o smtpd_tls_wrappermode=yes\n"
	}
	return smtpd + `cleanup   unix       n - n -     0 cleanup
qmgr      unix       n - n 300   1 qmgr
rewrite   unix       - - n -     - trivial-rewrite
tlsmgr    unix       - - n 1000? 1 tlsmgr
anvil     unix       - - n -     1 anvil
bounce    unix       - - n -     0 bounce
defer     unix       - - n -     0 bounce
trace     unix       - - n -     0 bounce
error     unix       - - n -     - error
retry     unix       - - n -     - error
discard   unix       - - n -     - discard
proxymap  unix       - - n -     - proxymap
showq     unix       n - n -     - showq
postlog   unix-dgram n - n -     1 postlogd
`
}

// readPostfix has postcat print every held message.
func readPostfix(dir string) ([]Message, error) {
	names, err := filepath.Glob(dir + "/queue/hold/*")
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	var messages []Message
	// A command line has its limits.
	for part := range slices.Chunk(names, 500) {
		var complaint bytes.Buffer
		cmd := exec.Command("/usr/sbin/postcat", append([]string{"-c", dir + "/conf"}, part...)...)
		cmd.Stderr = &complaint
		out, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("postcat: %w: %s", err, complaint.Bytes())
		}
		for _, name := range part {
			m, rest, err := parsePostcat(out, name)
			if err != nil {
				return nil, err
			}
			messages, out = append(messages, m), rest
		}
	}
	return messages, nil
}

// parsePostcat takes one queue file from what postcat printed: three sections, whose banners name
// the file; the sender could not know that name, so no content can look like them.
func parsePostcat(out []byte, name string) (Message, []byte, error) {
	var m Message
	section := func(end string) []byte {
		before, after, found := bytes.Cut(out, []byte("*** "+end+" "+name+" ***\n"))
		if !found {
			return nil
		}
		out = after
		return before
	}
	section("ENVELOPE RECORDS")
	envelope := section("MESSAGE CONTENTS")
	content := section("HEADER EXTRACTED")
	if envelope == nil || content == nil {
		return m, nil, fmt.Errorf("postcat prints no envelope or no content for %s", name)
	}
	extracted := section("MESSAGE FILE END")
	m.Record = string(envelope) + string(extracted)
	for line := range strings.Lines(string(envelope)) {
		line = strings.TrimSuffix(line, "\n")
		if sender, ok := strings.CutPrefix(line, "sender: "); ok {
			m.From = sender
		} else if rcpt, ok := strings.CutPrefix(line, "original_recipient: "); ok {
			m.To = append(m.To, rcpt)
		}
	}
	m.Content = wireForm(content)
	return m, out, nil
}
