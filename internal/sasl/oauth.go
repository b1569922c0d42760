package sasl

import (
	"fmt"
	"strings"

	"github.com/postrider/postrider/internal/hint"
)

// ErrToken is behind the error of a server that says why it refuses an OAuth token. A fresh token may
// help.
var ErrToken = hint.ErrToken

// oauth is XOAUTH2, which Google and Microsoft have, and OAUTHBEARER, which became the standard (RFC 7628): a token in
// one message, which is the initial response. A server that refuses it sends a document that says why, and waits for an
// acknowledgement before it says 535.
type oauth struct {
	credentials func() Credentials
	peer        Peer
	name        string
	told        string // the server's document, fit to be shown
	sent        bool
}

func (o *oauth) Start() ([]byte, bool, error) {
	return []byte(o.message()), true, nil
}

func (o *oauth) message() string {
	c := o.credentials()
	bearer := "auth=Bearer " + c.Password + "\x01\x01"
	if o.name == XOAuth2 {
		return "user=" + c.User + "\x01" + bearer
	}
	// RFC 7628 §3.1; "=" and "," in the name as RFC 5801 §4 writes them.
	gs2 := "n,a=" + strings.NewReplacer("=", "=3D", ",", "=2C").Replace(c.User) + ",\x01"
	if o.peer.Host != "" && o.peer.Port != "" {
		gs2 += "host=" + o.peer.Host + "\x01port=" + o.peer.Port + "\x01"
	}
	return gs2 + bearer
}

// Next repeats the message for an empty challenge, as the other mechanisms do, and acknowledges a document: with %x01
// by RFC 7628 §3.2.3, and with nothing where Google invented it.
func (o *oauth) Next(challenge []byte) ([]byte, error) {
	switch {
	case o.told != "" || len(challenge) == 0 && o.sent:
		return nil, unexpected(o.name, challenge, o.credentials())
	case len(challenge) == 0:
		o.sent = true
		return []byte(o.message()), nil
	}
	// A server that repeats the token must not bring it into a log.
	o.told = show(o.credentials().Hide(string(challenge)))
	if o.name == XOAuth2 {
		return nil, nil
	}
	return []byte{1}, nil
}

func (o *oauth) Verdict(accepted bool) error {
	switch {
	case o.told == "":
		return nil
	case accepted:
		return fmt.Errorf("AUTH %s: the server accepted the token that it had refused with %s", o.name, o.told)
	}
	return fmt.Errorf("AUTH %s: %w: %s", o.name, ErrToken, o.told)
}

// external is EXTERNAL (RFC 4422 Appendix A): the client certificate of the TLS handshake says who we are. The user
// name, if there is one, is whom to act as.
type external struct {
	user     string
	answered bool
}

func (e *external) Start() ([]byte, bool, error) { return []byte(e.user), true, nil }

func (e *external) Next(challenge []byte) ([]byte, error) {
	if len(challenge) > 0 || e.answered {
		return nil, unexpected(External, challenge, Credentials{})
	}
	e.answered = true
	return []byte(e.user), nil
}

func (*external) Verdict(bool) error { return nil }
