package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// inRoot makes the root of the module the current folder while a test runs.
func inRoot(t *testing.T) {
	t.Helper()
	t.Chdir("../../..")
	if _, err := os.Stat("go.mod"); err != nil {
		t.Fatal(err)
	}
}

// document is a page: README.md, another one beside it, or one of docs.
type document struct {
	name   string
	lines  []string
	prose  []string // lines, with what stands in blocks of code left empty
	blocks []block
}

// block is a block of code between fences.
type block struct {
	info string // what stands behind the fence: "go", or "go Example_secure"
	line int    // of its first line, from 1
	end  int    // of the closing fence
	text string
}

// isFile reports whether a block is a whole file of Go.
func (b *block) isFile() bool { return b.info == "go" && strings.HasPrefix(b.text, "package ") }

func documents(t *testing.T) (docs []*document) {
	t.Helper()
	for _, pattern := range []string{"docs/*.md", "*.md"} {
		names, err := filepath.Glob(pattern)
		if err != nil || len(names) < 2 {
			t.Fatalf("%s stands for %q only (%v)", pattern, names, err)
		}
		for _, name := range names {
			docs = append(docs, readDocument(t, name))
		}
	}
	return docs
}

func readDocument(t *testing.T, name string) *document {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return parseDocument(filepath.ToSlash(name), string(text))
}

func parseDocument(name, text string) *document {
	d := &document{name: name, lines: strings.Split(text, "\n")}
	d.prose = slices.Clone(d.lines)
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
		if fence || inside {
			d.prose[i] = ""
		}
		inside = inside != fence
	}
	return d
}

var (
	codeInProse = regexp.MustCompile("`[^`]*`")
	link        = regexp.MustCompile(`\]\(([^)\s]+)\)`)
)

// links calls f for each link to somewhere in the repository.
func (d *document) links(f func(line int, target, anchor string)) {
	for i, line := range d.prose {
		for _, m := range link.FindAllStringSubmatch(codeInProse.ReplaceAllString(line, ""), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			target, anchor, _ := strings.Cut(m[1], "#")
			if target == "" {
				target = d.name
			} else {
				target = filepath.ToSlash(filepath.Join(filepath.Dir(d.name), target))
			}
			f(i+1, target, anchor)
		}
	}
}

// anchors are the headings, by the names that links give them.
func (d *document) anchors() (names []string) {
	for _, line := range d.prose {
		if strings.HasPrefix(line, "#") {
			names = append(names, strings.Map(func(r rune) rune {
				switch {
				case r == ' ':
					return '-'
				case r == '-', r == '_', unicode.IsLetter(r), unicode.IsDigit(r):
					return unicode.ToLower(r)
				}
				return -1
			}, strings.TrimSpace(strings.TrimLeft(line, "#"))))
		}
	}
	return names
}
