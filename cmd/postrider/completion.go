package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

// completionCmd is postrider completion.
type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
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
	script := map[string]func(*kong.Node) string{"bash": bashScript, "zsh": zshScript, "fish": fishScript}[c.Shell]
	_, err := io.WriteString(std.out, script(app.Model.Node))
	return err
}

// values is what may follow a flag, or be an argument.
type values struct {
	words []string // one of them, or anything if there are none
	files bool     // a file
}

// valuesOf reads them out of the placeholder, where the help has them too:
// "smtp|smtps|starttls", "FILE".
func valuesOf(v *kong.Value, placeholder string) values {
	switch {
	case v.Enum != "":
		return values{words: v.EnumSlice()}
	case strings.Contains(placeholder, "|"):
		return values{words: strings.Split(placeholder, "|")}
	}
	return values{files: placeholder == "FILE" || placeholder == "DIR" || placeholder == "DIRECTORY"}
}

// argument is what a command's first argument may be.
func argument(app, node *kong.Node) values {
	switch {
	case node == app || node.Name == "man":
		v := values{}
		for _, c := range visible(app) {
			v.words = append(v.words, c.Name)
		}
		return v
	case len(node.Positional) > 0:
		return valuesOf(node.Positional[0], "")
	}
	return values{}
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

// brief is the first sentence of a help text.
func brief(help string) string {
	first, _, _ := strings.Cut(help, ". ")
	first, _, _ = strings.Cut(first, "; ")
	return strings.TrimSuffix(first, ".")
}

// shellWord is a word of a shell.
func shellWord(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

const bashHead = `# bash completion of postrider, made by "postrider completion bash"
_postrider() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command= i
	# --flag=value comes as three words, because = divides them.
	if [[ $cur == = ]]; then
		cur=
	elif [[ $prev == = ]]; then
		prev=${COMP_WORDS[COMP_CWORD-2]}
	fi
	for ((i = 1; i < COMP_CWORD; i++)); do
		if [[ ${COMP_WORDS[i]} != -* ]]; then
			command=${COMP_WORDS[i]}
			break
		fi
	done
	COMPREPLY=()
	case $command:$prev in
`

// bashScript has a case for each flag with a value, and one for each command.
func bashScript(app *kong.Node) string {
	var b strings.Builder
	b.WriteString(bashHead)
	for _, n := range visible(app) {
		for _, f := range flags(app, n) {
			if takesValue(f) {
				var at []string
				for _, name := range names(f) {
					at = append(at, n.Name+":"+name)
				}
				fmt.Fprintf(&b, "\t%s) %s; return ;;\n", strings.Join(at, " | "), bashValues(valuesOf(f.Value, f.FormatPlaceHolder())))
			}
		}
	}
	b.WriteString("\tesac\n\tlocal flags= words=\n\tcase $command in\n")
	for _, n := range append([]*kong.Node{app}, visible(app)...) {
		name := n.Name
		if n == app {
			name = "''"
		}
		var all []string
		for _, f := range flags(app, n) {
			all = append(all, names(f)...)
		}
		fmt.Fprintf(&b, "\t%s)\n\t\tflags=%s\n\t\twords=%s\n\t\t;;\n", name, shellWord(strings.Join(all, " ")), shellWord(strings.Join(argument(app, n).words, " ")))
	}
	b.WriteString("\tesac\n\tif [[ $cur == -* ]]; then\n\t\twords=$flags\n\tfi\n\tCOMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n}\ncomplete -F _postrider postrider\n")
	return b.String()
}

func bashValues(v values) string {
	switch {
	case v.files:
		return `compopt -o filenames; local IFS=$'\n'; COMPREPLY=($(compgen -f -- "$cur"))`
	case v.words != nil:
		return fmt.Sprintf(`COMPREPLY=($(compgen -W %s -- "$cur"))`, shellWord(strings.Join(v.words, " ")))
	}
	return ":"
}

// zshScript is a function for compinit.
func zshScript(app *kong.Node) string {
	var b strings.Builder
	b.WriteString("#compdef postrider\n# zsh completion of postrider, made by \"postrider completion zsh\"\n")
	b.WriteString("_postrider() {\n\tlocal context state state_descr line\n\ttypeset -A opt_args\n\tlocal -a commands=(\n")
	for _, n := range visible(app) {
		fmt.Fprintf(&b, "\t\t%s\n", shellWord(n.Name+":"+strings.ReplaceAll(brief(n.Help), ":", `\:`)))
	}
	b.WriteString("\t)\n\t_arguments -C " + zshFlags(app, app) + " '1: :->command' '*:: :->rest'\n\tcase $state in\n")
	b.WriteString("\tcommand) _describe command commands ;;\n\trest)\n\t\tcase $line[1] in\n")
	for _, n := range visible(app) {
		fmt.Fprintf(&b, "\t\t%s) _arguments %s%s ;;\n", n.Name, zshFlags(app, n), zshArguments(app, n))
	}
	b.WriteString("\t\tesac\n\t\t;;\n\tesac\n}\nif [[ $funcstack[1] == _postrider ]]; then\n\t_postrider \"$@\"\nelse\n\tcompdef _postrider postrider\nfi\n")
	return b.String()
}

func zshFlags(app, n *kong.Node) string {
	var specs []string
	for _, f := range flags(app, n) {
		help := strings.NewReplacer("[", `\[`, "]", `\]`).Replace(brief(f.Help))
		for _, name := range names(f) {
			repeat, assign, value := "", "", ""
			if f.IsSlice() || f.IsMap() {
				repeat = "*"
			}
			if takesValue(f) {
				assign, value = "=", ":"+strings.ReplaceAll(f.FormatPlaceHolder(), ":", `\:`)+":"+zshValues(valuesOf(f.Value, f.FormatPlaceHolder()))
				if !strings.HasPrefix(name, "--") {
					assign = "+"
				}
			}
			specs = append(specs, shellWord(repeat+name+assign+"["+help+"]"+value))
		}
	}
	return strings.Join(specs, " ")
}

func zshArguments(app, n *kong.Node) string {
	if len(n.Positional) == 0 {
		return ""
	}
	a := n.Positional[0]
	at := "1"
	if a.IsCumulative() {
		at = "*"
	}
	return " " + shellWord(at+":"+a.Name+":"+zshValues(argument(app, n)))
}

func zshValues(v values) string {
	switch {
	case v.files:
		return "_files"
	case v.words != nil:
		return "(" + strings.Join(v.words, " ") + ")"
	}
	return " "
}

// fishScript has a line for each command, flag and argument.
func fishScript(app *kong.Node) string {
	var b strings.Builder
	b.WriteString("# fish completion of postrider, made by \"postrider completion fish\"\ncomplete -c postrider -f\n")
	for _, n := range visible(app) {
		fmt.Fprintf(&b, "complete -c postrider -n __fish_use_subcommand -a %s -d %s\n", n.Name, fishQuoted(brief(n.Help)))
	}
	b.WriteString(fishFlags(app, app, "__fish_use_subcommand"))
	for _, n := range visible(app) {
		seen := "__fish_seen_subcommand_from " + n.Name
		b.WriteString(fishFlags(app, n, seen))
		if words := argument(app, n).words; words != nil {
			fmt.Fprintf(&b, "complete -c postrider -n %s -a %s\n", fishQuoted(seen), fishQuoted(strings.Join(words, " ")))
		}
	}
	return b.String()
}

func fishFlags(app, n *kong.Node, when string) string {
	var b strings.Builder
	for _, f := range flags(app, n) {
		value := ""
		if takesValue(f) {
			value = " -x"
			switch v := valuesOf(f.Value, f.FormatPlaceHolder()); {
			case v.files:
				value = " -r -F"
			case v.words != nil:
				value += " -a " + fishQuoted(strings.Join(v.words, " "))
			}
		}
		for _, name := range names(f) {
			option := " -s " + strings.TrimPrefix(name, "-")
			if long, ok := strings.CutPrefix(name, "--"); ok {
				option = " -l " + long
			}
			fmt.Fprintf(&b, "complete -c postrider -n %s%s%s -d %s\n", fishQuoted(when), option, value, fishQuoted(brief(f.Help)))
		}
	}
	return b.String()
}

// fishQuoted is a word of fish, where only ' and \ are special between quotes.
func fishQuoted(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
}
