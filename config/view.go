package config

import "fmt"

// view is what a stack of layers amounts to. It is not changed once it is made.
type view struct {
	values   map[string]map[string]setting
	warnings []*Error
}

// setting is a value in force and where it comes from.
type setting struct {
	value  string
	source string // "" for a default
	line   int
	dir    string // where a relative file name starts
	layer  int    // counted from 1; 0 are the defaults
}

// newView merges the layers, lowest first, over the defaults.
func newView(layers []layer) *view {
	v := &view{values: make(map[string]map[string]setting)}
	for _, s := range schema {
		for _, k := range s.keys {
			v.set(s.name, k.name, setting{value: k.def})
		}
	}
	// From the bottom up, so that what lies above is written over what is below.
	for i, l := range layers {
		v.merge(i+1, l.doc)
	}
	v.warnUnconvertible()
	return v
}

func (v *view) set(section, key string, s setting) {
	if v.values[section] == nil {
		v.values[section] = make(map[string]setting)
	}
	v.values[section][key] = s
}

// merge lays a document over what is there. Mailman passes over what it does not
// know in silence; here each such name is a warning.
func (v *view) merge(layer int, d *document) {
	v.warnings = append(v.warnings, d.warnings...)
	for _, b := range d.blocks {
		s := findSection(b.name)
		if s == nil {
			v.warn(&Error{Source: d.source, Line: b.line, Section: b.name, Problem: unknownSection(b.name)})
			continue
		}
		for _, e := range b.entries {
			// What [DEFAULT] hands down fits where it fits; see warnDefaults.
			if s.knows(e.key) {
				v.set(b.name, e.key, setting{e.value, e.source, e.line, d.dir, layer})
			} else if !e.inherited {
				v.warn(e.at(b.name, unknownKey(s, e.key)))
			}
		}
	}
	v.warnDefaults(d)
}

// warnDefaults warns of keys in [DEFAULT] that no section of the document has: to
// be unknown in one of them is natural.
func (v *view) warnDefaults(d *document) {
	if d.defaults == nil {
		return
	}
	for _, e := range d.defaults.entries {
		taken := false
		for _, b := range d.blocks {
			s := findSection(b.name)
			taken = taken || s != nil && s.knows(e.key)
		}
		if !taken {
			v.warn(e.at("DEFAULT", "no section of this file has such a key"))
		}
	}
}

func (v *view) warn(e *Error) { v.warnings = append(v.warnings, e) }

// at is an error about this entry of a section.
func (e *entry) at(section, problem string) *Error {
	return &Error{Source: e.source, Line: e.line, Section: section, Key: e.key, Problem: problem}
}

func unknownSection(name string) string {
	if n := nearest(name, sectionNames()); n != "" {
		return fmt.Sprintf("unknown section; did you mean [%s]?", n)
	}
	return "unknown section, which is ignored"
}

// unknownKey looks for the name in the other sections before it looks for a
// similar one in this: a key in the wrong section is the more common mistake.
func unknownKey(s *sectionSpec, key string) string {
	if h := home(key); h != "" {
		return fmt.Sprintf("unknown key; it belongs in [%s]", h)
	}
	if n := nearest(key, s.keyNames()); n != "" {
		return fmt.Sprintf("unknown key; did you mean %s?", n)
	}
	return "unknown key, which is ignored"
}

// warnUnconvertible warns of values that will fail to convert, before they are asked for.
func (v *view) warnUnconvertible() {
	for _, s := range schema {
		for _, k := range s.keys {
			if set := v.values[s.name][k.name]; !k.kind.accepts(set.value) {
				v.warn(v.unfit(s.name, k.name, k.kind.wants()))
			}
		}
	}
	if on, err := v.boolean("devmode", "enabled"); err == nil && on && v.values["devmode"]["recipient"].value == "" {
		v.warn(v.noRecipient())
	}
}
