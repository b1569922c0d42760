package hint

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
)

// What several hints advise.
var (
	useImplicitTLS = "set " + setting(secureMode, "smtps")
	useStartTLS    = "set " + setting(secureMode, "starttls")
	useInsecure    = "set " + setting(secureMode, "smtp")
	checkAddress   = "check " + setting(address, "")
	login          = setting(user, "") + " and " + setting(password, "")
	implicitPort   = "the server speaks TLS from the start on this port: " + useImplicitTLS
)

const (
	usualPorts = "usual are 25 for smtp, 587 for starttls and 465 for smtps"
	tooBig     = "send a smaller message, or raise the server's limit (Postfix and Exim: message_size_limit)"
)

// rules is the table; the first row that matches gives the hint, so that the particular stand before the general. A row
// stands for a cause: a reply with a code is read before the I/O error that may follow it.
var rules = slices.Concat(localRules, replyRules, dialRules, tlsRules, silenceRules)

// localRules are the client's own verdicts. The errors themselves say what is missing; the hints begin behind that.
var localRules = []rule{
	{"STARTTLS not offered", cause(ErrNoStartTLS),
		always("try another port: 587, or 465 and " + useImplicitTLS +
			"; only if the way to the server is safe without TLS, " + useInsecure)},
	{"AUTH only after STARTTLS", all(cause(ErrNoAuth, ErrNoMechanism), canUpgrade),
		always("it offers STARTTLS, and may offer more logins after it: " + useStartTLS)},
	{"AUTH not offered", cause(ErrNoAuth),
		always("try its submission port, 587 with starttls or 465 with smtps; if it needs no login, " +
			"do without " + login)},
	{"no common mechanism", cause(ErrNoMechanism), noMechanism},
	{"credentials in the clear, needlessly", all(cause(ErrPlaintextAuth), canUpgrade),
		always("the server offers STARTTLS: " + useStartTLS)},
	{"credentials in the clear", cause(ErrPlaintextAuth),
		always("use a port with TLS (587 with starttls, 465 with smtps); only if the way to the server is safe " +
			"without TLS, " +
			"set " + setting(allowPlaintextAuth, "true"))},
	{"TLS required", cause(ErrTLSRequired),
		always(useStartTLS + ", or " + useImplicitTLS +
			" for port 465, and let the certificate be verified, or pin it by " +
			setting(pins, ""))},
	{"no REQUIRETLS", cause(ErrNoRequireTLS),
		always("send the message without Message.RequireTLS, or by a server that knows RFC 8689")},
	{"no credentials", cause(ErrCredentials),
		always("see to what " + setting(credentials, "") + " calls")},
	{"unproven server", cause(ErrUnproven),
		always("this may not be the right server, whatever its certificate says: " + checkAddress +
			", and do not send by it")},
	{"message too big, by SIZE", cause(ErrTooBig),
		always(tooBig)},
	{"SMTPUTF8 missing", cause(ErrNoSMTPUTF8),
		always("write the domain in its ASCII form (xn--…) where only that is not ASCII; " +
			"otherwise the server must learn SMTPUTF8 (Postfix: smtputf8_enable = yes)")},
}

