package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/mail"
	"slices"
	"strings"

	"github.com/postrider/postrider/internal/header"
)

// readHeader reads a header section; one that is wrong is the message's fault.
func readHeader(r *bufio.Reader) (header.Section, error) {
	section, err := header.Read(r)
	if fault := (*header.Error)(nil); errors.As(err, &fault) {
		return nil, fail(exitData, err)
	}
	return section, err
}

// withoutBcc is the header as it is sent: octet for octet what came, without the fields that would tell who else got
// the message.
func withoutBcc(section header.Section) []byte { return section.Without("Bcc", "Resent-Bcc").Bytes() }

// headerRecipients returns the addresses of To, Cc and Bcc, each once, in the order of the header. If the message was
// resent, they are those of the Resent- fields, and the original recipients have nothing to do with it (RFC 5322
// §3.6.6).
func headerRecipients(section header.Section) ([]string, error) {
	names := []string{"To", "Cc", "Bcc"}
	resent := []string{"Resent-To", "Resent-Cc", "Resent-Bcc"}
	if section.Has(resent...) {
		names = resent
	}
	var all []string
	for _, f := range section {
		if !f.Is(names...) {
			continue
		}
		found, err := fieldAddresses(f)
		if err != nil {
			return nil, err
		}
		for _, a := range found {
			if !slices.Contains(all, a) {
				all = append(all, a)
			}
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no recipient in the fields %s of the message", strings.Join(names, ", "))
	}
	return all, nil
}

// fieldAddresses returns the bare addresses of a field; groups are taken apart.
func fieldAddresses(f header.Field) ([]string, error) {
	text := f.Value()
	if text == "" {
		return nil, nil // "Bcc:" alone is allowed (RFC 5322 §3.6.3)
	}
	parser := mail.AddressParser{WordDecoder: &mime.WordDecoder{CharsetReader: asItIs}}
	list, err := parser.ParseList(text)
	if err != nil {
		return nil, fmt.Errorf("the field %s of the message: %w", f.Name, err)
	}
	var bare []string
	for _, a := range list {
		bare = append(bare, quoted(a.Address))
	}
	return bare, nil
}

// asItIs lets display names be in any charset: nobody here looks at them.
func asItIs(_ string, r io.Reader) (io.Reader, error) { return r, nil }

// quoted puts the quotes back that net/mail takes off a local part that needs
// them, as in "anne kent"@example.com.
func quoted(address string) string {
	s := (&mail.Address{Address: address}).String()
	return strings.TrimSuffix(strings.TrimPrefix(s, "<"), ">")
}
