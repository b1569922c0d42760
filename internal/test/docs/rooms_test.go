package docs_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The map of the house. The root is called by its package's name there.
const (
	houseMap = "docs/architecture.md"
	rootRoom = "postrider"
)

// TestRooms: the table of rooms names every package of the module, and no other.
func TestRooms(t *testing.T) {
	inRoot(t)
	exist := folders(t)
	var named []string
	row := regexp.MustCompile("^\\| `([^`]+)` \\|")
	for _, line := range readDocument(t, houseMap).lines {
		if m := row.FindStringSubmatch(line); m != nil {
			named = append(named, m[1])
		}
	}
	if len(named) < 10 {
		t.Fatalf("%s names only %q", houseMap, named)
	}
	for _, room := range exist {
		if !slices.Contains(named, room) {
			t.Errorf("%s does not mention the package %s", houseMap, room)
		}
	}
	for _, room := range named {
		if !slices.Contains(exist, room) {
			t.Errorf("%s names the package %s, which does not exist", houseMap, room)
		}
	}
}

// folders are those of the repository that hold a package. A module of its own counts by its folder.
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
			path = rootRoom
		}
		all = append(all, filepath.ToSlash(path))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// floors are the rooms of the drawing with the floor on which each stands.
func floors(t *testing.T) map[string]int {
	t.Helper()
	rooms := map[string]int{}
	row := regexp.MustCompile(`^│ (\d| ) │ (.+) │$`)
	floor := 0
	for _, line := range readDocument(t, houseMap).lines {
		m := row.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		if m[1] != " " {
			floor, _ = strconv.Atoi(m[1]) // a digit
		}
		for _, room := range strings.Fields(m[2]) {
			rooms[room] = floor
		}
	}
	return rooms
}

// TestFloors: the drawing has every package that is no test, and each imports from floors below its own.
func TestFloors(t *testing.T) {
	inRoot(t)
	rooms := floors(t)
	for _, room := range folders(t) {
		outside := strings.HasPrefix(room, "internal/test/") || strings.HasPrefix(room, "metrics/") ||
			slices.Contains([]string{"bench", "interop", "internal/mtatest"}, room)
		if _, drawn := rooms[room]; !drawn && !outside {
			t.Errorf("the drawing in %s does not have %s", houseMap, room)
		}
	}
	for room, floor := range rooms {
		for _, to := range imports(t, room) {
			if below, drawn := rooms[to]; !drawn || below >= floor {
				t.Errorf("%s on floor %d imports %s on floor %d", room, floor, to, below)
			}
		}
	}
}

// imports lists the rooms that a package imports, without its tests.
func imports(t *testing.T, room string) (rooms []string) {
	t.Helper()
	folder := room
	if room == rootRoom {
		folder = "."
	}
	names, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil || len(names) == 0 {
		t.Fatalf("%s has no files (%v)", folder, err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range f.Imports {
			path, _ := strconv.Unquote(i.Path.Value)
			if path == module {
				rooms = append(rooms, rootRoom)
			} else if to, ours := strings.CutPrefix(path, module+"/"); ours {
				rooms = append(rooms, to)
			}
		}
	}
	return rooms
}

// TestWay: the way of one message passes at most six rooms, and each is further down than the one before.
func TestWay(t *testing.T) {
	inRoot(t)
	text, err := os.ReadFile(houseMap)
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
		t.Fatalf("the way of one message passes %q", rooms)
	}
	drawn := floors(t)
	for i, room := range rooms {
		if drawn[room] == 0 {
			t.Errorf("the way passes %s, which is not in the drawing", room)
		}
		if i > 0 && drawn[room] >= drawn[rooms[i-1]] {
			t.Errorf("the way turns back from %s to %s", rooms[i-1], room)
		}
	}
}
