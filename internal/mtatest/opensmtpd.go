//go:build linux

package mtatest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// OpenSMTPD starts Debian's OpenSMTPD in a root directory of its own, with its default limits
// (100 messages a connection among them). Delivery is paused from the start, so mail stays queued.
//
// Only Plain and without a User: the build in Debian 12 fails every TLS handshake (it was made for
// OpenSSL 1.1 and is linked with 3.0: OpenSMTPD's issues 1171 and 1239), and it offers AUTH under TLS only.
func OpenSMTPD(t testing.TB, o Options) *Server {
	t.Helper()
	tree := privateTree() + "/opensmtpd"
	require(t, "opensmtpd", tree+"/usr/sbin/smtpd")
	dir := newDir(t)
	s := newServer(t, "OpenSMTPD", dir, o)
	if s.Mode != Plain || o.User != "" {
		t.Fatal("mtatest: OpenSMTPD of Debian 12 can neither TLS nor, therefore, AUTH")
	}
	root := newOpenSMTPDRoot(t, dir, tree)
	conf := strings.Join(o.Extra, "\n") + "\nlisten on 127.0.0.1 port " + s.port() + "\n" +
		"action \"queue\" relay\nmatch from any for any action \"queue\"\n"
	write(t, root+"/etc/smtpd.conf", conf)
	cmd := exec.Command("/usr/sbin/smtpd", "-d", "-P", "mta", "-P", "mda")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	s.process = startProcess(t, s.Name, dir, cmd)
	s.process.awaitPort(t, s.Address)
	s.read = func() ([]Message, error) { return readOpenSMTPD(root + "/var/spool/smtpd/queue") }
	return s
}

// newOpenSMTPDRoot copies the tree of .ci/run and adds the directories that smtpd wants to find; it
// is strict about their modes.
func newOpenSMTPDRoot(t testing.TB, dir, tree string) string {
	t.Helper()
	root := dir + "/root"
	if out, err := exec.Command("cp", "-a", tree, root).CombinedOutput(); err != nil {
		t.Fatalf("mtatest: copying %s: %v: %s", tree, err, out)
	}
	for _, name := range []string{"run", "tmp", "var/run", "var/lib/opensmtpd/empty", "var/spool/smtpd"} {
		if err := os.MkdirAll(filepath.Join(root, name), 0o755); err != nil {
			t.Fatalf("mtatest: %v", err)
		}
	}
	if err := os.Chmod(root+"/var/spool/smtpd", 0o711); err != nil {
		t.Fatalf("mtatest: %v", err)
	}
	write(t, root+"/etc/mailname", "opensmtpd.test\n")
	return root
}

// readOpenSMTPD reads the queue: for each message a directory with the content and one envelope a
// recipient.
func readOpenSMTPD(queue string) ([]Message, error) {
	contents, err := filepath.Glob(queue + "/*/*/message")
	if err != nil {
		return nil, err
	}
	type aged struct {
		Message
		written time.Time
	}
	var all []aged
	for _, name := range contents {
		info, err := os.Stat(name)
		if err != nil {
			return nil, err
		}
		m, err := readOpenSMTPDMessage(name)
		if err != nil {
			return nil, err
		}
		all = append(all, aged{m, info.ModTime()})
	}
	// Ids are random.
	slices.SortStableFunc(all, func(a, b aged) int { return a.written.Compare(b.written) })
	messages := make([]Message, len(all))
	for i, a := range all {
		messages[i] = a.Message
	}
	return messages, nil
}

func readOpenSMTPDMessage(name string) (Message, error) {
	var m Message
	content, err := os.ReadFile(name)
	if err != nil {
		return m, err
	}
	m.Content = wireForm(content)
	envelopes, err := filepath.Glob(filepath.Dir(name) + "/????????????????")
	if err != nil {
		return m, err
	}
	for _, name := range envelopes {
		envelope, err := os.ReadFile(name)
		if err != nil {
			return m, err
		}
		m.Record += string(envelope)
		for line := range strings.Lines(string(envelope)) {
			key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
			switch key {
			case "sender":
				m.From = value
				if value == "@" { // how it writes the null path
					m.From = ""
				}
			case "rcpt":
				m.To = append(m.To, value)
			}
		}
	}
	slices.Sort(m.To)
	if len(m.To) == 0 {
		return m, fmt.Errorf("%s has no envelope", name)
	}
	return m, nil
}
