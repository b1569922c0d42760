package postrider

import (
	"crypto/tls"
	"crypto/x509"
	"errors"

	"github.com/postrider/postrider/internal/hint"
	"github.com/postrider/postrider/internal/session"
)

// Hint is what to set or to mend about an [Error], in one or two short sentences without a full stop.
type Hint struct {
	Text  string // it names fields of Config: "set Config.Mode to StartTLS"
	Field string // the first of them: "Mode", "Timeouts.Hello"; "" if there is none

	marked hint.Hint // Text, with the fields told from the words
}

// String returns the text.
func (h Hint) String() string { return h.Text }

// In returns the text for people who do not set a [Config] but something else. For each field that it names, name is
// called with that and with the value that it is to have, in text as "starttls", "true" or "45s", or with "" where the
// text leaves the value open; it returns what stands in the text then. The function Setting of package config is one.
func (h Hint) In(name func(field, value string) string) string {
	if h.marked == "" {
		return h.Text
	}
	return h.marked.In(name)
}

// hintFor looks up what to do about an error; w is nil when there is no wire.
func hintFor(e *Error, w *wire) Hint {
	f := hint.Failure{
		Step: hint.Step(e.Step), Code: e.Reply.Code, Enhanced: e.Reply.Enhanced.String(), Text: e.Reply.Text,
		Err: e.Err,
	}
	hide := func(words string) string { return words }
	if w != nil {
		f.Mode, f.ServerName = w.c.cfg.Mode.String(), w.c.cfg.ServerName
		f.Host, f.Port = w.c.address.Host, w.c.address.Port
		f.Encrypted, f.OfferedStartTLS = w.encrypted, w.caps.StartTLS
		f.OfferedAuth, f.Mechanisms = len(w.caps.Auth) > 0, w.caps.Auth
		if w.raw != nil && w.raw.RemoteAddr() != nil {
			f.Remote = w.raw.RemoteAddr().String()
		}
		hide = w.c.secrets.Hide // it may name what EHLO offered
	}
	marked := hint.For(f).Hidden(hide)
	return Hint{Text: marked.String(), Field: marked.Field(), marked: marked}
}

// permanentError is a cause that time does not mend.
type permanentError struct{ error }

func (e permanentError) Unwrap() error { return e.error }

// isSetting reports causes that somebody has to set right: certificates, a missing
// extension, credentials that cannot be sent.
func isSetting(err error) bool {
	for _, e := range []error{hint.ErrNoStartTLS, hint.ErrNoAuth, hint.ErrNoMechanism, hint.ErrPlaintextAuth,
		ErrClosed} {
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
	return errors.As(err, &permanent) || errors.As(err, &lasting) || errors.As(err, &verify) ||
		errors.As(err, &record) || errors.As(err, &name) || errors.As(err, &authority) || errors.As(err, &invalid)
}
