package upload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"perigee/catalog"
	"perigee/object"
	"perigee/origin"
	"perigee/purge"
)

// File is what Publish publishes.
type File struct {
	Site object.Site
	Path object.Path
	// Body is read to its end, or to the first error.
	Body io.Reader
	// Size is how many bytes Body has, -1 if that is not known. A body of another length is refused.
	Size int64
	// AtMost, if Size is -1, is an upper bound of it; 0 if none is known.
	AtMost int64
	// SHA256, unless zero, is what the publisher says the body's hash is. A body with another hash is refused.
	SHA256 object.Hash
	// Offer says that the body waits to be asked for: if the site has content with that hash and size, Body is not read.
	Offer bool
	Attributes
	Condition catalog.Condition

	room room // set by Publish
}

// likely is how many bytes f has as far as is known, -1 if nothing is.
func (f *File) likely() int64 {
	if f.Size < 0 && f.AtMost > 0 {
		return f.AtMost
	}
	return f.Size
}

// Attributes are what a publisher says about a file besides its bytes.
type Attributes struct {
	// TypeHint is the Content-Type the publisher gave; it counts only for files that tell nothing themselves.
	TypeHint     string       `json:"type_hint,omitempty"`
	Tags         []object.Tag `json:"tags,omitempty"`
	CacheControl string       `json:"cache_control,omitempty"`
}

// Result describes a published version: what an upload answers.
type Result struct {
	Site         object.Site `json:"site"`
	Path         object.Path `json:"path"`
	URL          string      `json:"url"`
	ImmutableURL string      `json:"immutable_url" doc:"Of this version, for ever"`
	SHA256       object.Hash `json:"sha256"`
	Size         int64       `json:"size" doc:"Bytes"`
	ContentType  string      `json:"content_type"`
	// ETag is the version in quotes: what If-Match of this API compares.
	ETag    string         `json:"etag" doc:"The version in quotes: what If-Match of this API compares"`
	Version object.Version `json:"version"`
	// Position is where the log has the change; zero while that is not known.
	Position purge.Position `json:"position"`
	// ID names the change in the log.
	ID string `json:"id" doc:"Names the change in the log, for /api/v1/purges/{id}"`
	// Effective says whether every edge had applied the change when the answer was given; only set when it was
	// waited for.
	Effective *bool `json:"effective,omitempty" doc:"Whether every edge had applied the change; only with wait"`

	// Claimed is set when the body was not needed: the site had the content already.
	Claimed bool `json:"claimed,omitempty"`

	// Created is set when there was no file at the path before.
	Created bool `json:"-"`
}

// EventKind says what happened to a path.
type EventKind string

// The kinds of events.
const (
	EventPublished  EventKind = "published"
	EventDeleted    EventKind = "deleted"
	EventRolledBack EventKind = "rolled-back" // an older version was published again
	EventRecovered  EventKind = "recovered"   // the sweeper finished what a crash had left
)

// Event is a change of a path that was committed.
type Event struct {
	Kind    EventKind
	Result  Result
	Pointer object.Pointer
}

// What the pipeline answers besides the errors of catalog, origin and object.
var (
	// ErrUnsettled says that a change may or may not have taken effect, because the bucket or the catalogue did not
	// answer at the wrong moment. It is decided one way or the other within minutes. Ask for the file, or try again.
	ErrUnsettled = errors.New("it is not known yet whether the change took effect")
	// ErrTooLarge says that a body is larger than Config.MaxSize.
	ErrTooLarge = errors.New("the file is too large")
	// ErrIncomplete says that a body ended before, or went on after, its declared length.
	ErrIncomplete = errors.New("the body does not have its declared length")
	// ErrDigest says that a body does not have the hash its publisher gave.
	ErrDigest = errors.New("the body does not have the given SHA-256")
)

const (
	// recordTime is how long the steps after the blob may take, and how long the publisher waits for them.
	recordTime = 100 * time.Second
	// positionTime is how long an answer waits for the position in the log.
	positionTime = 2 * time.Second
	// cleanTime is how long removing what a failed change has left may take; what remains is the sweeper's.
	cleanTime = 15 * time.Second
	// recordTries is how often a change is tried anew when another writer was faster.
	recordTries = 5
)

