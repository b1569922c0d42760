package send_test

import (
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/test/rig"
	"github.com/postrider/postrider/smtptest"
)

// A bubble's clock begins at midnight UTC on 2000-01-01.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// asked is a message with what it asks for, the MAIL and RCPT that a server with these
// lines in its EHLO reply gets, and what was left out.
type asked struct {
	name       string
	offers     []string
	ask        func(*postrider.Message)
	mail, rcpt string // behind the path
	leftOut    string
}

const everything = "DSN\nFUTURERELEASE 86400 2000-01-02T00:00:00Z\nDELIVERBY 60\nMT-PRIORITY MIXER"

// RFC 4865 (FUTURERELEASE), RFC 2852 (DELIVERBY), RFC 6710 (MT-PRIORITY), RFC 3461 §4 and
// RFC 6533 §3 (ORCPT), by the letter: the server is a script.
var asking = []asked{
	{name: "nothing", offers: []string{everything}, ask: func(*postrider.Message) {}},
	{
		name: "held for a day", offers: []string{everything}, mail: " HOLDFOR=86400",
		ask: func(m *postrider.Message) { m.HoldFor = 24 * time.Hour },
	},
	{
		name: "held for less than a second", offers: []string{everything}, mail: " HOLDFOR=1",
		ask: func(m *postrider.Message) { m.HoldFor = time.Millisecond },
	},
	{
		name: "no limit that can be read", offers: []string{"FUTURERELEASE"}, mail: " HOLDFOR=999999999",
		ask: func(m *postrider.Message) { m.HoldFor = 999999999 * time.Second },
	},
	{
		name: "held until a time in another zone", offers: []string{everything},
		mail: " HOLDUNTIL=2000-01-01T12:30:00Z",
		ask: func(m *postrider.Message) {
			m.HoldUntil = epoch.Add(12*time.Hour + 30*time.Minute).In(time.FixedZone("x", -5*3600))
		},
	},
	{
		name: "held until the latest time", offers: []string{everything}, mail: " HOLDUNTIL=2000-01-02T00:00:00Z",
		ask: func(m *postrider.Message) { m.HoldUntil = epoch.Add(24 * time.Hour) },
	},
	{
		name: "held until a time that has passed", offers: []string{"DSN"},
		ask: func(m *postrider.Message) { m.HoldUntil = epoch },
	},
	{
		name: "returned if late", offers: []string{everything}, mail: " BY=120;R",
		ask: func(m *postrider.Message) {
			m.DeliverBy = postrider.DeliverBy{Within: 2 * time.Minute, OrReturn: true}
		},
	},
	{
		name: "the shortest time", offers: []string{everything}, mail: " BY=60;RT",
		ask: func(m *postrider.Message) {
			m.DeliverBy = postrider.DeliverBy{Within: time.Minute, OrReturn: true, Trace: true}
		},
	},
	{
		name: "told if late", offers: []string{everything}, mail: " BY=1;N",
		ask: func(m *postrider.Message) { m.DeliverBy.Within = time.Second },
	},
	{
		name: "late already, and traced", offers: []string{"DELIVERBY"}, mail: " BY=-3600;NT",
		ask: func(m *postrider.Message) { m.DeliverBy = postrider.DeliverBy{Within: -time.Hour, Trace: true} },
	},
	{
		name: "told if late, where that is not known", leftOut: "DELIVERBY",
		ask: func(m *postrider.Message) { m.DeliverBy.Within = time.Second },
	},
	{
		name: "urgent", offers: []string{everything}, mail: " MT-PRIORITY=9",
		ask: func(m *postrider.Message) { m.Priority = 9 },
	},
	{
		name: "not urgent", offers: []string{"mt-priority"}, mail: " MT-PRIORITY=-9",
		ask: func(m *postrider.Message) { m.Priority = -9 },
	},
	{
		name: "urgent, where that is not known", offers: []string{"DSN"}, leftOut: "MT-PRIORITY",
		ask: func(m *postrider.Message) { m.Priority = 1 },
	},
	{
		name: "all", offers: []string{everything}, mail: " RET=HDRS ENVID=QQ314159 HOLDFOR=60 BY=120;R MT-PRIORITY=3",
		rcpt: " NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Bob@Example.COM",
		ask: func(m *postrider.Message) {
			m.DSN = postrider.DSN{Return: "HDRS", EnvelopeID: "QQ314159"}
			m.HoldFor, m.Priority = time.Minute, 3
			m.DeliverBy = postrider.DeliverBy{Within: 2 * time.Minute, OrReturn: true}
			m.Options = []postrider.RecipientOptions{{Notify: "SUCCESS,DELAY", ORCPT: "rfc822;Bob@Example.COM"}}
		},
	},
	{
		name: "all that may be left out", leftOut: "DSN DELIVERBY MT-PRIORITY",
		ask: func(m *postrider.Message) {
			m.Options, m.Priority, m.DeliverBy.Within = []postrider.RecipientOptions{{Notify: "NEVER"}}, 1, time.Hour
		},
	},
	{
		name: "an original recipient in UTF-8, without SMTPUTF8", offers: []string{"DSN"},
		rcpt: ` ORCPT=utf-8;\x{E9}\x{2B}a@\x{4F8B}.jp`,
		ask: func(m *postrider.Message) {
			m.Options = []postrider.RecipientOptions{{ORCPT: "utf-8;é+a@例.jp"}}
		},
	},
}

