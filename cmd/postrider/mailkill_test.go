package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider"
)

// witness is a sink in a process of its own, and how often each recipient got the
// message there.
type witness struct {
	cmd     *exec.Cmd
	address string
	done    chan struct{} // closed when it has said everything

	mu    sync.Mutex
	more  *sync.Cond
	got   map[string]int
	total int
}

func startWitness(t *testing.T) *witness {
	t.Helper()
	w := &witness{cmd: exec.Command("postrider", "sink", "--json", "--listen", "127.0.0.1:0"), got: map[string]int{},
		done: make(chan struct{})}
	w.more = sync.NewCond(&w.mu)
	w.cmd.Env = append(os.Environ(), "GORACE="+swiftEnd)
	w.cmd.Stderr = io.Discard // it tells of connections that hang; they were killed
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	lines.Scan()
	var first struct{ Address string }
	if err := json.Unmarshal(lines.Bytes(), &first); err != nil {
		t.Fatalf("the sink said %q: %v", lines.Text(), err)
	}
	w.address = first.Address
	go w.listen(lines)
	t.Cleanup(func() { _ = w.cmd.Process.Kill(); <-w.done; _ = w.cmd.Wait() })
	return w
}

// listen counts messages. The sink prints each before the client is told.
func (w *witness) listen(lines *bufio.Scanner) {
	defer close(w.done)
	for lines.Scan() {
		var m struct {
			Event string
			To    []string
		}
		if json.Unmarshal(lines.Bytes(), &m) != nil || m.Event != "message" {
			continue
		}
		w.mu.Lock()
		for _, to := range m.To {
			w.got[to]++
		}
		w.total++
		w.more.Broadcast()
		w.mu.Unlock()
	}
	w.mu.Lock()
	w.total = 1 << 30 // nobody shall wait for more
	w.more.Broadcast()
	w.mu.Unlock()
}

func (w *witness) await(total int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.total < total {
		w.more.Wait()
	}
}

// end interrupts the sink, and waits for its last word.
func (w *witness) end(t *testing.T) {
	t.Helper()
	if err := w.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	<-w.done
}

// inJournal reads the file as it is, without the program's help: who is in doubt, by
// place, and who was accepted.
func inJournal(t *testing.T, name string) (unknown, accepted map[int]bool) {
	t.Helper()
	text, err := os.ReadFile(name)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		t.Fatal(err)
	}
	unknown, accepted = map[int]bool{}, map[int]bool{}
	for line := range bytes.Lines(text) {
		parts := bytes.SplitN(line, []byte(" "), 3)
		var r record
		if !bytes.HasSuffix(line, []byte("\n")) || json.Unmarshal(parts[2], &r) != nil {
			continue // torn
		}
		for _, run := range r.Intent {
			for i := run[0]; i <= run[1]; i++ {
				unknown[i] = true
			}
		}
		for _, o := range r.Outcomes {
			if o.Outcome.State != postrider.Unknown {
				delete(unknown, o.At)
			}
			if o.Outcome.State == postrider.Accepted {
				accepted[o.At] = true
			}
		}
	}
	return unknown, accepted
}

const (
	killRecipients  = 5000
	killConcurrency = 64
)

// killed is a mailing whose process is killed several times.
type killed struct {
	t       *testing.T
	dir     string
	sink    *witness
	unknown map[int]bool // ever
	most    int          // in doubt at one kill
}

func (k *killed) address(i int) string { return fmt.Sprintf("person%d@example.com", i) }

func (k *killed) start(policy string) *exec.Cmd {
	cmd := exec.Command("postrider", "mail", "--server", k.sink.address, "-f", "b@example.com", "--message",
		"news.eml", "--verp",
		"--concurrency", strconv.Itoa(killConcurrency), "--unknown", policy, "list.txt")
	cmd.Dir = k.dir
	cmd.Env = append(os.Environ(), "POSTRIDER_CONFIG_FILE="+os.DevNull, "GORACE="+swiftEnd)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
	return cmd
}

