package wire

import (
	"cmp"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/text"
)

func TestMail(t *testing.T) {
	for _, tt := range []struct {
		name, from string
		params     MailParams
		want       string
	}{
		{"plain", "anne@example.com", MailParams{}, "MAIL FROM:<anne@example.com>"},
		{"null path, RFC 5321 §4.5.5", "", MailParams{}, "MAIL FROM:<>"},
		{"null path with parameters", "", MailParams{Size: 5}, "MAIL FROM:<> SIZE=5"},
		{"quoted", `"a > b"@example.com`, MailParams{}, `MAIL FROM:<"a > b"@example.com>`},
		{"RFC 1870 §6", "ned@thor.innosoft.com", MailParams{Size: 500000},
			"MAIL FROM:<ned@thor.innosoft.com> SIZE=500000"},
		{"the largest size", "a@b", MailParams{Size: 1<<63 - 1}, "MAIL FROM:<a@b> SIZE=9223372036854775807"},
		{"RFC 6152 §2", "a@b", MailParams{EightBit: true}, "MAIL FROM:<a@b> BODY=8BITMIME"},
		{"RFC 6531 §3.4", "étienne@exämple.com", MailParams{UTF8: true}, "MAIL FROM:<étienne@exämple.com> SMTPUTF8"},
		{"RFC 3461 §4.3, §4.4", "Alice@Example.ORG", MailParams{Return: "hdrs", EnvelopeID: "QQ314159"},
			"MAIL FROM:<Alice@Example.ORG> RET=HDRS ENVID=QQ314159"},
		{"RET=FULL", "a@b", MailParams{Return: "Full"}, "MAIL FROM:<a@b> RET=FULL"},
		{"ENVID in xtext", "a@b", MailParams{EnvelopeID: "1+1=2 ~!\\<>"}, `MAIL FROM:<a@b> ENVID=1+2B1+3D2+20~!\<>`},
		{"all", "a@b", MailParams{Size: 1, EightBit: true, UTF8: true, RequireTLS: true, Return: "FULL",
			EnvelopeID: "x"}, "MAIL FROM:<a@b> SIZE=1 BODY=8BITMIME SMTPUTF8 REQUIRETLS RET=FULL ENVID=x"},
	} {
		if got := string(AppendMail([]byte("RSET\r\n"), tt.from, tt.params)); got != "RSET\r\n"+tt.want+"\r\n" {
			t.Errorf("%s: %q, want %q behind RSET", tt.name, got, tt.want)
		}
	}
}

func TestRcpt(t *testing.T) {
	long := strings.Repeat("x", 500-len("ORCPT=rfc822;@b"))
	for _, tt := range []struct {
		name, to string
		params   RcptParams
		want     string
	}{
		{"plain", "bart@example.com", RcptParams{}, "RCPT TO:<bart@example.com>"},
		{"local name", "postmaster", RcptParams{}, "RCPT TO:<postmaster>"},
		{"not ASCII", "ж@例え.jp", RcptParams{UTF8: true}, "RCPT TO:<ж@例え.jp>"},
		{"RFC 3461 §4.1", "a@b", RcptParams{Notify: "success,Delay"}, "RCPT TO:<a@b> NOTIFY=SUCCESS,DELAY"},
		{"NEVER", "a@b", RcptParams{Notify: "never"}, "RCPT TO:<a@b> NOTIFY=NEVER"},
		{"RFC 3461 §4.2", "Bob@Example.COM", RcptParams{Notify: "SUCCESS", Original: "Bob@Example.COM"},
			"RCPT TO:<Bob@Example.COM> NOTIFY=SUCCESS ORCPT=rfc822;Bob@Example.COM"},
		{"xtext", "a+b=c@d", RcptParams{Original: "a+b=c@d"}, "RCPT TO:<a+b=c@d> ORCPT=rfc822;a+2Bb+3Dc@d"},
		{"xtext of a quoted local part", `"a > b"@c`, RcptParams{Original: `"a > b"@c`},
			`RCPT TO:<"a > b"@c> ORCPT=rfc822;"a+20>+20b"@c`},
		{"ASCII with SMTPUTF8", "a@b", RcptParams{Original: "a@b", UTF8: true}, "RCPT TO:<a@b> ORCPT=rfc822;a@b"},
		{"RFC 6533 §3", "é+è@b", RcptParams{Original: "é+è@b", UTF8: true}, `RCPT TO:<é+è@b> ORCPT=utf-8;é\x{2B}è@b`},
		{"all that utf-8 escapes", `"é =+\é"@b`, RcptParams{Original: `"é =+\é"@b`, UTF8: true},
			`RCPT TO:<"é =+\é"@b> ORCPT=utf-8;"é\x{20}\x{3D}\x{2B}\x{5C}é"@b`},
		{"not ASCII, without SMTPUTF8", "a@xn--exmple-cua.com", RcptParams{Original: "a@exämple.com"},
			"RCPT TO:<a@xn--exmple-cua.com>"},
		// RFC 3461 §5.4: a server need not take an ORCPT of more than 500 characters.
		{"the longest ORCPT", "a@b", RcptParams{Original: long + "@b"}, "RCPT TO:<a@b> ORCPT=rfc822;" + long + "@b"},
		{"an ORCPT too long", "a@b", RcptParams{Original: long + "y@b"}, "RCPT TO:<a@b>"},
		{"an ORCPT that xtext makes too long", "a@b", RcptParams{Original: long[2:] + "+@b"}, "RCPT TO:<a@b>"},
		{"a utf-8 ORCPT too long", "a@b", RcptParams{Notify: "NEVER", Original: "é" + long + "@b", UTF8: true},
			"RCPT TO:<a@b> NOTIFY=NEVER"},
	} {
		if got := string(AppendRcpt([]byte("RSET\r\n"), tt.to, tt.params)); got != "RSET\r\n"+tt.want+"\r\n" {
			t.Errorf("%s: %q, want %q behind RSET", tt.name, got, tt.want)
		}
	}
}

