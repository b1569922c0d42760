package smtptest

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"github.com/xdg-go/scram"
)

// The mechanisms whose next challenge depends on the last answer, and those that
// say more about a refusal than a reply can.

// oauthRefusal is what a server says of a token that it does not like, by default.
const oauthRefusal = `{"status":"invalid_token","schemes":"bearer"}`

func challenge(text string) string {
	return "334 " + base64.StdEncoding.EncodeToString([]byte(text))
}

const replyAuthenticated = "235 2.7.0 Authenticated"

// talkSCRAM is RFC 5802 and RFC 7677: two challenges, the second of which is our
// proof, which the client acknowledges with nothing (RFC 4954 §4).
func talkSCRAM(x *exchange) string {
	if len(x.answers) == 0 {
		return challenge("")
	}
	last := x.answers[len(x.answers)-1]
	if x.scram == nil {
		x.scram = x.c.scramConversation(x.name, last)
	}
	switch {
	case x.scram == nil:
		return replyBadCredentials
	case x.scram.Done() && x.scram.Valid() && last == "":
		x.user = x.scram.Username()
		return replyAuthenticated
	}
	text, err := x.scram.Step(last)
	if err != nil {
		return replyBadCredentials
	}
	return challenge(text)
}

// scramConversation is nil if there is nothing to bind to.
func (c *conn) scramConversation(name, first string) *scram.ServerConversation {
	hash := scram.SHA256
	if strings.HasPrefix(name, "SCRAM-SHA-1") {
		hash = scram.SHA1
	}
	server, err := hash.NewServer(func(user string) (scram.StoredCredentials, error) {
		password, known := c.srv.Users[user]
		if !known {
			return scram.StoredCredentials{}, fmt.Errorf("no user %q", user)
		}
		client, err := hash.NewClientUnprepped(user, password, "")
		if err != nil {
			return scram.StoredCredentials{}, err
		}
		return client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: "smtptest's salt", Iters: 4096})
	})
	if err != nil {
		return nil
	}
	binding, err := c.binding(first)
	switch {
	case strings.HasSuffix(name, "-PLUS") && err != nil:
		return nil
	case strings.HasSuffix(name, "-PLUS"):
		return server.NewConversationWithChannelBindingRequired(binding)
	case err == nil && slices.ContainsFunc(c.mechanisms(),
		func(m string) bool { return strings.HasSuffix(m, "-PLUS") }):
		return server.NewConversationWithChannelBinding(binding)
	}
	return server.NewConversation()
}

// binding is of the type that the client's first message names, p=tls-exporter (RFC
// 9266) or the certificate (RFC 5929 §4), which is ours.
func (c *conn) binding(first string) (b scram.ChannelBinding, err error) {
	tc, ok := c.rw.(*tls.Conn)
	if !ok {
		return b, fmt.Errorf("no TLS")
	}
	state := tc.ConnectionState()
	if strings.HasPrefix(first, "p=tls-exporter,") {
		return scram.NewTLSExporterBinding(&state)
	}
	if len(c.srv.tlsConfig.Certificates) == 0 {
		return b, fmt.Errorf("no certificate")
	}
	own, err := x509.ParseCertificate(c.srv.tlsConfig.Certificates[0].Certificate[0])
	if err != nil {
		return b, err
	}
	return scram.NewTLSServerEndpointBinding(&tls.ConnectionState{PeerCertificates: []*x509.Certificate{own}})
}

// talkOAuth is OAUTHBEARER (RFC 7628) and XOAUTH2: a refusal is a document, and the
// 535 comes when the client has acknowledged it.
func talkOAuth(x *exchange) string {
	switch len(x.answers) {
	case 0:
		return challenge("")
	case 1:
	default:
		return replyBadCredentials
	}
	parse := parseXOAUTH2
	if x.name == "OAUTHBEARER" {
		parse = parseOAUTHBEARER
	}
	user, token, ok := parse(x.answers[0])
	if ok && x.c.knows(user, token) {
		x.user = user
		return replyAuthenticated
	}
	if x.c.srv.OAuthRefusal == "" {
		return challenge(oauthRefusal)
	}
	return challenge(x.c.srv.OAuthRefusal)
}

// parseXOAUTH2 reads "user=" user ^A "auth=Bearer " token ^A ^A.
func parseXOAUTH2(message string) (user, token string, ok bool) {
	parts := strings.Split(message, "\x01")
	if len(parts) != 4 || parts[2] != "" || parts[3] != "" {
		return "", "", false
	}
	user, hasUser := strings.CutPrefix(parts[0], "user=")
	token, hasToken := strings.CutPrefix(parts[1], "auth=Bearer ")
	return user, token, hasUser && hasToken
}

// parseOAUTHBEARER reads "n,a=" user "," ^A, pairs that each end with ^A, and ^A.
func parseOAUTHBEARER(message string) (user, token string, ok bool) {
	header, pairs, _ := strings.Cut(message, "\x01")
	user, named := strings.CutPrefix(header, "n,a=")
	user, closed := strings.CutSuffix(user, ",")
	pairs, ended := strings.CutSuffix(pairs, "\x01\x01")
	for pair := range strings.SplitSeq(pairs, "\x01") {
		if t, is := strings.CutPrefix(pair, "auth=Bearer "); is {
			token = t
		}
	}
	user = strings.NewReplacer("=2C", ",", "=3D", "=").Replace(user)
	return user, token, named && closed && ended && token != ""
}

// verifyExternal is RFC 4422 Appendix A: the client certificate, which the TLS
// configuration must ask for, says who it is; its first name stands for the user.
func verifyExternal(c *conn, answers []string) (user string, ok bool) {
	tc, isTLS := c.rw.(*tls.Conn)
	if !isTLS {
		return "", false
	}
	shown := tc.ConnectionState().PeerCertificates
	if len(shown) == 0 {
		return "", false
	}
	user = shown[0].Subject.CommonName
	if len(shown[0].DNSNames) > 0 {
		user = shown[0].DNSNames[0]
	}
	_, known := c.srv.Users[user]
	return user, known && (answers[0] == "" || answers[0] == user)
}

// mechanisms are those that can be used at this moment: -PLUS needs TLS.
func (c *conn) mechanisms() []string {
	all := c.srv.mechanisms()
	if c.tls {
		return all
	}
	return slices.DeleteFunc(slices.Clone(all), func(m string) bool { return strings.HasSuffix(m, "-PLUS") })
}
