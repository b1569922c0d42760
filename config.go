package postrider

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"
)

// The defaults of a [Config] whose fields are zero. Those of its [Timeouts] stand there.
const (
	DefaultWindow         = 64
	DefaultWindowOctets   = 1 << 20
	DefaultIdleTimeout    = 2 * time.Minute
	DefaultProbeAfter     = 5 * time.Second
	DefaultAuthRetryAfter = time.Minute
)

// Config says which MTA a [Connection] or a [Pool] hands mail to, and how. The zero value speaks plain SMTP to
// localhost:25, as Mailman does. It is copied by [NewConnection]; later changes have no effect.
type Config struct {
	// Address of the MTA: "host", "host:port", "[::1]:25", or "unix:/path" for a unix socket. Default "localhost"; the
	// default port is 25, and 465 with [ImplicitTLS]. All addresses of a name are tried.
	Address string

	// Mode is the use of TLS. Default [Insecure]: no TLS at all.
	Mode SecureMode

	// User and Password authenticate every wire after it was opened. With either of them absent no authentication is
	// attempted. Where a server repeats the password (8 octets or more; in replies to AUTH 4 or more), "********"
	// stands for it in every [Reply]. What is not valid UTF-8 goes out octet by octet, and not by SCRAM.
	User     string
	Password Secret

	// Credentials, if not nil, takes the place of User and Password: it is asked when a wire logs in, once for all
	// wires of a server that do so at a time. After the server has refused the answer (535, or what it says to an OAuth
	// token) it is asked once more with refresh, for which it shall not answer out of a cache. The context ends with
	// the attempt to open the wire, and a call that goes on after that is left behind. An error fails that attempt.
	Credentials func(ctx context.Context, refresh bool) (user string, secret Secret, err error)

	// MaxTransactions is how many transactions (MAIL commands, refused ones included) one wire carries before the
	// connection changes to a new one. Mailman calls them sessions: max_sessions_per_connection. 0 and below: no limit.
	// A smaller MAILMAX announced by the server (RFC 9422) wins.
	MaxTransactions int

	// MaxRecipients is how many recipients one transaction carries at most; a message for more is sent in several.
	// 0 and below: no limit. A smaller RCPTMAX announced by the server (RFC 9422) wins.
	MaxRecipients int

	// Redirect is development mode: when it answers on, every recipient of the envelope is replaced by address, and the
	// outcomes still name the caller's recipients. It is asked once per Send. On with an empty or bad address is an
	// error before anything is dialled. nil: never.
	Redirect func() (address string, on bool)

	// ServerName is the name that the server's certificate must carry (and SNI), where that is not the host of Address.
	ServerName string

	// CAFile is a PEM file of certificate authorities to trust instead of the system's.
	CAFile string

	// Pins are SHA-256 fingerprints of the server's certificate, or of its public key (SubjectPublicKeyInfo), in
	// hexadecimal or base64. With any of them a server is the right one exactly if its certificate or key is among
	// them; authorities, names and dates do not matter then. Give the next one beside the present one before a key is
	// changed. Verification errors include both.
	Pins []string

	// ClientCert and ClientKey are PEM files of our own certificate chain and its key, for servers that ask for it.
	// They are read again when they change. Without ClientKey both are in ClientCert. With a certificate and without a
	// password AUTH EXTERNAL is used, if the server offers it.
	ClientCert string
	ClientKey  string

	// NoVerifyCert switches off every check of the server's certificate, its name included. Strongly discouraged: mend
	// the MTA's certificate, or set CAFile or ServerName.
	NoVerifyCert bool

	// NoVerifyHostname accepts a certificate with any name, as long as its chain
	// is valid. Ignored if NoVerifyCert is set.
	NoVerifyHostname bool

	// TLS is the base of the TLS configuration: client certificates, roots,
	// versions. nil: crypto/tls defaults, TLS 1.2 at least. It is cloned.
	TLS *tls.Config

	// AuthMechanisms is the order of preference. The first that the server offers is used, and no other is tried after
	// it was refused. Known are SCRAM-SHA-256-PLUS, SCRAM-SHA-256, SCRAM-SHA-1-PLUS, SCRAM-SHA-1, PLAIN, CRAM-MD5,
	// LOGIN, EXTERNAL, OAUTHBEARER, XOAUTH2. Naming one of the last two says that the password is an OAuth 2.0 access
	// token; then no mechanism for passwords may be named. Default: PLAIN, SCRAM, CRAM-MD5, LOGIN over verified TLS;
	// elsewhere SCRAM, CRAM-MD5, PLAIN, LOGIN.
	AuthMechanisms []string

	// AllowPlaintextAuth lets credentials be sent without TLS to a server that is
	// not local. (A loopback address or a unix socket needs no leave.)
	AllowPlaintextAuth bool

	// AuthRetryAfter is for how long, after the server refused the credentials,
	// every Send fails at once instead of dialling again. Default 1 minute.
	AuthRetryAfter time.Duration

	// LocalName is what EHLO says. Default: the machine's fully qualified domain
	// name, else the address literal of the wire's own end (RFC 5321 §4.1.4).
	LocalName string

	// Dial opens the wires. Default: a net.Dialer. A proxy or an in-memory network comes in here. A call that goes on
	// when its context is done is left behind, and a connection that it returns then is closed.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// Timeouts bound each step; the zero value stands for RFC 5321 §4.5.3.2.
	Timeouts Timeouts

	// IdleTimeout is how long a wire without a transaction stays open. Default 2
	// minutes (servers wait 5, RFC 5321 §4.5.3.2.7). Negative: no limit.
	IdleTimeout time.Duration

	// MaxAge is how long a wire is used for new transactions; an idle one is left
	// then. 0: no limit, but 5 minutes in a [Pool]; negative: no limit.
	MaxAge time.Duration

	// ProbeAfter is after how long a silence a wire has to answer one command before a message's last octet is handed
	// to it, so that a wire that died without a word costs a second try and not an Unknown outcome. Default 5 s.
	ProbeAfter time.Duration

	// Window is how many transactions may be on a wire without their last replies having been read, where the server
	// offers PIPELINING; they come from several goroutines that call Send, or from SendAll. It is also how many
	// messages can become Unknown at most when a wire is lost. Default 64; 1 is the classic dialogue. Every wire begins
	// with 1 and doubles as it proves itself.
	Window int

	// WindowOctets is how many octets of content may be underway unacknowledged
	// when another transaction begins. Default 1 MiB.
	WindowOctets int

	// Chunking is the use of BDAT (CHUNKING, RFC 3030), where the server offers it. By default ([UseAuto]) small
	// messages in company go out by BDAT once the server has shown that it discards the octets of one that it refuses:
	// see docs/pipelining.md. [UseOff] is DATA for every message. [UseTrusted] does not wait for that proof: a server
	// that does not discard takes what stands in a message for commands then.
	Chunking ExtensionUse

	// Weight is the share of the mail that this server of a [Pool] gets, beside the other servers that have one. A Send
	// waits for its first wire for at most a second when its turn comes. Servers with 0 are on standby, in their order:
	// they are used when all that have a weight are down. Without any weight the first server that is up gets
	// everything. NewPool refuses a negative one; NewConnection ignores it.
	Weight int

	// Trace hooks see what happens on the wires. nil: none.
	Trace *Trace

	// Logger gets what an operator may want to read: wires opened and closed, failures, and at level Debug the
	// dialogue, without credentials and without content. nil: nothing is logged.
	Logger *slog.Logger
}

