package sign

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"perigee/clock"
	"perigee/durable"
)

// Store is the key set of one zone in a directory: the file ZONEkeys.json, such as "cdn.example.keys.json", mode 0600, replaced as a whole. It is
// kept open by nobody, so that a command and a server can both use it.
type Store struct {
	dir, zone string
}

// OpenStore returns the store of a zone in dir, which is made with mode 0700 when the first set is written.
func OpenStore(dir, zone string) (*Store, error) {
	zone = dns.CanonicalName(zone)
	if err := CheckZone(zone); err != nil {
		return nil, err
	}
	return &Store{dir: dir, zone: zone}, nil
}

// Zone returns the canonical name of the zone.
func (s *Store) Zone() string { return s.zone }

// File returns the name of the file.
func (s *Store) File() string { return filepath.Join(s.dir, s.zone+"keys.json") }

// Load reads the set. The error wraps fs.ErrNotExist when there is none.
func (s *Store) Load() (*KeySet, error) {
	b, err := readSmall(s.File(), maxSet)
	if err != nil {
		return nil, fmt.Errorf("load DNSSEC keys: %w", err)
	}
	set, err := Parse(b)
	if err == nil && set.Zone != s.zone {
		err = fmt.Errorf("it is for zone %s", set.Zone)
	}
	if err != nil {
		return nil, fmt.Errorf("load DNSSEC keys: %s: %w", s.File(), err)
	}
	return set, nil
}

// Change replaces the set by what edit makes of it; edit gets nil when there is none. Changes of several processes happen one after the other. When edit
// fails, or returns a set that does not supersede the one it got, nothing is written.
func (s *Store) Change(edit func(*KeySet) (*KeySet, error)) (*KeySet, error) {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, fmt.Errorf("make directory of DNSSEC keys: %w", err)
	}
	unlock, err := s.lock()
	if err != nil {
		return nil, fmt.Errorf("lock DNSSEC keys: %w", err)
	}
	defer unlock()
	was, err := s.Load()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	next, err := edit(was)
	if err != nil {
		return nil, err
	}
	if next.Zone != s.zone || !next.Supersedes(was) {
		return nil, fmt.Errorf("change DNSSEC keys of zone %s: serial %d of zone %s does not follow the one in %s", s.zone, next.Serial, next.Zone, s.File())
	}
	b, err := next.Marshal()
	if err != nil {
		return nil, err
	}
	if err := durable.ReplaceBytes(s.File(), 0o600, b); err != nil {
		return nil, fmt.Errorf("keep DNSSEC keys: %w", err)
	}
	return next, nil
}

// Accept keeps a set that came from elsewhere when it supersedes the one at hand, and reports whether it did. An older one, or the same again, is no error: messages
// may come late and twice.
func (s *Store) Accept(set *KeySet) (bool, error) {
	if set.Zone != s.zone {
		return false, fmt.Errorf("accept DNSSEC keys: they are for zone %s, not %s", set.Zone, s.zone)
	}
	old := errors.New("not newer")
	_, err := s.Change(func(was *KeySet) (*KeySet, error) {
		if !set.Supersedes(was) {
			return nil, old
		}
		return set, nil
	})
	if errors.Is(err, old) {
		return false, nil
	}
	return err == nil, err
}

// lock is held by one process at a time; the kernel opens it when the process ends, however that happens.
func (s *Store) lock() (unlock func(), err error) {
	f, err := os.OpenFile(s.File()+".lock", os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { _ = f.Close() }, nil // closing it is what opens the lock
}

// Follow puts each newer set that appears in the store into use, within some seconds, until ctx ends. A file that is not there yet is
// waited for. One that is gone or damaged changes nothing: the server goes on with what it has, and the log says so once.
func (s *Store) Follow(ctx context.Context, c clock.Clock, log *slog.Logger, use func(*KeySet) error) {
	t := c.NewTicker(2 * time.Second)
	defer t.Stop()
	var seen fs.FileInfo
	for complained := ""; ; {
		select {
		case <-ctx.Done():
			return
		case <-t.C():
		}
		// The stamp is taken before the bytes: a change in between is then seen at the next look.
		st, err := os.Stat(s.File())
		if err == nil && seen != nil && os.SameFile(st, seen) && st.ModTime().Equal(seen.ModTime()) {
			continue
		}
		var set *KeySet
		if err == nil {
			if set, err = s.Load(); err == nil {
				err = use(set)
			}
		}
		if err == nil {
			seen, complained = st, ""
			log.Info("DNSSEC keys are in use", "zone", set.Zone, "serial", set.Serial)
		} else if absent := seen == nil && errors.Is(err, fs.ErrNotExist); !absent && err.Error() != complained {
			complained = err.Error()
			log.Warn("DNSSEC keys cannot be followed; those in use stay", "err", err)
		}
	}
}

// readSmall reads a file of at most limit bytes.
func readSmall(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s has more than %d bytes", name, limit)
	}
	return b, err
}
