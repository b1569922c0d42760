package mailing

import (
	"bytes"
	"fmt"
	"net/mail"
	"slices"
	"strings"

	"github.com/emersion/go-message"
	"github.com/emersion/go-message/textproto"

	"github.com/postrider/postrider/internal/header"
	"github.com/postrider/postrider/internal/text"
	"github.com/postrider/postrider/internal/wire"
)

// Header is the header section of a message. Fields that are not changed stay octet for octet what they were, but for
// line ends; those that are set come first.
type Header struct {
	fields message.Header
	fault  error // of a field that should not have been set
}

// readHeader reads the header section at the beginning of a message.
func readHeader(head []byte) (*Header, error) {
	section, _, err := header.Parse(head)
	if err != nil {
		return nil, err
	}
	h := new(Header)
	for _, f := range slices.Backward(section) { // AddRaw puts each before the others
		if f.Name == "" {
			continue // the empty line
		}
		if err := checkField(f.Name, ""); err != nil {
			return nil, fmt.Errorf("the header of the message: %w", err)
		}
		var r wire.Repairer
		h.fields.AddRaw(r.Finish(r.Append(nil, f.Raw)))
	}
	return h, nil
}

func (h *Header) copy() *Header { return &Header{h.fields.Copy(), h.fault} }

// write returns the header section and the empty line behind it.
func (h *Header) write() ([]byte, error) {
	if h.fault != nil {
		return nil, h.fault
	}
	var b bytes.Buffer
	if err := textproto.WriteHeader(&b, h.fields.Header); err != nil {
		return nil, fmt.Errorf("the header of the message: %w", err)
	}
	return b.Bytes(), nil
}

// Get returns the value of the first field of that name, decoded; "" if there is none.
func (h *Header) Get(name string) string {
	if text, err := h.fields.Text(name); err == nil {
		return text
	}
	return h.fields.Get(name)
}

// Has reports whether there is a field of that name.
func (h *Header) Has(name string) bool { return h.fields.Has(name) }

// Del removes all fields of that name.
func (h *Header) Del(name string) { h.fields.Del(name) }

// Set replaces all fields of that name with one. A value outside of ASCII is encoded (RFC 2047); in fields of
// addresses, only their display names are. Line ends and control characters are an error, so that no part of a
// recipient's data becomes a field of its own.
func (h *Header) Set(name, value string) error {
	if err := checkField(name, value); err != nil {
		return err
	}
	if addressField(name) && strings.TrimSpace(value) != "" {
		list, err := mail.ParseAddressList(value)
		if err != nil {
			return fmt.Errorf("the field %s: %w", name, err)
		}
		for _, a := range list {
			if what, found := text.Unseen(a.Address); found {
				return fmt.Errorf("the field %s: the address %q has an invisible character, %s", name, a.Address, what)
			}
		}
		h.SetAddresses(name, list...)
		return nil
	}
	h.fields.SetText(name, value)
	return nil
}

// SetAddresses replaces all fields of that name with one of addresses; display names outside of ASCII are encoded
// (RFC 2047). If a display name is not UTF-8, making the message fails.
func (h *Header) SetAddresses(name string, addresses ...*mail.Address) {
	texts := make([]string, len(addresses))
	for i, a := range addresses {
		texts[i] = a.String()
		if err := text.Check(a.Name); err != nil && h.fault == nil {
			h.fault = fmt.Errorf("the display name %q of the field %s: %w", a.Name, name, err)
		}
	}
	h.fields.Set(name, strings.Join(texts, ", "))
}

// setLine sets a value that is encoded already, or must not be. The line may be folded at its blanks.
func (h *Header) setLine(name, value string) error {
	if err := checkField(name, value); err != nil {
		return err
	}
	h.fields.Set(name, value)
	return nil
}

// checkField checks RFC 5322 §2.2: a name of visible ASCII without colon, a value of UTF-8 on one line.
func checkField(name, value string) error {
	if name == "" || strings.ContainsFunc(name, func(c rune) bool { return c <= ' ' || c == ':' || c > '~' }) {
		return fmt.Errorf("%q is no name of a header field", name)
	}
	if strings.ContainsFunc(value, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }) {
		return fmt.Errorf("the field %s has a line end or another control character in %q", name, value)
	}
	if err := text.Check(value); err != nil { // RFC 2047 §2 would declare it to be UTF-8
		return fmt.Errorf("the field %s: %w", name, err)
	}
	return nil
}

func addressField(name string) bool {
	switch strings.ToLower(name) {
	case "from", "sender", "reply-to", "to", "cc", "bcc":
		return true
	}
	return false
}
