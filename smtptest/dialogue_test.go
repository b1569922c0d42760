package smtptest_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/postrider/postrider/smtptest"
)

// begun is how the dialogues below begin, when nothing else is said.
const begun = "S: 220\nC: EHLO client.example\nS: 250\n"

// The order of commands, as RFC 5321 §4.1.4 and §3.3 have it.
//
// Fact 38
func TestOrder(t *testing.T) {
	for name, d := range map[string]string{
		"MAIL needs a greeting": "S: 220\nC: MAIL FROM:<a@example.com>\nS: 503 5.5.1",
		"these need none": "S: 220\nC: NOOP\nS: 250\nC: RSET\nS: 250\nC: HELP\nS: 214\nC: VRFY anne\n" +
			"S: 252\nC: QUIT\nS: 221",
		"HELO will do": "S: 220\nC: HELO client.example\nS: 250\nC: MAIL FROM:<a@example.com>\nS: 250",
		"HELO has no parameters": "S: 220\nC: HELO client.example\nS: 250\nC: MAIL FROM:<a@example.com> SIZE=1\n" +
			"S: 555 5.5.4",
		"HELO takes EHLO's back": begun +
			"C: HELO client.example\nS: 250\nC: MAIL FROM:<a@example.com> BODY=7BIT\nS: 555 5.5.4",
		"RCPT needs MAIL": begun + "C: RCPT TO:<b@example.com>\nS: 503 5.5.1",
		"DATA needs MAIL": begun + "C: DATA\nS: 503 5.5.1",
		"DATA needs RCPT": begun + "C: MAIL FROM:<>\nS: 250\nC: DATA\nS: 503 5.5.1",
		"DATA needs a good RCPT": begun + "C: MAIL FROM:<>\nS: 250\nC: RCPT TO:<bad@>\nS: 501\nC: DATA\n" +
			"S: 554 5.5.1",
		"MAIL does not nest": begun + "C: MAIL FROM:<>\nS: 250\nC: MAIL FROM:<>\nS: 503 5.5.1",
		"not even with all refused": begun + "C: MAIL FROM:<>\nS: 250\nC: RCPT TO:<bad@>\nS: 501\nC: DATA\nS: 554\n" +
			"C: MAIL FROM:<>\nS: 503",
		"RSET ends a transaction": begun +
			"C: MAIL FROM:<>\nS: 250\nC: RSET\nS: 250\nC: RCPT TO:<b@example.com>\nS: 503\nC: MAIL FROM:<>\nS: 250",
		"EHLO ends a transaction": begun + "C: MAIL FROM:<>\nS: 250\nC: EHLO client.example\nS: 250\n" +
			"C: RCPT TO:<b@example.com>\nS: 503",
		"a message ends it too": begun + "C: MAIL FROM:<>\nS: 250\nC: RCPT TO:<b@example.com>\nS: 250\n" +
			"C: DATA\nS: 354\nC: .\nS: 250\nC: RCPT TO:<b@example.com>\nS: 503\nC: MAIL FROM:<>\nS: 250",
		"a bad RCPT spoils no other": begun + "C: MAIL FROM:<>\nS: 250\nC: RCPT TO:<bad@>\nS: 501\n" +
			"C: RCPT TO:<b@example.com>\nS: 250\nC: DATA\nS: 354\nC: .\nS: 250",
		"AUTH is not offered":     begun + "C: AUTH PLAIN AGEAYg==\nS: 502",
		"STARTTLS is not offered": begun + "C: STARTTLS\nS: 502",
		"unknown commands": begun + "C: XFOO\nS: 500 5.5.2\nC: \nS: 500 5.5.2\nC: EXPN staff\nS: 500\n" +
			"C: MAILFROM:<>\nS: 500",
		"verbs in any case": "S: 220\nC: ehlo client.example\nS: 250\nC: mAiL fRoM:<>\nS: 250\n" +
			"C: rcpt to:<b@example.com>\nS: 250\nC: dAtA\nS: 354\nC: .\nS: 250",
		"trailing space is tolerated": begun + "C: NOOP \nS: 250\nC: MAIL FROM:<> \nS: 250\nC: RSET  \nS: 250",
		"no argument where none is": begun + "C: RSET now\nS: 501\nC: QUIT now\nS: 501\nC: MAIL FROM:<>\nS: 250\n" +
			"C: RCPT TO:<b@example.com>\nS: 250\nC: DATA now\nS: 501",
		"an argument where one is": begun + "C: EHLO\nS: 501\nC: HELO \nS: 501\nC: VRFY\nS: 501",
		"EHLO wants a host name": "S: 220\nC: EHLO a b\nS: 501\nC: EHLO -a.example\nS: 501\nC: EHLO a..b\n" +
			"S: 501\nC: EHLO [127.0.0.1]\nS: 250\nC: EHLO [IPv6:::1]\nS: 250\nC: EHLO [::1]\nS: 501\n" +
			"C: EHLO my_host\nS: 250",
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, func(s *smtptest.Server) { s.Listener = smtptest.InMemory("localhost:25") })
			dial(t, s).talk(d)
		})
	}
}

