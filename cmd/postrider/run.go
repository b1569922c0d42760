package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/alecthomas/kong"

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

// terminal reports whether w is something that a person looks at.
func terminal(w any) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// cli is the command line: one field a subcommand, one struct and file each.
type cli struct {
	Send  sendCmd  `cmd:"" help:"Hand a message to an MTA."`
	Mail  mailCmd  `cmd:"" help:"Send a mailing: one message for many, so that it can be gone on with after a crash."`
	Check checkCmd `cmd:"" help:"Examine the way to an MTA, and explain what is wrong with it."`
	Sink  sinkCmd  `cmd:"" help:"Run a test MTA that takes every message."`
	Demo  demoCmd  `cmd:"" help:"Send a mailing to a test MTA on this machine, and explain what happens."`
	Bench benchCmd `cmd:"" help:"Measure how fast an MTA on this machine, or a built-in one, takes mail."`

	Man        manCmd        `cmd:"" help:"Print a manual page."`
	Completion completionCmd `cmd:"" help:"Print a script that completes commands and flags in a shell."`

	Help    helpFlag    `short:"h" help:"Show this help; after a command, the help of that command."`
	Version versionFlag `help:"Show the version."`
}

// errDone ends the parsing after --help and --version have said their words.
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

// run is the whole program: it gives the exit status.
func run(ctx context.Context, args []string, std streams) int {
	parser := kong.Must(new(cli),
		kong.Name("postrider"),
		kong.Description("Hands mail to an MTA over lasting SMTP connections, and says what became of every recipient."),
		kong.NoDefaultHelp(),
		kong.Writers(std.out, std.err),
		kong.ConfigureHelp(kong.HelpOptions{WrapUpperBound: 96, FlagsLast: true, NoExpandSubcommands: true}),
		kong.ExplicitGroups([]kong.Group{{Key: "mta", Title: "How to reach the MTA; each flag overrides a key of the configuration:"}}),
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

// checkArguments refuses what is not UTF-8, before it becomes part of a message that
// is declared to be. The parser would put U+FFFD in the place of such octets, in
// addresses and the names of files too.
func checkArguments(args []string) error {
	for i, arg := range args {
		if err := text.Check(arg); err != nil {
			return fmt.Errorf("argument %d, %s: %w: write command lines, and names of files in them, in UTF-8", i+1, printable(arg), err)
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

// finish says what went wrong, unless that was said, and gives the exit status.
func finish(std streams, err error) int {
	var told *toldError
	if err != nil && !errors.As(err, &told) {
		std.warn("%s", words(err))
	}
	return exitCode(nil, err)
}
