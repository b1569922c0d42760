//go:build linux

package mtatest

import (
	"embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

//go:embed scripts/*.py
var scripts embed.FS

// python is Debian's own, which finds Debian's modules; another one may stand first in PATH.
const python = "/usr/bin/python3"

// script is one of our own programs under way, most of them in Python. Each object that it is sent, one
// JSON line, it answers with one; it begins with an answer of its own, when it is ready.
type script struct {
	process *process
	mu      sync.Mutex // held from a request to its answer
	to      *json.Encoder
	from    *json.Decoder
	answers *os.File // what from reads
}

// startScript runs scripts/NAME with the arguments as one JSON object and waits until it is ready.
func startScript(t testing.TB, name, dir string, arguments any) *script {
	t.Helper()
	for _, file := range []string{name, "jsonlines.py"} {
		text, err := scripts.ReadFile("scripts/" + file)
		if err != nil {
			t.Fatalf("mtatest: %v", err)
		}
		write(t, filepath.Join(dir, file), string(text))
	}
	// -E and -s: nothing from the environment or the home directory.
	return startAnswering(t, name, dir, exec.Command(python, "-E", "-s", "-B", filepath.Join(dir, name)), arguments)
}

// startAnswering runs a program, with the arguments as one JSON object behind its own, and waits until it is
// ready. Its name is for messages.
func startAnswering(t testing.TB, name, dir string, cmd *exec.Cmd, arguments any) *script {
	t.Helper()
	encoded, err := json.Marshal(arguments)
	if err != nil {
		t.Fatalf("mtatest: %v", err)
	}
	cmd.Args = append(cmd.Args, string(encoded))
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatalf("mtatest: %v", err)
	}
	answers, stdout, err := os.Pipe()
	if err != nil {
		t.Fatalf("mtatest: %v", err)
	}
	t.Cleanup(func() { answers.Close() })
	defer stdout.Close()
	cmd.Stdout = stdout
	s := &script{to: json.NewEncoder(stdin), from: json.NewDecoder(answers), answers: answers}
	s.process = startProcess(t, name, dir, cmd)
	if err := s.receive(nil); err != nil {
		t.Fatalf("mtatest: %s did not become ready: %v", name, err)
	}
	return s
}

// call sends a request and reads its answer.
func (s *script) call(request, answer any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.to.Encode(request); err != nil {
		return fmt.Errorf("asking %s: %w", s.process.name, err)
	}
	return s.receive(answer)
}

// receive reads one answer; {"failed": …} is the script's way to say that it could not.
func (s *script) receive(answer any) error {
	s.answers.SetReadDeadline(time.Now().Add(answerLimit))
	var raw json.RawMessage
	if err := s.from.Decode(&raw); err != nil {
		return fmt.Errorf("answer of %s: %w", s.process.name, err)
	}
	var fault struct{ Failed string }
	if err := json.Unmarshal(raw, &fault); err != nil {
		return fmt.Errorf("answer of %s: %w", s.process.name, err)
	}
	if fault.Failed != "" {
		return fmt.Errorf("%s: %s", s.process.name, fault.Failed)
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(raw, answer)
}

// scriptMessages asks a server script what it has accepted.
func (s *script) messages() ([]Message, error) {
	var answer struct{ Messages []Message }
	err := s.call(map[string]string{"op": "messages"}, &answer)
	return answer.Messages, err
}
