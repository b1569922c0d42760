package dial

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// addr is an address of any kind, remote a connection to one.
type addr struct{ network, text string }

func (a addr) Network() string { return a.network }
func (a addr) String() string  { return a.text }

type remote struct {
	net.Conn
	addr net.Addr
}

func (r remote) RemoteAddr() net.Addr { return r.addr }

func TestLocal(t *testing.T) {
	for _, tt := range []struct {
		addr net.Addr
		want bool
	}{
		{&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 25}, true},
		{&net.TCPAddr{IP: net.IPv4(127, 8, 8, 8), Port: 25}, true},
		{&net.TCPAddr{IP: net.IPv6loopback, Port: 25}, true},
		{&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 25}, false},
		{&net.TCPAddr{IP: net.ParseIP("2001:db8::1"), Port: 25}, false},
		{&net.TCPAddr{IP: net.ParseIP("fe80::1"), Port: 25, Zone: "lo"}, false},
		{&net.TCPAddr{}, false},
		{addr{"tcp", "[::ffff:127.0.0.1]:25"}, true},
		{addr{"tcp", "localhost:25"}, false}, // a name proves nothing
		{&net.UnixAddr{Name: "/run/mta", Net: "unix"}, true},
		{addr{"memnet", "mx.example.com:25"}, true},
		{addr{"pipe", "pipe"}, true},
		{addr{"onion", "127.0.0.1"}, false},
		{nil, false},
	} {
		if got := Local(remote{addr: tt.addr}); got != tt.want {
			t.Errorf("Local(%v) = %t", tt.addr, got)
		}
	}
}

// Sockets as the kernel makes them.
func TestLocalSockets(t *testing.T) {
	for network, address := range map[string]string{
		"tcp4": "127.0.0.1:0", "unix": filepath.Join(t.TempDir(), "mta"),
	} {
		l, err := net.Listen(network, address)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		c, err := net.Dial(network, l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if !Local(c) {
			t.Errorf("%s: not local", network)
		}
		if got := AddressLiteral(c.LocalAddr()); got != "[127.0.0.1]" {
			t.Errorf("%s: %s", network, got)
		}
	}
}

// RFC 5321 §4.1.3 has both forms.
func TestAddressLiteral(t *testing.T) {
	for _, tt := range []struct {
		addr net.Addr
		want string
	}{
		{&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 40000}, "[192.0.2.1]"},
		{&net.TCPAddr{IP: net.IPv6loopback, Port: 40000}, "[IPv6:::1]"},
		{&net.TCPAddr{IP: net.ParseIP("2001:db8::ff00:42:8329"), Port: 40000}, "[IPv6:2001:db8::ff00:42:8329]"},
		{&net.TCPAddr{IP: net.ParseIP("fe80::1"), Port: 40000, Zone: "eth0"}, "[IPv6:fe80::1]"},
		{addr{"tcp", "[::ffff:192.0.2.1]:25"}, "[192.0.2.1]"},
		{&net.UnixAddr{Net: "unix"}, "[127.0.0.1]"},
		{addr{"memnet", "mx.example.com:25"}, "[127.0.0.1]"},
		{nil, "[127.0.0.1]"},
	} {
		if got := AddressLiteral(tt.addr); got != tt.want {
			t.Errorf("AddressLiteral(%v) = %s; want %s", tt.addr, got, tt.want)
		}
	}
}

func TestLocalName(t *testing.T) {
	long := strings.Repeat("a", 63)
	for _, tt := range []struct {
		hostname  string
		canonical string // what the resolver says; "" if it must not be asked or knows nothing
		want      string
	}{
		{"mail.example.com", "", "mail.example.com"},
		{"mail.example.com.", "", "mail.example.com"},
		{"mail", "mail.example.com.", "mail.example.com"},
		{"mail", "mail.", ""},
		{"mail", "", ""},
		{"mail", "localhost.localdomain.", ""},
		{"localhost", "localhost.", ""},
		{"localhost.localdomain", "", ""},
		{"box.localdomain", "", ""},
		{"box.LOCALHOST", "", ""},
		{"192.0.2.1", "", ""},
		{"my_box.example.com", "", ""},
		{"my_box", "", ""},
		{"-x.example.com", "", ""},
		{"x..example.com", "", ""},
		{"évènement.example.com", "", ""},
		{"x\r\nMAIL.example.com", "", ""},
		{long + ".example.com", "", long + ".example.com"},
		{long + "a.example.com", "", ""},
		{strings.Repeat(long+".", 4) + "com", "", ""},
		{"", "", ""},
	} {
		resolver := func(_ context.Context, name string) (string, error) {
			if tt.canonical == "" {
				return "", errors.New("no such host")
			}
			if name != tt.hostname {
				t.Errorf("the resolver is asked for %q, not for %q", name, tt.hostname)
			}
			return tt.canonical, nil
		}
		if got := localName(t.Context(), tt.hostname, resolver); got != tt.want {
			t.Errorf("localName(%q) with %q = %q; want %q", tt.hostname, tt.canonical, got, tt.want)
		}
	}
}

// A resolver that never answers costs lookupTime and no more, and less when the caller gives less.
func TestLocalNameIsBounded(t *testing.T) {
	silent := func(ctx context.Context, _ string) (string, error) {
		<-ctx.Done()
		return "", ctx.Err()
	}
	for _, limit := range []time.Duration{time.Hour, lookupTime / 2} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			start := time.Now()
			name := localName(ctx, "mail", silent)
			if took := time.Since(start); name != "" || took != min(limit, lookupTime) {
				t.Errorf("%q after %v; want nothing after %v", name, took, min(limit, lookupTime))
			}
		})
	}
}

// What this machine is called is not known here, but it is a name for EHLO or none.
func TestLocalNameOfThisMachine(t *testing.T) {
	if name := LocalName(t.Context()); name != "" && (!strings.Contains(name, ".") || !isDomain(name)) {
		t.Errorf("LocalName() = %q", name)
	}
}