// replyRules are about what the server said.
var replyRules = []rule{
	// RFC 3207 §4 and RFC 4954 §6 both answer 530 5.7.0; the text tells them apart, and an unused STARTTLS.
	{"530, STARTTLS first", all(code(530), inClear, either(says("tls"), canUpgrade)),
		always("the server wants TLS first: " + useStartTLS)},
	{"530, AUTH first", either(code(530), loginWanted),
		always("the server wants a login first: set " + login)},
	{"538, encryption for this mechanism", code(538),
		always("the server takes this login under TLS only: " + useStartTLS)},
	{"mechanism refused", all(at(Auth), code(504, 534)),
		always("the server does not take this mechanism: name another that it offers in " +
			setting(authMechanisms, "") +
			", or get an application password from the provider")},
	// 535 is the rule (RFC 4954 §6); 550, 554 and 571 are met too. 500 to 503 are about the command, not the login.
	{"token refused", all(at(Auth), cause(ErrToken)),
		always("get a fresh token, for this server and with the scope that its provider names, as " +
			setting(password, "") +
			" or by " + setting(credentials, ""))},
	{"535 and its kin", all(at(Auth), permanent, not(code(500, 501, 502, 503))),
		always("the server refused the login: check " + login +
			"; many providers want the whole address as user name, and an application password instead of the " +
			"account's")},
	{"AUTH deferred", all(at(Auth), temporary, not(code(421))),
		always("the server cannot check logins just now: its log tells why")},
	{"STARTTLS refused", all(at(StartTLS), either(temporary, permanent)),
		always("the server offers STARTTLS but cannot do it now: " +
			"its log tells why, often a certificate or key that it cannot read")},
	{"EHLO refused", all(at(Hello), permanent),
		always("the server does not like the name in EHLO: let " + setting(localName, "") +
			" be the fully qualified name of this machine")},
	{"too many connections", all(code(421, 450, 451, 452, 454, 550, 554), says(crowded...)),
		always("the server limits the connections from this machine: open fewer at once, " +
			"or raise its limit (Postfix: smtpd_client_connection_count_limit)")},
	{"plain client on a TLS port", all(at(Greeting), either(tlsRecord, cause(ErrTLSPort))),
		always(implicitPort)},
	{"greeting 421", all(at(Greeting), temporary),
		always("the server takes no mail at the moment: its log tells why")},
	{"greeting 554", all(at(Greeting), permanent),
		always("the server does not talk to this machine: its address may be blocked there; " +
			"a submission port (587 with starttls, 465 with smtps) and a login may be open to it")},
	{"relay denied to ::1", all(relayDenied, fromIPv6Loopback), relayDeniedHere},
	{"relay denied", relayDenied,
		always("the server does not relay for this machine: log in by " + login +
			", or add this machine to its networks (Postfix: mynetworks)")},
	{"message too big", sizeRefused,
		always(tooBig)},
	{"sender refused", all(at(Mail), code(501, 550, 551, 553, 554)),
		always("the server refuses this sender: use an address of a domain that it knows; " +
			"with a login, it may have to be the address of that user")},
}

// crowded is how servers word their limits: Postfix, Exim, Sendmail, Exchange, and what imitates them.
var crowded = []string{"too many connections", "too many concurrent", "number of concurrent", "connection limit",
	"connection rate"}

// dialRules are about the way to the server, before a byte is read.
var dialRules = []rule{
	{"no such name", all(at(Dial), dnsNotFound),
		hostHint("the name %s does not resolve on this machine: " + checkAddress)},
	{"resolver fails", all(at(Dial), dnsFails),
		always("the name server does not answer: look at this machine's resolver, or write an IP address in " +
			setting(address, ""))},
	{"no such socket", all(at(Dial), onUnixSocket, cause(fs.ErrNotExist, syscall.ECONNREFUSED)),
		hostHint("nothing listens on the socket %s: is the MTA running, and is this its socket? " + checkAddress)},
	{"socket not allowed", all(at(Dial), onUnixSocket, cause(fs.ErrPermission)),
		hostHint("this user may not open the socket %s: look at the permissions of the socket and its folders")},
	{"refused on this machine", all(at(Dial), cause(syscall.ECONNREFUSED), toThisMachine), refusedHere},
	{"refused", all(at(Dial), cause(syscall.ECONNREFUSED)),
		always("nothing listens on this port there, or a firewall refuses: " + checkAddress + "; " + usualPorts)},
	{"unreachable", all(at(Dial), cause(syscall.EHOSTUNREACH, syscall.ENETUNREACH)),
		always("there is no route to the server: " + checkAddress +
			"; a name with an IPv6 address needs IPv6 on this machine")},
	{"timeout on connect", all(at(Dial), timedOut),
		always("a firewall seems to drop the connection: " + checkAddress +
			"; many networks block port 25 outwards, where 587 with starttls is open")},
}

