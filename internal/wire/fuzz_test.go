package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/text"
)

// pieces cuts data after as many octets as each of cuts says.
func pieces(data, cuts []byte) [][]byte {
	var all [][]byte
	for _, n := range cuts {
		k := min(int(n), len(data))
		all, data = append(all, data[:k]), data[k:]
	}
	return append(all, data)
}

// flaky returns a piece and then a deadline that passes, in turn.
type flaky struct {
	pieces [][]byte
	late   bool
	calls  int
}

func (f *flaky) Read(b []byte) (int, error) {
	f.calls++
	if f.late = !f.late; !f.late {
		return 0, os.ErrDeadlineExceeded
	}
	for len(f.pieces) > 0 && len(f.pieces[0]) == 0 {
		f.pieces = f.pieces[1:]
	}
	if len(f.pieces) == 0 {
		f.late = false
		return 0, io.EOF
	}
	n := copy(b, f.pieces[0])
	f.pieces[0] = f.pieces[0][n:]
	return n, nil
}

// readAll reads replies to the end or to what is none.
func readAll(r io.Reader) (replies []Reply, err error) {
	for in := NewReplyReader(r); ; {
		reply, err := in.Read()
		if err != nil {
			return replies, err
		}
		replies = append(replies, reply)
	}
}

// FuzzReply: what a server says cannot make the reader panic, hold more than its
// bound, or depend on how TCP cut it; and what it takes for a reply is one.
func FuzzReply(f *testing.F) {
	f.Add([]byte("220 mx.example.com ESMTP\r\n250-mx\r\n250-SIZE 5\r\n250-LIMITS MAILMAX=5\r\n"+
		"250 AUTH=LOGIN PLAIN\r\n"), []byte{1, 0, 9, 200})
	f.Add([]byte("550-5.1.1 no\n550 5.1.1 such user\n354\r\n"), []byte{3, 1, 1, 1, 1})
	f.Add([]byte("250-a\r\n251 b\r\n"), []byte{8})
	f.Add([]byte("SSH-2.0-OpenSSH\r\n"), []byte{})
	f.Add([]byte("250 \xff\x1b[31m\xe2\x80\xae\r\r\n421"), []byte{255})
	f.Add([]byte("250-"+strings.Repeat("x", MaxReplyLine)), []byte{255, 255})
	f.Fuzz(func(t *testing.T, data, cuts []byte) {
		replies, end := readAll(bytes.NewReader(data))
		for _, r := range replies {
			checkReply(t, r)
		}
		if errors.Is(end, ErrSyntax) {
			if s := end.Error(); len(s) > 500 || text.Printable(s) != s {
				t.Errorf("not fit for a terminal: %q", s)
			}
		} else if end != io.EOF && end != io.ErrUnexpectedEOF {
			t.Errorf("the end is %v", end)
		}
		readCut(t, &flaky{pieces: pieces(data, cuts)}, replies, end)
	})
}

// readCut wants the same replies and the same end when deadlines pass in between.
func readCut(t *testing.T, f *flaky, replies []Reply, end error) {
	in := NewReplyReader(f)
	for {
		calls, there, ready := f.calls, in.Buffered(), in.Ready()
		got, err := in.Read()
		if in.Buffered() > MaxReply {
			t.Fatalf("%d octets are held", in.Buffered())
		}
		if ready && f.calls != calls {
			t.Fatal("Read waits although it was ready")
		}
		switch {
		case err == os.ErrDeadlineExceeded:
			if in.Buffered() < there {
				t.Fatal("a deadline consumed octets")
			}
		case err != nil:
			if err.Error() != end.Error() || len(replies) > 0 {
				t.Fatalf("ends with %v and %d replies to come, at once it was %v", err, len(replies), end)
			}
			return
		case len(replies) == 0 || got != replies[0]:
			t.Fatalf("%d %q, which it was not at once", got.Code, got.Text)
		default:
			replies = replies[1:]
		}
	}
}

