package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/mail"
	"slices"
	"strings"
)

// maxHeader is how long a header may be: far longer than any that is honest, and
// no strain on the memory.
const maxHeader = 1 << 20

// field is a header field with its continuation lines, octet for octet.
type field struct {
	name string // as written; "" for the line that ends the header
	raw  []byte
}

type header []field

// readHeader takes the header section from r, with the empty line behind it if
// there is one.
func readHeader(r *bufio.Reader) (header, error) {
	var h header
	size := 0
	for number := 1; ; number++ {
		line, err := r.ReadSlice('\n')
		size += len(line)
		if size > maxHeader || errors.Is(err, bufio.ErrBufferFull) {
			return nil, fail(exitData, fmt.Errorf("the header of the message is longer than %d octets", maxHeader))
		}
		if err != nil && err != io.EOF {
			return nil, err
		}
		more, fault := h.add(bytes.Clone(line))
		if fault != nil {
			return nil, fail(exitData, fmt.Errorf("line %d of the message: %w", number, fault))
		}
		if !more || err == io.EOF {
			return h, nil
		}
	}
}

// add takes one line. It reports whether the header goes on.
func (h *header) add(line []byte) (more bool, err error) {
	text := bytes.TrimRight(line, "\r\n")
	switch {
	case len(line) == 0:
		return false, nil
	case len(text) == 0:
		*h = append(*h, field{"", line})
		return false, nil
	case text[0] == ' ' || text[0] == '\t': // RFC 5322 §2.2.3
		if len(*h) == 0 {
			return false, errors.New("the header begins with a continuation line")
		}
		last := &(*h)[len(*h)-1]
		last.raw = append(last.raw, line...)
		return true, nil
	}
	name, _, found := bytes.Cut(text, []byte(":"))
	name = bytes.TrimRight(name, " \t") // RFC 5322 §4.5 has blanks before the colon
	if !found || len(name) == 0 || bytes.ContainsAny(name, " \t") {
		return false, errors.New("it is no header field, and no empty line came before it")
	}
	*h = append(*h, field{string(name), line})
	return true, nil
}

// is reports whether the field has one of these names.
func (f *field) is(names ...string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, f.name) })
}

// withoutBcc is the header as it is sent: octet for octet what came, without the
// fields that would tell who else got the message.
func (h header) withoutBcc() io.Reader {
	var b bytes.Buffer
	for _, f := range h {
		if !f.is("Bcc", "Resent-Bcc") {
			b.Write(f.raw)
		}
	}
	return &b
}

// recipients are the addresses of To, Cc and Bcc, each once, in the order of the
// header. If the message was resent, they are those of the Resent- fields, and
// the original recipients have nothing to do with it (RFC 5322 §3.6.6).
func (h header) recipients() ([]string, error) {
	names := []string{"To", "Cc", "Bcc"}
	resent := []string{"Resent-To", "Resent-Cc", "Resent-Bcc"}
	if slices.ContainsFunc(h, func(f field) bool { return f.is(resent...) }) {
		names = resent
	}
	var all []string
	for _, f := range h {
		if !f.is(names...) {
			continue
		}
		addresses, err := f.addresses()
		if err != nil {
			return nil, err
		}
		for _, a := range addresses {
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

// addresses are the bare addresses of a field; groups are taken apart.
func (f *field) addresses() ([]string, error) {
	_, value, _ := bytes.Cut(f.raw, []byte(":"))
	text := strings.TrimSpace(strings.NewReplacer("\r\n", "", "\n", "").Replace(string(value)))
	if text == "" {
		return nil, nil // "Bcc:" alone is allowed (RFC 5322 §3.6.3)
	}
	parser := mail.AddressParser{WordDecoder: &mime.WordDecoder{CharsetReader: asItIs}}
	list, err := parser.ParseList(text)
	if err != nil {
		return nil, fmt.Errorf("the field %s of the message: %w", f.name, err)
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
