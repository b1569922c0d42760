package text

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// JSON encodes an object for people and programs: on one line, or indented by
// indent if that is not empty. What a terminal must not get raw is written as \u
// escapes, which decode to what they stand for: control characters of C1 and DEL,
// what turns the direction of writing, and whatever else cannot be seen. There is no
// line end behind it.
func JSON(object any, indent string) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", indent)
	if err := encoder.Encode(object); err != nil {
		return nil, err
	}
	return escaped(bytes.TrimSuffix(b.Bytes(), []byte("\n"))), nil
}

// escaped works on encoded JSON, in which what is not ASCII stands within strings
// only, and ASCII's own control characters but DEL are escaped already.
func escaped(encoded []byte) []byte {
	bad := func(c rune) bool { return c >= 0x7f && !unicode.IsPrint(c) }
	if !bytes.ContainsFunc(encoded, bad) {
		return encoded
	}
	var b bytes.Buffer
	for len(encoded) > 0 {
		c, n := utf8.DecodeRune(encoded)
		switch {
		case !bad(c):
			b.Write(encoded[:n])
		case c > 0xffff:
			high, low := utf16.EncodeRune(c)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, c)
		}
		encoded = encoded[n:]
	}
	return b.Bytes()
}

// Octets returns what JSON cannot hold as a string, because it is not UTF-8; nil if it can.
func Octets(s string) []byte {
	if utf8.ValidString(s) {
		return nil
	}
	return []byte(s)
}

// FromOctets returns a string that was encoded with its octets beside it, which are nil if it was UTF-8.
func FromOctets(s string, octets []byte) string {
	if octets != nil {
		return string(octets)
	}
	return s
}
