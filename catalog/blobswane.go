package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"perigee/object"
)

// What the collector asks and says; package upload has the collector.

// ExpireClaims ends claims whose time is over, up to limit, and condemns what nobody needs then.
func (c *Catalog) ExpireClaims(ctx context.Context, limit int) error {
	cs, err := gather(ctx, c, page(limit), func(s *server) ([]expired, error) { return s.expiredClaims(ctx, limit) })
	errs := []error{err}
	for _, e := range cs {
		errs = append(errs, c.ofHash(ctx, e.hash, func(s *server) error { return s.expireClaim(ctx, e) }))
	}
	return errors.Join(errs...)
}

// UnsureRefs returns up to limit references that were made before a time and are unsure still. An error comes with those of the servers that answered.
func (c *Catalog) UnsureRefs(ctx context.Context, before time.Time, limit int) ([]Ref, error) {
	return gather(ctx, c, page(limit), func(s *server) ([]Ref, error) { return s.unsureRefs(ctx, before, limit) })
}

// SettleRef ends the doubt about an unsure reference: it stays if there is such a version, and goes if there is neither that nor a reservation that may
// become one. It returns what it found.
func (c *Catalog) SettleRef(ctx context.Context, r Ref) (Standing, error) {
	st, err := c.standing(ctx, r.Site, r.Path, r.Version)
	if err != nil || st == StandsReserved {
		return st, err
	}
	return st, c.ofHash(ctx, r.Hash, func(s *server) error { return s.settleRef(ctx, r, st == StandsRecorded) })
}

func (c *Catalog) standing(ctx context.Context, site object.Site, path object.Path, v object.Version) (st Standing, err error) {
	err = c.write(ctx, object.SlotOf(site, path), moveWait, func(s *server) (err error) {
		st, err = s.standing(ctx, site, path, v)
		return err
	})
	return st, err
}

// DropRef takes away the reference of a version that was removed.
func (c *Catalog) DropRef(ctx context.Context, p *object.Pointer) error {
	if p.State != object.Live {
		return nil
	}
	return c.ofHash(ctx, p.Hash, func(s *server) error { return s.dropRef(ctx, p) })
}

// WaningBlobs returns up to limit blobs that have been in a state, which is not live, since before a time. An error comes with those of the servers that
// answered.
func (c *Catalog) WaningBlobs(ctx context.Context, state BlobState, before time.Time, limit int) ([]Blob, error) {
	return gather(ctx, c, page(limit), func(s *server) ([]Blob, error) { return s.waningBlobs(ctx, state, before, limit) })
}

// MoveBlob moves a blob, which is as it was seen and needed by nobody, to another state, or renews the time of the one that it is in; "" forgets it. False
// means that it is not so any more. A blob is not moved to BlobDeleting as long as a version or a reservation on any server names it, though it has no
// reference: that would be a mistake somewhere, and is made good.
func (c *Catalog) MoveBlob(ctx context.Context, seen Blob, to BlobState) (now Blob, moved bool, err error) {
	if to == BlobDeleting && seen.State == BlobCondemned {
		named, err := c.namedStill(ctx, seen)
		if named || err != nil {
			return Blob{}, false, err
		}
	}
	err = c.ofHash(ctx, seen.Hash, func(s *server) (err error) {
		now, moved, err = s.moveBlob(ctx, seen, to)
		return err
	})
	return now, moved, err
}

// namedStill reports whether a version or a reservation names a blob, and gives such a version its reference.
func (c *Catalog) namedStill(ctx context.Context, b Blob) (yes bool, err error) {
	ps, err := gather(ctx, c, page(0), func(s *server) ([]object.Pointer, error) { return s.naming(ctx, b.Key) })
	errs := []error{err}
	for i := range ps {
		p := &ps[i]
		// A server may have rows of a slot that is coming or leaving: the owner knows.
		st, err := c.standing(ctx, p.Site, p.Path, p.Version)
		errs = append(errs, err)
		yes = yes || st != StandsNot
		if st == StandsRecorded {
			c.cfg.Log.Error("a version named a blob without referring to it", "blob", b.Key, "site", p.Site, "path", p.Path, "version", p.Version)
			c.recorded(ctx, p, Claim{})
		}
	}
	return yes, errors.Join(errs...)
}