// Timeouts are the longest times to wait for the server at each step. They restart with each reply. Zero means the
// default in parentheses, which is RFC 5321 §4.5.3.2's where it has one. The context of a Send bounds all of them.
type Timeouts struct {
	Connect  time.Duration // to open the TCP connection (30 s)
	Greeting time.Duration // from connect to the 220 (5 min)
	Hello    time.Duration // EHLO and HELO (5 min)
	TLS      time.Duration // the STARTTLS reply, and the TLS handshake (1 min)
	Auth     time.Duration // each step of AUTH (5 min)
	Mail     time.Duration // MAIL and RSET (5 min)
	Rcpt     time.Duration // RCPT (5 min)
	Data     time.Duration // the 354 to DATA (2 min)
	Block    time.Duration // writing a block of at most 256 KiB, and how long a content may give nothing (3 min)
	Final    time.Duration // the reply to the terminator (10 min)
	Quit     time.Duration // QUIT (5 s)
}

// withDefaults fills in what is zero.
func (t Timeouts) withDefaults() Timeouts {
	for _, f := range []struct {
		field *time.Duration
		def   time.Duration
	}{
		{&t.Connect, 30 * time.Second},
		{&t.Greeting, 5 * time.Minute},
		{&t.Hello, 5 * time.Minute},
		{&t.TLS, time.Minute},
		{&t.Auth, 5 * time.Minute},
		{&t.Mail, 5 * time.Minute},
		{&t.Rcpt, 5 * time.Minute},
		{&t.Data, 2 * time.Minute},
		{&t.Block, 3 * time.Minute},
		{&t.Final, 10 * time.Minute},
		{&t.Quit, 5 * time.Second},
	} {
		if *f.field <= 0 {
			*f.field = f.def
		}
	}
	return t
}

