package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/postrider/postrider/internal/kongdoc"
)

// manCmd is postrider man.
type manCmd struct {
	Command string `arg:"" optional:"" help:"The command to describe. Default: the whole program."`
}

// Help is the long part of the help text.
func (*manCmd) Help() string {
	return `
Prints a manual page in roff, with the same words as the help.

Examples:

  postrider man send | man -l -
  for c in "" send check; do
      postrider man $c > /usr/local/share/man/man1/postrider${c:+-$c}.1
  done
`
}

// Run prints the page.
func (c *manCmd) Run(app *kong.Kong, std streams) error {
	node := app.Model.Node
	if c.Command != "" {
		commands := kongdoc.Commands(node)
		i := slices.IndexFunc(commands, func(n *kong.Node) bool { return n.Name == c.Command })
		if i < 0 {
			return fail(exitUsage, fmt.Errorf("man: there is no command %q", c.Command))
		}
		node = commands[i]
	}
	short := "postrider " + strings.Fields(version())[1] // without Go's own
	_, err := io.WriteString(std.out, kongdoc.Page(app.Model.Node, node, short))
	return err
}
