package hint

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
)

// row is a failure, the rule that is meant for it, and words that its hint must hold, or must not after a "!".
type row struct {
	failure Failure
	rule    string // "" if there is no hint
	words   []string
}

// pinned stands for the error of package dial.
type pinned struct{ error }

func (pinned) WrongPin() {}

// wrapped is an error as the engine hands it on, with words of its own around the cause.
func wrapped(err error) error { return fmt.Errorf("while connecting: %w", err) }

// replies are the failures that consist of a reply or of the client's own verdict. Those with an error from the network
// or from TLS are provoked, in provoke_test.go.
func replies() []row {
	const denied = "<bart@example.org>: Relay access denied"
	return []row{
		{Failure{Step: StartTLS, Mode: "starttls", Err: wrapped(ErrNoStartTLS)}, "STARTTLS not offered",
			[]string{"587", "Config.Mode to Insecure"}},
		{Failure{Step: Auth, Err: wrapped(ErrNoAuth), OfferedStartTLS: true}, "AUTH only after STARTTLS",
			[]string{"Config.Mode to StartTLS"}},
		{Failure{Step: Auth, Err: ErrNoMechanism, OfferedStartTLS: true, OfferedAuth: true,
			Mechanisms: []string{"GSSAPI"}}, "AUTH only after STARTTLS", nil},
		{Failure{Step: Auth, Err: ErrNoAuth, OfferedStartTLS: true, Encrypted: true}, "AUTH not offered",
			[]string{"587", "465", "without Config.User and Config.Password"}},
		{Failure{Step: Auth, Err: ErrNoAuth}, "AUTH not offered", nil},
		{Failure{Step: Auth, Err: wrapped(ErrNoMechanism), OfferedAuth: true, Mechanisms: []string{"GSSAPI", "NTLM"}},
			"no common mechanism", []string{`"GSSAPI", "NTLM"`, "Config.AuthMechanisms"}},
		{Failure{Step: Auth, Err: ErrNoMechanism, OfferedAuth: true}, "no common mechanism",
			[]string{"without a mechanism"}},
		{Failure{Step: Auth, Err: ErrPlaintextAuth, OfferedStartTLS: true}, "credentials in the clear, needlessly",
			[]string{"StartTLS"}},
		{Failure{Step: Auth, Err: wrapped(ErrPlaintextAuth)}, "credentials in the clear",
			[]string{"Config.AllowPlaintextAuth to true", "safe without TLS"}},
		{Failure{Step: Mail, Err: wrapped(ErrTooBig)}, "message too big, by SIZE", []string{"message_size_limit"}},
		{Failure{Step: Rcpt, Err: wrapped(ErrNoSMTPUTF8)}, "SMTPUTF8 missing", []string{"xn--", "smtputf8_enable"}},
		{Failure{Step: Mail, Err: wrapped(ErrTLSRequired)}, "TLS required", []string{"Config.Pins"}},
		{Failure{Step: Mail, Err: wrapped(ErrNoRequireTLS)}, "no REQUIRETLS", []string{"Message.RequireTLS"}},
		{Failure{Step: Auth, Err: wrapped(ErrCredentials)}, "no credentials", []string{"Config.Credentials"}},
		{Failure{Step: Auth, Code: 235, Err: fmt.Errorf("AUTH SCRAM-SHA-256: %w", ErrUnproven)}, "unproven server",
			[]string{"not be the right server"}},
		{Failure{Step: Auth, Code: 535, Err: fmt.Errorf(`AUTH XOAUTH2: %w: "{}"`, ErrToken)}, "token refused",
			[]string{"fresh token", "Config.Credentials"}},
		{Failure{Step: Handshake, Err: wrapped(pinned{errors.New("no pin")})}, "wrong pin", []string{"Config.Pins"}},

		// RFC 3207 §4, RFC 4954 §6.
		{Failure{Step: Mail, Code: 530, Enhanced: "5.7.0", Text: "5.7.0 Must issue a STARTTLS command first"},
			"530, STARTTLS first", []string{"StartTLS"}},
		{Failure{Step: Mail, Code: 530, Text: "Authentication required", OfferedStartTLS: true}, "530, STARTTLS first",
			nil},
		{Failure{Step: Mail, Code: 530, Enhanced: "5.7.0", Text: "5.7.0 Authentication required"}, "530, AUTH first",
			[]string{"Config.User and Config.Password"}},
		{Failure{Step: Mail, Code: 530, Text: "Log in (TLS is on)", OfferedStartTLS: true, Encrypted: true},
			"530, AUTH first", nil},
		{Failure{Step: Rcpt, Code: 550, Enhanced: "5.7.1", Text: "5.7.1 Authentication required"}, "530, AUTH first",
			nil},
		{Failure{Step: Rcpt, Code: 550, Enhanced: "5.7.26", Text: "5.7.26 This mail is unauthenticated"}, "", nil},
		{Failure{Step: Auth, Code: 538, Enhanced: "5.7.11", Text: "5.7.11 Encryption required"},
			"538, encryption for this mechanism", []string{"StartTLS"}},
		{Failure{Step: Auth, Code: 534, Enhanced: "5.7.9", Text: "5.7.9 Application-specific password required"},
			"mechanism refused", []string{"Config.AuthMechanisms", "application password"}},
		{Failure{Step: Auth, Code: 504, Text: "Unrecognized authentication type"}, "mechanism refused", nil},
		{Failure{Step: Auth, Code: 535, Enhanced: "5.7.8", Text: "5.7.8 Error: authentication failed"},
			"535 and its kin", []string{"Config.User and Config.Password", "application password"}},
		{Failure{Step: Auth, Code: 571, Text: "Bad authentication"}, "535 and its kin", nil}, // fact 33
		{Failure{Step: Auth, Code: 501, Text: "Cannot decode"}, "", nil},
		{Failure{Step: Auth, Code: 454, Enhanced: "4.7.0", Text: "4.7.0 Temporary authentication failure"},
			"AUTH deferred", []string{"its log"}},
		{Failure{Step: StartTLS, Mode: "starttls", OfferedStartTLS: true, Code: 454,
			Text: "TLS not available due to temporary reason"}, "STARTTLS refused", []string{"certificate or key"}},
		{Failure{Step: StartTLS, Mode: "starttls", OfferedStartTLS: true, Code: 501, Text: "Syntax error"},
			"STARTTLS refused", nil},
		{Failure{Step: Hello, Code: 550, Text: "Bad HELO"}, "EHLO refused", []string{"Config.LocalName"}},
		{Failure{Step: Hello, Code: 421, Text: "Try later"}, "", nil},

		{Failure{Step: Greeting, Code: 421, Enhanced: "4.7.0",
			Text: "4.7.0 mx Error: too many connections from 192.0.2.1"}, "too many connections",
			[]string{"fewer at once", "smtpd_client_connection_count_limit"}},
		{Failure{Step: Mail, Code: 421, Text: "Too many concurrent SMTP connections; please try again later."},
			"too many connections", nil},
		{Failure{Step: Greeting, Code: 554, Text: "Too many connections"}, "too many connections", nil},
		{Failure{Step: Auth, Code: 421, Text: "Too many connections"}, "too many connections", nil},
		{Failure{Step: Greeting, Code: 421, Text: "mx.example.com Service not available"}, "greeting 421",
			[]string{"its log"}},
		{Failure{Step: Greeting, Code: 554, Text: "No SMTP service here"}, "greeting 554", []string{"blocked", "587"}},
		{Failure{Step: Mail, Code: 421, Text: "Bye"}, "", nil},

		{Failure{Step: Rcpt, Code: 554, Enhanced: "5.7.1", Text: "5.7.1 " + denied, Remote: "192.0.2.1:25"},
			"relay denied", []string{"Config.User and Config.Password", "mynetworks"}},
		{Failure{Step: Rcpt, Code: 454, Text: denied, Remote: "127.0.0.1:25"}, "relay denied", nil},
		{Failure{Step: Rcpt, Code: 550, Text: "relay not permitted"}, "relay denied", nil},
		{Failure{Step: Rcpt, Code: 554, Text: denied, Host: "localhost", Port: "25", Remote: "[::1]:25"},
			"relay denied to ::1", []string{"Config.Address to 127.0.0.1:25,", "[::1]/128"}},
		{Failure{Step: Rcpt, Code: 550, Enhanced: "5.1.1", Text: "5.1.1 User unknown"}, "", nil},
		{Failure{Step: Rcpt, Code: 550, Enhanced: "5.7.1", Text: "5.7.1 Policy"}, "", nil},

		// RFC 1870 §6, RFC 3463 §3.4; a full mailbox and too many recipients are other matters.
		{Failure{Step: Mail, Code: 552, Text: "message size exceeds fixed maximum message size"}, "message too big",
			[]string{"message_size_limit"}},
		{Failure{Step: Content, Code: 552, Enhanced: "5.3.4", Text: "5.3.4 Message too big"}, "message too big", nil},
		{Failure{Step: Content, Code: 554, Enhanced: "5.3.4", Text: "5.3.4 Message too big"}, "message too big", nil},
		{Failure{Step: Rcpt, Code: 552, Enhanced: "5.2.2", Text: "5.2.2 Mailbox full"}, "", nil},
		{Failure{Step: Rcpt, Code: 552, Text: "Too many recipients"}, "", nil},
		{Failure{Step: Mail, Code: 553, Enhanced: "5.7.1", Text: "5.7.1 Sender address rejected: not owned by user"},
			"sender refused", []string{"address of that user"}},
		{Failure{Step: Mail, Code: 550, Text: "Sender unknown"}, "sender refused", nil},
		{Failure{Step: Mail, Code: 451, Text: "Try later"}, "", nil},
		{Failure{Step: Content, Code: 554, Text: "Spam"}, "", nil},

		{Failure{Step: Greeting, Mode: "smtp", Port: "2465", Text: "\x15\x03\x01\x00\x02\x02F"},
			"plain client on a TLS port", []string{"Config.Mode to ImplicitTLS"}},
		{Failure{Step: Greeting, Mode: "starttls", Port: "25",
			Err: errors.New(`not an SMTP reply: "\x15\x03\x03\x00\x02"`)}, "plain client on a TLS port", nil},
		{Failure{Step: Greeting, Mode: "starttls", Port: "2525", Err: wrapped(ErrTLSPort)},
			"plain client on a TLS port", nil},
		{Failure{Step: Greeting, Mode: "smtp", Port: "465", Err: wrapped(ErrNoGreeting)}, "late greeting",
			[]string{"Config.Timeouts.Greeting"}},
		{Failure{Step: Handshake, Mode: "smtps", Port: "25", Err: wrapped(ErrPlainPort)}, "TLS to a plain port", nil},
		{Failure{Step: Greeting, Err: errors.New(`not an SMTP reply: "SSH-2.0"`)}, "", nil},
		{Failure{}, "", nil},
	}
}

