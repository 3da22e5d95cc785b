// Package durable puts whole files in place: after a crash or a power cut there is the old file or the new one, never a part.
//
// It is for small files that are replaced now and then, such as keys and snapshots. It starts nothing. On failure the old file is as it was, and
// the temporary one is gone, unless the process died: a name that begins with '.' and the file's own name may then be left.
package durable

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Replace makes what write writes the content of file, on stable storage when it returns. A file that was there is
// replaced.
func Replace(file string, perm fs.FileMode, write func(io.Writer) error) error {
	return put(file, perm, write, os.Rename)
}

// ReplaceBytes is Replace for content at hand.
func ReplaceBytes(file string, perm fs.FileMode, data []byte) error {
	return Replace(file, perm, bytesWriter(data))
}

// CreateBytes is ReplaceBytes for a file that must not exist: one that does is left as it is, and the error wraps fs.ErrExist,
// whoever made it and however late.
func CreateBytes(file string, perm fs.FileMode, data []byte) error {
	return put(file, perm, bytesWriter(data), os.Link)
}

func bytesWriter(data []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	}
}

func put(file string, perm fs.FileMode, write func(io.Writer) error, place func(from, to string) error) error {
	dir := filepath.Dir(file)
	tmp, err := os.CreateTemp(dir, "."+filepath.Base(file)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	err = write(tmp)
	if err == nil {
		err = tmp.Chmod(perm)
	}
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	if err := place(tmp.Name(), file); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes the names in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
