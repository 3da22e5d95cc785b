package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"perigee/clock"
	"perigee/object"
	"perigee/problem"
)

const (
	// defaultParallel is how many parts of a direct upload are sent at a time, maxParallel how many at most.
	defaultParallel, maxParallel = 4, 64
	// urlsAtOnce is how many URLs of parts are asked for at a time.
	urlsAtOnce = 64
	// urlMargin is how long a URL has to be good for when a part is begun.
	urlMargin = time.Minute
)

// UploadDirect publishes a file whose bytes go straight to the storage, in parts, several at a time; the server then reads them there and publishes them. Whatever
// breaks, it goes on with what the storage has. size is the length in bytes, at least 1; when UploadDirect returns body is no longer read. It
// gives up when Retry.Tries tries in a row got no further. If SHA256 is known and the site has the content, no bytes are sent.
//
// A server whose storage has no address for clients answers with the problem "direct-off". An upload that was given up rests on the server for a day:
// DirectOptions.Resume goes on with it, EndDirect removes it.
func (c *Client) UploadDirect(ctx context.Context, site object.Site, path object.Path, body io.ReaderAt, size int64, o DirectOptions) (File, error) {
	d := &directing{c: c, site: site, path: path, body: body, size: size, o: o, id: o.Resume, urls: map[int]DirectURL{}}
	if d.o.Parallel < 1 {
		d.o.Parallel = defaultParallel
	}
	d.o.Parallel = min(d.o.Parallel, maxParallel)
	f, claimed, err := d.claim(ctx)
	if err == nil && !claimed {
		f, err = d.run(ctx)
	}
	if err != nil {
		return File{}, fmt.Errorf("upload %s:%s: %w", site, path, err)
	}
	if !o.SHA256.IsZero() && f.SHA256 != o.SHA256 {
		return f, fmt.Errorf("upload %s:%s: it was published with SHA-256 %s, which is not that of the file", site, path, f.SHA256)
	}
	return f, nil
}

// directing is one direct upload on its way.
type directing struct {
	c    *Client
	site object.Site
	path object.Path
	body io.ReaderAt
	size int64
	o    DirectOptions
	id   object.UploadID // "" before it is begun

	told    DirectUpload // as the server told it last
	known   bool         // that is how it is
	counted bool         // Sent was told of what an earlier call had sent
	arrived atomic.Int64 // parts that the storage has taken

	mu   sync.Mutex
	urls map[int]DirectURL // by number
}

func (d *directing) claim(ctx context.Context) (File, bool, error) {
	if d.id != "" {
		return File{}, false, nil
	}
	return d.c.Claim(ctx, d.site, d.path, PutOptions{
		Size: d.size, SHA256: d.o.SHA256, ContentType: d.o.ContentType, CacheControl: d.o.CacheControl, Tags: d.o.Tags,
		IfMatch: d.o.IfMatch, IfNew: d.o.IfNew, Wait: d.o.Wait,
	})
}

func (d *directing) run(ctx context.Context) (File, error) {
	for try := 1; ; try++ {
		before := d.progress()
		f, err := d.step(ctx)
		if err == nil && f != nil {
			return *f, nil
		}
		if d.progress() != before || err == nil {
			try = 1
		}
		if err != nil {
			d.known = false
			if !directGoesOn(err) || try >= d.c.retry.Tries || clock.Sleep(ctx, d.c.clock, d.c.retry.After(try, err)) != nil {
				return File{}, err
			}
		}
	}
}

// progress changes with all that brings the upload further.
func (d *directing) progress() [2]int64 { return [2]int64{d.arrived.Load(), d.told.Verified} }

// directGoesOn reports whether a direct upload that met err may go on.
func directGoesOn(err error) bool {
	for _, k := range []problem.Kind{"incomplete", "locked", "busy"} {
		if errors.Is(err, k) {
			return true
		}
	}
	var refused *storageError // which was tried often enough
	return Temporary(err) && !errors.As(err, &refused)
}