// checkReply wants a reply to be within its bounds, to survive being said again,
// and to be digestible for whoever reads on in it.
func checkReply(t *testing.T, r Reply) {
	lines := strings.Split(r.Text, "\n")
	if r.Code < 200 || r.Code > 599 || len(r.Text) > MaxReply {
		t.Fatalf("code %d, %d octets", r.Code, len(r.Text))
	}
	var said string
	for i, line := range lines {
		if len(line) > MaxReplyLine {
			t.Fatalf("a line of %d octets", len(line))
		}
		mark := "-"
		if i == len(lines)-1 {
			mark = " "
		}
		// With a bare LF and no space it is never longer than it was.
		said += strings.TrimSuffix(strconv.Itoa(r.Code)+mark+line, " ") + "\n"
	}
	if again, err := readAll(strings.NewReader(said)); err != io.EOF || !reflect.DeepEqual(again, []Reply{r}) {
		t.Fatalf("%q is read as %d replies, %v", said, len(again), err)
	}
	if e := r.Enhanced(); e != [3]int{} && !strings.HasPrefix(r.Text, fmt.Sprintf("%d.%d.%d", r.Code/100, e[1], e[2])) {
		t.Fatalf("%d %q has the code %v", r.Code, r.Text, e)
	}
	if p := text.Printable(r.Text); text.Printable(p) != p {
		t.Fatalf("%q is not printable", p)
	}
	c := ParseCapabilities(r.Text)
	for _, n := range []int{c.MailMax, c.RcptMax, c.RcptDomainMax} {
		if n < 0 || n > 999999 {
			t.Fatalf("a limit of %d", n)
		}
	}
	if strings.ContainsAny(strings.Join(c.Auth, ""), " \t\r\n") || c.Size < 0 {
		t.Fatalf("%q, a size of %d", c.Auth, c.Size)
	}
}

// command is a MAIL or RCPT command as a server sees it.
type command struct {
	path   string
	params map[string]string
}

// parseCommand is a server's reading, by the grammar of RFC 5321 §4.1.2 and with nothing of ours in it: it finds the
// end of the path by walking over the local part and the domain, and refuses what is not one line.
func parseCommand(line, verb string) (c command, err error) {
	rest, ok := strings.CutPrefix(line, verb+":<")
	if !ok {
		return c, errors.New("another verb")
	}
	if rest, ok = strings.CutSuffix(rest, "\r\n"); !ok || strings.ContainsAny(rest, "\r\n\x00") {
		return c, errors.New("not one line")
	}
	end, err := pathLength(rest)
	if err != nil {
		return c, err
	}
	c.path, rest = rest[:end], rest[end+1:]
	c.params = map[string]string{}
	for rest != "" {
		if rest[0] != ' ' {
			return c, fmt.Errorf("%q where a space belongs", rest)
		}
		var param string
		param, _, _ = strings.Cut(rest[1:], " ")
		rest = rest[1+len(param):]
		keyword, value, valued := strings.Cut(param, "=")
		if _, twice := c.params[keyword]; twice || !keywordSyntax.MatchString(keyword) ||
			valued && !valueSyntax.MatchString(value) {
			return c, fmt.Errorf("bad parameter %q", param)
		}
		c.params[keyword] = value
	}
	return c, nil
}

var (
	keywordSyntax = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]*$`)
	valueSyntax   = regexp.MustCompile(`^[^\x00-\x20=\x7f]+$`) // RFC 6531 §3.3 lets UTF-8 in
)

// pathLength finds the ">" that closes a path: the first behind the quoted string
// that the path may begin with. An address literal hides none: there are servers
// that do not look for literals.
func pathLength(s string) (int, error) {
	i := 0
	if strings.HasPrefix(s, `"`) {
		for i++; i < len(s) && s[i] != '"'; i++ {
			if s[i] == '\\' {
				i++
			}
		}
		i++
	}
	for ; i < len(s); i++ {
		switch s[i] {
		case ' ', '<':
			return 0, fmt.Errorf("%q in the path", s[i])
		case '>':
			return i, nil
		}
	}
	return 0, errors.New("no end of the path")
}

