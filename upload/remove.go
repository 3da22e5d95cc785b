package upload

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"perigee/catalog"
	"perigee/object"
	"perigee/purge"
)

// Versions go in this order, so that a crash anywhere leaves a removal that the sweeper finishes, and no cache can fetch again what it was told to
// forget:
//
//	path       if the current version is to go, a tombstone is published in its place, as by Delete
//	removal    the catalogue has the versions no more, but a note of each
//	bucket     v/ is deleted, the references are dropped; to erase, also the blobs that nothing refers to any more, without waiting
//	log        an entry of kind erase, in the transaction that ends the notes
//
// Edges apply it: they forget the versions, and what is erased is overwritten on their disks before they report the position.

// Erased says what became of an order to remove or to erase.
type Erased struct {
	// ID names the last of the log entries, for GET /api/v1/purges/{id}; "" if nothing was there to be removed.
	ID string `json:"id"`
	// Position is where the log has it; zero while that is not known.
	Position purge.Position `json:"position"`
	Files    int            `json:"files"`    // paths that lost versions
	Versions int            `json:"versions"` // that were removed
	Blobs    int            `json:"blobs"`    // objects with bytes that were deleted from the bucket
	// KeptHere counts the blobs that stay because other files, or other versions, of the site have the same content, KeptElsewhere those that other sites have.
	KeptHere      int `json:"kept_here"`
	KeptElsewhere int `json:"kept_elsewhere"`
	// Unfinished counts the removed versions that the bucket, or an upload of the same content, kept from being finished. The sweeper goes on; the same order again tells.
	Unfinished int `json:"unfinished"`
}

// add adds what became of one path.
func (e *Erased) add(o Erased) {
	if o.ID != "" {
		e.ID = o.ID
	}
	e.Files += o.Files
	e.Versions += o.Versions
	e.Blobs += o.Blobs
	e.KeptHere += o.KeptHere
	e.KeptElsewhere += o.KeptElsewhere
	e.Unfinished += o.Unfinished
}

// errInUse says that somebody is uploading the content that is to be erased.
var errInUse = errors.New("the content is being published at this moment")

// RemoveFile deletes a file and removes all its versions: their immutable URLs answer 410. The bytes are left to the collector. A path that was never published is
// fs.ErrNotExist; else errors are Delete's.
func (p *Publisher) RemoveFile(ctx context.Context, site object.Site, path object.Path, cond catalog.Condition) (Erased, error) {
	return p.removeFile(ctx, site, path, cond, nil, false)
}

// EraseFiles is RemoveFile of each path, and destroys the bytes at once, in the bucket if nothing else refers to them, and on all edges. With an error comes what
// was done before it.
func (p *Publisher) EraseFiles(ctx context.Context, site object.Site, paths ...object.Path) (sum Erased, err error) {
	for _, path := range paths {
		e, err := p.removeFile(ctx, site, path, catalog.Condition{}, nil, true)
		sum.add(e)
		if err != nil {
			return sum, err
		}
	}
	return sum, nil
}

// stored returns an error that wraps object.ErrKind if what the site serves is not stored here.
func (p *Publisher) stored(ctx context.Context, site object.Site) error {
	rec, err := p.cfg.Catalog.Site(ctx, site)
	if err != nil {
		return err
	}
	return rec.Stored()
}

// EraseContent erases every version of every file whose content has that hash, of one site, or of all if site is "". There may be none.
func (p *Publisher) EraseContent(ctx context.Context, hash object.Hash, site object.Site) (Erased, error) {
	var sum Erased
	if site != "" {
		if err := p.stored(ctx, site); err != nil {
			return sum, err
		}
	}
	done := map[catalog.Ref]bool{}
	for {
		refs, err := p.cfg.Catalog.RefsOf(ctx, hash, site, sweepBatch)
		if err != nil {
			return sum, err
		}
		fresh := false
		for _, r := range refs {
			of := catalog.Ref{Site: r.Site, Path: r.Path}
			if done[of] {
				continue
			}
			done[of], fresh = true, true
			e, err := p.removeFile(ctx, r.Site, r.Path, catalog.Condition{}, func(v *object.Pointer) bool { return v.Hash == hash }, true)
			sum.add(e)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return sum, err
			}
		}
		if !fresh {
			return sum, nil
		}
	}
}

