package postrider

import (
	"crypto/tls"
	"crypto/x509"
	"errors"

	"github.com/postrider/postrider/internal/hint"
	"github.com/postrider/postrider/internal/session"
)

// hintFor looks up what to do about an error; w is nil when there is no wire.
func hintFor(e *Error, w *wire) string {
	f := hint.Failure{
		Step: hint.Step(e.Step), Code: e.Reply.Code, Enhanced: e.Reply.Enhanced.String(), Text: e.Reply.Text, Err: e.Err,
	}
	if w != nil {
		f.Mode, f.ServerName = w.c.cfg.Mode.String(), w.c.cfg.ServerName
		f.Host, f.Port = w.c.address.Host, w.c.address.Port
		f.Encrypted, f.OfferedStartTLS = w.encrypted, w.caps.StartTLS
		f.OfferedAuth, f.Mechanisms = len(w.caps.Auth) > 0, w.caps.Auth
		if w.raw != nil && w.raw.RemoteAddr() != nil {
			f.Remote = w.raw.RemoteAddr().String()
		}
	}
	return hint.For(f)
}

// permanentError is a cause that time does not mend.
type permanentError struct{ error }

func (e permanentError) Unwrap() error { return e.error }

// isSetting reports causes that somebody has to set right: certificates, a missing
// extension, credentials that cannot be sent.
func isSetting(err error) bool {
	for _, e := range []error{hint.ErrNoStartTLS, hint.ErrNoAuth, hint.ErrNoMechanism, hint.ErrPlaintextAuth, ErrClosed} {
		if errors.Is(err, e) {
			return true
		}
	}
	var (
		permanent permanentError
		lasting   session.Lasting
		verify    *tls.CertificateVerificationError
		record    tls.RecordHeaderError
		name      x509.HostnameError
		authority x509.UnknownAuthorityError
		invalid   x509.CertificateInvalidError
	)
	return errors.As(err, &permanent) || errors.As(err, &lasting) || errors.As(err, &verify) || errors.As(err, &record) ||
		errors.As(err, &name) || errors.As(err, &authority) || errors.As(err, &invalid)
}
