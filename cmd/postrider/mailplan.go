package main

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"hash"
	"io"
	"iter"
	"os"
	"strings"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/header"
	"github.com/postrider/postrider/internal/text"
	"github.com/postrider/postrider/mailing"
)

// mailText are the flags that say what is sent.
type mailText struct {
	Message string   `placeholder:"FILE" help:"${help_message}"`
	Subject string   `placeholder:"TEMPLATE" help:"Set the subject, made for each recipient."`
	Text    string   `placeholder:"FILE" help:"Make the plain text body from this template."`
	HTML    string   `name:"html" placeholder:"FILE" help:"Make the HTML body from this template."`
	Field   []string `sep:"none" placeholder:"NAME:TEMPLATE" help:"${help_field}"`
}

// mailTextFiles has what these flags name.
type mailTextFiles struct {
	message, text, html []byte
}

// longestText is how large a message or template may be: it is held in memory.
const longestText = 64 << 20

func (t *mailText) validate() error {
	if t.Message == "" && t.Text == "" && t.HTML == "" {
		return errors.New("nothing to send: name a message with --message, or a template with --text or --html")
	}
	for _, f := range t.Field {
		if name, _, ok := strings.Cut(f, ":"); !ok || strings.TrimSpace(name) == "" {
			return fmt.Errorf("--field %s: write it as NAME:TEMPLATE", text.Printable(f))
		}
	}
	return nil
}

// readTexts reads them. The message declares its encodings itself, and stays as it is; templates are UTF-8 or become
// it.
func (c *mailCmd) readTexts() (files *mailTextFiles, err error) {
	files = &mailTextFiles{}
	if c.Message != "" {
		if files.message, err = readText(c.Message); err != nil {
			return nil, err
		}
	}
	if files.text, err = c.readTemplate(c.Text); err != nil {
		return nil, err
	}
	if files.html, err = c.readTemplate(c.HTML); err != nil {
		return nil, err
	}
	if !header.Begins(files.message) {
		return nil, fail(exitData, fmt.Errorf("%s has no header: "+
			"begin it with a field, like Subject: News, or with an empty line", c.Message))
	}
	if files.message != nil {
		files.message, err = removeBcc(files.message)
	}
	return files, err
}

// readTemplate reads a file of text; none without a name.
func (c *mailCmd) readTemplate(name string) ([]byte, error) {
	if name == "" {
		return nil, nil
	}
	octets, err := readText(name)
	if err != nil {
		return nil, err
	}
	r, err := c.decoded(bytes.NewReader(octets))
	if err == nil {
		octets, err = io.ReadAll(text.NewReader(r))
	}
	if err != nil {
		return nil, fail(exitData, c.wrongText(name, err))
	}
	return octets, nil
}

// openText opens a file of text; the caller checks that it is UTF-8.
func (c *mailCmd) openText(name string) (io.ReadCloser, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fail(exitNoInput, err)
	}
	r, err := c.decoded(f)
	if err != nil {
		f.Close()
		return nil, fail(exitData, c.wrongText(name, err))
	}
	return struct {
		io.Reader
		io.Closer
	}{r, f}, nil
}

// decoded is a text in the encoding that --encoding names, as UTF-8.
func (c *mailCmd) decoded(r io.Reader) (io.Reader, error) {
	if c.Encoding == "" {
		return r, nil
	}
	octets, err := io.ReadAll(r)
	if err == nil {
		octets, err = text.Decode(octets, c.Encoding)
	}
	return bytes.NewReader(octets), err
}

// wrongText says what is wrong with a file, and what to do about its encoding.
func (c *mailCmd) wrongText(name string, err error) error {
	if fault := (*text.EncodingError)(nil); c.Encoding == "" && errors.As(err, &fault) {
		return fmt.Errorf("%s: %w. Save it as UTF-8, or name its encoding, like --encoding windows-1252", name, err)
	}
	return fmt.Errorf("%s: %w", name, err)
}

// removeBcc takes out of a message who else gets it.
func removeBcc(message []byte) ([]byte, error) {
	section, body, err := header.Parse(message)
	if err != nil {
		return nil, fail(exitData, err)
	}
	// Never nil: the journal distinguishes an empty message from none.
	return append(append([]byte{}, withoutBcc(section)...), body...), nil
}

func readText(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fail(exitNoInput, err)
	}
	defer f.Close()
	octets, err := io.ReadAll(io.LimitReader(f, longestText+1))
	switch {
	case err != nil:
		return nil, fail(exitNoInput, err)
	case len(octets) > longestText:
		return nil, fail(exitData, fmt.Errorf("%s is larger than %d octets", name, longestText))
	}
	return octets, nil
}