// rows are all failures of the tests.
func rows(t *testing.T) []row { return append(replies(), provoked(t)...) }

func TestHints(t *testing.T) {
	for _, tt := range rows(t) {
		i := slices.IndexFunc(rules, func(r rule) bool { return r.match(tt.failure) })
		name := ""
		if i >= 0 {
			name = rules[i].name
		}
		if name != tt.rule {
			t.Errorf("%+v:\n\tmet the rule %q; want %q", tt.failure, name, tt.rule)
		}
		got := For(tt.failure).String()
		if (got == "") != (tt.rule == "") {
			t.Errorf("%+v:\n\tFor is %q", tt.failure, got)
		}
		for _, w := range tt.words {
			if w, not := strings.CutPrefix(w, "!"); strings.Contains(got, w) == not {
				t.Errorf("%q:\n\t%q has %q: %t", tt.rule, got, w, not)
			}
		}
	}
}

// Every row of the table is the first that matches for some failure: none is shadowed, none untested.
func TestEveryRuleIsMet(t *testing.T) {
	met := map[string]bool{}
	for _, tt := range rows(t) {
		met[tt.rule] = true
	}
	for _, r := range rules {
		if !met[r.name] {
			t.Errorf("no failure meets the rule %q", r.name)
		}
	}
}

