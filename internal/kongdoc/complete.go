package kongdoc

import (
	"fmt"
	"strings"

	"github.com/alecthomas/kong"
)

// shellWord is a word of a shell.
func shellWord(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

const bashHead = `# bash completion of PROGRAM, made by "PROGRAM completion bash"
_PROGRAM() {
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

const bashTail = `	esac
	if [[ $cur == -* ]]; then
		words=$flags
	fi
	COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -F _PROGRAM PROGRAM
`

// named puts the program's name into a piece of a script.
func named(app *kong.Node, script string) string {
	return strings.ReplaceAll(script, "PROGRAM", app.Name)
}

// Bash returns a completion script for bash: a case for each flag with a value, and one for each command.
func Bash(app *kong.Node) string {
	var b strings.Builder
	b.WriteString(named(app, bashHead))
	for _, n := range Commands(app) {
		for _, f := range flags(app, n) {
			if !takesValue(f) {
				continue
			}
			var at []string
			for _, name := range names(f) {
				at = append(at, n.Name+":"+name)
			}
			fmt.Fprintf(&b, "\t%s) %s; return ;;\n", strings.Join(at, " | "), bashValues(valuesOfFlag(f)))
		}
	}
	b.WriteString("\tesac\n\tlocal flags= words=\n\tcase $command in\n")
	bashCommand(&b, app, app, "''")
	for _, n := range Commands(app) {
		bashCommand(&b, app, n, n.Name)
	}
	b.WriteString(named(app, bashTail))
	return b.String()
}

func bashCommand(b *strings.Builder, app, n *kong.Node, name string) {
	var all []string
	for _, f := range flags(app, n) {
		all = append(all, names(f)...)
	}
	words := argument(app, n).words
	fmt.Fprintf(b, "\t%s)\n\t\tflags=%s\n\t\twords=%s\n\t\t;;\n",
		name, shellWord(strings.Join(all, " ")), shellWord(strings.Join(words, " ")))
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

const zshHead = `#compdef PROGRAM
# zsh completion of PROGRAM, made by "PROGRAM completion zsh"
_PROGRAM() {
	local context state state_descr line
	typeset -A opt_args
	local -a commands=(
`

const zshTail = `		esac
		;;
	esac
}
if [[ $funcstack[1] == _PROGRAM ]]; then
	_PROGRAM "$@"
else
	compdef _PROGRAM PROGRAM
fi
`

// Zsh returns a completion script for zsh: a function for compinit.
func Zsh(app *kong.Node) string {
	var b strings.Builder
	b.WriteString(named(app, zshHead))
	for _, n := range Commands(app) {
		fmt.Fprintf(&b, "\t\t%s\n", shellWord(n.Name+":"+strings.ReplaceAll(brief(n.Help), ":", `\:`)))
	}
	b.WriteString("\t)\n\t_arguments -C " + zshFlags(app, app) + " '1: :->command' '*:: :->rest'\n\tcase $state in\n")
	b.WriteString("\tcommand) _describe command commands ;;\n\trest)\n\t\tcase $line[1] in\n")
	for _, n := range Commands(app) {
		fmt.Fprintf(&b, "\t\t%s) _arguments %s%s ;;\n", n.Name, zshFlags(app, n), zshArguments(app, n))
	}
	b.WriteString(named(app, zshTail))
	return b.String()
}

func zshFlags(app, n *kong.Node) string {
	var specs []string
	for _, f := range flags(app, n) {
		for _, name := range names(f) {
			specs = append(specs, shellWord(zshFlag(f, name)))
		}
	}
	return strings.Join(specs, " ")
}

// zshFlag is one spelling of a flag as _arguments wants it: *--name=[help]:placeholder:values.
func zshFlag(f *kong.Flag, name string) string {
	help := strings.NewReplacer("[", `\[`, "]", `\]`).Replace(brief(f.Help))
	repeat, assign, value := "", "", ""
	if f.IsSlice() || f.IsMap() {
		repeat = "*"
	}
	if takesValue(f) {
		value = ":" + strings.ReplaceAll(f.FormatPlaceHolder(), ":", `\:`) + ":" + zshValues(valuesOfFlag(f))
		if assign = "="; !strings.HasPrefix(name, "--") {
			assign = "+"
		}
	}
	return repeat + name + assign + "[" + help + "]" + value
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

const fishHead = `# fish completion of PROGRAM, made by "PROGRAM completion fish"
complete -c PROGRAM -f
`

// Fish returns a completion script for fish: a line for each command, flag and argument.
func Fish(app *kong.Node) string {
	var b strings.Builder
	b.WriteString(named(app, fishHead))
	for _, n := range Commands(app) {
		fmt.Fprintf(&b, "complete -c %s -n __fish_use_subcommand -a %s -d %s\n",
			app.Name, n.Name, fishQuoted(brief(n.Help)))
	}
	b.WriteString(fishFlags(app, app, "__fish_use_subcommand"))
	for _, n := range Commands(app) {
		seen := "__fish_seen_subcommand_from " + n.Name
		b.WriteString(fishFlags(app, n, seen))
		if words := argument(app, n).words; words != nil {
			fmt.Fprintf(&b, "complete -c %s -n %s -a %s\n",
				app.Name, fishQuoted(seen), fishQuoted(strings.Join(words, " ")))
		}
	}
	return b.String()
}

func fishFlags(app, n *kong.Node, when string) string {
	var b strings.Builder
	for _, f := range flags(app, n) {
		value := fishValues(f)
		for _, name := range names(f) {
			option := " -s " + strings.TrimPrefix(name, "-")
			if long, ok := strings.CutPrefix(name, "--"); ok {
				option = " -l " + long
			}
			fmt.Fprintf(&b, "complete -c %s -n %s%s%s -d %s\n",
				app.Name, fishQuoted(when), option, value, fishQuoted(brief(f.Help)))
		}
	}
	return b.String()
}

func fishValues(f *kong.Flag) string {
	if !takesValue(f) {
		return ""
	}
	switch v := valuesOfFlag(f); {
	case v.files:
		return " -r -F"
	case v.words != nil:
		return " -x -a " + fishQuoted(strings.Join(v.words, " "))
	}
	return " -x"
}

// fishQuoted is a word of fish, where only ' and \ are special between quotes.
func fishQuoted(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
}
