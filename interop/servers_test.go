//go:build linux

package interop_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/mtatest"
)

// configFor returns what leads to a real server, as its mode and account ask.
func configFor(t *testing.T, s *mtatest.Server) postrider.Config {
	t.Helper()
	mode, err := postrider.ParseSecureMode(string(s.Mode))
	if err != nil {
		t.Fatal(err)
	}
	return postrider.Config{
		Address: s.Address, Mode: mode, ServerName: "localhost", TLS: &tls.Config{RootCAs: s.CAs},
		User: s.User, Password: postrider.NewSecret(s.Password), LocalName: "client.example.com",
	}
}

// connect returns a connection to a real server.
func connect(t *testing.T, s *mtatest.Server, change func(*postrider.Config)) *postrider.Connection {
	t.Helper()
	cfg := configFor(t, s)
	if change != nil {
		change(&cfg)
	}
	conn, err := postrider.NewConnection(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// header has what every server leaves as it is.
func header(n int) string {
	return fmt.Sprintf("From: Anne <anne@example.com>\r\nTo: bart@example.com\r\nSubject: letter %d\r\n"+
		"Date: Mon, 23 Nov 2026 12:00:00 +0000\r\nMessage-ID: <%d@example.com>\r\n", n, n)
}

// letter is a message, and what has to arrive.
type letter struct {
	name    string
	content postrider.Content
	want    string
}

func letters() []letter {
	lf := func(s string) string { return strings.ReplaceAll(s, "\r\n", "\n") }
	body := "\r\nfirst\r\n.\r\n..two dots\r\n.dot\r\nblanks  \t\r\n\r\n\r\nlast\r\n"
	large := "\r\n" + strings.Repeat(".0123456789 0123456789 0123456789 0123456789 0123456789\r\nx\r\n", 4000)
	var all []letter
	add := func(name, text string, c func([]byte) postrider.Content, want string) {
		all = append(all, letter{name, c([]byte(text)), want})
	}
	function := func(b []byte) postrider.Content {
		return postrider.Func(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil })
	}
	add("CRLF", header(0)+body, postrider.Bytes, header(0)+body)
	add("LF", lf(header(1)+body), postrider.Bytes, header(1)+body)
	add("no last line end", strings.TrimSuffix(header(2)+body, "\r\n"), postrider.Bytes, header(2)+body)
	add("eight bits", header(3)+"\r\nGrüße aus Köln\r\n", postrider.Bytes, header(3)+"\r\nGrüße aus Köln\r\n")
	add("no body", header(4)+"\r\n", postrider.Bytes, header(4)+"\r\n")
	add("large, in memory", header(5)+large, postrider.Bytes, header(5)+large)
	add("large, read, LF", lf(header(6)+large), function, header(6)+large)
	add("bare CR", header(7)+"\r\none\rtwo\r\n", postrider.Bytes, header(7)+"\r\none\r\ntwo\r\n")
	return all
}

// forEach runs a test with every kind of server in every mode that it knows.
func forEach(t *testing.T, test func(*testing.T, mtatest.Kind, mtatest.Options)) {
	for _, kind := range mtatest.Kinds() {
		for _, mode := range kind.Modes {
			for _, user := range []string{"", mtatest.User} {
				if user != "" && len(kind.Mechanisms) == 0 {
					continue
				}
				o := mtatest.Options{Mode: mode, User: user}
				name := fmt.Sprintf("%s/%s", kind.Name, mode)
				if user != "" {
					o.Password = mtatest.Password
					name += ",AUTH"
				}
				t.Run(name, func(t *testing.T) { test(t, kind, o) })
			}
		}
	}
}

// TestServersTakeWhatIsSent compares octet for octet what a server has in its queue
// with what was sent: message by message, and as a stream that follows itself.
func TestServersTakeWhatIsSent(t *testing.T) {
	forEach(t, func(t *testing.T, kind mtatest.Kind, o mtatest.Options) {
		server := kind.Start(t, o)
		conn := connect(t, server, nil)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		want := map[string]int{}
		check := func(l letter, r *postrider.Result, err error) {
			t.Helper()
			if err != nil || r.Count(postrider.Accepted) != len(r.Outcomes) {
				t.Errorf("%s: %v %v", l.name, r.Outcomes, err)
			}
			want[l.want]++
		}
		message := func(l letter) *postrider.Message {
			return &postrider.Message{From: "anne@example.com", To: []string{"bart@example.com", "cate@example.com"},
				Content: l.content}
		}
		for _, l := range letters() {
			r, err := conn.Send(ctx, message(l))
			check(l, r, err)
		}
		i := 0
		for r, err := range conn.SendAll(ctx, func(yield func(*postrider.Message) bool) {
			for _, l := range letters() {
				if !yield(message(l)) {
					return
				}
			}
		}) {
			check(letters()[i], r, err)
			i++
		}
		if err := conn.Quit(ctx); err != nil {
			t.Error(err)
		}
		for _, m := range server.Messages(t) {
			to := slices.Sorted(slices.Values(m.To))
			if m.From != "anne@example.com" || strings.Join(to, " ") != "bart@example.com cate@example.com" {
				t.Errorf("envelope: from %s to %s", m.From, to)
			}
			if want[string(m.Content)]--; want[string(m.Content)] < 0 {
				t.Errorf("the server has what was not sent, or has it twice: %d octets, %.300q", len(m.Content),
					m.Content)
			}
		}
		for text, n := range want {
			if n > 0 {
				t.Errorf("%d times missing: %d octets, %.200q", n, len(text), text)
			}
		}
		if s := conn.Stats(); s.Dials != 1 || s.Resends != 0 || s.Unknown != 0 || s.Fallbacks != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// TestServersRefuseAWrongPassword: the error says AUTH, and nobody's mail is refused.
func TestServersRefuseAWrongPassword(t *testing.T) {
	forEach(t, func(t *testing.T, kind mtatest.Kind, o mtatest.Options) {
		if o.User == "" {
			t.Skip("without an account there is no password")
		}
		server := kind.Start(t, o)
		conn := connect(t, server, func(c *postrider.Config) { c.Password = postrider.NewSecret("wrong") })
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		r, err := conn.Send(ctx, &postrider.Message{From: "anne@example.com", To: []string{"bart@example.com"},
			Content: postrider.Bytes([]byte(header(1)))})
		if r.Outcomes[0].State != postrider.Untried {
			t.Errorf("%v", r.Outcomes)
		}
		if err == nil || !strings.Contains(err.Error(), "AUTH") || strings.Contains(err.Error(), "wrong\"") {
			t.Errorf("%v", err)
		}
	})
}

// TestServersShowACertificateThatIsChecked: with another name it is refused, in so
// many words.
func TestServersShowACertificateThatIsChecked(t *testing.T) {
	forEach(t, func(t *testing.T, kind mtatest.Kind, o mtatest.Options) {
		if o.Mode == mtatest.Plain || o.User != "" {
			t.Skip("no certificate, or seen already")
		}
		server := kind.Start(t, o)
		conn := connect(t, server, func(c *postrider.Config) { c.ServerName = "elsewhere.example.com" })
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := conn.SendMail(ctx, "anne@example.com", []string{"bart@example.com"}, []byte(header(1)))
		if err == nil || !strings.Contains(err.Error(), "elsewhere.example.com") {
			t.Errorf("%v", err)
		}
	})
}
