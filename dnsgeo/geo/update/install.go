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
	in, err := os.Open(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer in.Close()
	link := previous + ".link"
	if err := os.Remove(link); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if os.Link(file, link) == nil {
		return os.Rename(link, previous)
	}
	return durable.Replace(previous, 0o644, func(w io.Writer) error {
		_, err := io.Copy(w, in)
		return err
	})
}

// Install makes to a durable copy of a file, as an update does: the file that was there is kept under geo.Previous.
func Install(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := keep(to, geo.Previous(to)); err != nil {
		return err
	}
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
