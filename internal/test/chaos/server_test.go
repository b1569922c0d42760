package chaos

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// taking is a message that a server took responsibility for.
type taking struct {
	server  string
	wire    string // the client's end
	seq     int64
	from    string
	to      []string
	content []byte
	misled  bool // the server had said what no client can see through
}

// mta is one server: the connections and what it makes of them.
type mta struct {
	w        *world
	name     string
	rnd      *rand.Rand // for plans
	discards bool       // the octets of a refused BDAT
	tls      int
	plans    func(n int) plan
	onMail   func(from string)
	script   func(s *session, verb, line string) (fault, bool)
	refuses  func(to string) string // recipients that are refused, always

	earlyChunk func(wire, n int) string // what is said to the nth BDAT before its octets are read

	mu       sync.Mutex
	n        int
	sessions map[string]*session
	conns    sync.WaitGroup
}

// TLS of a server.
const (
	noTLS = iota
	implicitTLS
	startTLS
)

func (m *mta) serve(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		m.mu.Lock()
		m.n++
		s := &session{
			m: m, n: m.n, c: asSocket(c), p: m.plans(m.n), rnd: rand.New(rand.NewPCG(m.rnd.Uint64(), uint64(m.n))),
		}
		m.sessions[c.RemoteAddr().String()] = s
		m.mu.Unlock()
		m.conns.Go(s.serve)
	}
}

// session is one connection.
type session struct {
	m   *mta
	n   int
	c   socket
	p   plan
	rnd *rand.Rand
	rw  io.ReadWriter
	r   *bufio.Reader
	t   *tap // with TLS: what was said within it

	from    *string
	to      []string
	chunks  []byte
	domains map[string]bool
	mails   int
	bdats   int
	read    int
	said    int

	mute      bool // does all, says nothing
	refuseAll bool // said 421
	exim      bool // is at its limit
	pause     time.Duration
	abort     bool
	crooked   bool // what it said is not what it did
	misled    bool
	over      bool
}

var errCut = errors.New("cut")

// cut is the connection as the plan has it: slow, and ending anywhere.
type cut struct{ s *session }

func (c cut) Read(p []byte) (int, error) {
	s := c.s
	if s.p.slow > 0 {
		time.Sleep(5 * time.Millisecond)
		p = p[:min(len(p), s.p.slow)]
	}
	if s.p.readCut > 0 {
		if s.read >= s.p.readCut {
			s.m.w.count("cut of what the client says")
			return 0, errCut
		}
		p = p[:min(len(p), s.p.readCut-s.read)]
	}
	n, err := s.c.Read(p)
	s.read += n
	return n, err
}

func (c cut) Write(p []byte) (int, error) {
	s := c.s
	if s.p.sayCut > 0 && s.said+len(p) > s.p.sayCut {
		s.c.Write(p[:max(0, s.p.sayCut-s.said)])
		s.said = s.p.sayCut
		s.m.w.count("cut of what the server says")
		return 0, errCut
	}
	s.said += len(p)
	return s.c.Write(p)
}

func (s *session) serve() {
	defer s.end()
	s.rw = cut{s}
	if s.m.tls != noTLS {
		s.t = &tap{socket: s.c, clock: &s.m.w.clock, server: s.m.name, tls: true, opened: time.Now()}
		s.m.w.addTap(s.t)
	}
	if s.m.tls == implicitTLS && !s.handshake() {
		return
	}
	s.r = bufio.NewReader(tapped{s})
	s.act("", "", func() string { return "220 " + s.m.name + " ready" })
	for !s.over {
		if s.mute {
			s.c.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
		}
		line, err := s.line()
		if err != nil {
			return
		}
		s.command(line)
	}
}

// tapped reads from the connection as it is then: in the clear, or within TLS.
type tapped struct{ s *session }

func (t tapped) Read(p []byte) (int, error) {
	n, err := t.s.rw.Read(p)
	if t.s.t != nil && n > 0 {
		t.s.t.record(true, p[:n])
	}
	return n, err
}

func (s *session) handshake() bool {
	c := tls.Server(plainConn{s.c, s.rw}, serverTLS())
	if c.Handshake() != nil {
		return false
	}
	s.rw = c
	return true
}

// plainConn is the cut connection under TLS.
type plainConn struct {
	net.Conn
	rw io.ReadWriter
}

func (p plainConn) Read(b []byte) (int, error)  { return p.rw.Read(b) }
func (p plainConn) Write(b []byte) (int, error) { return p.rw.Write(b) }

func (s *session) end() {
	if s.abort {
		s.c.Abort()
		return
	}
	s.c.Close()
}

