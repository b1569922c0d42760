package main

import (
	"bytes"
	"context"
	"errors"
	"net"
	netsmtp "net/smtp"
	"strconv"
	"sync"

	"github.com/emersion/go-sasl"
	gosmtp "github.com/emersion/go-smtp"
	gomail "github.com/wneessen/go-mail"
	oldgomail "gopkg.in/gomail.v2"
)

// session is a connection of a peer: one message after the other.
type session interface {
	send(to []string) error
	quit() error
}

// sequential is a peer under measurement, with a goroutine for each connection.
type sequential struct {
	j        *job
	dial     func(*job) (session, error)
	sessions []session
}

// open leaves the first connections to run where each message has its own.
func (s *sequential) open() (int, error) {
	if s.j.Secure {
		return 0, nil
	}
	for i := range s.j.Connections {
		one, err := s.dial(s.j)
		if err != nil {
			return i, err
		}
		s.sessions = append(s.sessions, one)
		if err := one.send(s.j.recipients()[:1]); err != nil {
			return i, err
		}
	}
	return s.j.Connections, nil
}

// run has a goroutine for each connection. No peer can share one.
func (s *sequential) run(c *clock) error {
	errs := make([]error, s.j.Connections)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() {
			to := s.j.recipients()
			for errs[i] == nil && c.more() {
				if s.j.Secure {
					errs[i] = s.alone(to)
				} else {
					errs[i] = s.sessions[i].send(to)
				}
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// alone sends one message on a connection of its own.
func (s *sequential) alone(to []string) error {
	one, err := s.dial(s.j)
	if err != nil {
		return err
	}
	return errors.Join(one.send(to), one.quit())
}

func (s *sequential) close() {
	for _, one := range s.sessions {
		one.quit()
	}
}

// netSMTP is the standard library.
type netSMTP struct {
	c       *netsmtp.Client
	content []byte
}

// dialNetSMTP follows the example in the package's documentation.
func dialNetSMTP(j *job) (session, error) {
	c, err := netsmtp.Dial(j.Address)
	if err != nil {
		return nil, err
	}
	s := &netSMTP{c, j.content()}
	if err := c.Hello(helloName); err != nil || !j.Secure {
		return s, err
	}
	t, err := j.tls()
	if err != nil {
		return nil, err
	}
	if err := c.StartTLS(t); err != nil {
		return nil, err
	}
	host, _, _ := net.SplitHostPort(j.Address)
	return s, c.Auth(netsmtp.PlainAuth("", account, password, host))
}

// send is a call for each command, as SendMail of the same package does it.
func (s *netSMTP) send(to []string) error {
	if err := s.c.Mail(from); err != nil {
		return err
	}
	for _, rcpt := range to {
		if err := s.c.Rcpt(rcpt); err != nil {
			return err
		}
	}
	w, err := s.c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(s.content); err != nil {
		return err
	}
	return w.Close()
}

func (s *netSMTP) quit() error { return s.c.Quit() }

// emersion is github.com/emersion/go-smtp.
type emersion struct {
	c       *gosmtp.Client
	content []byte
}

// dialEmersion uses the constructors that say EHLO and STARTTLS by themselves.
func dialEmersion(j *job) (session, error) {
	if !j.Secure {
		c, err := gosmtp.Dial(j.Address)
		if err != nil {
			return nil, err
		}
		return &emersion{c, j.content()}, c.Hello(helloName)
	}
	t, err := j.tls()
	if err != nil {
		return nil, err
	}
	c, err := gosmtp.DialStartTLS(j.Address, t)
	if err != nil {
		return nil, err
	}
	return &emersion{c, j.content()}, c.Auth(sasl.NewPlainClient("", account, password))
}

func (s *emersion) send(to []string) error { return s.c.SendMail(from, to, bytes.NewReader(s.content)) }

func (s *emersion) quit() error { return s.c.Quit() }

// goMail is github.com/wneessen/go-mail, which makes the header itself.
type goMail struct {
	c    *gomail.Client
	body string
}

// dialGoMail leaves everything at its default, the NOOP before each message
// included: it is what a user gets.
func dialGoMail(j *job) (session, error) {
	host, port := endpoint(j)
	options := []gomail.Option{gomail.WithPort(port), gomail.WithHELO(helloName), gomail.WithTLSPolicy(gomail.NoTLS)}
	if j.Secure {
		t, err := j.tls()
		if err != nil {
			return nil, err
		}
		options = append(options, gomail.WithTLSPolicy(gomail.TLSMandatory), gomail.WithTLSConfig(t),
			gomail.WithSMTPAuth(gomail.SMTPAuthPlain), gomail.WithUsername(account), gomail.WithPassword(password))
	}
	c, err := gomail.NewClient(host, options...)
	if err != nil {
		return nil, err
	}
	return &goMail{c, string(j.body())}, c.DialWithContext(context.Background())
}

// send makes a Msg each time, for one may be sent once only. NoEncoding spares it
// quoted-printable, which the others do not do either.
func (s *goMail) send(to []string) error {
	m := gomail.NewMsg(gomail.WithEncoding(gomail.NoEncoding))
	m.Subject("a message of the benchmark")
	m.SetBodyString(gomail.TypeTextPlain, s.body)
	if err := errors.Join(m.From(from), m.To(to[0]), m.Bcc(to[1:]...)); err != nil {
		return err
	}
	return s.c.Send(m)
}

func (s *goMail) quit() error { return s.c.Close() }

// oldGoMail is gopkg.in/gomail.v2, which makes the header itself.
type oldGoMail struct {
	c    oldgomail.SendCloser
	body string
}

// dialOldGoMail uses STARTTLS whenever the server offers it, as this library does.
func dialOldGoMail(j *job) (session, error) {
	host, port := endpoint(j)
	d := &oldgomail.Dialer{Host: host, Port: port, LocalName: helloName}
	if j.Secure {
		t, err := j.tls()
		if err != nil {
			return nil, err
		}
		d.TLSConfig, d.Username, d.Password = t, account, password
	}
	c, err := d.Dial()
	return &oldGoMail{c, string(j.body())}, err
}

// send hides all recipients but one in Bcc, which the library keeps out of the
// header: 50 addresses there would make it another message.
func (s *oldGoMail) send(to []string) error {
	m := oldgomail.NewMessage(oldgomail.SetEncoding(oldgomail.Unencoded))
	m.SetHeader("From", from)
	m.SetHeader("To", to[0])
	if len(to) > 1 {
		m.SetHeader("Bcc", to[1:]...)
	}
	m.SetHeader("Subject", "a message of the benchmark")
	m.SetBody("text/plain", s.body)
	return oldgomail.Send(s.c, m)
}

func (s *oldGoMail) quit() error { return s.c.Close() }

// endpoint is the address in two.
func endpoint(j *job) (host string, port int) {
	host, p, _ := net.SplitHostPort(j.Address)
	port, _ = strconv.Atoi(p)
	return host, port
}
