package house_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/postrider/postrider"

// source is a Go file of this module, by its path from the root.
type source struct {
	path   string
	lines  []string
	syntax *ast.File
}

func (s *source) folder() string { return path.Dir(s.path) }

func (s *source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }

// imports are the paths that the file imports, whatever its build constraints say.
func (s *source) imports() (paths []string) {
	for _, i := range s.syntax.Imports {
		imported, _ := strconv.Unquote(i.Path.Value) // the parser has seen to it
		paths = append(paths, imported)
	}
	return paths
}

// parsed is what readModule returns.
type parsed struct {
	fset  *token.FileSet
	files map[string]*source
	err   error
}

// readModule parses every Go file of this module, tests included, once for all tests. The files are opened here and
// not by a go command, so that go test's cache knows that the results depend on them.
var readModule = sync.OnceValue(func() parsed {
	p := parsed{fset: token.NewFileSet(), files: map[string]*source{}}
	p.err = walk(func(name string) error {
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		syntax, err := parser.ParseFile(p.fset, name, text, parser.ParseComments)
		p.files[name] = &source{path: name, lines: splitLines(string(text)), syntax: syntax}
		return err
	})
	return p
})

// walk calls f for each file of this module, by its path from the current folder, the root. What begins with a dot,
// testdata and folders with a go.mod of their own, which are other modules, are left out.
func walk(f func(name string) error) error {
	return walkExcept(isModule, f)
}

// walkAll calls f for each file of this repository, those of its other modules included.
func walkAll(f func(name string) error) error {
	return walkExcept(func(string) bool { return false }, f)
}

func isModule(folder string) bool {
	_, err := os.Stat(filepath.Join(folder, "go.mod"))
	return err == nil
}

// walkExcept leaves out the folders that skip reports, what begins with a dot, and testdata.
func walkExcept(skip func(folder string) bool, f func(name string) error) error {
	return filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil || name == ".":
			return err
		case !d.IsDir():
			return f(filepath.ToSlash(name))
		case d.Name()[0] == '.' || d.Name() == "testdata" || skip(name):
			return filepath.SkipDir
		}
		return nil
	})
}

func splitLines(text string) []string {
	return strings.Split(strings.TrimSuffix(strings.ReplaceAll(text, "\r\n", "\n"), "\n"), "\n")
}

// goFiles are the Go files of this module, by their paths, with the positions of their syntax.
func goFiles(t *testing.T) (*token.FileSet, map[string]*source) {
	t.Helper()
	p := readModule()
	if p.err != nil {
		t.Fatal(p.err)
	}
	if len(p.files) < 100 {
		t.Fatalf("the module has only %d files", len(p.files))
	}
	return p.fset, p.files
}

// folders are the packages of this module: their files in order, by folder.
func folders(t *testing.T) map[string][]*source {
	t.Helper()
	_, files := goFiles(t)
	all := map[string][]*source{}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		s := files[name]
		all[s.folder()] = append(all[s.folder()], s)
	}
	return all
}

// isPublic reports whether others may import the package in a folder.
func isPublic(folder string) bool {
	return folder != "interop" && !strings.HasPrefix(folder, "internal/") && !strings.HasPrefix(folder, "cmd/")
}
