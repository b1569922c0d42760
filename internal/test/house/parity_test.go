package house_test

import (
	"go/ast"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// fact is a row of docs/parity.md.
type fact struct {
	verdict string
	tests   []string
}

func readFacts(t *testing.T, text string) map[int]fact {
	t.Helper()
	facts := map[int]fact{}
	for line := range strings.Lines(text) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		n, err := strconv.Atoi(strings.TrimSpace(cells[0]))
		if err != nil {
			continue
		}
		if _, twice := facts[n]; twice || len(cells) != 5 {
			t.Errorf("fact %d: a second row, or one of %d cells", n, len(cells))
			continue
		}
		facts[n] = fact{strings.TrimSpace(cells[2]), testNames(cells[4])}
	}
	return facts
}

// testNames finds the tests and examples that a text names.
func testNames(text string) []string {
	return regexp.MustCompile(`\b(Test|Fuzz|Example)[A-Z0-9_]\w*`).FindAllString(text, -1)
}

// factsLine is the line of a test's comment that names its facts: "Facts 14, 26–28".
var factsLine = regexp.MustCompile(`^// Facts? (\d[\d, –]*)$`)

// factsOf reads the numbers in such a line.
func factsOf(line string) (numbers []int, ok bool) {
	for part := range strings.SplitSeq(line, ", ") {
		first, last, isRange := strings.Cut(part, "–")
		a, err := strconv.Atoi(first)
		b := a
		if err == nil && isRange {
			b, err = strconv.Atoi(last)
		}
		if err != nil || b < a {
			return nil, false
		}
		for n := a; n <= b; n++ {
			numbers = append(numbers, n)
		}
	}
	return numbers, true
}

// allTests are the tests and examples of the module, and the facts that their comments name.
func allTests(t *testing.T) map[string][]int {
	t.Helper()
	all := map[string][]int{}
	fset, files := goFiles(t)
	for _, f := range files {
		if !f.isTest() {
			continue
		}
		for _, d := range f.syntax.Decls {
			d, ok := d.(*ast.FuncDecl)
			if !ok || d.Recv != nil || len(testNames(d.Name.Name)) == 0 {
				continue
			}
			all[d.Name.Name] = append(all[d.Name.Name], factsOfComment(t, fset.Position(d.Pos()).String(), d.Doc)...)
		}
	}
	return all
}

func factsOfComment(t *testing.T, at string, doc *ast.CommentGroup) (numbers []int) {
	t.Helper()
	if doc == nil {
		return nil
	}
	for _, comment := range doc.List {
		m := factsLine.FindStringSubmatch(comment.Text)
		if m == nil {
			continue
		}
		n, ok := factsOf(m[1])
		if !ok {
			t.Errorf("%s: %q does not name facts", at, m[0])
		}
		numbers = append(numbers, n...)
	}
	return numbers
}

// TestParityIsComplete: docs/parity.md has a row for each fact, each row about the client has a test, and the rows and
// the comments of the tests say the same. (The comment of an example is for the reader of its documentation, and names
// no facts.)
func TestParityIsComplete(t *testing.T) {
	inRoot(t)
	source, err := os.ReadFile("docs/parity.md")
	if err != nil {
		t.Fatal(err)
	}
	facts, tests := readFacts(t, string(source)), allTests(t)
	for n := 1; n <= 123; n++ {
		f, ok := facts[n]
		client := n <= 28 || 41 <= n && n <= 98
		switch {
		case !ok:
			t.Errorf("fact %d has no row", n)
		case !slices.Contains([]string{"holds", "differs", "not ours"}, f.verdict):
			t.Errorf("fact %d: %q is no verdict", n, f.verdict)
		case client && (f.verdict == "not ours" || len(f.tests) == 0):
			t.Errorf("fact %d is about the client and has no test", n)
		}
		for _, name := range f.tests {
			if !strings.HasPrefix(name, "Example") && !slices.Contains(tests[name], n) {
				t.Errorf("the row of fact %d names %s, whose comment does not name the fact", n, name)
			}
		}
	}
	if len(facts) != 123 {
		t.Errorf("there are %d rows", len(facts))
	}
	for _, name := range testNames(string(source)) {
		if _, ok := tests[name]; !ok {
			t.Errorf("docs/parity.md names %s, which does not exist", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(tests)) {
		for _, n := range tests[name] {
			if !slices.Contains(facts[n].tests, name) {
				t.Errorf("the comment of %s names fact %d, whose row does not name the test", name, n)
			}
		}
	}
}

func TestFactsInCommentsAreRead(t *testing.T) {
	for line, want := range map[string][]int{
		"9": {9}, "14, 26–28": {14, 26, 27, 28}, "82, 83": {82, 83}, "": nil, "of the matter": nil, "28–26": nil,
		"1,2": nil,
	} {
		if got, ok := factsOf(line); !slices.Equal(got, want) || ok != (want != nil) {
			t.Errorf("%q is about %v, %v; want %v", line, got, ok, want)
		}
	}
}
