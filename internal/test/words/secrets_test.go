package words_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/test/rig"
	"github.com/postrider/postrider/smtptest"
)

// Passwords and mail do not get into logs by accident, and a server's words do not
// get into a terminal raw.

// disguises are the forms in which a password could show itself.
func disguises() []string {
	return []string{
		rig.Password, hex.EncodeToString([]byte(rig.Password)),
		strings.ToUpper(hex.EncodeToString([]byte(rig.Password))),
		base64.StdEncoding.EncodeToString([]byte(rig.Password)),
		base64.StdEncoding.EncodeToString([]byte("\x00testuser\x00" + rig.Password)),
		fmt.Sprint([]byte(rig.Password)), strings.Trim(fmt.Sprintf("%#v", []byte(rig.Password)), "[]byte{}"),
		`Tr0ub4dor\u00263`,
	}
}

func mustHide(t *testing.T, what, shown string) {
	t.Helper()
	for _, d := range disguises() {
		if strings.Contains(shown, d) {
			t.Errorf("%s shows the password as %q:\n%s", what, d, shown)
		}
	}
}

func TestPasswordsDoNotPrint(t *testing.T) {
	rig.InBubble(t, "verbs", func(t *testing.T) {
		r := rig.Setting{Mode: postrider.StartTLS}.Start(t, rig.Options{
			Server: func(s *smtptest.Server) { s.Users = map[string]string{"testuser": rig.Password} },
			Faults: []smtptest.Fault{{Command: "AUTH", Nth: 2, Reply: "535 5.7.8 no"}},
		})
		r.Accepted("bart@example.com")
		r.Quit()
		result, err := r.Send("bart@example.com")
		r.Equal("error", rig.Trouble(err), "connect AUTH 535 lasts")
		cfg := r.Server.Config()
		values := map[string]any{
			"Config": cfg, "*Config": &cfg, "Connection": r.Conn, "Secret": cfg.Password, "*Secret": &cfg.Password,
			"Error": err, "Result": result,
			"a caller's struct": struct{ settings []*postrider.Config }{[]*postrider.Config{&cfg}},
			"a map":             map[string]postrider.Secret{"x": cfg.Password},
		}
		mustNotPrint(t, values)
	})
}

// mustNotPrint shows values in every way there is.
func mustNotPrint(t *testing.T, values map[string]any) {
	t.Helper()
	for name, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%p", "%T"} {
			mustHide(t, name+" by "+verb, fmt.Sprintf(verb, v))
		}
		if b, err := json.Marshal(v); err == nil {
			mustHide(t, name+" by JSON", string(b))
		}
		for _, h := range []func(*bytes.Buffer) slog.Handler{
			func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
			func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		} {
			var b bytes.Buffer
			slog.New(h(&b)).Info("x", "value", v)
			mustHide(t, name+" by slog", b.String())
		}
	}
}

// Neither do the answers of [postrider.Config.Credentials], nor a token that the
// server repeats while it refuses it.
func TestFetchedSecretsDoNotPrint(t *testing.T) {
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256", "XOAUTH2", "OAUTHBEARER"} {
		rig.InBubble(t, mechanism, func(t *testing.T) {
			var rec record
			cfg := postrider.Config{}
			r := rig.Setting{Mode: postrider.StartTLS}.Start(t, rig.Options{
				Server: func(s *smtptest.Server) {
					s.Users, s.Mechanisms = map[string]string{"testuser": "another"}, []string{mechanism}
					s.OAuthRefusal = `{"status":"401","token":"` + rig.Password + `"}`
				},
				Client: func(c *postrider.Config) {
					rec.watch(slog.LevelDebug)(c)
					c.User, c.AuthMechanisms = "", []string{mechanism}
					c.Credentials = func(context.Context, bool) (string, postrider.Secret, error) {
						return "testuser", postrider.NewSecret(rig.Password), nil
					}
					cfg = *c
				},
			})
			result, err := r.Send("bart@example.com")
			r.Equal("error", rig.Trouble(err), "connect AUTH 535 lasts")
			mustHide(t, "error text", rig.Text(err))
			document := base64.StdEncoding.EncodeToString([]byte(r.Server.OAuthRefusal))
			for name, told := range map[string]string{"the log": rec.log.String(), "Reply": rec.replies.String()} {
				mustHide(t, name, told)
				if strings.Contains(told, document) {
					t.Errorf("%s has the document that repeats the token:\n%s", name, told)
				}
			}
			mustNotPrint(t, map[string]any{"Config": cfg, "Connection": r.Conn, "Error": err, "Result": result})
		})
	}
	rig.InBubble(t, "in the reply", func(t *testing.T) {
		var rec record
		encoded := base64.StdEncoding.EncodeToString([]byte("\x00testuser\x00" + rig.Password))
		r := rig.Setting{}.Start(t, rig.Options{
			Server: func(s *smtptest.Server) { s.Users = map[string]string{"testuser": rig.Password} },
			Client: rec.watch(slog.LevelDebug),
			Faults: rig.At("AUTH", 0, "535 5.7.8 "+rig.Password+" is wrong, as is "+encoded),
		})
		result, err := r.Send("bart@example.com")
		r.Equal("error", rig.Trouble(err), "connect AUTH 535 lasts")
		for name, told := range map[string]string{
			"the log": rec.log.String(), "Reply": rec.replies.String(), "error text": rig.Text(err),
		} {
			mustHide(t, name, told)
		}
		mustNotPrint(t, map[string]any{"Error": err, "Result": result})
		if !strings.Contains(rig.Text(err), "5.7.8 ******** is wrong") {
			t.Error(err)
		}
	})
}

