package catalog

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"unicode/utf8"

	"perigee/object"
)

// File is the current state of a path.
type File struct {
	Pointer object.Pointer
	// ETag is what the bucket gave for the p/ object that holds Pointer: the condition of the next write.
	ETag string
}

// file is Catalog.File of this server.
func (s *server) file(ctx context.Context, site object.Site, path object.Path) (File, slotState, error) {
	f, state, err := rowIn(ctx, s, look, scanFile, fileQuery, object.SlotOf(site, path), site, path)
	if err != nil {
		return File{}, state, fmt.Errorf("file %s of site %s: %w", path, site, err)
	}
	return f, state, nil
}

// What is asked for by its slot is read together with the state of the slot; see ownedRows.
const (
	fileQuery = `SELECT slots.state, files.slot, files.pointer, files.etag FROM slots
		LEFT JOIN files ON files.slot = slots.slot AND files.site = $2 AND files.path = $3 WHERE slots.slot = $1`
	versionsQuery = `SELECT slots.state, v.slot, v.pointer FROM slots LEFT JOIN (SELECT slot, pointer FROM versions
		WHERE slot = $1 AND site = $2 AND path = $3 AND version < $4 ORDER BY version DESC LIMIT $5) AS v ON v.slot = slots.slot
		WHERE slots.slot = $1`
	versionQuery = `SELECT slots.state, versions.slot, versions.pointer FROM slots
		LEFT JOIN versions ON versions.slot = slots.slot AND versions.site = $2 AND versions.path = $3 AND versions.version = $4
		WHERE slots.slot = $1`
)

// fileRow returns nil and fs.ErrNotExist for a path that was never published.
func fileRow(ctx context.Context, q querier, site object.Site, path object.Path) (*File, error) {
	f, err := scanFile(q.QueryRowContext(ctx, `SELECT pointer, etag FROM files WHERE slot = $1 AND site = $2 AND path = $3`,
		object.SlotOf(site, path), site, path))
	if err != nil {
		return nil, missing(err)
	}
	return &f, nil
}

func scanFile(s scanner) (File, error) {
	var pointer, etag string
	if err := s.Scan(&pointer, &etag); err != nil {
		return File{}, err
	}
	p, err := object.UnmarshalPointer([]byte(pointer))
	if err != nil {
		return File{}, err
	}
	return File{Pointer: *p, ETag: etag}, nil
}

// listQuery is that of a listing: $1 site, $2 the path it goes on after, $3 the prefix, $4 the limit; with ended, $5 is the end of the prefix.
//
// SQLite is told the index: it would rather read the table, which is in the order of paths as well, and with it every tombstone.
func (s *server) listQuery(ended bool) string {
	index, end := "", ""
	if s.lease == nil {
		index = " INDEXED BY files_live"
	}
	if ended {
		end = " AND path < $5"
	}
	return `SELECT pointer, etag FROM files` + index + ` WHERE site = $1 AND state = 'live' AND path > $2 AND path >= $3` + end + ` ORDER BY path LIMIT $4`
}

// listFiles is Catalog.ListFiles of what this server has.
func (s *server) listFiles(ctx context.Context, site object.Site, prefix string, after object.Path, limit int) ([]File, *possession, error) {
	from := after
	return owned(ctx, s, limit, slotOfFile, func(ctx context.Context, q querier, last []File) ([]File, error) {
		after := from
		if len(last) > 0 {
			after = last[len(last)-1].Pointer.Path
		}
		if end := prefixEnd(prefix); end != "" {
			return collect(ctx, q, scanFile, s.listQuery(true), site, after, prefix, limit, end)
		}
		return collect(ctx, q, scanFile, s.listQuery(false), site, after, prefix, limit)
	})
}

func slotOfFile(f File) object.Slot { return object.SlotOf(f.Pointer.Site, f.Pointer.Path) }

// prefixEnd returns the least string that is greater than every string that starts with prefix and is itself valid
// UTF-8, which PostgreSQL insists on; "" if there is none.
func prefixEnd(prefix string) string {
	for prefix != "" {
		r, n := utf8.DecodeLastRuneInString(prefix)
		prefix = prefix[:len(prefix)-n]
		switch {
		case r == utf8.MaxRune:
			continue
		case r == 0xD7FF: // the surrogates that follow are no characters
			return prefix + "\uE000"
		}
		return prefix + string(r+1)
	}
	return ""
}

const recentQuery = `SELECT pointer, etag FROM files WHERE state = 'live' ORDER BY version DESC LIMIT $1 OFFSET $2`

// recent is Catalog.Recent of what this server has.
func (s *server) recent(ctx context.Context, limit int) ([]File, *possession, error) {
	seen := 0
	return owned(ctx, s, limit, slotOfFile, func(ctx context.Context, q querier, last []File) ([]File, error) {
		if seen += len(last); last == nil {
			seen = 0 // it begins, perhaps again at another server
		}
		return collect(ctx, q, scanFile, recentQuery, limit, seen)
	})
}

// versions is Catalog.Versions of this server.
func (s *server) versions(ctx context.Context, site object.Site, path object.Path, before object.Version, limit int) ([]object.Pointer, slotState, error) {
	if before == "" {
		before = "~" // greater than every version
	}
	ps, state, err := rowsIn(ctx, s, look, scanPointer, versionsQuery, object.SlotOf(site, path), site, path, before, page(limit))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, state, fmt.Errorf("versions of %s of site %s: %w", path, site, err)
	}
	// The join need not keep the order in which they were found.
	slices.SortFunc(ps, func(a, b object.Pointer) int { return cmp.Compare(b.Version, a.Version) })
	return ps, state, nil
}

// version is Catalog.Version of this server.
func (s *server) version(ctx context.Context, site object.Site, path object.Path, v object.Version) (object.Pointer, slotState, error) {
	p, state, err := rowIn(ctx, s, look, scanPointer, versionQuery, object.SlotOf(site, path), site, path, v)
	if err != nil {
		return object.Pointer{}, state, fmt.Errorf("version %s of %s of site %s: %w", v, path, site, err)
	}
	return p, state, nil
}

func scanPointer(s scanner) (object.Pointer, error) {
	var text string
	if err := s.Scan(&text); err != nil {
		return object.Pointer{}, err
	}
	p, err := object.UnmarshalPointer([]byte(text))
	if err != nil {
		return object.Pointer{}, err
	}
	return *p, nil
}

// put makes p the current state of its path, unless that is newer, and records the version; entry is the id of p's log entry.
func put(ctx context.Context, tx *sql.Tx, p *object.Pointer, etag, entry string) error {
	text, slot := string(object.MarshalPointer(p)), object.SlotOf(p.Site, p.Path)
	_, err := tx.ExecContext(ctx,
		`INSERT INTO files (slot, site, path, version, state, etag, pointer) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (slot, site, path) DO UPDATE SET version = excluded.version, state = excluded.state,
		etag = excluded.etag, pointer = excluded.pointer WHERE files.version < excluded.version`,
		slot, p.Site, p.Path, p.Version, p.State, etag, text)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx,
		`INSERT INTO versions (slot, site, path, version, blob, size, pointer, entry) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (slot, site, path, version) DO NOTHING`,
		slot, p.Site, p.Path, p.Version, p.Blob, p.Size, text, entry)
	return err
}
