package parity_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/test/rig"
	"github.com/postrider/postrider/smtptest"
)

// Internationalised mail: facts 85 to 87. Only those recipients who need SMTPUTF8
// depend on it, and a domain alone needs none.

// envelopes returns what transactions came of a message: whether each had SMTPUTF8,
// and for whom it was.
func envelopes(r *rig.Pair) (all []string) {
	for _, m := range r.Server.Messages() {
		_, utf8 := m.MailParams["SMTPUTF8"]
		all = append(all, fmt.Sprintf("%v <%s> %s", utf8, m.From, strings.Join(m.To, " ")))
	}
	return all
}

// Facts 85, 86
func TestSMTPUTF8PerRecipient(t *testing.T) {
	const ascii, umlaut = "Subject: x\r\n\r\n\xc3\xa4\r\n", "Subject: \xc3\xa4\r\n\r\nx\r\n"
	for name, c := range map[string]struct {
		from    string
		to      []string
		content string
		want    []string
	}{
		"nobody needs it": {"anne@example.com", []string{"bart@example.com"}, ascii, []string{
			"false <anne@example.com> bart@example.com",
		}},
		"one recipient": {
			"anne@example.com", []string{"bart@example.com", "jürgen@example.com", "cate@example.com"}, ascii,
			[]string{"false <anne@example.com> bart@example.com cate@example.com",
				"true <anne@example.com> jürgen@example.com"},
		},
		"only such recipients": {"anne@example.com", []string{"jürgen@example.com", "θ@example.com"}, ascii, []string{
			"true <anne@example.com> jürgen@example.com θ@example.com",
		}},
		"the header": {"anne@example.com", []string{"bart@example.com", "jürgen@example.com"}, umlaut,
			[]string{"true <anne@example.com> bart@example.com jürgen@example.com"}},
		"the sender": {"änne@example.com", []string{"bart@example.com"}, ascii, []string{
			"true <änne@example.com> bart@example.com",
		}},
		"a domain": {"anne@example.com", []string{"bart@bücher.example"}, ascii, []string{
			"false <anne@example.com> bart@xn--bcher-kva.example",
		}},
		"the sender's domain": {"anne@BÜCHER.example", []string{"bart@example.com"}, ascii, []string{
			"false <anne@xn--bcher-kva.example> bart@example.com",
		}},
		"a domain where UTF-8 is spoken anyway": {
			"anne@example.com", []string{"jürgen@bücher.example", "bart@bücher.example"}, ascii,
			[]string{
				"false <anne@example.com> bart@xn--bcher-kva.example", "true <anne@example.com> jürgen@bücher.example",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
				r := s.Start(t, rig.Options{})
				m := &postrider.Message{From: c.from, To: c.to, Content: postrider.Bytes([]byte(c.content))}
				result, err := r.Deliver(m)
				if err != nil || result.Count(postrider.Accepted) != len(c.to) {
					t.Errorf("%v, %v", result.Outcomes, err)
				}
				if got := envelopes(r); !slices.Equal(got, c.want) {
					t.Errorf("the server took %q; want %q", got, c.want)
				}
				for _, content := range r.Contents() {
					if content != c.content {
						t.Errorf("content %q", content)
					}
				}
			})
		})
	}
}

