package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"sync"
)

// stray collects what the server's libraries print to standard output and standard error and logs it. It replaces the two
// variables of package os for the whole process, as the process serves nothing else; what the runtime prints when it crashes
// is not affected.
type stray struct {
	stdout, stderr *os.File   // as they were
	pipes          []*os.File // what they are now
	wg             sync.WaitGroup
}

// catchStray starts collecting. Whoever logs to standard error must have taken the variable before.
func catchStray(log *slog.Logger) (*stray, error) {
	s := &stray{stdout: os.Stdout, stderr: os.Stderr}
	out, err := s.pipe(log, slog.LevelInfo)
	if err != nil {
		return nil, fmt.Errorf("collect stray output: %w", err)
	}
	errs, err := s.pipe(log, slog.LevelError)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("collect stray output: %w", err), out.Close())
	}
	os.Stdout, os.Stderr = out, errs
	return s, nil
}

// pipe returns a file whose lines are logged at level.
func (s *stray) pipe(log *slog.Logger, level slog.Level) (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	s.pipes = append(s.pipes, w)
	s.wg.Go(func() {
		defer r.Close()
		io.Copy(&lineWriter{line: func(line string) {
			if text := plain(line); text != "" {
				log.Log(context.Background(), level, "storage server", "text", text)
			}
		}}, r)
	})
	return w, nil
}

// release puts things back and waits until all was logged.
func (s *stray) release() {
	os.Stdout, os.Stderr = s.stdout, s.stderr
	for _, p := range s.pipes {
		p.Close()
	}
	s.wg.Wait()
}

var colours = regexp.MustCompile("\x1b\\[[0-9;]*m")

// plain strips the colours of a line for terminals.
func plain(line string) string { return strings.TrimSpace(colours.ReplaceAllString(line, "")) }
