package smtptest

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// Message is a message that the server accepted. The server keeps it before it
// writes the reply.
type Message struct {
	Peer        net.Addr // address of the client
	Connection  int      // 1 is the first that the server accepted
	Transaction int      // 1 is the connection's first
	TLS         bool     // whether it was received over TLS
	User        string   // the authenticated user, "" if none
	BDAT        bool     // whether it was sent with BDAT

	From       string              // reverse-path; "" is the null path
	MailParams map[string]string   // of MAIL: keywords in upper case, values as sent; nil if none
	To         []string            // the accepted recipients, in order
	RcptParams []map[string]string // of each RCPT, in the order of To

	// Content is what was received, without the stuffing dots and the final dot.
	Content []byte
}

// WithHeaders returns the content with X-Peer, X-MailFrom and X-RcptTo at the end
// of its header section, like Mailman's test MTA.
func (m *Message) WithHeaders() []byte {
	head, body := splitHeader(m.Content)
	from := m.From
	if from == "" {
		from = "<>"
	}
	out := bytes.Clone(head)
	if len(out) > 0 && !bytes.HasSuffix(out, []byte("\n")) {
		out = append(out, "\r\n"...)
	}
	out = fmt.Appendf(out, "X-Peer: %s\r\nX-MailFrom: %s\r\nX-RcptTo: %s\r\n", peerTuple(m.Peer), from,
		strings.Join(m.To, ", "))
	return append(out, body...)
}

// String returns the text of WithHeaders with LF line ends.
func (m *Message) String() string {
	return strings.ReplaceAll(string(m.WithHeaders()), "\r\n", "\n")
}

// splitHeader cuts a message in front of the empty line that ends its header
// section. A message that does not start with a header field has none; one
// without an empty line is all header.
func splitHeader(content []byte) (head, body []byte) {
	first, _, _ := bytes.Cut(content, []byte("\n"))
	if name, _, ok := bytes.Cut(first, []byte(":")); !ok || bytes.ContainsAny(name, " \t\r") {
		if len(bytes.TrimRight(first, "\r")) > 0 {
			return nil, append([]byte("\r\n"), content...)
		}
		return nil, content
	}
	at := len(content)
	for _, end := range []string{"\n\r\n", "\n\n"} {
		if i := bytes.Index(content, []byte(end)); i >= 0 {
			at = min(at, i+1)
		}
	}
	return content[:at], content[at:]
}

// peerTuple shows an address as Python does: ('127.0.0.1', 25), with flow and
// scope behind an IPv6 port.
func peerTuple(a net.Addr) string {
	if a == nil {
		return "''"
	}
	p, err := netip.ParseAddrPort(a.String())
	switch {
	case err != nil:
		return "'" + a.String() + "'"
	case p.Addr().Is4():
		return fmt.Sprintf("('%s', %d)", p.Addr(), p.Port())
	}
	return fmt.Sprintf("('%s', %d, 0, 0)", p.Addr(), p.Port())
}

// Messages returns the messages accepted since the start or the last Clear, oldest
// first. With Discard there are none.
func (s *Server) Messages() []*Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*Message(nil), s.messages...)
}

// Clear removes the messages and credentials kept so far.
func (s *Server) Clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages, s.credentials = nil, nil
}

// keep is the moment at which the server takes responsibility for a message. The
// reply is not even decided to the last octet then: whatever happens to it, the
// message is here, as RFC 1047 fears.
func (s *Server) keep(m *Message) {
	if !s.Discard {
		s.mu.Lock()
		s.messages = append(s.messages, m)
		s.mu.Unlock()
	}
	if s.OnMessage != nil {
		s.OnMessage(m)
	}
}