// ExtensionUse is what is made of an extension that the server offers.
type ExtensionUse int

// The uses of an extension.
const (
	UseAuto    ExtensionUse = iota // with the care that servers in the field call for
	UseOff                         // never
	UseTrusted                     // from the first message on: the server is known to do it right
)

// SecureMode is the use of TLS on a wire.
type SecureMode int

// The three flavours of SMTP to one's own MTA.
const (
	Insecure    SecureMode = iota // no TLS, even if the server offers STARTTLS
	ImplicitTLS                   // TLS before any SMTP (RFC 8314 §3.3), usually port 465
	StartTLS                      // STARTTLS (RFC 3207) or failure: never in the clear
)

var modeWords = [...]string{"smtp", "smtps", "starttls"}

// ParseSecureMode reads Mailman's words for smtp_secure_mode, in any case:
// "smtp" is [Insecure], "smtps" is [ImplicitTLS], "starttls" is [StartTLS].
func ParseSecureMode(word string) (SecureMode, error) {
	for i, w := range modeWords {
		if strings.ToLower(word) == w {
			return SecureMode(i), nil
		}
	}
	return 0, fmt.Errorf("postrider: unknown secure mode %q: write smtp (no TLS), smtps (TLS from the start) "+
		"or starttls", word)
}

// String returns the word that [ParseSecureMode] reads.
func (m SecureMode) String() string {
	if m < 0 || int(m) >= len(modeWords) {
		return fmt.Sprintf("SecureMode(%d)", int(m))
	}
	return modeWords[m]
}

// UnmarshalText reads what [ParseSecureMode] reads.
func (m *SecureMode) UnmarshalText(word []byte) (err error) {
	mode, err := ParseSecureMode(string(word))
	if err == nil {
		*m = mode
	}
	return err
}

// Secret is a password that no log or %+v shows, at whatever depth of a
// caller's structs it lies: the value is behind a function.
type Secret struct{ reveal func() string }

// NewSecret wraps a password. The empty password is no password.
func NewSecret(password string) Secret {
	if password == "" {
		return Secret{}
	}
	return Secret{func() string { return password }}
}

// IsZero reports whether there is no password.
func (s Secret) IsZero() bool { return s.reveal == nil }

// Reveal returns the password itself.
func (s Secret) Reveal() string {
	if s.reveal == nil {
		return ""
	}
	return s.reveal()
}

// String hides the password.
func (s Secret) String() string {
	if s.IsZero() {
		return ""
	}
	return "********"
}

// GoString hides the password.
func (s Secret) GoString() string { return fmt.Sprintf("postrider.NewSecret(%q)", s.String()) }

// MarshalText hides the password from encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
