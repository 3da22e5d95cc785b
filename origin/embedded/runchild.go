package embedded

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// What a child says on standard output, one line: that it serves, and where; or why it cannot.
const (
	sayReady  = "ready "
	sayFailed = "failed "
)

// RunChild is Run for a process that StartChild started. It says on stdout when it is ready, logs JSON lines to stderr for the
// parent to pass on, and ends when stdin ends: the parent holds the other end and never writes, so that an end means the
// parent is gone. What is under way when that happens is finished as on any stop.
func RunChild(ctx context.Context, cfg Config, stdin io.Reader, stdout, stderr io.Writer) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// This goroutine ends with the process at the latest: a read of standard input cannot be interrupted.
	go func() {
		io.Copy(io.Discard, stdin)
		cancel(fmt.Errorf("the parent process is gone"))
	}()
	cfg.Notify = tell(stdout)
	cfg.Log = slog.New(slog.NewJSONHandler(stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	err := Run(ctx, cfg, func(addr string) { fmt.Fprintln(stdout, sayReady+addr) })
	if err != nil {
		fmt.Fprintln(stdout, sayFailed+strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return err
}