// kill runs the mailing until the sink has so many messages more, waits a little more,
// and kills it.
func (k *killed) kill(policy string, after int, later time.Duration) {
	before, _ := inJournal(k.t, filepath.Join(k.dir, "list.txt.journal"))
	k.sink.mu.Lock()
	goal := k.sink.total + after
	k.sink.mu.Unlock()
	cmd := k.start(policy)
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	reached := make(chan struct{})
	go func() { k.sink.await(goal); close(reached) }()
	select {
	case <-reached:
	case <-ended: // there were not so many left
	}
	timer := time.NewTimer(later)
	select {
	case <-timer.C:
	case <-ended:
	}
	_ = cmd.Process.Kill() // SIGKILL
	<-ended
	unknown, _ := inJournal(k.t, filepath.Join(k.dir, "list.txt.journal"))
	fresh := 0
	for i := range unknown {
		if k.unknown[i] = true; !before[i] {
			fresh++
		}
	}
	k.most = max(k.most, fresh)
	if fresh > killConcurrency {
		k.t.Errorf("%d are in doubt at one kill; at most %d messages were underway", fresh, killConcurrency)
	}
}

// TestKilledMailings: a mailing that is killed at random moments, and gone on with,
// reaches everybody once. Those in doubt at a kill are known as such, and few: no
// more than there were messages underway. What is done with them is what was said.
//
// POSTRIDER_KILLS is how many kills there are; a printed seed repeats them.
func TestKilledMailings(t *testing.T) {
	kills := 6
	if s := os.Getenv("POSTRIDER_KILLS"); s != "" {
		kills, _ = strconv.Atoi(s)
	}
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("POSTRIDER_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	t.Logf("POSTRIDER_SEED=%d POSTRIDER_KILLS=%d", seed, kills)
	chance := rand.New(rand.NewPCG(seed, 0))
	for _, policy := range []string{"skip", "resend"} {
		k := &killed{t: t, dir: t.TempDir(), sink: startWitness(t), unknown: map[int]bool{}}
		var list strings.Builder
		for i := range killRecipients {
			list.WriteString(k.address(i) + "\n")
		}
		for name, text := range map[string]string{"list.txt": list.String(),
			"news.eml": "From: news@example.com\nSubject: News\n\nhello\n"} {
			if err := os.WriteFile(filepath.Join(k.dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for range kills / 2 {
			k.kill(policy, 1+chance.IntN(2*killRecipients/kills), time.Duration(chance.IntN(3000))*time.Microsecond)
		}
		last := k.start(policy)
		if err := last.Wait(); err != nil && policy == "resend" {
			t.Errorf("the last run: %v\n%s", err, last.Stdout)
		}
		k.sink.end(t)
		k.verify(policy)
	}
}

// verify compares what the sink saw with what the journal says.
func (k *killed) verify(policy string) {
	_, accepted := inJournal(k.t, filepath.Join(k.dir, "list.txt.journal"))
	none, once, twice, more := 0, 0, 0, 0
	for i := range killRecipients {
		n := k.sink.got[k.address(i)]
		switch {
		case k.unknown[i] && n == 0 && policy == "skip":
			none++
		case k.unknown[i] && n > 1 && policy == "resend":
			twice++
		case n == 1:
			once++
		default:
			k.t.Errorf("%s got the message %d times; in doubt: %v, policy: %s", k.address(i), n, k.unknown[i], policy)
			more++
		}
		if accepted[i] && n == 0 {
			k.t.Errorf("%s is accepted and has got nothing", k.address(i))
		}
		if n > 0 && !accepted[i] && !k.unknown[i] {
			k.t.Errorf("%s has got the message, and is neither accepted nor unknown", k.address(i))
		}
		if more > 20 {
			k.t.Fatal("and so on")
		}
	}
	k.t.Logf("policy %s: %d recipients in doubt in all, %d at most at one kill; %d got it once, %d twice, %d not",
		policy, len(k.unknown), k.most, once, twice, none)
}
