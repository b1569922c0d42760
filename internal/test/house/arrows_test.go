package house_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// arrows are the imports inside the module that a package's files have, tests in the same package included, each
// package by its folder. The table is complete: a new arrow costs a line here, and one that nobody takes has none.
var arrows = map[string][]string{
	".": {
		"internal/body", "internal/cause", "internal/detach", "internal/dial", "internal/hint", "internal/pace",
		"internal/quirks", "internal/ring", "internal/sasl", "internal/seats", "internal/session",
		"internal/stream", "internal/text",
		"internal/verdict", "internal/wire",
	},
	"cmd/postrider": {
		".", "config", "mailing", "smtptest", "internal/doctor", "internal/header", "internal/hint",
		"internal/journal", "internal/kongdoc", "internal/text",
	},
	"config":           {"."},
	"internal/address": {"internal/text"},
	"internal/body":    {"internal/detach", "internal/wire"},
	"internal/cause":   {"internal/hint"},
	"internal/detach":  {},
	"internal/dial":    {"internal/detach"},
	"internal/doctor": {
		".", "internal/dial", "internal/hint", "internal/sasl", "internal/session", "internal/text",
		"internal/wire",
	},
	"internal/header":  {},
	"internal/hint":    {},
	"internal/journal": {},
	"internal/kongdoc": {},
	"internal/memnet":  {},
	"internal/mtatest": {},
	"internal/pace":    {},
	"internal/quirks":  {},
	"internal/ring":    {},
	"internal/sasl":    {"internal/detach", "internal/hint"},
	"internal/seats":   {"internal/pace", "internal/ring"},
	"internal/session": {
		"internal/cause", "internal/detach", "internal/dial", "internal/hint", "internal/sasl", "internal/wire",
	},
	"internal/stream":       {"internal/ring"},
	"internal/test/chaos":   {".", "internal/memnet", "internal/test/ci"},
	"internal/test/ci":      {},
	"internal/test/content": {},
	"internal/test/docs":    {},
	"internal/test/ending":  {},
	"internal/test/fault":   {},
	"internal/test/flow":    {},
	"internal/test/house":   {},
	"internal/test/parity":  {},
	"internal/test/pool":    {},
	"internal/test/rig":     {".", "smtptest"},
	"internal/test/secure":  {},
	"internal/test/send":    {},
	"internal/test/words":   {},
	"internal/text":         {},
	"internal/verdict":      {"internal/wire"},
	"internal/wire":         {"internal/text"},
	"interop":               {},
	"mailing": {
		".", "internal/address", "internal/detach", "internal/header", "internal/text", "internal/wire",
	},
	"smtptest": {".", "internal/memnet"},
}

// testArrows are those that its external tests have besides; these may import their own package.
var testArrows = map[string][]string{
	".":                     {"config", "smtptest", "internal/test/rig"},
	"config":                {"smtptest", "internal/hint"},
	"internal/doctor":       {"smtptest"},
	"internal/test/content": {".", "smtptest"},
	"internal/test/docs":    {"config", "mailing", "smtptest"},
	"internal/test/ending":  {".", "smtptest"},
	"internal/test/fault":   {".", "smtptest", "internal/memnet", "internal/test/ci", "internal/test/rig"},
	"internal/test/flow":    {".", "smtptest", "internal/test/ci", "internal/test/rig"},
	"internal/test/parity":  {".", "config", "smtptest", "internal/test/rig"},
	"internal/test/pool":    {".", "smtptest", "internal/test/ci", "internal/test/rig"},
	"internal/test/secure":  {".", "smtptest", "internal/test/rig"},
	"internal/test/send":    {".", "smtptest", "internal/test/rig"},
	"internal/test/words":   {".", "smtptest", "internal/test/rig"},
	"interop":               {".", "mailing", "smtptest", "internal/doctor", "internal/mtatest"},
	"mailing":               {"smtptest"},
}

// notInRoot must not be imported by the library itself.
var notInRoot = []string{"flag", "os/signal", "testing"}

// inside returns the folder of a package of this module.
func inside(path string) (folder string, ok bool) {
	if path == module {
		return ".", true
	}
	return strings.CutPrefix(path, module+"/")
}

// arrowsOf are the folders that a package's own files, and that its external tests import.
func arrowsOf(folder string, files []*source) (own, external map[string]bool) {
	own, external = map[string]bool{}, map[string]bool{}
	for _, f := range files {
		for _, path := range f.imports() {
			to, ok := inside(path)
			switch {
			case !ok:
			case !strings.HasSuffix(f.syntax.Name.Name, "_test"):
				own[to] = true
			case to != folder:
				external[to] = true
			}
		}
	}
	return own, external
}

func TestArrows(t *testing.T) {
	inRoot(t)
	all := folders(t)
	for _, folder := range slices.Sorted(maps.Keys(all)) {
		if _, ok := arrows[folder]; !ok {
			t.Errorf("package %s has no line in the table of arrows", folder)
		}
		own, external := arrowsOf(folder, all[folder])
		for _, to := range slices.Sorted(maps.Keys(own)) {
			if !slices.Contains(arrows[folder], to) {
				t.Errorf("%s imports %s: no such arrow", folder, to)
			}
		}
		for _, to := range slices.Sorted(maps.Keys(external)) {
			if !slices.Contains(arrows[folder], to) && !slices.Contains(testArrows[folder], to) {
				t.Errorf("the tests of %s import %s: no such arrow", folder, to)
			}
		}
		for _, to := range arrows[folder] {
			if !own[to] {
				t.Errorf("%s does not import %s: delete the arrow", folder, to)
			}
		}
		for _, to := range testArrows[folder] {
			if !external[to] || own[to] {
				t.Errorf("the tests of %s do not import %s, or %s does: delete the test's arrow", folder, to, folder)
			}
		}
	}
	for folder := range arrows {
		if len(all[folder]) == 0 {
			t.Errorf("the table of arrows has %s, which is no package", folder)
		}
	}
	for folder := range testArrows {
		if len(all[folder]) == 0 {
			t.Errorf("the table of the tests' arrows has %s, which is no package", folder)
		}
	}
}

func TestRootImportsNothingOfAProgram(t *testing.T) {
	inRoot(t)
	for _, f := range folders(t)["."] {
		for _, path := range f.imports() {
			if !f.isTest() && slices.Contains(notInRoot, path) {
				t.Errorf("%s imports %s", f.path, path)
			}
		}
	}
}