// line reads up to a line feed, as lenient servers do.
func (s *session) line() (string, error) {
	l, err := s.r.ReadString('\n')
	return strings.TrimRight(l, "\r\n"), err
}

func (s *session) put(text string) {
	if s.over {
		return
	}
	if s.t != nil {
		s.t.record(false, []byte(text))
	}
	b := []byte(text)
	for len(b) > 0 {
		n := len(b)
		if s.p.split {
			n = 1 + s.rnd.IntN(n)
		}
		if _, err := s.rw.Write(b[:n]); err != nil {
			if errors.Is(err, errCut) {
				s.over, s.abort = true, s.rnd.IntN(2) == 0
			}
			return // the client's close is seen when reading
		}
		if b = b[n:]; len(b) > 0 {
			time.Sleep(time.Duration(s.rnd.IntN(3)) * time.Millisecond)
		}
	}
}

// reply makes the lines of a reply: sometimes several.
func (s *session) reply(text string) string {
	if strings.Contains(text, "\r\n") {
		return text
	}
	code, rest := text[:3], text[4:]
	if s.p.split && s.rnd.IntN(4) == 0 {
		return code + "-" + rest + "\r\n" + code + "-\r\n" + code + " " + rest + "\r\n"
	}
	return text + "\r\n"
}

func (s *session) say(text string) {
	if s.mute || s.over {
		return
	}
	time.Sleep(s.pause)
	if s.p.latency > 0 {
		time.Sleep(time.Duration(s.rnd.Int64N(int64(s.p.latency))))
	}
	if strings.Contains(text, "\r\n") {
		s.put(text)
		return
	}
	s.put(s.reply(text))
}

// draw says what goes wrong at this command.
func (s *session) draw(verb, line string) fault {
	if s.m.script != nil {
		if f, ok := s.m.script(s, verb, line); ok {
			return f
		}
	}
	if s.p.mood == nil || s.mute || s.p.verbs != nil && !s.p.verbs[verb] || s.rnd.Float64() > s.p.rate {
		return fault{}
	}
	return drawFault(s.rnd, verb, s.p.mood)
}

// act does what a command asks for and answers it, with the faults. do gives the answer.
func (s *session) act(verb, line string, do func() string) {
	f := s.draw(verb, line)
	if f.kind == amid && verb != "DATA" || f.kind == lie && verb != "." && verb != "RCPT" && verb != "BDAT" {
		f.kind = none
	}
	if f.kind != none {
		s.m.w.count(f.kind.String())
	}
	s.perform(f, verb, do)
}

func (s *session) perform(f fault, verb string, do func() string) {
	switch f.kind {
	case none:
		s.say(do())
	case amid:
		answer := do()
		s.say(answer)
		if strings.HasPrefix(answer, "354") {
			s.early(f)
		}
	case refuse:
		s.say(f.code)
	case nonsense:
		s.crooked = true
		s.misled = s.misled || verb != "DATA" && strings.HasPrefix(f.code, "354")
		if f.done {
			do()
		}
		s.say(f.code)
	case lie:
		s.crooked = true
		s.deceive(f, do)
	case swallow:
		s.crooked = true
		do()
	case ignore:
		s.crooked = true
	case double:
		s.crooked = true
		answer := s.reply(do())
		second := answer
		if f.code != "" {
			second = s.reply(f.code)
		}
		s.say(answer + second) // in one piece
	case junk:
		s.crooked = true
		do()
		s.say(rubbish[s.rnd.IntN(len(rubbish))])
	case late:
		time.Sleep(f.pause)
		s.say(do())
	default:
		s.endBy(f, do)
	}
}

// endBy is a fault that ends the wire, or may.
func (s *session) endBy(f fault, do func() string) {
	switch f.kind {
	case partial:
		answer := s.reply(do())
		if !s.mute {
			s.put(answer[:min(f.at, len(answer)-1)])
		}
		s.over, s.abort = true, f.abort
	case dieFirst:
		s.over, s.abort = true, f.abort
	case dieDone:
		do()
		s.over, s.abort = true, f.abort
	case hush:
		s.mute, s.abort = true, f.abort
		do()
	case bye:
		s.say(f.code)
		s.pause = f.pause
		s.depart(f)
	}
}

func (s *session) depart(f fault) {
	s.abort = f.abort
	switch f.after {
	case refuseAll:
		s.refuseAll = true
	case takeAndDie:
		s.mute = true
	case closeFirst:
		s.mute = true
		s.c.CloseWrite()
	case hangUp:
		s.over, s.abort = true, false
	case reset:
		s.over, s.abort = true, true
	}
}