// step does what is next: begin, ask how far it is, or send what is missing and commit.
func (d *directing) step(ctx context.Context) (*File, error) {
	switch {
	case d.id == "":
		u, err := d.c.BeginDirect(ctx, d.site, d.path, d.size, d.o)
		if err != nil {
			return nil, err
		}
		d.learn(u)
		if d.o.Begun != nil {
			d.o.Begun(d.id)
		}
		return nil, nil
	case !d.known:
		return d.ask(ctx)
	}
	if err := d.sendMissing(ctx); err != nil {
		return nil, err
	}
	f, err := d.c.commitDirect(ctx, d.id, d.o.Wait)
	if err != nil {
		return nil, err
	}
	return &f, nil
}

func (d *directing) learn(u DirectUpload) {
	d.told, d.id, d.known = u, u.ID, true
	d.keep(u.URLs)
}

// ask finds out how far the upload is.
func (d *directing) ask(ctx context.Context) (*File, error) {
	u, err := d.c.DirectStatus(ctx, d.id, 1, urlsAtOnce)
	switch {
	case errors.Is(err, fs.ErrNotExist) && d.id == d.o.Resume:
		d.id, d.o.Resume = "", ""
		return nil, nil
	case err != nil:
		return nil, err
	case u.File != nil:
		return u.File, nil
	case u.Size != d.size:
		return nil, fmt.Errorf("the upload is of a file of %d bytes, this one has %d", u.Size, d.size)
	}
	d.learn(u)
	if d.o.Sent != nil && d.id == d.o.Resume && d.arrived.Load() == 0 && !d.counted {
		d.counted = true
		for _, p := range u.Uploaded {
			d.o.Sent(p.Size) // by an earlier call
		}
	}
	return nil, nil
}

// sendMissing sends the parts that have not arrived, a few at a time.
func (d *directing) sendMissing(ctx context.Context) error {
	if len(d.told.URLs) == 0 && len(d.told.Uploaded) == 0 {
		return nil // a commit has joined them, and there is nothing to send
	}
	have := map[int]int64{}
	for _, p := range d.told.Uploaded {
		have[p.Number] = p.Size
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(d.o.Parallel)
	for n := 1; n <= d.told.Parts && gctx.Err() == nil; n++ {
		if from, size := d.part(n); have[n] != size {
			g.Go(func() error { return d.send(gctx, n, from, size) })
		}
	}
	return errors.Join(g.Wait(), ctx.Err())
}

// part returns where a part is in the file.
func (d *directing) part(number int) (from, size int64) {
	from = int64(number-1) * d.told.PartSize
	return from, min(d.told.PartSize, d.size-from)
}

// send sends one part until the storage has it, or as Retry says.
func (d *directing) send(ctx context.Context, number int, from, size int64) error {
	for try := 1; ; try++ {
		u, err := d.url(ctx, number)
		if err == nil {
			err = d.store(ctx, u, from, size)
		}
		if err == nil {
			d.arrived.Add(1)
			return nil
		}
		var refused *storageError
		if errors.As(err, &refused) && refused.status == http.StatusForbidden {
			d.forget(u) // it may have expired
		} else if !Temporary(err) {
			return err
		}
		if try >= d.c.retry.Tries || clock.Sleep(ctx, d.c.clock, d.c.retry.After(try, err)) != nil {
			return err
		}
	}
}

// url returns a good URL for a part. The first of many who need one asks for the next ones as well.
func (d *directing) url(ctx context.Context, number int) (DirectURL, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if u, ok := d.urls[number]; ok && u.Expires.Sub(d.c.clock.Now()) > urlMargin {
		return u, nil
	}
	told, err := d.c.DirectStatus(ctx, d.id, number, urlsAtOnce)
	if err != nil {
		return DirectURL{}, err
	}
	d.keepLocked(told.URLs)
	u, ok := d.urls[number]
	if !ok {
		return DirectURL{}, fmt.Errorf("the server gives no URL for part %d of %d", number, d.told.Parts)
	}
	return u, nil
}

func (d *directing) keep(urls []DirectURL) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.keepLocked(urls)
}

// keepLocked keeps not all URLs of a large file: those of earlier parts are used up.
func (d *directing) keepLocked(urls []DirectURL) {
	if len(d.urls) > 4*urlsAtOnce {
		clear(d.urls)
	}
	for _, u := range urls {
		d.urls[u.Number] = u
	}
}

func (d *directing) forget(u DirectURL) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.urls[u.Number] == u {
		delete(d.urls, u.Number)
	}
}
