package store

import (
	"errors"

	"golang.org/x/sys/unix"
)

// ReadNow implements File with RWF_NOWAIT: what the page cache has not got is not waited for.
func (f osFile) ReadNow(p []byte, off int64) (int, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	var n int
	var e error
	err = raw.Control(func(fd uintptr) { n, e = unix.Preadv2(int(fd), [][]byte{p}, off, unix.RWF_NOWAIT) })
	return max(n, 0), errors.Join(err, e)
}
