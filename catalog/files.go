package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
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
func (s *server) file(ctx context.Context, site object.Site, path object.Path) (File, error) {
	f, err := fileRow(ctx, s.read, site, path)
	if err != nil {
		return File{}, fmt.Errorf("file %s of site %s: %w", path, site, err)
	}
	return *f, nil
}

// check is Catalog.Check of this server.
func (s *server) check(ctx context.Context, site object.Site, path object.Path, cond Condition) error {
	f, err := fileRow(ctx, s.read, site, path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("check file %s of site %s: %w", path, site, err)
	}
	if err := cond.check(f); err != nil {
		return fmt.Errorf("file %s of site %s: %w", path, site, err)
	}
	return nil
}

// fileRow returns nil and fs.ErrNotExist for a path that was never published.
func fileRow(ctx context.Context, q querier, site object.Site, path object.Path) (*File, error) {
	f, err := scanFile(q.QueryRowContext(ctx, `SELECT pointer, etag FROM files WHERE site = $1 AND path = $2`, site, path))
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

// listFiles is Catalog.ListFiles of this server.
func (s *server) listFiles(ctx context.Context, site object.Site, prefix string, after object.Path, limit int) ([]File, error) {
	query := `SELECT pointer, etag FROM files WHERE site = $1 AND state = 'live' AND path > $2 AND path >= $3`
	args := []any{site, after, prefix, page(limit)}
	if end := prefixEnd(prefix); end != "" {
		query += ` AND path < $5`
		args = append(args, end)
	}
	files, err := collect(ctx, s.read, scanFile, query+` ORDER BY path LIMIT $4`, args...)
	if err != nil {
		return nil, fmt.Errorf("list files of site %s: %w", site, err)
	}
	return files, nil
}

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

// recent is Catalog.Recent of this server.
func (s *server) recent(ctx context.Context, limit int) ([]File, error) {
	files, err := collect(ctx, s.read, scanFile,
		`SELECT pointer, etag FROM files WHERE state = 'live' ORDER BY version DESC LIMIT $1`, page(limit))
	if err != nil {
		return nil, fmt.Errorf("list recent files: %w", err)
	}
	return files, nil
}

// versions is Catalog.Versions of this server.
func (s *server) versions(ctx context.Context, site object.Site, path object.Path, before object.Version, limit int) ([]object.Pointer, error) {
	if before == "" {
		before = "~" // greater than every version
	}
	ps, err := collect(ctx, s.read, scanPointer,
		`SELECT pointer FROM versions WHERE site = $1 AND path = $2 AND version < $3 ORDER BY version DESC LIMIT $4`,
		site, path, before, page(limit))
	if err != nil {
		return nil, fmt.Errorf("versions of %s of site %s: %w", path, site, err)
	}
	return ps, nil
}

// version is Catalog.Version of this server.
func (s *server) version(ctx context.Context, site object.Site, path object.Path, v object.Version) (object.Pointer, error) {
	p, err := scanPointer(s.read.QueryRowContext(ctx,
		`SELECT pointer FROM versions WHERE site = $1 AND path = $2 AND version = $3`, site, path, v))
	if err != nil {
		return object.Pointer{}, fmt.Errorf("version %s of %s of site %s: %w", v, path, site, missing(err))
	}
	return p, nil
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

// put makes p the current state of its path and records the version; entry is the id of p's log entry.
func put(ctx context.Context, tx *sql.Tx, p *object.Pointer, etag, entry string) error {
	text := string(object.MarshalPointer(p))
	_, err := tx.ExecContext(ctx,
		`INSERT INTO files (site, path, version, state, etag, pointer) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (site, path) DO UPDATE SET version = excluded.version, state = excluded.state,
		etag = excluded.etag, pointer = excluded.pointer`,
		p.Site, p.Path, p.Version, p.State, etag, text)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx,
		`INSERT INTO versions (site, path, version, blob, size, pointer, entry) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (site, path, version) DO NOTHING`,
		p.Site, p.Path, p.Version, p.Blob, p.Size, text, entry)
	return err
}
