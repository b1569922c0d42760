package dial

import (
	"strings"
	"testing"
)

func TestParseAddress(t *testing.T) {
	for _, tt := range []struct {
		in           string
		network      string
		target, show string
	}{
		// Fact 45: port 0 is the default port; an empty host, which never connected there, is localhost here.
		{"", "tcp", "localhost:25", "localhost:25"},
		{"localhost", "tcp", "localhost:25", "localhost:25"},
		{"localhost:0", "tcp", "localhost:25", "localhost:25"},
		{":1025", "tcp", "localhost:1025", "localhost:1025"},
		{"mx_1.mail-net.example.:587", "tcp", "mx_1.mail-net.example.:587", "mx_1.mail-net.example.:587"},
		{"smtp.example.com:submission", "tcp", "smtp.example.com:587", "smtp.example.com:587"},
		{"smtp.example.com:Submissions", "tcp", "smtp.example.com:465", "smtp.example.com:465"},
		{"smtp.example.com:smtp", "tcp", "smtp.example.com:25", "smtp.example.com:25"},
		{"smtp.example.com:0025", "tcp", "smtp.example.com:25", "smtp.example.com:25"},
		{"[smtp.example.com]:587", "tcp", "smtp.example.com:587", "smtp.example.com:587"},
		{"127.0.0.1:65535", "tcp", "127.0.0.1:65535", "127.0.0.1:65535"},
		{"::1", "tcp", "[::1]:25", "[::1]:25"},
		{"[::1]", "tcp", "[::1]:25", "[::1]:25"},
		{"[::1]:2525", "tcp", "[::1]:2525", "[::1]:2525"},
		{"[fe80::1%eth0]:25", "tcp", "[fe80::1%eth0]:25", "[fe80::1%eth0]:25"},
		{"unix:/run/mta.sock", "unix", "/run/mta.sock", "unix:/run/mta.sock"},
		{"unix:/run/my mta", "unix", "/run/my mta", "unix:/run/my mta"},
		{"unix:@abstract", "unix", "@abstract", "unix:@abstract"},
	} {
		a, err := ParseAddress(tt.in, "25")
		if err != nil {
			t.Errorf("ParseAddress(%q): %v", tt.in, err)
			continue
		}
		if a.Network != tt.network || a.Target() != tt.target || a.String() != tt.show {
			t.Errorf("ParseAddress(%q) = %#v, %s, %s; want %s %s, %s", tt.in, a, a.Target(), a, tt.network, tt.target,
				tt.show)
		}
		if again, err := ParseAddress(a.String(), "26"); err != nil || again != a {
			t.Errorf("ParseAddress(%q) = %#v, %v; want %#v again", a, again, err, a)
		}
	}
}

func TestParseAddressAnswersMistakes(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"smtp://mx.example.com", `write "mx.example.com" without "smtp://"`},
		{"smtps://mx.example.com:465/", `write "mx.example.com:465" without "smtps://"; TLS is chosen by the secure mode`},
		{"mx.example.com 25", "contains a blank: write host:port"},
		{" localhost", "contains a blank"},
		{"localhost\n", "contains a blank"},
		{"mx.example.com/", `'/' is not allowed in a host name`},
		{"mx;rm", `';' is not allowed in a host name`},
		{"münchen.example", "is not ASCII: write its A-label form (xn--…)"},
		{"mx.example.com:", ""}, // an empty port is the default one
		{"mx.example.com:25x", `port "25x" is not a number from 1 to 65535`},
		{"mx.example.com:65536", `port "65536" is not a number from 1 to 65535`},
		{"mx.example.com:-1", `port "-1" is not a number from 1 to 65535`},
		{"25", "is only a number: write host:25"},
		{"a:b:c", "an IPv6 address in brackets as in [::1]:25"},
		{"[::1", "an IPv6 address in brackets"},
		{"[::1]25", "an IPv6 address in brackets"},
		{"[1::2::3]", `':' is not allowed in a host name`},
		{"::%[", `'[' is not allowed in the zone of an IPv6 address`},
		{"[fe80::1%eth0\x00]:25", `'\x00' is not allowed in the zone of an IPv6 address`},
		{"unix:", "a unix socket is written unix:/path"},
		{"unix", "a unix socket is written unix:/path"},
		{"[unix]:25", "a unix socket is written unix:/path"},
		{"unix:25", "a unix socket is written unix:/path"},
		{"unix:run/mta.sock", "a unix socket is written unix:/path"},
		{"unix:/a\x00b", "a unix socket is written unix:/path"},
	} {
		a, err := ParseAddress(tt.in, "25")
		if tt.want == "" {
			if err != nil || a.Port != "25" {
				t.Errorf("ParseAddress(%q) = %v, %v; want the default port", tt.in, a, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("ParseAddress(%q) = %v, %v; want an error with %q", tt.in, a, err, tt.want)
		}
	}
}

// A URL with credentials in it is refused without showing them.
func TestParseAddressKeepsPasswords(t *testing.T) {
	for _, in := range []string{"anne:s3cret@mx.example.com:25", "smtp://anne:s3cret@mx.example.com",
		"anne:s3cret @mx"} {
		_, err := ParseAddress(in, "25")
		if err == nil || strings.Contains(err.Error(), "s3cret") || !strings.Contains(err.Error(), "write host:port") {
			t.Errorf("ParseAddress: %v", err)
		}
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{"", "host:25", "[::1]:25", "unix:/a", "smtp://x", ":", "[]", "a@b", "::%[",
		"fe80::1%eth0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAddress(s, "25")
		if err != nil {
			return
		}
		again, err := ParseAddress(a.String(), "26")
		if err != nil || again != a {
			t.Errorf("ParseAddress(%q) = %#v, whose text %q gives %#v, %v", s, a, a, again, err)
		}
		if strings.ContainsAny(a.Target(), "\r\n\x00") && a.Network == "tcp" {
			t.Errorf("ParseAddress(%q) lets control characters through: %q", s, a.Target())
		}
	})
}
