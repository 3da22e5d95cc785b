package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"perigee/object"
)

// localFile is one file to be published.
type localFile struct {
	name string // as it is opened
	path object.Path
	size int64 // bytes, when it was found
}

// localProblem is something that was found and is not published.
type localProblem struct {
	name    string
	why     error
	skipped bool // by intent: it is no file. Otherwise it is a file that cannot be published
}

// tree is what was found under a source. It is a list in memory, some 200 bytes a file: fine for millions.
type tree struct {
	files    []localFile
	problems []localProblem
	bytes    int64
}

// findFiles lists what is to be published of source, a file or a directory, below to. Symbolic links to files are followed,
// those to directories are not, so that no cycle is walked and nothing is published twice by accident.
func findFiles(source string, to target) (*tree, error) {
	info, err := os.Stat(source)
	if err != nil {
		return nil, err
	}
	t := &tree{}
	if info.IsDir() {
		base, err := to.dir()
		if err != nil {
			return nil, err
		}
		return t, t.walk(source, base)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%q is %s, not a file or directory", source, kindOf(info.Mode()))
	}
	if to.path[len(to.path)-1] == '/' {
		to.path += filepath.Base(source)
	}
	path, err := to.file()
	if err != nil {
		return nil, err
	}
	t.add(source, path, info.Size())
	return t, nil
}

func (t *tree) add(name string, path object.Path, size int64) {
	t.files = append(t.files, localFile{name, path, size})
	t.bytes += size
}

func (t *tree) problem(name string, skipped bool, why error) {
	t.problems = append(t.problems, localProblem{name, why, skipped})
}

// walk goes through a directory. What cannot be read is a problem of its own and does not end the walk.
func (t *tree) walk(root string, base object.Prefix) error {
	return filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil && name == root && d == nil:
			return err
		case err != nil:
			t.problem(name, false, err)
			return nil
		case d.IsDir() || name == root: // the root may be a link to a directory
			if name == root && !d.IsDir() {
				return t.walkLinked(root, base)
			}
			return nil
		}
		t.entry(root, name, d, base)
		return nil
	})
}

// walkLinked walks the directory that root is a link to.
func (t *tree) walkLinked(root string, base object.Prefix) error {
	real, err := filepath.EvalSymlinks(root)
	if err != nil {
		return err
	}
	return t.walk(real, base)
}

func (t *tree) entry(root, name string, d fs.DirEntry, base object.Prefix) {
	info, err := os.Stat(name) // follows a link
	link := d.Type()&fs.ModeSymlink != 0
	switch {
	case err != nil && link:
		t.problem(name, true, fmt.Errorf("a link that leads nowhere: %w", err))
		return
	case err != nil:
		t.problem(name, false, err)
		return
	case info.IsDir():
		t.problem(name, true, fmt.Errorf("a link to a directory; publish that directory itself"))
		return
	case !info.Mode().IsRegular():
		t.problem(name, true, fmt.Errorf("it is %s", kindOf(info.Mode())))
		return
	}
	rel, err := filepath.Rel(root, name)
	if err != nil {
		t.problem(name, false, err)
		return
	}
	path, err := object.ParsePath(string(base) + filepath.ToSlash(rel))
	if err != nil {
		t.problem(name, false, err)
		return
	}
	t.add(name, path, info.Size())
}

func kindOf(m fs.FileMode) string {
	switch {
	case m&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case m&fs.ModeSocket != 0:
		return "a socket"
	case m&fs.ModeDevice != 0:
		return "a device"
	}
	return "a special file"
}

// smallFile is the largest file that is read into memory once, in place of twice from disk, in bytes.
const smallFile = 8 << 20

// reader is read in order, or anywhere.
type reader interface {
	io.ReadSeeker
	io.ReaderAt
}

// content is the content of a file as it was when it was hashed.
type content struct {
	hash object.Hash
	size int64
	open func() reader // a new one from the start
	file *os.File      // nil for a small one
}

func (c *content) close() {
	if c.file != nil {
		c.file.Close() // only read from
	}
}

// readContent opens and hashes a file. What grows meanwhile is published as long as it was; what changes is noticed by
// the server, which compares the hash.
func readContent(name string) (*content, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no longer a file", name)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	if info.Size() <= smallFile {
		defer f.Close()
		b, err := io.ReadAll(io.LimitReader(f, smallFile+1))
		if err != nil {
			return nil, err
		}
		if len(b) <= smallFile {
			return &content{hash: object.HashOf(b), size: int64(len(b)), open: func() reader { return bytes.NewReader(b) }}, nil
		}
		return nil, fmt.Errorf("%s grows while it is read", name)
	}
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		f.Close()
		return nil, err
	}
	return &content{hash: object.Hash(h.Sum(nil)), size: n, open: func() reader { return io.NewSectionReader(f, 0, n) }, file: f}, nil
}