// Blob returns what is known of a blob; fs.ErrNotExist if there is no such row. Unlike a hash, a key does not tell the server: all are asked.
func (c *Catalog) Blob(ctx context.Context, key object.Key) (Blob, error) {
	bs, err := gather(ctx, c, page(0), func(s *server) ([]Blob, error) { return s.blobsAt(ctx, key) })
	for _, b := range bs {
		err := c.ofHash(ctx, b.Hash, func(s *server) (err error) {
			b, err = s.blob(ctx, b.Hash, key)
			return err
		})
		if !errors.Is(err, fs.ErrNotExist) {
			return b, err
		}
	}
	if err != nil {
		return Blob{}, err
	}
	return Blob{}, fmt.Errorf("blob %s: %w", key, fs.ErrNotExist)
}

// UsersOf reports whether a site refers to a blob, and whether other sites do.
func (c *Catalog) UsersOf(ctx context.Context, b Blob, site object.Site) (here, elsewhere bool, err error) {
	err = c.ofHash(ctx, b.Hash, func(s *server) (err error) {
		here, elsewhere, err = s.usersOf(ctx, b, site)
		return err
	})
	return here, elsewhere, err
}

// RefsOf returns up to limit references to a hash, of one site, or of all if site is "", in the order of site, path and version.
func (c *Catalog) RefsOf(ctx context.Context, hash object.Hash, site object.Site, limit int) (rs []Ref, err error) {
	err = c.ofHash(ctx, hash, func(s *server) (err error) {
		rs, err = s.refsOf(ctx, hash, site, limit)
		return err
	})
	return rs, err
}

// CountWaning counts the blobs that are not live, by state. An error comes with what was counted on the servers that answered.
func (c *Catalog) CountWaning(ctx context.Context) (map[BlobState]BlobCounts, error) {
	rows, err := gather(ctx, c, page(0), func(s *server) ([]stateCounts, error) { return s.countWaning(ctx) })
	out := map[BlobState]BlobCounts{}
	for _, r := range rows {
		n := out[r.state]
		out[r.state] = BlobCounts{n.Blobs + r.Blobs, n.Bytes + r.Bytes}
	}
	return out, err
}

// expired is a claim whose time is over.
type expired struct {
	hash   object.Hash
	blob   object.Key
	holder string
}

const expiredClaimsQuery = `SELECT hash, blob, holder FROM claims WHERE expires <= $1 ORDER BY expires LIMIT $2`

func (s *server) expiredClaims(ctx context.Context, limit int) ([]expired, error) {
	cs, err := collect(ctx, s.newest(), func(sc scanner) (e expired, err error) {
		var hash string
		if err := sc.Scan(&hash, &e.blob, &e.holder); err != nil {
			return e, err
		}
		e.hash, err = object.ParseHash(hash)
		return e, err
	}, expiredClaimsQuery, s.now().UnixMicro(), page(limit))
	if err != nil {
		return nil, fmt.Errorf("list expired claims: %w", err)
	}
	return cs, nil
}