// RFC 3461 §4.2 and §4.4, RFC 6533 §3.
var (
	envidSyntax = regexp.MustCompile(`^([!-*,-<>-~]|\+20|\+2B|\+3D)+$`) // of printable characters
	orcptSyntax = regexp.MustCompile(`^(rfc822;([!-*,-<>-~]|\+[0-9A-F]{2})+` +
		`|utf-8;([^\x00-\x20+=\\\x7f]|\\x\{(20|2B|3D|5C)\})+)$`)
)

var hexchar = regexp.MustCompile(`\+[0-9A-F]{2}`)

// decodeORCPT undoes RFC 3461 §4 and RFC 6533 §3.
func decodeORCPT(s string) string {
	if s, ok := strings.CutPrefix(s, "utf-8;"); ok {
		return strings.NewReplacer(`\x{20}`, " ", `\x{2B}`, "+", `\x{3D}`, "=", `\x{5C}`, `\`).Replace(s)
	}
	return decodeXtext(strings.TrimPrefix(s, "rfc822;"))
}

func decodeXtext(s string) string {
	return hexchar.ReplaceAllStringFunc(s, func(h string) string {
		c, _ := strconv.ParseUint(h[1:], 16, 8)
		return string([]byte{byte(c)})
	})
}

// FuzzAddress: an address that CheckAddress lets through, and DSN values that
// CheckDSN and CheckNotify let through, are read back by the server as exactly these; nobody
// ends a command or adds a parameter by way of them.
func FuzzAddress(f *testing.F) {
	for _, good := range goodAddresses {
		a := join(good[0], good[1])
		f.Add(a, int64(0), !ASCII(a), "", "", "")
	}
	f.Add("a@b> ORCPT=rfc822;c@d", int64(1), true, "FULL", "1+1=2", "SUCCESS")
	f.Add("a@[192.0.2.1>]", int64(0), false, "", "", "")
	f.Add("a@b\r\nDATA", int64(5), false, "hdrs", "a b", "never")
	f.Add("Anne <anne@example.com>", int64(-5), true, "", "", "delay,failure")
	f.Fuzz(func(t *testing.T, a string, size int64, utf8 bool, ret, envid, notify string) {
		if CheckDSN(ret, envid) != nil {
			ret, envid = "", ""
		}
		if CheckNotify(notify) != nil {
			notify = ""
		}
		mail := MailParams{Size: size, EightBit: size&1 == 1, UTF8: utf8, Return: ret, EnvelopeID: envid}
		if CheckAddress(a) != nil {
			a = ""
		}
		checkMail(t, a, mail)
		if a == "" {
			return // no recipient
		}
		checkRcpt(t, a, RcptParams{Notify: notify, Original: a, UTF8: utf8})
		local, domain := SplitAddress(a)
		if got := join(local, domain); got != a || local == "" ||
			strings.ContainsAny(domain, "<> \"") && domain[0] != '[' {
			t.Errorf("SplitAddress(%q) = %q, %q", a, local, domain)
		}
	})
}

func checkMail(t *testing.T, from string, p MailParams) {
	line := string(AppendMail(nil, from, p))
	c, err := parseCommand(line, "MAIL FROM")
	if err != nil || c.path != from {
		t.Fatalf("%q is read as %q, %v", line, c.path, err)
	}
	want := map[string]string{}
	if p.Size > 0 {
		want["SIZE"] = fmt.Sprint(p.Size)
	}
	if p.EightBit {
		want["BODY"] = "8BITMIME"
	}
	if p.UTF8 {
		want["SMTPUTF8"] = ""
	}
	if p.Return != "" {
		want["RET"] = strings.ToUpper(p.Return)
	}
	if envid := c.params["ENVID"]; envidSyntax.MatchString(envid) && len("ENVID="+envid) <= 100 {
		c.params["ENVID"] = decodeXtext(envid)
	}
	if p.EnvelopeID != "" {
		want["ENVID"] = p.EnvelopeID
	}
	if !reflect.DeepEqual(c.params, want) {
		t.Fatalf("%q has the parameters %q, want %q", line, c.params, want)
	}
}

func checkRcpt(t *testing.T, to string, p RcptParams) {
	line := string(AppendRcpt(nil, to, p))
	c, err := parseCommand(line, "RCPT TO")
	if err != nil || c.path != to {
		t.Fatalf("%q is read as %q, %v", line, c.path, err)
	}
	want := map[string]string{}
	if p.Notify != "" {
		want["NOTIFY"] = strings.ToUpper(p.Notify)
	}
	if orcpt := c.params["ORCPT"]; orcptSyntax.MatchString(orcpt) && len("ORCPT="+orcpt) <= 500 {
		c.params["ORCPT"] = decodeORCPT(orcpt)
		want["ORCPT"] = p.Original
	} else if p.Original != "" && (p.UTF8 || ASCII(p.Original)) && len(p.Original) < 100 {
		t.Fatalf("%q lacks the ORCPT", line)
	}
	if !reflect.DeepEqual(c.params, want) {
		t.Fatalf("%q has the parameters %q, want %q", line, c.params, want)
	}
}

var lineEnd = regexp.MustCompile(`\r\n|\r|\n`)

// repaired is another way to a canonical content: slower, and by definition.
func repaired(raw []byte) []byte {
	c := lineEnd.ReplaceAllLiteral(raw, []byte("\r\n"))
	if len(c) > 0 && !bytes.HasSuffix(c, []byte("\r\n")) {
		c = append(c, "\r\n"...)
	}
	return c
}

// FuzzContent: whatever the content, and wherever the engine cuts it, the server
// reads the repaired content, octet by octet, and then the next command.
func FuzzContent(f *testing.F) {
	for _, c := range contents {
		f.Add([]byte(c.raw), []byte{1, 2, 0, 1}, []byte{2, 1})
	}
	f.Fuzz(func(t *testing.T, raw, cuts, cutsAgain []byte) {
		want := repaired(raw)
		var canonical []byte
		var r Repairer
		for _, p := range pieces(raw, cuts) {
			if r.Idle() && Canonical(p) {
				canonical = append(canonical, p...) // as the engine does
			} else {
				canonical = r.Append(canonical, p)
			}
		}
		if canonical = r.Finish(canonical); !bytes.Equal(canonical, want) {
			t.Fatalf("%q repaired is %q, want %q", raw, canonical, want)
		}
		if !Canonical(canonical) || Canonical(raw) != bytes.Equal(raw, want) {
			t.Fatalf("Canonical says %t of %q and %t of %q", Canonical(raw), raw, Canonical(canonical), canonical)
		}
		if _, dots := Survey(canonical); dots != bytes.Contains(append([]byte{'\n'}, want...), []byte("\n.")) {
			t.Fatalf("Survey says %t to dots in %q", dots, want)
		}
		header, _, _ := strings.Cut("\r\n"+string(want), "\r\n\r\n")
		if HeaderASCII(want) != !strings.ContainsFunc(header, func(c rune) bool { return c > 0x7f }) {
			t.Fatalf("HeaderASCII says %t of %q", HeaderASCII(want), want)
		}

		var wire []byte
		var s Stuffer
		for _, p := range pieces(canonical, cutsAgain) {
			wire = s.Append(wire, p)
		}
		got, rest := dotReader(t, string(wire)+Terminator+"MAIL FROM:<>\r\n")
		if got != string(want) || rest != "MAIL FROM:<>\r\n" {
			t.Fatalf("%q is read as %q and then %q", wire, got, rest)
		}
	})
}