// Publish stores f and makes it the current version of its path. When it returns a Result the change is durable. Errors
// wrap: object.ErrInvalid, fs.ErrNotExist (no such site), catalog.ErrPrecondition, catalog.ErrBusy, catalog.ErrQuota, ErrTooLarge,
// ErrIncomplete, ErrDigest, ErrUnsettled, an error of f.Body (as *BodyError), or one of package origin. Only after
// ErrUnsettled may the file have changed.
func (p *Publisher) Publish(ctx context.Context, f File) (Result, error) {
	rec, err := p.publishable(ctx, f.Site, f.Attributes)
	if err != nil {
		return Result{}, err
	}
	if err := mayWrite(ctx, f.Site, f.Path); err != nil {
		return Result{}, err
	}
	if err := p.cfg.Catalog.Check(ctx, f.Site, f.Path, f.Condition); err != nil {
		return Result{}, err
	}
	if f.room, err = p.room(ctx, f.Site, f.Path, f.Size); err != nil {
		return Result{}, err
	}
	p.at(afterCheck)
	m := p.meter(f.Body, Progress{ID: string(newUploadID(f.Site, f.Path)), Site: f.Site, Path: f.Path, Size: f.likely()})
	defer m.stop()
	f.Body = m
	b, err := p.offered(ctx, f)
	offered := err == nil
	if errors.Is(err, fs.ErrNotExist) {
		b, err = p.store(ctx, f)
	}
	if err != nil {
		return Result{}, err
	}
	p.at(afterBlob)
	res, err := p.record(ctx, rec, EventPublished, catalog.Change{
		Pointer: b.pointer(f.Site, f.Path, f.Attributes), Upload: b.upload, Claim: b.claim, Condition: f.Condition,
	})
	res.Claimed = offered
	if err != nil && !errors.Is(err, ErrUnsettled) && b.upload != "" {
		p.discard(ctx, b.upload, err)
	}
	return res, err
}

// publishable returns the site's record if files can be published to it with these attributes.
func (p *Publisher) publishable(ctx context.Context, site object.Site, a Attributes) (object.SiteRecord, error) {
	rec, err := p.cfg.Catalog.Site(ctx, site)
	if err != nil {
		return object.SiteRecord{}, err
	}
	if err := rec.Stored(); err != nil {
		return object.SiteRecord{}, err
	}
	if len(a.Tags) > object.MaxTags {
		return object.SiteRecord{}, fmt.Errorf("tags: %w: %d of them, the limit is %d", object.ErrInvalid, len(a.Tags), object.MaxTags)
	}
	return rec, object.ValidateFieldValue("cache_control", a.CacheControl)
}

// Delete makes the path gone: readers get 404 or 410, its versions stay. Errors are those of Publish; fs.ErrNotExist
// also when there is no file.
func (p *Publisher) Delete(ctx context.Context, site object.Site, path object.Path, cond catalog.Condition) (Result, error) {
	rec, err := p.publishable(ctx, site, Attributes{})
	if err != nil {
		return Result{}, err
	}
	return p.record(ctx, rec, EventDeleted, catalog.Change{
		Pointer: object.Pointer{Format: 1, Site: site, Path: path, State: object.Gone}, Condition: cond,
	})
}

// Rollback publishes what an older version was as a new version; no bytes move. Errors are those of Publish;
// fs.ErrNotExist also when there is no such version, object.ErrInvalid when it is a tombstone.
func (p *Publisher) Rollback(ctx context.Context, site object.Site, path object.Path, to object.Version, cond catalog.Condition) (Result, error) {
	rec, err := p.publishable(ctx, site, Attributes{})
	if err != nil {
		return Result{}, err
	}
	old, err := p.cfg.Catalog.Version(ctx, site, path, to)
	if err != nil {
		return Result{}, err
	}
	if old.State != object.Live {
		return Result{}, fmt.Errorf("version %s of %s: %w: the file was deleted in it, there is nothing to go back to", to, path, object.ErrInvalid)
	}
	claim, err := p.cfg.Catalog.ClaimVersion(ctx, &old)
	if err != nil {
		return Result{}, fmt.Errorf("version %s of %s: it is being removed: %w", to, path, err)
	}
	return p.record(ctx, rec, EventRolledBack, catalog.Change{Pointer: old, Claim: claim, Condition: cond})
}

