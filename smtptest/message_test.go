package smtptest_test

import (
	"fmt"
	"net"
	"testing"

	"github.com/postrider/postrider/smtptest"
)

// docs/parity.md, facts 21, 35 and 39: three headers at the end of the header section, the
// recipients as often as they were named.
//
// Facts 35, 39
func TestMessageHeaders(t *testing.T) {
	v4, v6 := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9}, &net.TCPAddr{IP: net.IPv6loopback, Port: 9}
	const added = "X-Peer: ('127.0.0.1', 9)\nX-MailFrom: anne@example.com\nX-RcptTo: bart@example.com\n"
	for _, tc := range []struct {
		name, content, want string
		change              func(*smtptest.Message)
	}{
		{"body", "Subject: x\r\n\r\nbody\r\n", "Subject: x\n" + added + "\nbody\n", nil},
		{"folded header", "Subject: x\r\n y\r\n\r\nbody", "Subject: x\n y\n" + added + "\nbody", nil},
		{"no body", "Subject: x\r\n\r\n", "Subject: x\n" + added + "\n", nil},
		{"no empty line", "Subject: x\r\n", "Subject: x\n" + added, nil},
		{"no line end", "Subject: x", "Subject: x\n" + added, nil},
		{"no header", "\r\nbody: x\r\n\r\n", added + "\nbody: x\n\n", nil},
		{"not a header", "not a header\r\n", added + "\nnot a header\n", nil},
		{"nothing", "", added, nil},
		{"bare LF", "Subject: x\n\nbody: y\r\n\r\n", "Subject: x\n" + added + "\nbody: y\n\n", nil},
		{"null path", "A: b\r\n", "A: b\nX-Peer: ('127.0.0.1', 9)\nX-MailFrom: <>\nX-RcptTo: bart@example.com\n",
			func(m *smtptest.Message) { m.From = "" }},
		{"twice", "A: b\r\n", "A: b\nX-Peer: ('127.0.0.1', 9)\nX-MailFrom: anne@example.com\n" +
			"X-RcptTo: z@example.com, z@example.com\n",
			func(m *smtptest.Message) { m.To = []string{"z@example.com", "z@example.com"} }},
		{"IPv6", "A: b\r\n", "A: b\nX-Peer: ('::1', 9, 0, 0)\nX-MailFrom: anne@example.com\n" +
			"X-RcptTo: bart@example.com\n",
			func(m *smtptest.Message) { m.Peer = v6 }},
		{"unix", "A: b\r\n", "A: b\nX-Peer: '@'\nX-MailFrom: anne@example.com\nX-RcptTo: bart@example.com\n",
			func(m *smtptest.Message) { m.Peer = &net.UnixAddr{Name: "@"} }},
	} {
		m := &smtptest.Message{Peer: v4, From: "anne@example.com", To: []string{"bart@example.com"},
			Content: []byte(tc.content)}
		if tc.change != nil {
			tc.change(m)
		}
		if got := m.String(); got != tc.want {
			t.Errorf("%s:\n%s\nwant\n%s", tc.name, got, tc.want)
		}
		if string(m.Content) != tc.content {
			t.Errorf("%s: Content was changed", tc.name)
		}
	}
}

// Parameters belong to the command they came with.
func TestMessageParams(t *testing.T) {
	s := start(t, nil)
	dial(t, s).talk(begun + "C: MAIL FROM:<a@example.com> body=8bitmime ENVID=x=\nS: 501\n" +
		"C: MAIL FROM:<a@example.com> body=8bitmime ENVID=x\nS: 250\n" +
		"C: RCPT TO:<b@example.com> NOTIFY=NEVER\nS: 250\nC: RCPT TO:<bad@> NOTIFY=DELAY\nS: 501\n" +
		"C: RCPT TO:<c@example.com>\nS: 250\nC: BDAT 0 LAST\nS: 250")
	m := s.Messages()[0]
	want := "map[BODY:8bitmime ENVID:x] [b@example.com c@example.com] [map[NOTIFY:NEVER] map[]]"
	if got := fmt.Sprint(m.MailParams, m.To, m.RcptParams); got != want {
		t.Error(got)
	}
}
