package mailing

import (
	"strings"
	"unicode/utf8"

	"github.com/postrider/postrider/internal/address"
)

// Canonical checks the syntax of a bare address (RFC 5321 §4.1.2, RFC 6531 §3.3) and returns the form by which
// duplicates are found: the domain in lower case and A-labels (RFC 5890), the local part in NFC and without quotes and
// escapes that it does not need, its upper and lower case kept, because only its own server knows whether they differ.
// Canonical is stricter than a [postrider.Sender], which also accepts what is harmless: an address must have a domain,
// and no empty word between dots. Invisible characters are an error that names them.
func Canonical(bare string) (string, error) { return address.Canonical(bare) }

// asciiDomain returns a domain in lower case and A-labels.
func asciiDomain(domain string) (string, error) { return address.ASCII(domain) }

// splitAddress cuts an address before the @ of its domain.
func splitAddress(bare string) (local, domain string) { return address.Split(bare) }

func quoteLocal(local string) string   { return address.Quote(local) }
func unquoteLocal(local string) string { return address.Unquote(local) }

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c >= utf8.RuneSelf })
}
