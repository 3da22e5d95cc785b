package catalog

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"perigee/object"
)

// UploadKind says how an upload is kept.
type UploadKind string

// The kinds of uploads.
const (
	// Streamed uploads live as long as one request: their row ends with it or with the sweeper.
	Streamed UploadKind = "streamed"
	// Resumable uploads live until they expire, through restarts. Once done, their row still tells a client that missed
	// the answer what became of them.
	Resumable UploadKind = "resumable"
)

// UploadState says how far an upload is.
type UploadState string

// The states of an upload.
const (
	UploadOpen      UploadState = "open"
	UploadDone      UploadState = "done"      // Commit has recorded it as Version
	UploadAbandoned UploadState = "abandoned" // its bytes are to be deleted
)

// Upload notes that something of an upload is, or may be, in the bucket.
type Upload struct {
	ID    object.UploadID
	Kind  UploadKind
	State UploadState
	Site  object.Site
	Path  object.Path
	// Version is what the upload was published as; set when State is UploadDone.
	Version object.Version
	// Metadata is the Upload-Metadata of a resumable upload, as it was sent.
	Metadata string
	// Expires is when a resumable upload may be deleted; zero in a streamed one.
	Expires time.Time
}

// OpenUpload notes an upload before its first byte is stored. State and Version of u are not looked at.
func (c *Catalog) OpenUpload(ctx context.Context, u Upload) error {
	var expires int64
	if !u.Expires.IsZero() {
		expires = u.Expires.UnixMicro()
	}
	return c.change(ctx, "note upload "+string(u.ID), func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx,
			`INSERT INTO uploads (id, kind, state, site, path, version, metadata, holder, expires)
			VALUES ($1, $2, 'open', $3, $4, '', $5, $6, $7)`,
			u.ID, u.Kind, u.Site, u.Path, u.Metadata, c.holder, expires)
		return err
	})
}

// ExtendUpload moves the end of a resumable upload.
func (c *Catalog) ExtendUpload(ctx context.Context, id object.UploadID, expires time.Time) error {
	return c.updateUpload(ctx, "extend", id, `UPDATE uploads SET expires = $2 WHERE id = $1`, expires.UnixMicro())
}

// AbandonUpload says that nobody will finish a streamed upload: the sweeper deletes its bytes. It leaves resumable ones alone.
func (c *Catalog) AbandonUpload(ctx context.Context, id object.UploadID) error {
	return c.updateUpload(ctx, "abandon", id, `UPDATE uploads SET state = $2 WHERE id = $1 AND kind = 'streamed'`, UploadAbandoned)
}

// ForgetUpload removes the note, after the bytes are gone.
func (c *Catalog) ForgetUpload(ctx context.Context, id object.UploadID) error {
	return c.updateUpload(ctx, "forget", id, `DELETE FROM uploads WHERE id = $1`)
}

func (c *Catalog) updateUpload(ctx context.Context, verb string, id object.UploadID, query string, args ...any) error {
	return c.change(ctx, verb+" upload "+string(id), func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, query, append([]any{id}, args...)...)
		return err
	})
}

// finishUpload is the part of a commit that concerns the upload the blob came from.
func finishUpload(ctx context.Context, tx *sql.Tx, r Reservation) error {
	if r.Upload == "" {
		return nil
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM uploads WHERE id = $1 AND kind = $2`, r.Upload, Streamed); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `UPDATE uploads SET state = $2, version = $3 WHERE id = $1`, r.Upload, UploadDone, r.Pointer.Version)
	return err
}

const uploadColumns = `SELECT id, kind, state, site, path, version, metadata, expires FROM uploads`

// Upload returns the note of an upload; fs.ErrNotExist if there is none.
func (c *Catalog) Upload(ctx context.Context, id object.UploadID) (Upload, error) {
	u, err := scanUpload(c.read.QueryRowContext(ctx, uploadColumns+` WHERE id = $1`, id))
	if err != nil {
		return Upload{}, fmt.Errorf("upload %s: %w", id, missing(err))
	}
	return u, nil
}

// Uploads returns up to limit (at most 1,000) uploads that are not streamed, in the order of their IDs, those after the given one.
func (c *Catalog) Uploads(ctx context.Context, after object.UploadID, limit int) ([]Upload, error) {
	us, err := collect(ctx, c.read, scanUpload, uploadColumns+` WHERE kind <> 'streamed' AND id > $1 ORDER BY id LIMIT $2`, after, page(limit))
	if err != nil {
		return nil, fmt.Errorf("list uploads: %w", err)
	}
	return us, nil
}

const unreserved = ` AND NOT EXISTS (SELECT 1 FROM reservations WHERE reservations.upload = uploads.id) LIMIT $2`

// StaleUploads returns up to limit uploads whose bytes, or whose note, are to be removed: streamed ones that were
// abandoned or whose process is gone, and resumable ones that have expired. Uploads that a reservation still stands
// for are left out: settle those first.
func (c *Catalog) StaleUploads(ctx context.Context, limit int) ([]Upload, error) {
	streamed, err := collect(ctx, c.read, scanUpload,
		uploadColumns+` WHERE kind = 'streamed' AND (holder <> $1 OR state = 'abandoned')`+unreserved, c.holder, page(limit))
	if err != nil {
		return nil, fmt.Errorf("list stale uploads: %w", err)
	}
	resumable, err := collect(ctx, c.read, scanUpload,
		uploadColumns+` WHERE expires <= $1 AND kind = 'resumable'`+unreserved, c.cfg.Clock.Now().UnixMicro(), page(limit))
	if err != nil {
		return nil, fmt.Errorf("list stale uploads: %w", err)
	}
	return append(streamed, resumable...), nil
}

func scanUpload(s scanner) (Upload, error) {
	var u Upload
	var expires int64
	if err := s.Scan(&u.ID, &u.Kind, &u.State, &u.Site, &u.Path, &u.Version, &u.Metadata, &expires); err != nil {
		return Upload{}, err
	}
	u.Expires = fromMicros(expires)
	return u, nil
}

// Referenced reports whether any version of any file has its bytes under blob.
func (c *Catalog) Referenced(ctx context.Context, blob object.Key) (bool, error) {
	var n int
	err := c.read.QueryRowContext(ctx, `SELECT COUNT(*) FROM (SELECT 1 FROM versions WHERE blob = $1 AND blob <> '' LIMIT 1) AS one`, blob).Scan(&n)
	if err != nil {
		return false, fmt.Errorf("look for references to %s: %w", blob, err)
	}
	return n > 0, nil
}
