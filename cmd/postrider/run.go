package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/alecthomas/kong"
	"golang.org/x/term"

	"github.com/postrider/postrider/internal/text"
)

// streams are what a subcommand reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// warn writes a line for the operator.
func (s streams) warn(format string, args ...any) {
	fmt.Fprintf(s.err, "postrider: "+format+"\n", args...)
}

// terminal reports whether w, a reader or a writer, is a terminal.
func terminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// cli is the command line: one field a subcommand, one struct and file each.
type cli struct {
	Send  sendCmd  `cmd:"" help:"Hand a message to an MTA."`
	Mail  mailCmd  `cmd:"" help:"Send one message to many recipients, and resume it after a crash."`
	Check checkCmd `cmd:"" help:"Examine an MTA as a mail program meets it, and explain what is wrong."`
	Sink  sinkCmd  `cmd:"" help:"Run a test MTA that accepts every message."`
	Demo  demoCmd  `cmd:"" help:"Send a mailing to a test MTA on this machine, and explain what happens."`
	Bench benchCmd `cmd:"" help:"Measure how fast an MTA on this machine, or the built-in one, accepts mail."`

	Man        manCmd        `cmd:"" help:"Print a manual page."`
	Completion completionCmd `cmd:"" help:"Print a script that completes commands and flags in a shell."`

	Help    helpFlag    `short:"h" help:"Show this help; after a command, the help of that command."`
	Version versionFlag `help:"Show the version."`
}

// errDone ends the parsing after --help and --version have printed their text.
var errDone = errors.New("done")

// helpFlag and versionFlag take the place of kong's own, which end the process.
type helpFlag bool

// BeforeReset prints the help of the command that was named so far.
func (helpFlag) BeforeReset(ctx *kong.Context) error {
	return errors.Join(ctx.PrintUsage(false), errDone)
}

type versionFlag bool

// BeforeReset prints the version.
func (versionFlag) BeforeReset(app *kong.Kong) error {
	fmt.Fprintln(app.Stdout, version())
	return errDone
}

// run is the whole program. It returns the exit status.
func run(ctx context.Context, args []string, std streams) int {
	parser := kong.Must(new(cli),
		kong.Name("postrider"),
		kong.Description("Hands mail to an MTA over lasting SMTP connections, "+
			"and reports what became of every recipient."),
		kong.NoDefaultHelp(),
		flagHelp,
		kong.Writers(std.out, std.err),
		kong.ConfigureHelp(kong.HelpOptions{WrapUpperBound: 96, FlagsLast: true, NoExpandSubcommands: true}),
		kong.ExplicitGroups([]kong.Group{{
			Key: "mta", Title: "How to reach the MTA; each flag overrides a key of the configuration:",
		}}),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(std),
	)
	if len(args) == 0 {
		args = []string{"--help"}
	}
	if err := checkArguments(args); err != nil {
		std.warn("%v", err)
		return exitUsage
	}
	command, err := parser.Parse(args)
	if err == nil {
		err = command.Run()
	}
	if errors.Is(err, errDone) {
		return exitOK
	}
	if usage := (*kong.ParseError)(nil); errors.As(err, &usage) {
		std.warn("%v", err)
		std.warn(`see "%s --help"`, usage.Context.Model.Name+path(usage.Context))
		return exitUsage
	}
	return finish(std, err)
}

// checkArguments refuses what is not UTF-8, before it becomes part of a message that is declared to be. The parser
// would replace such octets with U+FFFD, in addresses and the names of files too.
func checkArguments(args []string) error {
	for i, arg := range args {
		if err := text.Check(arg); err != nil {
			return fmt.Errorf("argument %d, %s: %w: use UTF-8 for command lines, and for names of files in them",
				i+1, text.Printable(arg), err)
		}
	}
	return nil
}

// path is the subcommand that a wrong command line is about, if it got so far.
func path(ctx *kong.Context) string {
	if ctx.Command() == "" {
		return ""
	}
	return " " + strings.Fields(ctx.Command())[0]
}

// finish prints what went wrong, unless it was printed before, and returns the exit status.
func finish(std streams, err error) int {
	var told *toldError
	if err != nil && !errors.As(err, &told) {
		std.warn("%s", words(err))
	}
	return exitCode(nil, err)
}
