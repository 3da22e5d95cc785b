package accesslog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
)

// output is the file, or a stream. One goroutine uses it at a time.
type output struct {
	path    string
	maxSize int64
	keep    int
	stream  io.Writer // in place of a file
	file    *os.File  // nil while it cannot be opened
	regular bool      // a file that has a size, and can be moved
	size    int64
	failing bool // the logger has been told
	log     *slog.Logger
}

func openOutput(cfg Config) (*output, error) {
	o := &output{path: cfg.Path, maxSize: cfg.MaxSize, keep: cfg.Keep, log: cfg.Log}
	if cfg.Path == "-" {
		o.stream = cfg.Stdout
		return o, nil
	}
	return o, o.open()
}

func (o *output) open() error {
	f, err := os.OpenFile(o.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	st, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	o.file, o.size, o.regular = f, st.Size(), st.Mode().IsRegular()
	return nil
}

func (o *output) close() error {
	if o.file == nil {
		return nil
	}
	err := o.file.Close()
	o.file = nil
	return err
}

// write writes whole lines, all of them or none; false says that they are lost.
func (o *output) write(b []byte) bool {
	if o.stream != nil {
		_, err := o.stream.Write(b)
		return o.told(err)
	}
	if o.regular && o.maxSize > 0 && o.size > 0 && o.size+int64(len(b)) > o.maxSize {
		o.rotate()
	}
	if o.file == nil {
		if err := o.open(); err != nil {
			return o.told(err)
		}
	}
	n, err := o.file.Write(b)
	if err != nil && n > 0 && o.regular {
		// Half a line would be taken for a line: a full disk must not leave one.
		if st, statErr := o.file.Stat(); statErr == nil && o.file.Truncate(st.Size()-int64(n)) == nil {
			n = 0
		}
	}
	o.size += int64(n)
	return o.told(err)
}

// told notes whether writing works and tells the logger when that changes.
func (o *output) told(err error) bool {
	if err != nil && !o.failing {
		o.log.Warn("the access log cannot be written; its lines are dropped until it can", "path", o.path, "err", err)
	}
	if err == nil && o.failing {
		o.log.Info("the access log is written again", "path", o.path)
	}
	o.failing = err != nil
	return err == nil
}

// follow lets go of a file that is no longer at its path; the next write makes a new one.
func (o *output) follow() {
	if o.file == nil || !o.regular {
		return
	}
	mine, err := o.file.Stat()
	if err != nil {
		return
	}
	there, err := os.Stat(o.path)
	if err == nil && os.SameFile(mine, there) {
		o.size = there.Size() // somebody may have emptied it (copytruncate)
		return
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		o.close()
	}
}

// rotate moves the file aside and the older ones one number up. What cannot be moved is written on.
func (o *output) rotate() {
	aside := func(i int) string { return fmt.Sprintf("%s.%d", o.path, i) }
	if o.keep <= 0 {
		if err := o.file.Truncate(0); err != nil {
			o.told(err)
			return
		}
		o.size = 0
		return
	}
	for i := o.keep - 1; i >= 1; i-- {
		if err := os.Rename(aside(i), aside(i+1)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			o.told(err)
			return
		}
	}
	if err := os.Rename(o.path, aside(1)); err != nil {
		o.told(err)
		if !errors.Is(err, fs.ErrNotExist) {
			return
		}
	}
	o.close()
}
