package session_test

import (
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider/internal/cause"
	"github.com/postrider/postrider/internal/hint"
	"github.com/postrider/postrider/internal/sasl"
	"github.com/postrider/postrider/internal/session"
)

var anne = sasl.Credentials{User: "anne", Password: "hunter2"}

const plain = "AGFubmUAaHVudGVyMg==" // RFC 4616: NUL anne NUL hunter2

// introduced is a session behind an EHLO that offers mechanisms.
func introduced(t *testing.T, mechanisms string, s script, change func(*session.Settings)) *rig {
	t.Helper()
	r := meet(t, append(script{"S: 220 mx", "C: EHLO client.example.com", "S: 250-mx", "S: 250 " + mechanisms}, s...),
		change)
	if failed := firstOf(r.Greeting(time.Minute), r.Hello(t.Context())); failed != nil {
		t.Fatal(failed)
	}
	return r
}

// RFC 4954 §4: one attempt, whose verdict is 235 and nothing else. renew tells where other credentials could do better.
func TestAuth(t *testing.T) {
	for _, tt := range []struct {
		name, mechanism string
		who             sasl.Credentials
		script          script
		want            string
		is              error
		renew, lost     bool
	}{
		{name: "PLAIN", script: script{"C: AUTH PLAIN " + plain, "S: 235 2.7.0 in"}},
		{name: "LOGIN", mechanism: "LOGIN", script: script{
			"C: AUTH LOGIN", "S: 334 VXNlcm5hbWU6", "C: YW5uZQ==", "S: 334 UGFzc3dvcmQ6", "C: aHVudGVyMg==",
			"S: 235 in",
		}},
		{name: "refused", script: script{"C: AUTH PLAIN " + plain, "S: 535 5.7.8 no"}, renew: true,
			want: "AUTH: 535 5.7.8 no (AUTH PLAIN was refused)"},
		{name: "deferred", script: script{"C: AUTH PLAIN " + plain, "S: 454 4.7.0 later"},
			want: "AUTH: 454 4.7.0 later (AUTH PLAIN was refused)"},
		{name: "503 is no login", script: script{"C: AUTH PLAIN " + plain, "S: 503 5.5.1 already"},
			want: "AUTH: 503 5.5.1 already (AUTH PLAIN was refused)"},
		{name: "250 is no login", script: script{"C: AUTH PLAIN " + plain, "S: 250 ok"}, is: session.ErrOutOfStep,
			want: "AUTH: 250 ok (this reply cannot answer the command: replies and commands are out of step)"},
		{name: "354 is no challenge", script: script{"C: AUTH PLAIN " + plain, "S: 354 go"}, is: session.ErrOutOfStep,
			want: "AUTH: 354 go (this reply cannot answer the command: replies and commands are out of step)"},
		{name: "a challenge that is none", mechanism: "LOGIN",
			script: script{"C: AUTH LOGIN", "S: 334 !", "C: *", "S: 501 cancelled"},
			want:   "AUTH: 334 ! (the server's challenge is not base64)"},
		{name: "closed", script: script{"C: AUTH PLAIN " + plain, "close"}, is: io.EOF, lost: true,
			want: "AUTH: the server closed the connection"},
		{name: "silent", script: script{"C: AUTH PLAIN " + plain, "hang"}, lost: true,
			want: "AUTH: no reply within 1m0s: "},
		{name: "repeats the password", script: script{"C: AUTH PLAIN " + plain, "S: 535 5.7.8 not hunter2, nor " +
			plain}, renew: true,
			want: "AUTH: 535 5.7.8 not ********, nor AGFubmUA********g== (AUTH PLAIN was refused)"},
		{name: "an unfit password", mechanism: "XOAUTH2",
			want: "AUTH: AUTH XOAUTH2: these credentials are of another kind"},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			if tt.mechanism == "" {
				tt.mechanism = "PLAIN"
			}
			r := introduced(t, "AUTH PLAIN LOGIN XOAUTH2", tt.script, nil)
			failed, renew := r.Auth(tt.mechanism, anne)
			got := failure(failed)
			if (got == "") != (tt.want == "") || !strings.HasPrefix(got, tt.want) || tt.is != nil &&
				!errors.Is(failed, tt.is) {
				t.Errorf("%q; want %q", got, tt.want)
			}
			if renew != tt.renew || r.LoggedIn != (tt.want == "") || r.Lost != tt.lost {
				t.Errorf("renew %t, logged in %t, lost %t", renew, r.LoggedIn, r.Lost)
			}
			if shown := strings.Join(r.events, "\n"); strings.Contains(shown, "hunter2") ||
				strings.Contains(shown, plain) {
				t.Errorf("the password is shown: %s", shown)
			}
			r.leave(t)
		})
	}
}

