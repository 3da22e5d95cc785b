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
type FileStore struct {
	file string
	mu   sync.Mutex // the lock on the file does not hold between goroutines of one process that share a descriptor
}

// NewFileStore returns the store in a file, which need not exist. Nothing is read.
func NewFileStore(file string) *FileStore { return &FileStore{file: file} }

// ringFile is the form of the file.
type ringFile struct {
	Format int               `json:"format"` // 1
	Keys   []json.RawMessage `json:"keys"`
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
	f, err := os.Open(s.file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	records, err := parseFile(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.file, err)
	}
	return records, nil
}

func parseFile(b []byte) ([]json.RawMessage, error) {
	var rf ringFile
	if len(b) > maxFile {
		return nil, fmt.Errorf("it is longer than %d bytes", maxFile)
	}
	if err := json.Unmarshal(b, &rf); err != nil {
		return nil, err
	}
	if rf.Format != 1 {
		return nil, fmt.Errorf("format %d is not known to this version", rf.Format)
	}
	return rf.Keys, nil
}

// Add implements Store.
func (s *FileStore) Add(ctx context.Context, id string, record json.RawMessage, most int) error {
	return s.change(ctx, func(records []json.RawMessage) ([]json.RawMessage, error) {
		switch {
		case indexOf(records, id) >= 0:
			return nil, fmt.Errorf("key %s: %w", id, fs.ErrExist)
		case len(records) >= most:
			return nil, errFull
		}
		return append(records, record), nil
	})
}

// Remove implements Store.
func (s *FileStore) Remove(ctx context.Context, id string) error {
	return s.change(ctx, func(records []json.RawMessage) ([]json.RawMessage, error) {
		i := indexOf(records, id)
		if i < 0 {
			return nil, fs.ErrNotExist
		}
		return slices.Delete(records, i, i+1), nil
	})
}

func indexOf(records []json.RawMessage, id string) int {
	return slices.IndexFunc(records, func(b json.RawMessage) bool {
		var k struct {
			ID string `json:"id"`
		}
		return json.Unmarshal(b, &k) == nil && k.ID == id
	})
}

// change replaces the records by what f makes of them.
func (s *FileStore) change(ctx context.Context, f func([]json.RawMessage) ([]json.RawMessage, error)) error {
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
	records, err := s.Load(ctx)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if records, err = f(records); err != nil {
		return err
	}
	b, err := json.MarshalIndent(ringFile{Format: 1, Keys: records}, "", "  ")
	if err != nil {
		return err
	}
	return durable.ReplaceBytes(s.file, 0o600, append(b, '\n'))
}