func TestWhatAMessageAsksForByTheLetter(t *testing.T) {
	for _, c := range asking {
		rig.InBubble(t, c.name, func(t *testing.T) {
			p := rig.PlayServer(t, func(p *rig.Peer) {
				p.Hello(strings.Split(strings.Join(c.offers, "\n"), "\n")...)
				if got, want := p.Line(), "MAIL FROM:<anne@example.com>"+c.mail; got != want {
					t.Errorf("got  %q\nwant %q", got, want)
				}
				p.Say("250 ok")
				if got, want := p.Line(), "RCPT TO:<bart@example.com>"+c.rcpt; got != want {
					t.Errorf("got  %q\nwant %q", got, want)
				}
				p.Say("250 ok")
				p.Hear("DATA")
				p.Say("354 go")
				p.Hear("From:", "To:", "Subject:", "", ".")
				p.Say("250 ok")
				p.Hear("QUIT")
				p.Say("221 bye")
			})
			m := rig.Mail("bart@example.com")
			c.ask(m)
			r, err := p.Conn.Send(t.Context(), m)
			if err != nil || !r.All(postrider.Accepted) {
				t.Fatalf("%v, %v", r.Outcomes, err)
			}
			if got := strings.Join(r.Transactions[0].LeftOut, " "); got != c.leftOut {
				t.Errorf("left out %q, want %q", got, c.leftOut)
			}
			p.Conn.Quit(t.Context())
		})
	}
}

