package mailing

import (
	"bufio"
	"cmp"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"strconv"
	"strings"

	"github.com/postrider/postrider/internal/text"
)

// Recipient is a recipient of a mailing.
type Recipient struct {
	// Address is bare, like anne@example.com.
	Address string

	// Name is the display name, "" if it is not known.
	Name string

	// Data is what templates have, by name; they also have address, and name if there is one.
	Data map[string]any
}

// values are what templates have.
func (r Recipient) values() map[string]any {
	v := make(map[string]any, len(r.Data)+2)
	maps.Copy(v, r.Data)
	v["address"] = r.Address
	if r.Name != "" {
		v["name"] = r.Name
	}
	return v
}

// Addresses returns the addresses of recipients, in their order: Message.To.
func Addresses(recipients []Recipient) []string {
	to := make([]string, len(recipients))
	for i := range recipients {
		to[i] = recipients[i].Address
	}
	return to
}

// Format is the form of a file of recipients.
type Format string

// The forms that [ReadRecipients] reads.
const (
	// Plain is one address per line, with or without a display name: anne@example.com, or Anne Person
	// <anne@example.com>. Empty lines and those that begin with # are ignored.
	Plain Format = "plain"

	// CSV is comma-separated values (RFC 4180) under a line of names. One column is called address or email, one may be
	// called name; templates have all columns, by their names in lower case.
	CSV Format = "csv"

	// JSONLines is one JSON object per line, with a member address or email, and name if there is one. Templates have
	// all members, by their names in lower case. A member that is null counts as missing, at any depth.
	JSONLines Format = "jsonl"
)

// FormatOf returns the form of a file by its name: CSV for .csv, JSONLines for .jsonl, .ndjson and .json, else Plain.
func FormatOf(name string) Format {
	name = strings.ToLower(name)
	for suffix, f := range map[string]Format{
		".csv": CSV, ".jsonl": JSONLines, ".ndjson": JSONLines, ".json": JSONLines,
	} {
		if strings.HasSuffix(name, suffix) {
			return f
		}
	}
	return Plain
}

const (
	longestLine    = 1 << 20
	mostRecipients = 10_000_000
)

// ReadRecipients reads a file of recipients, in UTF-8, with or without a byte order mark. Errors name the line; octets
// that are not UTF-8 are an error. Addresses are not checked; [Hygiene] does that. A line may have 1 MiB, a file 10
// million recipients.
func ReadRecipients(r io.Reader, f Format) ([]Recipient, error) {
	switch f {
	case Plain:
		return readLines(r, readPlain)
	case CSV:
		return readCSV(r)
	case JSONLines:
		return readLines(r, readObject)
	}
	return nil, fmt.Errorf("unknown format of recipients %q: use plain, csv or jsonl", f)
}

// eachLine reads a text line by line, without the blanks around each. An error about the text's octets comes before one
// about what they were taken for.
func eachLine(r io.Reader, read func(line string) error) error {
	checked := text.NewReader(r)
	lines := bufio.NewScanner(checked)
	lines.Buffer(nil, longestLine)
	n := 0
	for lines.Scan() {
		n++
		line := strings.TrimSpace(lines.Text())
		err := error(nil)
		if strings.Contains(line, "\r") {
			err = errLineEnds
		} else {
			err = read(line)
		}
		if err != nil {
			return cmp.Or(checked.Err(), fmt.Errorf("line %d: %w", n, err))
		}
	}
	if err := lines.Err(); err != nil {
		return cmp.Or(checked.Err(), fmt.Errorf("line %d: %w", n+1, err))
	}
	return nil
}

var errLineEnds = errors.New("lines end with CR alone: save the file with LF or CRLF")

