//go:build linux

package mtatest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Generous, because a full machine is no fault of the server; reached only when something hangs.
const (
	startLimit  = 30 * time.Second
	stopLimit   = 10 * time.Second
	answerLimit = 60 * time.Second
	pollEvery   = 10 * time.Millisecond
)

// How much of the end of a long log is shown.
const logLimit = 64 << 10

// process is a program that runs as long as its test, leader of a session and process group of its own.
type process struct {
	name   string
	cmd    *exec.Cmd
	exited chan struct{} // closed when the program has ended
	logs   string        // pattern of the files that it logs to, its output first
}

// startProcess starts the program and has it stopped, with all its children, when the test ends. Its
// output goes to DIR/log, beside which it may put logs of its own (DIR/log-…).
func startProcess(t testing.TB, name, dir string, cmd *exec.Cmd) *process {
	t.Helper()
	out, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatalf("mtatest: %v", err)
	}
	defer out.Close()
	if cmd.Stdout == nil {
		cmd.Stdout = out
	}
	cmd.Stderr = out
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Setsid = true
	if err := cmd.Start(); err != nil {
		t.Fatalf("mtatest: starting %s: %v", name, err)
	}
	release := guard(t, cmd.Process.Pid, dir)
	p := &process{name: name, cmd: cmd, exited: make(chan struct{}), logs: filepath.Join(dir, "log*")}
	go func() {
		cmd.Wait() // how it ended is of interest only when it ended too early; then the log shows why
		close(p.exited)
	}()
	t.Cleanup(func() {
		if err := p.stop(); err != nil {
			t.Errorf("mtatest: %v", err)
		}
		release()
		if t.Failed() {
			t.Logf("what %s logged:\n%s", name, p.log())
		}
	})
	return p
}

// guard sees to it that nothing stays when the test binary dies and no cleanup runs, as when
// go test's time is over: a shell waits until its standard input ends, which this process holds open,
// then stops the group and removes the directory. The function that is returned dismisses the guard.
// (The kernel's parent-death signal will not do: it is lost when a server changes its user.)
func guard(t testing.TB, group int, dir string) func() {
	t.Helper()
	const duty = `read -r _; kill -s TERM -- "-$0"; sleep 2; kill -s KILL -- "-$0"; rm -rf -- "$1"`
	cmd := exec.Command("/bin/sh", "-c", duty, strconv.Itoa(group), dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	held, err := cmd.StdinPipe()
	if err != nil {
		t.Fatalf("mtatest: %v", err)
	}
	if err := cmd.Start(); err != nil {
		syscall.Kill(-group, syscall.SIGKILL)
		t.Fatalf("mtatest: starting the guard: %v", err)
	}
	return func() {
		cmd.Process.Kill()
		cmd.Wait()
		held.Close()
	}
}

// stop ends the program by its process id, then whatever is left of its group.
func (p *process) stop() error {
	pid := p.cmd.Process.Pid
	p.cmd.Process.Signal(syscall.SIGTERM)
	timer := time.NewTimer(stopLimit)
	defer timer.Stop()
	var err error
	select {
	case <-p.exited:
	case <-timer.C:
		err = fmt.Errorf("%s did not end within %v of SIGTERM and was killed", p.name, stopLimit)
	}
	syscall.Kill(-pid, syscall.SIGKILL)
	<-p.exited
	return err
}

// awaitPort returns when a server listens at the address, which is reserved for this program.
func (p *process) awaitPort(t testing.TB, address string) {
	t.Helper()
	listening := false
	poll(startLimit, func() bool {
		if p.ended() {
			return true
		}
		listening = listens(address)
		return listening
	})
	if !listening {
		t.Fatalf("mtatest: %s does not listen at %s (ended: %v); its log follows", p.name, address, p.ended())
	}
}

// listens says whether a connection to the address can be opened.
func listens(address string) bool {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// ended says whether the program has ended.
func (p *process) ended() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// log returns the end of everything that the program wrote.
func (p *process) log() string { return p.tail(logLimit) }

// tail returns the end of each log file, of at most limit octets.
func (p *process) tail(limit int) string {
	files, _ := filepath.Glob(p.logs)
	var all strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			text = []byte(err.Error())
		}
		all.Write(text[max(0, len(text)-limit):])
	}
	return all.String()
}

// poll asks until the answer is true or the limit is over.
func poll(limit time.Duration, ready func() bool) {
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for deadline := time.Now().Add(limit); !ready() && time.Now().Before(deadline); {
		<-ticker.C
	}
}

// reservePort finds a free port and holds it for the test: a socket that is bound but does not listen
// keeps others away, the kernel's own choice of ports included, while a server that sets
// SO_REUSEADDR, as all of ours do, may still listen there.
func reservePort(t testing.TB) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatalf("mtatest: %v", err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		t.Fatalf("mtatest: %v", err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatalf("mtatest: %v", err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatalf("mtatest: %v", err)
	}
	return strconv.Itoa(name.(*syscall.SockaddrInet4).Port)
}

// newDir makes a directory that the servers' own users may enter, as they may not with T.TempDir.
func newDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "mtatest-")
	if err != nil {
		t.Fatalf("mtatest: %v", err)
	}
	t.Cleanup(func() {
		// The last of a killed group may still write while it dies.
		var err error
		poll(stopLimit, func() bool {
			err = os.RemoveAll(dir)
			return err == nil
		})
		if err != nil {
			t.Errorf("mtatest: %v", err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatalf("mtatest: %v", err)
	}
	return dir
}

// own returns a file or an empty directory to a server's user.
func own(t testing.TB, name, path string) {
	t.Helper()
	account, err := user.Lookup(name)
	if err != nil {
		t.Fatalf("mtatest: %v", err)
	}
	uid, _ := strconv.Atoi(account.Uid)
	gid, _ := strconv.Atoi(account.Gid)
	if err := os.Chown(path, uid, gid); err != nil {
		t.Fatalf("mtatest: %v", err)
	}
}

// write writes a file that every user can read.
func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatalf("mtatest: %v", err)
	}
}

// require skips a test that needs a mail server or a client of other people: they take minutes, and a run of all
// tests that is not asked for them has to be quick. In continuous integration, where .ci/run has installed everything,
// it runs, and fails when a program is missing.
func require(t testing.TB, pkg string, paths ...string) {
	t.Helper()
	for _, path := range paths {
		requireFile(t, path, "takes it from Debian's package "+pkg)
	}
	if os.Getuid() != 0 {
		t.Fatal("mtatest: only root may start the mail servers")
	}
}

// requireFile does so for a program that root need not start; by says what .ci/run does to install it.
func requireFile(t testing.TB, path, by string) {
	t.Helper()
	if os.Getenv("CI") != "true" && os.Getenv("POSTRIDER_CI") != "1" {
		t.Skipf("mtatest: needs %s, which .ci/run install %s: run .ci/run check, or set POSTRIDER_CI=1", path, by)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("mtatest: %s is missing: run .ci/run install, which %s", path, by)
	}
}

// privateTree is where .ci/run unpacks the servers that cannot be installed beside Postfix, and builds those that
// no package has.
func privateTree() string {
	if dir := os.Getenv("POSTRIDER_MTAS"); dir != "" {
		return dir
	}
	return "/opt/postrider-mtas"
}
