package catalog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"perigee/object"
)

// What the servers have is asked for here: whatever belongs to a path is on the server of the path.

// File returns the current state of a path, which may be a tombstone; fs.ErrNotExist if it was never published.
func (c *Catalog) File(ctx context.Context, site object.Site, path object.Path) (File, error) {
	return remembered(ctx, c.lookups, pathKey{site, path}, func() (File, error) {
		return read(ctx, c, object.SlotOf(site, path), func(s *server) (File, slotState, error) { return s.file(ctx, site, path) })
	})
}

// Check reports whether cond holds for the path as it is now; the error wraps ErrPrecondition if not. Reserve checks
// again: this is for refusing a body before it is read.
func (c *Catalog) Check(ctx context.Context, site object.Site, path object.Path, cond Condition) error {
	f, err := c.File(ctx, site, path)
	cur := &f
	if errors.Is(err, fs.ErrNotExist) {
		cur, err = nil, nil
	}
	if err != nil {
		return fmt.Errorf("check: %w", err)
	}
	if err := cond.check(cur); err != nil {
		return fmt.Errorf("file %s of site %s: %w", path, site, err)
	}
	return nil
}

// ListFiles returns up to limit (at most 1,000) live files of a site whose paths start with prefix, in the order of
// their bytes, those after the given path. Every path starts with '/', so a prefix that does not matches nothing. The
// cost does not depend on how many files come before. When servers do not answer, the files of the others come with a
// *PartialError.
func (c *Catalog) ListFiles(ctx context.Context, site object.Site, prefix string, after object.Path, limit int) ([]File, error) {
	limit = page(limit)
	files, err := merge(ctx, c, limit, slotOfFile, byPath, func(s *server) ([]File, *possession, error) {
		return s.listFiles(ctx, site, prefix, after, limit)
	})
	if err != nil {
		err = fmt.Errorf("list files of site %s: %w", site, err)
	}
	return files, err
}

// Recent returns up to limit live files of all sites, the one that changed last first; with a *PartialError as ListFiles.
func (c *Catalog) Recent(ctx context.Context, limit int) ([]File, error) {
	limit = page(limit)
	files, err := merge(ctx, c, limit, slotOfFile, newestFirst, func(s *server) ([]File, *possession, error) { return s.recent(ctx, limit) })
	if err != nil {
		err = fmt.Errorf("list recent files: %w", err)
	}
	return files, err
}

// Versions returns up to limit versions of a path, tombstones included, the newest first, those older than before
// ("" for all). A path that was never published has none and is no error.
func (c *Catalog) Versions(ctx context.Context, site object.Site, path object.Path, before object.Version, limit int) ([]object.Pointer, error) {
	return read(ctx, c, object.SlotOf(site, path), func(s *server) ([]object.Pointer, slotState, error) {
		return s.versions(ctx, site, path, before, limit)
	})
}

// Version returns one version of a path; fs.ErrNotExist if there is none.
func (c *Catalog) Version(ctx context.Context, site object.Site, path object.Path, v object.Version) (object.Pointer, error) {
	return read(ctx, c, object.SlotOf(site, path), func(s *server) (object.Pointer, slotState, error) {
		return s.version(ctx, site, path, v)
	})
}

// Reserve holds the path for a change and fixes its Version and Modified. Outcomes: a Reservation, which ends with
// Commit or Release; ErrPrecondition; fs.ErrNotExist for a tombstone where there is no file; ErrDone for an upload that was
// published already and ErrTaken for one that has another fence by now; and a *BusyError, at once if the holder is stale, else
// after BusyWait.
func (c *Catalog) Reserve(ctx context.Context, ch Change) (Reservation, error) {
	key := pathKey{ch.Pointer.Site, ch.Pointer.Path}
	slot := object.SlotOf(key.site, key.path)
	if ch.Upload != "" && ch.Upload.Slot() != slot {
		return Reservation{}, fmt.Errorf("reserve %s of site %s: upload %s: %w: its id was made for another path", key.path, key.site, ch.Upload, object.ErrInvalid)
	}
	deadline := c.cfg.Clock.Now().Add(c.cfg.BusyWait)
	var ended <-chan struct{}
	for {
		var res Reservation
		err := c.write(ctx, slot, c.cfg.BusyWait, func(s *server) (err error) {
			res, err = s.tryReserve(ctx, ch)
			return err
		})
		if err == nil {
			return res, c.reserved(ctx, &res, ch.Claim)
		}
		var busy *BusyError
		if !errors.As(err, &busy) || busy.Stale || !c.cfg.Clock.Now().Before(deadline) {
			return res, err
		}
		if ended == nil {
			// The reservation may have ended since: look again before waiting.
			ended = c.ended(key)
			continue
		}
		if err := c.pause(ctx, ended); err != nil {
			return Reservation{}, fmt.Errorf("reserve %s of site %s: %w", key.path, key.site, err)
		}
		ended = nil
	}
}

