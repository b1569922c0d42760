package docs_test

import (
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/postrider/postrider"

// TestGoOfDocuments: what the documents show as Go compiles. A document is read from the top: each block sees what
// those before it have declared, and ctx. A line of dots stands for what is left out. Blocks that are whole files are
// TestProgramsCompile's.
func TestGoOfDocuments(t *testing.T) {
	inRoot(t)
	packages := []string{
		"context", "crypto/tls", "errors", "fmt", "io", "iter", "log", "log/slog", "net", "os", "slices", "strings",
		"testing", "testing/synctest", "time",
		module, module + "/config", module + "/mailing", module + "/smtptest",
	}
	imports := exportData(t, ".", packages)
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
		_, _ = cfg.Check("docs", fset, []*ast.File{f}, nil) // Error has reported them
	}
}

// program makes one file of a document's Go: declarations as they are, statements
// as one function in which each block is nested into the one before.
func (d *document) program(packages []string) string {
	var declarations, statements strings.Builder
	depth := 0
	for _, b := range d.blocks {
		if language, _, _ := strings.Cut(b.info, " "); language != "go" || b.isFile() {
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
				if declares(decl, name) {
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

// declares reports whether a declaration is that of a function or a constant of this name.
func declares(decl ast.Decl, name string) bool {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		return d.Name.Name == name
	case *ast.GenDecl:
		return slices.ContainsFunc(d.Specs, func(s ast.Spec) bool {
			v, ok := s.(*ast.ValueSpec)
			return ok && slices.ContainsFunc(v.Names, func(n *ast.Ident) bool { return n.Name == name })
		})
	}
	return false
}
