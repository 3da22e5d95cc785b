package dnsgeo

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// maxZoneFiles limits how many files one zone is made of; a file that is included twice counts twice.
const maxZoneFiles = 256

// source is where the text of a zone comes from: a file with what it includes, or a string. It opens files below the
// directory of the first one only, following no link out of it, and remembers what it saw of each, so that a change can
// be noticed. One source serves one reading.
type source struct {
	text string // when main is ""
	dir  string
	main string // name of the file in dir

	root   *os.Root
	opened int
	left   int64 // bytes that may still be read
	seen   map[string]stamp
	first  fs.File
}

// stamp is how a file looked when it was opened; the zero stamp is a file that is not there.
type stamp struct {
	size    int64
	changed time.Time
}

func textSource(text string) *source { return &source{text: text} }

func fileSource(path string) *source {
	return &source{dir: filepath.Dir(path), main: filepath.Base(path), seen: make(map[string]stamp)}
}

// open begins the reading; close ends it, whatever open returned.
func (s *source) open() (io.Reader, error) {
	s.left = maxZoneText
	if s.main == "" {
		if len(s.text) > maxZoneText {
			return nil, fmt.Errorf("the text has %d bytes, the limit is %d", len(s.text), maxZoneText)
		}
		return strings.NewReader(s.text), nil
	}
	var err error
	if s.root, err = os.OpenRoot(s.dir); err != nil {
		return nil, err
	}
	s.first, err = s.Open(s.main)
	return s.first, err
}

func (s *source) close() {
	if s.first != nil {
		s.first.Close()
	}
	if s.root != nil {
		s.root.Close()
	}
}

// Open implements fs.FS for $INCLUDE.
func (s *source) Open(name string) (fs.File, error) {
	if s.opened++; s.opened > maxZoneFiles {
		return nil, fmt.Errorf("the zone includes more than %d files", maxZoneFiles)
	}
	s.seen[name] = stamp{}
	// Looked at before it is opened: to open a pipe would wait for its other end.
	fi, err := s.root.Stat(name)
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("it is no regular file")}
	}
	f, err := s.root.Open(name)
	if err != nil {
		return nil, err
	}
	if fi, err = f.Stat(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	s.seen[name] = stamp{fi.Size(), fi.ModTime()}
	return &metered{f, s}, nil
}

// metered is an open file whose bytes count against the limit of its source.
type metered struct {
	fs.File
	of *source
}

func (m *metered) Read(b []byte) (int, error) {
	n, err := m.File.Read(b)
	if m.of.left -= int64(n); m.of.left < 0 {
		return 0, fmt.Errorf("the text of the zone has more than %d bytes", maxZoneText)
	}
	return n, err
}

// settle is how long a file must have been left alone before it is read: who writes it in place may be half way through, and
// half a zone may look like a whole one.
const settle = time.Second

// changed reports whether a file of the last reading looks different now, or might without being seen, having been
// changed just before it was read; and whether all files have settled.
func (s *source) changed(readAt, now time.Time) (changed, settled bool) {
	settled = true
	for name, was := range s.seen {
		var is stamp
		if fi, err := os.Stat(filepath.Join(s.dir, filepath.FromSlash(name))); err == nil {
			is = stamp{fi.Size(), fi.ModTime()}
		}
		if is.size != was.size || !is.changed.Equal(was.changed) || readAt.Sub(was.changed).Abs() < settle {
			changed = true
		}
		if now.Sub(is.changed).Abs() < settle {
			settled = false
		}
	}
	return changed, settled
}
