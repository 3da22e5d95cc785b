package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"perigee/object"
	"perigee/purge"
)

// A version that is removed leaves traces: its record in the bucket, its reference on another server, what caches know. So it first becomes a removal, in the
// transaction in which it stops being a version; a removal ends, with its log entry, when all the rest is done. The sweeper finds those that were left.

// Removal is a version that was removed, and is not forgotten yet.
type Removal struct {
	Pointer object.Pointer
	// Erase says that its bytes are to be destroyed everywhere, and not only left to the collector.
	Erase bool
}

// RemoveVersions makes removals of versions of a path and returns them. One that is the current state of the path stays, and so does one that there is not.
func (c *Catalog) RemoveVersions(ctx context.Context, site object.Site, path object.Path, versions []object.Version, erase bool) ([]Removal, error) {
	return c.of(site, path).removeVersions(ctx, site, path, versions, erase)
}

// Removals returns removals that are not finished, up to limit of each server, those of one path one after the other.
func (c *Catalog) Removals(ctx context.Context, limit int) ([]Removal, error) {
	return all(c, func(s *server) ([]Removal, error) { return s.removals(ctx, limit) })
}

// FinishRemoval ends removals, of one path and at most purge.MaxErased, and has the log tell caches of them; contents are what these destroy. It returns the id of the
// entry, "" if others have ended all of them.
func (c *Catalog) FinishRemoval(ctx context.Context, rs []Removal, contents []purge.Content) (entry string, err error) {
	p := &rs[0].Pointer
	return c.of(p.Site, p.Path).finishRemoval(ctx, rs, contents)
}

// AgedPaths returns paths of a site that have more than one version, in the order of their bytes, those after the given one: up to limit.
func (c *Catalog) AgedPaths(ctx context.Context, site object.Site, after object.Path, limit int) ([]object.Path, error) {
	ps, err := all(c, func(s *server) ([]object.Path, error) { return s.agedPaths(ctx, site, after, limit) })
	slices.Sort(ps)
	return ps[:min(len(ps), page(limit))], err
}

// removeVersions is Catalog.RemoveVersions of this server.
func (s *server) removeVersions(ctx context.Context, site object.Site, path object.Path, versions []object.Version, erase bool) ([]Removal, error) {
	var out []Removal
	now := s.cfg.Clock.Now().UnixMicro()
	err := s.change(ctx, fmt.Sprintf("remove versions of %s of site %s", path, site), func(tx *sql.Tx) error {
		out = nil
		for _, v := range versions {
			p, err := scanPointer(tx.QueryRowContext(ctx,
				`DELETE FROM versions WHERE site = $1 AND path = $2 AND version = $3
				AND NOT EXISTS (SELECT 1 FROM files WHERE files.site = $1 AND files.path = $2 AND files.version = $3)
				RETURNING pointer`, site, path, v))
			if errors.Is(err, sql.ErrNoRows) {
				continue
			}
			if err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, `INSERT INTO removals (site, path, version, pointer, erase, since) VALUES ($1, $2, $3, $4, $5, $6)`,
				site, path, v, string(object.MarshalPointer(&p)), btoi(erase), now); err != nil {
				return err
			}
			out = append(out, Removal{p, erase})
		}
		return nil
	})
	return out, err
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// removals is Catalog.Removals of this server.
func (s *server) removals(ctx context.Context, limit int) ([]Removal, error) {
	rs, err := collect(ctx, s.read, func(sc scanner) (Removal, error) {
		var text string
		var erase int
		if err := sc.Scan(&text, &erase); err != nil {
			return Removal{}, err
		}
		p, err := object.UnmarshalPointer([]byte(text))
		if err != nil {
			return Removal{}, err
		}
		return Removal{*p, erase != 0}, nil
	}, `SELECT pointer, erase FROM removals ORDER BY since, site, path, version LIMIT $1`, page(limit))
	if err != nil {
		return nil, fmt.Errorf("list removals: %w", err)
	}
	return rs, nil
}

// finishRemoval is Catalog.FinishRemoval of this server.
func (s *server) finishRemoval(ctx context.Context, rs []Removal, contents []purge.Content) (entry string, err error) {
	p := rs[0].Pointer
	err = s.change(ctx, fmt.Sprintf("end the removal of versions of %s of site %s", p.Path, p.Site), func(tx *sql.Tx) error {
		en := purge.Entry{Kind: purge.KindErase, Site: p.Site, Path: p.Path, Contents: contents}
		for _, r := range rs {
			err := tx.QueryRowContext(ctx, `DELETE FROM removals WHERE site = $1 AND path = $2 AND version = $3 RETURNING version`,
				p.Site, p.Path, r.Pointer.Version).Scan(new(object.Version))
			switch {
			case errors.Is(err, sql.ErrNoRows):
			case err != nil:
				return err
			default:
				en.Versions = append(en.Versions, r.Pointer.Version)
			}
		}
		if len(en.Versions) == 0 {
			return nil
		}
		entry, err = s.enqueue(ctx, tx, en)
		return err
	})
	if err == nil {
		s.wake()
	}
	return entry, err
}

// agedPaths is Catalog.AgedPaths of this server.
func (s *server) agedPaths(ctx context.Context, site object.Site, after object.Path, limit int) ([]object.Path, error) {
	ps, err := collect(ctx, s.read, func(sc scanner) (p object.Path, err error) {
		err = sc.Scan(&p)
		return p, err
	}, `SELECT path FROM versions WHERE site = $1 AND path > $2 GROUP BY path HAVING COUNT(*) > 1 ORDER BY path LIMIT $3`, site, after, page(limit))
	if err != nil {
		return nil, fmt.Errorf("list paths of site %s that have old versions: %w", site, err)
	}
	return ps, nil
}
