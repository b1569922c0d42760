package dial

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Address is where an MTA listens: a host and port, or a unix socket.
type Address struct {
	Network string // "tcp" or "unix"
	Host    string // name or IP without brackets; the path for a unix socket
	Port    string // decimal; empty for a unix socket
}

// UsualPort returns the port of a server that was named without one: 25, also for STARTTLS, and 465 for TLS from the
// start (RFC 8314 §3.3).
func UsualPort(implicitTLS bool) string {
	if implicitTLS {
		return "465"
	}
	return "25"
}

// ParseAddress reads an address as people write it: "host", "host:port", "[::1]:25", "::1", "unix:/path". Without a
// host it is localhost, and without a port, or with port 0, the default one.
//
// What it refuses it answers with what to write instead. An address with an "@" is not repeated in the error, because
// what stands before that may be a password.
func ParseAddress(s, defaultPort string) (Address, error) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		return parseUnix(path)
	}
	if err := checkShape(s); err != nil {
		return Address{}, err
	}
	host, port, err := split(s)
	if err != nil {
		return Address{}, err
	}
	if host == "" {
		host = "localhost"
	}
	if err := checkHost(host); err != nil {
		return Address{}, err
	}
	if port, err = parsePort(port, defaultPort); err != nil {
		return Address{}, fmt.Errorf("address %q: %w", s, err)
	}
	return Address{Network: "tcp", Host: host, Port: port}, nil
}

// Target returns the address as net.Dial takes it, beside Network.
func (a Address) Target() string {
	if a.Network == "unix" {
		return a.Host
	}
	return net.JoinHostPort(a.Host, a.Port)
}

// ServerName returns the name that the server's certificate has to carry: a unix socket is this machine.
func (a Address) ServerName() string {
	if a.Network == "unix" {
		return "localhost"
	}
	return a.Host
}

// String returns the address as ParseAddress reads it and as errors show it.
func (a Address) String() string {
	if a.Network == "unix" {
		return "unix:" + a.Host
	}
	return a.Target()
}

var errUnix = errors.New("a unix socket is written unix:/path/of/the/socket")

// parseUnix wants the whole path, because a daemon does not choose its working folder, or the "@" of Linux's abstract
// sockets.
func parseUnix(path string) (Address, error) {
	if !strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "@") || strings.Contains(path, "\x00") {
		return Address{}, errUnix
	}
	return Address{Network: "unix", Host: path}, nil
}

// checkShape answers the ways of writing an address that other programs accept and this one does not.
func checkShape(s string) error {
	if strings.Contains(s, "@") {
		return errors.New("the address must not contain a user or password: write host:port, and give those in their " +
			"own settings")
	}
	if scheme, rest, ok := strings.Cut(s, "://"); ok {
		rest, _, _ = strings.Cut(rest, "/")
		return fmt.Errorf("address %q: write %q without %q; TLS is chosen by the secure mode, not by a scheme", s, rest,
			scheme+"://")
	}
	if strings.ContainsAny(s, " \t\r\n") {
		return fmt.Errorf("address %q contains a blank: write host:port", s)
	}
	return nil
}

// split parts host and port. A bare IPv6 address is all host, however many colons it has; brackets may also stand
// round a name, as Postfix writes a relay host that has no MX.
func split(s string) (host, port string, err error) {
	if _, err := netip.ParseAddr(s); err == nil {
		return s, "", nil
	}
	if inner, ok := strings.CutPrefix(s, "["); ok && strings.HasSuffix(inner, "]") {
		return strings.TrimSuffix(inner, "]"), "", nil
	}
	if !strings.Contains(s, ":") {
		return s, "", nil
	}
	host, port, err = net.SplitHostPort(s)
	if err != nil {
		return "", "", fmt.Errorf("address %q: write host, host:port, or an IPv6 address in brackets as in [::1]:25", s)
	}
	return host, port, nil
}

// checkHost refuses what cannot be a name or an IP address, so that the mistake is told as one and not as a failed
// look-up. Underscores are allowed: container names have them.
func checkHost(host string) error {
	if ip, err := netip.ParseAddr(host); err == nil {
		return checkZone(host, ip.Zone())
	}
	if host == "unix" { // whose String would read as a socket
		return errUnix
	}
	if strings.Trim(host, "0123456789") == "" {
		return fmt.Errorf("address %q is only a number: write host:%s for a port", host, host)
	}
	for _, r := range host {
		switch {
		case r >= 0x80:
			return fmt.Errorf("host %q is not ASCII: write its A-label form (xn--…)", host)
		case !isNameRune(r):
			return fmt.Errorf("host %q: %q is not allowed in a host name; write host or host:port", host, r)
		}
	}
	return nil
}

// checkZone wants of a zone (RFC 4007 §11), the name of an interface, what it wants of a host name: netip takes
// anything for one, brackets and line ends too.
func checkZone(host, zone string) error {
	for _, r := range zone {
		if !isNameRune(r) {
			return fmt.Errorf("host %q: %q is not allowed in the zone of an IPv6 address", host, r)
		}
	}
	return nil
}

func isNameRune(r rune) bool {
	return r == '.' || r == '_' || isLDH(r)
}

// isLDH reports letters, digits and hyphen, of which the labels of a domain are made (RFC 5321 §4.1.2).
func isLDH(r rune) bool {
	return r == '-' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
}

// parsePort returns port in decimal. The names are those of RFC 6409 and RFC 8314, as /etc/services has them.
func parsePort(port, defaultPort string) (string, error) {
	switch strings.ToLower(port) {
	case "":
		return defaultPort, nil
	case "smtp":
		return "25", nil
	case "submission":
		return "587", nil
	case "submissions", "smtps":
		return "465", nil
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return "", fmt.Errorf("port %q is not a number from 1 to 65535", port)
	}
	if n == 0 {
		return defaultPort, nil
	}
	return strconv.FormatUint(n, 10), nil
}
