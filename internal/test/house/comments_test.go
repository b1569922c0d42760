package house_test

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"testing"
)

// TestPackageDocs: every package says in one place what it does, and every public one has an Example that runs.
func TestPackageDocs(t *testing.T) {
	inRoot(t)
	for folder, files := range folders(t) {
		var comments, examples int
		for _, f := range files {
			if !f.isTest() && f.syntax.Doc != nil {
				comments++
			}
			for _, e := range doc.Examples(f.syntax) {
				if e.Output != "" || e.EmptyOutput {
					examples++
				}
			}
		}
		if comments != 1 {
			t.Errorf("package %s has %d package comments; want one", folder, comments)
		}
		if isPublic(folder) && examples == 0 {
			t.Errorf("package %s has no Example with checked output", folder)
		}
	}
}

// TestExportedNamesAreDocumented: functions, types, methods, constants and variables that others can see have a
// comment. A comment on a group of constants or variables counts for all of them.
func TestExportedNamesAreDocumented(t *testing.T) {
	inRoot(t)
	fset, files := goFiles(t)
	for _, f := range files {
		if f.isTest() || !isPublic(f.folder()) && f.folder() != "internal/test/rig" {
			continue
		}
		checkDocumented(t, fset, f.syntax)
	}
}

// TestExportedNamesOfTheMetrics is the same for the public packages of other modules.
func TestExportedNamesOfTheMetrics(t *testing.T) {
	inRoot(t)
	fset, n := token.NewFileSet(), 0
	err := walkAll(func(name string) error {
		if !strings.HasPrefix(name, "metrics/") || !strings.HasSuffix(name, ".go") ||
			strings.HasSuffix(name, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(fset, name, text, parser.ParseComments)
		if err == nil {
			n++
			checkDocumented(t, fset, f)
		}
		return err
	})
	if err != nil || n == 0 {
		t.Fatalf("%d files, %v", n, err)
	}
}

func checkDocumented(t *testing.T, fset *token.FileSet, f *ast.File) {
	t.Helper()
	for _, d := range f.Decls {
		for _, name := range undocumented(d) {
			t.Errorf("%v: %s is exported and not documented", fset.Position(name.Pos()), name.Name)
		}
	}
}

func undocumented(d ast.Decl) (names []*ast.Ident) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		visible := d.Recv == nil || ast.IsExported(strings.TrimSuffix(receiver(d), "."))
		if d.Name.IsExported() && visible && d.Doc == nil {
			names = append(names, d.Name)
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			names = append(names, undocumentedIn(d, s)...)
		}
	}
	return names
}

func undocumentedIn(d *ast.GenDecl, s ast.Spec) (names []*ast.Ident) {
	switch s := s.(type) {
	case *ast.TypeSpec:
		if s.Name.IsExported() && s.Doc == nil && (d.Doc == nil || d.Lparen.IsValid()) {
			names = append(names, s.Name)
		}
	case *ast.ValueSpec:
		for _, n := range s.Names {
			if n.IsExported() && s.Doc == nil && s.Comment == nil && d.Doc == nil {
				names = append(names, n)
			}
		}
	}
	return names
}

func TestUndocumentedNamesAreFound(t *testing.T) {
	for text, want := range map[string]int{
		"func F() {}":                                   1,
		"// F does.\nfunc F() {}":                       0,
		"type t int\nfunc (t) M() {}":                   0,
		"// T is.\ntype T int\nfunc (*T) M() {}":        1,
		"// Both.\nconst (\n\tA = 1\n\tB = 2\n)":        0,
		"const (\n\tA = 1 // one\n\tB = 2\n)":           1,
		"// All.\ntype (\n\tT int\n\t// U.\n\tU int\n)": 1,
	} {
		found := 0
		for _, d := range parse(t, "package p\n"+text).Decls {
			found += len(undocumented(d))
		}
		if found != want {
			t.Errorf("%q: %d names are found, want %d", text, found, want)
		}
	}
}

func parse(t *testing.T, text string) *ast.File {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "", text, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	return f
}
