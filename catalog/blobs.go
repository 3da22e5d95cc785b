package catalog

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"perigee/object"
)

// # Bytes and who needs them
//
// A blob is an object of the bucket with bytes. Its row, the references to it and the claims on it are on one server, that of its hash; the versions that
// refer to it are on the servers of their paths. So no transaction spans both, and none has to:
//
//	claim      whoever is going to write a blob, or to rely on one that is there, claims it first. A claim ends by Unclaim, by Commit, or by expiring.
//	reference  Reserve adds the reference of the version that it has fixed, if the claim still stands. It is unsure until Commit has recorded
//	           the version.
//	condemned  the transaction that takes away the last reference or claim says so in the blob's row. Any claim makes the blob live again.
//	deleting   long after that, the collector moves the row on, in a transaction that has seen no reference and no claim. From here on nobody can claim
//	           the blob: who has its bytes stores them under another key. Then the bytes are deleted.
//	forgotten  later still the row goes, when the bucket was seen to have neither the blob nor its tree.
//
// What holds at any moment, whoever dies: a blob that has a reference is in the bucket. For a reference is only made under a claim whose holder has written
// the blob after claiming it, or had seen a reference when claiming it; and no blob begins to be deleted that has a claim or a reference.
//
// A crash leaves at worst a claim that expires, or an unsure reference; whoever finds that asks the server of the path whether there is such a version, or a
// reservation that may still become one.

// BlobState says whether the bytes of a blob are needed.
type BlobState string

// The states of a blob.
const (
	BlobLive      BlobState = "live"      // referred to, or claimed
	BlobCondemned BlobState = "condemned" // neither, since Since
	BlobDeleting  BlobState = "deleting"  // its bytes are being deleted, or gone, since Since
)

// Blob is bytes in the bucket.
type Blob struct {
	Key        object.Key
	Hash, Root object.Hash
	Size       int64 // bytes
	State      BlobState
	Since      time.Time // of State; zero for a live one
}

// BlobOf returns what a live pointer means.
func BlobOf(p *object.Pointer) Blob {
	return Blob{Key: p.Blob, Hash: p.Hash, Root: p.Root, Size: p.Size}
}

// Claim keeps a blob from being deleted until it ends.
type Claim struct {
	Blob Blob
	// Expires is until when the blob must have been stored or referred to, by Config.Clock.
	Expires time.Time

	holder string // names the claim
}

// IsZero reports whether c claims nothing.
func (c Claim) IsZero() bool { return c.holder == "" }

// claimTTL is how long a claim holds: several times as long as storing a small blob, or recording a version, may take.
const claimTTL = 15 * time.Minute

var (
	// ErrDeleting says that a blob is being deleted and cannot be claimed any more: store the bytes under another key.
	ErrDeleting = errors.New("the blob is being deleted")
	// ErrUnclaimed says that a claim has ended, so that nobody knows whether its blob is still there. Nothing was changed.
	ErrUnclaimed = errors.New("the claim on the blob has ended")
)

// ofHash has f done by the server that has the blobs of a hash.
func (c *Catalog) ofHash(ctx context.Context, h object.Hash, f func(*server) error) error {
	return c.write(ctx, object.SlotOfHash(h), moveWait, f)
}

// The claims are asked for here; the rest is done by Reserve, Commit, Release and Adopt.

// ClaimNew claims b for somebody who is going to store it, and makes its row if there is none. It wraps ErrDeleting if b cannot be had under that key.
func (c *Catalog) ClaimNew(ctx context.Context, b Blob) (cl Claim, err error) {
	err = c.ofHash(ctx, b.Hash, func(s *server) (err error) {
		cl, err = s.claimNew(ctx, b)
		return err
	})
	return cl, err
}

// ClaimHeld claims a blob of that hash to which the site refers, for somebody who relies on it; fs.ErrNotExist if the site refers to none. What other sites
// have does not matter, and cannot be found out here.
func (c *Catalog) ClaimHeld(ctx context.Context, site object.Site, hash object.Hash) (cl Claim, err error) {
	err = c.ofHash(ctx, hash, func(s *server) (err error) {
		cl, err = s.claimHeld(ctx, site, hash)
		return err
	})
	return cl, err
}

// ClaimVersion claims the blob of a version that refers to it; fs.ErrNotExist if it does not any more.
func (c *Catalog) ClaimVersion(ctx context.Context, p *object.Pointer) (cl Claim, err error) {
	err = c.ofHash(ctx, p.Hash, func(s *server) (err error) {
		cl, err = s.claimVersion(ctx, p)
		return err
	})
	return cl, err
}

