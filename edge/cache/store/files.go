package store

import (
	"errors"
	"io/fs"
	"os"
)

// Files is the file system that a Store works on, so that tests can make it fail.
type Files interface {
	Open(name string, flag int) (File, error) // mode 0600
	Remove(name string) error
	Rename(from, to string) error
	ReadDir(name string) ([]fs.DirEntry, error)
	MkdirAll(name string) error // mode 0700
	SyncDir(name string) error
}

// File is an open file of Files.
type File interface {
	ReadAt(p []byte, off int64) (int, error)
	// ReadNow reads what can be had without waiting, which may be less than all of p without an error.
	ReadNow(p []byte, off int64) (int, error)
	WriteAt(p []byte, off int64) (int, error)
	// Sync puts the content on stable storage, as fdatasync(2) does.
	Sync() error
	Truncate(size int64) error
	Size() (int64, error)
	Close() error
	// OS returns the file for sendfile(2).
	OS() *os.File
}

type osFiles struct{}

func (osFiles) Open(name string, flag int) (File, error) {
	f, err := os.OpenFile(name, flag, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osFiles) Remove(name string) error                   { return os.Remove(name) }
func (osFiles) Rename(from, to string) error               { return os.Rename(from, to) }
func (osFiles) ReadDir(name string) ([]fs.DirEntry, error) { return os.ReadDir(name) }
func (osFiles) MkdirAll(name string) error                 { return os.MkdirAll(name, 0o700) }

func (osFiles) SyncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

type osFile struct{ *os.File }

func (f osFile) OS() *os.File { return f.File }

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
