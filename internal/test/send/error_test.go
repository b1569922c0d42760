package send_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/test/rig"
	"github.com/postrider/postrider/smtptest"
)

// timeout is a net.Error that says it is late.
type timeout struct{ late bool }

func (timeout) Error() string   { return "slow" }
func (t timeout) Timeout() bool { return t.late }
func (timeout) Temporary() bool { return true }

// Nothing is temporary but what time mends.
func TestTemporary(t *testing.T) {
	reply := func(code int) *postrider.Error { return &postrider.Error{Reply: postrider.Reply{Code: code}} }
	cause := func(err error) *postrider.Error { return &postrider.Error{Stage: postrider.StageConnect, Err: err} }
	local := func(err error) *postrider.Error { return &postrider.Error{Stage: postrider.StageLocal, Err: err} }
	unknown := cause(io.EOF)
	unknown.Unknown = true
	deferred := reply(451)
	deferred.Unknown = true
	dial := func(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }
	for _, c := range []struct {
		name string
		err  *postrider.Error
		want bool
	}{
		{"nothing", &postrider.Error{}, false},
		{"451", reply(451), true},
		{"421", reply(421), true},
		{"550", reply(550), false},
		{"250 to what cannot be answered so", reply(250), false},
		{"unknown, hung up", unknown, false},
		{"unknown, 451", deferred, false},

		{"hung up", cause(io.EOF), true},
		{"hung up, wrapped", cause(fmt.Errorf("closed: %w", io.EOF)), true},
		{"half a reply", cause(io.ErrUnexpectedEOF), true},
		{"late", cause(fmt.Errorf("no reply: %w", os.ErrDeadlineExceeded)), true},
		{"late, of another make", cause(timeout{true}), true},
		{"not late", cause(timeout{false}), false},
		{"context", cause(context.DeadlineExceeded), true},
		{"context, local", local(fmt.Errorf("x: %w", context.Canceled)), true},
		{"refused", cause(dial(os.NewSyscallError("connect", syscall.ECONNREFUSED))), true},
		{"refused, bare", cause(fmt.Errorf("proxy: %w", syscall.ECONNREFUSED)), true},
		{"no socket yet", cause(dial(os.NewSyscallError("connect", syscall.ENOENT))), true},
		{"not allowed", cause(dial(os.NewSyscallError("connect", syscall.EACCES))), false},
		{"no such network", cause(dial(net.UnknownNetworkError("x25"))), false},
		{"no address", cause(dial(&net.AddrError{Err: "missing port in address"})), false},
		{"no such host", cause(dial(&net.DNSError{Err: "no such host", IsNotFound: true})), false},
		{"no such host now", cause(&net.DNSError{Err: "server misbehaving", IsTemporary: true}), true},
		{"no name server", cause(&net.DNSError{Err: "i/o timeout", IsTimeout: true}), true},
		{"one of two addresses", cause(errors.Join(errors.New("x"), dial(syscall.ECONNREFUSED))), true},
		{"one of two servers", cause(errors.Join(reply(535), reply(421))), true},
		{"neither of two servers", cause(errors.Join(reply(535), cause(x509.UnknownAuthorityError{}))), false},

		{"certificate", cause(&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}), false},
		{"alert", cause(&net.OpError{Op: "remote error", Err: tls.AlertError(40)}), false},
		{"no TLS", cause(tls.RecordHeaderError{}), false},
		{"closed by us", local(postrider.ErrClosed), false},
		{"closed by us, later", cause(postrider.ErrClosed), false},
		{"used content", local(postrider.ErrContentUsed), false},
		{"a file cut short", local(io.ErrUnexpectedEOF), false},
		{"no SMTP", cause(postrider.ErrProtocol), false},
		{"anything", cause(errors.New("x")), false},
	} {
		if got := c.err.Temporary(); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
}

// A content that fails fails again, whatever its error is.
func TestAContentThatBreaksOffIsNotTemporary(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{})
		m := rig.Mail("bart@example.com")
		m.Content = postrider.Func(func() (io.ReadCloser, error) {
			return io.NopCloser(io.MultiReader(strings.NewReader(strings.Repeat("line\r\n", 30_000)), failing{})), nil
		})
		_, err := r.Deliver(m)
		r.Equal("error", rig.Trouble(err), "content content 0 lasts")
		if !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%v has lost its cause", err)
		}
	})
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, &net.OpError{Op: "read", Err: syscall.ECONNRESET} }

