package house_test

import (
	"fmt"
	"go/ast"
	"go/token"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// Sizes that a reader can take in. Function and file lengths are those of code without tests.
const (
	maxFunction  = 80  // lines
	mostFunction = 30  // 9 in 10 of a package's functions have at most this many lines
	maxFile      = 500 // lines
	maxColumns   = 120
	tabColumns   = 4
	maxParams    = 4 // without a context or a testing.T in front
)

// ceilings are what the hall may hold today; a goal below the ceiling is where it has to come.
var ceilings = map[string]struct{ ceiling, goal int }{
	"entries of the root folder":         {45, 45},
	"exported types of the root package": {30, 30},
	"lines of the root package":          {5650, 5000},
}

// wideFolders have lines that are too wide still. The list only shrinks: a folder that has none is no longer on it.
var wideFolders = []string{}

// badParams are functions whose parameters are too many, or two bools side by side, still.
var badParams = []string{}

func checkCeiling(t *testing.T, what string, n int) {
	t.Helper()
	c, ok := ceilings[what]
	switch {
	case !ok:
		t.Fatalf("no ceiling for %s", what)
	case n > c.ceiling:
		t.Errorf("%d %s, the ceiling is %d", n, what, c.ceiling)
	case n > c.goal:
		t.Logf("%d %s, the goal is %d", n, what, c.goal)
	}
}

// TestRootFolder: a visitor sees at once what there is. (Names that begin with a dot are not shown to one.)
func TestRootFolder(t *testing.T) {
	inRoot(t)
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range entries {
		if e.Name()[0] != '.' {
			n++
		}
	}
	checkCeiling(t, "entries of the root folder", n)
}

func TestRootPackage(t *testing.T) {
	inRoot(t)
	types, lines := 0, 0
	for _, f := range folders(t)["."] {
		if f.isTest() {
			continue
		}
		lines += len(f.lines)
		for _, d := range f.syntax.Decls {
			if d, ok := d.(*ast.GenDecl); ok && d.Tok == token.TYPE {
				types += exportedTypes(d)
			}
		}
	}
	checkCeiling(t, "exported types of the root package", types)
	checkCeiling(t, "lines of the root package", lines)
}

func exportedTypes(d *ast.GenDecl) (n int) {
	for _, s := range d.Specs {
		if s.(*ast.TypeSpec).Name.IsExported() {
			n++
		}
	}
	return n
}

func TestFileLength(t *testing.T) {
	inRoot(t)
	_, files := goFiles(t)
	for _, f := range files {
		if !f.isTest() && len(f.lines) > maxFile {
			t.Errorf("%s has %d lines, %d are allowed", f.path, len(f.lines), maxFile)
		}
	}
}

func TestFunctionLength(t *testing.T) {
	inRoot(t)
	fset, _ := goFiles(t)
	for folder, files := range folders(t) {
		var lengths []int
		for _, f := range files {
			for _, d := range functions(f) {
				n := fset.Position(d.End()).Line - fset.Position(d.Pos()).Line + 1
				if lengths = append(lengths, n); n > maxFunction {
					at := fset.Position(d.Pos())
					t.Errorf("%v: %s has %d lines, %d are allowed", at, d.Name.Name, n, maxFunction)
				}
			}
		}
		if n := ninthDecile(lengths); n > mostFunction {
			t.Errorf("9 in 10 functions of %s have up to %d lines, %d are allowed", folder, n, mostFunction)
		}
	}
}

// ninthDecile is the least length that 9 in 10 do not exceed.
func ninthDecile(lengths []int) int {
	if len(lengths) == 0 {
		return 0
	}
	slices.Sort(lengths)
	return lengths[(len(lengths)*9+9)/10-1]
}

// functions are those that a file declares, tests aside.
func functions(f *source) (all []*ast.FuncDecl) {
	for _, d := range f.syntax.Decls {
		if d, ok := d.(*ast.FuncDecl); ok && !f.isTest() {
			all = append(all, d)
		}
	}
	return all
}

func TestParameters(t *testing.T) {
	inRoot(t)
	fset, files := goFiles(t)
	var bad []string
	for _, f := range files {
		for _, d := range functions(f) {
			count, bools := parameters(d.Type)
			if count <= maxParams && !bools {
				continue
			}
			name := strings.TrimPrefix(f.folder()+"."+receiver(d)+d.Name.Name, ".")
			if bad = append(bad, name); !slices.Contains(badParams, name) {
				at := fset.Position(d.Pos())
				t.Errorf("%v: %s takes %d parameters, two bools side by side: %v", at, name, count, bools)
			}
		}
	}
	for _, name := range badParams {
		if !slices.Contains(bad, name) {
			t.Errorf("%s is no longer bad, or no longer there: take it off the list", name)
		}
	}
}

// parameters counts those behind a context or a testing.T, and reports whether two bools stand side by side.
func parameters(f *ast.FuncType) (count int, bools bool) {
	var types []string
	for _, field := range f.Params.List {
		for range max(1, len(field.Names)) {
			types = append(types, typeName(field.Type))
		}
	}
	for i := 1; i < len(types); i++ {
		bools = bools || types[i] == "bool" && types[i-1] == "bool"
	}
	if len(types) > 0 &&
		slices.Contains([]string{"context.Context", "testing.T", "testing.B", "testing.TB"}, types[0]) {
		types = types[1:]
	}
	return len(types), bools
}

// typeName is "T", "pkg.T" or "" for a type, or a pointer to one.
func typeName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return typeName(e.X)
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return typeName(e.X) + "." + e.Sel.Name
	}
	return ""
}