// QUIT is answered, and then the server closes (RFC 5321 §4.1.1.10).
func TestQuit(t *testing.T) {
	s := start(t, nil)
	c := dial(t, s)
	c.talk(begun + "C: QUIT\nS: 221 2.0.0")
	c.expectEnd()
}

// What stands between "MAIL FROM:" or "RCPT TO:" and the end of the line.
//
// Fact 38
func TestEnvelopeSyntax(t *testing.T) {
	local65, domain255 := strings.Repeat("x", 65), strings.Repeat("abcdefgh.", 27)+"abcdefghijkl"
	for _, tc := range []struct{ command, reply string }{
		{"MAIL FROM:<>", "250 2.1.0"},
		{"MAIL FROM:<anne@example.com>", "250 2.1.0"},
		{`MAIL FROM:<"anne b>c\"@"@example.com>`, "250"},
		{"MAIL FROM:<anne@[192.0.2.1]>", "250"},
		{"MAIL FROM:<anne@[IPv6:2001:db8::1]>", "250"},
		{"MAIL FROM:<anne@example.com> SIZE=12 BODY=8BITMIME RET=HDRS ENVID=a+2Bb", "250"},
		{"MAIL FROM:<anne@example.com> size=12 body=8bitmime", "250"},
		{"MAIL FROM:<x@x> SMTPUTF8", "250"},
		{"MAIL FROM:<jörg@exämple.com> SMTPUTF8", "250"},
		{"RCPT TO:<Postmaster>", "250 2.1.5"},
		{"RCPT TO:<b@example.com> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;b+2B@example.com", "250"},
		{"RCPT TO:<b@example.com> NOTIFY=NEVER", "250"},
		// What a server must take at least is no limit: mailing lists send longer addresses.
		{"MAIL FROM:<" + local65 + "@example.com>", "250"},
		{"RCPT TO:<" + local65 + "@example.com>", "250"},
		{"RCPT TO:<" + local65 + "@" + domain255 + ">", "250"},
		// RFC 5321 §4.1.1.3 and Appendix C: a source route is accepted, and ignored.
		{"MAIL FROM:<@relay.example:a@example.com>", "250"},
		{"RCPT TO:<@a.example,@b.example:c@example.com>", "250"},
		// Servers with local users know them without a domain.
		{"RCPT TO:<root>", "250"},
		{"MAIL FROM:<anne>", "250"},
		// RFC 3461 §5.4: NOTIFY up to 28 octets, ENVID 100, ORCPT 500, each with its name.
		{"RCPT TO:<b@example.com> NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;" +
			strings.Repeat("x", 500-len("ORCPT=rfc822;")), "250"},
		{"MAIL FROM:<> RET=FULL ENVID=" + strings.Repeat("x", 100-len("ENVID=")), "250"},
		// RFC 1870 §3: up to 20 digits.
		{"MAIL FROM:<> SIZE=00000000000000000012", "250"},
		{"MAIL FROM:<> SIZE=99999999999999999999", "552 5.3.4"},

		{"MAIL FROM:anne@example.com", "501"},
		{"MAIL FROM: <anne@example.com>", "501"},
		{"MAIL <anne@example.com>", "501"},
		{"MAIL FROM:<anne@example.com", "501"},
		{"MAIL FROM:<anne@example.com>SIZE=1", "501"},
		{"MAIL FROM:<anne@>", "501"},
		{"MAIL FROM:<@example.com>", "501"},
		{"MAIL FROM:<a b@example.com>", "501"},
		{"MAIL FROM:<a..b@example.com>", "501"},
		{"MAIL FROM:<a@example..com>", "501"},
		{"MAIL FROM:<a@-example.com>", "501"},
		{"MAIL FROM:<a@[192.0.2.300]>", "501"},
		{"MAIL FROM:<a@exa\x00mple.com>", "501"},
		{"MAIL FROM:<@relay.example:>", "501"},
		{"MAIL FROM:<@relay.example,b.example:a@example.com>", "501"},
		{"MAIL FROM:<:a@example.com>", "501"},
		{"MAIL FROM:<a@example.com> ENVID=" + strings.Repeat("x", 101-len("ENVID=")), "501"},
		{"MAIL FROM:<> SIZE=999999999999999999999", "501"},
		{"RCPT TO:<b@example.com> NOTIFY=DELAY,DELAY,DELAY,DELAY", "501"},
		{"RCPT TO:<b@example.com> ORCPT=rfc822;" + strings.Repeat("x", 501-len("ORCPT=rfc822;")), "501"},
		{"MAIL FROM:<jörg@example.com>", "553 5.6.7"},
		{"MAIL FROM:<j\xffrg@example.com> SMTPUTF8", "501"},
		{"MAIL FROM:<a@example.com> SIZE=1 SIZE=1", "501 5.5.4"},
		{"MAIL FROM:<a@example.com> SIZE", "501"},
		{"MAIL FROM:<a@example.com> SIZE=x", "501"},
		{"MAIL FROM:<a@example.com>  SIZE=1", "501"},
		{"MAIL FROM:<a@example.com> BODY=BINARYMIME", "501"},
		{"MAIL FROM:<a@example.com> SMTPUTF8=YES", "501"},
		{"MAIL FROM:<a@example.com> RET=ALL", "501"},
		{"MAIL FROM:<a@example.com> ENVID=a+2b", "501"}, // xtext has upper-case digits
		{"MAIL FROM:<a@example.com> FOO=BAR", "555 5.5.4"},
		{"MAIL FROM:<a@example.com> NOTIFY=NEVER", "555"}, // belongs to RCPT
		{"MAIL FROM:<a@example.com> REQUIRETLS", "555"},   // not in the clear
		{"MAIL FROM:<a@example.com> AUTH=<>", "555"},      // nobody can authenticate
		{"MAIL FROM:<a@example.com> SIZE=67108865", "552 5.3.4"},
		{"RCPT TO:<>", "501 5.1.3"},
		{"RCPT TO:<b@example.com> NOTIFY=NEVER,DELAY", "501"},
		{"RCPT TO:<b@example.com> ORCPT=b@example.com", "501"},
		{"RCPT TO:<b@a" + domain255 + ">", "501 5.1.3"}, // no name is longer
		{"RCPT FROM:<b@example.com>", "501"},
	} {
		t.Run(tc.command, func(t *testing.T) {
			s := start(t, func(s *smtptest.Server) { s.Listener = smtptest.InMemory("localhost:25") })
			c := dial(t, s)
			c.talk(begun)
			if strings.HasPrefix(tc.command, "RCPT") {
				c.talk("C: MAIL FROM:<>\nS: 250")
			}
			c.say(tc.command)
			c.expect(tc.reply)
			c.talk("C: NOOP\nS: 250") // and nothing else was said
		})
	}
}

