package main

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"os"
	"strings"
	"testing"
)

// sinkOf runs a sink in this process; finish gives its counts.
func sinkOf(t *testing.T, b basin) (s spring, finish func() counts) {
	t.Helper()
	inRead, in := io.Pipe()
	out, outWrite := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- serveSink(b, inRead, outWrite) }()
	lines := json.NewDecoder(out)
	if err := lines.Decode(&s); err != nil {
		t.Fatal(err)
	}
	return s, func() (seen counts) {
		t.Helper()
		in.Close()
		if err := lines.Decode(&seen); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		return seen
	}
}

// Every client that is part of this program sends what it says it sends, to every
// kind of sink that it meets.
func TestClients(t *testing.T) {
	for _, c := range allClients() {
		if c.load == nil {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			for _, j := range []job{
				{Size: kib, Recipients: 1, Connections: 1},
				{Size: 4 * kib, Recipients: 50, Connections: 1},
				{Size: 100 * kib, Recipients: 1, Connections: 3},
				{Size: 2 * mib, Recipients: 1, Connections: 1, Heap: true},
				{Size: kib, Recipients: 2, Connections: 1, Secure: true},
			} {
				if j.Secure && c.kind == bound {
					continue // knows no TLS
				}
				if c.mailing && (j.Recipients > 1 || j.Connections > 1 || j.Secure) {
					continue
				}
				sendOnce(t, c, &j)
			}
		})
	}
}

// sendOnce runs a job whose time is over at once, and checks it as the benchmark
// does: a message or a window of them must have arrived, whole.
func sendOnce(t *testing.T, c client, j *job) {
	t.Helper()
	s, finish := sinkOf(t, basin{Offer: c.offer, Secure: j.Secure})
	j.Client, j.Address, j.CA, j.Window = c.name, s.Address, s.CA, c.window
	done, err := perform(j)
	seen := finish()
	if err != nil {
		t.Fatalf("%+v: %v", *j, err)
	}
	if done.Messages < 1 || done.CPU <= 0 && done.Seconds > 1 || j.Heap != (done.Heap > 0) {
		t.Errorf("a tally of %+v", done)
	}
	if err := check(j, done, seen); err != nil {
		t.Errorf("%d recipients, %d octets: %v", j.Recipients, j.Size, err)
	}
}

// The clients that are other programs.
func TestPrograms(t *testing.T) {
	for _, c := range allClients() {
		if c.load != nil {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			if missing := c.missing(); missing != "" {
				t.Skip("there is no " + missing)
			}
			r, err := startClient(&c)
			if err != nil {
				t.Fatal(err)
			}
			defer r.stop()
			for _, secure := range []bool{false, true} {
				if secure && c.name == "smtp-source" {
					continue // knows no TLS
				}
				if secure && c.mailing {
					continue
				}
				s, finish := sinkOf(t, basin{Offer: c.offer, Secure: secure})
				j := &job{Address: s.Address, CA: s.CA, Secure: secure, Size: 4 * kib, Recipients: 3, Connections: 2}
				if c.mailing {
					j.Recipients, j.Connections = 1, 1
				}
				done, err := r.run(j)
				seen := finish()
				if err != nil {
					t.Fatal(err)
				}
				if err := check(j, done, seen); err != nil || done.Messages < 1 {
					t.Errorf("%d messages: %v", done.Messages, err)
				}
			}
		})
	}
}

// What a client claims and its server has not seen is found.
func TestCheck(t *testing.T) {
	j := &job{Size: 1000, Recipients: 3}
	done := tally{First: 1, Messages: 10}
	good := counts{Messages: 11, Recipients: 31, Octets: 11_000}
	if err := check(j, done, good); err != nil {
		t.Error(err)
	}
	if err := check(j, done, counts{Messages: 11, Recipients: -1, Octets: -1}); err != nil {
		t.Errorf("what an MTA's queue cannot tell: %v", err)
	}
	for _, bad := range []counts{
		{Messages: 10, Recipients: 31, Octets: 11_000}, {Messages: 12, Recipients: 31, Octets: 11_000},
		{Messages: 11, Recipients: 30, Octets: 11_000}, {Messages: 11, Recipients: 31, Octets: 10_999},
		{Messages: 11, Octets: -1},
	} {
		if check(j, done, bad) == nil {
			t.Errorf("nothing is found wrong with %+v", bad)
		}
	}
}

// A client that fails says so in its tally, and takes the next job.
func TestWorkReportsFailure(t *testing.T) {
	s, finish := sinkOf(t, basin{Offer: chunking})
	var in, out bytes.Buffer
	lines := json.NewEncoder(&in)
	lines.Encode(job{Client: "nobody"})
	lines.Encode(job{Client: "net/smtp", Address: s.Address, Size: kib, Recipients: 1, Connections: 1})
	if err := work(&in, &out); err != nil {
		t.Fatal(err)
	}
	var ready, failed, done tally
	tallies := json.NewDecoder(&out)
	for _, to := range []*tally{&ready, &failed, &done} {
		if err := tallies.Decode(to); err != nil {
			t.Fatal(err)
		}
	}
	if !strings.Contains(failed.Error, `"nobody"`) || done.Error != "" || done.Messages != 1 || finish().Messages != 2 {
		t.Errorf("tallies %+v and %+v", failed, done)
	}
}

// Through a delay a sink counts the same, and pings find the round trip.
func TestSinkBehindADelay(t *testing.T) {
	s, finish := sinkOf(t, basin{Offer: chunking, OneWay: 1})
	p := startPings(s.Address)
	j := &job{Client: "SendAll/chunking", Address: s.Address, Size: kib, Recipients: 1, Connections: 1}
	done, err := perform(j)
	if err != nil {
		t.Fatal(err)
	}
	if trip := p.stop(); !(trip > 0) && !math.IsNaN(trip) {
		t.Errorf("a round trip of %v s", trip)
	}
	if err := check(j, done, finish()); err != nil {
		t.Error(err)
	}
}

func TestCommandLine(t *testing.T) {
	b, err := parse([]string{"--quick", "--scenarios", "S1,S7r", "--clients", "^Send/|smtp$"})
	if err != nil {
		t.Fatal(err)
	}
	if !b.quick || b.rounds != 5 || !b.scenario("S7r") || b.scenario("S7") || !b.client("net/smtp") ||
		b.client("SendAll/chunking") {
		t.Errorf("%+v", b)
	}
	for _, args := range [][]string{
		{"--scenarios", "S9"}, {"--rounds", "0"}, {"--clients", "("}, {"S1"},
	} {
		if _, err := parse(args); err == nil {
			t.Errorf("%q is taken", args)
		}
	}
}

// A report takes the place of the one before, and of nothing else.
func TestPublish(t *testing.T) {
	name := t.TempDir() + "/doc.md"
	document := func() string {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	os.WriteFile(name, []byte("before\n"+reportBegins+"old\n"+reportEnds+"after\n"), 0o644)
	for range 2 {
		if err := publish(name, []byte("new\n")); err != nil {
			t.Fatal(err)
		}
		if got, want := document(), "before\n"+reportBegins+"\nnew\n\n"+reportEnds+"after\n"; got != want {
			t.Errorf("the document is %q, want %q", got, want)
		}
	}
	os.WriteFile(name, []byte("nothing\n"), 0o644)
	if err := publish(name, []byte("new\n")); err == nil || document() != "nothing\n" {
		t.Errorf("error %v, and the document is %q", err, document())
	}
}
