package kongdoc

import (
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// Page returns the manual page of a command, or of the program if node is app, in the macros of man(7), which every
// formatter knows. The version, as in "postrider v1.2.3", stands in its last line.
func Page(app, node *kong.Node, version string) string {
	p := &page{app: app, node: node, version: version}
	p.print()
	return p.b.String()
}

// page is a manual page while it is made.
type page struct {
	app, node *kong.Node
	version   string
	b         strings.Builder
}

func (p *page) line(format string, args ...any) { fmt.Fprintf(&p.b, format+"\n", args...) }

func (p *page) print() {
	name := pageName(p.app, p.node)
	p.line(`.TH "%s" "1" "" "%s" "Postrider"`, strings.ToUpper(roff(name)), roff(p.version))
	p.line(".SH NAME\n%s \\- %s", roff(name), roff(strings.TrimSuffix(p.node.Help, ".")))
	p.line(".SH SYNOPSIS")
	p.synopsis()
	description, examples, status := sections(p.node.Detail)
	p.line(".SH DESCRIPTION\n%s", roff(p.node.Help))
	p.paragraphs(description)
	if p.node == p.app {
		p.commands()
	}
	p.options()
	p.section("EXAMPLES", examples)
	p.section("EXIT STATUS", status)
	p.seeAlso()
}

// pageName is postrider, or postrider-send as with git.
func pageName(app, node *kong.Node) string {
	if node == app {
		return app.Name
	}
	return app.Name + "-" + node.Name
}

func (p *page) synopsis() {
	text := `\fB` + roff(p.app.Name) + `\fR`
	if p.node == p.app {
		p.line(`%s \fIcommand\fR [\fIflags\fR]`, text)
		return
	}
	text += ` \fB` + roff(p.node.Name) + `\fR [\fIflags\fR]`
	for _, a := range p.node.Positional {
		name := `\fI` + roff(a.Name) + `\fR`
		if a.IsCumulative() {
			name += " ..."
		}
		if !a.Required {
			name = "[" + name + "]"
		}
		text += " " + name
	}
	p.line("%s", text)
}

func (p *page) commands() {
	p.line(".SH COMMANDS")
	for _, c := range Commands(p.app) {
		p.line(".TP\n\\fB%s\\fR\n%s", roff(c.Name), roff(c.Help))
	}
}

// options have their groups as subsections, as the help has.
func (p *page) options() {
	p.line(".SH OPTIONS")
	for _, a := range p.node.Positional {
		p.line(".TP\n\\fI%s\\fR\n%s", roff(a.Name), roff(a.Help))
	}
	group := ""
	all := flags(p.app, p.node)
	slices.SortStableFunc(all, func(a, b *kong.Flag) int { return groupOrder(a) - groupOrder(b) })
	for _, f := range all {
		if f.Group != nil && f.Group.Key != group {
			p.line(".SS %s", roff(strings.TrimSuffix(f.Group.Title, ":")))
			group = f.Group.Key
		}
		p.line(".TP\n%s\n%s", flagLine(f), roff(f.Help))
	}
}

func groupOrder(f *kong.Flag) int {
	if f.Group == nil {
		return 0
	}
	return 1
}

// flagLine is "-f, --from=ADDRESS".
func flagLine(f *kong.Flag) string {
	line := ""
	if f.Short != 0 {
		line = `\fB\-` + roff(string(f.Short)) + `\fR, `
	}
	name := "--" + f.Name
	if f.Tag.Negatable != "" {
		name = "--[no-]" + f.Name
	}
	line += `\fB` + roff(name) + `\fR`
	if takesValue(f) {
		line += `=\fI` + roff(f.FormatPlaceHolder()) + `\fR`
	}
	return line
}

func (p *page) section(title string, paragraphs []string) {
	if paragraphs != nil {
		p.line(".SH %s", title)
		p.paragraphs(paragraphs)
	}
}

// paragraphs are filled; what is indented in the help stands as it is.
func (p *page) paragraphs(texts []string) {
	for _, text := range texts {
		if !strings.HasPrefix(p.last(), ".SH") {
			p.line(".PP")
		}
		if strings.HasPrefix(text, " ") {
			p.line(".RS\n.nf\n%s\n.fi\n.RE", roff(text))
		} else {
			p.line("%s", roff(text))
		}
	}
}

// last is the line before.
func (p *page) last() string {
	text := strings.TrimSuffix(p.b.String(), "\n")
	return text[strings.LastIndexByte(text, '\n')+1:]
}

func (p *page) seeAlso() {
	var others []string
	for _, n := range append([]*kong.Node{p.app}, Commands(p.app)...) {
		if n != p.node {
			others = append(others, `\fB`+roff(pageName(p.app, n))+`\fR(1)`)
		}
	}
	p.line(".SH SEE ALSO\n%s", strings.Join(others, ",\n"))
}

// sections divides the long part of a help text.
func sections(detail string) (description, examples, status []string) {
	to := &description
	for text := range strings.SplitSeq(strings.Trim(detail, "\n"), "\n\n") {
		text = strings.Trim(text, "\n")
		switch {
		case text == "":
			continue
		case text == "Examples:":
			to = &examples
			continue
		case strings.HasPrefix(text, "Exit status"), strings.HasPrefix(text, "The exit status"):
			to = &status
		}
		*to = append(*to, text)
	}
	return description, examples, status
}

var roffCharacters = strings.NewReplacer(
	`\`, `\e`, "-", `\-`, `"`, `\(dq`, "'", `\(aq`, "`", "\\(ga", "~", `\(ti`, "^", `\(ha`,
)

// roff escapes what the formatter would take for its own.
func roff(text string) string {
	lines := strings.Split(roffCharacters.Replace(text), "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".") {
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}
