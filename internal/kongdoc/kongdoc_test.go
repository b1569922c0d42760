package kongdoc

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

type sample struct {
	Post postCmd `cmd:"" help:"Post a letter; it's quick. Not to be seen."`
	Man  manCmd  `cmd:"" help:"Print a page."`
	Old  postCmd `cmd:"" hidden:"" help:"Hidden."`

	Quiet bool `short:"q" help:"Say less."`
}

type postCmd struct {
	Names []string `arg:"" name:"name" help:"Who gets it."`

	Kind   string            `placeholder:"card|letter" help:"What it is [one of two]."`
	File   string            `short:"F" placeholder:"FILE" help:"Its text. Default: none."`
	Stamp  *bool             `negatable:"" help:"Pay for it."`
	Field  map[string]string `placeholder:"A:B" help:"More."`
	Secret string            `hidden:"" help:"Hidden."`
}

func (postCmd) Help() string {
	return `
Goes by post.

.dots and \back "quoted" - all of it.

Examples:

  cards post anne

Exit status: 0, or more.
`
}

type manCmd struct {
	Command string `arg:"" optional:"" help:"Which."`
}

func model(t *testing.T) *kong.Node {
	t.Helper()
	app, err := kong.New(new(sample), kong.Name("cards"), kong.NoDefaultHelp())
	if err != nil {
		t.Fatal(err)
	}
	return app.Model.Node
}

func hasAll(t *testing.T, text string, wanted ...string) {
	t.Helper()
	for _, w := range wanted {
		if !strings.Contains(text, w) {
			t.Errorf("%q is not in\n%s", w, text)
		}
	}
	if strings.Contains(strings.ToLower(text), "secret") || strings.Contains(text, "hidden") {
		t.Errorf("what is hidden is in\n%s", text)
	}
}

func TestPage(t *testing.T) {
	app := model(t)
	hasAll(t, Page(app, app, "cards v1.2.3"), `.TH "CARDS" "1" "" "cards v1.2.3"`, ".SH COMMANDS\n.TP\n\\fBpost\\fR\n",
		`\fBcards\-post\fR(1)`)
	hasAll(t, Page(app, app.Children[0], ""),
		"cards\\-post \\- Post a letter; it\\(aqs quick", // NAME
		`\fBcards\fR \fBpost\fR [\fIflags\fR] \fIname\fR ...`,
		"Goes by post.\n.PP\n\\&.dots and \\eback \\(dqquoted\\(dq \\- all of it.",
		`\fB\-\-[no\-]stamp\fR`, `\fB\-F\fR, \fB\-\-file\fR=\fIFILE\fR`, `\fB\-q\fR, \fB\-\-quiet\fR`,
		".SH EXAMPLES\n.RS\n.nf\n  cards post anne", ".SH EXIT STATUS\nExit status: 0, or more.", `\fBcards\fR(1)`)
}

// Scripts name every visible flag and its values, whatever stands in the help texts, and their shell can read them.
func TestScripts(t *testing.T) {
	app := model(t)
	for shell, c := range map[string]struct {
		script string
		want   []string
	}{
		"bash": {Bash(app), []string{
			"--kind --file -F --stamp --no-stamp --field --quiet -q", "post:--kind)", "compgen -W 'card letter'",
			"post:--file | post:-F) compopt -o filenames", "words='post man'", "complete -F _cards cards",
		}},
		"zsh": {Zsh(app), []string{
			"#compdef cards", `'--kind=[What it is \[one of two\]]:card|letter:(card letter)'`,
			`'-F+[Its text]:FILE:_files'`,
			`'*--field=[More]:A\:B: '`, `'post:Post a letter'`, `'*:name: '`, `'1:command:(post man)'`,
			`'--no-stamp[Pay for it]'`,
		}},
		"fish": {Fish(app), []string{
			"-n '__fish_seen_subcommand_from post' -l kind -x -a 'card letter' -d 'What it is [one of two]'",
			"-s F -r -F -d 'Its text'", "-l no-stamp -d", "-a post -d 'Post a letter'",
			"-n '__fish_seen_subcommand_from man' -a 'post man'",
		}},
	} {
		hasAll(t, c.script, c.want...)
		if _, err := exec.LookPath(shell); err != nil {
			continue
		}
		check := exec.Command(shell, "-n")
		check.Stdin = strings.NewReader(c.script)
		if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v, %s", shell, err, out)
		}
	}
}

func TestQuotes(t *testing.T) {
	if got := shellWord("it's"); got != `'it'\''s'` {
		t.Error(got)
	}
	if got := fishQuoted(`it's \`); got != `'it\'s \\'` {
		t.Error(got)
	}
}
