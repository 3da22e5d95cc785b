package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"perigee/catalog"
	"perigee/clock"
	"perigee/object"
	"perigee/purge"
	"perigee/upload"
)

// later is a clock that can be put forward.
type later struct {
	clock.Clock
	by atomic.Int64 // nanoseconds
}

func (l *later) Now() time.Time { return l.Clock.Now().Add(time.Duration(l.by.Load())) }

const (
	// auditStep is how far the clock is put forward at a time: longer than an upload may rest, a claim holds, and a blob stays condemned or is being deleted.
	auditStep = 100 * time.Hour
	// auditSteps is how often: an upload expires, its note is forgotten, its blob deleted, the blob's row forgotten.
	auditSteps = 4
	// sweeps is how often the sweeper runs each time; it takes on so many things at once.
	sweeps = 3
	// auditLease is that of the run that audits. It is over after a step, so that runs which were killed count as dead.
	auditLease = auditStep / 2
)

// audit waits for the sessions, stops the API, lets the sweeper and the collector do in a moment what they do in days, and compares
// catalogue and bucket; then it starts the API again and compares the edge.
func (u *uploading) audit() (result string, err error) {
	began := time.Now()
	u.sessions.Wait()
	if err := u.trouble(); err != nil {
		return "", err
	}
	waited := time.Since(began)
	defer func() {
		log.Printf("%s: audit in %v, of which %v waiting for clients", u.name, time.Since(began).Round(time.Millisecond), waited.Round(time.Millisecond))
	}()
	r, ctx := u.rig, context.Background()
	r.killRole("upload")
	result, err = u.compare(ctx)
	if err != nil {
		return "", err
	}
	if err := r.startRole("upload"); err != nil {
		return "", err
	}
	n, err := u.compareEdge()
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s; the edge had the same of %d paths", result, n), nil
}

// compare compares catalogue and bucket after everything is over that can be.
func (u *uploading) compare(ctx context.Context) (result string, err error) {
	r := u.rig
	c := &later{Clock: clock.System}
	cat, err := r.catalogue(ctx, c)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, cat.Close()) }()
	p, err := r.publisher(cat, c)
	if err != nil {
		return "", err
	}
	for range auditSteps {
		c.by.Add(int64(auditStep))
		for range sweeps {
			if err := p.Sweep(ctx); err != nil {
				return "", fmt.Errorf("the sweeper: %w", err)
			}
		}
	}
	if err := settled(ctx, cat); err != nil {
		return "", err
	}
	k := known{keys: map[object.Key]bool{}}
	for _, p := range u.book.all() {
		if err := k.place(ctx, r, cat, p); err != nil {
			return "", fmt.Errorf("%s: %w", p.path, err)
		}
	}
	if err := k.others(ctx, cat); err != nil {
		return "", err
	}
	objects, size, err := k.bucket(ctx, r)
	if err != nil {
		return "", err
	}
	before, after, err := cat.Recount(ctx, "www")
	if err != nil || before != after || after.Files != int64(k.files) {
		return "", fmt.Errorf("what the site uses was counted as %+v, it is %+v with %d files (%w)", before, after, k.files, errLeft(err))
	}
	return fmt.Sprintf("at the end the catalogue has %d files and %d versions, the bucket %d objects of %d bytes, and each accounts for the other: "+
		"no multipart upload, no state of an upload and no blob is left without a version", k.files, k.versions, objects, size), nil
}

func (r *uploadRig) catalogue(ctx context.Context, c clock.Clock) (*catalog.Catalog, error) {
	return catalog.Open(ctx, catalog.Config{
		File: filepath.Join(r.data.dir, "perigee", "catalog.db"), Postgres: catalog.Postgres{DSN: r.dsn(false)}, Lease: auditLease,
		Clock: c, Log: slog.New(slog.DiscardHandler),
	})
}

