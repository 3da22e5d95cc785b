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

// all calls f of every server and joins what it returns. Of servers that fail, the first error is returned beside what the others gave.
func all[T any](c *Catalog, f func(*server) ([]T, error)) ([]T, error) {
	var out []T
	var first error
	for _, s := range c.servers {
		some, err := f(s)
		out = append(out, some...)
		if first == nil {
			first = err
		}
	}
	return out, first
}

// ExpireClaims ends claims whose time is over, up to limit on each server, and condemns what nobody needs then.
func (c *Catalog) ExpireClaims(ctx context.Context, limit int) error {
	_, err := all(c, func(s *server) ([]struct{}, error) { return nil, s.expireClaims(ctx, limit) })
	return err
}

// UnsureRefs returns references, up to limit of each server, that were made before a time and are unsure still.
func (c *Catalog) UnsureRefs(ctx context.Context, before time.Time, limit int) ([]Ref, error) {
	return all(c, func(s *server) ([]Ref, error) { return s.unsureRefs(ctx, before, limit) })
}

// SettleRef ends the doubt about an unsure reference: it stays if there is such a version, and goes if there is neither that nor a reservation that may
// become one. It returns what it found.
func (c *Catalog) SettleRef(ctx context.Context, r Ref) (Standing, error) {
	st, err := c.of(r.Site, r.Path).standing(ctx, r.Site, r.Path, r.Version)
	if err != nil || st == StandsReserved {
		return st, err
	}
	return st, c.ofHash(r.Hash).settleRef(ctx, r, st == StandsRecorded)
}

// DropRef takes away the reference of a version that was removed.
func (c *Catalog) DropRef(ctx context.Context, p *object.Pointer) error {
	if p.State != object.Live {
		return nil
	}
	return c.ofHash(p.Hash).dropRef(ctx, p)
}

// WaningBlobs returns blobs, up to limit of each server, that have been in a state, which is not live, since before a time.
func (c *Catalog) WaningBlobs(ctx context.Context, state BlobState, before time.Time, limit int) ([]Blob, error) {
	return all(c, func(s *server) ([]Blob, error) { return s.waningBlobs(ctx, state, before, limit) })
}

// MoveBlob moves a blob, which is as it was seen and needed by nobody, to another state, or renews the time of the one that it is in; "" forgets it. False
// means that it is not so any more. A blob is not moved to BlobDeleting as long as a version or a reservation on any server names it, though it has no
// reference: that would be a mistake somewhere, and is made good.
func (c *Catalog) MoveBlob(ctx context.Context, seen Blob, to BlobState) (now Blob, moved bool, err error) {
	if to == BlobDeleting && seen.State == BlobCondemned {
		ps, err := all(c, func(s *server) ([]object.Pointer, error) { return s.naming(ctx, seen.Key) })
		if err != nil {
			return Blob{}, false, err
		}
		for i := range ps {
			c.cfg.Log.Error("a version named a blob without referring to it", "blob", seen.Key, "site", ps[i].Site, "path", ps[i].Path, "version", ps[i].Version)
			err = errors.Join(err, c.ofHash(seen.Hash).adoptRef(ctx, &ps[i]))
		}
		if err != nil || len(ps) > 0 {
			return Blob{}, false, err
		}
	}
	return c.ofHash(seen.Hash).moveBlob(ctx, seen, to)
}

// Blob returns what is known of a blob; fs.ErrNotExist if there is no such row. Unlike a hash, a key does not tell the server.
func (c *Catalog) Blob(ctx context.Context, key object.Key) (Blob, error) {
	bs, err := all(c, func(s *server) ([]Blob, error) { return s.blob(ctx, key) })
	switch {
	case len(bs) > 0:
		return bs[0], nil
	case err != nil:
		return Blob{}, err
	}
	return Blob{}, fmt.Errorf("blob %s: %w", key, fs.ErrNotExist)
}

// UsersOf reports whether a site refers to a blob, and whether other sites do.
func (c *Catalog) UsersOf(ctx context.Context, b Blob, site object.Site) (here, elsewhere bool, err error) {
	return c.ofHash(b.Hash).usersOf(ctx, b.Key, site)
}