// removeFile removes the versions of a path that match, all if match is nil.
func (p *Publisher) removeFile(ctx context.Context, site object.Site, path object.Path, cond catalog.Condition, match func(*object.Pointer) bool, erase bool) (Erased, error) {
	if err := p.stored(ctx, site); err != nil {
		return Erased{}, err
	}
	f, err := p.cfg.Catalog.File(ctx, site, path)
	if err != nil {
		return Erased{}, err
	}
	var out Erased
	if f.Pointer.State == object.Live && (match == nil || match(&f.Pointer)) {
		res, err := p.Delete(ctx, site, path, cond)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return Erased{}, err
		}
		out.ID = res.ID
	}
	for {
		// The removed ones are gone from the next page; those that stay are the current one, and what does not match.
		vs, err := p.matching(ctx, site, path, match)
		if err != nil || len(vs) == 0 {
			return out, err
		}
		rs, err := p.cfg.Catalog.RemoveVersions(ctx, site, path, vs, erase)
		if err != nil || len(rs) == 0 {
			return out, err
		}
		out.Files = 1
		out.add(p.finishRemovals(ctx, rs))
	}
}

// matching returns versions of a path that match and are not the current one, at most a page of them; all tombstones match, if all versions do.
func (p *Publisher) matching(ctx context.Context, site object.Site, path object.Path, match func(*object.Pointer) bool) ([]object.Version, error) {
	before := object.Version("")
	for {
		all, err := p.cfg.Catalog.Versions(ctx, site, path, before, sweepBatch)
		if err != nil {
			return nil, err
		}
		var out []object.Version
		for i := range all {
			current := i == 0 && before == ""
			if !current && (match == nil || all[i].State == object.Live && match(&all[i])) {
				out = append(out, all[i].Version)
			}
		}
		if len(out) > 0 || len(all) < sweepBatch {
			return out, nil
		}
		before = all[len(all)-1].Version
	}
}

// finishRemovals does the rest for removals of one path. What cannot be done now is left to the sweeper.
func (p *Publisher) finishRemovals(ctx context.Context, rs []catalog.Removal) Erased {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTime)
	defer cancel()
	sum := Erased{Versions: len(rs)}
	p.at(afterRemoval)
	for some := range slices.Chunk(rs, purge.MaxErased) {
		one, err := p.finishSome(ctx, some)
		sum.add(one)
		if err != nil {
			sum.Unfinished += len(some)
			p.cfg.Log.Warn("the removal of versions is left to the sweeper", "site", some[0].Pointer.Site, "path", some[0].Pointer.Path, "versions", len(some), "err", err)
			continue
		}
		p.collected.removed.Add(int64(len(some)))
	}
	return sum
}

// finishSome is finishRemovals for as many as one log entry may name.
func (p *Publisher) finishSome(ctx context.Context, rs []catalog.Removal) (out Erased, err error) {
	var contents []purge.Content
	for i := range rs {
		ptr := &rs[i].Pointer
		if err := p.cfg.Writer.Delete(ctx, object.VersionKey(ptr.Site, ptr.Path, ptr.Version)); err != nil {
			return out, err
		}
		p.at(afterRecord)
		if err := p.cfg.Catalog.DropRef(ctx, ptr); err != nil {
			return out, err
		}
		c := purge.ContentOf(ptr)
		if rs[i].Erase && ptr.State == object.Live && !slices.Contains(contents, c) {
			contents = append(contents, c)
		}
	}
	p.at(afterDrop)
	for _, c := range contents {
		one, err := p.eraseBlob(ctx, rs[0].Pointer.Site, c)
		out.add(one)
		if err != nil {
			return out, err
		}
	}
	p.at(afterErase)
	if out.ID, err = p.cfg.Catalog.FinishRemoval(ctx, rs, contents); err != nil {
		return out, err
	}
	if len(contents) > 0 {
		p.cfg.Log.Info("content was erased", "site", rs[0].Pointer.Site, "path", rs[0].Pointer.Path, "versions", len(rs), "blobs", out.Blobs,
			"kept_here", out.KeptHere, "kept_elsewhere", out.KeptElsewhere, "entry", out.ID)
	}
	return out, nil
}