// A non-ASCII recipient needs a MAIL with SMTPUTF8 (RFC 6531 §3.5).
func TestUTF8Recipient(t *testing.T) {
	s := start(t, nil)
	c := dial(t, s)
	c.talk(begun + "C: MAIL FROM:<>\nS: 250\nC: RCPT TO:<jörg@example.com>\nS: 553 5.6.7\nC: RSET\nS: 250")
	c.talk("C: MAIL FROM:<> SMTPUTF8\nS: 250\nC: RCPT TO:<jörg@example.com>\nS: 250\nC: DATA\nS: 354\nC: .\nS: 250")
	if m := s.Messages()[0]; m.To[0] != "jörg@example.com" || fmt.Sprint(m.MailParams) != "map[SMTPUTF8:]" {
		t.Errorf("%+v", m)
	}
}

// An extension that is switched off is neither offered nor taken.
func TestNoExtensions(t *testing.T) {
	s := start(t, func(s *smtptest.Server) { s.Extensions = smtptest.Extensions{} })
	c := dial(t, s)
	c.talk("S: 220\nC: EHLO client.example")
	if got, _ := c.reply(); got != "250 localhost" {
		t.Errorf("EHLO: %q", got)
	}
	for _, p := range []string{"SIZE=1", "BODY=8BITMIME", "SMTPUTF8", "RET=FULL", "ENVID=x"} {
		c.talk("C: MAIL FROM:<a@example.com> " + p + "\nS: 555 Parameter") // no enhanced code either
	}
	c.talk("C: MAIL FROM:<a@example.com>\nS: 250 Sender ok\nC: RCPT TO:<b@example.com> NOTIFY=NEVER\nS: 555\n" +
		"C: RCPT TO:<b@example.com>\nS: 250 Recipient ok")
	c.send("BDAT 4 LAST\r\nNOOP")
	c.expect("503 CHUNKING is not offered")
}