func TestASecretTellsOnlyWhatItMust(t *testing.T) {
	s := postrider.NewSecret(rig.Password)
	if s.Reveal() != rig.Password || s.IsZero() || s.String() != "********" || fmt.Sprint(s) != "********" {
		t.Errorf("%v, %v", s, s.IsZero())
	}
	if e := postrider.NewSecret(""); !e.IsZero() || e.Reveal() != "" || e.String() != "" {
		t.Errorf("the empty secret is %v", e)
	}
	if (postrider.Secret{}).Reveal() != "" {
		t.Error("the zero Secret holds something")
	}
}

// record is everything that a Trace and a Logger were told.
type record struct {
	commands, replies, credentials, contents bytes.Buffer
	log                                      bytes.Buffer
}

func (rec *record) watch(level slog.Level) func(*postrider.Config) {
	return func(cfg *postrider.Config) {
		cfg.Logger = slog.New(slog.NewTextHandler(&rec.log, &slog.HandlerOptions{Level: level}))
		cfg.Trace = &postrider.Trace{
			Dialogue: func(e postrider.Event) {
				if e.Kind == postrider.EventCommand {
					fmt.Fprintln(&rec.commands, e.Line)
				} else {
					fmt.Fprintln(&rec.replies, e.Reply)
				}
			},
			Credentials: func(_ int, line string) { fmt.Fprintln(&rec.credentials, line) },
			Content:     func(_ int, octets []byte) { rec.contents.Write(octets) },
		}
	}
}

// Commands, credentials and content are three levels: the dialogue is shown without
// the other two, which come only to the hooks that are named for them.
//
// Fact 55
func TestCommandsCredentialsAndContentAreThreeLevels(t *testing.T) {
	for mechanism, shown := range map[string]string{
		"PLAIN": "AUTH PLAIN ********", "LOGIN": "AUTH LOGIN\n********\n********",
		"CRAM-MD5":      "AUTH CRAM-MD5\n********",
		"SCRAM-SHA-256": "AUTH SCRAM-SHA-256 ********\n********\n********", "XOAUTH2": "AUTH XOAUTH2 ********",
		"OAUTHBEARER": "AUTH OAUTHBEARER ********",
	} {
		t.Run(mechanism, func(t *testing.T) {
			rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
				var rec record
				r := s.Start(t, rig.Options{
					Server: func(s *smtptest.Server) {
						s.Users, s.Mechanisms = map[string]string{"testuser": rig.Password}, []string{mechanism}
					},
					Client: func(cfg *postrider.Config) {
						rec.watch(slog.LevelDebug)(cfg)
						cfg.AuthMechanisms = []string{mechanism}
					},
				})
				r.Accepted("bart@example.com")
				r.Quit()
				for name, text := range map[string]string{
					"Command": rec.commands.String(), "Reply": rec.replies.String(), "Logger": rec.log.String(),
					"Content": rec.contents.String(),
				} {
					mustHide(t, name, text)
					for _, response := range strings.Fields(r.Server.Credentials()[0]) {
						if strings.Contains(text, response) {
							t.Errorf("%s shows the response %q", name, response)
						}
					}
				}
				if !strings.Contains(rec.commands.String(), shown+"\nMAIL") {
					t.Errorf("Command was told\n%s", &rec.commands)
				}
				if n := strings.Count(rec.log.String(), "********"); n != strings.Count(shown, "********") {
					t.Errorf("the log is\n%s", &rec.log)
				}
				if told := rec.credentials.String(); strings.Contains(told, "EHLO") || strings.Contains(told, "MAIL") {
					t.Errorf("Credentials was told more than it is named for:\n%s", told)
				}
				for name, text := range map[string]string{
					"Command": rec.commands.String(), "Logger": rec.log.String(),
					"Credentials": rec.credentials.String(),
				} {
					if strings.Contains(text, "aardvarks") {
						t.Errorf("%s shows the content:\n%s", name, text)
					}
				}
				if got := rec.contents.String(); got != rig.Content {
					t.Errorf("Content was told %q", got)
				}
				for _, response := range strings.Fields(r.Server.Credentials()[0]) {
					if !strings.Contains(rec.credentials.String(), response) {
						t.Errorf("Credentials was not told %q", response)
					}
				}
			})
		})
	}
}