// eraseBlob deletes a blob from the bucket at once, unless something refers to it still.
func (p *Publisher) eraseBlob(ctx context.Context, site object.Site, c purge.Content) (Erased, error) {
	b, err := p.cfg.Catalog.Blob(ctx, c.Blob)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Erased{}, nil // a collector was faster, long ago
	case err != nil:
		return Erased{}, err
	case b.State == catalog.BlobLive:
		return p.keptBy(ctx, site, b)
	}
	if gone, err := p.gone(ctx, b.Key); err != nil || gone && b.State == catalog.BlobDeleting {
		return Erased{}, err
	}
	deleted, err := p.deleteBlob(ctx, b)
	if err == nil && !deleted {
		err = errInUse
	}
	if err != nil {
		return Erased{}, err
	}
	if gone, err := p.gone(ctx, b.Key); err != nil || !gone {
		return Erased{}, errors.Join(err, fmt.Errorf("blob %s: the bucket has it still", b.Key))
	}
	return Erased{Blobs: 1}, nil
}

// keptBy says who needs a blob that cannot be deleted. A claim alone is somebody who is publishing it now: that is soon over.
func (p *Publisher) keptBy(ctx context.Context, site object.Site, b catalog.Blob) (Erased, error) {
	here, elsewhere, err := p.cfg.Catalog.UsersOf(ctx, b, site)
	switch {
	case err != nil:
	case here:
		return Erased{KeptHere: 1}, nil
	case elsewhere:
		return Erased{KeptElsewhere: 1}, nil
	default:
		err = errInUse
	}
	return Erased{}, err
}

// sweepRemovals finishes removals that were left.
func (p *Publisher) sweepRemovals(ctx context.Context) error {
	rs, err := p.cfg.Catalog.Removals(ctx, sweepBatch)
	byPath := map[catalog.Ref][]catalog.Removal{}
	for _, r := range rs {
		of := catalog.Ref{Site: r.Pointer.Site, Path: r.Pointer.Path}
		byPath[of] = append(byPath[of], r)
	}
	for _, some := range byPath {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		p.finishRemovals(ctx, some)
	}
	return err
}

// Retain removes the versions that the sites' rules do not keep.
func (p *Publisher) Retain(ctx context.Context) error {
	var errs []error
	for after := object.Site(""); ; {
		sites, err := p.cfg.Catalog.Sites(ctx, after, sweepBatch)
		if err != nil || len(sites) == 0 {
			return errors.Join(append(errs, err)...)
		}
		for _, s := range sites {
			after = s.Site
			if s.Rules.Retention != nil {
				errs = append(errs, p.retainSite(ctx, s.Site, s.Rules.Retention))
			}
		}
	}
}

func (p *Publisher) retainSite(ctx context.Context, site object.Site, rule *object.Retention) error {
	var errs []error
	for slot := range object.Slot(object.Slots) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		errs = append(errs, p.retainSlot(ctx, site, slot, rule))
	}
	return errors.Join(errs...)
}

// retainSlot applies a rule to the files of a site that are in one slot. A server that does not answer fails its slots only.
func (p *Publisher) retainSlot(ctx context.Context, site object.Site, slot object.Slot, rule *object.Retention) error {
	for after := object.Path(""); ; {
		paths, err := p.cfg.Catalog.AgedPaths(ctx, site, slot, after, sweepBatch)
		if err != nil || len(paths) == 0 {
			return err
		}
		for _, path := range paths {
			after = path
			if err := p.retainFile(ctx, site, path, rule); err != nil {
				return err
			}
		}
	}
}

// retainFile applies a rule to a file.
func (p *Publisher) retainFile(ctx context.Context, site object.Site, path object.Path, rule *object.Retention) error {
	all, err := p.versionsOf(ctx, site, path)
	if err != nil {
		return err
	}
	expired := rule.Expired(all, p.cfg.Clock.Now())
	for some := range slices.Chunk(expired, purge.MaxErased) {
		rs, err := p.cfg.Catalog.RemoveVersions(ctx, site, path, some, false)
		if err != nil {
			return err
		}
		if len(rs) > 0 {
			p.finishRemovals(ctx, rs)
		}
	}
	return nil
}

// versionsOf returns all versions of a path, the newest first.
func (p *Publisher) versionsOf(ctx context.Context, site object.Site, path object.Path) ([]object.Pointer, error) {
	var all []object.Pointer
	for before := object.Version(""); ; before = all[len(all)-1].Version {
		some, err := p.cfg.Catalog.Versions(ctx, site, path, before, sweepBatch)
		all = append(all, some...)
		if err != nil || len(some) < sweepBatch {
			return all, err
		}
	}
}

// retainEvery is how often old versions are looked for.
const retainEvery = 10 * time.Minute
