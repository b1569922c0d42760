package docs_test

import (
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	// What the programs are built with, so that a change of these packages makes go test run this one again.
	_ "github.com/postrider/postrider/config"
	_ "github.com/postrider/postrider/mailing"
	"github.com/postrider/postrider/smtptest"
)

// program is a whole file of Go that a page shows.
type program struct {
	block
	page   string
	runs   bool   // a block of text stands behind it
	prints string // that text
}

// programs are the blocks of a page that are whole files.
func (d *document) programs() (all []program) {
	for i, b := range d.blocks {
		if !b.isFile() {
			continue
		}
		p := program{block: b, page: d.name}
		if i+1 < len(d.blocks) && d.blocks[i+1].info == "text" {
			p.runs, p.prints = true, d.blocks[i+1].text
		}
		all = append(all, p)
	}
	return all
}

// isTest reports whether a program is a file of tests.
func (p *program) isTest() bool { return strings.HasSuffix(strings.Fields(p.text)[1], "_test") }

// TestProgramsCompile: every block of code that is a whole file compiles as it stands, imports included. Those that
// show another library need it, and the module of the benchmarks has it.
func TestProgramsCompile(t *testing.T) {
	inRoot(t)
	fset := token.NewFileSet()
	var ours, peers []*ast.File
	for _, d := range documents(t) {
		for _, p := range d.programs() {
			f, err := parser.ParseFile(fset, fmt.Sprintf("%s at line %d.go", p.page, p.line), p.text, 0)
			if err != nil {
				t.Error(err)
			} else if importsPeer(f) {
				peers = append(peers, f)
			} else {
				ours = append(ours, f)
			}
		}
	}
	if len(ours) < 6 || len(peers) < 2 {
		t.Errorf("the documents show %d programs, and %d with another library", len(ours), len(peers))
	}
	compile(t, fset, ".", ours)
	if os.Getenv("POSTRIDER_CI") == "" {
		t.Log("the programs with other libraries were not compiled, which may need a download; .ci/run check does it")
		return
	}
	compile(t, fset, "bench", peers)
}

// importsPeer reports whether a file imports something that this module does not have.
func importsPeer(f *ast.File) bool {
	return slices.ContainsFunc(f.Imports, func(i *ast.ImportSpec) bool {
		path, _ := strconv.Unquote(i.Path.Value)
		return strings.Contains(path, "go-mail") || strings.Contains(path, "gomail")
	})
}

// compile checks the types of files, each a package of its own, with the packages that the module in dir can import.
func compile(t *testing.T, fset *token.FileSet, dir string, files []*ast.File) {
	t.Helper()
	imported := map[string]bool{}
	for _, f := range files {
		for _, i := range f.Imports {
			if path, err := strconv.Unquote(i.Path.Value); err == nil {
				imported[path] = true
			}
		}
	}
	cfg := types.Config{
		Importer: importer.ForCompiler(fset, "gc", exportData(t, dir, slices.Sorted(maps.Keys(imported)))),
		Error:    func(err error) { t.Error(err) },
	}
	for _, f := range files {
		_, _ = cfg.Check(f.Name.Name, fset, []*ast.File{f}, nil) // Error has reported them
	}
}

// exportData finds the compiled form of packages and of what they import.
func exportData(t *testing.T, dir string, packages []string) importer.Lookup {
	t.Helper()
	args := []string{"list", "-export", "-deps", "-f", "{{.ImportPath}}\t{{.Export}}"}
	cmd := exec.Command("go", append(args, packages...)...)
	cmd.Dir = dir
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

// TestProgramsRun: a program with a block of text behind it prints that text. A program that needs a server finds a
// test server's address in SMTP_SERVER. A file of tests passes.
func TestProgramsRun(t *testing.T) {
	inRoot(t)
	ran := map[string]int{}
	for _, d := range documents(t) {
		for _, p := range d.programs() {
			if !p.runs && !p.isTest() {
				continue
			}
			ran[p.page]++
			t.Run(fmt.Sprintf("%s at line %d", filepath.Base(p.page), p.line), func(t *testing.T) {
				if p.page != "README.md" && os.Getenv("POSTRIDER_CI") == "" {
					t.Skip("compiled only; .ci/run check runs it, too")
				}
				if out := run(t, p); !p.isTest() && out != p.prints {
					t.Errorf("it prints\n%s\nand the page says\n%s", out, p.prints)
				}
			})
		}
	}
	for _, page := range []string{"README.md", "docs/send-one-mail.md", "docs/test-my-application.md"} {
		if ran[page] == 0 {
			t.Errorf("%s has no program that runs when it is pasted", page)
		}
	}
}

// run runs a program as a reader would who pasted it into a file of this module, and returns what it printed.
func run(t *testing.T, p program) string {
	t.Helper()
	server := smtptest.NewServer()
	defer server.Close()
	dir := t.TempDir()
	name, verb := filepath.Join(dir, "main.go"), "run"
	if p.isTest() {
		name, verb = filepath.Join(dir, "main_test.go"), "test"
	}
	if err := os.WriteFile(name, []byte(p.text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", verb, name)
	cmd.Env = append(os.Environ(), "SMTP_SERVER="+server.Addr)
	var out, complaints strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err := cmd.Run(); err != nil {
		t.Fatalf("go %s: %v\n%s%s", verb, err, &out, &complaints)
	}
	return out.String()
}

// TestMessagesOfOtherLibraries: the messages that docs/from-another-library.md lets other libraries build arrive, each
// at its recipient, with its text.
func TestMessagesOfOtherLibraries(t *testing.T) {
	inRoot(t)
	if os.Getenv("POSTRIDER_CI") == "" {
		t.Skip("it may need a download; .ci/run check runs it")
	}
	sent := 0
	for _, p := range readDocument(t, "docs/from-another-library.md").programs() {
		if !strings.HasPrefix(p.text, "package after\n") || !strings.Contains(p.text, "WriteTo") {
			continue
		}
		sent++
		t.Run(fmt.Sprintf("at line %d", p.line), func(t *testing.T) {
			server := smtptest.NewServer()
			defer server.Close()
			sendWith(t, p.text, server.Addr)
			got, to := server.Messages(), []string{"anne@example.com"}
			if len(got) != 1 || got[0].From != "app@example.com" || !slices.Equal(got[0].To, to) {
				t.Fatalf("the server got %v", got)
			}
			for _, part := range []string{"Subject: Your invoice", "42 euros, please.", "To: "} {
				if !strings.Contains(string(got[0].Content), part) {
					t.Errorf("%q is not in\n%s", part, got[0])
				}
			}
		})
	}
	if sent < 2 {
		t.Errorf("%d programs send a message that another library has built", sent)
	}
}

// mainAround calls send with a Connection.
const mainAround = `package main

import (
	"context"
	"log"

	"github.com/postrider/postrider"
)

func main() {
	conn, err := postrider.NewConnection(postrider.Config{Address: %q})
	if err == nil {
		err = send(context.Background(), conn)
	}
	if err != nil {
		log.Fatal(err)
	}
}
`

// sendWith builds a program around a file that has send, with the module of the benchmarks, and runs it.
func sendWith(t *testing.T, file, server string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"send.go":     strings.Replace(file, "package after", "package main", 1),
		"invoice.pdf": "%PDF-1.4\n",
		"main.go":     fmt.Sprintf(mainAround, server),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	program := filepath.Join(dir, "send")
	build := exec.CommandContext(t.Context(), "go", "-C", "bench", "build", "-o", program,
		filepath.Join(dir, "main.go"), filepath.Join(dir, "send.go"))
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