// Below Debug a log has what an operator wants to read, and no dialogue.
//
// Fact 55
func TestTheLogAtInfo(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		var rec record
		r := s.Start(t, rig.Options{Client: rec.watch(slog.LevelInfo), Faults: []smtptest.Fault{
			{Command: "MAIL", Nth: 2, Reply: "421 4.3.2 going \x1b[2Jdown"},
		}})
		r.Accepted("bart@example.com")
		r.Accepted("bart@example.com")
		r.Quit()
		log := rec.log.String()
		if strings.Contains(log, "MAIL FROM") || strings.Contains(log, "example.com") {
			t.Errorf("the log has the dialogue:\n%s", log)
		}
		if !strings.Contains(log, "421 4.3.2 going") || !strings.Contains(log, "server=localhost:25") ||
			!strings.Contains(log, "wire=1") {
			t.Errorf("the log does not tell of the lost wire:\n%s", log)
		}
		if strings.ContainsRune(log, '\x1b') {
			t.Errorf("the log has an escape character: %q", log)
		}
	})
}

// What a server says may be meant for the terminal of whoever reads it.
//
// Fact 89
func TestControlCharactersInTheServersWordsAreEscaped(t *testing.T) {
	const evil = "5.1.1 no \x1b]0;owned\x07 \x00\x7f\u202eend\xff"
	check := func(t *testing.T, what, text string) {
		t.Helper()
		if !strings.Contains(text, `\x1b]0;owned\a`) || strings.ContainsAny(text, "\x1b\x07\x00\x7f\u202e\n\r") {
			t.Errorf("%s: %q", what, text)
		}
	}
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		var rec record
		r := s.Start(t, rig.Options{Client: rec.watch(slog.LevelDebug), Faults: []smtptest.Fault{
			{Command: "RCPT", Nth: 1, Reply: "550-" + evil + "\n550 " + evil},
		}})
		result, err := r.Send("bart@example.com")
		synctest.Wait()
		check(t, "Error", rig.Text(err))
		check(t, "Outcome", result.Outcomes[0].String())
		check(t, "Reply", result.Outcomes[0].Reply.String())
		for line := range strings.Lines(rec.log.String()) {
			if strings.Contains(line, "owned") &&
				strings.ContainsAny(strings.TrimSuffix(line, "\n"), "\x1b\x07\x00\x7f\u202e\r") {
				t.Errorf("log: %q", line)
			}
		}
		// Nothing is lost: the text itself is as it came.
		if got := result.Outcomes[0].Reply.Text; got != evil+"\n"+evil {
			t.Errorf("text %q", got)
		}
	})
}