// What a server offers by default: LIMITS limits, and REQUIRETLS needs TLS (RFC
// 8689 §2), so neither is there.
func TestAllExtensions(t *testing.T) {
	dial(t, start(t, nil)).talk("S: 220\nC: EHLO x\n" +
		"S: 250-localhost / 250-PIPELINING / 250-CHUNKING / 250-SIZE 67108864 / 250-8BITMIME / 250-SMTPUTF8 / " +
		"250-DSN / 250 ENHANCEDSTATUSCODES")
}

// EHLO may be answered with further lines, and differently before TLS.
//
// Fact 37
func TestExtensionLines(t *testing.T) {
	s := start(t, func(s *smtptest.Server) {
		s.Hostname = "mx.example.com"
		s.Extensions = smtptest.Extensions{Size: 1000, Limits: "RCPTMAX=2", Lines: []string{"XFOO bar", "AUTH LOGIN"}}
	})
	c := dial(t, s)
	c.talk("S: 220 mx.example.com \nC: EHLO client.example")
	if got, _ := c.reply(); got != "250-mx.example.com / 250-SIZE 1000 / 250-LIMITS RCPTMAX=2 / 250-XFOO bar / 250 "+
		"AUTH LOGIN" {
		t.Errorf("EHLO: %q", got)
	}
}

// LIMITS is not only offered (RFC 9422): commands count, refused ones too.
func TestLimits(t *testing.T) {
	mail, rcpt := "C: MAIL FROM:<a@example.com>\nS: 250\n", "C: RCPT TO:<%s>\nS: %s\n"
	for name, tc := range map[string]struct{ limits, dialogue string }{
		"MAILMAX": {"MAILMAX=2",
			mail + "C: MAIL FROM:<b@example.com>\nS: 503\nC: RSET\nS: 250\nC: MAIL FROM:<c@example.com>\nS: 421"},
		"RCPTMAX": {"RCPTMAX=2",
			mail + fmt.Sprintf(rcpt+rcpt+rcpt, "a@a", "250", "bad@", "501", "b@a", "452 4.5.3")},
		"RCPTDOMAINMAX": {"RCPTDOMAINMAX=2",
			mail + fmt.Sprintf(rcpt+rcpt+rcpt+rcpt, "a@a", "250", "b@B", "250", "c@c", "452 4.5.3", "d@b", "250")},
		"of a session": {"RCPTDOMAINMAX=1", mail + fmt.Sprintf(rcpt, "a@a", "250") + "C: RSET\nS: 250\n" + mail +
			fmt.Sprintf(rcpt, "a@b", "452")},
		"misspelt": {"RCPTMAX=one MAILMAX", mail + "C: RSET\nS: 250\n" + mail + fmt.Sprintf(rcpt, "a@a", "250")},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, func(s *smtptest.Server) { s.Extensions.Limits = tc.limits })
			dial(t, s).talk(begun + tc.dialogue)
		})
	}
}