// A hint is one line that goes behind an error and a semicolon, and is read by somebody in a hurry.
func TestHintsReadWell(t *testing.T) {
	for _, tt := range rows(t) {
		got := For(tt.failure).String()
		if strings.ContainsFunc(got, unicode.IsControl) || strings.HasSuffix(got, ".") || len(got) > 420 {
			t.Errorf("%q (%d octets)", got, len(got))
		}
	}
}

// What a hint tells to set are fields of Config, as the root package declares it, and those are in the list by which
// the doors are tested; the list has no others.
func TestHintsNameWhatExists(t *testing.T) {
	declared := structFields(t, "../../config.go")
	exists := func(field string) bool {
		if of, ok := strings.CutPrefix(field, "Timeouts."); ok {
			return slices.Contains(declared["Timeouts"], of)
		}
		return slices.Contains(declared["Config"], field)
	}
	named := map[string]bool{}
	note := func(h Hint) {
		h.In(func(field, value string) string { named[field] = true; return "" })
	}
	for _, tt := range rows(t) {
		note(For(tt.failure))
	}
	for _, h := range []Hint{GreetingIsLate(), LeaveFirst(time.Minute), Verify(), VerifyName()} {
		note(h)
	}
	for field := range named {
		if !exists(field) || !slices.Contains(Fields(), field) {
			t.Errorf("the field %s: in Config %t, in the list %t", field, exists(field),
				slices.Contains(Fields(), field))
		}
	}
	for _, field := range Fields() {
		if !named[field] {
			t.Errorf("no hint names %s", field)
		}
	}
}

