package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider/smtptest"
)

// path returns the two ends of a connection over a delay of 10 ms each way, and
// closes everything with the test. Both are inside a bubble, where time passes
// only when everybody waits. The client says its first words at once.
func path(t *testing.T, firstWords ...string) (client, server net.Conn) {
	t.Helper()
	near, far := smtptest.InMemory("near:25"), smtptest.InMemory("far:25")
	d := &delay{oneWay: 10 * time.Millisecond, dial: func() (net.Conn, error) { return dialMemory(far) }}
	go d.serve(near)
	client, err := dialMemory(near)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range firstWords {
		write(t, client, []byte(w))
	}
	if server, err = far.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client.Close()
		server.Close()
		near.Close()
		far.Close()
		time.Sleep(time.Second) // for what is still under way
	})
	return client, server
}

func dialMemory(l net.Listener) (net.Conn, error) {
	return l.(interface {
		Dial(ctx context.Context, network, address string) (net.Conn, error)
	}).Dial(context.Background(), "tcp", l.Addr().String())
}

func read(t *testing.T, c net.Conn, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	if _, err := io.ReadFull(c, b); err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t *testing.T, c net.Conn, b []byte) {
	t.Helper()
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
}

// took checks what time it is.
func took(t *testing.T, start time.Time, want time.Duration, what string) {
	t.Helper()
	if got := time.Since(start); got != want {
		t.Errorf("%s after %v, want %v", what, got, want)
	}
}

// SYN, SYN ACK, ACK and then the server's first octet: two round trips before a
// client knows of a greeting.
func TestDelayOfConnecting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		client, server := path(t)
		took(t, start, 30*time.Millisecond, "the server accepted")
		write(t, server, []byte("220"))
		read(t, client, 3)
		took(t, start, 40*time.Millisecond, "the greeting came")
	})
}

// What a client says before its handshake is over leaves when it is, and not
// earlier because the proxy had it already; it arrives with the ACK.
func TestDelayOfFirstWords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		client, server := path(t, "EHLO")
		if got := read(t, server, 4); string(got) != "EHLO" {
			t.Errorf("the first words are %q", got)
		}
		took(t, start, 30*time.Millisecond, "the first words came")
		write(t, server, []byte("250"))
		read(t, client, 3)
		took(t, start, 40*time.Millisecond, "the reply came")
	})
}

func TestDelayOfARoundTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := path(t)
		time.Sleep(time.Second)
		for range 3 {
			start := time.Now()
			write(t, client, []byte("MAIL"))
			read(t, server, 4)
			took(t, start, 10*time.Millisecond, "the command came")
			write(t, server, []byte("250"))
			read(t, client, 3)
			took(t, start, 20*time.Millisecond, "the reply came")
		}
	})
}

// Octets that leave one after the other arrive so, each after its own delay: who
// follows does not wait for the one ahead to arrive.
func TestDelayKeepsOrderAndPipelining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := path(t)
		time.Sleep(time.Second)
		start := time.Now()
		go func() {
			for i := range 50 {
				client.Write([]byte{byte(i)})
				time.Sleep(time.Millisecond)
			}
		}()
		for i := range 50 {
			if got := read(t, server, 1); got[0] != byte(i) {
				t.Fatalf("octet %d is %d", i, got[0])
			}
			took(t, start, time.Duration(10+i)*time.Millisecond, "an octet came")
		}
	})
}

// However much is under way, the path takes more.
func TestDelayHasNoWidth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := path(t)
		time.Sleep(time.Second)
		sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
		start := time.Now()
		write(t, client, sent)
		took(t, start, 0, "all was taken")
		if got := read(t, server, len(sent)); !bytes.Equal(got, sent) {
			t.Error("the octets have changed")
		}
		took(t, start, 10*time.Millisecond, "all came")
	})
}

// The end of one direction passes through, and leaves the other open.
func TestDelayPassesTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := path(t)
		time.Sleep(time.Second)
		start := time.Now()
		client.(interface{ CloseWrite() error }).CloseWrite()
		if n, err := server.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("read %d, %v; want EOF", n, err)
		}
		took(t, start, 10*time.Millisecond, "the end came")
		write(t, server, []byte("221"))
		read(t, client, 3)
		took(t, start, 20*time.Millisecond, "the last word came")
	})
}
