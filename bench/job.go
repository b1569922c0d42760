package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// job is one run of one client, as the client's process reads it, in JSON.
type job struct {
	Client      string  // its name
	Scenario    string  // its name
	Address     string  // of the server, host:port
	CA          string  // PEM, to trust the server by
	Secure      bool    // STARTTLS and AUTH PLAIN, and a connection for each message
	Size        int     // octets of a message
	Recipients  int     // of a message
	Connections int     // at a time
	Seconds     float64 // how long to send
	Window      int     // of the limit: transactions under way
	Heap        bool    // measure the heap, in a run of its own before the one that counts
	Profile     string  // a file for a CPU profile
}

// tally is what became of a job.
type tally struct {
	First    int     // messages before the clock ran, to one recipient each
	Messages int     // while it ran
	Seconds  float64 // of it
	CPU      float64 // seconds of the client's process, user and system
	Heap     int64   // octets of the heap at its largest, over what it was before
	Error    string
}

// The account that the sink knows.
const (
	account  = "bench"
	password = "bench-password"
)

const (
	from      = "anne@example.com"
	helloName = "bench.example"
)

// recipients are the forward-paths of every message.
func (j *job) recipients() []string {
	to := make([]string, j.Recipients)
	for i := range to {
		to[i] = fmt.Sprintf("recipient%03d@example.com", i)
	}
	return to
}

// header is that of the messages which are given as octets.
const header = "From: anne@example.com\r\nTo: recipients@example.com\r\nSubject: a message of the benchmark\r\n\r\n"

// content is a message of Size octets in lines of 72: plain text that needs no
// repair, as most mail does. Where the heap is measured it lies outside of it: not
// the message is in question, but what a client needs beside it.
func (j *job) content() []byte {
	if !j.Heap {
		return text(nil, header, j.Size)
	}
	outside, err := syscall.Mmap(-1, 0, j.Size+lineLength, syscall.PROT_READ|syscall.PROT_WRITE,
		syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		outside = nil
	}
	return text(outside[:0], header, j.Size)
}

// body is text for a client that makes the header itself. The message is then a
// little longer than Size.
func (j *job) body() []byte { return text(nil, "", j.Size-len(header)) }

const lineLength = 72

// text appends this many octets to b.
func text(b []byte, start string, size int) []byte {
	line := strings.Repeat("0123456789", lineLength/10) + "\r\n"
	b = append(b, start...)
	for len(b) < size {
		b = append(b, line...)
	}
	return append(b[:max(size-2, len(start))], "\r\n"...)
}

// tls is a client's configuration.
func (j *job) tls() (*tls.Config, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(j.CA)) {
		return nil, errors.New("no certificate authority to trust")
	}
	return &tls.Config{RootCAs: pool, ServerName: "localhost"}, nil
}

// clock says how long to go on, and counts.
type clock struct {
	end  time.Time
	sent atomic.Int64
}

// over reports whether the time is, but never before the first message: with a
// round-trip time that one can take longer than the whole run.
func (c *clock) over() bool { return c.sent.Load() > 0 && time.Now().After(c.end) }

// more reports whether another message is to be sent, and counts it.
func (c *clock) more() bool { return c.moreOf(1) }

// moreOf is more for a group.
func (c *clock) moreOf(n int) bool {
	if c.over() {
		return false
	}
	c.sent.Add(int64(n))
	return true
}