// RefsOf returns up to limit references to a hash, of one site, or of all if site is "".
func (c *Catalog) RefsOf(ctx context.Context, hash object.Hash, site object.Site, limit int) ([]Ref, error) {
	return c.ofHash(hash).refsOf(ctx, hash, site, limit)
}

// CountWaning counts the blobs that are not live, by state.
func (c *Catalog) CountWaning(ctx context.Context) (map[BlobState]BlobCounts, error) {
	rows, err := all(c, func(s *server) ([]stateCounts, error) { return s.countWaning(ctx) })
	out := map[BlobState]BlobCounts{}
	for _, r := range rows {
		n := out[r.state]
		out[r.state] = BlobCounts{n.Blobs + r.Blobs, n.Bytes + r.Bytes}
	}
	return out, err
}

// expireClaims is Catalog.ExpireClaims of this server.
func (s *server) expireClaims(ctx context.Context, limit int) error {
	type claim struct {
		holder string
		blob   object.Key
	}
	scan := func(sc scanner) (c claim, err error) {
		err = sc.Scan(&c.holder, &c.blob)
		return c, err
	}
	now := s.cfg.Clock.Now().UnixMicro()
	cs, err := collect(ctx, s.read, scan,
		`SELECT holder, blob FROM claims WHERE expires <= $1 ORDER BY expires LIMIT $2`, now, page(limit))
	if err != nil {
		return fmt.Errorf("list expired claims: %w", err)
	}
	for _, c := range cs {
		err := s.change(ctx, "end the claim on "+string(c.blob), func(tx *sql.Tx) error {
			if _, err := lockBlob(ctx, tx, c.blob); err != nil {
				return ignoreMissing(err)
			}
			if _, err := tx.ExecContext(ctx, `DELETE FROM claims WHERE holder = $1 AND expires <= $2`, c.holder, now); err != nil {
				return err
			}
			return s.condemnUnused(ctx, tx, c.blob)
		})
		if err != nil {
			return err
		}
	}
	return nil
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

const refColumns = `SELECT blob, hash, site, path, version FROM refs`

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
	rs, err := collect(ctx, s.read, scanRef, refColumns+` WHERE sure = 0 AND since <= $1 ORDER BY since LIMIT $2`, before.UnixMicro(), page(limit))
	if err != nil {
		return nil, fmt.Errorf("list unsure references: %w", err)
	}
	return rs, nil
}