// Unclaim ends a claim. One that has ended already is no error.
func (c *Catalog) Unclaim(ctx context.Context, cl Claim) error {
	if cl.IsZero() {
		return nil
	}
	return c.ofHash(ctx, cl.Blob.Hash, func(s *server) error { return s.unclaim(ctx, cl) })
}

// reserved adds the reference of a version that was reserved. Without it there is no reservation.
func (c *Catalog) reserved(ctx context.Context, r *Reservation, cl Claim) error {
	p := &r.Pointer
	r.claim = cl
	if p.State != object.Live || cl.IsZero() {
		return nil
	}
	err := c.ofHash(ctx, p.Hash, func(s *server) error {
		return s.changeBlob(ctx, fmt.Sprintf("refer from %s of site %s to %s", p.Path, p.Site, p.Blob), p.Hash, func(tx *sql.Tx) error { return s.refer(ctx, tx, cl, p) })
	})
	if err != nil {
		err = errors.Join(err, c.Release(context.WithoutCancel(ctx), *r))
	}
	return err
}

// recorded makes the reference of a version that was recorded sure, and ends the claim. If that fails the collector does it, which finds the version.
func (c *Catalog) recorded(ctx context.Context, p *object.Pointer, cl Claim) {
	if p.State != object.Live {
		return
	}
	err := c.ofHash(ctx, p.Hash, func(s *server) error {
		return s.changeBlob(ctx, fmt.Sprintf("secure the reference of %s of site %s", p.Path, p.Site), p.Hash, func(tx *sql.Tx) error { return s.secure(ctx, tx, p, cl) })
	})
	if err != nil {
		c.cfg.Log.Warn("a reference could not be made sure, the collector will do it", "site", p.Site, "path", p.Path, "blob", p.Blob, "err", err)
	}
}

// released takes back the reference of a version that will not be recorded. If that fails the collector does it, which finds no version.
func (c *Catalog) released(ctx context.Context, p *object.Pointer) {
	if p.State != object.Live {
		return
	}
	err := c.ofHash(ctx, p.Hash, func(s *server) error {
		return s.changeBlob(ctx, fmt.Sprintf("take back the reference of %s of site %s", p.Path, p.Site), p.Hash, func(tx *sql.Tx) error { return s.unrefer(ctx, tx, p) })
	})
	if err != nil {
		c.cfg.Log.Warn("a reference could not be taken back, the collector will do it", "site", p.Site, "path", p.Path, "blob", p.Blob, "err", err)
	}
}

// changeBlob is change for the blobs of a hash, their references and their claims.
func (s *server) changeBlob(ctx context.Context, what string, h object.Hash, f func(*sql.Tx) error) error {
	return s.changeIn(ctx, what, []unit{unitOfHash(h)}, f)
}

// claimNew is Catalog.ClaimNew of this server.
func (s *server) claimNew(ctx context.Context, b Blob) (Claim, error) {
	c := s.newClaim()
	err := s.changeBlob(ctx, "claim "+string(b.Key), b.Hash, func(tx *sql.Tx) (err error) {
		c.Blob, err = s.raise(ctx, tx, b)
		if err == nil && c.Blob.State == BlobDeleting {
			err = ErrDeleting
		}
		if err != nil {
			return err
		}
		return s.insertClaim(ctx, tx, c)
	})
	if err != nil {
		return Claim{}, err
	}
	return c, nil
}

func (s *server) newClaim() Claim {
	return Claim{holder: rand.Text(), Expires: s.cfg.Clock.Now().Add(claimTTL)}
}

// insertClaim notes a claim. Its row expires by the server's clock; what its holder goes by is c.Expires.
func (s *server) insertClaim(ctx context.Context, tx *sql.Tx, c Claim) error {
	_, err := tx.ExecContext(ctx,
		`INSERT INTO claims (slot, hash, holder, blob, expires) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (slot, hash, holder) DO NOTHING`,
		object.SlotOfHash(c.Blob.Hash), c.Blob.Hash.String(), c.holder, c.Blob.Key, s.now().Add(claimTTL).UnixMicro())
	return err
}

// claimHeld is Catalog.ClaimHeld of this server.
func (s *server) claimHeld(ctx context.Context, site object.Site, hash object.Hash) (Claim, error) {
	return s.claimReferred(ctx, hash, heldQuery, object.SlotOfHash(hash), hash.String(), site)
}

