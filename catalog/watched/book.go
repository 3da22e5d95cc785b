// Package watched is the catalogue as the watcher of bucket sites wants it: it fits catalog to origin/watch, which may not know each other, and decides nothing. It starts nothing,
// and fails as the catalogue does.
package watched

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"perigee/catalog"
	"perigee/object"
	"perigee/origin/watch"
)

// Book is a catalogue as a watch.Watcher wants it.
type Book struct{ *catalog.Catalog }

// Sites implements watch.Book.
func (b Book) Sites(ctx context.Context) ([]object.SiteRecord, error) {
	var all []object.SiteRecord
	for after := object.Site(""); ; {
		page, err := b.Catalog.Sites(ctx, after, 1000)
		if err != nil || len(page) == 0 {
			return all, err
		}
		after = page[len(page)-1].Site
		for _, r := range page {
			if r.Kind == object.Bucket {
				all = append(all, r)
			}
		}
	}
}

// Version implements watch.Book.
func (b Book) Version(ctx context.Context, site object.Site, path object.Path) (object.Version, error) {
	f, err := b.Catalog.File(ctx, site, path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return f.Pointer.Version, err
}

// Record implements watch.Book.
func (b Book) Record(ctx context.Context, s watch.Sighting) (bool, error) {
	changed, _, err := b.Catalog.RecordObject(ctx, catalog.Observation(s))
	return changed, lost(err, watch.ErrMoved)
}

// lost says with another package's error that somebody else was faster.
func lost(err, as error) error {
	if errors.Is(err, catalog.ErrLost) {
		return fmt.Errorf("%w: %w", as, err)
	}
	return err
}

// Page implements watch.Book.
func (b Book) Page(ctx context.Context, site object.Site, after object.Path, limit int) ([]object.Pointer, error) {
	files, err := b.Catalog.ListFiles(ctx, site, "", after, limit)
	page := make([]object.Pointer, len(files))
	for i, f := range files {
		page[i] = f.Pointer
	}
	return page, err
}

// Announce implements watch.Book.
func (b Book) Announce(ctx context.Context, site object.Site) error {
	_, err := b.Catalog.AnnounceSite(ctx, site)
	return err
}

// Hold implements watch.Book.
func (b Book) Hold(ctx context.Context, site object.Site, holder string, hold time.Duration) (string, error) {
	w, err := b.Catalog.HoldWatch(ctx, site, holder, hold)
	return w.State, lost(err, watch.ErrHeld)
}

// Save implements watch.Book.
func (b Book) Save(ctx context.Context, site object.Site, holder, state string) error {
	return lost(b.Catalog.SaveWatch(ctx, site, holder, state), watch.ErrHeld)
}

// Release implements watch.Book.
func (b Book) Release(ctx context.Context, site object.Site, holder string) error {
	return b.Catalog.ReleaseWatch(ctx, site, holder)
}

// NoteEvent implements watch.Book.
func (b Book) NoteEvent(ctx context.Context, site object.Site, at time.Time, source string) error {
	return b.Catalog.NoteEvent(ctx, site, at, source)
}

// Held implements watch.Book.
func (b Book) Held(ctx context.Context) ([]watch.Held, error) {
	var all []watch.Held
	for after := object.Site(""); ; {
		page, err := b.Catalog.Watches(ctx, after)
		if err != nil || len(page) == 0 {
			return all, err
		}
		for _, w := range page {
			all = append(all, watch.Held(w))
		}
		after = page[len(page)-1].Site
	}
}

var _ watch.Book = Book{}