// readLines reads one recipient per line; read returns nil for a line without one.
func readLines(r io.Reader, read func(line string) (*Recipient, error)) (all []Recipient, err error) {
	err = eachLine(r, func(line string) error {
		one, err := read(line)
		switch {
		case err != nil:
			return err
		case one != nil && len(all) == mostRecipients:
			return errTooMany
		case one != nil:
			all = append(all, *one)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

var errTooMany = fmt.Errorf("there are more than %d recipients", mostRecipients)

func readPlain(line string) (*Recipient, error) {
	if line == "" || line[0] == '#' {
		return nil, nil
	}
	r := &Recipient{Address: line}
	if i := strings.LastIndexByte(line, '<'); i >= 0 && strings.HasSuffix(line, ">") {
		r.Address, r.Name = line[i+1:len(line)-1], displayName(line[:i])
	}
	return r, nil
}

// displayName is a phrase with its quotes taken off; encoded words stay as they are.
func displayName(phrase string) string {
	return unquoteLocal(strings.TrimSpace(phrase))
}

func readObject(line string) (*Recipient, error) {
	if line == "" {
		return nil, nil
	}
	if loneSurrogate(line) { // of which encoding/json makes U+FFFD
		return nil, errors.New("half of a character: a \\u escape of a surrogate without its pair")
	}
	var object map[string]any
	d := json.NewDecoder(strings.NewReader(line))
	d.UseNumber() // 12345678 is not to become 1.2345678e+07
	if err := d.Decode(&object); err != nil {
		return nil, fmt.Errorf("not a JSON object: %w", err)
	}
	if d.More() {
		return nil, errors.New("more text after the JSON object")
	}
	data := make(map[string]any, len(object))
	for key, value := range object {
		name := strings.ToLower(key)
		if _, twice := data[name]; twice { // which one would count is chance
			return nil, fmt.Errorf("two members have the name %q", name)
		}
		data[name] = value
	}
	withoutNull(data)
	return fromData(data)
}

// loneSurrogate finds an escape of half a character (RFC 8259 §8.2).
func loneSurrogate(line string) bool {
	high := false // the last character was the first half of one
	for i := 0; i < len(line); i++ {
		unit := uint64(0)
		if line[i] == '\\' {
			if i++; i+5 <= len(line) && line[i] == 'u' {
				unit, _ = strconv.ParseUint(line[i+1:i+5], 16, 16) // what is no number is no JSON either
				i += 4
			}
		}
		low := 0xdc00 <= unit && unit <= 0xdfff
		if high != low {
			return true
		}
		high = 0xd800 <= unit && unit <= 0xdbff
	}
	return high
}

// withoutNull removes members that are null, at every depth: a template would write <no value> for them, but a missing
// one is an error.
func withoutNull(value any) {
	switch value := value.(type) {
	case map[string]any:
		maps.DeleteFunc(value, func(_ string, v any) bool { return v == nil })
		for _, v := range value {
			withoutNull(v)
		}
	case []any:
		for _, v := range value {
			withoutNull(v)
		}
	}
}

// fromData finds address and name in the data. An empty address is one like any other wrong one: Hygiene skips and
// reports it.
func fromData(data map[string]any) (*Recipient, error) {
	r := &Recipient{Data: data}
	found := false
	for _, key := range []string{"address", "email"} {
		a, ok := data[key].(string)
		if found = found || ok; r.Address == "" {
			r.Address = strings.TrimSpace(a)
		}
	}
	r.Name, _ = data["name"].(string)
	if !found {
		return nil, errors.New("no address: name it address or email")
	}
	return r, nil
}

func readCSV(r io.Reader) ([]Recipient, error) {
	checked := text.NewReader(r)
	all, err := readTable(&bounded{r: checked})
	if fault := checked.Err(); fault != nil {
		return nil, fault // the cause of whatever else seems wrong
	}
	return all, err
}

func readTable(bound *bounded) (all []Recipient, err error) {
	table := csv.NewReader(bound)
	table.ReuseRecord = true
	first, err := table.Read()
	if err != nil {
		return nil, fmt.Errorf("the line of names: %w", err)
	}
	names, err := columns(first)
	if err != nil {
		return nil, err
	}
	for {
		bound.taken = 0
		record, err := table.Read()
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return nil, err // names the line
		}
		data := make(map[string]any, len(names))
		for i, name := range names {
			data[name] = strings.Clone(record[i])
		}
		one, err := fromData(data)
		if err == nil && len(all) == mostRecipients {
			err = errTooMany
		}
		if err != nil {
			line, _ := table.FieldPos(0)
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		all = append(all, *one)
	}
}

// columns are the names of a table, which must be different and have an address.
func columns(record []string) (names []string, err error) {
	seen := map[string]bool{}
	for _, name := range record {
		if strings.Contains(name, "\r") {
			return nil, errLineEnds
		}
		name = strings.ToLower(strings.TrimSpace(name))
		if seen[name] {
			return nil, fmt.Errorf("two columns have the name %q", name)
		}
		seen[name] = true
		names = append(names, name)
	}
	if !seen["address"] && !seen["email"] {
		return nil, fmt.Errorf("no column has the name address or email, only %s%s",
			text.Words(strings.Join(names, ", ")), separated(names))
	}
	return names, nil
}

// separated explains a table that has only one column because something else than a comma divides its columns.
func separated(names []string) string {
	for _, s := range []struct{ mark, name string }{
		{";", "semicolons"}, {"\t", "tabs"}, {"|", "vertical bars"},
	} {
		if len(names) == 1 && strings.Contains(names[0], s.mark) {
			return ". There are " + s.name + " between the columns: save the file with commas"
		}
	}
	return ""
}

// bounded keeps one record from filling the memory: a quote that is never closed takes everything.
type bounded struct {
	r     io.Reader
	taken int // octets since the last record
}

// Read reads on, up to the longest record.
func (b *bounded) Read(p []byte) (int, error) {
	if b.taken > longestLine {
		return 0, fmt.Errorf("a record is longer than %d octets: is a quote not closed?", longestLine)
	}
	n, err := b.r.Read(p)
	b.taken += n
	return n, err
}
