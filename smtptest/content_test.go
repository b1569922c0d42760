package smtptest_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/postrider/postrider/smtptest"
)

const envelope = begun + "C: MAIL FROM:<a@example.com>\nS: 250\nC: RCPT TO:<b@example.com>\nS: 250\n"

// What stands between 354 and CRLF "." CRLF is the content, less the stuffing
// dots: RFC 5321 §4.5.2 and §4.1.1.4. It comes whole and octet by octet.
func TestDots(t *testing.T) {
	for _, tc := range []struct{ sent, want string }{
		{".\r\n", ""},
		{"a\r\n.\r\n", "a\r\n"},
		{"\r\n.\r\n", "\r\n"},
		{"..\r\n.\r\n", ".\r\n"},
		{"...\r\n.\r\n", "..\r\n"},
		{"..a\r\n.\r\n", ".a\r\n"},
		{".a\r\n.\r\n", "a\r\n"},
		{"a.\r\n.\r\n", "a.\r\n"},
		{"a\n.\nb\r\n.\r\n", "a\n.\nb\r\n"},      // a bare LF ends no line,
		{"a\r.\rb\r\n.\r\n", "a\r.\rb\r\n"},      // nor does a bare CR,
		{"a\n.\r\nb\r\n.\r\n", "a\n.\r\nb\r\n"},  // nor half of each: these four
		{"a\r\n.\nb\r\n.\r\n", "a\r\n\nb\r\n"},   // are how one message is
		{"a\r\n.\rb\r\n.\r\n", "a\r\n\rb\r\n"},   // smuggled inside another
		{"a\r\n.\r.\r\n.\r\n", "a\r\n\r.\r\n"},   // to a server that
		{"a\r\n.\r\r\n.\r\n", "a\r\n\r\r\n"},     // takes them
		{"a\r\r\n.\r\n", "a\r\r\n"},              //
		{"\r\r\n..\r\r\n.\r\n", "\r\r\n.\r\r\n"}, //
		{"a\x00\xff\r\n.\r\n", "a\x00\xff\r\n"},  // any octet is content
		{strings.Repeat("x", 200_000) + "\r\n.\r\n", strings.Repeat("x", 200_000) + "\r\n"},
	} {
		t.Run(fmt.Sprintf("%.20q", tc.sent), func(t *testing.T) {
			s := start(t, func(s *smtptest.Server) { s.Listener = smtptest.InMemory("localhost:25") })
			for _, step := range []int{len(tc.sent), 1} {
				if step < len(tc.sent) && len(tc.sent) > 1000 {
					continue
				}
				c := dial(t, s)
				c.talk(envelope + "C: DATA\nS: 354")
				for i := 0; i < len(tc.sent); i += step {
					c.send(tc.sent[i:min(i+step, len(tc.sent))])
				}
				c.expect("250 2.0.0")
				got := s.Messages()
				if m := got[len(got)-1]; string(m.Content) != tc.want || m.BDAT {
					t.Errorf("in steps of %d: content %.40q, want %.40q", step, m.Content, tc.want)
				}
			}
		})
	}
}

// Chunks are joined as they are: BDAT knows no lines and no dots (RFC 3030 §2).
func TestChunks(t *testing.T) {
	s := start(t, nil)
	c := dial(t, s)
	c.talk(envelope)
	c.send("BDAT 6\r\na\r\n.\r\nBDAT 0\r\nbdat 4 last\r\n\n..\r")
	c.expect("250", "250", "250 2.0.0")
	m := s.Messages()[0]
	if string(m.Content) != "a\r\n.\r\n\n..\r" || !m.BDAT {
		t.Errorf("content %q", m.Content)
	}
	if s.Commands("BDAT") != 3 || s.Commands(smtptest.Terminator) != 1 {
		t.Errorf("%d BDAT, %d terminators", s.Commands("BDAT"), s.Commands(smtptest.Terminator))
	}
	c.talk("C: MAIL FROM:<>\nS: 250\nC: RCPT TO:<b@example.com>\nS: 250\nC: BDAT 0 LAST\nS: 250")
	if got := s.Messages()[1].Content; len(got) != 0 {
		t.Errorf("empty message: %q", got)
	}
}

