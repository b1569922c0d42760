package mailing

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/mail"
	"net/url"
	"reflect"
	"strings"
	"text/template"

	"github.com/postrider/postrider/internal/text"
)

// PersonalTo is the edit that puts only the recipient into the field To, with the display name if there is one (fact
// 114). The field is added if it is missing.
func PersonalTo() Edit {
	return Edit{
		Check: func(r Recipient) error { return text.Check(r.Name) },
		Apply: func(c *Draft) error {
			if !strings.Contains(c.Recipient.Address, "@") { // which mail.Address would end with an @
				return c.Header.setLine("To", c.Recipient.Address)
			}
			c.Header.SetAddresses("To", mailbox(c.Recipient))
			return nil
		},
	}
}

// mailbox is a recipient as mail.Address has it, which puts quotes around a local part itself. A domain in A-labels,
// like that of the envelope, keeps the message from needing a server with SMTPUTF8; a local part outside of ASCII needs
// one anyway.
func mailbox(r Recipient) *mail.Address {
	local, domain := splitAddress(r.Address)
	if ascii, err := asciiDomain(domain); err == nil && isASCII(local) && !isASCII(domain) {
		domain = ascii
	}
	return &mail.Address{Name: r.Name, Address: unquoteLocal(local) + "@" + domain}
}

// Set is the edit that sets one field of each message to the same value.
func Set(name, value string) Edit {
	err := checkField(name, value)
	return Edit{
		Check: func(Recipient) error { return err },
		Apply: func(c *Draft) error { return c.Header.Set(name, value) },
	}
}

// MessageID is the edit that sets a Message-ID of its own in each message, made of its recipient and of id, like
// "2026-11-25.news@example.com": a name of this mailing with the domain of its sender (RFC 5322 §3.6.4). A message that
// is sent again has the same one, so that a recipient who gets it twice can tell.
func MessageID(id string) Edit {
	local, domain := splitAddress(id)
	var err error
	if local == "" || domain == "" || strings.ContainsAny(id, "<> \t\r\n") {
		err = fmt.Errorf("%q cannot be part of a Message-ID: use name@domain", id)
	} else {
		err = checkField("Message-ID", id)
	}
	return Edit{
		Check: func(Recipient) error { return err },
		Apply: func(c *Draft) error {
			sum := sha256.Sum256([]byte(id + "\n" + c.Recipient.Address))
			return c.Header.setLine("Message-ID", fmt.Sprintf("<%x.%s@%s>", sum[:12], local, domain))
		},
	}
}

// ListFields are the fields by which mail programs recognize a mailing and offer to unsubscribe from it. Empty ones are
// not set.
type ListFields struct {
	// ID names the list, in the form of a domain of its owner: news.example.com (RFC 2919). Name is a phrase before it.
	ID, Name string

	// Unsubscribe are URIs that end the subscription (RFC 2369 §3.2), https and mailto, in order of preference. Each is
	// a text template of the recipient's data: https://example.com/leave?who={{urlquery .address}}.
	Unsubscribe []string

	// OneClick promises that a POST to the first https URI of Unsubscribe is enough, without any question (RFC 8058).
	// Nobody should be able to guess the URI from an address, and the message should be signed ([Signed]).
	OneClick bool

	// Precedence is bulk, list or junk, which keeps automatic answers away. No RFC defines it.
	Precedence string
}

// Edit returns the edit that sets the fields of each message.
func (l ListFields) Edit() Edit {
	uris, err := l.prepare()
	return Edit{
		Check: func(r Recipient) error {
			if err != nil {
				return err
			}
			_, err := l.unsubscribe(uris, r)
			return err
		},
		Apply: func(c *Draft) error {
			if err != nil {
				return err
			}
			return l.apply(c, uris)
		},
	}
}

