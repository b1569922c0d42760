package memnet_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/nettest"

	"github.com/postrider/postrider/internal/memnet"
)

// The standard conformance test of net.Conn: racing reads and writes, past and
// future deadlines, close, and so on.
func TestConn(t *testing.T) {
	nettest.TestConn(t, func() (a, b net.Conn, stop func(), err error) {
		l := memnet.Listen("test")
		a, err = l.Dial(t.Context(), "", "")
		if err != nil {
			return nil, nil, nil, err
		}
		b, err = l.Accept()
		return a, b, func() { a.Close(); b.Close(); l.Close() }, err
	})
}

func TestCloseDeliversWhatIsBuffered(t *testing.T) {
	a, b := memnet.Pipe(0)
	io.WriteString(a, "last words")
	a.Close()
	got, err := io.ReadAll(b)
	if string(got) != "last words" || err != nil {
		t.Errorf("peer of a closed connection read %q, %v; want what was written, then EOF", got, err)
	}
	if _, err := a.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("own read after Close: %v, want net.ErrClosed", err)
	}
	if _, err := b.Write([]byte("x")); err == nil {
		t.Error("a write that nobody can ever read succeeded")
	}
}

func TestCloseWriteLeavesReading(t *testing.T) {
	a, b := memnet.Pipe(0)
	a.CloseWrite()
	if _, err := b.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("peer read %v, want EOF", err)
	}
	io.WriteString(b, "still there")
	b.Close()
	if got, err := io.ReadAll(a); string(got) != "still there" || err != nil {
		t.Errorf("half-closed end read %q, %v", got, err)
	}
	if _, err := a.Write([]byte("x")); err == nil {
		t.Error("write after CloseWrite succeeded")
	}
}

func TestAbortResets(t *testing.T) {
	a, b := memnet.Pipe(0)
	io.WriteString(a, "lost")
	a.Abort()
	if n, err := b.Read(make([]byte, 4)); n != 0 || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("peer of an aborted connection read %d octets, %v; want none and ECONNRESET", n, err)
	}
	if _, err := b.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("peer of an aborted connection wrote: %v, want ECONNRESET", err)
	}
}

// A writer blocks at the bound, not before, and goes on when there is room.
func TestWriterBlocksWhenFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := memnet.Pipe(8)
		var wrote int
		var err error
		go func() { wrote, err = io.WriteString(a, "0123456789") }()
		synctest.Wait()
		if wrote != 0 {
			t.Fatalf("10 octets went into a buffer of 8")
		}
		buf := make([]byte, 2)
		io.ReadFull(b, buf)
		synctest.Wait()
		if wrote != 10 || err != nil {
			t.Fatalf("after 2 octets were read: wrote %d, %v", wrote, err)
		}
		a.Close()
		rest, _ := io.ReadAll(b)
		if got := string(buf) + string(rest); got != "0123456789" {
			t.Errorf("read %q", got)
		}
	})
}

// Whatever the sizes of reads and writes, the octets arrive once and in order.
func TestRingKeepsOrder(t *testing.T) {
	want := strings.Repeat("the quick brown fox jumps over the lazy dog ", 50)
	for size := 1; size < 20; size++ {
		a, b := memnet.Pipe(size)
		go func() {
			for s := want; s != ""; {
				n := min(len(s), 1+len(s)%13)
				io.WriteString(a, s[:n])
				s = s[n:]
			}
			a.Close()
		}()
		var got strings.Builder
		if _, err := io.CopyBuffer(&got, struct{ io.Reader }{b}, make([]byte, 7)); err != nil || got.String() != want {
			t.Fatalf("buffer of %d: %d octets of %d arrived, %v", size, got.Len(), len(want), err)
		}
	}
}

// In a bubble an hour passes at once, and a deadline that is moved forward does
// not end what waits.
func TestDeadlineInBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := memnet.Pipe(0)
		defer b.Close()
		defer a.Close()
		start := time.Now()
		a.SetReadDeadline(start.Add(time.Minute))
		a.SetReadDeadline(start.Add(time.Hour))
		_, err := a.Read(make([]byte, 1))
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Hour {
			t.Errorf("read ended after %v with %v", time.Since(start), err)
		}
		var ne net.Error
		if !errors.As(err, &ne) || !ne.Timeout() {
			t.Errorf("%v is no timeout", err)
		}
		a.SetReadDeadline(time.Time{})
		io.WriteString(b, "x")
		if _, err := a.Read(make([]byte, 1)); err != nil {
			t.Errorf("after the deadline was lifted: %v", err)
		}
	})
}

func TestListenerClose(t *testing.T) {
	l := memnet.Listen("mx.example.com:25")
	if got := l.Addr().Network() + " " + l.Addr().String(); got != "memnet mx.example.com:25" {
		t.Errorf("address %q", got)
	}
	waiting, err := l.Dial(t.Context(), "tcp", "anything")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	l.Close() // twice does no harm
	if _, err := waiting.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a connection that nobody accepted: %v, want ECONNRESET", err)
	}
	if _, err := l.Dial(t.Context(), "", ""); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dial after Close: %v, want ECONNREFUSED", err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept after Close: %v, want net.ErrClosed", err)
	}
}

// With a full backlog Dial waits, and the context ends the wait.
func TestDialHonoursContext(t *testing.T) {
	l := memnet.Listen("busy")
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	for range 128 {
		if _, err := l.Dial(ctx, "", ""); err != nil {
			t.Fatal(err)
		}
	}
	go cancel()
	if _, err := l.Dial(ctx, "", ""); !errors.Is(err, context.Canceled) {
		t.Errorf("dial with a full backlog: %v, want context.Canceled", err)
	}
}