// merge is the templates, and whether there are any.
func (t *mailText) merge(files *mailTextFiles) (m mailing.Merge, any bool) {
	m = mailing.Merge{Text: string(files.text), HTML: string(files.html), Fields: map[string]string{}}
	for _, f := range t.Field {
		name, value, _ := strings.Cut(f, ":")
		m.Fields[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	if t.Subject != "" {
		m.Fields["Subject"] = t.Subject
	}
	return m, t.Text != "" || t.HTML != "" || len(m.Fields) > 0
}

// mailPlan are the flags that say in which messages it is sent.
type mailPlan struct {
	Plan  string `placeholder:"bulk|domain|individual" help:"${help_plan}"`
	Chunk int    `default:"500" placeholder:"N" help:"Put at most N recipients into a chunk. Default: ${default}."`

	VERP       bool   `name:"verp" help:"${help_verp}"`
	VERPFormat string `placeholder:"FORMAT" help:"Form it like this. Default: $${bounces}+$${local}=$${domain}."`

	Personal    bool     `help:"Put only the recipient into the field To."`
	ListID      string   `name:"list-id" placeholder:"DOMAIN" help:"Set the field List-Id, like news.example.com."`
	Unsubscribe []string `sep:"none" placeholder:"TEMPLATE" help:"${help_unsubscribe}"`
	OneClick    bool     `help:"${help_one_click}"`
	Precedence  string   `placeholder:"bulk|list|junk" help:"Set the field Precedence."`

	DKIMDomain   string `name:"dkim-domain" placeholder:"DOMAIN" help:"Sign for DOMAIN (DKIM)."`
	DKIMSelector string `name:"dkim-selector" placeholder:"NAME" help:"Name the key in the DNS of --dkim-domain."`
	DKIMKey      string `name:"dkim-key" placeholder:"FILE" help:"Sign with this private key, in PEM: RSA or Ed25519."`
}

func (p *mailPlan) validate() error {
	switch {
	case p.Plan != "" && p.Plan != "bulk" && p.Plan != "domain" && p.Plan != "individual":
		return fmt.Errorf("--plan %s: unknown plan; use bulk, domain or individual", p.Plan)
	case p.Chunk < 1:
		return errors.New("--chunk: use a number from 1")
	case p.VERPFormat != "" && !p.VERP:
		return errors.New("--verp-format is ignored without --verp: add it")
	}
	given := 0
	for _, s := range []string{p.DKIMDomain, p.DKIMSelector, p.DKIMKey} {
		if s != "" {
			given++
		}
	}
	if given != 0 && given != 3 {
		return errors.New("--dkim-domain, --dkim-selector and --dkim-key: use all of them or none")
	}
	return nil
}

// differs reports that a flag makes each message another.
func (c *mailCmd) differs(files *mailTextFiles) bool {
	_, merged := c.merge(files)
	return merged || c.VERP || c.Personal ||
		c.ListID != "" || len(c.Unsubscribe) > 0 || c.OneClick || c.Precedence != ""
}

// kind is the plan's name.
func (c *mailCmd) kind(files *mailTextFiles) string {
	switch {
	case c.Plan != "":
		return c.Plan
	case c.differs(files):
		return "individual"
	}
	return "bulk"
}

// plan makes the message and the plan for these people.
func (c *mailCmd) plan(
	from string, people []mailing.Recipient, files *mailTextFiles, created time.Time,
) (*postrider.Message, mailing.Plan, error) {
	m := &postrider.Message{From: from, To: mailing.Addresses(people)}
	id := messageID(from, created, files)
	var plan mailing.Plan
	switch kind := c.kind(files); {
	case kind != "individual" && c.differs(files):
		return nil, nil, fail(exitUsage, fmt.Errorf("--plan %s sends the same message "+
			"to several recipients, but other flags make each message different: use --plan individual", kind))
	case kind == "bulk":
		plan = mailing.Bulk(c.Chunk)
	case kind == "domain":
		plan = mailing.ByDomain(c.Chunk)
	default:
		plan = mailing.Individual(people, c.edits(files, id)...)
	}
	m.Content = postrider.Bytes(complete(files.message, created, "<"+id+">"))
	if c.DKIMKey != "" {
		key, err := readKey(c.DKIMKey)
		if err != nil {
			return nil, nil, err
		}
		plan = mailing.Signed(plan, mailing.DKIM{Domain: c.DKIMDomain, Selector: c.DKIMSelector, Key: key})
	}
	return m, plan, nil
}

// edits are what makes the copies different. A message that has no Message-ID of its
// own gets one for each, and the same one again in the next run.
func (c *mailCmd) edits(files *mailTextFiles, id string) (edits []mailing.Edit) {
	merge, merged := c.merge(files)
	if merged {
		edits = append(edits, merge.Edit())
	}
	if c.Personal {
		edits = append(edits, mailing.PersonalTo())
	}
	if c.VERP {
		edits = append(edits, mailing.VERP{Format: c.VERPFormat}.Edit())
	}
	if !hasField(files.message, "Message-ID") {
		edits = append(edits, mailing.MessageID(id))
	}
	list := mailing.ListFields{ID: c.ListID, Unsubscribe: c.Unsubscribe, OneClick: c.OneClick, Precedence: c.Precedence}
	return append(edits, list.Edit())
}

// messageID is made of the moment in which the mailing began, so that the next one
// with the same words has others.
func messageID(from string, created time.Time, files *mailTextFiles) string {
	if canonical, err := mailing.Canonical(from); err == nil {
		from = canonical // with the domain in ASCII: the header shall not need SMTPUTF8 for it
	}
	domain := from[strings.LastIndexByte(from, '@')+1:]
	if domain == "" || strings.ContainsAny(domain, "[]") {
		domain = "localhost.localdomain"
	}
	sum := sha256.Sum256(bytes.Join([][]byte{files.message, files.text, files.html}, []byte{0}))
	return fmt.Sprintf("%x.%x@%s", created.UnixNano(), sum[:4], domain)
}

// complete adds the fields that RFC 5322 §3.6 wants and the message lacks.
func complete(message []byte, created time.Time, id string) []byte {
	var b bytes.Buffer
	if !hasField(message, "Date") {
		b.WriteString("Date: " + created.Format(time.RFC1123Z) + "\r\n")
	}
	if !hasField(message, "Message-ID") {
		b.WriteString("Message-ID: " + id + "\r\n")
	}
	if len(message) == 0 {
		message = []byte("\r\n")
	}
	b.Write(message)
	return b.Bytes()
}

// hasField looks into a message whose header was read before, so that there is no error.
func hasField(message []byte, name string) bool {
	section, _, _ := header.Parse(message)
	return section.Has(name)
}

// readKey reads a private key. What is in the file is not told.
func readKey(name string) (crypto.Signer, error) {
	octets, err := readText(name)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(octets)
	if block == nil {
		return nil, fail(exitConfig, fmt.Errorf("%s has no private key: there is no PEM block in it", name))
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if signer, ok := key.(crypto.Signer); ok && err == nil {
		return signer, nil
	}
	return nil, fail(exitConfig, fmt.Errorf("%s has no private key in PKCS #8 or PKCS #1 form", name))
}

// identity tells this mailing from others: who gets what from whom, and in which messages. Development mode is part of
// it, because what went to its address went to nobody else. The server, the rate and the signing key are not.
func (c *mailCmd) identity(r *mailReport, files *mailTextFiles) []byte {
	h := sha256.New()
	note := func(parts ...any) { hashJSON(h, parts) }
	for _, p := range r.list {
		note(p.Address, p.Name, p.Data)
	}
	note(r.from, r.route.redirected, files.message, files.text, files.html, c.Subject, c.Field)
	note(c.kind(files), c.Chunk, c.VERP, c.VERPFormat, c.Personal, c.ListID, c.Unsubscribe, c.OneClick,
		c.Precedence, c.DKIMDomain)
	return fmt.Appendf(nil, `{"mailing":"%x"}`, h.Sum(nil))
}

func hashJSON(h hash.Hash, v any) {
	// What comes from CSV, JSON and flags can be encoded; maps are in order of keys.
	_ = json.NewEncoder(h).Encode(v)
}

// preview is the first messages of a plan, and how many it has.
type preview struct {
	messages []*postrider.Message
	count    int
}

// firstMessages builds the first messages of a plan, and counts all.
func firstMessages(parts iter.Seq[mailing.Part], first int) (p preview, err error) {
	for part := range parts {
		if p.count++; p.count > first {
			continue
		}
		m, err := part.Build()
		if err != nil {
			return preview{}, err
		}
		p.messages = append(p.messages, m)
	}
	return p, nil
}