// The octets of a refused BDAT are read away, and then nothing of a transaction
// is taken before RSET (RFC 3030 §2).
func TestRefusedChunks(t *testing.T) {
	for name, tc := range map[string]struct{ before, bdat, want string }{
		"no MAIL": {begun, "BDAT 5 LAST\r\nQUIT\r", "503 5.5.1 Need MAIL"},
		"no RCPT": {begun + "C: MAIL FROM:<>\nS: 250\n", "BDAT 5 LAST\r\nQUIT\r", "503 5.5.1 Need RCPT"},
		"all RCPT refused": {begun + "C: MAIL FROM:<>\nS: 250\nC: RCPT TO:<bad@>\nS: 501\n",
			"BDAT 5 LAST\r\nQUIT\r", "554 5.5.1"},
		"behind LAST":            {envelope + "C: BDAT 0 LAST\nS: 250\n", "BDAT 5\r\nQUIT\r", "503 5.5.1"},
		"after one that failed":  {begun + "C: BDAT 0\nS: 503\n", "BDAT 5\r\nQUIT\r", "503 5.5.1 A BDAT failed"},
		"no size":                {envelope, "BDAT\r\n", "501 5.5.4"},
		"something behind LAST":  {envelope, "BDAT 5 LAST NOW\r\n", "501"},
		"something but LAST":     {envelope, "BDAT 5 FIRST\r\n", "501"},
		"a size below zero":      {envelope, "BDAT -5\r\n", "501"},
		"a size beyond measure":  {envelope, "BDAT 99999999999999999999\r\n", "501"},
		"two spaces before size": {envelope, "BDAT  5\r\n", "501"},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, func(s *smtptest.Server) { s.Listener = smtptest.InMemory("localhost:25") })
			c := dial(t, s)
			c.talk(tc.before)
			c.send(tc.bdat)
			c.expect(tc.want)
			taken := len(s.Messages())
			c.talk("C: NOOP\nS: 250\nC: MAIL FROM:<>\nS: 503 5.5.1 A BDAT failed\nC: RCPT TO:<b@example.com>\n" +
				"S: 503\nC: DATA\nS: 503\nC: BDAT 0 LAST\nS: 503")
			c.talk("C: RSET\nS: 250\nC: MAIL FROM:<>\nS: 250\nC: RCPT TO:<b@example.com>\nS: 250\nC: DATA\nS: 354\n" +
				"C: .\nS: 250")
			if got := len(s.Messages()) - taken; got != 1 {
				t.Errorf("%d messages behind the refused chunk, want 1", got)
			}
		})
	}
}

// DATA and BDAT do not mix, and no recipient comes behind content.
func TestChunksDoNotMix(t *testing.T) {
	s := start(t, nil)
	dial(t, s).talk(envelope + "C: BDAT 0\nS: 250\nC: DATA\nS: 503\nC: RCPT TO:<c@example.com>\nS: 503\n" +
		"C: BDAT 0 LAST\nS: 250")
	if len(s.Messages()) != 1 || len(s.Messages()[0].To) != 1 {
		t.Errorf("messages %v", s.Messages())
	}
}

