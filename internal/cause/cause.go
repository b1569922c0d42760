// Package cause judges the errors that stop mail: whether time alone may mend one, or somebody has to set it right.
package cause

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"io/fs"
	"net"
	"slices"
	"syscall"

	"github.com/postrider/postrider/internal/hint"
)

// Lasting is a cause that time does not mend, whatever lies behind it.
type Lasting struct{ Err error }

// Error is the cause's own text.
func (e Lasting) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e Lasting) Unwrap() error { return e.Err }

// Judged is what the caller knows of an error by itself: temporary counts where known is true.
type Judged func(err error) (temporary, known bool)

// Passes reports whether a cause is one that may pass without anybody's doing. Of several causes, such as one for each
// server of a pool, one that passes suffices. It asks judged about each error that it comes to first.
func Passes(err error, judged Judged) bool {
	if temporary, known := judged(err); known {
		return temporary
	}
	switch e := err.(type) {
	case nil, Lasting:
		return false
	case *net.DNSError:
		return e.IsTimeout || e.IsTemporary || !e.IsNotFound
	case *net.OpError:
		return networkPasses(e, judged)
	case syscall.Errno:
		return e.Timeout() || slices.Contains(passingErrnos, e)
	case interface{ Unwrap() error }:
		return isPassing(err) || Passes(e.Unwrap(), judged)
	case interface{ Unwrap() []error }:
		return slices.ContainsFunc(e.Unwrap(), func(err error) bool { return Passes(err, judged) })
	}
	return isPassing(err)
}

// isPassing knows the single errors that time mends. Passes meets a wrapped one on its way down.
func isPassing(err error) bool {
	switch err {
	case io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, net.ErrClosed, context.Canceled, context.DeadlineExceeded:
		return true
	}
	late, ok := err.(net.Error)
	return ok && late.Timeout()
}

// networkPasses is about dialling, reading and writing. crypto/tls uses the same type for its alerts, which are about
// what was agreed on; and an address that means nothing, or a socket that we may not open, is the same tomorrow.
func networkPasses(e *net.OpError, judged Judged) bool {
	if e.Op == "remote error" || e.Op == "local error" {
		return false
	}
	switch cause := e.Err.(type) {
	case *net.DNSError:
		return Passes(cause, judged)
	case *net.AddrError, *net.ParseError, net.UnknownNetworkError, net.InvalidAddrError:
		return false
	}
	return !errors.Is(e.Err, fs.ErrPermission)
}

// passingErrnos are what a dial function or a net.Conn may return bare.
var passingErrnos = []syscall.Errno{
	syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE,
	syscall.EHOSTUNREACH, syscall.ENETUNREACH,
}

// IsContext reports the end of a context.
func IsContext(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// IsSetting reports causes that somebody has to set right: certificates, a missing extension, credentials that cannot
// be sent.
func IsSetting(err error) bool {
	for _, e := range []error{hint.ErrNoStartTLS, hint.ErrNoAuth, hint.ErrNoMechanism, hint.ErrPlaintextAuth} {
		if errors.Is(err, e) {
			return true
		}
	}
	var (
		lasting   Lasting
		verify    *tls.CertificateVerificationError
		record    tls.RecordHeaderError
		name      x509.HostnameError
		authority x509.UnknownAuthorityError
		invalid   x509.CertificateInvalidError
	)
	return errors.As(err, &lasting) || errors.As(err, &verify) || errors.As(err, &record) || errors.As(err, &name) ||
		errors.As(err, &authority) || errors.As(err, &invalid)
}
