package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
)

// FileConfig says where a File is and how large it may grow.
type FileConfig struct {
	Name    string    // what the logger calls it, such as "access log"
	Path    string    // made if missing; "-" is Stdout
	MaxSize int64     // bytes of a file; 0 means no bound
	Keep    int       // how many older files are kept beside it, as Path.1, Path.2 …
	Stdout  io.Writer // for Path "-"
	// Head and Tail are the first and the last bytes of each file, for formats that have such. With a Head a file that is there is not written on
	// but moved aside.
	Head, Tail []byte
	Log        *slog.Logger // is told when writing begins to fail
}

// File is a file as a Sink, or a stream. It is moved aside when it would grow beyond MaxSize. If somebody else moves
// or removes it, as logrotate does, a new one is begun at the next Tick. A disk that is full leaves whole records.
type File struct {
	cfg     FileConfig
	stream  io.Writer // in place of a file
	begun   bool      // the stream has its head
	file    *os.File  // nil while it cannot be opened
	regular bool      // a file that has a size, and can be moved
	size    int64
	failing bool // the logger has been told
}

// OpenFile opens, or makes, the file.
func OpenFile(cfg FileConfig) (*File, error) {
	f := &File{cfg: cfg}
	if cfg.Path == "-" {
		f.stream = cfg.Stdout
		return f, nil
	}
	return f, f.open()
}

func (f *File) open() error {
	file, err := os.OpenFile(f.cfg.Path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	st, err := file.Stat()
	if err != nil {
		return errors.Join(err, file.Close())
	}
	f.file, f.size, f.regular = file, st.Size(), st.Mode().IsRegular()
	if len(f.cfg.Head) == 0 {
		return nil
	}
	if f.size > 0 {
		// Its tail, if it got one, is there already.
		if err := f.file.Close(); err != nil {
			return err
		}
		f.file = nil
		if err := f.aside(); err != nil {
			return err
		}
		return f.open()
	}
	return f.begin()
}

// begin writes the head of a file that is empty.
func (f *File) begin() error {
	n, err := f.file.Write(f.cfg.Head)
	f.size += int64(n)
	if err != nil {
		err = errors.Join(err, f.file.Truncate(0), f.file.Close())
		f.file = nil
	}
	return err
}

// end closes the file.
func (f *File) end() error {
	if f.file == nil {
		return nil
	}
	var err error
	if len(f.cfg.Tail) > 0 {
		_, err = f.file.Write(f.cfg.Tail)
	}
	err = errors.Join(err, f.file.Close())
	f.file = nil
	return err
}

// Close closes the file; a stream is the caller's to close.
func (f *File) Close() error {
	var err error
	if f.stream != nil && f.begun && len(f.cfg.Tail) > 0 {
		_, err = f.stream.Write(f.cfg.Tail)
	}
	if err = errors.Join(err, f.end()); err != nil {
		return fmt.Errorf("close %s: %w", f.cfg.Name, err)
	}
	return nil
}

// Write writes whole records, all of them or none; false says that they are lost.
func (f *File) Write(_ context.Context, b []byte) bool {
	if f.stream != nil {
		if !f.begun && len(f.cfg.Head) > 0 {
			if _, err := f.stream.Write(f.cfg.Head); err != nil {
				return f.told(err)
			}
		}
		f.begun = true
		_, err := f.stream.Write(b)
		return f.told(err)
	}
	if f.regular && f.cfg.MaxSize > 0 && f.size > int64(len(f.cfg.Head)) && f.size+int64(len(b)+len(f.cfg.Tail)) > f.cfg.MaxSize {
		f.rotate()
	}
	if f.file == nil {
		if err := f.open(); err != nil {
			return f.told(err)
		}
	}
	n, err := f.file.Write(b)
	if err != nil && n > 0 && f.regular {
		// Half a record would be taken for one: a full disk must not leave one.
		if st, statErr := f.file.Stat(); statErr == nil && f.file.Truncate(st.Size()-int64(n)) == nil {
			n = 0
		}
	}
	f.size += int64(n)
	return f.told(err)
}

// told notes whether writing works and tells the logger when that changes.
func (f *File) told(err error) bool {
	if err != nil && !f.failing {
		f.cfg.Log.Warn("the "+f.cfg.Name+" cannot be written; its records are dropped until it can", "path", f.cfg.Path, "err", err)
	}
	if err == nil && f.failing {
		f.cfg.Log.Info("the "+f.cfg.Name+" is written again", "path", f.cfg.Path)
	}
	f.failing = err != nil
	return err == nil
}

// Tick lets go of a file that is no longer at its path; the next Write makes a new one.
func (f *File) Tick(context.Context) {
	if f.file == nil || !f.regular {
		return
	}
	mine, err := f.file.Stat()
	if err != nil {
		return
	}
	there, err := os.Stat(f.cfg.Path)
	if err == nil && os.SameFile(mine, there) {
		if f.size = there.Size(); f.size == 0 && len(f.cfg.Head) > 0 { // somebody has emptied it (copytruncate)
			if err := f.begin(); err != nil {
				f.told(err)
			}
		}
		return
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		f.ended()
	}
}

// ended ends a file that has been moved; what fails then is told.
func (f *File) ended() {
	if err := f.end(); err != nil {
		f.told(err)
	}
}

// rotate moves the file aside. What cannot be moved is written on.
func (f *File) rotate() {
	if f.cfg.Keep <= 0 {
		if err := f.file.Truncate(0); err != nil {
			f.told(err)
			return
		}
		if f.size = 0; len(f.cfg.Head) > 0 {
			if err := f.begin(); err != nil {
				f.told(err)
			}
		}
		return
	}
	if err := f.aside(); err != nil {
		f.told(err)
		return
	}
	f.ended()
}

// aside moves the file at the path to its first older name, and the older ones one number up; without any that are kept it removes it. One
// that is not there is no error.
func (f *File) aside() error {
	older := func(i int) string { return fmt.Sprintf("%s.%d", f.cfg.Path, i) }
	gone := func(err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	if f.cfg.Keep <= 0 {
		return gone(os.Remove(f.cfg.Path))
	}
	for i := f.cfg.Keep - 1; i >= 1; i-- {
		if err := gone(os.Rename(older(i), older(i+1))); err != nil {
			return err
		}
	}
	return gone(os.Rename(f.cfg.Path, older(1)))
}
