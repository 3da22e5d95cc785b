package upload

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"perigee/catalog"
	"perigee/object"
)

const (
	sweepEvery = time.Minute
	// strayEvery is how often the bucket is searched for what the catalogue does not know of.
	strayEvery = time.Hour
	// sweepBatch is how many reservations, and how many uploads of each kind, one sweep takes on.
	sweepBatch = 1000
)

// Run is the sweeper: now and every minute it settles what crashes and failures have left, until ctx ends; then it
// returns nil. What cannot be settled because the bucket does not answer is tried again.
func (p *Publisher) Run(ctx context.Context) error {
	tick := p.cfg.Clock.NewTicker(sweepEvery)
	defer tick.Stop()
	var strays, retained, listed time.Time
	for {
		if err := p.Sweep(ctx); err != nil && ctx.Err() == nil {
			p.cfg.Log.Warn("the sweeper could not finish, it tries again", "err", err)
		}
		if now := p.cfg.Clock.Now(); ctx.Err() == nil && now.Sub(retained) >= retainEvery {
			retained = now
			if err := p.Retain(ctx); err != nil && ctx.Err() == nil {
				p.cfg.Log.Warn("old versions could not all be looked for, it is done again", "err", err)
			}
		}
		if now := p.cfg.Clock.Now(); ctx.Err() == nil && now.Sub(strays) >= strayEvery {
			strays = now
			if err := p.sweepStrays(ctx); err != nil && ctx.Err() == nil {
				p.cfg.Log.Warn("the search for stray uploads did not finish, it is repeated in an hour", "err", err)
			}
		}
		if now := p.cfg.Clock.Now(); ctx.Err() == nil && now.Sub(listed) >= strayListing {
			listed = now
			if s, err := p.FindStrays(ctx); err != nil && ctx.Err() == nil {
				p.cfg.Log.Warn("the bucket could not be listed for objects that the catalogue does not know", "err", err)
			} else if s.Objects > 0 {
				p.cfg.Log.Warn("the bucket has objects that the catalogue does not know; perigee gc --dry-run tells more", "objects", s.Objects, "bytes", s.Bytes)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C():
		}
	}
}

// Sweep does once what Run repeats: it completes site records, rolls stale reservations forward or back, removes the
// bytes of uploads that were abandoned or have expired, finishes what removals have left, and collects blobs that nobody needs. It goes on after an
// error and returns all.
func (p *Publisher) Sweep(ctx context.Context) error {
	return errors.Join(p.sweepSites(ctx), p.sweepReservations(ctx), p.sweepUploads(ctx), p.sweepRemovals(ctx), p.Collect(ctx))
}

func (p *Publisher) sweepSites(ctx context.Context) error {
	sites, err := p.cfg.Catalog.UnstoredSites(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, rec := range sites {
		errs = append(errs, p.storeSite(ctx, rec.Site))
	}
	return errors.Join(errs...)
}

func (p *Publisher) sweepReservations(ctx context.Context) error {
	rs, err := p.cfg.Catalog.Stale(ctx, sweepBatch)
	errs := []error{err} // when one server of the catalogue does not answer, what the others have is settled
	for _, r := range rs {
		errs = append(errs, p.settle(ctx, r))
	}
	return errors.Join(errs...)
}

// settle ends a reservation whose holder will not: forward if p/ names its version, else back. One that has ended, or that
// another node settles, is left alone.
func (p *Publisher) settle(ctx context.Context, r catalog.Reservation) error {
	r, err := p.cfg.Catalog.TakeOver(ctx, r)
	if errors.Is(err, catalog.ErrLost) {
		return nil
	}
	if err != nil {
		return err
	}
	site, path := r.Pointer.Site, r.Pointer.Path
	head, etag, err := p.head(ctx, site, path)
	if err != nil {
		return fmt.Errorf("settle version %s of %s of site %s: %w", r.Pointer.Version, path, site, err)
	}
	if head != nil && head.Version == r.Pointer.Version {
		entry, err := p.cfg.Catalog.Commit(ctx, r, etag)
		if err != nil {
			return err
		}
		// The change is made: those who watch are told, though the sweeper is to end.
		rec, err := p.cfg.Catalog.Site(context.WithoutCancel(ctx), site)
		if err != nil {
			return err
		}
		res := p.result(rec, r.Pointer)
		res.ID = entry
		p.announce(EventRecovered, res, r.Pointer)
		return nil
	}
	if etag != r.PrevETag {
		if _, err := p.cfg.Catalog.Adopt(ctx, site, path, head, etag); err != nil {
			return err
		}
	}
	if err := p.undo(ctx, r); err != nil {
		return err
	}
	p.cfg.Log.Info("an unfinished change was rolled back", "site", site, "path", path, "version", r.Pointer.Version)
	if r.Upload == "" {
		return nil
	}
	return p.cfg.Catalog.AbandonUpload(ctx, r.Upload)
}

func (p *Publisher) sweepUploads(ctx context.Context) error {
	us, err := p.cfg.Catalog.StaleUploads(ctx, sweepBatch)
	errs := []error{err}
	for _, u := range us {
		errs = append(errs, p.removeUpload(ctx, u))
	}
	return errors.Join(errs...)
}

// removeUpload removes an upload's bytes, unless a version refers to them, its state and its note. One that a
// client is using just now is left for the next time.
func (p *Publisher) removeUpload(ctx context.Context, u catalog.Upload) error {
	if u.Kind != catalog.Streamed {
		return p.removeExpired(ctx, u)
	}
	if err := p.removeBytes(ctx, u.ID); err != nil {
		return err
	}
	if err := p.cfg.Catalog.ForgetUpload(ctx, u.ID); err != nil {
		return err
	}
	if u.State != catalog.UploadDone {
		p.cfg.Log.Info("an unfinished upload was removed", "upload", u.ID, "site", u.Site, "path", u.Path)
	}
	return nil
}

// removeExpired ends an upload whose time is over. Of one that came to nothing a note remains for a while, for whoever asks.
func (p *Publisher) removeExpired(ctx context.Context, u catalog.Upload) error {
	c, err := p.tryClaim(ctx, u.ID)
	if c == nil || err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	defer c.release()
	now := c.lease.Upload
	if now.Expires.After(p.cfg.Clock.Now()) {
		return nil
	}
	if now.State != catalog.UploadGone {
		if err := p.removeBytes(ctx, u.ID); err != nil {
			return err
		}
	}
	if now.State == catalog.UploadOpen {
		p.cfg.Log.Info("an unfinished upload has expired and was removed", "upload", u.ID, "site", u.Site, "path", u.Path)
		return c.retire(ctx)
	}
	c.ended = true
	return p.cfg.Catalog.ForgetUpload(ctx, u.ID)
}

// removeBytes removes everything the bucket has of an upload, except a blob that it has become.
func (p *Publisher) removeBytes(ctx context.Context, id object.UploadID) error {
	key := object.UploadKey(id)
	if err := p.abortMultiparts(ctx, key); err != nil {
		return err
	}
	// What was claimed for a version is the collector's from then on.
	if _, err := p.cfg.Catalog.Blob(ctx, key); errors.Is(err, fs.ErrNotExist) {
		err = errors.Join(p.cfg.Writer.Delete(ctx, key), p.cfg.Writer.Delete(ctx, object.TreeKey(key)))
		if err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	return p.removeState(ctx, id)
}

// abortMultiparts ends all multipart uploads of a key: a crash may have come before the id of one was noted.
func (p *Publisher) abortMultiparts(ctx context.Context, key object.Key) error {
	soon := p.cfg.Clock.Now().Add(24 * time.Hour) // the bucket's clock may be ahead
	for u, err := range p.cfg.Writer.ListUploads(ctx, string(key), soon) {
		if err != nil {
			return err
		}
		if u.Key != key {
			continue
		}
		if err := p.cfg.Writer.Abort(ctx, key, u.ID); err != nil {
			return err
		}
	}
	return nil
}

// sweepStrays removes states of resumable uploads and multipart uploads that the catalogue has no note of, because it was
// lost or replaced, once they are so old that nobody will resume them.
func (p *Publisher) sweepStrays(ctx context.Context) error {
	before := p.cfg.Clock.Now().Add(-2 * p.cfg.UploadTTL)
	strays := map[object.UploadID]bool{}
	note := func(s string) {
		if id, err := object.ParseUploadID(s); err == nil {
			strays[id] = true
		}
	}
	for info, err := range p.cfg.Reader.List(ctx, object.WorkPrefix) {
		if err != nil {
			return err
		}
		if info.Modified.Before(before) {
			id, _, _ := strings.Cut(strings.TrimPrefix(string(info.Key), object.WorkPrefix), "/")
			note(id)
		}
	}
	const uploads = "u/"
	for u, err := range p.cfg.Writer.ListUploads(ctx, uploads, before) {
		if err != nil {
			return err
		}
		note(strings.TrimPrefix(string(u.Key), uploads))
	}
	for id := range strays {
		_, err := p.cfg.Catalog.Upload(ctx, id)
		if err == nil {
			continue // known: it expires like any other
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := p.removeBytes(ctx, id); err != nil {
			return err
		}
		p.cfg.Log.Info("a stray upload was removed", "upload", id)
	}
	return nil
}
