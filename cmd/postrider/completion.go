package main

import (
	"io"

	"github.com/alecthomas/kong"

	"github.com/postrider/postrider/internal/kongdoc"
)

// completionCmd is postrider completion.
type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"The shell: bash, zsh or fish."`
}

// Help is the long part of the help text.
func (*completionCmd) Help() string {
	return `
Prints a script that lets the shell complete commands, flags and their values.

Examples:

  source <(postrider completion bash)
  postrider completion bash > /etc/bash_completion.d/postrider
  postrider completion zsh > "${fpath[1]}/_postrider"
  postrider completion fish > ~/.config/fish/completions/postrider.fish
`
}

// Run prints the script.
func (c *completionCmd) Run(app *kong.Kong, std streams) error {
	script := map[string]func(*kong.Node) string{
		"bash": kongdoc.Bash, "zsh": kongdoc.Zsh, "fish": kongdoc.Fish,
	}[c.Shell]
	_, err := io.WriteString(std.out, script(app.Model.Node))
	return err
}