// prepare checks what is the same for all recipients.
func (l ListFields) prepare() (uris []*template.Template, err error) {
	switch strings.ToLower(l.Precedence) {
	case "", "bulk", "list", "junk":
	default:
		return nil, fmt.Errorf("precedence %q: use bulk, list or junk", l.Precedence)
	}
	if strings.ContainsAny(l.ID, "<>@ \t\r\n") || l.ID == "" && l.Name != "" {
		return nil, fmt.Errorf("list id %q: use the form of a domain, like news.example.com", l.ID)
	}
	if err := errors.Join(checkField("List-Id", l.ID), checkField("List-Id", l.Name)); err != nil {
		return nil, err
	}
	https := false
	for _, text := range l.Unsubscribe {
		t, err := newText("unsubscribe", text)
		if err != nil {
			return nil, err
		}
		uris, https = append(uris, t), https || strings.HasPrefix(text, "https:")
	}
	if l.OneClick && !https {
		return nil, errors.New("one-click unsubscription needs an https URI (RFC 8058 §3.1)")
	}
	return uris, nil
}

// unsubscribe is the value of List-Unsubscribe for one recipient.
func (l ListFields) unsubscribe(uris []*template.Template, r Recipient) (string, error) {
	var parts []string
	for _, t := range uris {
		uri, err := executed(t, r.values())
		if err != nil {
			return "", err
		}
		u, err := url.Parse(uri)
		if err != nil || !unsubscribes(u.Scheme) || strings.ContainsAny(uri, "<> \t\r\n\"") || !isASCII(uri) {
			return "", fmt.Errorf("%q cannot be a URI of List-Unsubscribe: "+
				"use https or mailto, in ASCII; {{urlquery .key}} encodes data", uri)
		}
		parts = append(parts, "<"+uri+">")
	}
	return strings.Join(parts, ", "), nil
}

func unsubscribes(scheme string) bool {
	return scheme == "https" || scheme == "http" || scheme == "mailto"
}

func (l ListFields) apply(c *Draft, uris []*template.Template) error {
	set := func(name, value string) error {
		if value == "" {
			return nil
		}
		return c.Header.setLine(name, value)
	}
	leave, err := l.unsubscribe(uris, c.Recipient)
	if err != nil {
		return err
	}
	id := l.ID
	if id != "" {
		id = strings.TrimSpace(phrase(l.Name) + " <" + id + ">")
	}
	post := ""
	if l.OneClick {
		post = "List-Unsubscribe=One-Click" // RFC 8058 §3.1, octet for octet
	}
	return errors.Join(set("Precedence", l.Precedence), set("List-Unsubscribe-Post", post),
		set("List-Unsubscribe", leave), set("List-Id", id))
}

// phrase is a display name as it stands before angle brackets (RFC 5322 §3.2.5).
func phrase(name string) string {
	if name == "" {
		return ""
	}
	return strings.TrimSuffix((&mail.Address{Name: name, Address: "a@b"}).String(), " <a@b>")
}

// newText parses a text template in which a missing key is an error.
func newText(name, text string) (*template.Template, error) {
	return template.New(name).Option("missingkey=error").Funcs(functions()).Parse(text)
}

// functions are those of templates that replace the package's own.
func functions() map[string]any { return map[string]any{"index": index} }

// index is the function of templates that reaches columns with blanks in their names. The package's own writes <no
// value> for a missing key, whatever Option says.
func index(item any, keys ...any) (any, error) {
	for _, key := range keys {
		v, k := reflect.ValueOf(item), reflect.ValueOf(key)
		switch v.Kind() {
		case reflect.Map:
			if !k.IsValid() || !k.Type().AssignableTo(v.Type().Key()) || !v.MapIndex(k).IsValid() {
				return nil, fmt.Errorf("map has no entry for key %#v", key)
			}
			item = v.MapIndex(k).Interface()
		case reflect.Slice, reflect.Array, reflect.String:
			n, ok := key.(int)
			if !ok || n < 0 || n >= v.Len() {
				return nil, fmt.Errorf("there is no element %#v of %d", key, v.Len())
			}
			item = v.Index(n).Interface()
		default:
			return nil, fmt.Errorf("there is nothing to index in a %T", item)
		}
	}
	return item, nil
}

// executed returns what a template makes of data.
func executed(t executor, data any) (string, error) {
	var b strings.Builder
	err := t.Execute(&b, data)
	return b.String(), err
}
