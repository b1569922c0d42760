// Package kongdoc makes manual pages and completion scripts of a command line that kong has parsed: a program whose
// commands have flags and arguments, and no commands of their own. They are made of the same words as the help.
package kongdoc

import (
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// Commands returns the commands that the help shows.
func Commands(app *kong.Node) []*kong.Node {
	return slices.DeleteFunc(slices.Clone(app.Children), func(n *kong.Node) bool { return n.Hidden })
}

// flags returns those of a command that the help shows: its own, and then the program's.
func flags(app, node *kong.Node) []*kong.Flag {
	all := slices.Clone(node.Flags)
	if node != app {
		all = append(all, app.Flags...)
	}
	return slices.DeleteFunc(all, func(f *kong.Flag) bool { return f.Hidden })
}

// names are all spellings of a flag.
func names(f *kong.Flag) []string {
	all := []string{"--" + f.Name}
	if f.Tag.Negatable != "" {
		all = append(all, "--no-"+f.Name)
	}
	if f.Short != 0 {
		all = append(all, "-"+string(f.Short))
	}
	return all
}

func takesValue(f *kong.Flag) bool { return !f.IsBool() && !f.IsCounter() }

// values is what may follow a flag, or be an argument.
type values struct {
	words []string // one of them, or anything if there are none
	files bool     // a file
}

// valuesOf reads them out of the placeholder, where the help has them too: "smtp|smtps|starttls", "FILE".
func valuesOf(v *kong.Value, placeholder string) values {
	switch {
	case v.Enum != "":
		return values{words: v.EnumSlice()}
	case strings.Contains(placeholder, "|"):
		return values{words: strings.Split(placeholder, "|")}
	}
	return values{files: placeholder == "FILE" || placeholder == "DIR" || placeholder == "DIRECTORY"}
}

// valuesOfFlag are those of a flag that takes a value.
func valuesOfFlag(f *kong.Flag) values { return valuesOf(f.Value, f.FormatPlaceHolder()) }

// argument is what a command's first argument may be. One that is called "command" is a command.
func argument(app, node *kong.Node) values {
	switch {
	case node == app || len(node.Positional) > 0 && node.Positional[0].Name == "command":
		v := values{}
		for _, c := range Commands(app) {
			v.words = append(v.words, c.Name)
		}
		return v
	case len(node.Positional) > 0:
		return valuesOf(node.Positional[0], "")
	}
	return values{}
}

// brief is the first sentence of a help text.
func brief(help string) string {
	first, _, _ := strings.Cut(help, ". ")
	first, _, _ = strings.Cut(first, "; ")
	return strings.TrimSuffix(first, ".")
}