// RFC 4954 §4, RFC 5321 §4.5.3.1.4: a command line has at most 512 octets, CRLF included; an initial response that
// makes it longer waits to be asked for.
func TestAuthLineOf512Octets(t *testing.T) {
	// "AUTH PLAIN " and CRLF leave 499 octets: 124 groups of base64, which are 372 octets of NUL anne NUL password.
	for length, waits := range map[int]bool{366: false, 367: true} {
		bubble(t, map[bool]string{false: "fits", true: "waits"}[waits], func(t *testing.T) {
			client, server := net.Pipe()
			lines := make(chan string, 9)
			go func() {
				defer close(lines)
				defer server.Close()
				serveAuth(server, lines)
			}()
			var events []string
			s := introducedTo(t, client, nil, &events)
			who := sasl.Credentials{User: "anne", Password: strings.Repeat("x", length)}
			if failed, _ := s.Auth("PLAIN", who); failed != nil {
				t.Error(failed)
			}
			s.Raw.Close()
			var all []string
			for line := range lines {
				all = append(all, line)
			}
			if len(all[0]) > 512 || waits != (all[0] == "AUTH PLAIN\r\n") ||
				len(all) != map[bool]int{false: 1, true: 2}[waits] {
				t.Errorf("%d lines, the first of %d octets", len(all), len(all[0]))
			}
		})
	}
}

// Which credentials are shown, to whom, by what.
func TestMechanism(t *testing.T) {
	for _, tt := range []struct {
		name, offers string
		kind         sasl.Credentials
		change       func(*session.Settings)
		far          bool
		want         string
		is           error
	}{
		{name: "the first that is preferred", offers: "AUTH LOGIN PLAIN", kind: anne, want: "PLAIN"},
		{name: "by the caller's order", offers: "AUTH LOGIN PLAIN", kind: anne, want: "LOGIN",
			change: func(s *session.Settings) { s.Mechanisms = []string{"login", "PLAIN"} }},
		{name: "a password that comes later", offers: "AUTH LOGIN", kind: sasl.Credentials{Later: true}, want: "LOGIN"},
		{name: "no AUTH", offers: "SIZE", kind: anne, is: hint.ErrNoAuth},
		{name: "none in common", offers: "AUTH GSSAPI", kind: anne, is: hint.ErrNoMechanism},
		{name: "in the clear, elsewhere", offers: "AUTH PLAIN", kind: anne, far: true, is: hint.ErrPlaintextAuth},
		{name: "in the clear, elsewhere, allowed", offers: "AUTH PLAIN", kind: anne, far: true, want: "PLAIN",
			change: func(s *session.Settings) { s.AllowPlaintextAuth = true }},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			r := introduced(t, tt.offers, nil, func(s *session.Settings) {
				if tt.change != nil {
					tt.change(s)
				}
				if tt.far {
					s.Dial = faraway(s.Dial)
				}
			})
			got, failed := r.Mechanism(tt.kind)
			if got != tt.want || (failed != nil) != (tt.is != nil) || tt.is != nil &&
				(!errors.Is(failed, tt.is) || failed.Step != hint.Auth) {
				t.Errorf("%q, %v", got, failed)
			}
			if slices.ContainsFunc(r.events, func(e string) bool { return strings.Contains(e, "C: AUTH") }) || r.Lost {
				t.Errorf("%q", r.events)
			}
			r.leave(t)
		})
	}
}

// To a server that TLS has proven to be the right one the password is said in one round trip; to others it is proven.
func TestMechanismOfAProvenServer(t *testing.T) {
	for _, tt := range []struct {
		encrypted, verified bool
		want                string
	}{{true, true, "PLAIN"}, {true, false, "SCRAM-SHA-256"}, {false, true, "SCRAM-SHA-256"}} {
		bubble(t, tt.want, func(t *testing.T) {
			r := introduced(t, "AUTH PLAIN SCRAM-SHA-256", nil, func(s *session.Settings) { s.Verified = tt.verified })
			r.Encrypted = tt.encrypted
			if got, failed := r.Mechanism(anne); got != tt.want || failed != nil {
				t.Errorf("encrypted %t, verified %t: %q, %v", tt.encrypted, tt.verified, got, failed)
			}
			r.leave(t)
		})
	}
}

// A server that lets us in without having proven that it knows the password is not believed, and time does not mend
// that.
func TestAYesThatIsNotBelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		lines := make(chan string, 9)
		go func() { defer server.Close(); serveAuth(server, lines) }()
		var events []string
		s := introducedTo(t, client, nil, &events)
		failed, renew := s.Auth("SCRAM-SHA-256", anne)
		var lasting cause.Lasting
		if failed == nil || renew || !errors.Is(failed, sasl.ErrUnproven) || !errors.As(failed, &lasting) ||
			s.LoggedIn {
			t.Errorf("%v, renew %t", failed, renew)
		}
		s.Raw.Close()
	})
}
