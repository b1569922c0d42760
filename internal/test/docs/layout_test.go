package docs_test

import (
	"strings"
	"testing"
	"unicode/utf8"
)

const widest = 120

// TestWidth: lines of the documents fit into a terminal and into a diff. A row of a table cannot be broken, nor can a
// URL, nor what an example prints.
func TestWidth(t *testing.T) {
	inRoot(t)
	for _, d := range documents(t) {
		inCode := make([]bool, len(d.lines)+1)
		for _, b := range d.blocks {
			for line := b.line; line < b.end; line++ {
				inCode[line] = true
			}
		}
		for i, line := range d.lines {
			exempt := strings.HasPrefix(line, "| ") || strings.Contains(line, "://") ||
				inCode[i+1] && strings.HasPrefix(line, "// ")
			if n := utf8.RuneCountInString(strings.ReplaceAll(line, "\t", "    ")); n > widest && !exempt {
				t.Errorf("%s:%d has %d columns", d.name, i+1, n)
			}
		}
	}
}