// Each door puts its own words for a setting, and a secret is hidden in the words of the server alone.
func TestDoors(t *testing.T) {
	h := Hint("try " + setting("Mode", "smtps") + ", or see to " + setting("User", "") + "; it offers \"smtps\"")
	door := func(field, value string) string { return "<" + field + "|" + value + ">" }
	if got := h.In(door); got != `try <Mode|smtps>, or see to <User|>; it offers "smtps"` {
		t.Error(got)
	}
	if got := h.String(); got != `try Config.Mode to ImplicitTLS, or see to Config.User; it offers "smtps"` {
		t.Error(got)
	}
	if h.Field() != "Mode" || Hint("no more").Field() != "" || Hint("").In(door) != "" {
		t.Errorf("the first field is %q", h.Field())
	}
	hidden := h.Hidden(func(words string) string { return strings.ReplaceAll(words, "smtps", "********") })
	if got := hidden.In(door); got != `try <Mode|smtps>, or see to <User|>; it offers "********"` {
		t.Error(got)
	}
}

// structFields returns the fields of the structs that a file declares.
func structFields(t *testing.T, file string) map[string][]string {
	t.Helper()
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := parser.ParseFile(token.NewFileSet(), file, source, 0)
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string][]string{}
	ast.Inspect(parsed, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		if s, ok := spec.Type.(*ast.StructType); ok {
			for _, f := range s.Fields.List {
				for _, name := range f.Names {
					fields[spec.Name.Name] = append(fields[spec.Name.Name], name.Name)
				}
			}
		}
		return false
	})
	return fields
}

// The names in a certificate are the server's words: they may be many, long, and meant for the terminal.
func TestServerWordsAreQuotedAndCut(t *testing.T) {
	var names []string
	for range 100 {
		names = append(names, "\x1b[2J\r\n"+strings.Repeat("x", 1000))
	}
	got := quoteList(names)
	if strings.ContainsFunc(got, unicode.IsControl) || len(got) > 5*300 || !strings.HasSuffix(got, " and 95 more") {
		t.Errorf("%d octets: %q", len(got), got)
	}
}