// deceive says the opposite of what is done.
func (s *session) deceive(f fault, do func() string) {
	if f.done {
		do()
		s.say([]string{"451 4.3.0 no", "550 5.7.1 no", "421 4.3.2 no"}[s.rnd.IntN(3)])
		return
	}
	s.say("250 2.0.0 yes")
}

// early answers a content before its end.
func (s *session) early(f fault) {
	var tail []byte
	read := func() bool { // an octet; false: that was the last
		b, err := s.r.ReadByte()
		s.over = s.over || err != nil
		tail = append(tail[max(0, len(tail)-4):], b)
		return err == nil && string(tail) != ".\r\n" && string(tail) != "\r\n.\r\n"
	}
	more := true
	for n := 0; n < f.at && more; n++ {
		more = read()
	}
	if s.over {
		return
	}
	s.say(f.code)
	s.crooked = s.crooked || strings.HasPrefix(f.code, "2")
	time.Sleep(f.pause)
	for more {
		more = read()
	}
	s.forget()
}

func (s *session) command(line string) {
	verb, rest, _ := strings.Cut(line, " ")
	verb = strings.ToUpper(verb)
	if s.refuseAll || s.exim {
		s.refuseEverything(verb, rest)
		return
	}
	switch verb {
	case "EHLO":
		s.act(verb, line, func() string { s.forget(); return s.ehlo() })
	case "HELO":
		s.act(verb, line, func() string { s.forget(); return "250 " + s.m.name })
	case "STARTTLS":
		s.starttls(line)
	case "MAIL":
		s.mail(line)
	case "RCPT":
		s.act(verb, line, func() string { return s.rcpt(line) })
	case "DATA":
		s.data(line)
	case "BDAT":
		s.bdat(line, rest)
	case "RSET":
		s.act(verb, line, func() string { s.forget(); return "250 2.0.0 forgotten" })
	case "QUIT":
		s.act(verb, line, func() string { return "221 2.0.0 bye" })
		s.over = true
	case "AUTH":
		s.act(verb, line, func() string { return "235 2.7.0 in" })
	case "NOOP":
		s.act(verb, line, func() string { return "250 2.0.0 ok" })
	default:
		s.act(verb, line, func() string { return "502 5.5.2 what" })
	}
}

// refuseEverything is a server that said 421 and waits for the client to go.
func (s *session) refuseEverything(verb, rest string) {
	switch verb {
	case "BDAT":
		n, _ := strconv.Atoi(strings.Fields(rest + " 0")[0])
		io.CopyN(io.Discard, s.r, int64(n))
		s.say("503 5.5.1 no")
	case "MAIL":
		s.say("421 4.7.0 closing")
	case "RSET":
		s.say("250 2.0.0 forgotten")
	case "QUIT":
		s.say("221 2.0.0 bye")
		s.over = true
	default:
		s.say("503 5.5.1 no")
	}
}

func (s *session) forget() { s.from, s.to, s.chunks = nil, nil, nil }

func (s *session) ehlo() string {
	lines := []string{s.m.name}
	add := func(on bool, word string) {
		if on {
			lines = append(lines, word)
		}
	}
	_, secure := s.rw.(*tls.Conn)
	add(s.m.tls == startTLS && !secure, "STARTTLS")
	add(s.p.pipelining, "PIPELINING")
	add(s.p.chunking, "CHUNKING")
	add(s.p.enhanced, "ENHANCEDSTATUSCODES")
	add(s.p.eightBit, "8BITMIME")
	add(s.p.auth, "AUTH PLAIN")
	add(s.p.size > 0, fmt.Sprint("SIZE ", s.p.size))
	limits := ""
	for _, l := range []struct {
		name string
		n    int
	}{{"MAILMAX", s.p.mailMax}, {"RCPTMAX", s.p.rcptMax}, {"RCPTDOMAINMAX", s.p.domainMax}} {
		if l.n > 0 {
			limits += fmt.Sprintf(" %s=%d", l.name, l.n)
		}
	}
	add(s.p.announce && limits != "", "LIMITS"+limits)
	var b strings.Builder
	for i, l := range lines {
		sep := "-"
		if i == len(lines)-1 {
			sep = " "
		}
		b.WriteString("250" + sep + l + "\r\n")
	}
	return b.String()
}

func (s *session) starttls(line string) {
	s.act("STARTTLS", line, func() string {
		if s.m.tls != startTLS {
			return "502 5.5.1 no"
		}
		return "220 2.0.0 go"
	})
	if s.over || s.m.tls != startTLS {
		return
	}
	if s.r.Buffered() > 0 || !s.handshake() {
		s.over = true
		return
	}
}