// After that many MAIL commands the server has had enough of a connection.
func TestMaxTransactions(t *testing.T) {
	s := start(t, func(s *smtptest.Server) { s.MaxTransactions = 2 })
	for range 2 {
		c := dial(t, s)
		c.talk(begun + "C: MAIL FROM:<>\nS: 250\nC: RSET\nS: 250\nC: MAIL FROM:<>\nS: 250\nC: RSET\nS: 250\n" +
			"C: MAIL FROM:<>\nS: 421 4.7.0")
		c.expectEnd()
	}
	if got := s.Transactions(); got != 4 {
		t.Errorf("%d transactions", got)
	}
}

func TestMaxRecipients(t *testing.T) {
	s := start(t, func(s *smtptest.Server) { s.MaxRecipients = 1 })
	c := dial(t, s)
	c.talk(begun + "C: MAIL FROM:<>\nS: 250\nC: RCPT TO:<bad@>\nS: 501\nC: RCPT TO:<a@a>\nS: 250\nC: RCPT TO:<b@a>\n" +
		"S: 452 4.5.3\nC: DATA\nS: 354\nC: .\nS: 250")
	if got := s.Messages()[0].To; len(got) != 1 || got[0] != "a@a" {
		t.Errorf("recipients %q", got)
	}
}

// RFC 5321 §4.5.3.1.4, and the room that RFC 4954 §4 and others give.
func TestCommandLineLimit(t *testing.T) {
	s := start(t, nil)
	c := dial(t, s)
	c.talk(begun)
	c.say("NOOP " + strings.Repeat("x", 512-7))
	c.expect("250")
	c.say("NOOP " + strings.Repeat("x", 512-6))
	c.expect("500 5.5.2")
	c.say("NOOP "+strings.Repeat("x", 200_000), "NOOP")
	c.expect("500 5.5.2", "250")
	c.say("AUTH PLAIN " + strings.Repeat("x", 512-12)) // 513 with the CRLF
	c.expect("500 5.5.2")
}

// command writes a command that is this many octets long, its CRLF included: x fills
// it, where the percent sign stands.
func command(t *testing.T, octets int, form string) string {
	t.Helper()
	before, after, ok := strings.Cut(form, "%")
	missing := octets - len(before+after+"\r\n")
	if !ok || missing < 0 {
		t.Fatalf("%d octets of %q", octets, form)
	}
	return before + strings.Repeat("x", missing) + after
}

// What the parameters of an extension need is added to the 512 octets where it is
// offered: SIZE 26 (RFC 1870 §3), 8BITMIME 17 (RFC 6152 §2), SMTPUTF8 10 (RFC 6531
// §3.1, VRFY too), REQUIRETLS 11 (RFC 8689 §2), AUTH 500 (RFC 4954 §3), and RET 8,
// ENVID 100, NOTIFY 28 and ORCPT 500 (RFC 3461 §5.4), with a space before each.
func TestEnvelopeLineLimit(t *testing.T) {
	const dsnMail, dsnRcpt = 1 + 8 + 1 + 100, 1 + 28 + 1 + 500
	none, all := smtptest.Extensions{}, smtptest.AllExtensions()
	for name, tc := range map[string]struct {
		ext   smtptest.Extensions
		users map[string]string
		form  string
		most  int
	}{
		"MAIL":           {none, nil, "MAIL FROM:<%@example.com>", 512},
		"RCPT":           {none, nil, "RCPT TO:<%@example.com>", 512},
		"VRFY":           {none, nil, "VRFY %", 512},
		"MAIL, SIZE":     {smtptest.Extensions{Size: 1000}, nil, "MAIL FROM:<%@example.com> SIZE=1", 512 + 26},
		"MAIL, 8BITMIME": {smtptest.Extensions{EightBitMIME: true}, nil, "MAIL FROM:<%@example.com>", 512 + 17},
		"MAIL, SMTPUTF8": {smtptest.Extensions{SMTPUTF8: true}, nil, "MAIL FROM:<%@example.com>", 512 + 10},
		"VRFY, SMTPUTF8": {smtptest.Extensions{SMTPUTF8: true}, nil, "VRFY %", 512 + 10},
		"MAIL, DSN":      {smtptest.Extensions{DSN: true}, nil, "MAIL FROM:<%@example.com>", 512 + dsnMail},
		"RCPT, DSN": {smtptest.Extensions{DSN: true}, nil, "RCPT TO:<%@example.com> NOTIFY=NEVER",
			512 + dsnRcpt},
		"MAIL, AUTH":       {none, map[string]string{"u": "p"}, "MAIL FROM:<%@example.com>", 512 + 500},
		"MAIL, all":        {all, nil, "MAIL FROM:<%@example.com>", 512 + 26 + 17 + 10 + dsnMail},
		"RCPT, all":        {all, nil, "RCPT TO:<%@example.com>", 512 + dsnRcpt},
		"NOOP has nothing": {all, nil, "NOOP %", 512},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, func(s *smtptest.Server) {
				s.Listener, s.Extensions, s.Users = smtptest.InMemory("localhost:25"), tc.ext, tc.users
			})
			c := dial(t, s)
			c.talk(begun)
			if strings.HasPrefix(tc.form, "RCPT") {
				c.talk("C: MAIL FROM:<>\nS: 250")
			}
			c.say(command(t, tc.most+1, tc.form))
			c.expect("500 ")
			c.say(command(t, tc.most, tc.form))
			c.expect("25")
		})
	}
}

