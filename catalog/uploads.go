package catalog

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
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
	// Direct uploads are resumable ones whose bytes clients send to the bucket themselves.
	Direct UploadKind = "direct"
)

// UploadState says how far an upload is.
type UploadState string

// The states of an upload.
const (
	UploadOpen      UploadState = "open"
	UploadDone      UploadState = "done"      // Commit has recorded it as Version
	UploadAbandoned UploadState = "abandoned" // its bytes are to be deleted
	UploadGone      UploadState = "gone"      // given up or expired: its bytes are deleted
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
	// Concat is the Upload-Concat of a resumable upload, as it was sent. One that is "partial" has no site and no path.
	Concat string
	// Expires is when an upload may be deleted; zero in a streamed one.
	Expires time.Time
	// Owner is the id of the API key that began it; OpenUpload takes it from the context.
	Owner string
}

// openUpload is Catalog.OpenUpload of this server.
func (s *server) openUpload(ctx context.Context, u Upload) (Lease, error) {
	u.State, u.Version, u.Owner = UploadOpen, "", ActorOf(ctx).Key
	l := Lease{Upload: u}
	var expires, leased int64
	if !u.Expires.IsZero() {
		expires = u.Expires.UnixMicro()
	}
	if u.Kind != Streamed {
		l.Fence, l.Until = 1, s.leaseEnd(s.cfg.Clock.Now())
		leased = micros(l.Until)
	}
	return l, s.changeInAgain(ctx, "note upload "+string(u.ID), []unit{unitOfUpload(u.ID)}, func(tx *sql.Tx, again bool) error {
		fresh, err := affected(tx.ExecContext(ctx,
			`INSERT INTO uploads (slot, id, kind, state, site, path, version, metadata, concat, holder, expires, fence, torn, lessee, leased, wanted, owner)
			VALUES ($1, $2, $3, 'open', $4, $5, '', $6, $7, $8, $9, $10, 0, $8, $11, 0, $12) ON CONFLICT (slot, id) DO NOTHING`,
			u.ID.Slot(), u.ID, u.Kind, u.Site, u.Path, u.Metadata, u.Concat, s.holder, expires, l.Fence, leased, u.Owner))
		if err == nil && !fresh && !again {
			err = fmt.Errorf("its id is taken: %w", fs.ErrExist)
		}
		return err
	})
}

// extendUpload is Catalog.ExtendUpload of this server.
func (s *server) extendUpload(ctx context.Context, id object.UploadID, expires time.Time) error {
	return s.updateUpload(ctx, "extend", id, `UPDATE uploads SET expires = $3 WHERE slot = $1 AND id = $2`, expires.UnixMicro())
}

// abandonUpload is Catalog.AbandonUpload of this server.
func (s *server) abandonUpload(ctx context.Context, id object.UploadID) error {
	return s.updateUpload(ctx, "abandon", id, `UPDATE uploads SET state = $3 WHERE slot = $1 AND id = $2 AND kind = 'streamed'`, UploadAbandoned)
}

// forgetUpload is Catalog.ForgetUpload of this server.
func (s *server) forgetUpload(ctx context.Context, id object.UploadID) error {
	return s.updateUpload(ctx, "forget", id, `DELETE FROM uploads WHERE slot = $1 AND id = $2`)
}

func (s *server) updateUpload(ctx context.Context, verb string, id object.UploadID, query string, args ...any) error {
	return s.changeInAgain(ctx, verb+" upload "+string(id), []unit{unitOfUpload(id)}, func(tx *sql.Tx, _ bool) error {
		_, err := tx.ExecContext(ctx, query, append([]any{id.Slot(), id}, args...)...)
		return err
	})
}

// finishUpload is the part of a commit that concerns the upload the blob came from.
func finishUpload(ctx context.Context, tx *sql.Tx, r Reservation) error {
	if r.Upload == "" {
		return nil
	}
	state := UploadAbandoned // if it is streamed: the site had the same bytes already, its own are to go
	if r.Pointer.Blob == object.UploadKey(r.Upload) {
		state = UploadDone
		if _, err := tx.ExecContext(ctx, `DELETE FROM uploads WHERE slot = $1 AND id = $2 AND kind = $3`, r.Upload.Slot(), r.Upload, Streamed); err != nil {
			return err
		}
	}
	_, err := tx.ExecContext(ctx, `UPDATE uploads SET state = CASE WHEN kind = 'streamed' THEN $3 ELSE $4 END, version = $5, leased = 0 WHERE slot = $1 AND id = $2`,
		r.Upload.Slot(), r.Upload, state, UploadDone, r.Pointer.Version)
	return err
}

