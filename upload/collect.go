package upload

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"
	"time"

	"perigee/catalog"
	"perigee/object"
)

// The collector deletes blobs that nothing refers to. The states, and what holds at any moment, stand in package catalog (blobs.go); here is what is done, and
// when:
//
//	condemned for Config.CollectAfter   -> deleting, in a transaction that sees neither a reference nor a claim; then the blob and its tree are deleted
//	deleting for Config.CollectAgain    -> if the bucket has neither, the row is forgotten; else they are deleted once more, and the time begins anew
//
// CollectAfter is longer than any upload may take to record what it has stored, and than two leases of an edge: an edge that knows the old pointer has
// confirmed it twice by then. CollectAgain is longer than the bucket may take to carry out a request: S3 refuses one whose signature is older than 15 minutes. A
// delete whose answer was lost cannot hit a blob that was stored anew under the same key, because until then nobody may use the key.
//
// Every delete is sent within deleteTime after the row was marked with the present time, so any number of collectors may run at once.

const (
	// deleteTime is how long after its row was marked a blob may be deleted.
	deleteTime = 30 * time.Second
	// collectBatch is how many blobs, claims and references of each kind one round takes on, on each server.
	collectBatch = 500
	// lateRequest is how old a signed request may be that S3 carries out.
	lateRequest = 15 * time.Minute
	// doubtAfter is how old a reference without a version must be before the path is asked; a reservation ends long before that.
	doubtAfter = 10 * time.Minute
)

// Collection is what the collector has done since the start.
type Collection struct {
	Deleted      int64 `json:"deleted"`       // blobs
	DeletedBytes int64 `json:"deleted_bytes"` // of them
	Kept         int64 `json:"kept"`          // condemned blobs that were claimed again before they were deleted
	Dropped      int64 `json:"dropped"`       // references whose version was never recorded
	Removed      int64 `json:"removed"`       // versions, by retention or on demand
	Failures     int64 `json:"failures"`      // blobs that could not be deleted; they are tried again
}

type collection struct {
	deleted, deletedBytes, kept, dropped, removed, failures atomic.Int64

	runs, failedRuns atomic.Int64
	succeeded        atomic.Int64 // when a run last ended without an error, as Unix seconds
	waning           atomic.Pointer[map[catalog.BlobState]catalog.BlobCounts]
}

// Collection returns what the collector has done since the start.
func (p *Publisher) Collection() Collection {
	c := &p.collected
	return Collection{c.deleted.Load(), c.deletedBytes.Load(), c.kept.Load(), c.dropped.Load(), c.removed.Load(), c.failures.Load()}
}

// Collect does one round: it ends old claims, settles doubtful references, deletes what has been condemned for long and forgets what has been deleted. It goes
// on after an error and returns all.
func (p *Publisher) Collect(ctx context.Context) error {
	c := &p.collected
	c.runs.Add(1)
	err := errors.Join(p.cfg.Catalog.ExpireClaims(ctx, collectBatch), p.settleRefs(ctx), p.collect(ctx), p.forget(ctx))
	n, cerr := p.cfg.Catalog.CountWaning(ctx)
	if cerr == nil {
		c.waning.Store(&n)
	}
	if err = errors.Join(err, cerr); err != nil {
		c.failedRuns.Add(1)
		return err
	}
	c.succeeded.Store(p.cfg.Clock.Now().Unix())
	return nil
}

// settleRefs asks the servers of paths about references that a crash may have left.
func (p *Publisher) settleRefs(ctx context.Context) error {
	rs, err := p.cfg.Catalog.UnsureRefs(ctx, p.cfg.Clock.Now().Add(-doubtAfter), collectBatch)
	errs := []error{err}
	for _, r := range rs {
		st, err := p.cfg.Catalog.SettleRef(ctx, r)
		if err == nil && st == catalog.StandsNot {
			p.collected.dropped.Add(1)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// collect deletes blobs that were condemned long ago.
func (p *Publisher) collect(ctx context.Context) error {
	bs, err := p.cfg.Catalog.WaningBlobs(ctx, catalog.BlobCondemned, p.cfg.Clock.Now().Add(-p.cfg.CollectAfter), collectBatch)
	errs := []error{err}
	for _, b := range bs {
		if ctx.Err() != nil {
			break
		}
		_, err := p.deleteBlob(ctx, b)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// deleteBlob deletes a blob that is condemned, or being deleted, as it was seen; false means that somebody needs it again.
func (p *Publisher) deleteBlob(ctx context.Context, seen catalog.Blob) (bool, error) {
	sent := p.cfg.Clock.Now()
	_, moved, err := p.cfg.Catalog.MoveBlob(ctx, seen, catalog.BlobDeleting)
	if err != nil {
		return false, err
	}
	if !moved {
		p.collected.kept.Add(1)
		return false, nil
	}
	p.at(afterDeleting)
	if err := p.deleteObjects(ctx, seen.Key, sent); err != nil {
		p.collected.failures.Add(1)
		return false, fmt.Errorf("delete blob %s: %w", seen.Key, err)
	}
	if seen.State == catalog.BlobCondemned {
		p.collected.deleted.Add(1)
		p.collected.deletedBytes.Add(seen.Size)
	}
	return true, nil
}

// deleteObjects deletes a blob and its tree. The blob goes first: without it the tree is no use, and says nothing.
func (p *Publisher) deleteObjects(ctx context.Context, key object.Key, marked time.Time) error {
	for _, k := range []object.Key{key, object.TreeKey(key)} {
		left := deleteTime - p.cfg.Clock.Now().Sub(marked)
		if left <= 0 {
			return fmt.Errorf("%s: it was too slow, it is tried again", k)
		}
		short, cancel := context.WithTimeout(ctx, left)
		err := p.cfg.Writer.Delete(short, k)
		cancel()
		if err != nil {
			return err
		}
		p.at(afterDelete)
	}
	return nil
}

// gone reports whether the bucket has neither a blob nor its tree.
func (p *Publisher) gone(ctx context.Context, key object.Key) (bool, error) {
	for _, k := range []object.Key{key, object.TreeKey(key)} {
		_, err := p.cfg.Reader.Head(ctx, k)
		if !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
	}
	return true, nil
}

// forget ends what was deleted long ago.
func (p *Publisher) forget(ctx context.Context) error {
	bs, err := p.cfg.Catalog.WaningBlobs(ctx, catalog.BlobDeleting, p.cfg.Clock.Now().Add(-p.cfg.CollectAgain), collectBatch)
	errs := []error{err}
	for _, b := range bs {
		if ctx.Err() != nil {
			break
		}
		gone, err := p.gone(ctx, b.Key)
		if err == nil && gone {
			_, _, err = p.cfg.Catalog.MoveBlob(ctx, b, "")
		} else if err == nil {
			_, err = p.deleteBlob(ctx, b)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