// publisher makes what the API's sweeper is part of.
func (r *uploadRig) publisher(cat *catalog.Catalog, c clock.Clock) (*upload.Publisher, error) {
	quiet := slog.New(slog.DiscardHandler)
	outbox, err := catalog.NewOutbox(catalog.OutboxConfig{Catalog: cat, Appender: nowhere{}, Clock: c, Log: quiet})
	if err != nil {
		return nil, err
	}
	return upload.New(upload.Config{
		Catalog: cat, Outbox: outbox, Reader: r.reader, Writer: r.writer, Clock: c, Log: quiet,
		BaseURL: func(s object.SiteRecord) string { return "http://" + string(s.Site) },
	})
}

// settled makes sure that nothing is left to the sweeper and the collector.
func settled(ctx context.Context, cat *catalog.Catalog) error {
	us, err := cat.Uploads(ctx, "", 1000)
	if err != nil || len(us) > 0 {
		return fmt.Errorf("after the sweeper the catalogue has %d notes of uploads: %v (%w)", len(us), us, errLeft(err))
	}
	rs, err := cat.Stale(ctx, 1000)
	if err != nil || len(rs) > 0 {
		return fmt.Errorf("after the sweeper the catalogue has %d reservations: %v (%w)", len(rs), rs, errLeft(err))
	}
	ms, err := cat.Removals(ctx, 1000)
	if err != nil || len(ms) > 0 {
		return fmt.Errorf("after the sweeper %d removals are not finished: %v (%w)", len(ms), ms, errLeft(err))
	}
	n, err := cat.CountWaning(ctx)
	if err != nil || len(n) > 0 {
		return fmt.Errorf("after the collector the catalogue has blobs that nothing needs: %v (%w)", n, errLeft(err))
	}
	return nil
}

// errRest says that something is left that should have gone.
var errRest = errors.New("something is left over")

func errLeft(err error) error {
	if err != nil {
		return err
	}
	return errRest
}

// known is what the catalogue accounts for.
type known struct {
	keys            map[object.Key]bool
	blobs           []object.Key
	files, versions int
}

// place makes sure that catalogue and bucket have at a path what must be there.
func (k *known) place(ctx context.Context, r *uploadRig, cat *catalog.Catalog, p *place) error {
	f, err := cat.File(ctx, "www", p.path)
	if errors.Is(err, fs.ErrNotExist) && p.now == nil {
		return nil
	}
	if err != nil {
		return err
	}
	switch live := f.Pointer.State == object.Live; {
	case live && !p.may(f.Pointer.Hash), !live && !p.absent():
		return fmt.Errorf("the catalogue has version %s, %s with SHA-256 %s; sent were %+v and perhaps %+v", f.Pointer.Version, f.Pointer.State, f.Pointer.Hash, p.now, p.perhaps)
	case live:
		k.files++
		if err := r.stored(ctx, p.path, f.Pointer.Hash); err != nil {
			return err
		}
	}
	head, err := r.read(ctx, object.HeadKey("www", p.path))
	if err != nil || !bytes.Equal(head, object.MarshalPointer(&f.Pointer)) {
		return fmt.Errorf("the bucket's head pointer is %s, the catalogue has version %s (%v)", head, f.Pointer.Version, err)
	}
	k.keys[object.HeadKey("www", p.path)] = true
	vs, err := cat.Versions(ctx, "www", p.path, "", 1000)
	if err != nil {
		return err
	}
	for _, v := range vs {
		k.versions++
		key := object.VersionKey("www", p.path, v.Version)
		rec, err := r.read(ctx, key)
		if err != nil || !bytes.Equal(rec, object.MarshalPointer(&v)) {
			return fmt.Errorf("%s is %s (%v)", key, rec, err)
		}
		k.keys[key] = true
		if v.State == object.Live {
			k.keys[v.Blob], k.keys[object.TreeKey(v.Blob)] = true, true
			k.blobs = append(k.blobs, v.Blob)
		}
	}
	return nil
}

