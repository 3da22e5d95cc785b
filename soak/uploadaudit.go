package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"perigee/catalog"
	"perigee/clock"
	"perigee/object"
	"perigee/purge"
	"perigee/upload"
)

// later is a clock that is ahead.
type later struct {
	clock.Clock
	by time.Duration
}

func (l later) Now() time.Time { return l.Clock.Now().Add(l.by) }

// audit stops the API, lets the sweeper do in a moment what it does in days, and compares catalogue and bucket.
func (u *uploading) audit() (left string, err error) {
	r, ctx := u.rig, context.Background()
	r.killRole("upload")
	for _, f := range u.latest() {
		if err := r.stored(ctx, object.Path(f.Path), object.HashOf(f.content())); err != nil {
			return "", fmt.Errorf("%s: %w", f.Path, err)
		}
	}
	for _, ahead := range []time.Duration{100 * time.Hour, 200 * time.Hour} {
		if err := r.sweep(ctx, later{clock.System, ahead}); err != nil {
			return "", err
		}
	}
	cat, err := r.catalogue(later{clock.System, 200 * time.Hour})
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, cat.Close()) }()
	known, versions, err := r.known(ctx, cat)
	if err != nil {
		return "", err
	}
	blobs, bytesLeft, err := r.strays(ctx, known)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("catalogue and bucket agree on %d versions; after the sweeper no multipart upload, no state and no u/ blob is left without a version; "+
		"%d blobs under b/ and trees (%d bytes) that no version refers to await the collector", versions, blobs, bytesLeft), nil
}

// latest are the files that were not replaced by others.
func (u *uploading) latest() map[string]*sent {
	last := map[string]*sent{}
	for _, f := range u.files {
		last[f.Path] = f
	}
	return last
}

func (r *uploadRig) catalogue(c clock.Clock) (*catalog.Catalog, error) {
	return catalog.OpenSQLite(context.Background(), catalog.Config{File: filepath.Join(r.dir, "catalog.db"), Clock: c, Log: slog.New(slog.DiscardHandler)})
}

// sweep does what the API's sweeper does, at the time of c.
func (r *uploadRig) sweep(ctx context.Context, c clock.Clock) error {
	cat, err := r.catalogue(c)
	if err != nil {
		return err
	}
	defer cat.Close()
	quiet := slog.New(slog.DiscardHandler)
	outbox, err := catalog.NewOutbox(catalog.OutboxConfig{Catalog: cat, Appender: nowhere{}, Clock: c, Log: quiet})
	if err != nil {
		return err
	}
	p, err := upload.New(upload.Config{
		Catalog: cat, Outbox: outbox, Reader: r.reader, Writer: r.writer, Clock: c, Log: quiet,
		BaseURL: func(s object.SiteRecord) string { return "http://" + string(s.Site) },
	})
	if err != nil {
		return err
	}
	return p.Sweep(ctx)
}

// known returns every key that the catalogue's versions account for, having looked at each of them.
func (r *uploadRig) known(ctx context.Context, cat *catalog.Catalog) (known map[object.Key]bool, versions int, err error) {
	known = map[object.Key]bool{}
	for after := object.Path(""); ; {
		page, err := cat.ListFiles(ctx, "www", "/", after, 1000)
		if err != nil || len(page) == 0 {
			return known, versions, err
		}
		for _, f := range page {
			after = f.Pointer.Path
			head, err := r.read(ctx, object.HeadKey("www", after))
			if err != nil || !bytes.Equal(head, object.MarshalPointer(&f.Pointer)) {
				return nil, 0, fmt.Errorf("%s: the bucket's head pointer is %s, the catalogue has version %s (%v)", after, head, f.Pointer.Version, err)
			}
			known[object.HeadKey("www", after)] = true
			vs, err := cat.Versions(ctx, "www", after, "", 1000)
			if err != nil {
				return nil, 0, err
			}
			for _, v := range vs {
				versions++
				key := object.VersionKey("www", after, v.Version)
				rec, err := r.read(ctx, key)
				if err != nil || !bytes.Equal(rec, object.MarshalPointer(&v)) {
					return nil, 0, fmt.Errorf("%s: %s is %s (%v)", after, key, rec, err)
				}
				known[key], known[v.Blob], known[object.TreeKey(v.Blob)] = true, true, true
			}
		}
	}
}

// strays fails if the bucket has something of an upload that nobody accounts for, and counts blobs that were stored by their hash for
// a publication that did not come to be.
func (r *uploadRig) strays(ctx context.Context, known map[object.Key]bool) (blobs int, size int64, err error) {
	for info, err := range r.reader.List(ctx, "") {
		if err != nil {
			return 0, 0, err
		}
		switch kind, _, _ := strings.Cut(string(info.Key), "/"); {
		case known[info.Key] || kind == "s":
		case kind == "b" || kind == "t":
			blobs, size = blobs+1, size+info.Size
		default:
			return 0, 0, fmt.Errorf("the bucket has %s, which nothing refers to", info.Key)
		}
	}
	for up, err := range r.writer.ListUploads(ctx, "", time.Now().Add(time.Hour)) {
		if err != nil {
			return 0, 0, err
		}
		return 0, 0, fmt.Errorf("the bucket has an unfinished multipart upload of %s", up.Key)
	}
	return blobs, size, nil
}

// nowhere is a log that nobody asks for anything: the outbox is not run.
type nowhere struct{}

// Append implements purge.Appender.
func (nowhere) Append(context.Context, purge.Entry) (purge.Position, error) {
	return purge.Position{}, errors.New("there is no log")
}
