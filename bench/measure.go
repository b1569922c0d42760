package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// bench is one whole measurement.
type bench struct {
	rounds   int
	quick    bool
	scenario func(name string) bool // which to run
	client   func(name string) bool
	seconds  float64 // of each run, if not 0
	profiles string  // directory for CPU profiles; "" is none
	into     string  // document; "" is none
	progress io.Writer

	clients map[string]*client
	runners map[string]runner
	mtas    map[string]*mta
	results map[string]*result // by the scenario's name
}

// result is what one scenario has shown.
type result struct {
	scenario
	runs   map[string]rounds // by the client's name
	faults []string          // runs that failed, and why
}

// prepare starts nothing yet: processes start when a scenario needs them.
func (b *bench) prepare() {
	b.runners, b.mtas, b.results = map[string]runner{}, map[string]*mta{}, map[string]*result{}
	b.clients = map[string]*client{}
	for _, c := range allClients() {
		b.clients[c.name] = &c
	}
}

// stop ends every process that was started.
func (b *bench) stop() {
	for _, r := range b.runners {
		r.stop()
	}
	for _, m := range b.mtas {
		m.stop()
	}
}

// run measures one scenario.
func (b *bench) run(ctx context.Context, s scenario) (*result, error) {
	s.connections = max(1, s.connections)
	r := &result{scenario: s, runs: map[string]rounds{}}
	r.clients = b.choose(&s, r)
	if s.mta != "" && b.mtas[s.mta] == nil {
		m, err := startMTA(s.mta)
		if err != nil {
			return nil, err
		}
		b.mtas[s.mta] = m
	}
	if err := b.ready(r.clients); err != nil {
		return nil, err
	}
	for i := range b.rounds {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		fmt.Fprintf(b.progress, "\r%s: round %d of %d ", s.name, i+1, b.rounds)
		b.round(r, i)
	}
	fmt.Fprint(b.progress, "\r\x1b[K")
	b.results[s.name] = r
	return r, nil
}

// choose returns the rows of a scenario: those that are wanted and that this machine
// has.
func (b *bench) choose(s *scenario, r *result) (names []string) {
	rows := s.clients
	if b.quick && s.quick != nil {
		rows = s.quick
	}
	for _, name := range rows {
		switch missing := b.clients[name].missing(); {
		case !b.client(name):
		case missing != "":
			r.faults = append(r.faults, name+" is not measured: there is no "+missing)
		default:
			names = append(names, name)
		}
	}
	return names
}

// ready starts the processes of the clients, all at once and before anything is
// measured.
func (b *bench) ready(names []string) error {
	errs, started := make([]error, len(names)), make([]runner, len(names))
	var starting sync.WaitGroup
	for i, name := range names {
		if b.runners[name] == nil {
			starting.Go(func() { started[i], errs[i] = startClient(b.clients[name]) })
		}
	}
	starting.Wait()
	for i, name := range names {
		if started[i] != nil {
			b.runners[name] = started[i]
		}
	}
	return errors.Join(errs...)
}

// turn is one run of one client.
type turn struct {
	c      *client
	server *server
	job    *job
	sample *sample
	err    error
}

// round runs every client once, in the opposite order every other time. With a
// round-trip time most clients only wait: these wait together, with all processes
// started before.
func (b *bench) round(r *result, i int) {
	var turns []*turn
	for _, name := range r.clients {
		t := &turn{c: b.clients[name]}
		t.job = b.job(r, t.c)
		t.job.Heap = r.heap && t.c.load != nil && i == 0
		turns = append(turns, t)
	}
	if i%2 == 1 {
		slices.Reverse(turns)
	}
	alone, together := b.split(r, turns)
	var waiting sync.WaitGroup
	for _, t := range together {
		t.server, t.err = b.server(r, t.c)
	}
	for _, t := range together {
		waiting.Go(func() { b.once(r, t) })
	}
	waiting.Wait()
	for _, t := range alone {
		t.server, t.err = b.server(r, t.c)
		b.once(r, t)
	}
	for _, t := range turns {
		r.runs[t.c.name] = append(r.runs[t.c.name], t.sample)
		if t.err != nil {
			r.faults = append(r.faults, fmt.Sprintf("%s failed in round %d: %v", t.c.name, i+1, t.err))
		}
	}
}

