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

// A Lease is the right of one process to work on a resumable upload, for a while. Several processes may share a catalogue, and a
// client that lost its connection may come back at another one while the first still thinks that it is served.
//
//	LeaseUpload    the upload is free, or its lease has ended: the caller has it. Else the holder is asked to let go, and the
//	               caller comes again
//	RenewUpload    every now and then while the work goes on; it tells when somebody else asks
//	ReleaseUpload  the work is over and nothing of it is on its way any more
//
// A lease keeps two processes from working at a time as long as their clocks agree to within its length. It does not have to be
// believed: each lease has a higher Fence than the one before, what the holder writes to the bucket carries it or depends on what it
// read, and Reserve refuses a publication under an old one.
type Lease struct {
	// Upload is the note as it was when the lease began.
	Upload Upload
	// Fence is higher than that of every earlier lease of the upload.
	Fence int64
	// Until is when others may take the upload, unless it is renewed; zero where no other process can have the catalogue open.
	Until time.Time
	// Torn says that the lease before ended without a release: something of it may still be on its way to the bucket.
	Torn bool
}

// What becomes of leases besides fs.ErrNotExist.
var (
	// ErrLeased says that another process works on an upload. It has been asked to let go.
	ErrLeased = errors.New("another process works on the upload")
	// ErrTaken says that a lease is over: another process has the upload, or it is gone.
	ErrTaken = errors.New("another process has taken over the upload")
	// ErrDone says that an upload was published already.
	ErrDone = errors.New("the upload is published already")
)

// leaseTime is how long a lease lasts unless it is renewed.
const leaseTime = 15 * time.Second

// leaseUpload is Catalog.LeaseUpload of this server.
func (s *server) leaseUpload(ctx context.Context, id object.UploadID) (Lease, error) {
	now := s.cfg.Clock.Now()
	l := Lease{Until: s.leaseEnd(now)}
	what := "lease upload " + string(id)
	err := s.changeInAgain(ctx, what, []unit{unitOfUpload(id)}, func(tx *sql.Tx, _ bool) error {
		l.Upload, l.Fence, l.Torn = Upload{}, 0, false
		row := tx.QueryRowContext(ctx,
			`UPDATE uploads SET fence = fence + 1, torn = CASE WHEN leased = 0 THEN 0 ELSE 1 END, lessee = $3, leased = $4, wanted = 0
			WHERE slot = $1 AND id = $2 AND kind <> 'streamed' AND (leased <= $5 OR lessee = $3)
			RETURNING fence, torn`, id.Slot(), id, s.holder, micros(l.Until), s.leasesBefore(now))
		err := row.Scan(&l.Fence, &l.Torn)
		if errors.Is(err, sql.ErrNoRows) {
			return s.ask(ctx, tx, id)
		}
		if err == nil {
			l.Upload, err = scanUpload(tx.QueryRowContext(ctx, uploadColumns+` WHERE slot = $1 AND id = $2`, id.Slot(), id))
		}
		return err
	})
	if err == nil && l.Fence == 0 {
		err = fmt.Errorf("%s: %w", what, ErrLeased)
	}
	if err != nil {
		return Lease{}, err
	}
	return l, nil
}

// alone reports whether no other process can have the catalogue open.
func (s *server) alone() bool { return s.lock != nil }

// ask lets the holder of a lease know that somebody waits; fs.ErrNotExist if there is no such upload.
func (s *server) ask(ctx context.Context, tx *sql.Tx, id object.UploadID) error {
	res, err := tx.ExecContext(ctx, `UPDATE uploads SET wanted = 1 WHERE slot = $1 AND id = $2 AND kind <> 'streamed'`, id.Slot(), id)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n > 0 {
		return err
	}
	return fs.ErrNotExist
}

// leaseEnd is until when a lease holds that begins or is renewed now. Where no other process can come it does not end.
func (s *server) leaseEnd(now time.Time) time.Time {
	if s.alone() {
		return time.Time{}
	}
	return now.Add(leaseTime)
}

// unending stands in the column leased for a lease that only its process's end ends.
const unending = 1

// leasesBefore is the latest end of leases of other processes that are over: all of them where those processes must be dead.
func (s *server) leasesBefore(now time.Time) int64 {
	if s.alone() {
		return 1<<63 - 1
	}
	return now.UnixMicro()
}

func micros(until time.Time) int64 {
	if until.IsZero() {
		return unending
	}
	return until.UnixMicro()
}

// renewUpload is Catalog.RenewUpload of this server.
func (s *server) renewUpload(ctx context.Context, l *Lease) (wanted bool, err error) {
	until := s.leaseEnd(s.cfg.Clock.Now())
	err = s.changeInAgain(ctx, "renew the lease of upload "+string(l.Upload.ID), []unit{unitOfUpload(l.Upload.ID)}, func(tx *sql.Tx, _ bool) error {
		err := tx.QueryRowContext(ctx, `UPDATE uploads SET leased = $4 WHERE slot = $1 AND id = $2 AND fence = $3 RETURNING wanted`,
			l.Upload.ID.Slot(), l.Upload.ID, l.Fence, micros(until)).Scan(&wanted)
		if errors.Is(err, sql.ErrNoRows) {
			return ErrTaken
		}
		return err
	})
	if err == nil {
		l.Until = until
	}
	return wanted, err
}

// releaseUpload is Catalog.ReleaseUpload of this server.
func (s *server) releaseUpload(ctx context.Context, l Lease, expires time.Time) error {
	return s.updateUpload(ctx, "release", l.Upload.ID, `UPDATE uploads SET leased = 0, expires = $4 WHERE slot = $1 AND id = $2 AND fence = $3`,
		l.Fence, expires.UnixMicro())
}

// retireUpload is Catalog.RetireUpload of this server.
func (s *server) retireUpload(ctx context.Context, l Lease, until time.Time) error {
	return s.updateUpload(ctx, "retire", l.Upload.ID,
		`UPDATE uploads SET state = 'gone', metadata = '', concat = '', leased = 0, expires = $4 WHERE slot = $1 AND id = $2 AND fence = $3`, l.Fence, until.UnixMicro())
}

// checkFence makes sure that an upload may be published by who has the given fence: that it is not done, and that nobody has taken it
// since. The error is ErrDone or ErrTaken. A fence of 0 is that of a streamed upload, which only one request ever knows.
func checkFence(ctx context.Context, q querier, id object.UploadID, fence int64) error {
	if id == "" || fence == 0 {
		return nil
	}
	var state UploadState
	var now int64
	err := q.QueryRowContext(ctx, `SELECT state, fence FROM uploads WHERE slot = $1 AND id = $2`, id.Slot(), id).Scan(&state, &now)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return fmt.Errorf("upload %s: %w", id, ErrTaken)
	case err != nil:
		return err
	case state == UploadDone:
		return fmt.Errorf("upload %s: %w", id, ErrDone)
	case now != fence:
		return fmt.Errorf("upload %s: %w", id, ErrTaken)
	}
	return nil
}
