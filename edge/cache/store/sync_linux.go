package store

import (
	"errors"
	"io/fs"
	"syscall"
)

func (f osFile) Sync() error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var e error
	err = raw.Control(func(fd uintptr) { e = syscall.Fdatasync(int(fd)) })
	if err = errors.Join(err, e); err != nil {
		return &fs.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
	}
	return nil
}
