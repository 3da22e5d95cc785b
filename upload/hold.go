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
)

// What is stored is claimed first, and what is relied on, too: see package catalog, blobs.go. A site's own content is found again by its hash and not stored
// twice. What another site has is neither looked for nor relied on: the same bytes are sent to the bucket again, in the same time, and are the same
// object there, so that nobody learns by an upload what others have published.

// claimMargin is how long before its claim ends a blob must have been stored: what comes later might come after it was deleted.
const claimMargin = time.Minute

// keepSmall stores a body under its hash, and its tree, unless the site has it already; b.claim says that it is claimed.
func (p *Publisher) keepSmall(ctx context.Context, site object.Site, b *blob, h *object.Hasher, body []byte) error {
	held, err := p.reuse(ctx, site, b)
	if err != nil || held {
		return err
	}
	b.key = object.BlobKey(b.hash)
	b.claim, err = p.cfg.Catalog.ClaimNew(ctx, b.row())
	if errors.Is(err, catalog.ErrDeleting) {
		// The bucket may be at work deleting it. A key that was never used is out of its way.
		b.key = object.UploadKey(newUploadID("", ""))
		b.claim, err = p.cfg.Catalog.ClaimNew(ctx, b.row())
	}
	if err != nil {
		return err
	}
	p.at(afterClaim)
	ctx, cancel := context.WithTimeout(ctx, b.claim.Expires.Sub(p.cfg.Clock.Now())-claimMargin)
	defer cancel()
	err = p.patiently(ctx, func() error {
		_, err := p.cfg.Writer.Put(ctx, b.key, body, origin.PutOptions{})
		return err
	})
	if err == nil {
		p.at(afterPut)
		err = p.putTree(ctx, b.key, h)
	}
	if err != nil {
		p.unclaim(ctx, b.claim)
	}
	return err
}

// reuse claims what the site has of b's hash, if it has it, and makes b that.
func (p *Publisher) reuse(ctx context.Context, site object.Site, b *blob) (bool, error) {
	claim, err := p.cfg.Catalog.ClaimHeld(ctx, site, b.hash)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if claim.Blob.Size != b.size || claim.Blob.Root != b.root {
		p.unclaim(ctx, claim)
		return false, fmt.Errorf("blob %s is recorded with %d bytes and root %s, and the same hash has %d and %s", claim.Blob.Key, claim.Blob.Size, claim.Blob.Root, b.size, b.root)
	}
	b.key, b.claim = claim.Blob.Key, claim
	return true, nil
}

// offered is the blob of a file whose publisher has given its hash and waits with the body, if the site has it: fs.ErrNotExist if not. The size that was
// declared must be right as well.
func (p *Publisher) offered(ctx context.Context, f File) (blob, error) {
	if !f.Offer || f.SHA256.IsZero() || f.Size < 0 {
		return blob{}, fs.ErrNotExist
	}
	claim, err := p.cfg.Catalog.ClaimHeld(ctx, f.Site, f.SHA256)
	if err != nil {
		return blob{}, err
	}
	if claim.Blob.Size != f.Size {
		p.unclaim(ctx, claim)
		return blob{}, fs.ErrNotExist // let the body show who is right
	}
	head, err := p.sniff(ctx, claim.Blob.Key)
	if err != nil {
		p.unclaim(ctx, claim)
		return blob{}, err
	}
	b := claim.Blob
	return blob{
		hash: b.Hash, root: b.Root, size: b.Size, key: b.Key, claim: claim, contentType: contentType(f.Path, head, f.TypeHint),
	}, nil
}

// sniff returns the first bytes of a blob, for its type.
func (p *Publisher) sniff(ctx context.Context, key object.Key) ([]byte, error) {
	body, _, err := p.cfg.Reader.Get(ctx, key, origin.GetOptions{Length: sniffLen})
	if err != nil {
		return nil, vanished(err)
	}
	defer body.Close()
	return io.ReadAll(body)
}

// secureBlob claims the blob of a change that is to be recorded, unless it is claimed. What was streamed is the upload's own until now: its note stands for it. If the
// site has the same bytes already the change takes those, and the upload's are removed with its note.
func (p *Publisher) secureBlob(ctx context.Context, ch *catalog.Change) error {
	ptr := &ch.Pointer
	if ptr.State != object.Live || !ch.Claim.IsZero() {
		return nil
	}
	b := blob{hash: ptr.Hash, root: ptr.Root, size: ptr.Size, key: ptr.Blob}
	held, err := p.reuse(ctx, ptr.Site, &b)
	if err == nil && !held {
		b.claim, err = p.cfg.Catalog.ClaimNew(ctx, b.row())
	}
	if err != nil {
		return err
	}
	ptr.Blob, ch.Claim = b.key, b.claim
	p.at(afterClaim)
	return nil
}

// unclaim gives a claim up; one that cannot be given up ends by itself.
func (p *Publisher) unclaim(ctx context.Context, c catalog.Claim) {
	if c.IsZero() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTime)
	defer cancel()
	if err := p.cfg.Catalog.Unclaim(ctx, c); err != nil {
		p.cfg.Log.Debug("a claim is left to end by itself", "blob", c.Blob.Key, "err", err)
	}
}
