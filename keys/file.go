package keys

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"perigee/durable"
)

// ringFile is the form of the file.
type ringFile struct {
	Format int   `json:"format"` // 1
	Keys   []Key `json:"keys"`
}

// maxFile bounds what is read: MaxKeys keys of the longest kind.
const maxFile = 16 << 20

// load reads the file; r.mu is held.
func (r *Ring) load() error {
	if r.file == "" {
		return nil
	}
	// The stamp is taken before the bytes: a change in between is then seen at the next look.
	st, err := r.stat()
	if err != nil {
		return fmt.Errorf("read API keys: %w", err)
	}
	stored, err := readKeys(r.file)
	if err != nil {
		return err
	}
	r.stored, r.seen, r.looked = stored, st, r.clock.Now()
	return nil
}

func readKeys(file string) ([]Key, error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read API keys: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read API keys: %w", err)
	}
	return parseKeys(file, b)
}

func parseKeys(file string, b []byte) ([]Key, error) {
	var rf ringFile
	if len(b) > maxFile {
		return nil, fmt.Errorf("read API keys from %s: it is longer than %d bytes", file, maxFile)
	}
	if err := json.Unmarshal(b, &rf); err != nil {
		return nil, fmt.Errorf("read API keys from %s: %w", file, err)
	}
	if rf.Format != 1 {
		return nil, fmt.Errorf("read API keys from %s: format %d is not known to this version", file, rf.Format)
	}
	ids := make(map[string]bool, len(rf.Keys))
	for i := range rf.Keys {
		if err := rf.Keys[i].validate(); err != nil {
			return nil, fmt.Errorf("read API keys from %s: %w", file, err)
		}
		if ids[rf.Keys[i].ID] {
			return nil, fmt.Errorf("read API keys from %s: key %s is there twice", file, rf.Keys[i].ID)
		}
		ids[rf.Keys[i].ID] = true
	}
	return rf.Keys, nil
}

// change replaces the stored keys by what f makes of them. A lock beside the file keeps a running server and the command
// line from losing one another's changes; the kernel drops it when its holder dies.
func (r *Ring) change(f func([]Key) ([]Key, error)) error {
	if r.file == "" {
		return errors.New("no key file is configured")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := os.MkdirAll(filepath.Dir(r.file), 0o700); err != nil {
		return err
	}
	lock, err := os.OpenFile(r.file+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	stored, err := readKeys(r.file)
	if err != nil {
		return err
	}
	if stored, err = f(stored); err != nil {
		return err
	}
	if err := writeKeys(r.file, stored); err != nil {
		return err
	}
	return r.load()
}

// writeKeys replaces the file as a whole and on stable storage: after a crash there is the old one or the new one.
func writeKeys(file string, stored []Key) error {
	b, err := json.MarshalIndent(ringFile{Format: 1, Keys: stored}, "", "  ")
	if err != nil {
		return err
	}
	return durable.ReplaceBytes(file, 0o600, append(b, '\n'))
}
