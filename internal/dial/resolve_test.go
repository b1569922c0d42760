package dial

import (
	"context"
	"errors"
	"net"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// world is a network in which addresses answer after a while, or not.
type world struct {
	mu    sync.Mutex
	after map[string]time.Duration // < 0: refused after that time; missing: never
	began map[string]time.Duration // when each dial began
	start time.Time
	open  int
}

func (w *world) dial(ctx context.Context, _, address string) (net.Conn, error) {
	host, _, _ := net.SplitHostPort(address)
	w.mu.Lock()
	w.began[host] = time.Since(w.start)
	after, ok := w.after[host]
	w.mu.Unlock()
	if !ok {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(max(after, -after)):
	}
	if after < 0 {
		return nil, errors.New(host + " refused")
	}
	near, far := net.Pipe()
	far.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open++
	return &named{near, host, w}, nil
}

type named struct {
	net.Conn
	host string
	w    *world
}

func (n *named) Close() error {
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	n.w.open--
	return n.Conn.Close()
}

// RFC 8305: in turns of the families, 250 ms apart, sooner behind a failure; the first
// that answers wins, and the others are closed.
func TestDialRacesTheAddresses(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct {
		name      string
		addresses []string
		after     map[string]time.Duration
		wins      string
		began     map[string]time.Duration
	}{
		{"the first answers", []string{"::1", "127.0.0.1"}, map[string]time.Duration{"::1": ms}, "::1",
			map[string]time.Duration{"::1": 0}},
		{"the first is silent", []string{"::1", "::2", "127.0.0.1"},
			map[string]time.Duration{"127.0.0.1": ms, "::2": ms}, "127.0.0.1",
			map[string]time.Duration{"::1": 0, "127.0.0.1": 250 * ms}},
		{"the first is refused", []string{"::1", "127.0.0.1"}, map[string]time.Duration{"::1": -ms, "127.0.0.1": ms},
			"127.0.0.1",
			map[string]time.Duration{"::1": 0, "127.0.0.1": ms}},
		{"the first is late, and wins", []string{"::1", "127.0.0.1"},
			map[string]time.Duration{"::1": 300 * ms, "127.0.0.1": 400 * ms}, "::1",
			map[string]time.Duration{"::1": 0, "127.0.0.1": 250 * ms}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &world{after: tt.after, began: map[string]time.Duration{}, start: time.Now()}
				r := &Resolver{LookupHost: func(context.Context, string) ([]string, error) { return tt.addresses, nil }}
				conn, err := r.Dial(t.Context(), "mx.example.com:25", w.dial)
				if err != nil {
					t.Fatal(err)
				}
				if got := conn.(*named).host; got != tt.wins || !reflect.DeepEqual(w.began, tt.began) {
					t.Errorf("%s won; dialled %v", got, w.began)
				}
				conn.Close()
				if synctest.Wait(); w.open != 0 {
					t.Errorf("%d connections were left open", w.open)
				}
			})
		})
	}
}

func TestDialNamesEachFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{after: map[string]time.Duration{"192.0.2.1": -1, "192.0.2.2": -1},
			began: map[string]time.Duration{}, start: time.Now()}
		r := &Resolver{LookupHost: func(context.Context, string) ([]string,
			error) {
			return []string{"192.0.2.1", "192.0.2.2"}, nil
		}}
		_, err := r.Dial(t.Context(), "mx.example.com:25", w.dial)
		if err == nil || !strings.Contains(err.Error(), "192.0.2.1 refused") ||
			!strings.Contains(err.Error(), "192.0.2.2 refused") {
			t.Error(err)
		}
	})
}

func TestDialEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{began: map[string]time.Duration{}, start: time.Now()}
		r := &Resolver{LookupHost: func(context.Context, string) ([]string,
			error) {
			return []string{"192.0.2.1", "192.0.2.2"}, nil
		}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := r.Dial(ctx, "mx.example.com:25", w.dial); !errors.Is(err, context.DeadlineExceeded) ||
			time.Since(w.start) != time.Second {
			t.Errorf("%v after %v", err, time.Since(w.start))
		}
	})
}

// A pool that is closed while it opens a connection: no answer at all would be taken
// for a connection.
func TestDialWithAContextThatIsDone(t *testing.T) {
	w := &world{began: map[string]time.Duration{}}
	r := &Resolver{LookupHost: func(context.Context, string) ([]string, error) { return []string{"192.0.2.1"}, nil }}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, target := range []string{"192.0.2.1:25", "mx.example.com:25"} {
		if conn, err := r.Dial(ctx, target, w.dial); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, %v", target, conn, err)
		}
	}
}

// Answers hold for a minute, and go on to hold while nothing new can be learnt.
func TestResolverKeepsAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		var fail error
		r := &Resolver{LookupHost: func(_ context.Context, host string) ([]string, error) {
			n++
			return []string{"192.0.2." + string(rune('0'+n))}, fail
		}}
		want := func(address string, lookups int) {
			t.Helper()
			got, err := r.Addresses(t.Context(), "mx.example.com")
			if err != nil || got[0] != address || n != lookups {
				t.Errorf("%v, %v after %d look-ups", got, err, n)
			}
		}
		want("192.0.2.1", 1)
		time.Sleep(time.Minute - 1)
		want("192.0.2.1", 1)
		time.Sleep(time.Nanosecond)
		want("192.0.2.2", 2)
		fail = errors.New("no resolver")
		time.Sleep(time.Hour)
		want("192.0.2.2", 3)
		if _, err := r.Addresses(t.Context(), "other.example.com"); err != fail {
			t.Error(err)
		}
		if got, _ := r.Addresses(t.Context(), "::1"); got[0] != "::1" || n != 4 {
			t.Errorf("an address was looked up: %v", got)
		}
	})
}

// RFC 6186, RFC 8314 §5.1, RFC 2782.
func TestSubmissionServices(t *testing.T) {
	lookup := func(_ context.Context, service, proto, name string) (string, []*net.SRV, error) {
		switch "_" + service + "._" + proto + "." + name {
		case "_submissions._tcp.example.com":
			return "", []*net.SRV{{Target: "b.example.com.", Port: 465, Priority: 9},
				{Target: "a.example.com.", Port: 1465, Priority: 1, Weight: 7}}, nil
		case "_submission._tcp.example.com":
			return "", []*net.SRV{{Target: "c.example.com.", Port: 587}, {Target: "."}}, nil
		}
		return "", nil, errors.New("no such record")
	}
	got, err := Submission(t.Context(), "example.com", lookup)
	var text []string
	for _, s := range got {
		text = append(text, s.Address.String())
	}
	if err != nil || strings.Join(text, " ") != "a.example.com:1465 b.example.com:465 c.example.com:587" ||
		!got[0].ImplicitTLS || got[2].ImplicitTLS || got[0].Weight != 7 || got[1].Priority >= got[2].Priority {
		t.Errorf("%+v, %v", got, err)
	}
	_, err = Submission(t.Context(), "example.org", lookup)
	if err == nil || !strings.Contains(err.Error(), "_submissions._tcp.example.org") ||
		!strings.Contains(err.Error(), "_submission._tcp.example.org") {
		t.Error(err)
	}
}
