package mailing_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"testing"

	"github.com/emersion/go-msgauth/dkim"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/mailing"
	"github.com/postrider/postrider/smtptest"
)

// Fact 114
func TestThePersonalTo(t *testing.T) {
	people := []mailing.Recipient{
		{Address: "a@example.com"}, {Address: "b@example.com", Name: "Bart Person"},
		{Address: "c@example.com", Name: "Cäsar"},
		{Address: "d@example.com", Name: `Dee "the" D.`}, {Address: "e"},
		// RFC 5321 §4.1.2: they have their quotes already
		{Address: `"f g"@example.com`}, {Address: `"h\"@i"@example.com`},
		{Address: "j@Bücher.example"}, {Address: "ü@Bücher.example"},
	}
	wanted := []string{
		"<a@example.com>", `"Bart Person" <b@example.com>`, "=?utf-8?q?C=C3=A4sar?= <c@example.com>",
		`"Dee \"the\" D." <d@example.com>`, "e",
		`<"f g"@example.com>`, `<"h\"@i"@example.com>`, "<j@xn--bcher-kva.example>", "<ü@Bücher.example>",
	}
	plan := mailing.Individual(people, mailing.PersonalTo())
	for i, m := range built(t, plan, message(mailing.Addresses(people)...)) {
		if got := field(t, m, "To"); got != wanted[i] {
			t.Errorf("the field To of %s is %s; want %s", people[i].Address, got, wanted[i])
		}
	}
	m := message("a@example.com")
	m.Content = postrider.Bytes([]byte("Subject: no To\n\nbody\n"))
	if got := field(t, built(t, mailing.Individual(nil, mailing.PersonalTo()), m)[0], "To"); got != "<a@example.com>" {
		t.Errorf("a missing To became %q", got)
	}
}

// Mailman's X-Mailman-Copy, for those who are in the message's own To as well.
//
// Fact 116
func TestAFieldForSomeRecipients(t *testing.T) {
	mark := mailing.Edit{Apply: func(c *mailing.Draft) error {
		c.Header.Del("X-Mailman-Copy")
		if c.Recipient.Address == "b@x.com" {
			return c.Header.Set("X-Mailman-Copy", "yes")
		}
		return nil
	}}
	m := message("a@x.com", "b@x.com")
	m.Content = postrider.Bytes([]byte("X-Mailman-Copy: no\r\n" + newsletter))
	all := built(t, mailing.Individual(nil, mark), m)
	if field(t, all[0], "X-Mailman-Copy") != "" || field(t, all[1], "X-Mailman-Copy") != "yes" {
		t.Errorf("%q\n%q", text(t, all[0]), text(t, all[1]))
	}
}

func TestListFields(t *testing.T) {
	people := []mailing.Recipient{{Address: "a+b@example.com", Data: map[string]any{"token": "x/1"}}}
	list := mailing.ListFields{
		ID: "news.example.com", Name: "Neuigkeiten für alle", OneClick: true, Precedence: "bulk",
		Unsubscribe: []string{
			"https://example.com/leave/" + strings.Repeat("long", 30) +
				"?who={{urlquery .address}}&t={{urlquery .token}}",
			"mailto:leave@example.com?subject={{urlquery .token}}",
		},
	}
	m := built(t, mailing.Individual(people, list.Edit()), message("a+b@example.com"))[0]
	for name, want := range map[string]string{
		"List-Id": "=?utf-8?q?Neuigkeiten_f=C3=BCr_alle?= <news.example.com>",
		"List-Unsubscribe": "<https://example.com/leave/" + strings.Repeat("long", 30) +
			"?who=a%2Bb%40example.com&t=x%2F1>, <mailto:leave@example.com?subject=x%2F1>",
		"List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
		"Precedence":            "bulk",
	} {
		if got := field(t, m, name); got != want {
			t.Errorf("%s: %s; want %s", name, got, want)
		}
	}
	m = built(t, mailing.Individual(nil, mailing.ListFields{ID: "news.example.com"}.Edit()), message("a@x.com"))[0]
	for _, name := range []string{"List-Unsubscribe", "List-Unsubscribe-Post", "Precedence"} {
		if strings.Contains(text(t, m), name) {
			t.Errorf("%s is there, and nobody asked for it", name)
		}
	}
}