// An address of the caller's that has control characters is shown escaped, too.
func TestControlCharactersInAddressesAreEscaped(t *testing.T) {
	rig.InBubble(t, "smtp", func(t *testing.T) {
		r := rig.Setting{}.Start(t, rig.Options{})
		m := rig.Mail("x@example.com\x1b[2J\r\nQUIT")
		m.From = "\x1b[2J@example.com"
		result, err := r.Deliver(m)
		for _, text := range []string{rig.Text(err), result.Outcomes[0].String()} {
			if strings.ContainsAny(text, "\x1b\r\n") {
				t.Errorf("%q", text)
			}
		}
		result, err = r.Send("x@example.com\x1b[2J\r\nQUIT")
		for _, text := range []string{rig.Text(err), result.Outcomes[0].String()} {
			if strings.ContainsAny(text, "\x1b\r\n") {
				t.Errorf("%q", text)
			}
		}
	})
}

// So are the words of whatever opens the sockets.
func TestControlCharactersInCausesAreEscaped(t *testing.T) {
	rig.InBubble(t, "smtp", func(t *testing.T) {
		r := rig.Setting{}.Start(t, rig.Options{Client: func(cfg *postrider.Config) {
			cfg.Dial = func(context.Context, string, string) (net.Conn, error) {
				return nil, errors.New("proxy: \x1b[2J\r\nno")
			}
		}})
		result, err := r.Send("bart@example.com")
		for _, text := range []string{rig.Text(err), result.Outcomes[0].String()} {
			if !strings.Contains(text, `proxy: \x1b[2J\r\nno`) {
				t.Errorf("%q", text)
			}
		}
	})
}

// Fact 89: a reply of several lines, one error type, and errors.Is for what is not
// the server's.
//
// Fact 89
func TestRepliesAndErrors(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{Faults: rig.At("RCPT", 1, "550-5.1.1 a\n550-5.1.1 b\n550 5.1.1 c")})
		result, err := r.Send("bart@example.com")
		want := postrider.Reply{Code: 550, Enhanced: postrider.EnhancedCode{5, 1, 1}, Text: "5.1.1 a\n5.1.1 b\n5.1.1 c"}
		if got := result.Outcomes[0].Reply; got != want {
			t.Errorf("reply %+v", got)
		}
		var e *postrider.Error
		if !errors.As(err, &e) || e.Reply != want || e.Address != "localhost:25" || e.Err != nil {
			t.Errorf("error %+v", e)
		}
		if !strings.HasPrefix(rig.Text(err), "postrider: localhost:25: RCPT: 550 5.1.1 a / 5.1.1 b / 5.1.1 c") {
			t.Errorf("error %q", err)
		}
		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		result, err = r.Conn.Send(canceled, rig.Mail("bart@example.com"))
		if rig.Fates(result) != "untried local 0" || !errors.Is(err, context.Canceled) ||
			rig.Trouble(err) != "local message 0 passes" {
			t.Errorf("%v, %v", result.Outcomes, err)
		}
		r.Conn.Close()
		result, err = r.Conn.Send(t.Context(), rig.Mail("bart@example.com"))
		if rig.Fates(result) != "untried local 0" || !errors.Is(err, postrider.ErrClosed) ||
			rig.Trouble(err) != "local send 0 lasts" {
			t.Errorf("%v, %v", result.Outcomes, err)
		}
	})
}