const heldQuery = `SELECT blob FROM refs WHERE slot = $1 AND hash = $2 AND site = $3 ORDER BY path, version, blob LIMIT 1`

// claimVersion is Catalog.ClaimVersion of this server.
func (s *server) claimVersion(ctx context.Context, p *object.Pointer) (Claim, error) {
	return s.claimReferred(ctx, p.Hash,
		`SELECT blob FROM refs`+thisRef, refKey(p)...)
}

// claimReferred claims the blob that a query of refs finds. The blob is locked before the reference is looked for once more: it may go at any moment.
func (s *server) claimReferred(ctx context.Context, hash object.Hash, query string, args ...any) (Claim, error) {
	c := s.newClaim()
	err := s.changeBlob(ctx, "claim the blob of "+hash.String(), hash, func(tx *sql.Tx) error {
		var key object.Key
		if err := tx.QueryRowContext(ctx, query, args...).Scan(&key); err != nil {
			return missing(err)
		}
		b, err := lockBlob(ctx, tx, hash, key)
		if err != nil {
			return err
		}
		if err := tx.QueryRowContext(ctx, query, args...).Scan(&key); err != nil {
			return missing(err)
		}
		if key != b.Key || b.State != BlobLive {
			return fmt.Errorf("the blob: %w", fs.ErrNotExist)
		}
		c.Blob = b
		return s.insertClaim(ctx, tx, c)
	})
	if err != nil {
		return Claim{}, err
	}
	return c, nil
}