// split separates the runs that need the machine for themselves from those that do
// not. With a real MTA all do, for its queue is what is counted. Those that come
// near to one round trip a message could do with others, but a few percent matter
// for them, and there is time unless it must be quick.
func (b *bench) split(r *result, turns []*turn) (alone, together []*turn) {
	for _, t := range turns {
		near := !b.quick && !r.secure && t.c.offer == pipelining
		if r.pinged() && !near && !r.streams(t.c) {
			together = append(together, t)
		} else {
			alone = append(alone, t)
		}
	}
	return alone, together
}

// streams reports whether a client fills the path whatever the round-trip time.
func (s *scenario) streams(c *client) bool { return c.stream && !s.secure }

// once is one run of one client, against a server of its own.
func (b *bench) once(r *result, t *turn) {
	if t.err != nil {
		return
	}
	t.job.Address, t.job.CA = t.server.Address, t.server.CA
	var p *pings
	if r.pinged() {
		p = startPings(t.server.Address)
	}
	done, err := b.runners[t.c.name].run(t.job)
	roundTrip := p.stop()
	seen, countErr := t.server.finish()
	switch {
	case err != nil:
		t.err = err
	case countErr != nil:
		t.err = countErr
	default:
		t.err = check(t.job, done, seen)
	}
	if t.err == nil {
		t.sample = &sample{done, roundTrip, seen.CPU / float64(max(1, seen.Messages))}
	}
}

// job says what the client is to do.
func (b *bench) job(r *result, c *client) *job {
	seconds := r.seconds
	if b.quick {
		seconds = r.quickSeconds
	}
	if b.seconds > 0 {
		seconds = b.seconds
	} else if r.pinged() && r.streams(c) {
		seconds /= 4 // it sends more than enough all the same
	}
	j := &job{
		Client: c.name, Scenario: r.name, Secure: r.secure, Size: r.size, Recipients: r.recipients,
		Connections: r.connections, Seconds: seconds, Window: c.window,
	}
	if b.profiles != "" && c.load != nil {
		name := strings.NewReplacer("/", "-", "×", "-x").Replace(r.name + "-" + c.name)
		j.Profile = filepath.Join(b.profiles, name+".prof")
	}
	return j
}

// check compares what the client says with what the server has seen.
func check(j *job, t tally, seen counts) error {
	want := counts{Messages: t.First + t.Messages, Recipients: t.First + t.Messages*j.Recipients}
	if seen.Messages != want.Messages {
		return fmt.Errorf("%d messages were sent, and the server has seen %d", want.Messages, seen.Messages)
	}
	if seen.Recipients >= 0 && seen.Recipients != want.Recipients {
		return fmt.Errorf("%d recipients were named, and the server has seen %d", want.Recipients, seen.Recipients)
	}
	if least := int64(want.Messages) * int64(j.Size); seen.Octets >= 0 && seen.Octets < least {
		return fmt.Errorf("at least %d octets were sent, and the server has seen %d", least, seen.Octets)
	}
	return nil
}

// server is what a run is sent to.
type server struct {
	spring
	finish func() (counts, error) // what it has seen
}

// server returns a sink for one run, or the scenario's MTA, perhaps behind a delay.
func (b *bench) server(r *result, c *client) (*server, error) {
	var m *mta
	basin := basin{Offer: c.offer, Secure: r.secure, OneWay: r.rtt / 2}
	if r.mta != "" {
		m = b.mtas[r.mta]
		if err := m.clear(); err != nil || r.rtt == 0 {
			return &server{spring{Address: m.address}, m.counts}, err
		}
		basin.Upstream = m.address
	}
	p, err := startSelf(roleSink, encode(basin))
	if err != nil {
		return nil, err
	}
	s := &server{finish: func() (counts, error) { return finishSink(p, m) }}
	if err := p.read(&s.spring, 10*time.Second); err != nil {
		return nil, fmt.Errorf("starting the sink: %w", err)
	}
	return s, nil
}

// finishSink ends a sink's process and returns its counts, or those of the MTA
// behind it.
func finishSink(p *process, m *mta) (seen counts, err error) {
	p.in.Close()
	err = p.read(&seen, 10*time.Second)
	p.stop()
	if m != nil && err == nil {
		return m.counts()
	}
	return seen, err
}