// record does the steps from reserve on. It no longer listens to ctx: the publisher may go away.
func (p *Publisher) record(ctx context.Context, rec object.SiteRecord, kind EventKind, ch catalog.Change) (Result, error) {
	if err := mayWrite(ctx, ch.Pointer.Site, ch.Pointer.Path); err != nil {
		return Result{}, err
	}
	ch.Action = actions[kind]
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTime)
	defer cancel()
	if err := p.secureBlob(ctx, &ch); err != nil {
		return Result{}, err
	}
	res, err := p.recordClaimed(ctx, rec, kind, ch)
	if err != nil && !errors.Is(err, ErrUnsettled) {
		p.unclaim(ctx, ch.Claim)
	}
	return res, err
}

// recordClaimed is record of a change that needs no blob, or has claimed it.
func (p *Publisher) recordClaimed(ctx context.Context, rec object.SiteRecord, kind EventKind, ch catalog.Change) (Result, error) {
	for try := 1; ; try++ {
		r, err := p.reserve(ctx, ch)
		if err != nil {
			return Result{}, err
		}
		p.at(afterReserve)
		entry, err := p.write(ctx, r)
		if errors.Is(err, errMoved) && try < recordTries {
			continue
		}
		if err != nil {
			return Result{}, fmt.Errorf("publish %s of site %s: %w", ch.Pointer.Path, ch.Pointer.Site, err)
		}
		p.at(afterCommit)
		res := p.result(rec, r.Pointer)
		res.Created = r.New
		p.placed(ctx, &res, entry)
		p.announce(kind, res, r.Pointer)
		return res, nil
	}
}

// reserve takes the reservation, settling what a past run left in the way.
func (p *Publisher) reserve(ctx context.Context, ch catalog.Change) (catalog.Reservation, error) {
	for try := 1; ; try++ {
		r, err := p.cfg.Catalog.Reserve(ctx, ch)
		var busy *catalog.BusyError
		if !errors.As(err, &busy) || !busy.Stale || try == recordTries {
			return r, err
		}
		if err := p.settle(ctx, busy.Holder); err != nil {
			return catalog.Reservation{}, err
		}
		if ch.Upload == "" || ch.Upload != busy.Holder.Upload {
			continue
		}
		// It was this very upload: if it was rolled forward there is nothing left to do.
		if u, err := p.cfg.Catalog.Upload(ctx, ch.Upload); err != nil || u.State == catalog.UploadDone {
			return catalog.Reservation{}, errors.Join(errPublished, err)
		}
	}
}

// errPublished says that what was to be published was published by settling an older reservation.
var errPublished = errors.New("the upload was published already")

// errMoved says that the bucket's head pointer was not what the catalogue had, which has been put right since: try again.
var errMoved = fmt.Errorf("%w: it was changed by another writer", catalog.ErrBusy)

// write does the steps version, head and commit. After an error other than ErrUnsettled the reservation is released.
func (p *Publisher) write(ctx context.Context, r catalog.Reservation) (entry string, err error) {
	body := object.MarshalPointer(&r.Pointer)
	if err := p.writeVersion(ctx, r, body); err != nil {
		return "", p.back(ctx, r, err)
	}
	p.at(afterVersion)
	etag, err := p.writeHead(ctx, r, body)
	switch {
	case errors.Is(err, origin.ErrPrecondition):
		return "", p.back(ctx, r, p.adopt(ctx, r))
	case errors.Is(err, origin.ErrUnknown) || ctx.Err() != nil:
		return "", fmt.Errorf("%w: %w", ErrUnsettled, err)
	case err != nil:
		return "", p.back(ctx, r, err)
	}
	p.at(afterHead)
	if entry, err = p.cfg.Catalog.Commit(ctx, r, etag); err != nil {
		// Also when the reservation was lost: the bucket names this version, and who has the path now may adopt it.
		return "", fmt.Errorf("%w: %w", ErrUnsettled, err)
	}
	return entry, nil
}