// settleRef ends the doubt about a reference: it is sure, or it goes.
func (s *server) settleRef(ctx context.Context, r Ref, stays bool) error {
	return s.change(ctx, fmt.Sprintf("settle the reference of %s of site %s", r.Path, r.Site), func(tx *sql.Tx) error {
		if !stays {
			return s.unrefer(ctx, tx, r.pointer())
		}
		_, err := tx.ExecContext(ctx, `UPDATE refs SET sure = 1 WHERE blob = $1 AND site = $2 AND path = $3 AND version = $4`, r.Blob, r.Site, r.Path, r.Version)
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

// standing says what there is of a version. Version and reservation are looked for in one statement: Commit replaces the one by the other.
func (s *server) standing(ctx context.Context, site object.Site, path object.Path, v object.Version) (st Standing, err error) {
	err = s.change(ctx, fmt.Sprintf("look for version %s of %s of site %s", v, path, site), func(tx *sql.Tx) error {
		return tx.QueryRowContext(ctx,
			`SELECT 'recorded' FROM versions WHERE site = $1 AND path = $2 AND version = $3
			UNION ALL SELECT 'reserved' FROM reservations WHERE site = $1 AND path = $2 AND version = $3 LIMIT 1`, site, path, v).Scan(&st)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return StandsNot, nil
	}
	return st, err
}

// waningBlobs is Catalog.WaningBlobs of this server.
func (s *server) waningBlobs(ctx context.Context, state BlobState, before time.Time, limit int) ([]Blob, error) {
	bs, err := collect(ctx, s.read, scanBlob, `SELECT `+blobColumns+` FROM blobs WHERE state <> 'live' AND since <= $2 AND state = $1 ORDER BY since LIMIT $3`,
		state, before.UnixMicro(), page(limit))
	if err != nil {
		return nil, fmt.Errorf("list %s blobs: %w", state, err)
	}
	return bs, nil
}

// moveBlob is Catalog.MoveBlob of this server, but for what other servers have to say.
func (s *server) moveBlob(ctx context.Context, seen Blob, to BlobState) (now Blob, moved bool, err error) {
	err = s.change(ctx, fmt.Sprintf("make blob %s %s", seen.Key, to), func(tx *sql.Tx) error {
		b, err := lockBlob(ctx, tx, seen.Key)
		if err != nil {
			return ignoreMissing(err)
		}
		if b.State != seen.State || !b.Since.Equal(seen.Since) {
			return nil
		}
		query, args := `DELETE FROM blobs WHERE blob = $1`+unused, []any{seen.Key}
		if to != "" {
			b.State, b.Since = to, fromMicros(max(s.cfg.Clock.Now().UnixMicro(), b.Since.UnixMicro()+1))
			query, args = `UPDATE blobs SET state = $2, since = $3 WHERE blob = $1`+unused, append(args, to, b.Since.UnixMicro())
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

// blob returns the row of a blob, if there is one.
func (s *server) blob(ctx context.Context, key object.Key) ([]Blob, error) {
	bs, err := collect(ctx, s.write, scanBlob, `SELECT `+blobColumns+` FROM blobs WHERE blob = $1`, key)
	if err != nil {
		return nil, fmt.Errorf("look for blob %s: %w", key, err)
	}
	return bs, nil
}

// usersOf reports whether a site refers to a blob, and whether others do.
func (s *server) usersOf(ctx context.Context, key object.Key, site object.Site) (here, elsewhere bool, err error) {
	var n, m int
	err = s.write.QueryRowContext(ctx,
		`SELECT (SELECT COUNT(*) FROM (SELECT 1 FROM refs WHERE blob = $1 AND site = $2 LIMIT 1) AS here),
		(SELECT COUNT(*) FROM (SELECT 1 FROM refs WHERE blob = $1 AND site <> $2 LIMIT 1) AS elsewhere)`, key, site).Scan(&n, &m)
	if err != nil {
		err = fmt.Errorf("look for references to %s: %w", key, err)
	}
	return n > 0, m > 0, err
}

// naming returns pointers of versions and reservations that name a blob, some if there are many. There are never more than a few reservations: they are all looked at.
func (s *server) naming(ctx context.Context, key object.Key) ([]object.Pointer, error) {
	ps, err := collect(ctx, s.write, scanPointer, `SELECT pointer FROM versions WHERE blob = $1 AND blob <> '' LIMIT 10`, key)
	if err == nil && len(ps) == 0 {
		ps, err = collect(ctx, s.write, scanPointer, `SELECT pointer FROM reservations WHERE pointer LIKE '%"' || $1 || '"%'`, key)
	}
	if err != nil {
		return nil, fmt.Errorf("look for versions of %s: %w", key, err)
	}
	return ps, nil
}

// adoptRef gives a version its reference.
func (s *server) adoptRef(ctx context.Context, p *object.Pointer) error {
	return s.change(ctx, fmt.Sprintf("refer from %s of site %s to %s", p.Path, p.Site, p.Blob), func(tx *sql.Tx) error {
		return s.secure(ctx, tx, p, Claim{})
	})
}

// refsOf is Catalog.RefsOf of this server.
func (s *server) refsOf(ctx context.Context, hash object.Hash, site object.Site, limit int) ([]Ref, error) {
	query, args := refColumns+` WHERE hash = $1`, []any{hash.String(), page(limit)}
	if site != "" {
		query, args = query+` AND site = $3`, append(args, site)
	}
	rs, err := collect(ctx, s.read, scanRef, query+` ORDER BY site, path, version LIMIT $2`, args...)
	if err != nil {
		return nil, fmt.Errorf("list references to %s: %w", hash, err)
	}
	return rs, nil
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
	rows, err := collect(ctx, s.read, func(sc scanner) (r stateCounts, err error) {
		err = sc.Scan(&r.state, &r.Blobs, &r.Bytes)
		return r, err
	}, `SELECT state, COUNT(*), COALESCE(SUM(size), 0) FROM blobs WHERE state <> 'live' GROUP BY state`)
	if err != nil {
		return nil, fmt.Errorf("count blobs: %w", err)
	}
	return rows, nil
}
