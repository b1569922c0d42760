// Package dial knows everything about reaching an MTA that comes before SMTP: how its address is written, whether the
// other end is this machine, how TLS is verified, and by what name this machine says EHLO.
package dial

import (
	"context"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/postrider/postrider/internal/detach"
)

// Local reports whether what is written to c stays on this machine: the other end is a loopback address, a unix socket
// or a pipe in memory. It judges the socket that was dialled and not the name, which may resolve to anything.
func Local(c net.Conn) bool {
	a := c.RemoteAddr()
	if a == nil {
		return false
	}
	switch a.Network() {
	case "unix", "memnet", "pipe":
		return true
	}
	ip, ok := ipOf(a)
	return ok && ip.IsLoopback()
}

// AddressLiteral returns the IP of a as EHLO takes it from a machine without a name (RFC 5321 §4.1.3). An address that
// is no IP, of a unix socket for one, stands for this machine: [127.0.0.1].
func AddressLiteral(a net.Addr) string {
	ip, ok := ipOf(a)
	switch {
	case !ok:
		return "[127.0.0.1]"
	case ip.Is4():
		return "[" + ip.String() + "]"
	default:
		return "[IPv6:" + ip.String() + "]"
	}
}

// ipOf returns the IP of a, without zone, and an IPv4 address as such where the socket shows it mapped into IPv6.
func ipOf(a net.Addr) (netip.Addr, bool) {
	if a == nil {
		return netip.Addr{}, false
	}
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Addr{}, false
	}
	return ap.Addr().Unmap().WithZone(""), true
}

// HelloName is what EHLO says: Configured, or what LocalName finds, or an address literal. It is for any number of
// goroutines, and must not be copied.
type HelloName struct {
	Configured string

	lookUp func(context.Context) string // nil: LocalName

	mu     sync.Mutex    // guards what follows, and is not held during a look-up
	found  string        // "" until a look-up has found something; a later one may
	asking chan struct{} // closed when the look-up underway has ended; nil if none is
}

// For returns the name for a connection whose own end is own. One look-up is made for all who ask meanwhile; none of
// them waits for it longer than until ctx is done.
func (n *HelloName) For(ctx context.Context, own net.Addr) string {
	if n.Configured != "" {
		return n.Configured
	}
	if name := n.name(ctx); name != "" {
		return name
	}
	return AddressLiteral(own)
}

func (n *HelloName) name(ctx context.Context) string {
	n.mu.Lock()
	if n.found != "" {
		defer n.mu.Unlock()
		return n.found
	}
	if n.asking == nil {
		n.asking = make(chan struct{})
		go n.look(context.WithoutCancel(ctx), n.asking) // for others as well: it ends by its own limit
	}
	asking := n.asking
	n.mu.Unlock()
	select {
	case <-asking:
	case <-ctx.Done():
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.found
}

func (n *HelloName) look(ctx context.Context, done chan struct{}) {
	lookUp := n.lookUp
	if lookUp == nil {
		lookUp = LocalName
	}
	name := lookUp(ctx)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.found, n.asking = name, nil
	close(done)
}

// lookupTime bounds the look-up of LocalName: a resolver that does not answer must not hold up the mail.
const lookupTime = time.Second

// LocalName returns the fully qualified name of this machine for EHLO, or "" if it has none that another host could
// know; the caller then says an AddressLiteral. A host name without a dot costs one look-up, mostly in /etc/hosts, of a
// second at most.
func LocalName(ctx context.Context) string {
	hostname, err := os.Hostname()
	if err != nil {
		return ""
	}
	return localName(ctx, hostname, net.DefaultResolver.LookupCNAME)
}

// localName is LocalName with the name of the machine and the resolver given.
func localName(ctx context.Context, hostname string, canonical func(context.Context, string) (string, error)) string {
	name := strings.TrimSuffix(hostname, ".")
	if !strings.Contains(name, ".") && isDomain(name) {
		ctx, cancel := context.WithTimeout(ctx, lookupTime)
		defer cancel()
		found, err := detach.Until(ctx, func() (string, error) { return canonical(ctx, name) }, nil)
		if err != nil {
			return ""
		}
		name = strings.TrimSuffix(found, ".")
	}
	if !strings.Contains(name, ".") || !isDomain(name) || isLoopbackName(name) {
		return ""
	}
	return name
}

// isDomain reports whether name is a Domain by RFC 5321 §4.1.2, of at most the 255 octets of §4.5.3.1.2, and not an IP
// address in disguise: servers refuse EHLO with anything else.
func isDomain(name string) bool {
	if _, err := netip.ParseAddr(name); err == nil || len(name) > 255 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		if strings.ContainsFunc(label, func(r rune) bool { return !isLDH(r) }) {
			return false
		}
	}
	return true
}

// isLoopbackName reports the names that every machine has for itself: RFC 6761 §6.3, and what distributions write into
// /etc/hosts.
func isLoopbackName(name string) bool {
	name = strings.ToLower(name)
	return name == "localhost" || strings.HasPrefix(name, "localhost.") ||
		strings.HasSuffix(name, ".localhost") || strings.HasSuffix(name, ".localdomain")
}
