package cause

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/postrider/postrider/internal/hint"
)

// A goroutine that outlives the tests fails them.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// own says itself whether time mends it.
type own bool

func (own) Error() string { return "own" }

func judged(err error) (temporary, known bool) {
	o, known := err.(own)
	return bool(o), known
}

func dialing(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }

func TestPasses(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{errors.New("something"), false},
		{io.EOF, true},
		{fmt.Errorf("reading: %w", io.ErrUnexpectedEOF), true},
		{net.ErrClosed, true},
		{context.DeadlineExceeded, true},
		{os.ErrDeadlineExceeded, true},
		{Lasting{io.EOF}, false},
		{fmt.Errorf("content: %w", Lasting{io.EOF}), false},
		{own(true), true},
		{fmt.Errorf("one: %w", own(false)), false},
		{errors.Join(errors.New("something"), own(true)), true},
		{errors.Join(errors.New("something"), own(false)), false},
		{dialing(os.NewSyscallError("connect", syscall.ECONNREFUSED)), true},
		{dialing(os.NewSyscallError("connect", syscall.EACCES)), false},
		{dialing(&net.AddrError{Err: "missing port", Addr: "x"}), false},
		{dialing(net.UnknownNetworkError("smoke")), false},
		{dialing(&net.DNSError{IsNotFound: true}), false},
		{dialing(&net.DNSError{IsTimeout: true}), true},
		{&net.DNSError{Err: "server misbehaving"}, true},
		{&net.OpError{Op: "remote error", Err: errors.New("tls: bad certificate")}, false},
		{&net.OpError{Op: "local error", Err: errors.New("tls: bad record MAC")}, false},
		{syscall.ECONNRESET, true},
		{syscall.ETIMEDOUT, true},
		{syscall.ENOENT, false},
	} {
		if got := Passes(tt.err, judged); got != tt.want {
			t.Errorf("time mends %v: %t, want %t", tt.err, got, tt.want)
		}
	}
}

func TestIsContext(t *testing.T) {
	for err, want := range map[error]bool{
		context.Canceled: true, context.DeadlineExceeded: true, os.ErrDeadlineExceeded: false, io.EOF: false,
	} {
		if IsContext(err) != want {
			t.Errorf("%v is of a context: %t, want %t", err, !want, want)
		}
	}
}

func TestIsSetting(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{io.EOF, false},
		{hint.ErrNoStartTLS, true},
		{fmt.Errorf("wire 1: %w", hint.ErrNoMechanism), true},
		{fmt.Errorf("AUTH: %w", Lasting{io.EOF}), true},
		{&tls.CertificateVerificationError{Err: errors.New("expired")}, true},
		{tls.RecordHeaderError{Msg: "no TLS"}, true},
		{x509.HostnameError{Host: "mx.example.com", Certificate: new(x509.Certificate)}, true},
		{x509.UnknownAuthorityError{}, true},
		{x509.CertificateInvalidError{}, true},
		{dialing(syscall.ECONNREFUSED), false},
	} {
		if got := IsSetting(tt.err); got != tt.want {
			t.Errorf("%v is a setting: %t, want %t", tt.err, got, tt.want)
		}
	}
}
