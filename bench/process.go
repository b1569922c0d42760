package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// The first argument of this program when it is to be another process than the
// one that measures.
const (
	roleSink   = "sink"
	roleClient = "client"
)

// jobLimit is how long a job may take beyond what was asked for. Reached only if
// a process hangs.
const jobLimit = 30 * time.Second

// process is a program that is spoken to in lines of JSON.
type process struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	lines  *json.Decoder
	errors strings.Builder
}

// start starts a program and does not wait for anything.
func start(name string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(name, args...)}
	p.cmd.Stderr = &p.errors
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	p.lines = json.NewDecoder(bufio.NewReader(out))
	return p, p.cmd.Start()
}

// startSelf starts this program in another role.
func startSelf(args ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return start(self, args...)
}

// read reads the next line, or ends the process if it does not come.
func (p *process) read(line any, limit time.Duration) error {
	timer := time.AfterFunc(limit, func() { p.cmd.Process.Kill() })
	defer timer.Stop()
	if err := p.lines.Decode(line); err != nil {
		p.cmd.Process.Kill()
		p.cmd.Wait()
		return fmt.Errorf("%w (ended within %v: %v) %s", err, limit, p.cmd.ProcessState, lastLines(p.errors.String()))
	}
	return nil
}

// stop lets the process end, which it does when its input does.
func (p *process) stop() {
	p.in.Close()
	timer := time.AfterFunc(5*time.Second, func() { p.cmd.Process.Kill() })
	defer timer.Stop()
	p.cmd.Wait()
}

// lastLines is the end of a long complaint.
func lastLines(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "; ")
}

// runner is a client that is ready for jobs.
type runner interface {
	run(j *job) (tally, error)
	stop()
}

// startClient starts a client's process.
func startClient(c *client) (runner, error) {
	if c.name == "smtp-source" {
		return &source{c.program[0], map[string]float64{}}, nil
	}
	w := &worker{c: c}
	return w, w.start()
}

// worker is a client's process for all its jobs.
type worker struct {
	c *client
	p *process // nil after it has failed
}

// start is also how a client goes on after its process had to be ended.
func (w *worker) start() (err error) {
	if w.c.load != nil {
		w.p, err = startSelf(roleClient)
	} else {
		w.p, err = start(w.c.program[0], w.c.program[1:]...)
	}
	if err != nil {
		return err
	}
	// Its first line says that it has loaded what it needs.
	_, err = w.next(jobLimit)
	return err
}

// next reads one tally.
func (w *worker) next(limit time.Duration) (t tally, err error) {
	if err := w.p.read(&t, limit); err != nil {
		w.p = nil
		return t, err
	}
	if t.Error != "" {
		return t, errors.New(t.Error)
	}
	return t, nil
}

// run hands over the job and waits for the tally, or for so long that the client
// must be hanging.
func (w *worker) run(j *job) (tally, error) {
	if w.p == nil {
		if err := w.start(); err != nil {
			return tally{}, err
		}
	}
	if err := json.NewEncoder(w.p.in).Encode(j); err != nil {
		return tally{}, err
	}
	return w.next(jobLimit + time.Duration(j.Seconds*float64(time.Second)))
}

func (w *worker) stop() {
	if w.p != nil {
		w.p.stop()
	}
}

// source is Postfix's smtp-source, which must be told a number of messages. Its
// times include its start and its connecting.
type source struct {
	program string
	rates   map[string]float64 // messages a second in the scenario's run before
}

// run guesses the number by the run before. The first sends one message on each
// connection; the median of five runs does not mind.
func (s *source) run(j *job) (tally, error) {
	messages := max(j.Connections, int(s.rates[j.Scenario]*j.Seconds))
	ctx, cancel := context.WithTimeout(context.Background(), jobLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.program, "-d", "-M", helloName, "-f", from, "-t", "recipient@example.com",
		"-l", strconv.Itoa(j.Size), "-r", strconv.Itoa(j.Recipients), "-s", strconv.Itoa(j.Connections),
		"-m", strconv.Itoa(messages), j.Address)
	start := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		return tally{}, fmt.Errorf("%w: %s", err, lastLines(string(out)))
	}
	took := time.Since(start).Seconds()
	s.rates[j.Scenario] = float64(messages) / took
	used := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return tally{Messages: messages, Seconds: took, CPU: used.Seconds()}, nil
}

func (*source) stop() {}
