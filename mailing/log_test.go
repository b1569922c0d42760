package mailing_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/mailing"
)

// logged delivers to a server that refuses addresses with a d, and gives the log
// with the time blotted out.
func logged(t *testing.T, log mailing.Log, m *postrider.Message) string {
	t.Helper()
	sender := &fake{verdict: func(_ *postrider.Message, to string) postrider.Outcome {
		switch to[0] {
		case 'd':
			return refused(postrider.StageRcpt, 550, "5.1.1 no such user\nat all")
		case 'u':
			return untried()
		}
		return accepted
	}}
	var b bytes.Buffer
	log.Writer = &b
	_, _ = (&mailing.Delivery{Log: log}).Deliver(t.Context(), sender, m)
	text := strings.ReplaceAll(b.String(), fmt.Sprintf(" %d bytes", len(newsletter)), " SIZE bytes")
	return regexp.MustCompile(`in [0-9.e-]+ seconds`).ReplaceAllString(text, "in T seconds")
}

// Fact 102
func TestTheLinesOfSmtpLog(t *testing.T) {
	log := mailing.Log{ListName: "news@example.com"}
	got := logged(t, log, message("a@x.com", "b@x.com"))
	if want := `<1@example.com> smtp to news@example.com for 2 recips, completed in T seconds
<1@example.com> post to news@example.com from bounces@example.com, SIZE bytes
`; got != want {
		t.Errorf("success:\n%s; want\n%s", got, want)
	}
	got = logged(t, log, message("a@x.com", "d@x.com", "u@x.com"))
	if want := `<1@example.com> smtp to news@example.com for 3 recips, completed in T seconds
<1@example.com> post to news@example.com from bounces@example.com, SIZE bytes, 2 failures
<1@example.com> delivery to d@x.com failed with code 550, 5.1.1 no such user / at all
<1@example.com> delivery to u@x.com failed with code 444, the network is down
`; got != want {
		t.Errorf("failures:\n%s; want\n%s", got, want)
	}
}

// Fact 102
func TestTheTemplates(t *testing.T) {
	m := message("a@x.com")
	m.Content = postrider.Bytes([]byte("To: a@x.com\nCc: b@x.com\n\nhello\n"))
	log := mailing.Log{Every: "NO", Success: "${msgid} $recip $seconds 5$$ $refused\x1b"}
	if got, want := logged(t, log, m), "n/a a@x.com,b@x.com $seconds 5$ 0\x1b\n"; got != want {
		t.Errorf("%q; want %q", got, want)
	}
	if got := logged(t, mailing.Log{Every: "no", Refused: "no", Failure: "no"}, message("d@x.com")); got != "" {
		t.Errorf("%q", got)
	}
	m.Content = postrider.Bytes([]byte("Message-ID:\n <\x1bfolded@x.com>\n\n" + strings.Repeat("x", 9<<20)))
	if got, want := logged(t, mailing.Log{Every: "no", Success: "$msgid $size"},
		m), "<\\x1bfolded@x.com> 9437214\n"; got != want {
		t.Errorf("%q; want %q", got, want)
	}
}

// Fact 102
func TestLinesGoToSlogToo(t *testing.T) {
	var b bytes.Buffer
	log := mailing.Log{Every: "no", Logger: slog.New(slog.NewTextHandler(&b, nil))}
	logged(t, log, message("a@x.com"))
	if !strings.Contains(b.String(), `level=INFO msg="<1@example.com> post to`) {
		t.Errorf("%q", &b)
	}
}