const uploadColumns = `SELECT id, kind, state, site, path, version, metadata, concat, expires, owner FROM uploads`

const uploadQuery = `SELECT slots.state, uploads.slot, uploads.id, uploads.kind, uploads.state, uploads.site, uploads.path, uploads.version,
	uploads.metadata, uploads.concat, uploads.expires, uploads.owner FROM slots LEFT JOIN uploads ON uploads.slot = slots.slot AND uploads.id = $2 WHERE slots.slot = $1`

// upload is Catalog.Upload of this server.
func (s *server) upload(ctx context.Context, id object.UploadID) (Upload, slotState, error) {
	u, state, err := rowIn(ctx, s, fromPrimary, scanUpload, uploadQuery, id.Slot(), id)
	if err != nil {
		return Upload{}, state, fmt.Errorf("upload %s: %w", id, err)
	}
	return u, state, nil
}

// listUploads is Catalog.Uploads of this server.
func (s *server) listUploads(ctx context.Context, after object.UploadID, limit int) (us []Upload, has *possession, err error) {
	has, err = s.view(ctx, s.read, func(q querier, _ *possession) (err error) {
		us, err = collect(ctx, q, scanUpload, uploadColumns+` WHERE kind <> 'streamed' AND id > $1 ORDER BY id LIMIT $2`, after, limit)
		return err
	})
	return us, has, err
}

// unreserved ends the queries for stale uploads; rows that a move has left here, or not yet brought here, are none of this server's.
const (
	unreserved = ` AND NOT EXISTS (SELECT 1 FROM reservations WHERE reservations.upload = uploads.id) AND EXISTS (SELECT 1 FROM slots
		WHERE slots.slot = uploads.slot AND slots.state IN ('owned', 'leaving')) LIMIT $2`
	streamedQuery = uploadColumns + ` WHERE kind = 'streamed' AND (state = 'abandoned' OR holder <> $1
		AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.id = uploads.holder AND runs.expires > $3))` + unreserved
	resumableQuery = uploadColumns + ` WHERE expires <= $1 AND kind <> 'streamed'` + unreserved
)

// staleUploads is Catalog.StaleUploads of this server.
func (s *server) staleUploads(ctx context.Context, limit int) ([]Upload, error) {
	streamed, err := fromPrimary(ctx, s, func(ctx context.Context, db database) ([]Upload, error) {
		return collect(ctx, db, scanUpload, streamedQuery, s.holder, limit, s.horizon())
	})
	if err != nil {
		return nil, err
	}
	resumable, err := fromPrimary(ctx, s, func(ctx context.Context, db database) ([]Upload, error) {
		return collect(ctx, db, scanUpload, resumableQuery, s.now().UnixMicro(), limit)
	})
	return append(streamed, resumable...), err
}

func scanUpload(s scanner) (Upload, error) {
	var u Upload
	var expires int64
	if err := s.Scan(&u.ID, &u.Kind, &u.State, &u.Site, &u.Path, &u.Version, &u.Metadata, &u.Concat, &expires, &u.Owner); err != nil {
		return Upload{}, err
	}
	u.Expires = fromMicros(expires)
	return u, nil
}

const referencedQuery = `SELECT COUNT(*) FROM (SELECT 1 FROM versions WHERE blob = $1 AND blob <> '' LIMIT 1) AS one`

// referenced is Catalog.Referenced of this server.
func (s *server) referenced(ctx context.Context, blob object.Key) (bool, error) {
	n, err := fromPrimary(ctx, s, func(ctx context.Context, db database) (n int, err error) {
		err = db.QueryRowContext(ctx, referencedQuery, blob).Scan(&n)
		return n, err
	})
	if err != nil {
		return false, fmt.Errorf("look for references to %s: %w", blob, err)
	}
	return n > 0, nil
}
