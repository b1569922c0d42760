package rig

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

// Peer is a server that says exactly what a test wants, for what smtptest is too
// well-behaved for; it belongs in a bubble.
type Peer struct {
	T    *testing.T
	Conn *postrider.Connection
	ln   net.Listener
	nc   net.Conn
	In   *bufio.Reader
	done chan struct{}
}

// PlayServer runs script as the server of a connection; the script begins when
// the first wire was accepted.
func PlayServer(t *testing.T, script func(*Peer), change ...func(*postrider.Config)) *Peer {
	t.Helper()
	ln := smtptest.InMemory("localhost:25")
	p := &Peer{T: t, ln: ln, done: make(chan struct{})}
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
	if p.Conn, err = postrider.NewConnection(cfg); err != nil {
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
		p.Conn.Close()
		ln.Close()
		<-p.done
	})
	return p
}

// accept waits for the next wire.
func (p *Peer) accept() bool {
	if p.nc != nil {
		p.nc.Close()
	}
	nc, err := p.ln.Accept()
	if err != nil {
		return false
	}
	p.nc, p.In = nc, bufio.NewReader(nc)
	return true
}

// Say writes lines.
func (p *Peer) Say(lines string) {
	_, _ = p.nc.Write([]byte(strings.ReplaceAll(lines, "\n", "\r\n") + "\r\n"))
}

// Hear reads lines, which have to begin as said; "" is an empty one. Hear returns the
// last.
func (p *Peer) Hear(beginnings ...string) (last string) {
	for _, want := range beginnings {
		line, err := p.In.ReadString('\n')
		last = strings.TrimRight(line, "\r\n")
		if err != nil || !strings.HasPrefix(last, want) || want == "" && last != "" {
			p.T.Errorf("heard %q, %v; want %q", line, err, want)
		}
	}
	return last
}

// Line reads a line, whatever it is.
func (p *Peer) Line() string {
	line, err := p.In.ReadString('\n')
	if err != nil {
		p.T.Errorf("heard %q, %v; want a line", line, err)
	}
	return strings.TrimRight(line, "\r\n")
}

// Message hears the usual message from MAIL to the dot, command by command.
func (p *Peer) Message() {
	p.Hear("MAIL")
	p.Say("250 ok")
	p.Hear("RCPT")
	p.Say("250 ok")
	p.Hear("DATA")
	p.Say("354 go")
	p.Hear("From:", "To:", "Subject:", "", ".")
	p.Say("250 ok")
}

// Hello greets and answers EHLO.
func (p *Peer) Hello(lines ...string) {
	p.Say("220 x ESMTP")
	p.Hear("EHLO")
	p.ehlo(lines...)
}

func (p *Peer) ehlo(lines ...string) {
	lines = append([]string{"x"}, lines...)
	for i, line := range lines[:len(lines)-1] {
		lines[i] = "250-" + line
	}
	lines[len(lines)-1] = "250 " + lines[len(lines)-1]
	p.Say(strings.Join(lines, "\n"))
}

// Bye hears QUIT and answers it.
func (p *Peer) Bye() {
	p.Hear("QUIT")
	p.Say("221 bye")
}

// Send sends the usual message.
func (p *Peer) Send(to ...string) (*postrider.Result, error) {
	p.T.Helper()
	return p.Deliver(Mail(to...))
}

// Deliver sends a message and checks what holds for every answer.
func (p *Peer) Deliver(m *postrider.Message) (*postrider.Result, error) {
	p.T.Helper()
	ctx, cancel := context.WithTimeout(p.T.Context(), Guard)
	defer cancel()
	result, err := p.Conn.Send(ctx, m)
	synctest.Wait()
	CheckAnswer(p.T, m, result, err)
	return result, err
}

// Quit ends the connection, which must not fail.
func (p *Peer) Quit() {
	p.T.Helper()
	if err := p.Conn.Quit(p.T.Context()); err != nil {
		p.T.Errorf("Quit: %v", err)
	}
}
