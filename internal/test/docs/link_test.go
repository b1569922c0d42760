package docs_test

import (
	"os"
	"slices"
	"testing"
)

// TestLinks: a reader who follows a link finds what it promises, and reaches every
// document from README.md.
func TestLinks(t *testing.T) {
	inRoot(t)
	docs := documents(t)
	find := func(name string) *document {
		if i := slices.IndexFunc(docs, func(d *document) bool { return d.name == name }); i >= 0 {
			return docs[i]
		}
		return nil
	}
	for _, d := range docs {
		d.links(func(line int, target, anchor string) {
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s:%d: there is no %s", d.name, line, target)
			} else if to := find(target); anchor != "" && (to == nil || !slices.Contains(to.anchors(), anchor)) {
				t.Errorf("%s:%d: %s has no heading #%s", d.name, line, target, anchor)
			}
		})
	}
	reached := []string{"README.md"}
	for i := 0; i < len(reached); i++ {
		if d := find(reached[i]); d != nil {
			d.links(func(_ int, target, _ string) {
				if !slices.Contains(reached, target) {
					reached = append(reached, target)
				}
			})
		}
	}
	for _, d := range docs {
		if !slices.Contains(reached, d.name) {
			t.Errorf("no way leads from README.md to %s", d.name)
		}
	}
}
