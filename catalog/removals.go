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
func (c *Catalog) RemoveVersions(ctx context.Context, site object.Site, path object.Path, versions []object.Version, erase bool) (rs []Removal, err error) {
	err = c.write(ctx, object.SlotOf(site, path), moveWait, func(s *server) (err error) {
		rs, err = s.removeVersions(ctx, site, path, versions, erase)
		return err
	})
	return rs, err
}

// Removals returns up to limit removals that are not finished, the oldest first of each server. An error comes with those of the servers that answered.
func (c *Catalog) Removals(ctx context.Context, limit int) ([]Removal, error) {
	return gather(ctx, c, page(limit), func(s *server) ([]Removal, error) { return s.removals(ctx, limit) })
}

// FinishRemoval ends removals, of one path and at most purge.MaxErased, and has the log tell caches of them; contents are what these destroy. It returns the id of the
// entry, "" if others have ended all of them.
func (c *Catalog) FinishRemoval(ctx context.Context, rs []Removal, contents []purge.Content) (entry string, err error) {
	p := &rs[0].Pointer
	err = c.write(ctx, object.SlotOf(p.Site, p.Path), moveWait, func(s *server) (err error) {
		entry, err = s.finishRemoval(ctx, rs, contents)
		return err
	})
	return entry, err
}

// AgedPaths returns up to limit paths of a site, of those that are in one slot, that have more than one version: in the order of their bytes, those after the given one.
func (c *Catalog) AgedPaths(ctx context.Context, site object.Site, slot object.Slot, after object.Path, limit int) ([]object.Path, error) {
	return read(ctx, c, slot, func(s *server) ([]object.Path, slotState, error) { return s.agedPaths(ctx, site, slot, after, limit) })
}

// removeVersions is Catalog.RemoveVersions of this server.
func (s *server) removeVersions(ctx context.Context, site object.Site, path object.Path, versions []object.Version, erase bool) ([]Removal, error) {
	var out []Removal
	now := s.now().UnixMicro()
	slot := object.SlotOf(site, path)
	err := s.changeIn(ctx, fmt.Sprintf("remove versions of %s of site %s", path, site), []unit{unitOfPath(site, path)}, func(tx *sql.Tx) error {
		out = nil
		for _, v := range versions {
			p, err := scanPointer(tx.QueryRowContext(ctx,
				`DELETE FROM versions WHERE slot = $1 AND site = $2 AND path = $3 AND version = $4
				AND NOT EXISTS (SELECT 1 FROM files WHERE files.slot = $1 AND files.site = $2 AND files.path = $3 AND files.version = $4)
				RETURNING pointer`, slot, site, path, v))
			if errors.Is(err, sql.ErrNoRows) {
				continue
			}
			if err != nil {
				return err
			}
			if err := freeVersion(ctx, tx, &p); err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, `INSERT INTO removals (slot, site, path, version, pointer, erase, since) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
				slot, site, path, v, string(object.MarshalPointer(&p)), btoi(erase), now); err != nil {
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

const removalsQuery = `SELECT pointer, erase FROM removals ORDER BY since LIMIT $1`

// removals is Catalog.Removals of this server.
func (s *server) removals(ctx context.Context, limit int) ([]Removal, error) {
	rs, err := collect(ctx, s.newest(), func(sc scanner) (Removal, error) {
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
	}, removalsQuery, page(limit))
	if err != nil {
		return nil, fmt.Errorf("list removals: %w", err)
	}
	return rs, nil
}

// finishRemoval is Catalog.FinishRemoval of this server.
func (s *server) finishRemoval(ctx context.Context, rs []Removal, contents []purge.Content) (entry string, err error) {
	p := rs[0].Pointer
	err = s.changeIn(ctx, fmt.Sprintf("end the removal of versions of %s of site %s", p.Path, p.Site), []unit{unitOfPath(p.Site, p.Path)}, func(tx *sql.Tx) error {
		en := purge.Entry{Kind: purge.KindErase, Site: p.Site, Path: p.Path, Contents: contents}
		for _, r := range rs {
			err := tx.QueryRowContext(ctx, `DELETE FROM removals WHERE slot = $1 AND site = $2 AND path = $3 AND version = $4 RETURNING version`,
				object.SlotOf(p.Site, p.Path), p.Site, p.Path, r.Pointer.Version).Scan(new(object.Version))
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
		entry, err = s.enqueue(ctx, tx, int(object.SlotOf(p.Site, p.Path)), en)
		return err
	})
	if err == nil {
		s.wake()
	}
	return entry, err
}

// agedPaths is Catalog.AgedPaths of this server.
func (s *server) agedPaths(ctx context.Context, site object.Site, slot object.Slot, after object.Path, limit int) ([]object.Path, slotState, error) {
	ps, state, err := ownedRows(ctx, s.read, func(sc scanner) (p object.Path, err error) {
		err = sc.Scan(&p)
		return p, err
	}, agedQuery, slot, site, after, page(limit))
	if err != nil {
		err = fmt.Errorf("list paths of site %s that have old versions: %w", site, err)
	}
	slices.Sort(ps)
	return ps, state, err
}

const agedQuery = `SELECT slots.state, aged.slot, aged.path FROM slots LEFT JOIN
	(SELECT slot, path FROM versions WHERE slot = $1 AND site = $2 AND path > $3 GROUP BY slot, path HAVING COUNT(*) > 1 ORDER BY slot, path LIMIT $4) AS aged
	ON aged.slot = slots.slot WHERE slots.slot = $1`