func (s *server) expireClaim(ctx context.Context, e expired) error {
	return s.changeBlob(ctx, "end the claim on "+string(e.blob), e.hash, func(tx *sql.Tx) error {
		if _, err := lockBlob(ctx, tx, e.hash, e.blob); err != nil {
			return ignoreMissing(err)
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM claims`+thisBlob+` AND holder = $4 AND expires <= $5`,
			append(blobKey(e.hash, e.blob), e.holder, s.now().UnixMicro())...); err != nil {
			return err
		}
		return s.condemnUnused(ctx, tx, e.hash, e.blob)
	})
}

// Ref is a reference: the bytes of Blob are those of a version.
type Ref struct {
	Blob    object.Key
	Hash    object.Hash
	Site    object.Site
	Path    object.Path
	Version object.Version
}

// pointer returns what deleteRef wants to know.
func (r Ref) pointer() *object.Pointer {
	return &object.Pointer{Site: r.Site, Path: r.Path, Version: r.Version, State: object.Live, Blob: r.Blob, Hash: r.Hash}
}

const (
	refColumns  = `SELECT blob, hash, site, path, version FROM refs`
	unsureQuery = refColumns + ` WHERE sure = 0 AND since <= $1 ORDER BY since LIMIT $2`
	refsQuery   = refColumns + ` WHERE slot = $1 AND hash = $2 ORDER BY site, path, version LIMIT $3`
	refsInQuery = refColumns + ` WHERE slot = $1 AND hash = $2 AND site = $4 ORDER BY site, path, version LIMIT $3`
)

func scanRef(sc scanner) (Ref, error) {
	var r Ref
	var hash string
	if err := sc.Scan(&r.Blob, &hash, &r.Site, &r.Path, &r.Version); err != nil {
		return Ref{}, err
	}
	var err error
	r.Hash, err = object.ParseHash(hash)
	return r, err
}

// unsureRefs is Catalog.UnsureRefs of this server.
func (s *server) unsureRefs(ctx context.Context, before time.Time, limit int) ([]Ref, error) {
	rs, err := collect(ctx, s.newest(), scanRef, unsureQuery, before.UnixMicro(), page(limit))
	if err != nil {
		return nil, fmt.Errorf("list unsure references: %w", err)
	}
	return rs, nil
}

// settleRef ends the doubt about a reference: it is sure, or it goes.
func (s *server) settleRef(ctx context.Context, r Ref, stays bool) error {
	return s.changeBlob(ctx, fmt.Sprintf("settle the reference of %s of site %s", r.Path, r.Site), r.Hash, func(tx *sql.Tx) error {
		if !stays {
			return s.unrefer(ctx, tx, r.pointer())
		}
		_, err := tx.ExecContext(ctx, `UPDATE refs SET sure = 1`+thisRef, refKey(r.pointer())...)
		return err
	})
}

// Standing says what the server of a path knows of a version.
type Standing string

// The standings of a version.
const (
	StandsRecorded Standing = "recorded"
	StandsReserved Standing = "reserved" // it may yet be recorded
	StandsNot      Standing = ""
)

const standingQuery = `SELECT 'recorded' FROM versions WHERE slot = $1 AND site = $2 AND path = $3 AND version = $4
	UNION ALL SELECT 'reserved' FROM reservations WHERE slot = $1 AND site = $2 AND path = $3 AND version = $4 LIMIT 1`

// standing says what there is of a version. Version and reservation are looked for in one statement: Commit replaces the one by the other.
func (s *server) standing(ctx context.Context, site object.Site, path object.Path, v object.Version) (st Standing, err error) {
	err = s.changeIn(ctx, fmt.Sprintf("look for version %s of %s of site %s", v, path, site), []unit{unitOfPath(site, path)}, func(tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, standingQuery, object.SlotOf(site, path), site, path, v).Scan(&st)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return StandsNot, nil
	}
	return st, err
}

const (
	waningQuery      = `SELECT ` + blobColumns + ` FROM blobs WHERE state <> 'live' AND since <= $2 AND state = $1 ORDER BY since LIMIT $3`
	blobsAtQuery     = `SELECT ` + blobColumns + ` FROM blobs WHERE blob = $1`
	namingQuery      = `SELECT pointer FROM versions WHERE blob = $1 AND blob <> '' LIMIT 10`
	countWaningQuery = `SELECT state, COUNT(*), CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM blobs WHERE state <> 'live' GROUP BY state`
)

// waningBlobs is Catalog.WaningBlobs of this server.
func (s *server) waningBlobs(ctx context.Context, state BlobState, before time.Time, limit int) ([]Blob, error) {
	bs, err := collect(ctx, s.newest(), scanBlob, waningQuery, state, before.UnixMicro(), page(limit))
	if err != nil {
		return nil, fmt.Errorf("list %s blobs: %w", state, err)
	}
	return bs, nil
}

// moveBlob is Catalog.MoveBlob of this server, but for what other servers have to say.
func (s *server) moveBlob(ctx context.Context, seen Blob, to BlobState) (now Blob, moved bool, err error) {
	err = s.changeBlob(ctx, fmt.Sprintf("make blob %s %s", seen.Key, to), seen.Hash, func(tx *sql.Tx) error {
		now, moved = Blob{}, false
		b, err := lockBlob(ctx, tx, seen.Hash, seen.Key)
		if err != nil {
			return ignoreMissing(err)
		}
		if b.State != seen.State || !b.Since.Equal(seen.Since) {
			return nil
		}
		query, args := `DELETE FROM blobs`+thisBlob+unused, blobKey(seen.Hash, seen.Key)
		if to != "" {
			b.State, b.Since = to, fromMicros(max(s.now().UnixMicro(), b.Since.UnixMicro()+1))
			query, args = `UPDATE blobs SET state = $4, since = $5`+thisBlob+unused, append(args, to, b.Since.UnixMicro())
		}
		res, err := tx.ExecContext(ctx, query, args...)
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		now, moved = b, n == 1
		return err
	})
	return now, moved, err
}

// blobsAt returns the rows of a key, of which some may belong to a slot that is elsewhere.
func (s *server) blobsAt(ctx context.Context, key object.Key) ([]Blob, error) {
	bs, err := collect(ctx, s.newest(), scanBlob, blobsAtQuery, key)
	if err != nil {
		return nil, fmt.Errorf("look for blob %s: %w", key, err)
	}
	return bs, nil
}

// blob returns the row of a blob; fs.ErrNotExist if there is none.
func (s *server) blob(ctx context.Context, h object.Hash, key object.Key) (b Blob, err error) {
	err = s.changeBlob(ctx, "look at blob "+string(key), h, func(tx *sql.Tx) (err error) {
		b, err = scanBlob(tx.QueryRowContext(ctx, `SELECT `+blobColumns+` FROM blobs`+thisBlob, blobKey(h, key)...))
		return missing(err)
	})
	return b, err
}

// usersOf is Catalog.UsersOf of this server.
func (s *server) usersOf(ctx context.Context, b Blob, site object.Site) (here, elsewhere bool, err error) {
	var n, m int
	err = s.changeBlob(ctx, "look for references to "+string(b.Key), b.Hash, func(tx *sql.Tx) error {
		return tx.QueryRowContext(ctx,
			`SELECT (SELECT COUNT(*) FROM (SELECT 1 FROM refs`+thisBlob+` AND site = $4 LIMIT 1) AS here),
			(SELECT COUNT(*) FROM (SELECT 1 FROM refs`+thisBlob+` AND site <> $4 LIMIT 1) AS elsewhere)`, append(blobKey(b.Hash, b.Key), site)...).Scan(&n, &m)
	})
	return n > 0, m > 0, err
}

// naming returns pointers of versions and reservations that name a blob, some if there are many. There are never more than a few reservations: they are all looked at.
func (s *server) naming(ctx context.Context, key object.Key) ([]object.Pointer, error) {
	ps, err := collect(ctx, s.newest(), scanPointer, namingQuery, key)
	if err == nil && len(ps) == 0 {
		ps, err = collect(ctx, s.newest(), scanPointer, `SELECT pointer FROM reservations WHERE pointer LIKE '%"' || $1 || '"%'`, key)
	}
	if err != nil {
		return nil, fmt.Errorf("look for versions of %s: %w", key, err)
	}
	return ps, nil
}

// refsOf is Catalog.RefsOf of this server.
func (s *server) refsOf(ctx context.Context, hash object.Hash, site object.Site, limit int) (rs []Ref, err error) {
	query, args := refsQuery, []any{object.SlotOfHash(hash), hash.String(), page(limit)}
	if site != "" {
		query, args = refsInQuery, append(args, site)
	}
	err = s.changeBlob(ctx, "list references to "+hash.String(), hash, func(tx *sql.Tx) (err error) {
		rs, err = collect(ctx, tx, scanRef, query, args...)
		return err
	})
	return rs, err
}

// BlobCounts says how many blobs are in a state, and their bytes together.
type BlobCounts struct {
	Blobs int64 `json:"blobs"`
	Bytes int64 `json:"bytes"`
}

type stateCounts struct {
	state BlobState
	BlobCounts
}

// countWaning is Catalog.CountWaning of this server.
func (s *server) countWaning(ctx context.Context) ([]stateCounts, error) {
	rows, err := collect(ctx, s.newest(), func(sc scanner) (r stateCounts, err error) {
		err = sc.Scan(&r.state, &r.Blobs, &r.Bytes)
		return r, err
	}, countWaningQuery)
	if err != nil {
		return nil, fmt.Errorf("count blobs: %w", err)
	}
	return rows, nil
}