func TestListFieldsThatCannotBe(t *testing.T) {
	for what, list := range map[string]mailing.ListFields{
		"one click without https (RFC 8058)": {Unsubscribe: []string{"mailto:leave@example.com"}, OneClick: true},
		"one click without anything":         {OneClick: true},
		"a precedence that is none":          {Precedence: "first-class"},
		"an id that is an address":           {ID: "news@example.com"},
		"data that is not encoded":           {Unsubscribe: []string{"https://example.com/?n={{.name}}"}},
		"a key that is missing":              {Unsubscribe: []string{"https://example.com/?n={{.token}}"}},
		"a template that is none":            {Unsubscribe: []string{"https://example.com/{{"}},
		"no URI":                             {Unsubscribe: []string{"leave@example.com"}},
	} {
		people := []mailing.Recipient{{Address: "a@x.com", Name: "A Person>"}}
		if _, err := mailing.Individual(people, list.Edit())(message("a@x.com")); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
}

func TestMergeMakesBothForms(t *testing.T) {
	people := []mailing.Recipient{{Address: "a@x.com", Name: "Zoë <b>", Data: map[string]any{"seat": 12}}}
	merge := mailing.Merge{
		Fields: map[string]string{"Subject": "Für {{.name}}", "Reply-To": `"{{.name}}" <reply@example.com>`},
		Text:   "Hello {{.name}},\nseat {{.seat}}\n" + strings.Repeat("long ", 300),
		HTML:   "<p>Hello {{.name}}</p>",
	}
	m := message("a@x.com")
	m.Content = postrider.Bytes([]byte("From: News <news@example.com>\nSubject: template\nContent-Type: " +
		"text/plain; charset=latin-1\nContent-Language: en\n\nold body\n"))
	one := built(t, mailing.Individual(people, merge.Edit()), m)[0]
	read, err := mail.ReadMessage(strings.NewReader(text(t, one)))
	if err != nil {
		t.Fatal(err)
	}
	subject, _ := new(mime.WordDecoder).DecodeHeader(read.Header.Get("Subject"))
	if subject != "Für Zoë <b>" || read.Header.Get("Mime-Version") != "1.0" ||
		read.Header.Get("Content-Language") != "" || read.Header.Get("From") == "" {
		t.Errorf("the header is %v", read.Header)
	}
	if reply, err := read.Header.AddressList("Reply-To"); err != nil || reply[0].Name != "Zoë <b>" ||
		reply[0].Address != "reply@example.com" {
		t.Errorf("Reply-To is %v, %v", reply, err)
	}
	kind, params, err := mime.ParseMediaType(read.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		t.Fatalf("it is %s, %v", kind, err)
	}
	parts := multipart.NewReader(read.Body, params["boundary"])
	for _, want := range []string{"text/plain", "text/html"} {
		part, err := parts.NextRawPart()
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(quotedprintable.NewReader(part))
		if !strings.HasPrefix(part.Header.Get("Content-Type"), want) || err != nil {
			t.Errorf("%v, %v", part.Header, err)
		}
		if want == "text/html" && string(body) != "<p>Hello Zoë &lt;b&gt;</p>" {
			t.Errorf("the HTML is %q", body)
		}
		if want == "text/plain" &&
			!strings.HasPrefix(strings.ReplaceAll(string(body), "\r\n", "\n"), "Hello Zoë <b>,\nseat 12\nlong long") {
			t.Errorf("the text is %q", body)
		}
	}
	if _, err := parts.NextPart(); err != io.EOF {
		t.Errorf("there is a third part: %v", err)
	}
	for line := range strings.SplitSeq(text(t, one), "\r\n") {
		if len(line) > 998 { // RFC 5322 §2.1.1
			t.Errorf("a line of %d octets", len(line))
		}
	}
}

func TestMergeOfOneForm(t *testing.T) {
	for kind, merge := range map[string]mailing.Merge{
		"text/plain; charset=utf-8": {Text: "to {{.address}}"},
		"text/html; charset=utf-8":  {HTML: "to {{.address}}"},
	} {
		one := built(t, mailing.Individual(nil, merge.Edit()), message("a@x.com"))[0]
		if got := field(t, one, "Content-Type"); got != kind ||
			field(t, one, "Content-Transfer-Encoding") != "quoted-printable" ||
			!strings.HasSuffix(text(t, one), "\r\n\r\nto a@x.com") {
			t.Errorf("%s: %s", kind, text(t, one))
		}
	}
	one := built(t, mailing.Individual(nil, mailing.Merge{Fields: map[string]string{"Subject": "for " +
		"{{.address}}"}}.Edit()), message("a@x.com"))[0]
	if field(t, one, "Subject") != "for a@x.com" || !strings.HasSuffix(text(t, one), "Nothing happened.\r\n") {
		t.Errorf("without a body of its own: %q", text(t, one))
	}
}

// What one recipient of many lacks is found before the first message leaves.
func TestMergeFindsMissingKeysBeforeAnythingLeaves(t *testing.T) {
	var people []mailing.Recipient
	for i := range 100 {
		people = append(people, mailing.Recipient{Address: fmt.Sprintf("p%d@x.com", i),
			Data: map[string]any{"seat": i}})
	}
	delete(people[99].Data, "seat")
	for what, merge := range map[string]mailing.Merge{
		"a field": {Fields: map[string]string{"Subject": "{{.seat}}"}}, "the text": {Text: "{{.seat}}"},
		"the HTML": {HTML: "{{.seat}}"},
	} {
		sender := &fake{}
		d := mailing.Delivery{Plan: mailing.Individual(people, merge.Edit())}
		report, err := d.Deliver(t.Context(), sender, message(mailing.Addresses(people)...))
		if err == nil || !strings.Contains(err.Error(), "p99@x.com") || !strings.Contains(err.Error(), "seat") {
			t.Errorf("%s: %v", what, err)
		}
		if sender.count() != 0 || report.Count(postrider.Untried) != 100 {
			t.Errorf("%s: %d messages left; %s", what, sender.count(), states(report))
		}
	}
}

func TestMergeLetsNoDataIntoTheHeader(t *testing.T) {
	people := []mailing.Recipient{{Address: "a@x.com", Name: "A\r\nBcc: everybody@x.com"}}
	for _, edit := range []mailing.Edit{
		mailing.Merge{Fields: map[string]string{"Subject": "Dear {{.name}}"}}.Edit(),
		mailing.Merge{Fields: map[string]string{"Subject {{.name}}": "x"}}.Edit(),
	} {
		if _, err := mailing.Individual(people, edit)(message("a@x.com")); err == nil {
			t.Error("no error")
		}
	}
	one := built(t, mailing.Individual(people, mailing.PersonalTo()), message("a@x.com"))[0]
	if strings.Contains(text(t, one), "\nBcc") {
		t.Errorf("the display name became a field: %q", text(t, one))
	}
}

// A column whose name is no identifier is reached by index, and may be missing as well.
func TestIndexFindsWhatIsMissing(t *testing.T) {
	data := map[string]any{"first name": "Anne", "seats": []any{"A", map[string]any{"row": "B"}}}
	people := []mailing.Recipient{{Address: "a@x.com", Data: data}}
	merge := mailing.Merge{Text: `{{index . "first name"}} {{index .seats 0}} {{index .seats 1 "row"}}`}
	if got := text(t, built(t, mailing.Individual(people, merge.Edit()),
		message("a@x.com"))[0]); !strings.Contains(got, "Anne A B") {
		t.Errorf("%q", got)
	}
	for _, wrong := range []string{`{{index . "nope"}}`, `{{index . 1}}`, `{{index .seats 2}}`, `{{index .seats "0"}}`,
		`{{index .seats 1 "nope"}}`, `{{index . "seats" 0 "x"}}`, `{{index . nil}}`} {
		for _, merge := range []mailing.Merge{{Text: wrong}, {HTML: wrong},
			{Fields: map[string]string{"Subject": wrong}}} {
			if _, err := mailing.Individual(people, merge.Edit())(message("a@x.com")); err == nil {
				t.Errorf("%+v: no error", merge)
			}
		}
	}
}

func TestMergeTemplatesThatAreNone(t *testing.T) {
	for _, merge := range []mailing.Merge{{Text: "{{"}, {HTML: "{{if}}"},
		{Fields: map[string]string{"Subject": "{{end}}"}}, {HTML: "<a href='{{.address}}"}} {
		if _, err := mailing.Individual(nil, merge.Edit())(message("a@x.com")); err == nil {
			t.Errorf("%+v: no error", merge)
		}
	}
}

// The signature holds for what arrives, whatever line ends the message had.
func TestSignedMessagesVerifyWhereTheyArrive(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&rsaKey.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	records := map[string]string{
		"r._domainkey.example.com": "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(public),
		"e._domainkey.example.com": "v=DKIM1; k=ed25519; p=" +
			base64.StdEncoding.EncodeToString(edKey.Public().(ed25519.PublicKey)),
	}
	lookup := func(name string) ([]string, error) { return []string{records[name]}, nil }
	server := smtptest.NewServer()
	t.Cleanup(server.Close)
	conn, err := postrider.NewConnection(server.Config())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	head := "From: news@example.com\nSubject: grüße\n  folded\nTo: a@x.com\n\n"
	for what, content := range map[string]postrider.Content{
		"LF":    postrider.Bytes([]byte(head + "one\n.two\n\n\n")),
		"mixed": postrider.Bytes([]byte(strings.ReplaceAll(head, "\n", "\r\n") + "one\rtwo\nthree\r\n\r\rfour")),
		"large": postrider.Bytes([]byte(head + strings.Repeat("a line of a large message\n", 10000))),
	} {
		for _, key := range []mailing.DKIM{{Domain: "example.com", Selector: "r", Key: rsaKey},
			{Domain: "example.com", Selector: "e", Key: edKey}} {
			list := mailing.ListFields{Unsubscribe: []string{"https://example.com/{{.address}}"}, OneClick: true}
			plan := mailing.Signed(mailing.Individual(nil, list.Edit()), key)
			server.Clear()
			m := &postrider.Message{From: "b@example.com", To: []string{"a@x.com"}, Content: content}
			if _, err := (&mailing.Delivery{Plan: plan}).Deliver(t.Context(), conn, m); err != nil {
				t.Fatal(err)
			}
			arrived := server.Messages()[0].Content
			verdicts, err := dkim.VerifyWithOptions(bytes.NewReader(arrived), &dkim.VerifyOptions{LookupTXT: lookup})
			if err != nil || len(verdicts) != 1 || verdicts[0].Err != nil {
				t.Fatalf("%s, %s: %v, %+v", what, key.Selector, err, verdicts)
			}
			if signed := strings.ToLower(strings.Join(verdicts[0].HeaderKeys, " ")); !strings.Contains(signed,
				"list-unsubscribe list-unsubscribe-post") {
				t.Errorf("RFC 8058 wants List-Unsubscribe and List-Unsubscribe-Post signed: %s", signed)
			}
		}
	}
}

func TestSignedWithoutAKeyIsAnErrorBeforeAnythingLeaves(t *testing.T) {
	sender := &fake{}
	d := mailing.Delivery{Plan: mailing.Signed(mailing.Whole, mailing.DKIM{Domain: "example.com", Selector: "a"})}
	if report, err := d.Deliver(t.Context(), sender, message("a@x.com")); err == nil || sender.count() > 0 ||
		states(report) != "untried" {
		t.Errorf("%v; %d messages left", err, sender.count())
	}
}

// A header may be larger than what is held in memory of a content, and end within any of its lines there.
func TestSignedWithALargeHeader(t *testing.T) {
	for filler := range 14 {
		var b strings.Builder
		fmt.Fprintf(&b, "From: a@example.com\r\nSubject: %s\r\n", strings.Repeat("x", filler+1))
		for b.Len() < 100_000 {
			b.WriteString("X-Long-Name: 1\r\n")
		}
		b.WriteString("\r\nhello\r\n")
		m := message("b@x.com")
		m.Content = postrider.Bytes([]byte(b.String()))
		one := built(t, mailing.Signed(mailing.Whole, key(t)), m)[0]
		if got := text(t, one); !strings.HasPrefix(got, "DKIM-Signature") || !strings.HasSuffix(got, b.String()) {
			t.Errorf("filler %d: %.100q", filler, got)
		}
	}
}

// A bare CR ends a line on the wire, and so it does for an edit: no field hides behind one.
func TestFieldsBehindABareCR(t *testing.T) {
	m := message("b@x.com")
	m.Content = postrider.Bytes([]byte("From: a@example.com\rBcc: secret@x.com\r\nSubject: s\r\n\r\nhello\r\n"))
	without := mailing.Edit{Apply: func(d *mailing.Draft) error { d.Header.Del("Bcc"); return nil }}
	one := built(t, mailing.Individual(nil, without), m)[0]
	if got := text(t, one); got != "From: a@example.com\r\nSubject: s\r\n\r\nhello\r\n" {
		t.Errorf("%q", got)
	}
}