func TestParametersAreCounted(t *testing.T) {
	for text, want := range map[string]string{
		"":                                 "0 false",
		"ctx context.Context, a, b, c int": "3 false",
		"t *testing.T, a []int":            "1 false",
		"a int, ctx context.Context":       "2 false",
		"a, b bool":                        "2 true",
		"bool, bool":                       "2 true",
		"a bool, s string, b bool":         "3 false",
		"a bool, b ...bool":                "2 false",
	} {
		count, bools := parameters(parse(t, "package p\nfunc f("+text+") {}").Decls[0].(*ast.FuncDecl).Type)
		if got := fmt.Sprint(count, bools); got != want {
			t.Errorf("(%s): %s, want %s", text, got, want)
		}
	}
}

// TestLineLength holds Go files and documents, those of the other modules too, against the width of a page. Rows of
// tables and lines with an address cannot be broken.
func TestLineLength(t *testing.T) {
	inRoot(t)
	wide := map[string][]string{}
	err := walkAll(func(name string) error {
		if ext := filepath.Ext(name); ext != ".go" && ext != ".md" {
			return nil
		}
		text, err := os.ReadFile(name)
		for i, line := range splitLines(string(text)) {
			if isWide(line) {
				wide[path.Dir(name)] = append(wide[path.Dir(name)], fmt.Sprintf("%s:%d", name, i+1))
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range slices.Sorted(maps.Keys(wide)) {
		if !slices.Contains(wideFolders, folder) {
			places := wide[folder]
			t.Errorf("%s has %d lines of more than %d columns: %s", folder, len(places), maxColumns,
				strings.Join(places[:min(5, len(places))], " "))
		}
	}
	for _, folder := range wideFolders {
		if len(wide[folder]) == 0 {
			t.Errorf("%s has no line that is too wide: take it off the list", folder)
		}
	}
}

func isWide(line string) bool {
	columns := utf8.RuneCountInString(line) + strings.Count(line, "\t")*(tabColumns-1)
	return columns > maxColumns && !strings.HasPrefix(strings.TrimSpace(line), "|") && !strings.Contains(line, "://")
}

func TestWideLinesAreFound(t *testing.T) {
	for line, want := range map[string]bool{
		strings.Repeat("x", 120):              false,
		strings.Repeat("ä", 120):              false,
		strings.Repeat("x", 121):              true,
		"\t" + strings.Repeat("x", 116):       false,
		"\t" + strings.Repeat("x", 117):       true,
		"| " + strings.Repeat("x", 200):       false,
		"https://" + strings.Repeat("x", 200): false,
	} {
		if isWide(line) != want {
			t.Errorf("%q is too wide: %v, want %v", line, !want, want)
		}
	}
}
