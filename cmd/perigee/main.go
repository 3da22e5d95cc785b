// Command perigee is the whole of Perigee in one binary: `perigee up` runs everything on one machine, each role has a
// subcommand of its own, and the rest are the operator's tools.
//
// No decision is made here. A subcommand reads its flags and the configuration, builds what it needs from the packages,
// runs it until it ends or the process is told to stop, and says what happened. Results go to standard output, everything
// said to a person to standard error; with --json results are JSON. The exit status is 0 when all was done, 1 when
// something was not, 2 when the command line was wrong, 130 when it was interrupted.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process the hard way
	os.Exit(run(ctx, os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}