// Without SMTPUTF8 at the server only those are refused who need it, before
// anything is sent for them; the wire stays clean, and an address with nothing but
// an internationalised domain passes.
//
// Facts 85, 87
func TestWithoutSMTPUTF8(t *testing.T) {
	without := func(s *smtptest.Server) { s.Extensions.SMTPUTF8 = false }
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{Server: without})
		result, err := r.Send("jürgen@example.com", "bart@example.com", "cate@bücher.example")
		r.Equal("outcomes", rig.Fates(result), "refused local 0, accepted content 250, accepted content 250")
		r.Equal("error", rig.Trouble(err), "<nil>")
		if e := result.Outcomes[0].Err; e == nil || !strings.Contains(e.Error(), "SMTPUTF8") {
			t.Errorf("outcome: %v", result.Outcomes[0])
		}
		if got := envelopes(r); !slices.Equal(got, []string{
			"false <anne@example.com> bart@example.com cate@xn--bcher-kva.example",
		}) {
			t.Errorf("the server took %q", got)
		}
		result, err = r.Send("jürgen@example.com")
		r.Equal("outcomes", rig.Fates(result), "refused local 0")
		if rig.Trouble(err) != "local message 0 lasts" || !strings.Contains(rig.Text(err), "smtputf8_enable") {
			t.Errorf("the error does not say what to do: %v", err)
		}
		m := rig.Mail("bart@example.com", "cate@example.com")
		m.From = "änne@example.com"
		result, err = r.Deliver(m)
		r.Equal("outcomes", rig.Fates(result), "refused local 0, refused local 0")
		r.Equal("error", rig.Trouble(err), "local message 0 lasts")
		r.Accepted("dirk@example.com")
		r.Quit()
		r.Equal("said", r.Wires(), "MAIL RCPT RCPT DATA . MAIL RCPT DATA . QUIT")
	})
}

// A header in UTF-8 is handed to a server without SMTPUTF8 as it is: content is
// never edited, and many such headers have been raw for decades.
//
// Fact 87
func TestAHeaderInUTF8IsNotEdited(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{Server: func(s *smtptest.Server) { s.Extensions.SMTPUTF8 = false }})
		m := rig.Mail("bart@example.com")
		m.Content = postrider.Bytes([]byte("Subject: \xc3\xa4\r\n\r\nx\r\n"))
		if _, err := r.Deliver(m); err != nil {
			t.Error(err)
		}
		if got := r.Contents(); !slices.Equal(got, []string{"Subject: \xc3\xa4\r\n\r\nx\r\n"}) {
			t.Errorf("content %q", got)
		}
	})
}

// SMTPUTF8 offered only before STARTTLS is not offered.
//
// Fact 85
func TestSMTPUTF8OfTheNewestEHLO(t *testing.T) {
	rig.InBubble(t, "starttls", func(t *testing.T) {
		r := rig.Setting{Mode: postrider.StartTLS}.Start(t, rig.Options{Server: func(s *smtptest.Server) {
			s.BeforeTLS = &smtptest.Extensions{SMTPUTF8: true}
			s.Extensions.SMTPUTF8 = false
		}})
		result, _ := r.Send("jürgen@example.com")
		r.Equal("outcomes", rig.Fates(result), "refused local 0")
	})
}

// Fact 85
func TestDSNOfInternationalisedRecipients(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{})
		m := rig.Mail("jürgen@example.com", "bart@bücher.example")
		m.Options = slices.Repeat([]postrider.RecipientOptions{{Notify: "FAILURE"}}, len(m.To))
		if _, err := r.Deliver(m); err != nil {
			t.Error(err)
		}
		r.Equal("RCPT", strings.Join(r.Lines(1, "RCPT"), "; "),
			"RCPT TO:<bart@xn--bcher-kva.example> NOTIFY=FAILURE ORCPT=rfc822;bart@xn--bcher-kva.example; "+
				"RCPT TO:<jürgen@example.com> NOTIFY=FAILURE ORCPT=utf-8;jürgen@example.com")
	})
}

// An outcome names the recipient as the caller wrote it.
//
// Fact 85
func TestOutcomesNameTheCallersSpelling(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{Faults: []smtptest.Fault{{Command: "RCPT", Nth: 1, Reply: "550 5.1.1 no"}}})
		result, _ := r.Send("bart@bücher.example", "jürgen@example.com")
		r.Equal("outcomes", rig.Fates(result), "refused rcpt 550, accepted content 250")
	})
}

// Bad UTF-8 and bad domains are refused alone.
//
// Fact 87
func TestWhatIsNoInternationalisedAddress(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{Server: func(s *smtptest.Server) { s.Extensions.SMTPUTF8 = false }})
		result, err := r.Send("\xff@example.com", "bart@\u2028.example", "bart@example.com", "cate@xn--\u00e4.example")
		r.Equal("outcomes", rig.Fates(result),
			"refused local 0, refused local 0, accepted content 250, refused local 0")
		r.Equal("error", rig.Trouble(err), "<nil>")
	})
}
