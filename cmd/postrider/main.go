// Command postrider hands mail to an MTA and says what became of every recipient;
// it is also a test MTA, a demonstration of both, and a load test.
//
//	postrider demo                       see it work, on this machine only
//	postrider send anne@example.com      send the message on standard input
//	postrider mail readers.txt           send one message to many
//	postrider sink --save mail/          accept every message, and keep it
//	postrider bench                      measure how fast it goes
//
// Each subcommand has a --help with examples; docs/program.md has the rest.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() { os.Exit(start()) }

// start is main with its deferred calls. The first signal cancels what is underway, which then ends in order; a second
// one ends the program.
func start() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	return run(ctx, os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr})
}
