package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestRooms: the table of rooms in docs/architecture.md names every package of the module, and no other.
func TestRooms(t *testing.T) {
	inRoot(t)
	page := readDocument(t, "docs/architecture.md")
	exist := folders(t)
	var named []string
	row := regexp.MustCompile("^\\| `([^`]+)` \\|")
	for _, line := range page.lines {
		if m := row.FindStringSubmatch(line); m != nil {
			named = append(named, m[1])
		}
	}
	if len(named) < 10 {
		t.Fatalf("%s names only %q", page.name, named)
	}
	for _, room := range exist {
		if !slices.Contains(named, room) {
			t.Errorf("%s says nothing of the package %s", page.name, room)
		}
	}
	for _, room := range named {
		if !slices.Contains(exist, room) {
			t.Errorf("%s names the package %s, which does not exist", page.name, room)
		}
	}
}

// folders are those of the repository that hold a package; the root is "postrider", its package's name. A module of
// its own counts by its folder.
func folders(t *testing.T) (all []string) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		if name := entry.Name(); path != "." && (strings.HasPrefix(name, ".") || name == "testdata") {
			return fs.SkipDir
		}
		names, err := filepath.Glob(filepath.Join(path, "*.go"))
		if err != nil || len(names) == 0 {
			return err
		}
		if path == "." {
			path = "postrider"
		}
		all = append(all, filepath.ToSlash(path))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestWay: the way of one message through the house, as the page draws it, passes at most six rooms, each once.
func TestWay(t *testing.T) {
	inRoot(t)
	text, err := os.ReadFile("docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	_, way, found := strings.Cut(string(text), "## The way of one message")
	way, _, _ = strings.Cut(way, "\n## ")
	var rooms []string
	for _, m := range regexp.MustCompile(`(?m)^\d\. \*\*([\w/]+)\*\*`).FindAllStringSubmatch(way, -1) {
		rooms = append(rooms, m[1])
	}
	if !found || len(rooms) < 3 || len(rooms) > 6 {
		t.Fatalf("the way of one message leads through %q", rooms)
	}
	exist := folders(t)
	for i, room := range rooms {
		if !slices.Contains(exist, room) {
			t.Errorf("the way leads through %s, which does not exist", room)
		}
		if slices.Contains(rooms[:i], room) {
			t.Errorf("the way turns back to %s", room)
		}
	}
}
