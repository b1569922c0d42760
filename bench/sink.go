package main

import (
	"encoding/json"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/smtptest"
)

// offer is what the sink's EHLO offers, as far as it matters here.
type offer string

const (
	chunking   offer = "chunking"   // everything
	pipelining offer = "pipelining" // everything but CHUNKING
	plain      offer = "plain"      // neither of the two
)

// basin says what a sink's process is to be.
type basin struct {
	Offer    offer
	Secure   bool          // STARTTLS, and AUTH under it
	OneWay   time.Duration // half of the round-trip time; 0: none
	Upstream string        // no sink at all, but the way to this address
}

// spring is the first line that it prints: where it is.
type spring struct {
	Address string
	CA      string // PEM
}

// counts is the second and last: what it has seen.
type counts struct {
	Messages, Recipients int
	Octets               int64   // all that was read
	CPU                  float64 // seconds of processor time
}

// serveSink is the life of a sink's process, until in ends. It is a process of its
// own so that its work is not counted as the client's.
func serveSink(b basin, in io.Reader, out io.Writer) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	outer, to, first := net.Listener(l), b.Upstream, spring{Address: l.Addr().String()}
	if b.OneWay > 0 || to != "" {
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return err
		}
		if to == "" {
			to = l.Addr().String()
		}
		d := &delay{b.OneWay, func() (net.Conn, error) { return net.Dial("tcp", to) }}
		go d.serve(outer)
	}
	var s *smtptest.Server
	octets := &counter{Listener: l}
	if b.Upstream == "" {
		s = newSink(b, octets)
		first.CA = string(s.CAPEM())
	}
	lines, began := json.NewEncoder(out), cpuTime()
	if err := lines.Encode(first); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, in); err != nil {
		return err
	}
	outer.Close()
	if s == nil {
		return lines.Encode(counts{})
	}
	return lines.Encode(counts{
		Messages: s.Commands(smtptest.Terminator), Recipients: s.Commands("RCPT"),
		Octets: octets.read.Load(), CPU: (cpuTime() - began).Seconds(),
	})
}

// newSink makes the fastest server there is here: it keeps nothing.
func newSink(b basin, l net.Listener) *smtptest.Server {
	s := smtptest.NewUnstartedServer()
	s.Listener, s.Discard = l, true
	s.Log = func(string, ...any) {} // a client that stays until the end is no fault
	s.Extensions.Chunking = b.Offer == chunking
	s.Extensions.Pipelining = b.Offer != plain
	if b.Secure {
		s.Mode, s.Users = postrider.StartTLS, map[string]string{account: password}
		s.Mechanisms, s.RequireAuth = []string{"PLAIN"}, true
	}
	s.Start()
	return s
}

// counter counts the octets that come in.
type counter struct {
	net.Listener
	read atomic.Int64
}

// Accept returns a connection whose octets are counted.
func (c *counter) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &countedConn{conn.(*net.TCPConn), &c.read}, nil
}

// countedConn keeps everything that a TCPConn can do: half-closing matters here.
type countedConn struct {
	*net.TCPConn
	total *atomic.Int64
}

// Read counts what it reads.
func (c *countedConn) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	c.total.Add(int64(n))
	return n, err
}