// tlsRules are about the handshake; what is wrong with a certificate stands in certificate.go.
var tlsRules = []rule{
	{"TLS to a plain port", all(at(Handshake), mode("smtps"),
		either(causeAs[tls.RecordHeaderError], cause(ErrPlainPort))),
		always("the server does not speak TLS from the start on this port: " +
			useStartTLS + ", or use the port for TLS, 465")},
	{"no TLS after STARTTLS", all(at(Handshake), causeAs[tls.RecordHeaderError]),
		always("the server agreed to STARTTLS and then did not speak TLS: something between here and there may " +
			"interfere")},
	{"protocol version", all(at(Handshake), errorSays("protocol version")),
		always("the server speaks no TLS version that this client accepts (1.2 and up): " +
			"mend the server; only if that cannot be, a Go program can set MinVersion in Config.TLS")},
	{"no cipher in common", all(at(Handshake), errorSays("tls: handshake failure")),
		always("the server found no cipher in common with this client: " +
			"renew the server's TLS settings; a Go program that narrows its own in Config.TLS has to widen them")},
	{"client certificate", errorSays("tls: certificate required"),
		always("the server wants a client certificate: set " + setting(clientCert, "") + " and " +
			setting(clientKey, ""))},
	{"wrong pin", causeAs[wrongPin],
		always("if the server's key was changed, and you know the new one from elsewhere, add it to " +
			setting(pins, "") +
			"; otherwise this is not the server")},
	{"certificate expired", certificateReason(isExpired), expiredHint},
	{"certificate for other uses", certificateReason(isOtherInvalid),
		always("the certificate cannot serve for this server: issue it again, for TLS servers; " + lastResort)},
	{"self-signed", all(causeAs[unknownAuthority], selfSigned),
		always("the certificate is self-signed: name its file in " + setting(caFile, "") + ", or pin it by " +
			setting(pins, "") +
			"; " + lastResort)},
	{"unknown authority", causeAs[unknownAuthority], unknownAuthorityHint},
	{"CN only", all(causeAs[hostnameError], hasNoNames), commonNameHint},
	{"wrong name", causeAs[hostnameError], wrongNameHint},
}

// silenceRules are about a server that hangs up or says nothing, where nothing else told why.
var silenceRules = []rule{
	{"late greeting", all(at(Greeting), cause(ErrNoGreeting)),
		always("the server greets late, or not at all, and TLS is not what it waits for: raise " +
			setting(timeouts+"Greeting", "") +
			"; its log tells why it delays this machine")},
	{"silence on port 465", all(at(Greeting), not(mode("smtps")), port("465"), either(hungUp, timedOut)),
		always(implicitPort)},
	{"hung up before the greeting", all(at(Greeting), hungUp),
		always("the server hung up without a word: it may not accept this machine, or it speaks TLS from the start " +
			"on this port; then " +
			useImplicitTLS)},
	{"no greeting in time", all(at(Greeting), timedOut),
		always("the server says nothing: it may speak TLS from the start on this port, then " + useImplicitTLS +
			", or greet later than " + setting(timeouts+"Greeting", "") + " allows")},
	{"hung up in the handshake", all(at(Handshake), hungUp),
		always("the server hung up during the TLS handshake: its log tells why; a port without TLS does this as well")},
	{"no answer in time", all(not(at(Dial)), timedOut), slowHint},
}

func noMechanism(f Failure) string {
	if len(f.Mechanisms) == 0 {
		return "the server offers AUTH without a mechanism: mend it there"
	}
	return "the server offers " + quoteList(f.Mechanisms) + ": if this client knows one of them, allow it in " +
		setting(authMechanisms, "") + "; otherwise the server must offer another, PLAIN for one"
}

// refusedHere answers the two classics: an MTA that listens on one of the two loopback addresses, and a container,
// whose localhost is not its host's.
func refusedHere(f Failure) string {
	const container = "; inside a container, localhost is the container itself"
	switch ip, _ := netip.ParseAddr(f.Host); {
	case ip.Is6():
		return "nothing listens on port " + f.Port + " of ::1: the MTA may listen on 127.0.0.1 alone, so set " +
			loopback(f) + container
	case ip.Is4():
		return "nothing listens on port " + f.Port + " of " + f.Host + ": is the MTA running, and not on ::1 alone? " +
			checkAddress + container
	default:
		return "nothing listens on port " + f.Port + " of this machine: is the MTA running? " + checkAddress + container
	}
}

// loopback is the address of an MTA on this machine that does without IPv6.
func loopback(f Failure) string { return setting(address, net.JoinHostPort("127.0.0.1", f.Port)) }

// relayDeniedHere is for a server that trusts this machine by its IPv4 address alone.
func relayDeniedHere(f Failure) string {
	return "the server sees this machine as ::1, which it does not relay for: set " + loopback(f) +
		", or add [::1]/128 to its networks (Postfix: mynetworks)"
}

// slowHint names the timeout that ran out.
func slowHint(f Failure) string {
	field := timeoutOf[f.Step]
	if field == "" || f.Step == Greeting {
		return ""
	}
	return "the server did not answer in time: its log tells why; the limit is " + setting(timeouts+field, "") +
		", or the caller's deadline"
}

// The rest are the words that the table is written in.

func always(hint string) func(Failure) string {
	return func(Failure) string { return hint }
}

func hostHint(format string) func(Failure) string {
	return func(f Failure) string { return fmt.Sprintf(format, quote(f.Host)) }
}