// What a server would not do, and must not be done otherwise, is refused here, before MAIL.
func TestWhatAServerCannotGrantIsRefusedHere(t *testing.T) {
	for name, c := range map[string]struct {
		offers string
		ask    func(*postrider.Message)
		says   string
	}{
		"held": {"DSN", func(m *postrider.Message) { m.HoldFor = time.Second }, "FUTURERELEASE"},
		"held until": {"DSN", func(m *postrider.Message) {
			m.HoldUntil = epoch.Add(time.Second)
		}, "FUTURERELEASE"},
		"held too long": {everything, func(m *postrider.Message) { m.HoldFor = 86401 * time.Second }, "at most 86400"},
		"held too long until": {everything, func(m *postrider.Message) {
			m.HoldUntil = epoch.Add(86401 * time.Second)
		}, "2000-01-02"},
		"returned": {"DSN", func(m *postrider.Message) {
			m.DeliverBy = postrider.DeliverBy{Within: time.Hour, OrReturn: true}
		}, "DELIVERBY"},
		"returned too early": {everything, func(m *postrider.Message) {
			m.DeliverBy = postrider.DeliverBy{Within: 59 * time.Second, OrReturn: true}
		}, "no time below 60"},
	} {
		rig.InBubble(t, name, func(t *testing.T) {
			p := rig.PlayServer(t, func(p *rig.Peer) {
				p.Hello(strings.Split(c.offers, "\n")...)
				p.Hear("QUIT")
				p.Say("221 bye")
			})
			m := rig.Mail("bart@example.com", "cate@example.com")
			c.ask(m)
			r, err := p.Conn.Send(t.Context(), m)
			if rig.Fates(r) != "refused local 0, refused local 0" || rig.Trouble(err) != "local message 0 lasts" {
				t.Errorf("%v, %v", r.Outcomes, err)
			}
			if !strings.Contains(rig.Text(err), c.says) {
				t.Errorf("%q does not say %q", err, c.says)
			}
			p.Conn.Quit(t.Context())
		})
	}
}

// The time for delivery goes by while a message waits for its wire.
func TestTheTimeForDeliveryBeginsWithSend(t *testing.T) {
	for within, want := range map[time.Duration]string{
		15 * time.Second: " BY=5;R", 10 * time.Second: "",
	} {
		rig.InBubble(t, within.String(), func(t *testing.T) {
			p := rig.PlayServer(t, func(p *rig.Peer) {
				time.Sleep(10 * time.Second)
				p.Hello("DELIVERBY")
				if want == "" {
					p.Hear("QUIT")
					return
				}
				if got := p.Line(); got != "MAIL FROM:<anne@example.com>"+want {
					t.Errorf("got %q", got)
				}
				p.Say("550 enough")
			})
			m := rig.Mail("bart@example.com")
			m.DeliverBy = postrider.DeliverBy{Within: within, OrReturn: true}
			r, err := p.Conn.Send(t.Context(), m)
			fate := "refused mail 550"
			if want == "" {
				fate = "refused local 0"
			}
			if rig.Fates(r) != fate {
				t.Errorf("%v, %v", r.Outcomes, err)
			}
			p.Conn.Quit(t.Context())
		})
	}
}

func TestWhatCannotBeAskedIsToldBeforeDialling(t *testing.T) {
	for name, m := range map[string]postrider.Message{
		"both ways of holding":  {HoldFor: time.Hour, HoldUntil: epoch.Add(time.Hour)},
		"held for less than 0":  {HoldFor: -1},
		"held for an age":       {HoldFor: 1_000_000_000 * time.Second},
		"a year of five digits": {HoldUntil: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)},
		"no time":               {DeliverBy: postrider.DeliverBy{OrReturn: true}},
		"returned at once":      {DeliverBy: postrider.DeliverBy{Within: -1, OrReturn: true}},
		"ten digits":            {DeliverBy: postrider.DeliverBy{Within: -1_000_000_000 * time.Second}},
		"more urgent than 9":    {Priority: 10},
		"less urgent than -9":   {Priority: -10},
		"options of nobody":     {Options: make([]postrider.RecipientOptions, 3)},
		"options of one of two": {Options: make([]postrider.RecipientOptions, 1)},
		"options of none":       {Options: []postrider.RecipientOptions{}},
	} {
		rig.InBubble(t, name, func(t *testing.T) {
			r := rig.Setting{}.Start(t, rig.Options{})
			m.From, m.To = "anne@example.com", []string{"bart@example.com", "cate@example.com"}
			result, err := r.Deliver(&m)
			if rig.Fates(result) != "untried local 0, untried local 0" || rig.Trouble(err) != "local message 0 lasts" {
				t.Errorf("%v, %v", result.Outcomes, err)
			}
			if r.Conn.Stats().Dials != 0 {
				t.Error("it was dialled")
			}
		})
	}
}

