package docs_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// root is the repository's folder as this package's tests see it.
const root = "../../.."

// document is a page: README.md, another of the root, or one of docs.
type document struct {
	name   string // from the root
	lines  []string
	blocks []block
}

// block is what stands between two fences.
type block struct {
	info string // what stands behind the fence: "go", "text"
	line int    // of its first line, from 1
	end  int    // of the closing fence
	text string
}

// pages reads every document that is written for readers.
func pages(t *testing.T) (docs []*document) {
	t.Helper()
	var names []string
	for _, pattern := range []string{"docs/*.md", "*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(found) < 3 {
			t.Fatalf("%s stands for %q only (%v)", pattern, found, err)
		}
		names = append(names, found...)
	}
	for _, name := range names {
		docs = append(docs, readPage(t, name))
	}
	return docs
}

func readPage(t *testing.T, name string) *document {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	from, err := filepath.Rel(root, name)
	if err != nil {
		t.Fatal(err)
	}
	d := &document{name: filepath.ToSlash(from), lines: strings.Split(string(text), "\n")}
	inside := false
	for i, line := range d.lines {
		info, fence := strings.CutPrefix(line, "```")
		switch {
		case fence && !inside:
			d.blocks = append(d.blocks, block{info: strings.TrimSpace(info), line: i + 2})
		case fence:
			d.blocks[len(d.blocks)-1].end = i + 1
		case inside:
			d.blocks[len(d.blocks)-1].text += line + "\n"
		}
		inside = inside != fence
	}
	if inside {
		t.Errorf("%s: a block of code does not end", d.name)
	}
	return d
}

// program is a whole file of Go that a page shows.
type program struct {
	page string
	block
	prints string // what the block of text right behind it says that it prints
	runs   bool   // there is such a block
}

// programs are the blocks of a page that are whole files.
func (d *document) programs() (all []program) {
	for i, b := range d.blocks {
		if b.info != "go" || !strings.HasPrefix(b.text, "package ") {
			continue
		}
		p := program{page: d.name, block: b}
		if i+1 < len(d.blocks) && d.blocks[i+1].info == "text" && d.follows(b, d.blocks[i+1]) {
			p.prints, p.runs = d.blocks[i+1].text, true
		}
		all = append(all, p)
	}
	return all
}

// follows reports whether at most one paragraph stands between two blocks.
func (d *document) follows(first, second block) bool {
	between := strings.Join(d.lines[first.end:second.line-2], "\n")
	return !strings.Contains(strings.TrimSpace(between), "\n\n") && !strings.Contains(between, "\n#")
}
