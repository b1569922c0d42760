package postrider_test

import (
	"bufio"
	"context"
	"net"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/smtptest"
)

// peer is a server that says exactly what a test wants, for what smtptest is too
// well-behaved for. It belongs into a bubble.
type peer struct {
	t    *testing.T
	conn *postrider.Connection
	ln   net.Listener
	nc   net.Conn
	in   *bufio.Reader
	done chan struct{}
}

// playServer runs script as the server of a connection; the script begins when
// the first wire was accepted.
func playServer(t *testing.T, script func(*peer), change ...func(*postrider.Config)) *peer {
	t.Helper()
	ln := smtptest.InMemory("localhost:25")
	p := &peer{t: t, ln: ln, done: make(chan struct{})}
	cfg := postrider.Config{
		Address: "localhost:25", LocalName: "client.example.com",
		Dial: ln.(interface {
			Dial(context.Context, string, string) (net.Conn, error)
		}).Dial,
	}
	for _, f := range change {
		f(&cfg)
	}
	var err error
	if p.conn, err = postrider.NewConnection(cfg); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		if p.accept() {
			script(p)
		}
		if p.nc != nil {
			p.nc.Close()
		}
	}()
	t.Cleanup(func() {
		p.conn.Close()
		ln.Close()
		<-p.done
	})
	return p
}

// accept waits for the next wire.
func (p *peer) accept() bool {
	if p.nc != nil {
		p.nc.Close()
	}
	nc, err := p.ln.Accept()
	if err != nil {
		return false
	}
	p.nc, p.in = nc, bufio.NewReader(nc)
	return true
}

// say writes lines.
func (p *peer) say(lines string) {
	_, _ = p.nc.Write([]byte(strings.ReplaceAll(lines, "\n", "\r\n") + "\r\n"))
}

// hear reads lines, which have to begin as said; "" is an empty one. It gives the
// last.
func (p *peer) hear(beginnings ...string) (last string) {
	for _, want := range beginnings {
		line, err := p.in.ReadString('\n')
		last = strings.TrimRight(line, "\r\n")
		if err != nil || !strings.HasPrefix(last, want) || want == "" && last != "" {
			p.t.Errorf("heard %q, %v; want %q", line, err, want)
		}
	}
	return last
}

// line reads a line, whatever it is.
func (p *peer) line() string {
	line, err := p.in.ReadString('\n')
	if err != nil {
		p.t.Errorf("heard %q, %v; want a line", line, err)
	}
	return strings.TrimRight(line, "\r\n")
}

// message hears the usual message from MAIL to the dot, command by command.
func (p *peer) message() {
	p.hear("MAIL")
	p.say("250 ok")
	p.hear("RCPT")
	p.say("250 ok")
	p.hear("DATA")
	p.say("354 go")
	p.hear("From:", "To:", "Subject:", "", ".")
	p.say("250 ok")
}

// hello greets and answers EHLO.
func (p *peer) hello(lines ...string) {
	p.say("220 x ESMTP")
	p.hear("EHLO")
	p.ehlo(lines...)
}

func (p *peer) ehlo(lines ...string) {
	lines = append([]string{"x"}, lines...)
	for i, line := range lines[:len(lines)-1] {
		lines[i] = "250-" + line
	}
	lines[len(lines)-1] = "250 " + lines[len(lines)-1]
	p.say(strings.Join(lines, "\n"))
}

func (p *peer) bye() {
	p.hear("QUIT")
	p.say("221 bye")
}

func (p *peer) send(to ...string) (*postrider.Result, error) {
	p.t.Helper()
	return p.deliver(mail(to...))
}

func (p *peer) deliver(m *postrider.Message) (*postrider.Result, error) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), guard)
	defer cancel()
	result, err := p.conn.Send(ctx, m)
	synctest.Wait()
	checkAnswer(p.t, m, result, err)
	return result, err
}

func (p *peer) quit() {
	p.t.Helper()
	if err := p.conn.Quit(p.t.Context()); err != nil {
		p.t.Errorf("Quit: %v", err)
	}
}