// others makes sure that the catalogue has no file that nobody has sent.
func (k *known) others(ctx context.Context, cat *catalog.Catalog) error {
	listed := 0
	for after := object.Path(""); ; {
		page, err := cat.ListFiles(ctx, "www", "/", after, 1000)
		if err != nil {
			return err
		}
		for _, f := range page {
			after = f.Pointer.Path
			listed++
			if !k.keys[object.HeadKey("www", after)] {
				return fmt.Errorf("the catalogue lists %s, which nobody has sent", after)
			}
		}
		if len(page) == 0 {
			break
		}
	}
	if listed != k.files {
		return fmt.Errorf("the catalogue lists %d files, it has %d", listed, k.files)
	}
	return nil
}

// bucket fails if the bucket has something that nobody accounts for, or lacks the bytes of a version.
func (k *known) bucket(ctx context.Context, r *uploadRig) (objects int, size int64, err error) {
	there := map[object.Key]bool{}
	for info, err := range r.reader.List(ctx, "") {
		if err != nil {
			return 0, 0, err
		}
		if !k.keys[info.Key] && !strings.HasPrefix(string(info.Key), "s/") {
			return 0, 0, fmt.Errorf("the bucket has %s of %d bytes, which nothing refers to", info.Key, info.Size)
		}
		there[info.Key] = true
		objects, size = objects+1, size+info.Size
	}
	for _, b := range k.blobs {
		if !there[b] {
			return 0, 0, fmt.Errorf("the bucket lacks %s, to which a version refers", b)
		}
	}
	for up, err := range r.writer.ListUploads(ctx, "", time.Now().Add(time.Hour)) {
		if err != nil {
			return 0, 0, err
		}
		return 0, 0, fmt.Errorf("the bucket has an unfinished multipart upload of %s", up.Key)
	}
	return objects, size, nil
}

// compareEdge compares the edge with what must be there. The edge has applied a change that came after all others: what it answers now is final.
func (u *uploading) compareEdge() (paths int, err error) {
	r := u.rig
	mark := u.book.take(true)
	f := &sent{Path: string(mark.path), Size: 10, Seed: u.rng.IntN(1 << 30)}
	f.hash = object.HashOf(f.content())
	if err := r.putEverywhere(f); err != nil {
		return 0, err
	}
	u.book.acked(mark, f)
	u.book.free(mark)
	for _, p := range u.book.all() {
		status, h, err := r.fetch(p.path)
		nothing := status == http.StatusNotFound || status == http.StatusGone
		if err != nil || !(status == http.StatusOK && p.may(h)) && !(nothing && p.absent()) {
			return 0, fmt.Errorf("the edge answers for %s %d with SHA-256 %s (%v); sent was %+v and perhaps %+v", p.path, status, h, err, p.now, p.perhaps)
		}
		paths++
	}
	return paths, nil
}

// putEverywhere publishes a file and waits until the edge says that it has applied that.
func (r *uploadRig) putEverywhere(f *sent) error {
	for deadline := time.Now().Add(longPatience); ; time.Sleep(time.Second) {
		res, err := r.ask("PUT", "/api/v1/sites/www/files"+f.Path+"?wait=30s", f.content())
		if err != nil {
			return err
		}
		text, err := io.ReadAll(res.Body)
		res.Body.Close()
		var said struct{ Effective bool }
		if err == nil && res.StatusCode/100 == 2 {
			err = json.Unmarshal(text, &said)
		}
		if err == nil && said.Effective {
			return nil
		}
		if r.over(deadline) {
			return fmt.Errorf("a change does not take effect at the edge: %s %s (%v)\n%s", res.Status, text, err, r.lastLog("edge"))
		}
	}
}

// nowhere is a log that nobody asks for anything: the outbox is not run.
type nowhere struct{}

// Append implements purge.Appender.
func (nowhere) Append(context.Context, purge.Entry) (purge.Position, error) {
	return purge.Position{}, errors.New("there is no log")
}