func (p *Publisher) writeVersion(ctx context.Context, r catalog.Reservation, body []byte) error {
	key := object.VersionKey(r.Pointer.Site, r.Pointer.Path, r.Pointer.Version)
	_, err := p.cfg.Writer.Put(ctx, key, body, origin.PutOptions{ContentType: "application/json", IfNoneMatch: true})
	if errors.Is(err, origin.ErrPrecondition) {
		// The clock went back to a microsecond in which a version was written and rolled back. The next one is free.
		return errMoved
	}
	return err
}

func (p *Publisher) writeHead(ctx context.Context, r catalog.Reservation, body []byte) (etag string, err error) {
	left := p.cfg.Catalog.WriteBy(r).Sub(p.cfg.Clock.Now())
	if left <= 0 {
		return "", fmt.Errorf("%w: the reservation has expired, or the catalogue's database is away", catalog.ErrBusy)
	}
	ctx, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	o := origin.PutOptions{ContentType: "application/json", IfMatch: r.PrevETag, IfNoneMatch: r.PrevETag == ""}
	etag, err = p.cfg.Writer.Put(ctx, object.HeadKey(r.Pointer.Site, r.Pointer.Path), body, o)
	if err != nil && ctx.Err() != nil {
		return "", fmt.Errorf("%w: %w", origin.ErrUnknown, err)
	}
	return etag, err
}

// back releases r, whose head was certainly not written, and returns why.
func (p *Publisher) back(ctx context.Context, r catalog.Reservation, why error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTime)
	defer cancel()
	if err := p.undo(ctx, r); err != nil {
		p.cfg.Log.Warn("a reservation could not be released, the sweeper will", "path", r.Pointer.Path, "err", err)
	}
	return why
}

// undo removes what r has written before its head, then r.
func (p *Publisher) undo(ctx context.Context, r catalog.Reservation) error {
	if err := p.cfg.Writer.Delete(ctx, object.VersionKey(r.Pointer.Site, r.Pointer.Path, r.Pointer.Version)); err != nil {
		return err
	}
	return p.cfg.Catalog.Release(ctx, r)
}

// adopt makes the catalogue agree with a head pointer that was not what it knew, and returns errMoved.
func (p *Publisher) adopt(ctx context.Context, r catalog.Reservation) error {
	head, etag, err := p.head(ctx, r.Pointer.Site, r.Pointer.Path)
	if err != nil {
		return err
	}
	entry, err := p.cfg.Catalog.Adopt(ctx, r.Pointer.Site, r.Pointer.Path, head, etag)
	if err != nil {
		return err
	}
	p.cfg.Log.Warn("the bucket's head pointer was not what the catalogue had", "site", r.Pointer.Site, "path", r.Pointer.Path, "adopted", entry != "")
	return errMoved
}

// head reads a path's head pointer; nil and "" if there is none. One that cannot be understood is nil with its ETag: it
// can be replaced, not trusted.
func (p *Publisher) head(ctx context.Context, site object.Site, path object.Path) (*object.Pointer, string, error) {
	key := object.HeadKey(site, path)
	body, info, err := p.cfg.Reader.Get(ctx, key, origin.GetOptions{})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	defer body.Close()
	b, err := io.ReadAll(io.LimitReader(body, 1<<20))
	if err != nil {
		return nil, "", fmt.Errorf("read %s: %w", key, err)
	}
	ptr, err := object.UnmarshalPointer(b)
	if err == nil && (ptr.Site != site || ptr.Path != path) {
		err = fmt.Errorf("it is that of %s of site %s", ptr.Path, ptr.Site)
	}
	if err != nil {
		p.cfg.Log.Error("the bucket holds a head pointer that is not one", "key", key, "err", err)
		return nil, info.ETag, nil
	}
	return ptr, info.ETag, nil
}