// Without what EHLO offers there are no parameters, and no room for them.
func TestHeloHasTheShortLine(t *testing.T) {
	c := dial(t, start(t, nil))
	c.talk("S: 220\nC: HELO client.example\nS: 250")
	c.say(command(t, 513, "MAIL FROM:<%@example.com>"))
	c.expect("500 5.5.2")
}

// A source route is not part of the address.
func TestSourceRouteIsIgnored(t *testing.T) {
	s := start(t, nil)
	dial(t, s).talk(begun + "C: MAIL FROM:<@relay.example:a@example.com>\nS: 250\n" +
		"C: RCPT TO:<@a.example,@b.example:\"c@\"@example.com>\nS: 250\nC: DATA\nS: 354\nC: .\nS: 250")
	if m := s.Messages()[0]; m.From != "a@example.com" || m.To[0] != `"c@"@example.com` {
		t.Errorf("from %q to %q", m.From, m.To)
	}
}

// RFC 5321 §4.1.1.3: Postmaster is the only mailbox without a domain, for who wants
// to know whether a client keeps to that.
func TestRequireDomain(t *testing.T) {
	s := start(t, func(s *smtptest.Server) { s.RequireDomain = true })
	dial(t, s).talk(begun + "C: MAIL FROM:<anne>\nS: 501 5.1.3\nC: MAIL FROM:<>\nS: 250\n" +
		"C: RCPT TO:<root>\nS: 501 5.1.3\nC: RCPT TO:<postMaster>\nS: 250\nC: RCPT TO:<a@b>\nS: 250")
}

