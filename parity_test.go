package postrider_test

import (
	"io/fs"
	"os"
	"path/filepath"
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
	return regexp.MustCompile(`\b(Test|Example)[A-Z0-9_]\w*`).FindAllString(text, -1)
}

// allTests are those of the module.
func allTests(t *testing.T) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Example)\w*)\(`)
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, m := range declared.FindAllSubmatch(source, -1) {
			all[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestParityIsComplete: docs/parity.md has a row for each fact, each row about the
// client has a test, and every test that it names exists.
func TestParityIsComplete(t *testing.T) {
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
	}
	if len(facts) != 123 {
		t.Errorf("there are %d rows", len(facts))
	}
	for _, name := range testNames(string(source)) {
		if !tests[name] {
			t.Errorf("docs/parity.md names %s, which does not exist", name)
		}
	}
	for name := range tests {
		for _, n := range factsOf(name) {
			if !slices.Contains(facts[n].tests, name) {
				t.Errorf("%s is not named in the row of fact %d", name, n)
			}
		}
	}
}

// factsOf reads the numbers in a name such as TestFact26To28And97What.
func factsOf(name string) (numbers []int) {
	head := regexp.MustCompile(`^TestFact(\d+(?:(?:And|To)\d+)*)`).FindStringSubmatch(name)
	if head == nil {
		return nil
	}
	for _, part := range strings.Split(head[1], "And") {
		first, last, isRange := strings.Cut(part, "To")
		a, _ := strconv.Atoi(first)
		b, _ := strconv.Atoi(last)
		if !isRange {
			b = a
		}
		for n := a; n <= b; n++ {
			numbers = append(numbers, n)
		}
	}
	return numbers
}

func TestParityTestNamesAreRead(t *testing.T) {
	for name, want := range map[string][]int{
		"TestFact9Quit": {9}, "TestFact14And26To28TheModes": {14, 26, 27, 28}, "TestFact82And83What": {82, 83}, "TestFacts": nil, "TestOther1": nil,
	} {
		if got := factsOf(name); !slices.Equal(got, want) {
			t.Errorf("%s is about %v; want %v", name, got, want)
		}
	}
}