// unclaim is Catalog.Unclaim of this server.
func (s *server) unclaim(ctx context.Context, c Claim) error {
	return s.changeBlob(ctx, "give up the claim on "+string(c.Blob.Key), c.Blob.Hash, func(tx *sql.Tx) error {
		if _, err := lockBlob(ctx, tx, c.Blob.Hash, c.Blob.Key); err != nil {
			return ignoreMissing(err)
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM claims WHERE slot = $1 AND hash = $2 AND holder = $3`, object.SlotOfHash(c.Blob.Hash), c.Blob.Hash.String(), c.holder); err != nil {
			return err
		}
		return s.condemnUnused(ctx, tx, c.Blob.Hash, c.Blob.Key)
	})
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// thisBlob names the blob of blobKey, thisRef the reference of refKey.
const (
	thisBlob = ` WHERE slot = $1 AND hash = $2 AND blob = $3`
	thisRef  = ` WHERE slot = $1 AND hash = $2 AND blob = $3 AND site = $4 AND path = $5 AND version = $6`
)

func blobKey(h object.Hash, key object.Key) []any {
	return []any{object.SlotOfHash(h), h.String(), key}
}

func refKey(p *object.Pointer) []any {
	return append(blobKey(p.Hash, p.Blob), p.Site, p.Path, p.Version)
}

const blobColumns = `blob, hash, root, size, state, since`

func scanBlob(sc scanner) (Blob, error) {
	var b Blob
	var hash, root string
	var since int64
	if err := sc.Scan(&b.Key, &hash, &root, &b.Size, &b.State, &since); err != nil {
		return Blob{}, err
	}
	var errs [2]error
	b.Hash, errs[0] = object.ParseHash(hash)
	b.Root, errs[1] = object.ParseHash(root)
	b.Since = fromMicros(since)
	return b, errors.Join(errs[:]...)
}

// lockBlob returns a blob's row and keeps others from changing it, its references and its claims until the end of tx: they all begin with this, or with
// raise. An update is what every database understands as a lock. fs.ErrNotExist if there is none.
func lockBlob(ctx context.Context, tx *sql.Tx, h object.Hash, key object.Key) (Blob, error) {
	b, err := scanBlob(tx.QueryRowContext(ctx, `UPDATE blobs SET size = size`+thisBlob+` RETURNING `+blobColumns, blobKey(h, key)...))
	if err != nil {
		return Blob{}, fmt.Errorf("blob %s: %w", key, missing(err))
	}
	return b, nil
}

// raise makes sure that there is a row for b, locked, which is live unless it is being deleted.
func (s *server) raise(ctx context.Context, tx *sql.Tx, b Blob) (Blob, error) {
	return scanBlob(tx.QueryRowContext(ctx,
		`INSERT INTO blobs (slot, hash, blob, root, size, state, since) VALUES ($1, $2, $3, $4, $5, 'live', 0)
		ON CONFLICT (slot, hash, blob) DO UPDATE SET
		since = CASE WHEN blobs.state = 'condemned' THEN 0 ELSE blobs.since END,
		state = CASE WHEN blobs.state = 'condemned' THEN 'live' ELSE blobs.state END
		RETURNING `+blobColumns, append(blobKey(b.Hash, b.Key), b.Root.String(), b.Size)...))
}

// condemnUnused condemns a blob, which is locked, if nothing refers to it and nobody claims it.
func (s *server) condemnUnused(ctx context.Context, tx *sql.Tx, h object.Hash, key object.Key) error {
	_, err := tx.ExecContext(ctx,
		`UPDATE blobs SET state = 'condemned', since = $4`+thisBlob+` AND state = 'live'`+unused, append(blobKey(h, key), s.now().UnixMicro())...)
	return err
}

// unused is true of a blob that nothing needs.
const unused = ` AND NOT EXISTS (SELECT 1 FROM refs WHERE refs.slot = blobs.slot AND refs.hash = blobs.hash AND refs.blob = blobs.blob)
	AND NOT EXISTS (SELECT 1 FROM claims WHERE claims.slot = blobs.slot AND claims.hash = blobs.hash AND claims.blob = blobs.blob)`

// refer adds the reference of a version that is reserved and not recorded yet. It wraps ErrUnclaimed if the claim has ended.
func (s *server) refer(ctx context.Context, tx *sql.Tx, c Claim, p *object.Pointer) error {
	if c.Blob.Key != p.Blob || c.Blob.Hash != p.Hash {
		return fmt.Errorf("%w: it is of %s and not of %s", ErrUnclaimed, c.Blob.Key, p.Blob)
	}
	if _, err := lockBlob(ctx, tx, p.Hash, p.Blob); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: %s is gone", ErrUnclaimed, p.Blob)
		}
		return err
	}
	var one int
	err := tx.QueryRowContext(ctx, `SELECT 1 FROM claims`+thisBlob+` AND holder = $4`, append(blobKey(p.Hash, p.Blob), c.holder)...).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("%w: %s", ErrUnclaimed, p.Blob)
	}
	if err != nil {
		return err
	}
	return s.insertRef(ctx, tx, p, 0)
}

func (s *server) insertRef(ctx context.Context, tx *sql.Tx, p *object.Pointer, sure int) error {
	_, err := tx.ExecContext(ctx,
		`INSERT INTO refs (slot, hash, blob, site, path, version, sure, since) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (slot, hash, site, path, version, blob) DO UPDATE SET sure = CASE WHEN refs.sure = 1 THEN 1 ELSE excluded.sure END`,
		append(refKey(p), sure, s.now().UnixMicro())...)
	return err
}

// secure makes the reference of a recorded version sure, and ends the claim it came from, which may be zero. A version that came without a claim, from a
// bucket that knew it first, gets its row and reference here.
func (s *server) secure(ctx context.Context, tx *sql.Tx, p *object.Pointer, c Claim) error {
	if p.State != object.Live {
		return nil
	}
	b, err := s.raise(ctx, tx, BlobOf(p))
	if err != nil {
		return err
	}
	if b.State == BlobDeleting {
		s.cfg.Log.Error("a version was recorded whose bytes are being deleted", "blob", p.Blob, "site", p.Site, "path", p.Path, "version", p.Version)
	}
	if err := s.insertRef(ctx, tx, p, 1); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `DELETE FROM claims`+thisBlob+` AND holder = $4`, append(blobKey(p.Hash, p.Blob), c.holder)...)
	return err
}

// unrefer takes back the reference of a version that was not recorded.
func (s *server) unrefer(ctx context.Context, tx *sql.Tx, p *object.Pointer) error {
	return s.deleteRef(ctx, tx, p, ` AND sure = 0`)
}

// dropRef takes away the reference of a version that was removed.
func (s *server) dropRef(ctx context.Context, p *object.Pointer) error {
	return s.changeBlob(ctx, fmt.Sprintf("drop the reference of %s of site %s to %s", p.Path, p.Site, p.Blob), p.Hash, func(tx *sql.Tx) error {
		return s.deleteRef(ctx, tx, p, "")
	})
}

func (s *server) deleteRef(ctx context.Context, tx *sql.Tx, p *object.Pointer, and string) error {
	if p.State != object.Live {
		return nil
	}
	if _, err := lockBlob(ctx, tx, p.Hash, p.Blob); err != nil {
		return ignoreMissing(err)
	}
	_, err := tx.ExecContext(ctx, `DELETE FROM refs`+thisRef+and, refKey(p)...)
	if err != nil {
		return err
	}
	return s.condemnUnused(ctx, tx, p.Hash, p.Blob)
}
