package house_test

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// arrows are the imports that are allowed inside the module, tests included, each
// package by its folder. A new leaf costs one line.
var arrows = map[string][]string{
	".": {
		"internal/body", "internal/detach", "internal/dial", "internal/hint", "internal/pace", "internal/quirks",
		"internal/ring", "internal/sasl", "internal/session", "internal/text", "internal/wire",
	},
	"cmd/postrider":         {".", "config", "mailing", "smtptest", "internal/doctor", "internal/hint", "internal/journal", "internal/text"},
	"config":                {"."},
	"internal/address":      {"internal/text"},
	"internal/body":         {"internal/detach", "internal/wire"},
	"internal/detach":       {},
	"internal/dial":         {"internal/detach"},
	"internal/doctor":       {".", "internal/dial", "internal/hint", "internal/sasl", "internal/session", "internal/text", "internal/wire"},
	"internal/hint":         {},
	"internal/journal":      {},
	"internal/memnet":       {},
	"internal/mtatest":      {},
	"internal/pace":         {},
	"internal/quirks":       {},
	"internal/ring":         {},
	"internal/sasl":         {"internal/hint"},
	"internal/session":      {"internal/detach", "internal/dial", "internal/hint", "internal/sasl", "internal/wire"},
	"internal/text":         {},
	"internal/wire":         {"internal/text"},
	"internal/test/chaos":   {".", "internal/memnet"},
	"internal/test/content": {},
	"internal/test/docs":    {},
	"internal/test/fault":   {},
	"internal/test/flow":    {},
	"internal/test/house":   {},
	"internal/test/parity":  {},
	"internal/test/pool":    {},
	"internal/test/rig":     {".", "smtptest"},
	"internal/test/secure":  {},
	"internal/test/words":   {},
	"interop":               {".", "mailing", "smtptest", "internal/doctor", "internal/mtatest"},
	"mailing":               {".", "internal/address", "internal/detach", "internal/text"},
	"smtptest":              {".", "internal/wire", "internal/memnet"},
}

// testArrows are allowed to external tests besides.
var testArrows = map[string][]string{
	".":                     {".", "smtptest", "config", "internal/test/rig"},
	"cmd/postrider":         {"internal/mtatest"},
	"config":                {"config", "smtptest", "internal/hint"},
	"internal/doctor":       {"smtptest"},
	"internal/test/content": {".", "smtptest"},
	"internal/test/docs":    {"config", "mailing", "smtptest"},
	"internal/test/fault":   {".", "smtptest", "internal/memnet", "internal/test/rig"},
	"internal/test/flow":    {".", "smtptest", "internal/test/rig"},
	"internal/test/parity":  {".", "config", "smtptest", "internal/test/rig"},
	"internal/test/pool":    {".", "smtptest", "internal/test/rig"},
	"internal/test/secure":  {".", "smtptest", "internal/test/rig"},
	"internal/test/words":   {".", "smtptest", "internal/test/rig"},
	"mailing":               {"smtptest"},
	"smtptest":              {"smtptest"},
}

const module = "github.com/postrider/postrider"

type listed struct {
	ImportPath, Dir                    string
	Imports, TestImports, XTestImports []string
}

func listPackages(t *testing.T) []listed {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Dir,Imports,TestImports,XTestImports", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []listed
	for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); {
		var p listed
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if len(all) < 5 {
		t.Fatalf("go list shows only %d packages", len(all))
	}
	return all
}

// inside gives the folder of a package of this module.
func inside(path string) (folder string, ok bool) {
	if path == module {
		return ".", true
	}
	return strings.CutPrefix(path, module+"/")
}

func TestArrows(t *testing.T) {
	inRoot(t)
	for _, p := range listPackages(t) {
		folder, _ := inside(p.ImportPath)
		allowed, known := arrows[folder]
		if !known {
			t.Errorf("package %s has no line in the table of arrows", folder)
		}
		check := func(imports, allowed []string, where string) {
			for _, i := range imports {
				if to, ok := inside(i); ok && !slices.Contains(allowed, to) {
					t.Errorf("%s%s imports %s: no such arrow", folder, where, to)
				}
			}
		}
		check(p.Imports, allowed, "")
		check(p.TestImports, allowed, " (test)")
		check(p.XTestImports, append([]string{folder}, append(allowed, testArrows[folder]...)...), " (external test)")
		if folder == "." {
			for _, banned := range []string{"flag", "os/signal", "testing"} {
				if slices.Contains(p.Imports, banned) {
					t.Errorf("the root package imports %s", banned)
				}
			}
		}
	}
}

// TestPackageDocs: every package says in one place what it does, and every public
// one documents each exported name and has an Example that runs.
func TestPackageDocs(t *testing.T) {
	inRoot(t)
	for _, p := range listPackages(t) {
		folder, _ := inside(p.ImportPath)
		pkg, examples := parsePackage(t, p)
		if strings.TrimSpace(pkg.Doc) == "" {
			t.Errorf("package %s has no package comment", folder)
		}
		if strings.HasPrefix(folder, "internal/") || strings.HasPrefix(folder, "cmd/") || folder == "interop" {
			continue
		}
		if examples == 0 {
			t.Errorf("package %s has no Example with checked output", folder)
		}
		for _, name := range undocumented(pkg) {
			t.Errorf("package %s: %s is exported and not documented", folder, name)
		}
	}
}

func parsePackage(t *testing.T, p listed) (pkg *doc.Package, examples int) {
	t.Helper()
	fset := token.NewFileSet()
	var files []*ast.File
	err := filepath.WalkDir(p.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && path != p.Dir {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		f, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
		if err == nil {
			files = append(files, f)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range doc.Examples(files...) {
		if e.Output != "" || e.EmptyOutput {
			examples++
		}
	}
	pkg, err = doc.NewFromFiles(fset, slices.DeleteFunc(files, func(f *ast.File) bool {
		return strings.HasSuffix(fset.File(f.Pos()).Name(), "_test.go")
	}), p.ImportPath)
	if err != nil {
		t.Fatal(err)
	}
	return pkg, examples
}

func undocumented(pkg *doc.Package) (names []string) {
	note := func(name, text string) {
		if strings.TrimSpace(text) == "" {
			names = append(names, name)
		}
	}
	functions := func(prefix string, fs []*doc.Func) {
		for _, f := range fs {
			note(prefix+f.Name, f.Doc)
		}
	}
	functions("", pkg.Funcs)
	for _, typ := range pkg.Types {
		note(typ.Name, typ.Doc)
		functions("", typ.Funcs)
		functions(typ.Name+".", typ.Methods)
	}
	return names
}