// pause waits until ended is closed, or a little while: another process may have ended the reservation.
func (c *Catalog) pause(ctx context.Context, ended <-chan struct{}) error {
	t := c.cfg.Clock.NewTimer(100 * time.Millisecond)
	defer t.Stop()
	select {
	case <-ended:
	case <-t.C():
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// ended returns a channel that is closed when a reservation of the path ends in this process.
func (c *Catalog) ended(key pathKey) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	ch := c.waiters[key]
	if ch == nil {
		ch = make(chan struct{})
		c.waiters[key] = ch
	}
	return ch
}

func (c *Catalog) end(key pathKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ch := c.waiters[key]; ch != nil {
		close(ch)
		delete(c.waiters, key)
	}
}

// Commit records r's pointer as the current state of its path, with the ETag the bucket gave for p/, and returns the
// id of its log entry. Committing again returns the same id. A reservation that was released meanwhile is committed
// all the same if nothing else has changed the path since; if something has, the error wraps ErrLost.
func (c *Catalog) Commit(ctx context.Context, r Reservation, etag string) (entry string, err error) {
	p := &r.Pointer
	err = c.write(ctx, object.SlotOf(p.Site, p.Path), moveWait, func(s *server) (err error) {
		entry, err = s.commit(ctx, r, etag)
		return err
	})
	if err == nil {
		c.end(pathKey{p.Site, p.Path})
		c.recorded(ctx, p, r.claim)
	}
	return entry, err
}

// Release ends r without a change. Only its holder may call it, or who settles it, and only when p/ certainly does not
// and will not name its version. A reservation that has ended already is no error.
func (c *Catalog) Release(ctx context.Context, r Reservation) error {
	p := &r.Pointer
	err := c.write(ctx, object.SlotOf(p.Site, p.Path), moveWait, func(s *server) error { return s.release(ctx, r) })
	if err == nil {
		c.end(pathKey{p.Site, p.Path})
		c.released(ctx, p)
	}
	return err
}

// Stale returns up to limit reservations whose holders will not finish them. An error that wraps ErrUnavailable comes with those
// of the servers that answered.
func (c *Catalog) Stale(ctx context.Context, limit int) ([]Reservation, error) {
	limit = page(limit)
	rs, err := gather(ctx, c, limit, func(s *server) ([]Reservation, error) { return s.staleReservations(ctx, limit) })
	if err != nil {
		err = fmt.Errorf("list stale reservations: %w", err)
	}
	return rs, err
}

// Adopt makes the catalogue agree with what the bucket was seen to hold at p/: head and its etag, or nil and "" if there
// is nothing. A head newer than the catalogue's becomes the current version, with a log entry whose id is returned;
// otherwise only the ETag is noted, so that the next write has the right condition, and the id is "".
func (c *Catalog) Adopt(ctx context.Context, site object.Site, path object.Path, head *object.Pointer, etag string) (entry string, err error) {
	err = c.write(ctx, object.SlotOf(site, path), moveWait, func(s *server) (err error) {
		entry, err = s.adopt(ctx, site, path, head, etag)
		return err
	})
	if err == nil && entry != "" {
		c.recorded(ctx, head, Claim{})
	}
	return entry, err
}

// OpenUpload notes an upload before its first byte is stored. State and Version of u are not looked at. Unless it is streamed, it is
// leased to the caller. Its ID is one that object.NewUploadID made for its path; one of another path wraps object.ErrInvalid.
func (c *Catalog) OpenUpload(ctx context.Context, u Upload) (l Lease, err error) {
	if u.Path != "" && u.ID.Slot() != object.SlotOf(u.Site, u.Path) {
		return Lease{}, fmt.Errorf("note upload %s: %w: its id was made for another path", u.ID, object.ErrInvalid)
	}
	err = c.write(ctx, u.ID.Slot(), c.cfg.BusyWait, func(s *server) (err error) {
		l, err = s.openUpload(ctx, u)
		return err
	})
	return l, err
}

// LeaseUpload takes the lease of an upload that is not streamed. A process must not ask for one that another of its requests has: it
// would get it. Outcomes: a Lease, ErrLeased, fs.ErrNotExist.
func (c *Catalog) LeaseUpload(ctx context.Context, id object.UploadID) (l Lease, err error) {
	err = c.write(ctx, id.Slot(), moveWait, func(s *server) (err error) {
		l, err = s.leaseUpload(ctx, id)
		return err
	})
	return l, err
}

// RenewUpload makes a lease last longer and sets its Until. wanted says that another process asks for the upload. A lease that was
// taken away, or whose upload is gone, is ErrTaken.
func (c *Catalog) RenewUpload(ctx context.Context, l *Lease) (wanted bool, err error) {
	err = c.write(ctx, l.Upload.ID.Slot(), moveWait, func(s *server) (err error) {
		wanted, err = s.renewUpload(ctx, l)
		return err
	})
	return wanted, err
}

// ReleaseUpload ends a lease and sets when the upload may be deleted. One that was lost is no error: it has ended.
func (c *Catalog) ReleaseUpload(ctx context.Context, l Lease, expires time.Time) error {
	return c.write(ctx, l.Upload.ID.Slot(), moveWait, func(s *server) error { return s.releaseUpload(ctx, l, expires) })
}

// RetireUpload ends an upload under its lease, after its bytes are gone. The note says until the given time that there was one, so that
// whoever asks for it learns that it has gone for good.
func (c *Catalog) RetireUpload(ctx context.Context, l Lease, until time.Time) error {
	return c.write(ctx, l.Upload.ID.Slot(), moveWait, func(s *server) error { return s.retireUpload(ctx, l, until) })
}

// ExtendUpload moves the end of an upload's life.
func (c *Catalog) ExtendUpload(ctx context.Context, id object.UploadID, expires time.Time) error {
	return c.write(ctx, id.Slot(), moveWait, func(s *server) error { return s.extendUpload(ctx, id, expires) })
}

// AbandonUpload says that nobody will finish a streamed upload: the sweeper deletes its bytes. It leaves resumable ones alone.
func (c *Catalog) AbandonUpload(ctx context.Context, id object.UploadID) error {
	return c.write(ctx, id.Slot(), moveWait, func(s *server) error { return s.abandonUpload(ctx, id) })
}

// ForgetUpload removes the note, after the bytes are gone.
func (c *Catalog) ForgetUpload(ctx context.Context, id object.UploadID) error {
	return c.write(ctx, id.Slot(), moveWait, func(s *server) error { return s.forgetUpload(ctx, id) })
}

// Upload returns the note of an upload; fs.ErrNotExist if there is none.
func (c *Catalog) Upload(ctx context.Context, id object.UploadID) (Upload, error) {
	return read(ctx, c, id.Slot(), func(s *server) (Upload, slotState, error) { return s.upload(ctx, id) })
}

// StaleUploads returns up to limit uploads whose bytes, or whose note, are to be removed: streamed ones that were
// abandoned or whose process is gone, and others that have expired, leased or not. Uploads that a reservation still stands
// for are left out: settle those first. An error that wraps ErrUnavailable comes with those of the servers that answered.
func (c *Catalog) StaleUploads(ctx context.Context, limit int) ([]Upload, error) {
	limit = page(limit)
	us, err := gather(ctx, c, 2*limit, func(s *server) ([]Upload, error) { return s.staleUploads(ctx, limit) })
	if err != nil {
		err = fmt.Errorf("list stale uploads: %w", err)
	}
	return us, err
}

// Referenced reports whether any version of any file has its bytes under blob.
func (c *Catalog) Referenced(ctx context.Context, blob object.Key) (bool, error) {
	found, err := gather(ctx, c, 1, func(s *server) ([]bool, error) {
		yes, err := s.referenced(ctx, blob)
		if !yes || err != nil {
			return nil, err
		}
		return []bool{true}, nil
	})
	if len(found) > 0 {
		return true, nil
	}
	return false, err
}

// TakeOver makes the caller the holder of a stale reservation, so that nobody else settles it at the same time, and returns
// it as it is held then. If it has ended, or somebody else was faster, the error wraps ErrLost.
func (c *Catalog) TakeOver(ctx context.Context, r Reservation) (mine Reservation, err error) {
	err = c.write(ctx, object.SlotOf(r.Pointer.Site, r.Pointer.Path), c.cfg.BusyWait, func(s *server) (err error) {
		mine, err = s.takeOver(ctx, r)
		return err
	})
	return mine, err
}
