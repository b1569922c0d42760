package house_test

import (
	"go/ast"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// rfcMention is an RFC's number, or a section; one without a number belongs to the
// RFC named last before it.
var rfcMention = regexp.MustCompile(`RFC \d+|§\d+(?:\.\d+)*`)

// mentions returns what a text names, "5321" for RFC 5321 and "5321 §4.2" for its
// §4.2, and the sections of which nobody can tell the RFC.
func mentions(text string) (found, lost []string) {
	rfc := ""
	for _, m := range rfcMention.FindAllString(strings.Join(strings.Fields(text), " "), -1) {
		number, isRFC := strings.CutPrefix(m, "RFC ")
		switch {
		case isRFC:
			rfc = number
			found = append(found, rfc)
		case rfc == "":
			lost = append(lost, m)
		default:
			found = append(found, rfc+" "+m)
		}
	}
	return found, lost
}

// rfcRow is a row of docs/rfc.md.
type rfcRow struct {
	line  int
	rules []string // as mentions gives them
	where string
}

// rfcIndex reads the tables of docs/rfc.md: the rule, what we do, and where.
func rfcIndex(t *testing.T) (rows []rfcRow) {
	t.Helper()
	text, err := os.ReadFile("docs/rfc.md")
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Split(string(text), "\n") {
		if !strings.HasPrefix(line, "| RFC ") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "| "), " | ")
		if len(cells) != 3 {
			t.Errorf("docs/rfc.md:%d has %d cells; want the rule, what we do, and where", i+1, len(cells))
			continue
		}
		rules, _ := mentions(cells[0])
		rows = append(rows, rfcRow{i + 1, rules, cells[2]})
	}
	if len(rows) < 20 {
		t.Fatalf("docs/rfc.md has only %d rows", len(rows))
	}
	return rows
}

// TestRFCIndexIsComplete: whatever rule a comment cites can be looked up.
func TestRFCIndexIsComplete(t *testing.T) {
	inRoot(t)
	var known []string
	for _, row := range rfcIndex(t) {
		known = append(known, row.rules...)
	}
	fset, files := goFiles(t)
	for _, f := range files {
		for _, comment := range f.syntax.Comments {
			found, lost := mentions(comment.Text())
			for _, rule := range found {
				if !slices.Contains(known, rule) {
					t.Errorf("%v: RFC %s has no row in docs/rfc.md", fset.Position(comment.Pos()), rule)
				}
			}
			for _, section := range lost {
				t.Errorf("%v: %s of which RFC?", fset.Position(comment.Pos()), section)
			}
		}
	}
}

var codeSpan = regexp.MustCompile("`([^`]+)`")

// TestRFCIndexPointsAtCode: the files that docs/rfc.md names exist, and what it
// names behind a file is declared there.
func TestRFCIndexPointsAtCode(t *testing.T) {
	inRoot(t)
	_, files := goFiles(t)
	for _, row := range rfcIndex(t) {
		file, names := "", 0
		for _, span := range codeSpan.FindAllStringSubmatch(row.where, -1) {
			switch name := span[1]; {
			case strings.HasSuffix(name, ".go"):
				if file = name; files[file] == nil {
					t.Errorf("docs/rfc.md:%d: there is no %s", row.line, file)
				}
			case files[file] == nil:
				t.Errorf("docs/rfc.md:%d: %s stands behind no file", row.line, name)
			case !slices.Contains(declared(files[file].syntax), name):
				t.Errorf("docs/rfc.md:%d: %s declares no %s", row.line, file, name)
			default:
				names++
			}
		}
		if names == 0 {
			t.Errorf("docs/rfc.md:%d names no place in the code", row.line)
		}
	}
}

// declared lists what a file declares: functions, types, constants and variables
// by their names, methods and fields behind their type's.
func declared(f *ast.File) (names []string) {
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			names = append(names, receiver(d)+d.Name.Name)
		case *ast.GenDecl:
			for _, s := range d.Specs {
				switch s := s.(type) {
				case *ast.ValueSpec:
					for _, n := range s.Names {
						names = append(names, n.Name)
					}
				case *ast.TypeSpec:
					names = append(names, s.Name.Name)
					names = append(names, fields(s)...)
				}
			}
		}
	}
	return names
}

// receiver is "T." for a method of T or *T.
func receiver(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return ""
	}
	typ := d.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	if generic, ok := typ.(*ast.IndexExpr); ok {
		typ = generic.X
	}
	if id, ok := typ.(*ast.Ident); ok {
		return id.Name + "."
	}
	return ""
}

func fields(s *ast.TypeSpec) (names []string) {
	typ, ok := s.Type.(*ast.StructType)
	if !ok {
		return nil
	}
	for _, field := range typ.Fields.List {
		for _, n := range field.Names {
			names = append(names, s.Name.Name+"."+n.Name)
		}
	}
	return names
}
