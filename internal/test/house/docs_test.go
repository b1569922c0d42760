package house_test

import (
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	// What the documents show is compiled against these: go test must not show a result from before they changed.
	_ "github.com/postrider/postrider"
	_ "github.com/postrider/postrider/config"
	_ "github.com/postrider/postrider/mailing"
	_ "github.com/postrider/postrider/smtptest"
)

// document is README.md or a file of docs.
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
	text string
}

func documents(t *testing.T) (docs []*document) {
	t.Helper()
	names, err := filepath.Glob("docs/*.md")
	if err != nil || len(names) < 5 {
		t.Fatalf("docs has only %q (%v)", names, err)
	}
	for _, name := range append(names, "README.md") {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		docs = append(docs, parseDocument(filepath.ToSlash(name), string(text)))
	}
	return docs
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
		case inside && !fence:
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

// TestGoOfDocuments: what the documents show as Go compiles. A document is read
// from the top: each block sees what those before it have declared, and ctx.
// A line of dots stands for what is left out.
func TestGoOfDocuments(t *testing.T) {
	inRoot(t)
	packages := []string{
		"context", "crypto/tls", "errors", "fmt", "io", "iter", "log", "log/slog", "net", "os", "slices", "strings",
		"testing", "testing/synctest", "time",
		module, module + "/config", module + "/mailing", module + "/smtptest",
	}
	imports := exportData(t, packages)
	for _, d := range documents(t) {
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, d.name+".go", d.program(packages), 0)
		if err != nil {
			t.Error(err)
			continue
		}
		cfg := types.Config{
			Importer: importer.ForCompiler(fset, "gc", imports),
			Error: func(err error) {
				// What is declared and not used is soft: a document shows beginnings.
				if e, ok := err.(types.Error); !ok || !e.Soft {
					t.Error(err)
				}
			},
		}
		_, _ = cfg.Check("docs", fset, []*ast.File{f}, nil) // its errors were told
	}
}

// program makes one file of a document's Go: declarations as they are, statements
// as one function in which each block is nested into the one before.
func (d *document) program(packages []string) string {
	var declarations, statements strings.Builder
	depth := 0
	for _, b := range d.blocks {
		if language, _, _ := strings.Cut(b.info, " "); language != "go" {
			continue
		}
		text := fmt.Sprintf("//line %s:%d\n%s", filepath.Base(d.name), b.line, withoutDots(b.text))
		if _, err := parser.ParseFile(token.NewFileSet(), "", "package p\n"+text, 0); err == nil {
			declarations.WriteString(text)
			continue
		}
		statements.WriteString("{\n" + text)
		depth++
	}
	return "package docs\nimport (\n\"" + strings.Join(packages, "\"\n\"") + "\"\n)\n" + declarations.String() +
		"func _(ctx context.Context) {\n" + statements.String() + strings.Repeat("}\n", depth) + "}\n"
}

// withoutDots empties the lines of dots.
func withoutDots(text string) string {
	return regexp.MustCompile(`(?m)^\s*(\.\.\.|…)$`).ReplaceAllString(text, "")
}

// exportData gives the compiled form of packages and of what they import.
func exportData(t *testing.T, packages []string) importer.Lookup {
	t.Helper()
	args := append([]string{"list", "-export", "-deps", "-f", "{{.ImportPath}}\t{{.Export}}"}, packages...)
	cmd := exec.Command("go", args...)
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list -export: %v\n%s", err, &complaints)
	}
	files := map[string]string{}
	for line := range strings.Lines(string(out)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), "\t")
		files[path] = file
	}
	return func(path string) (io.ReadCloser, error) { return os.Open(files[path]) }
}

// TestGuideShowsExamples: a block that is headed by a name of example_test.go
// shows lines of it, in their order. There they run, and their output is checked.
func TestGuideShowsExamples(t *testing.T) {
	inRoot(t)
	text, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "example_test.go", text, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	shown := 0
	for _, d := range documents(t) {
		for _, b := range d.blocks {
			_, name, named := strings.Cut(b.info, " ")
			if !named {
				continue
			}
			shown++
			source := ""
			for _, decl := range f.Decls {
				file := &ast.File{Decls: []ast.Decl{decl}}
				if slices.Contains(declared(file), name) {
					source = string(text[fset.Position(decl.Pos()).Offset:fset.Position(decl.End()).Offset])
				}
			}
			if line, ok := contains(source, b.text); !ok {
				t.Errorf("%s:%d: %s of example_test.go does not say %q there", d.name, b.line, name, line)
			}
		}
	}
	if shown < 8 {
		t.Errorf("the documents show %d pieces of example_test.go; the guide should tell its whole story", shown)
	}
}

// contains reports whether all lines of part stand in whole in their order, or the
// first that does not.
func contains(whole, part string) (missing string, ok bool) {
	rest := strings.Split(whole, "\n")
	for line := range strings.Lines(withoutDots(part)) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		i := slices.IndexFunc(rest, func(s string) bool { return strings.TrimSpace(s) == line })
		if i < 0 {
			return line, false
		}
		rest = rest[i+1:]
	}
	return "", true
}
