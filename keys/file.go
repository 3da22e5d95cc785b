package keys

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"perigee/durable"
)

// FileStore keeps keys in a JSON file, which is replaced as a whole: after a crash there is the old one or the new one. A
// lock beside the file keeps a running server and the command line from losing one another's changes; the kernel drops
// it when its holder dies. A file that is gone has the stamp of no file.
//
// Notes of changes are kept in the same file until somebody has put them where they belong, so that there is neither a change
// without its note nor a note of what was not changed, whenever a process is killed.
type FileStore struct {
	file string
	// Note, unless nil, returns what is noted of a change: a key of that id was added, or else removed. It is set before the first use.
	Note func(ctx context.Context, id string, added bool) json.RawMessage
	mu   sync.Mutex // the lock on the file does not hold between goroutines of one process that share a descriptor
}

// NewFileStore returns the store in a file, which need not exist. Nothing is read.
func NewFileStore(file string) *FileStore { return &FileStore{file: file} }

// ringFile is the form of the file.
type ringFile struct {
	Format int               `json:"format"` // 1
	Keys   []json.RawMessage `json:"keys"`
	Notes  []json.RawMessage `json:"notes,omitempty"` // the oldest first
}

// maxFile bounds what is read: MaxKeys keys of a generous kind.
const maxFile = 16 << 20

// Stamp implements Store. The file's identity is part of it: it may be replaced twice within one tick of its time.
func (s *FileStore) Stamp(context.Context) (string, error) {
	var st unix.Stat_t
	switch err := unix.Stat(s.file, &st); {
	case errors.Is(err, fs.ErrNotExist):
		return "none", nil
	case err != nil:
		return "", &fs.PathError{Op: "stat", Path: s.file, Err: err}
	}
	sec, nsec := st.Mtim.Unix()
	return fmt.Sprint(st.Dev, st.Ino, st.Size, sec, nsec), nil
}

// Load implements Store.
func (s *FileStore) Load(context.Context) ([]json.RawMessage, error) {
	rf, err := s.read()
	return rf.Keys, err
}

// Notes returns the notes that nobody has dropped yet, the oldest first.
func (s *FileStore) Notes() ([]json.RawMessage, error) {
	rf, err := s.read()
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return rf.Notes, err
}

// DropNotes removes the oldest n notes, after they were put where they belong.
func (s *FileStore) DropNotes(n int) error {
	return s.change(func(rf *ringFile) error {
		rf.Notes = slices.Delete(rf.Notes, 0, min(n, len(rf.Notes)))
		return nil
	})
}

func (s *FileStore) read() (ringFile, error) {
	f, err := os.Open(s.file)
	if err != nil {
		return ringFile{}, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return ringFile{}, err
	}
	rf, err := parseFile(b)
	if err != nil {
		return ringFile{}, fmt.Errorf("%s: %w", s.file, err)
	}
	return rf, nil
}

func parseFile(b []byte) (ringFile, error) {
	var rf ringFile
	if len(b) > maxFile {
		return ringFile{}, fmt.Errorf("it is longer than %d bytes", maxFile)
	}
	if err := json.Unmarshal(b, &rf); err != nil {
		return ringFile{}, err
	}
	if rf.Format != 1 {
		return ringFile{}, fmt.Errorf("format %d is not known to this version", rf.Format)
	}
	return rf, nil
}

// Add implements Store.
func (s *FileStore) Add(ctx context.Context, id string, record json.RawMessage, most int) error {
	return s.change(func(rf *ringFile) error {
		switch {
		case indexOf(rf.Keys, id) >= 0:
			return fmt.Errorf("key %s: %w", id, fs.ErrExist)
		case len(rf.Keys) >= most:
			return errFull
		}
		rf.Keys = append(rf.Keys, record)
		s.noted(ctx, rf, id, true)
		return nil
	})
}

// Remove implements Store.
func (s *FileStore) Remove(ctx context.Context, id string) error {
	return s.change(func(rf *ringFile) error {
		i := indexOf(rf.Keys, id)
		if i < 0 {
			return fs.ErrNotExist
		}
		rf.Keys = slices.Delete(rf.Keys, i, i+1)
		s.noted(ctx, rf, id, false)
		return nil
	})
}

func (s *FileStore) noted(ctx context.Context, rf *ringFile, id string, added bool) {
	if s.Note != nil {
		rf.Notes = append(rf.Notes, s.Note(ctx, id, added))
	}
}

func indexOf(records []json.RawMessage, id string) int {
	return slices.IndexFunc(records, func(b json.RawMessage) bool {
		var k struct {
			ID string `json:"id"`
		}
		return json.Unmarshal(b, &k) == nil && k.ID == id
	})
}

// change replaces the file by what f makes of it.
func (s *FileStore) change(f func(*ringFile) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := os.MkdirAll(filepath.Dir(s.file), 0o700); err != nil {
		return err
	}
	lock, err := os.OpenFile(s.file+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	rf, err := s.read()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	rf.Format = 1
	if err := f(&rf); err != nil {
		return err
	}
	b, err := json.MarshalIndent(rf, "", "  ")
	if err != nil {
		return err
	}
	if len(b) >= maxFile {
		return fmt.Errorf("%s would be longer than %d bytes, most of it notes for the audit log: start the API, which takes them in", s.file, maxFile)
	}
	return durable.ReplaceBytes(s.file, 0o600, append(b, '\n'))
}
