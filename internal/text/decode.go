package text

import (
	"bytes"
	"fmt"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// encodingOf knows the names that browsers know (https://encoding.spec.whatwg.org):
// iso-8859-1 is windows-1252 there, as it is in the files of those who call it so.
func encodingOf(name string) (encoding.Encoding, error) {
	e, err := htmlindex.Get(name)
	if err != nil || e == encoding.Replacement || e == charmap.XUserDefined {
		return nil, fmt.Errorf("unknown encoding %q: "+
			"use windows-1252, iso-8859-2, koi8-r, shift_jis, gb18030, utf-16 or others", Printable(name))
	}
	return e, nil
}

// CheckEncoding reports a name that Decode does not know.
func CheckEncoding(name string) error {
	_, err := encodingOf(name)
	return err
}

// Decode returns octets in the encoding of that name as UTF-8. Text that is UTF-8 already stays as it is: it is
// recognized by its byte order mark, or, if the encoding has one octet for each character, because all octets fit:
// nobody writes Ã¼ throughout. An octet that the encoding does not have is an EncodingError.
func Decode(octets []byte, name string) ([]byte, error) {
	e, err := encodingOf(name)
	if err != nil {
		return nil, err
	}
	_, single := e.(*charmap.Charmap)
	if e == unicode.UTF8 || bytes.HasPrefix(octets, []byte(byteOrderMark)) || single && utf8.Valid(octets) {
		return octets, nil
	}
	decoded, _, err := transform.Bytes(unicode.BOMOverride(e.NewDecoder()), octets)
	if err != nil {
		return nil, fmt.Errorf("decoding %s: %w", name, err)
	}
	if i := bytes.IndexFunc(decoded, lost); i >= 0 {
		return nil, missing(decoded[:i], name)
	}
	return decoded, nil
}

// lost reports what decoders write for octets that they do not know. Those of the web make C1 control characters of
// some, which no text has either.
func lost(c rune) bool { return c == utf8.RuneError || 0x80 <= c && c < 0xa0 && c != 0x85 }

func missing(before []byte, name string) error {
	last := before[bytes.LastIndexByte(before, '\n')+1:]
	return &EncodingError{
		Line: 1 + bytes.Count(before, []byte("\n")), Column: 1 + utf8.RuneCount(last),
		Problem: fmt.Sprintf("not a character of %s", name),
	}
}