// A secret is hidden wherever a server repeats it, in whatever reply, as it is, in base64 at any place, and in lines
// that are no replies; the codes stay, and so does what is decided by them. What was fetched is known like what is
// configured.
func TestSecretsRepeatedByTheServer(t *testing.T) {
	encoded := base64.StdEncoding.EncodeToString([]byte("\x00testuser\x00" + rig.Password))
	shifted := base64.StdEncoding.EncodeToString([]byte("xy" + rig.Password + "z"))
	leak := rig.Password + " " + encoded + " " + shifted
	for name, c := range map[string]struct {
		fault smtptest.Fault
		want  string // of the error: the stage and code
	}{
		"EHLO of the next wire": {
			smtptest.Fault{Command: "EHLO", Nth: 2, Reply: "550 5.7.1 not you: " + leak}, "connect EHLO 550 lasts",
		},
		"greeting": {smtptest.Fault{Command: smtptest.Greeting, Nth: 2, Reply: "554 5.7.1 " + leak},
			"connect greeting 554 lasts"},
		"AUTH": {
			smtptest.Fault{Command: "AUTH", Nth: 2, Reply: "454 4.7.0 " + leak}, "connect AUTH 454 passes",
		},
		"MAIL": {
			smtptest.Fault{Command: "MAIL", Nth: 2, Reply: "550-5.7.1 " + leak + "\n550 5.7.1 " + leak},
			"mail MAIL 550 lasts",
		},
		"RCPT": {
			smtptest.Fault{Command: "RCPT", Nth: 2, Reply: "550 5.1.1 " + leak}, "rcpt RCPT 550 lasts",
		},
		"DATA": {
			smtptest.Fault{Command: "DATA", Nth: 2, Reply: "554 5.6.0 " + leak}, "content DATA 554 lasts",
		},
		"content": {
			smtptest.Fault{Command: ".", Nth: 2, Reply: "554 5.6.0 " + leak}, "content content 554 lasts",
		},
		"421": {
			smtptest.Fault{Command: ".", Nth: 2, Reply: "421 4.3.2 " + leak}, "content content 421 passes",
		},
		"no reply": {smtptest.Fault{Command: "EHLO", Nth: 2, Reply: leak}, "connect EHLO 0 lasts"},
	} {
		for _, fetched := range []bool{false, true} {
			rig.InBubble(t, fmt.Sprint(name, " ", fetched), func(t *testing.T) {
				var rec record
				r := rig.Setting{}.Start(t, rig.Options{
					Server: func(s *smtptest.Server) { s.Users = map[string]string{"testuser": rig.Password} },
					Client: func(cfg *postrider.Config) {
						rec.watch(slog.LevelDebug)(cfg)
						cfg.MaxTransactions, cfg.AuthMechanisms = 1, []string{"PLAIN"}
						if fetched {
							cfg.User, cfg.Password = "", postrider.Secret{}
							cfg.Credentials = func(context.Context, bool) (string, postrider.Secret, error) {
								return "testuser", postrider.NewSecret(rig.Password), nil
							}
						}
					}, Faults: []smtptest.Fault{c.fault},
				})
				r.Accepted("bart@example.com")
				result, err := r.Send("bart@example.com")
				r.Quit()
				if got := rig.Trouble(err); !strings.HasPrefix(c.want, got[:strings.LastIndexByte(got, ' ')]) &&
					name != "DATA" {
					t.Errorf("the error is %q; want %q", got, c.want)
				}
				shown := map[string]string{
					"error text": rig.Text(err), "log": rec.log.String(), "Trace.Reply": rec.replies.String(),
					"outcomes": fmt.Sprintf("%+v", result.Outcomes),
				}
				for what, s := range shown {
					mustHide(t, what, s)
					for _, piece := range []string{encoded[16:26], shifted[4:14]} {
						if strings.Contains(s, piece) {
							t.Errorf("%s shows %q of the password in base64:\n%s", what, piece, s)
						}
					}
				}
				if r := result.Outcomes[0].Reply; r.Code != 0 && r.Enhanced == (postrider.EnhancedCode{}) ||
					!strings.Contains(rig.Text(err), "********") {
					t.Errorf("%+v; %v", r, err)
				}
			})
		}
	}
}

// What a server offers is read to the letter, though a password may have its name; so is the code in a reply.
func TestAPasswordThatIsAWordOfTheProtocol(t *testing.T) {
	for _, secret := range []string{"PIPELINING", "8BITMIME", "SMTPUTF8", "2.1.0 Sender ok", "5.1.1 no"} {
		rig.InBubble(t, secret, func(t *testing.T) {
			var rec record
			r := rig.Setting{}.Start(t, rig.Options{
				Server: func(s *smtptest.Server) {
					s.Users = map[string]string{"testuser": secret}
					s.Extensions = smtptest.AllExtensions()
				}, Client: rec.watch(slog.LevelDebug), Faults: rig.At("RCPT", 2, "550 5.1.1 no such user"),
			})
			r.Accepted("bart@example.com")
			r.Quit()
			if !strings.Contains(rec.commands.String(), "BODY=8BITMIME") {
				t.Errorf("said\n%s", &rec.commands)
			}
			result, _ := r.Send("bart@example.com")
			if reply := result.Outcomes[0].Reply; reply.Code != 550 ||
				reply.Enhanced != (postrider.EnhancedCode{5, 1, 1}) {
				t.Errorf("%+v", reply)
			}
		})
	}
}
