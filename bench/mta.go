package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// mta is a real mail server on a loopback port, with its default limits, that
// queues what it takes and delivers nothing. Starting one needs root and Debian.
type mta struct {
	address string
	dir     string
	queued  string // pattern of the files of which each message has one
	cmd     *exec.Cmd
}

// startMTA starts "Postfix" or "Exim" with directories of its own.
func startMTA(name string) (*mta, error) {
	if os.Getuid() != 0 {
		return nil, fmt.Errorf("only root may start %s", name)
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "postrider-bench-")
	if err != nil {
		return nil, err
	}
	m := &mta{address: net.JoinHostPort("127.0.0.1", port), dir: dir}
	err = os.Chmod(dir, 0o755) // the servers have users of their own
	if err == nil {
		err = map[string]func(string) error{"Postfix": m.preparePostfix, "Exim": m.prepareExim}[name](port)
	}
	if err == nil {
		m.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		err = m.cmd.Start()
	}
	if err == nil {
		err = m.await()
	}
	if err != nil {
		m.stop()
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	return m, nil
}

// freePort is free now. Somebody else may take it before the server does, which
// then does not start: rare, and told.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}

// preparePostfix configures an instance of Debian's Postfix. HOLD keeps each
// message where it was queued.
func (m *mta) preparePostfix(port string) error {
	conf := fmt.Sprintf(`compatibility_level = 3.6
myhostname = postfix.example
mydestination =
inet_interfaces = loopback-only
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
alias_maps =
alias_database =
smtpd_client_restrictions = check_client_access static:HOLD
queue_directory = %[1]s/queue
data_directory = %[1]s/data
maillog_file = %[1]s/log
maillog_file_prefixes = %[1]s
`, m.dir)
	services := m.address + ` inet n - n - - smtpd
cleanup   unix n - n - 0 cleanup
qmgr      unix n - n 300 1 qmgr
rewrite   unix - - n - - trivial-rewrite
tlsmgr    unix - - n 1000? 1 tlsmgr
anvil     unix - - n - 1 anvil
bounce    unix - - n - 0 bounce
defer     unix - - n - 0 bounce
error     unix - - n - - error
proxymap  unix - - n - - proxymap
postlog   unix-dgram n - n - 1 postlogd
`
	for _, name := range []string{"conf", "data", "queue"} {
		if err := os.Mkdir(filepath.Join(m.dir, name), 0o755); err != nil {
			return err
		}
	}
	if err := own("postfix", m.dir+"/data"); err != nil {
		return err
	}
	if err := m.write(map[string]string{"conf/main.cf": conf, "conf/master.cf": services}); err != nil {
		return err
	}
	// The command makes the directories of the queue.
	if out, err := exec.Command("/usr/sbin/postfix", "-c", m.dir+"/conf", "check").CombinedOutput(); err != nil {
		return fmt.Errorf("postfix check: %w: %s", err, out)
	}
	m.queued = m.dir + "/queue/hold/*"
	m.cmd = exec.Command("/usr/lib/postfix/sbin/master", "-c", m.dir+"/conf", "-s")
	return nil
}

// prepareExim configures Debian's Exim: the one that is installed, or the one that
// .ci/run has unpacked.
func (m *mta) prepareExim(port string) error {
	program := "/usr/sbin/exim4"
	if _, err := os.Stat(program); err != nil {
		tree := os.Getenv("POSTRIDER_MTAS")
		if tree == "" {
			tree = "/opt/postrider-mtas"
		}
		program = tree + "/exim4/usr/sbin/exim4"
	}
	if _, err := os.Stat(program); err != nil {
		return err
	}
	if err := os.Mkdir(m.dir+"/spool", 0o755); err != nil {
		return err
	}
	conf := fmt.Sprintf(`primary_hostname = exim.example
spool_directory = %[1]s/spool
log_file_path = %[1]s/log-%%s
pid_file_path = %[1]s/pid
keep_environment =
local_interfaces = 127.0.0.1
daemon_smtp_ports = %[2]s
tls_advertise_hosts =
queue_only
acl_smtp_rcpt = rcpt
begin acl
rcpt:
  accept
`, m.dir, port)
	err := m.write(map[string]string{"log-main": "", "log-panic": "", "conf": conf})
	if err != nil {
		return err
	}
	// Exim has given up root when it writes these.
	if err := own("Debian-exim", m.dir+"/spool", m.dir+"/log-main", m.dir+"/log-panic"); err != nil {
		return err
	}
	m.queued = m.dir + "/spool/input/*-H"
	m.cmd = exec.Command(program, "-C", m.dir+"/conf", "-bdf")
	return nil
}

// write makes files that the server's own user may read.
func (m *mta) write(files map[string]string) error {
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(m.dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// own hands files to a server's user, as whom it works once it has dropped root.
func own(name string, paths ...string) error {
	account, err := user.Lookup(name)
	if err != nil {
		return err
	}
	uid, _ := strconv.Atoi(account.Uid)
	gid, _ := strconv.Atoi(account.Gid)
	for _, path := range paths {
		if err := os.Chown(path, uid, gid); err != nil {
			return err
		}
	}
	return nil
}

// await returns when the server listens.
func (m *mta) await() (err error) {
	for range 300 {
		var c net.Conn
		if c, err = net.Dial("tcp", m.address); err == nil {
			return c.Close()
		}
		time.Sleep(50 * time.Millisecond)
	}
	return err
}

// counts says how many messages are in the queue.
func (m *mta) counts() (counts, error) {
	names, err := filepath.Glob(m.queued)
	return counts{Messages: len(names), Recipients: -1, Octets: -1}, err
}

// clear empties the queue.
func (m *mta) clear() error {
	names, err := filepath.Glob(filepath.Dir(m.queued) + "/*")
	for _, name := range names {
		if e := os.Remove(name); e != nil && !os.IsNotExist(e) {
			err = e
		}
	}
	return err
}

// stop ends the server and all its children, and removes its directories.
func (m *mta) stop() {
	if m.cmd != nil && m.cmd.Process != nil {
		m.cmd.Process.Signal(syscall.SIGTERM)
		timer := time.AfterFunc(10*time.Second, func() { m.cmd.Process.Kill() })
		m.cmd.Wait()
		timer.Stop()
		syscall.Kill(-m.cmd.Process.Pid, syscall.SIGKILL)
	}
	os.RemoveAll(m.dir)
}
