package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"perigee/clock"
)

// lockWait is how long the directory's previous server gets to end. A process that was just told to stop, or whose parent
// was killed, needs a moment.
const lockWait = 5 * time.Second

// openRoot makes the data directory if it is missing and takes its lock, which the kernel releases when the process ends, however it
// ends. The returned file is the lock; closing it gives it up.
func openRoot(ctx context.Context, root string, c clock.Clock) (*os.File, error) {
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, fmt.Errorf("storage directory %s: %w", root, describe(err))
	}
	f, err := os.OpenFile(filepath.Join(root, "LOCK"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("storage directory %s: %w", root, describe(err))
	}
	if err := takeLock(ctx, f, c); err != nil {
		err = fmt.Errorf("storage directory %s: %w", root, err)
		return nil, errors.Join(err, f.Close())
	}
	if err := f.Truncate(0); err != nil {
		return nil, errors.Join(fmt.Errorf("storage directory %s: %w", root, err), f.Close())
	}
	if _, err := fmt.Fprintln(f, os.Getpid()); err != nil {
		return nil, errors.Join(fmt.Errorf("storage directory %s: %w", root, err), f.Close())
	}
	return f, nil
}

func takeLock(ctx context.Context, f *os.File, c clock.Clock) error {
	until := c.Now().Add(lockWait)
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return fmt.Errorf("lock it: %w", err)
		}
		if !c.Now().Before(until) {
			return fmt.Errorf("another process (pid %s) serves it; stop that one, or give this one a directory of its own", holder(f))
		}
		t := c.NewTimer(50 * time.Millisecond)
		select {
		case <-t.C():
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
}

// holder reads which process wrote itself into the lock file.
func holder(f *os.File) string {
	b, err := io.ReadAll(io.NewSectionReader(f, 0, 20))
	if pid := strings.TrimSpace(string(b)); err == nil && pid != "" {
		return pid
	}
	return "unknown"
}

// describe adds to a permission error what to do about it.
func describe(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w; user %d must be able to write it", err, os.Geteuid())
	}
	return err
}
