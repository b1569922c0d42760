package config

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The syntax is that of Python's RawConfigParser as lazr.config drives it,
// facts 2.2 in docs/parity.md: what looks odd below is what a mailman.cfg may
// rely on. Only *relative* indentation counts, so that a text which is indented
// as a block reads like one that is not.

// document is one text, read.
type document struct {
	source   string // as errors name it
	dir      string // where its relative file names start; "" if it is no file
	blocks   []*block
	index    map[string]*block
	defaults *block // [DEFAULT]; nil if there is none
	warnings []*Error
}

// block is a section of one document, its repetitions merged.
type block struct {
	name    string
	line    int
	entries []*entry
	index   map[string]*entry
}

// entry is a key and its value in one document.
type entry struct {
	key       string
	lines     []string // while reading: joining them once keeps a long value cheap
	value     string
	source    string // the variable, where a document is made of the environment
	line      int
	inherited bool // from [DEFAULT]
}

// set sets the value of a key; the last wins (lazr.config reads a configuration
// without strictness).
func (b *block) set(e *entry) *entry {
	if old := b.index[e.key]; old != nil {
		*old = *e
		return old
	}
	if b.index == nil {
		b.index = make(map[string]*entry)
	}
	b.index[e.key] = e
	b.entries = append(b.entries, e)
	return e
}

// block finds a section of the document or begins it.
func (d *document) block(name string, line int) *block {
	if name == "DEFAULT" {
		if d.defaults == nil {
			d.defaults = &block{name: name, line: line}
		}
		return d.defaults
	}
	if b := d.index[name]; b != nil {
		return b
	}
	b := &block{name: name, line: line}
	if d.index == nil {
		d.index = make(map[string]*block)
	}
	d.index[name] = b
	d.blocks = append(d.blocks, b)
	return b
}

// parse reads a text. All its faulty lines are reported together.
func parse(source, dir, text string) (*document, error) {
	d := &document{source: source, dir: dir}
	if !utf8.ValidString(text) {
		return nil, &Error{Source: source, Line: badLine(text), Problem: "not UTF-8; save the file as UTF-8"}
	}
	p := parser{doc: d}
	for i, line := range strings.Split(unixLines(text), "\n") {
		if !p.line(i+1, line) {
			break
		}
	}
	if p.errs != nil {
		return nil, errors.Join(p.errs...)
	}
	if err := d.finish(); err != nil {
		return nil, err
	}
	return d, nil
}

// unixLines makes every line end a "\n", as Python does when it opens a file.
func unixLines(text string) string {
	return strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n")
}

// badLine is the first line that is not UTF-8.
func badLine(text string) int {
	for i, line := range strings.Split(unixLines(text), "\n") {
		if !utf8.ValidString(line) {
			return i + 1
		}
	}
	return 0
}

// parser is the state between two lines.
type parser struct {
	doc    *document
	block  *block // nil before the first header
	entry  *entry // the one that an indented line continues; nil after a header
	indent int    // of the last line that was not a continuation
	errs   []error
}

// line takes one line; false ends the reading.
func (p *parser) line(n int, line string) bool {
	trimmed := strip(line)
	switch {
	case trimmed == "":
		// An empty line belongs to the value; at its end it is cut again.
		if p.entry != nil {
			p.entry.lines = append(p.entry.lines, "")
		}
		return true
	case trimmed[0] == '#' || trimmed[0] == ';':
		return true // inside a value too, without leaving a line there
	}
	// An entry that is open takes whatever is indented deeper than it, even what
	// looks like a header or a key.
	indent := indentation(line)
	if p.entry != nil && indent > p.indent {
		p.entry.lines = append(p.entry.lines, trimmed)
		return true
	}
	p.indent = indent
	if name, ok := header(trimmed); ok {
		p.block, p.entry = p.doc.block(name, n), nil
		return true
	}
	if p.block == nil {
		p.fault(n, outside(trimmed))
		return false
	}
	p.option(n, trimmed)
	return true
}

// header reads "[name]". What follows the last "]" of the line is ignored, blanks
// and case inside count.
func header(line string) (name string, ok bool) {
	end := strings.LastIndexByte(line, ']')
	if line[0] != '[' || end < 2 {
		return "", false
	}
	return line[1:end], true
}

// outside explains a line that stands before any section. The line itself is not
// quoted, here and in option: it may be a password that lost its key.
func outside(line string) string {
	if strings.HasPrefix(line, "\ufeff") {
		return "the file begins with a byte order mark; save it as UTF-8 without one"
	}
	return "the line is outside of any section; begin with a section such as [mta]"
}

// option reads "key: value" or "key = value": the first of the two signs splits,
// and there are no comments behind a value, so that passwords may hold anything.
func (p *parser) option(n int, line string) {
	i := strings.IndexAny(line, ":=")
	switch {
	case i < 0:
		p.fault(n, p.noSign(line))
		return
	case i == 0:
		p.fault(n, "the key is missing before the \""+line[:1]+"\"")
		return
	}
	key := strings.ToLower(strip(line[:i]))
	p.entry = p.block.set(&entry{key: key, lines: []string{strip(line[i+1:])}, source: p.doc.source, line: n})
}

// noSign explains a line without ":" and "=".
func (p *parser) noSign(line string) string {
	word := strings.ToLower(strings.Fields(line)[0])
	if s := findSection(p.block.name); s != nil && s.key(word) != nil {
		return "\":\" or \"=\" is missing after " + word
	}
	return "the line has no \":\" or \"=\"; a line that continues a value must be indented"
}

func (p *parser) fault(line int, problem string) {
	p.errs = append(p.errs, &Error{Source: p.doc.source, Line: line, Problem: problem})
}

// finish does what needs the whole text: ends of values, [DEFAULT], names that
// Mailman refuses, sections that stand for no section.
func (d *document) finish() error {
	var kept []*block
	for _, b := range d.blocks {
		b.join()
		_, last, dotted := cutLast(b.name, ".")
		if dotted && (last == "template" || last == "optional" || last == "master") {
			continue // patterns for other sections: they are Mailman's schema's, not ours
		}
		if strings.Count(b.name, ".") > 1 {
			return &Error{Source: d.source, Line: b.line, Section: b.name,
				Problem: "a section name has at most one dot (Mailman refuses to load such a file)"}
		}
		kept = append(kept, b)
	}
	d.blocks = kept
	if d.defaults != nil {
		d.defaults.join()
		d.inherit()
	}
	return nil
}

// join makes the values of their lines, without the empty ones at the end.
func (b *block) join() {
	for _, e := range b.entries {
		e.value = strings.TrimRightFunc(strings.Join(e.lines, "\n"), isSpace)
		e.lines = nil
	}
}

// inherit copies the keys of [DEFAULT] to every section of the document that does not
// set them itself.
func (d *document) inherit() {
	for _, b := range d.blocks {
		for _, e := range d.defaults.entries {
			if b.index[e.key] == nil {
				inherited := *e
				inherited.inherited = true
				b.set(&inherited)
			}
		}
	}
}

// indentation counts characters: a tab is one, as it is for Python.
func indentation(line string) int {
	n := 0
	for _, r := range line {
		if !isSpace(r) {
			break
		}
		n++
	}
	return n
}

func strip(s string) string { return strings.TrimFunc(s, isSpace) }

// isSpace is Python's idea of a blank: Unicode's, and four separators of ASCII.
func isSpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }

// cutLast splits at the last sep.
func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