// RFC 3461 §4: xtext is the graphic characters of ASCII but for "+" and "=", and
// two upper-case digits for the rest.
func TestXtext(t *testing.T) {
	for c := range 256 {
		want := string(rune(c))
		if c < '!' || c > '~' || c == '+' || c == '=' {
			want = "+" + string("0123456789ABCDEF"[c>>4]) + string("0123456789ABCDEF"[c&15])
		}
		if got := string(appendXtext(nil, string([]byte{byte(c)}))); got != want {
			t.Errorf("octet %d: %q, want %q", c, got, want)
		}
	}
}

func TestCheckDSN(t *testing.T) {
	for _, tt := range []struct {
		ret, envid, notify string
		want               string // "" if it is good
	}{
		{"", "", "", ""},
		{"FULL", "", "", ""},
		{"hdrs", "", "", ""},
		{"BODY", "", "", "DSN.Return"},
		{"FULL HDRS", "", "", "DSN.Return"},
		{"FULL\r\nRSET", "", "", "DSN.Return"},
		{" FULL", "", "", "DSN.Return"},

		{"", "QQ314159", "", ""},
		{"", " with space ~", "", ""}, // printable is graphic and white space, RFC 3461 §4.4
		{"", "tab\t", "", "DSN.EnvelopeID"},
		{"", "a\r\nRSET", "", "DSN.EnvelopeID"},
		{"", "nul\x00", "", "DSN.EnvelopeID"},
		{"", "del\x7f", "", "DSN.EnvelopeID"},
		{"", "é", "", "DSN.EnvelopeID"},
		{"", "\xff", "", "DSN.EnvelopeID"},
		// RFC 3461 §5.4 counts the whole parameter, 8 characters for RET=FULL: so
		// 100 with "ENVID=" in front and in xtext.
		{"", strings.Repeat("x", 94), "", ""},
		{"", strings.Repeat("x", 95), "", "DSN.EnvelopeID"},
		{"", strings.Repeat("+", 31), "", ""},
		{"", strings.Repeat("+", 32), "", "DSN.EnvelopeID"},

		{"", "", "NEVER", ""},
		{"", "", "never", ""},
		{"", "", "SUCCESS", ""},
		{"", "", "delay,Failure,success", ""},
		{"", "", "NEVER,SUCCESS", "NOTIFY"},
		{"", "", "SUCCESS,NEVER", "NOTIFY"},
		{"", "", "NEVER,NEVER", "NOTIFY"},
		{"", "", "SUCCESS,SUCCESS", "NOTIFY"},
		{"", "", "SUCCESS,DELAY,success", "NOTIFY"},
		{"", "", "SUCCESS,", "NOTIFY"},
		{"", "", ",", "NOTIFY"},
		{"", "", "SUCCESS, FAILURE", "NOTIFY"},
		{"", "", "SUCCESS ORCPT=rfc822;x", "NOTIFY"},
		{"", "", "ALWAYS", "NOTIFY"},
		{"", "", "SUCCESS\r\n", "NOTIFY"},
	} {
		err := cmp.Or(CheckDSN(tt.ret, tt.envid), CheckNotify(tt.notify))
		if (err != nil) != (tt.want != "") || err != nil && !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%q, %q, %q: %v, want %q at its beginning", tt.ret, tt.envid, tt.notify, err, tt.want)
		}
		if err != nil && text.Printable(err.Error()) != err.Error() {
			t.Errorf("not fit for a terminal: %q", err)
		}
	}
}