// RFC 2920 §3.1: a client waits for every reply where PIPELINING was not offered,
// and for those to some commands everywhere. What it sent meanwhile was meant for
// another state: it is not obeyed, and the connection ends.
func TestImpatientClients(t *testing.T) {
	const envelope = "MAIL FROM:<>\r\nRCPT TO:<b@a>\r\n"
	for name, tc := range map[string]struct {
		ext  smtptest.Extensions
		said string
		want []string
	}{
		"not offered": {smtptest.Extensions{}, envelope, []string{"554 "}},
		"after BDAT":  {smtptest.Extensions{Chunking: true}, "BDAT 3\r\nabcRSET\r\n", []string{"554 "}},
		"EHLO":        {smtptest.AllExtensions(), "EHLO x\r\n" + envelope, []string{"554 "}},
		"DATA": {smtptest.AllExtensions(), envelope + "DATA\r\ncontent\r\n.\r\n",
			[]string{"250", "250", "554 "}},
		"NOOP": {smtptest.AllExtensions(), "NOOP\r\nRSET\r\n", []string{"554 "}},
		"VRFY": {smtptest.AllExtensions(), "VRFY a\r\nRSET\r\n", []string{"554 "}},
		"QUIT": {smtptest.AllExtensions(), "RSET\r\nQUIT\r\nRSET\r\n", []string{"250", "554 "}},
		"AUTH": {smtptest.AllExtensions(), "AUTH LOGIN\r\nYQ==\r\n", []string{"554 "}},
		"offered by a line": {smtptest.Extensions{Lines: []string{"pipelining"}}, envelope + "RSET\r\nQUIT\r\n",
			[]string{"250", "250", "250", "221"}},
		"a whole group": {smtptest.AllExtensions(), envelope + "BDAT 1 LAST\r\naRSET\r\n" + envelope + "DATA\r\n",
			[]string{"250", "250", "250", "250", "250", "250", "354"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, func(s *smtptest.Server) {
				s.Listener, s.Extensions = smtptest.InMemory("localhost:25"), tc.ext
				s.Users = map[string]string{"a": "b"}
			})
			c := dial(t, s)
			c.talk(begun)
			c.send(tc.said)
			c.expect(tc.want...)
			if want := tc.want[len(tc.want)-1]; want == "554 " {
				c.expectEnd()
			}
			if got := s.Messages(); (len(got) > 0) != (name == "a whole group") {
				t.Errorf("took %v", got)
			}
		})
	}
}

// A client that a script has put out of step cannot know when to wait.
func TestMisledClients(t *testing.T) {
	s := start(t, func(s *smtptest.Server) {
		s.Extensions.Pipelining = false
		s.Faults = []smtptest.Fault{{Command: "MAIL", Reply: "250 ok\n250 surplus"}}
	})
	c := dial(t, s)
	c.talk(begun + "C: MAIL FROM:<>\nS: 250 ok\nS: 250 surplus")
	c.send("RCPT TO:<b@a>\r\nRSET\r\n")
	c.expect("250 2.1.5", "250 2.0.0")
}

// A bare LF ends no line that a server may obey (RFC 5321 §2.3.8); that it gets
// an answer keeps a client from waiting for ever.
func TestBareLF(t *testing.T) {
	s := start(t, nil)
	c := dial(t, s)
	c.talk(begun)
	c.send("NOOP\nRSET\r\nNOOP a\rb\r\n")
	c.expect("500 5.5.2 A line must end in CRLF", "250", "500 5.5.2 A CR stands alone")
}

// countingListener counts the writes of the server.
type countingListener struct {
	net.Listener
	writes atomic.Int64
}

type dialer interface {
	Dial(ctx context.Context, network, address string) (net.Conn, error)
}

type countingConn struct {
	net.Conn
	l *countingListener
}

func (l *countingListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	return countingConn{nc, l}, err
}

func (c countingConn) Write(p []byte) (int, error) {
	c.l.writes.Add(1)
	return c.Conn.Write(p)
}

// The replies to a group leave together (RFC 2920 §3.2), and in order.
func TestPipelining(t *testing.T) {
	memory := smtptest.InMemory("localhost:25")
	counting := &countingListener{Listener: memory}
	s := start(t, func(s *smtptest.Server) { s.Listener = counting })
	nc, err := memory.(dialer).Dial(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	c := newRaw(t, nc)
	c.talk(begun)
	before := counting.writes.Load()
	c.say("MAIL FROM:<a@example.com>", "RCPT TO:<b@example.com>", "RCPT TO:<bad@>", "DATA")
	c.expect("250 2.1.0", "250 2.1.5", "501", "354")
	c.send("content\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<c@example.com>\r\nBDAT 3 LAST\r\nabcRSET\r\nQUIT\r\n")
	c.expect("250 2.0.0", "250 2.1.0", "250 2.1.5", "250 2.0.0", "250", "221")
	if got := counting.writes.Load() - before; got != 2 {
		t.Errorf("two groups were answered with %d writes", got)
	}
	if got := s.Messages(); len(got) != 2 || string(got[0].Content) != "content\r\n" ||
		string(got[1].Content) != "abc" {
		t.Errorf("messages %v", got)
	}
}