// Options belong to single recipients: what is wrong with them does too.
func TestOptionsOfRecipients(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{})
		m := rig.Mail("a@example.com", "b@example.com", "c@example.com", "d@example.com", "e@example.com")
		m.Options = []postrider.RecipientOptions{
			{Notify: "SOMETIMES"}, {Notify: "NEVER"}, {ORCPT: "anne@example.com"}, {},
			{ORCPT: "rfc822;old+e@example.com"},
		}
		result, err := r.Deliver(m)
		if err != nil {
			t.Fatal(err)
		}
		r.Equal("outcomes", rig.Fates(result),
			"refused local 0, accepted content 250, refused local 0, accepted content 250, accepted content 250")
		r.Equal("RCPT", strings.Join(r.Lines(1, "RCPT"), "\n"), strings.Join([]string{
			"RCPT TO:<b@example.com> NOTIFY=NEVER ORCPT=rfc822;b@example.com",
			"RCPT TO:<d@example.com>",
			"RCPT TO:<e@example.com> ORCPT=rfc822;old+2Be@example.com",
		}, "\n"))
	})
}

// In development mode nobody's address goes out, by whatever way.
func TestRedirectHidesOriginalRecipients(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{Client: func(cfg *postrider.Config) {
			cfg.Redirect = func() (string, bool) { return "dev@example.com", true }
		}})
		m := rig.Mail("a@example.com", "dev@example.com")
		m.Options = []postrider.RecipientOptions{
			{Notify: "NEVER", ORCPT: "rfc822;secret@example.com"}, {ORCPT: "rfc822;secret@example.com"},
		}
		if _, err := r.Deliver(m); err != nil {
			t.Fatal(err)
		}
		if said := r.Said(1) + strings.Join(r.Lines(1, ""), "\n"); strings.Contains(said, "secret") {
			t.Errorf("an address went out:\n%s", said)
		}
		if m.Options[1].ORCPT != "rfc822;secret@example.com" {
			t.Error("the caller's message was changed")
		}
	})
}

// smtptest offers the extensions, takes what is within its limits, and refuses the rest.
func TestSmtptestTakesThem(t *testing.T) {
	rig.InBubble(t, "", func(t *testing.T) {
		r := rig.Setting{Pipelining: true}.Start(t, rig.Options{Server: func(s *smtptest.Server) {
			s.Extensions.FutureRelease, s.Extensions.MTPriority = time.Hour, true
			s.Extensions.DeliverBy, s.Extensions.DeliverByMin = true, time.Minute
		}})
		m := rig.Mail("bart@example.com")
		m.HoldUntil, m.Priority = time.Now().Add(time.Hour), -1
		m.DeliverBy = postrider.DeliverBy{Within: 2 * time.Hour, OrReturn: true, Trace: true}
		if _, err := r.Deliver(m); err != nil {
			t.Fatal(err)
		}
		got := r.Server.Messages()[0].MailParams
		want := m.HoldUntil.UTC().Format(time.RFC3339) + " 7200;RT -1"
		if s := got["HOLDUNTIL"] + " " + got["BY"] + " " + got["MT-PRIORITY"]; s != want {
			t.Errorf("got %q, want %q", s, want)
		}
		for name, ask := range map[string]func(*postrider.Message){
			"held":  func(m *postrider.Message) { m.HoldFor = time.Hour + 1 },
			"until": func(m *postrider.Message) { m.HoldUntil = time.Now().Add(time.Hour + time.Second) },
			"early": func(m *postrider.Message) { m.DeliverBy = postrider.DeliverBy{Within: 59e9, OrReturn: true} },
		} {
			m := rig.Mail("bart@example.com")
			ask(m)
			if result, _ := r.Deliver(m); rig.Fates(result) != "refused local 0" {
				t.Errorf("%s: %v", name, result.Outcomes)
			}
		}
	})
}
