package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/smtptest"
)

// benchCmd is postrider bench.
type benchCmd struct {
	Messages   int           `default:"100000" placeholder:"N" help:"Stop after N messages. Default: ${default}."`
	Duration   time.Duration `default:"10s" placeholder:"TIME" help:"${help_duration} Default: ${default}."`
	Goroutines int           `placeholder:"N" help:"${help_goroutines}"`
	Window     int           `placeholder:"N" help:"${help_window}"`
	Size       []size        `default:"1k" placeholder:"SIZE" help:"${help_size} Default: ${default}."`
	Recipients int           `default:"1" placeholder:"N" help:"${help_bench_recipients} Default: ${default}."`
	Sender     string        `short:"f" name:"from" default:"<>" placeholder:"ADDRESS" help:"${help_bench_sender}"`
	To         string        `default:"bench@example.com" placeholder:"ADDRESS" help:"${help_bench_to}"`
	Force      bool          `help:"Load a server that is not at a loopback address, too. Ask its owner first."`
	JSON       bool          `help:"Print the result as one JSON object."`

	settings `embed:""`

	pace float64 // messages a second, of --rate or the configuration
}

// Help is the long part of the help text.
func (*benchCmd) Help() string {
	return `
Sends made-up messages through one Connection until --messages or --duration is
reached, and prints how fast that went: the time of each Send as a histogram, the
throughput, and what became of all recipients. With --connections, or with several
servers, uses a Pool.

Without --server, the messages go to a test MTA in this process, which discards them;
TLS and login are those of the flags and the configuration, and no other server is
contacted. With --server they are real mail: name a recipient that your MTA knows and
throws away. Only servers on this machine are allowed, unless --force is used.

The first message goes alone; if the MTA does not accept it, no other is sent. Ctrl-C
stops the test: messages underway are finished, and the results so far are printed.

Examples:

  postrider bench
  postrider bench --size 1k,1k,1k,100k --recipients 5 --goroutines 64
  postrider bench --connections 4 --goroutines 64
  postrider bench --mode starttls --max-transactions 100 --window 1 --json
  postrider bench --server localhost --to discard@example.com --rate 200 --duration 1m

The exit status is that of "postrider send", for all recipients of all messages.
`
}

const (
	maxRecipients = 10_000
	maxGoroutines = 10_000
	maxWindow     = 10_000
)

// Validate finds what is wrong with the command line itself.
func (c *benchCmd) Validate() error {
	switch {
	case c.Messages < 1:
		return errors.New("--messages: use a number from 1")
	case c.Duration <= 0:
		return errors.New("--duration: use a time like 10s")
	case c.Goroutines < 0 || c.Goroutines > maxGoroutines:
		return fmt.Errorf("--goroutines: use a number from 1 to %d", maxGoroutines)
	case c.Window < 0 || c.Window > maxWindow:
		return fmt.Errorf("--window: use a number from 1 to %d", maxWindow)
	case c.Recipients < 1 || c.Recipients > maxRecipients:
		return fmt.Errorf("--recipients: use a number from 1 to %d", maxRecipients)
	case !strings.Contains(c.To, "@"):
		return errors.New("--to: use an address, like anne@example.com")
	case c.Force && len(c.Server) == 0:
		return errors.New("--force: without --server no other server is loaded; add --server")
	}
	return c.settings.Validate()
}

// Run measures and reports.
func (c *benchCmd) Run(ctx context.Context, std streams) error {
	r := &benchReport{cmd: c, meter: newMeter()}
	r.err = c.bench(ctx, std, r)
	return r.print(std)
}

// bench does the work and fills in the report as far as it comes.
func (c *benchCmd) bench(ctx context.Context, std streams, r *benchReport) error {
	route, err := c.settings.load(ctx)
	r.route = route
	if route != nil && !c.JSON {
		route.announce(std, false, err)
	}
	if err != nil {
		return err
	}
	stop, err := c.prepare(route, std)
	defer stop()
	if err != nil {
		return err
	}
	via, err := route.lane()
	if err != nil {
		return err
	}
	defer func() { via.leave(context.WithoutCancel(ctx), err) }()
	l := c.load(via, r.meter)
	wipe := newProgress(std.err).follow(l.progress)
	before, counted := processTime()
	r.ended, err = l.run(ctx)
	r.took = time.Since(l.start)
	after, _ := processTime()
	wipe()
	r.stats, r.cpu, r.cpuCounted = via.stats(), after-before, counted
	return err
}

// prepare completes the route for a load, and lets stop end what was started for it.
func (c *benchCmd) prepare(r *route, std streams) (stop func(), err error) {
	stop = func() {}
	if len(c.Server) == 0 {
		r.servers = r.servers[:1] // the built-in one's place
	}
	for i := range r.servers {
		s, err := c.aim(&r.servers[i], std)
		if err != nil {
			return stop, err
		}
		stop = s // more than one has nothing to stop
	}
	r.cfg = r.servers[0]
	// The load keeps to the rate by itself: waiting for it is not latency.
	c.pace, r.pool.MessageRate = r.pool.MessageRate, 0
	if c.Goroutines == 0 && r.pooled() {
		c.Goroutines = min(postrider.DefaultWindow*max(1, r.pool.MaxConnections), maxGoroutines) // a window for each
	}
	return stop, nil
}

// aim completes the configuration: with a server of our own, or with a dialer that reaches only this machine.
func (c *benchCmd) aim(cfg *postrider.Config, std streams) (stop func(), err error) {
	if c.Window > 0 {
		cfg.Window = c.Window
	}
	if len(c.Server) == 0 {
		return c.startSink(cfg, std)
	}
	if !c.Force {
		cfg.Dial = dialHere
	}
	return func() {}, nil
}

// startSink starts the built-in MTA, as the configuration would have a server, and
// lets the configuration name it.
func (c *benchCmd) startSink(cfg *postrider.Config, std streams) (stop func(), err error) {
	s := smtptest.NewUnstartedServer()
	s.Mode, s.Discard, s.Log = cfg.Mode, true, std.warn
	s.MaxRecipients = maxRecipients
	s.Extensions.Size = max(smtptest.DefaultMaxSize, int64(slices.Max(c.Size)))
	if cfg.User != "" && !cfg.Password.IsZero() {
		s.Users = map[string]string{cfg.User: cfg.Password.Reveal()}
	}
	if s.Listener, err = listen("127.0.0.1:0"); err != nil {
		return nil, fail(exitUnavailable, err)
	}
	s.Start()
	own := s.Config()
	cfg.Address, cfg.TLS, cfg.CAFile, cfg.ServerName = own.Address, own.TLS, "", ""
	return s.Close, nil
}

// errElsewhere keeps a typing error from becoming an attack on somebody's server.
var errElsewhere = fail(exitUsage, errors.New("this is no loopback address, and a load test is for your own MTA: "+
	"if this server is yours, use --force"))

// dialHere opens connections to this machine alone. What a name stands for is
// judged when it is known, and before a packet leaves.
func dialHere(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Control: func(network, address string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address)
		if network != "unix" && (err != nil || !to.Addr().Unmap().IsLoopback()) {
			return errElsewhere
		}
		return nil
	}}
	return d.DialContext(ctx, network, address)
}
