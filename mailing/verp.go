package mailing

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
)

// VERP is variable envelope return paths: the sender of each message names its recipient, so that the address of a
// bounce identifies the recipient, whatever the bounce says. The zero value is Mailman's form (fact 112):
//
//	test@example.com to anne@example.org: test+anne=example.org@example.com
type VERP struct {
	// Format is the local part of the sender: ${bounces} is that of the original sender, ${local} and ${domain} are the
	// recipient's. Default "${bounces}+${local}=${domain}": Mailman's verp_format.
	Format string

	// Delimiter replaces the + of the default Format, for an MTA with another recipient_delimiter.
	Delimiter string

	// Regexp decodes addresses of a form that Decode cannot derive from Format: Mailman's verp_regexp. The expression
	// has groups named local and domain, and ignores upper and lower case. Default: what Format makes.
	Regexp string

	// Interval is how often a list uses VERP: 0 never, 1 always, else for every n-th post (fact 113). Only Due uses it.
	Interval int
}

var verpFormat = regexp.MustCompile(`\$\{?(bounces|local|domain)\b\}?`)

func (v VERP) format() string {
	switch {
	case v.Format != "":
		return v.Format
	case v.Delimiter != "":
		return "${bounces}" + strings.ReplaceAll(v.Delimiter, "$", "$$") + "${local}=${domain}"
	}
	return "${bounces}+${local}=${domain}"
}

// check refuses formats whose addresses nobody can decode.
func (v VERP) check() error {
	var unknown []string
	seen := map[string]bool{}
	os.Expand(v.format(), func(name string) string {
		if seen[name] = true; name != "bounces" && name != "local" && name != "domain" && name != "$" {
			unknown = append(unknown, name)
		}
		return ""
	})
	switch {
	case len(unknown) > 0:
		return fmt.Errorf("the VERP format %q has an unknown ${%s}: use bounces, local and domain",
			v.Format, unknown[0])
	case !seen["local"] || !seen["domain"]:
		return fmt.Errorf("the VERP format %q needs ${local} and ${domain}", v.Format)
	}
	_, err := v.pattern("")
	return err
}

// Encode returns the sender for a recipient. A null sender stays as it is, and so does any sender for an address
// without a domain (fact 112). A domain goes in as A-labels if it has them, so that it does not need SMTPUTF8.
func (v VERP) Encode(sender, recipient string) string {
	bounces, host := splitAddress(sender)
	local, domain := splitAddress(recipient)
	if host == "" || domain == "" {
		return sender
	}
	if ascii, err := asciiDomain(domain); err == nil && ascii != strings.ToLower(domain) {
		domain = ascii
	}
	return quoteLocal(os.Expand(v.format(), func(name string) string {
		switch name {
		case "bounces":
			return unquoteLocal(bounces)
		case "local":
			return local
		case "domain":
			return domain
		}
		return name // $$ is a $
	})) + "@" + host
}

// Decode returns the recipient that Encode put into an address for this sender; ok is false if there is none. Because
// the sender is known, a + in its name or in the recipient's does not mislead, as it does Mailman. Upper and lower case
// are the same, but the recipient's are kept.
func (v VERP) Decode(sender, address string) (recipient string, ok bool) {
	bounces, host := splitAddress(sender)
	local, domain := splitAddress(address)
	pattern, err := v.pattern(unquoteLocal(bounces))
	if err != nil {
		return "", false
	}
	text := unquoteLocal(local)
	if v.Regexp != "" {
		text = address
	} else if host == "" || !strings.EqualFold(host, domain) {
		return "", false
	}
	m := pattern.FindStringSubmatch(text)
	if m == nil {
		return "", false
	}
	return m[pattern.SubexpIndex("local")] + "@" + m[pattern.SubexpIndex("domain")], true
}

// pattern is the regular expression that decodes. A domain has no =, so that the = before it is the last one.
func (v VERP) pattern(bounces string) (*regexp.Regexp, error) {
	if v.Regexp != "" {
		p, err := regexp.Compile("(?i)" + v.Regexp)
		if err == nil && (p.SubexpIndex("local") < 0 || p.SubexpIndex("domain") < 0) {
			err = errors.New("it must have groups named local and domain")
		}
		if err != nil {
			return nil, fmt.Errorf("the VERP regular expression %q: %w", v.Regexp, err)
		}
		return p, nil
	}
	var b strings.Builder
	at, format := 0, v.format()
	literal := func(s string) { b.WriteString(regexp.QuoteMeta(strings.ReplaceAll(s, "$$", "$"))) }
	for _, m := range verpFormat.FindAllStringSubmatchIndex(format, -1) {
		literal(format[at:m[0]])
		switch at = m[1]; format[m[2]:m[3]] {
		case "bounces":
			b.WriteString(regexp.QuoteMeta(bounces))
		case "local":
			b.WriteString("(?P<local>.+)")
		case "domain":
			b.WriteString("(?P<domain>[^=@]+)")
		}
	}
	literal(format[at:])
	p, err := regexp.Compile("(?is)^" + b.String() + "$")
	if err != nil {
		return nil, fmt.Errorf("the VERP format %q: %w", format, err)
	}
	return p, nil
}

// Due reports whether the n-th post of a list uses VERP, by Interval (fact 113).
func (v VERP) Due(post int) bool {
	switch {
	case v.Interval <= 0:
		return false
	case v.Interval == 1:
		return true
	}
	return post%v.Interval == 0
}

// Edit returns the edit that sets each message's sender.
func (v VERP) Edit() Edit {
	err := v.check()
	return Edit{
		Check: func(Recipient) error { return err },
		Apply: func(c *Draft) error {
			c.From = v.Encode(c.From, c.Recipient.Address)
			return err
		},
	}
}