// A message larger than SIZE is read to its end and refused (RFC 1870 §6.3),
// whatever was declared; one of exactly that size is not.
func TestSize(t *testing.T) {
	s := start(t, func(s *smtptest.Server) { s.Extensions.Size = 10 })
	c := dial(t, s)
	c.talk(begun + "C: MAIL FROM:<> SIZE=11\nS: 552 5.3.4\nC: MAIL FROM:<> SIZE=10\nS: 250\n" +
		"C: RCPT TO:<b@example.com>\nS: 250\nC: DATA\nS: 354")
	c.say("12345678", ".")
	c.expect("250")
	c.talk("C: MAIL FROM:<> SIZE=1\nS: 250\nC: RCPT TO:<b@example.com>\nS: 250\nC: DATA\nS: 354")
	c.say("123456789", ".")
	c.expect("552 5.3.4")
	c.talk("C: MAIL FROM:<>\nS: 250\nC: RCPT TO:<b@example.com>\nS: 250")
	c.send("BDAT 10\r\n1234567890BDAT 1\r\n1")
	c.expect("250", "552 5.3.4")
	c.talk("C: RSET\nS: 250\nC: MAIL FROM:<>\nS: 250\nC: RCPT TO:<b@example.com>\nS: 250")
	c.send("BDAT 11 LAST\r\n12345678901")
	c.expect("552 5.3.4")
	if got := s.Messages(); len(got) != 1 || string(got[0].Content) != "12345678\r\n" {
		t.Errorf("taken: %q", got)
	}
}

// What a server may refuse in content, and what this one refuses if it is told to.
func TestContentChecks(t *testing.T) {
	bare := func(s *smtptest.Server) { s.RejectBareLineEnds = true }
	long := func(s *smtptest.Server) { s.MaxTextLine = 1000 }
	for _, tc := range []struct {
		name    string
		change  func(*smtptest.Server)
		content string
		reply   string
	}{
		{"bare LF", bare, "a\nb\r\n", "550"},
		{"bare CR", bare, "a\rb\r\n", "550"},
		{"CR CR LF", bare, "a\r\r\n", "550"},
		{"LF CR", bare, "a\n\rb\r\n", "550"},
		{"LF at once", bare, "\nb\r\n", "550"},
		{"CRLF", bare, "a\r\n\r\nb\r\n", "250"},
		{"1000 octets", long, strings.Repeat("x", 998) + "\r\n", "250"},
		{"1001 octets", long, "a\r\n" + strings.Repeat("x", 999) + "\r\n", "500"},
		{"neither is wanted", nil, "a\n\r" + strings.Repeat("x", 2000) + "\r\n", "250"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := start(t, tc.change)
			c := dial(t, s)
			c.talk(envelope + "C: DATA\nS: 354")
			c.send(tc.content + ".\r\n")
			c.expect(tc.reply)
			c.talk("C: MAIL FROM:<>\nS: 250\nC: RCPT TO:<b@example.com>\nS: 250")
			c.send(fmt.Sprintf("BDAT 1\r\n%sBDAT %d LAST\r\n%s", tc.content[:1], len(tc.content)-1, tc.content[1:]))
			c.expect("250", tc.reply)
			if got := len(s.Messages()); (got == 2) != (tc.reply == "250") {
				t.Errorf("%d messages taken", got)
			}
		})
	}
}

// With BDAT content can end in a CR that no LF will ever follow.
func TestBareCRAtEnd(t *testing.T) {
	s := start(t, func(s *smtptest.Server) { s.RejectBareLineEnds = true })
	c := dial(t, s)
	c.talk(envelope)
	c.send("BDAT 2 LAST\r\na\r")
	c.expect("550")
}

// Content that breaks off is no message.
func TestContentBreaksOff(t *testing.T) {
	for name, sent := range map[string]string{
		"DATA": "DATA\r\nhalf a mess", "DATA but LF": "DATA\r\nhalf\r\n.\r", "BDAT": "BDAT 10 LAST\r\n123456789",
		"BDAT, not the last": "BDAT 3\r\n123",
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, nil)
			c := dial(t, s)
			c.talk(envelope)
			c.send(sent)
			c.Close()
			s.Close()
			if got := s.Messages(); len(got) != 0 {
				t.Errorf("the server took %q", got[0].Content)
			}
		})
	}
}