func (s *session) mail(line string) {
	if s.p.cap > 0 && s.mails >= s.p.cap {
		s.m.w.count("limit of MAIL")
		s.atLimit()
		return
	}
	s.mails++
	s.act("MAIL", line, func() string {
		if s.from != nil {
			return "503 5.5.1 nested"
		}
		if i := strings.Index(line, " SIZE="); i >= 0 && s.p.size > 0 {
			n := 0
			fmt.Sscanf(line[i:], " SIZE=%d", &n)
			if n > s.p.size {
				return "552 5.3.4 too large"
			}
		}
		from := address(line)
		s.from = &from
		if s.m.onMail != nil {
			s.m.onMail(from)
		}
		return "250 2.1.0 sender"
	})
}

func (s *session) atLimit() {
	switch s.p.capStyle {
	case capExim:
		s.exim = true
		s.pause = s.p.capPause
		s.say("421 4.7.0 too many messages")
	case capOpenSMTPD:
		s.say("452 4.5.3 too many messages")
	default:
		s.say("421 4.7.0 too many messages")
		s.over = true
	}
}

func (s *session) rcpt(line string) string {
	to := address(line)
	_, domain, _ := strings.Cut(to, "@")
	switch {
	case s.from == nil:
		return "503 5.5.1 MAIL first"
	case s.m.refuses != nil && s.m.refuses(to) != "":
		return s.m.refuses(to)
	case s.p.rcptMax > 0 && len(s.to) >= s.p.rcptMax:
		return "452 4.5.3 too many recipients"
	case s.p.domainMax > 0 && !s.domains[domain] && len(s.domains) >= s.p.domainMax:
		return "452 4.5.3 too many domains"
	}
	if s.domains == nil {
		s.domains = map[string]bool{}
	}
	s.domains[domain] = true
	s.to = append(s.to, to)
	return "250 2.1.5 recipient"
}

func (s *session) data(line string) {
	going := false
	s.act("DATA", line, func() string {
		if len(s.to) == 0 || s.chunks != nil {
			return "503 5.5.1 RCPT first"
		}
		going = true
		return "354 go ahead"
	})
	if !going || s.over || s.from == nil {
		return
	}
	content, err := s.dotted()
	if err != nil {
		s.over = true
		return
	}
	s.act(".", "", func() string { return s.take(content) })
	s.forget() // RFC 5321 §4.1.1.4: whatever the answer
}

func (s *session) dotted() ([]byte, error) {
	var b []byte
	for {
		l, err := s.r.ReadSlice('\n')
		b = append(b, l...)
		if err != nil && err != bufio.ErrBufferFull {
			return nil, err
		}
		if string(b) == ".\r\n" || bytes.HasSuffix(b, []byte("\r\n.\r\n")) {
			return unstuff(b[:len(b)-3]), nil
		}
	}
}

func (s *session) bdat(line, rest string) {
	f := strings.Fields(rest)
	n := 0
	if len(f) > 0 {
		n, _ = strconv.Atoi(f[0])
	}
	if len(s.to) == 0 && !s.m.discards {
		s.act("BDAT", line, func() string { return "503 5.5.1 RCPT first" })
		return
	}
	s.bdats++
	if s.m.earlyChunk != nil {
		if text := s.m.earlyChunk(s.n, s.bdats); text != "" {
			s.crooked = true
			s.say(text)
			time.Sleep(time.Second)
			io.CopyN(io.Discard, s.r, int64(n))
			s.to = nil
			return
		}
	}
	chunk := make([]byte, n)
	if _, err := io.ReadFull(s.r, chunk); err != nil {
		s.over = true
		return
	}
	last := len(f) > 1
	done := false
	s.act("BDAT", line, func() string {
		if len(s.to) == 0 {
			return "503 5.5.1 RCPT first"
		}
		done = true
		s.chunks = append(s.chunks, chunk...)
		if last {
			return s.take(s.chunks)
		}
		return "250 2.0.0 chunk"
	})
	if last && (done || !s.p.keeps) {
		s.forget()
	} else if !done && len(s.to) > 0 {
		s.to = nil // a chunk is missing: nothing of this can be taken
	}
}

// take takes responsibility.
func (s *session) take(content []byte) string {
	if s.p.size > 0 && len(content) > s.p.size {
		return "552 5.3.4 too large"
	}
	s.m.w.take(taking{server: s.m.name, wire: s.c.RemoteAddr().String(), from: *s.from, to: append([]string(nil),
		s.to...),
		content: bytes.Clone(content), misled: s.misled || s.crooked && !s.m.discards})
	return "250 2.0.0 taken"
}
