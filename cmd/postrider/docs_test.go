package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// docs/program.md names every command and every flag that the help names, and has
// the same exit statuses.
func TestProgramIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/program.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	app := kong.Must(new(cli), kong.NoDefaultHelp(), flagHelp)
	for _, command := range app.Model.Children {
		if !strings.Contains(page, "\n## "+command.Name+"\n") {
			t.Errorf("%s has no section", command.Name)
		}
		for _, flag := range command.Flags {
			name := "--" + flag.Name
			if flag.Tag.Negatable != "" {
				name = "--[no-]" + flag.Name
			}
			if !flag.Hidden && !regexp.MustCompile(regexp.QuoteMeta(name)+`\b`).MatchString(page) {
				t.Errorf("%s: %s is not there", command.Name, name)
			}
		}
	}
	hasStatuses(t, page, exitTable)
}

// docs/check.md has the exit statuses of check.
func TestCheckIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/check.md")
	if err != nil {
		t.Fatal(err)
	}
	hasStatuses(t, string(text), checkTable)
}

func hasStatuses(t *testing.T, page, table string) {
	t.Helper()
	statuses := regexp.MustCompile(`(?m)^ *([0-9]+)  [a-zA-Z]`).FindAllStringSubmatch(table, -1)
	if len(statuses) < 10 {
		t.Fatalf("only %d statuses in the help", len(statuses))
	}
	for _, s := range statuses {
		if !strings.Contains(page, fmt.Sprintf("\n| %s | ", s[1])) {
			t.Errorf("status %s is not there", s[1])
		}
	}
}

// The help of a flag shows its default, and no other.
func TestDefaultsInTheHelp(t *testing.T) {
	app := kong.Must(new(cli), kong.NoDefaultHelp(), flagHelp)
	checked := 0
	for _, command := range app.Model.Children {
		for _, flag := range command.Flags {
			_, shown, _ := strings.Cut(flag.Help, "Default: ")
			shown = strings.Trim(strings.TrimSuffix(shown, "."), "'")
			if !flag.HasDefault || flag.Hidden {
				continue
			}
			checked++
			if shown != flag.Default && !strings.HasPrefix(shown, flag.Default+"', ") {
				t.Errorf("%s --%s: the default is %q, and the help says %q",
					command.Name, flag.Name, flag.Default, flag.Help)
			}
		}
	}
	if checked < 10 {
		t.Errorf("only %d flags have a default", checked)
	}
}