func TestCheckHelloName(t *testing.T) {
	for name, good := range map[string]bool{
		"":                         true, // the engine's default stands for it
		"mx.example.com":           true,
		"[192.0.2.1]":              true,
		"[IPv6:2001:db8::1]":       true,
		"my_host":                  true,
		"mx.example.com\r\nMAIL":   false,
		"mx.example.com\n":         false,
		"mx example.com":           false,
		"mx\texample.com":          false,
		"mx\x00":                   false,
		"mx\x7f":                   false,
		"exämple.com":              false, // RFC 6531 §3.7.1: A-labels before EHLO
		"mx\xff":                   false,
		"mx.example.com SMTPUTF8 ": false,
	} {
		if err := CheckHelloName(name); (err == nil) != good {
			t.Errorf("CheckHelloName(%q) = %v", name, err)
		}
	}
}

// The types of RFC 3461 §4.2 and RFC 6533 §3.
func TestORCPT(t *testing.T) {
	for _, tt := range []struct {
		orcpt, ascii, utf8 string // as sent without SMTPUTF8 and with it; the same if ""
	}{
		{"rfc822;Bob@Example.COM", "rfc822;Bob@Example.COM", ""},
		{"rfc822;a+b=c @d", "rfc822;a+2Bb+3Dc+20@d", ""},
		{"x400;/S=x/;y", "x400;/S+3Dx/;y", ""},
		{"UTF-8;a@b", "UTF-8;a@b", ""},
		{`utf-8;é+\=@例.jp`, `utf-8;\x{E9}\x{2B}\x{5C}\x{3D}@\x{4F8B}.jp`, `utf-8;é\x{2B}\x{5C}\x{3D}@例.jp`},
		{"utf-8;\U0001F600@b", `utf-8;\x{1F600}@b`, "utf-8;\U0001F600@b"},
		{"rfc822;" + strings.Repeat("x", 500-len("ORCPT=rfc822;")), "rfc822;" + strings.Repeat("x", 487), ""},
	} {
		if err := CheckORCPT(tt.orcpt); err != nil {
			t.Errorf("%q: %v", tt.orcpt, err)
		}
		for utf8, want := range map[bool]string{false: tt.ascii, true: cmp.Or(tt.utf8, tt.ascii)} {
			p := RcptParams{ORCPT: tt.orcpt, Original: "not@this", UTF8: utf8}
			if got := string(AppendRcpt(nil, "a@b", p)); got != "RCPT TO:<a@b> ORCPT="+want+"\r\n" {
				t.Errorf("%q: got %q, want %q", tt.orcpt, got, want)
			}
		}
	}
	for _, bad := range []string{
		"anne@example.com", ";anne@example.com", "rfc822;", "rfc 822;a", "rf=c822;a", "rfc822\r\n;a", "é;a",
		"rfc822;a\r\nDATA", "rfc822;é", "rfc822;\x00", "rfc822;\xff", "utf-8;\xff", "utf-8;a\r\nDATA", "utf-8;a\u2028b",
		"rfc822;" + strings.Repeat("x", 488), "rfc822;" + strings.Repeat("+", 163), "utf-8;" + strings.Repeat("é", 83),
	} {
		err := CheckORCPT(bad)
		if err == nil {
			t.Errorf("%q is let through", bad)
		} else if text.Printable(err.Error()) != err.Error() {
			t.Errorf("not fit for a terminal: %q", err)
		}
	}
}

// RFC 4865, RFC 2852 and RFC 6710; none is longer than what the extension adds to a line.
func TestTimesAndPriority(t *testing.T) {
	latest := time.Date(9999, 12, 31, 23, 59, 59, 999, time.FixedZone("", 3600))
	for _, tt := range []struct {
		p    MailParams
		want string
		room int
	}{
		{MailParams{HoldFor: MaxSeconds}, " HOLDFOR=999999999", 34},
		{MailParams{HoldUntil: latest}, " HOLDUNTIL=9999-12-31T22:59:59Z", 34},
		{MailParams{By: By{Mode: ByReturn, Seconds: 120}}, " BY=120;R", 17},
		{MailParams{By: By{Mode: ByNotify, Seconds: -MaxSeconds, Trace: true}}, " BY=-999999999;NT", 17},
		{MailParams{By: By{Mode: ByNotify}}, " BY=0;N", 17},
		{MailParams{Priority: -MaxPriority}, " MT-PRIORITY=-9", 15},
		{MailParams{Priority: MaxPriority}, " MT-PRIORITY=9", 15},
	} {
		if got := string(AppendMail(nil, "", tt.p)); got != "MAIL FROM:<>"+tt.want+"\r\n" || len(tt.want) > tt.room {
			t.Errorf("got %q, want %q of at most %d octets", got, tt.want, tt.room)
		}
	}
}
