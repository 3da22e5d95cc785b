package update

import (
	"errors"
	"io"
	"os"
	"path/filepath"

	"perigee/dnsgeo/geo"
	"perigee/durable"
)

// install renames a synced file to its target, in the same file system, and keeps the one that was there under geo.Previous. At every moment there is a whole
// file under the target's name.
func install(file, to string) error {
	if err := keep(to, geo.Previous(to)); err != nil {
		return err
	}
	if err := os.Rename(file, to); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(to))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// keep makes previous a second name of file, or a copy where the file system knows no second names. A file that is not there needs not be kept.
func keep(file, previous string) error {
	if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	link := previous + ".link"
	if err := os.Remove(link); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if os.Link(file, link) == nil {
		return os.Rename(link, previous)
	}
	return copyFile(file, previous)
}

// Install makes durable copies of files, each under the name of to at the same index, as an update does: all are written before the first is renamed into place,
// so that whoever follows them sees no mixture for long, and those that were there are kept under geo.Previous.
func Install(files, to []string) error {
	var staged []string
	defer func() {
		for _, f := range staged {
			os.RemoveAll(filepath.Dir(f))
		}
	}()
	for i, file := range files {
		dir, err := os.MkdirTemp(filepath.Dir(to[i]), tempPrefix(to[i])+"*")
		if err != nil {
			return err
		}
		copied := filepath.Join(dir, filepath.Base(to[i]))
		staged = append(staged, copied)
		if err := copyFile(file, copied); err != nil {
			return err
		}
	}
	for i, file := range staged {
		if err := install(file, to[i]); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	return durable.Replace(to, 0o644, func(w io.Writer) error {
		_, err := io.Copy(w, in)
		return err
	})
}

// both writes to a file and into sums.
type both struct {
	f *os.File
	s *sums
}

// Write writes p to both.
func (b *both) Write(p []byte) (int, error) {
	b.s.Write(p)
	return b.f.Write(p)
}