// A wire that breaks under several Sends tells each of its own error.
func TestErrorsBelongToTheirSend(t *testing.T) {
	rig.InBubble(t, "", func(t *testing.T) {
		r := rig.Setting{Pipelining: true}.Start(t, rig.Options{Faults: []smtptest.Fault{
			{Command: smtptest.Greeting, Nth: 1, Delay: time.Minute, Reply: "554 no"},
		}})
		type answer struct {
			result *postrider.Result
			err    error
		}
		answers := make(chan answer)
		for range 2 {
			go func() {
				result, err := r.Conn.Send(t.Context(), rig.Mail("bart@example.com", "cate@example.com"))
				answers <- answer{result, err}
			}()
		}
		first, second := <-answers, <-answers
		want := second.err.Error()
		if first.err.Error() != want || !strings.Contains(want, "554 no") {
			t.Fatalf("%v; %v", first.err, second.err)
		}
		spoil := func(err error) {
			e := err.(*postrider.Error)
			*e = postrider.Error{Step: "spoilt", Unknown: true}
		}
		spoil(first.err)
		if o := first.result.Outcomes[0]; o.Err.Error() != want {
			t.Errorf("the outcome says %v", o.Err)
		}
		spoil(first.result.Outcomes[0].Err)
		if second.err.Error() != want || second.result.Outcomes[0].Err.Error() != want {
			t.Errorf("another Send's is %v, %v", second.err, second.result.Outcomes[0].Err)
		}
	})
}

// Unknown is said by the error of the Send, and of each recipient's for itself.
func TestErrorsSayUnknown(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{
			Client: func(cfg *postrider.Config) { cfg.MaxRecipients = 1 },
			Faults: []smtptest.Fault{{Command: ".", Nth: 1, Answer: smtptest.AnswerNone, Then: smtptest.ThenClose}},
		})
		result, err := r.Deliver(rig.Mail("bart@example.com"))
		var e *postrider.Error
		if !errors.As(err, &e) || !e.Unknown || e.Temporary() || !result.All(postrider.Unknown) {
			t.Fatalf("%v: %v", result.Outcomes, err)
		}
		if !result.Outcomes[0].Err.(*postrider.Error).Unknown {
			t.Error("the outcome's does not say it")
		}
		if result.Remaining() != nil {
			t.Error("it would be sent to again")
		}
	})
}

// The server that closes is named as the one that does, at whatever step.
func TestAnEndIsTheServers(t *testing.T) {
	hangUp := func(command string) smtptest.Fault {
		return smtptest.Fault{Command: command, Nth: 1, Answer: smtptest.AnswerNone, Then: smtptest.ThenClose}
	}
	for command, step := range map[string]postrider.Step{
		smtptest.Greeting: postrider.StepGreeting, "EHLO": postrider.StepHello, "STARTTLS": postrider.StepStartTLS,
		"AUTH": postrider.StepAuth, "MAIL": postrider.StepMail, "RCPT": postrider.StepRcpt, "DATA": postrider.StepData,
		".": postrider.StepContent,
	} {
		rig.InBubble(t, command, func(t *testing.T) {
			r := rig.Setting{Mode: postrider.StartTLS}.Start(t, rig.Options{
				Server: rig.WithUser, Faults: []smtptest.Fault{hangUp(command)},
			})
			_, err := r.Send("bart@example.com")
			var e *postrider.Error
			if !errors.As(err, &e) || e.Step != step || !errors.Is(err, io.EOF) {
				t.Errorf("%v", err)
			}
			const who = "the server closed the connection"
			if s := rig.Text(err); !strings.Contains(s, who) || strings.Contains(s, "EOF") {
				t.Errorf("%q does not say who", s)
			}
		})
	}
}

// Our name stands once in a line, and so does what was closed.
func TestErrClosedIsSaidOnce(t *testing.T) {
	rig.InBubble(t, "", func(t *testing.T) {
		r := rig.Setting{}.Start(t, rig.Options{})
		r.Conn.Close()
		_, err := r.Send("bart@example.com")
		s := rig.Text(err)
		once := strings.Count(s, "postrider") == 1 && strings.Count(s, "closed") == 1
		if !errors.Is(err, postrider.ErrClosed) || !once {
			t.Errorf("%q", s)
		}
	})
}

// A DATA that is refused is told as DATA, and the end of a content as the content.
func TestARefusedDATAIsToldAsDATA(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{
			Client: func(cfg *postrider.Config) { cfg.Chunking = postrider.UseOff },
			Faults: []smtptest.Fault{
				{Command: "DATA", Nth: 1, Reply: "554 5.7.1 no"}, {Command: ".", Nth: 1, Reply: "554 5.7.1 not this"},
			},
		})
		_, err := r.Send("bart@example.com")
		r.Equal("error", rig.Trouble(err), "content DATA 554 lasts")
		_, err = r.Send("bart@example.com")
		r.Equal("error", rig.Trouble(err), "content content 554 lasts")
	})
}

// What is no SMTP is found by errors.Is.
func TestErrProtocol(t *testing.T) {
	for reply, want := range map[string]bool{"250 hello": true, "hello": true, "554 no": false, "421 no": false} {
		rig.InBubble(t, reply, func(t *testing.T) {
			r := rig.Setting{}.Start(t, rig.Options{Faults: rig.At(smtptest.Greeting, 1, reply)})
			if _, err := r.Send("bart@example.com"); err == nil || errors.Is(err, postrider.ErrProtocol) != want {
				t.Errorf("%v: %t", err, !want)
			}
		})
	}
}