func all(conditions ...func(Failure) bool) func(Failure) bool {
	return func(f Failure) bool {
		return !slices.ContainsFunc(conditions, func(c func(Failure) bool) bool { return !c(f) })
	}
}

func either(a, b func(Failure) bool) func(Failure) bool {
	return func(f Failure) bool { return a(f) || b(f) }
}

func not(c func(Failure) bool) func(Failure) bool {
	return func(f Failure) bool { return !c(f) }
}

func at(s Step) func(Failure) bool {
	return func(f Failure) bool { return f.Step == s }
}

func mode(m string) func(Failure) bool {
	return func(f Failure) bool { return f.Mode == m }
}

func port(p string) func(Failure) bool {
	return func(f Failure) bool { return f.Port == p }
}

func code(codes ...int) func(Failure) bool {
	return func(f Failure) bool { return slices.Contains(codes, f.Code) }
}

func temporary(f Failure) bool { return f.Code/100 == 4 }
func permanent(f Failure) bool { return f.Code/100 == 5 }

// says looks for one of the phrases, in lower case, in the server's text.
func says(phrases ...string) func(Failure) bool {
	return func(f Failure) bool {
		text := strings.ToLower(f.Text)
		return slices.ContainsFunc(phrases, func(p string) bool { return strings.Contains(text, p) })
	}
}

func cause(targets ...error) func(Failure) bool {
	return func(f Failure) bool {
		return slices.ContainsFunc(targets, func(t error) bool { return errors.Is(f.Err, t) })
	}
}

func causeAs[E error](f Failure) bool {
	_, ok := errors.AsType[E](f.Err)
	return ok
}

// errorSays is for what crypto/tls has no type for, which is every alert.
func errorSays(phrase string) func(Failure) bool {
	return func(f Failure) bool { return f.Err != nil && strings.Contains(f.Err.Error(), phrase) }
}

func inClear(f Failure) bool { return !f.Encrypted }

// canUpgrade: in the clear, and STARTTLS stands in the EHLO reply.
func canUpgrade(f Failure) bool { return !f.Encrypted && f.OfferedStartTLS }

// loginWanted: 530 by other codes.
func loginWanted(f Failure) bool {
	return (f.Step == Mail || f.Step == Rcpt) && permanent(f) &&
		says("authentication required", "authentication is required", "must authenticate", "authenticate first")(f)
}

// tlsRecord: the octets of a TLS alert, RFC 8446 §5.1, where a greeting should be: as they came, or quoted in the error
// of the parser that did not know what to make of them.
func tlsRecord(f Failure) bool {
	return strings.HasPrefix(f.Text, "\x15\x03") || errorSays(`"\x15\x03`)(f)
}

// relayDenied has no code of its own: 550, 551, 553, 554 and 454 are in use, with 5.7.1 or nothing. All servers say the
// word, though.
func relayDenied(f Failure) bool {
	return f.Step == Rcpt && (temporary(f) || permanent(f)) && says("relay")(f)
}

// fromIPv6Loopback: the wire runs over ::1, so the server sees this machine as ::1.
func fromIPv6Loopback(f Failure) bool {
	ap, err := netip.ParseAddrPort(f.Remote)
	return err == nil && ap.Addr() == netip.IPv6Loopback()
}

// sizeRefused: 5.3.4 says so (RFC 3463 §3.4); 552 alone does at MAIL and after the content (RFC 1870 §6), while 552 at
// RCPT is about the number of recipients, and 5.2.2 is a full mailbox.
func sizeRefused(f Failure) bool {
	return f.Enhanced == "5.3.4" || f.Code == 552 && f.Enhanced == "" && f.Step != Rcpt
}

func dnsNotFound(f Failure) bool {
	e, ok := errors.AsType[*net.DNSError](f.Err)
	return ok && e.IsNotFound
}

func dnsFails(f Failure) bool { return causeAs[*net.DNSError](f) }

func onUnixSocket(f Failure) bool { return f.Port == "" }

func toThisMachine(f Failure) bool {
	ip, err := netip.ParseAddr(f.Host)
	return strings.EqualFold(f.Host, "localhost") || err == nil && ip.IsLoopback()
}

// timedOut: a deadline of ours, the caller's, or the kernel's patience.
func timedOut(f Failure) bool {
	e, ok := errors.AsType[net.Error](f.Err)
	return ok && e.Timeout()
}

func hungUp(f Failure) bool {
	return cause(io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE)(f)
}
