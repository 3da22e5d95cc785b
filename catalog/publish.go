package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"perigee/object"
	"perigee/purge"
)

// Reservation holds a path for one change. Its Version names it.
type Reservation struct {
	// Pointer is what the change is going to write.
	Pointer object.Pointer
	// Upload is the upload that the pointer's blob came from; empty if no row of uploads stands for it.
	Upload object.UploadID
	// PrevVersion is the version that Pointer replaces, "" for a path that was never published.
	PrevVersion object.Version
	// PrevETag is the ETag of the p/ object to be replaced, "" if there is none.
	PrevETag string
	// Expires is when others may settle the reservation. Its holder must not write p/ later than that.
	Expires time.Time
	// New says that there is no file at the path now. Only Reserve sets it.
	New bool

	holder string
	// lease is when the row of the run that holds it expires, in microseconds; 0 if there is none.
	lease int64
	// by is until when its holder may write the bucket, by Config.Clock. Only Reserve sets it.
	by    time.Time
	claim Claim // of the change; only Reserve sets it
}

// Change is what Reserve is asked for.
type Change struct {
	// Pointer is what is to be written. Version and Modified are set by Reserve.
	Pointer object.Pointer
	// Upload is the upload that Commit forgets or marks as done; may be empty.
	Upload object.UploadID
	// Fence is that of the lease under which Upload was finished; 0 for a streamed one.
	Fence int64
	// Claim is on the blob of Pointer, if that is live. Commit ends it; after anything else it is the caller's still.
	Claim Claim
	// Condition is checked in the same transaction.
	Condition Condition
}

// unitsOf are the units that a change of p's path concerns, and of the upload its blob came from, if any.
func unitsOf(p object.Pointer, upload object.UploadID) []unit {
	units := []unit{unitOfPath(p.Site, p.Path)}
	if upload != "" {
		units = append(units, unitOfUpload(upload))
	}
	return units
}

// tryReserve is one try of Catalog.Reserve.
func (s *server) tryReserve(ctx context.Context, ch Change) (Reservation, error) {
	now, p := s.now(), ch.Pointer
	res := Reservation{
		Upload: ch.Upload, Expires: now.Add(s.cfg.ReservationTTL), holder: s.holder,
		by: s.cfg.Clock.Now().Add(s.cfg.ReservationTTL - headMargin),
	}
	err := s.changeInAgain(ctx, fmt.Sprintf("reserve %s of site %s", p.Path, p.Site), unitsOf(p, ""), func(tx *sql.Tx, again bool) error {
		if err := checkFence(ctx, tx, ch.Upload, ch.Fence); err != nil {
			return err
		}
		if held, err := reservationRow(ctx, tx, p.Site, p.Path); err == nil {
			if again && held.holder == s.holder && held.Pointer.Version == res.Pointer.Version {
				return nil // the commit that was not answered was done
			}
			return s.busy(ctx, tx, ch, held, now)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		p := ch.Pointer
		cur, err := fileRow(ctx, tx, p.Site, p.Path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := ch.check(cur); err != nil {
			return err
		}
		p.Modified = now.UTC().Truncate(time.Second)
		res.New = cur == nil || cur.Pointer.State == object.Gone
		if cur != nil {
			res.PrevVersion, res.PrevETag = cur.Pointer.Version, cur.ETag
			if !p.Modified.After(cur.Pointer.Modified) {
				p.Modified = cur.Pointer.Modified.Add(time.Second)
			}
		}
		p.Version = object.NextVersion(now, s.cfg.Writer, res.PrevVersion)
		if err := p.Validate(); err != nil {
			return err
		}
		res.Pointer = p
		free, err := affected(tx.ExecContext(ctx, holdPath, object.SlotOf(p.Site, p.Path), p.Site, p.Path, p.Version,
			string(object.MarshalPointer(&p)), res.Upload, res.PrevVersion, res.PrevETag, res.holder, res.Expires.UnixMicro()))
		if err == nil && !free {
			err = errConflict
		}
		if err != nil {
			return err
		}
		// The path is held from here on. It may have changed since it was read, by a commit that came in between.
		if held, err := fileRow(ctx, tx, p.Site, p.Path); err == nil && held.Pointer.Version != res.PrevVersion {
			return errConflict
		} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
	if err != nil {
		return Reservation{}, err
	}
	return res, nil
}

// holdPath reserves a path, unless it is reserved.
const holdPath = `INSERT INTO reservations (slot, site, path, version, pointer, upload, prev_version, prev_etag, holder, expires)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (slot, site, path) DO NOTHING`

// check returns why a change cannot be made where cur is what there is, nil if nothing was ever published.
func (ch *Change) check(cur *File) error {
	if err := ch.Condition.check(cur); err != nil {
		return err
	}
	if ch.Pointer.State == object.Gone && (cur == nil || cur.Pointer.State == object.Gone) {
		return fmt.Errorf("the file: %w", fs.ErrNotExist)
	}
	return nil
}

// busy says why a path cannot be reserved that is held: the conditions count also now.
func (s *server) busy(ctx context.Context, tx *sql.Tx, ch Change, held Reservation, now time.Time) error {
	cur, err := fileRow(ctx, tx, ch.Pointer.Site, ch.Pointer.Path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := ch.check(cur); err != nil {
		return err
	}
	return &BusyError{Holder: held, Stale: s.stale(held, now)}
}

// stale reports whether r's holder will not finish it: its time is over, or the lease of its run.
func (s *server) stale(r Reservation, now time.Time) bool {
	return !now.Before(r.Expires) || r.holder != s.holder && r.lease <= s.horizon()
}

// takeOver is Catalog.TakeOver of this server.
func (s *server) takeOver(ctx context.Context, r Reservation) (Reservation, error) {
	p, mine := &r.Pointer, r
	mine.holder, mine.Expires, mine.by = s.holder, s.now().Add(s.cfg.ReservationTTL), time.Time{}
	err := s.changeInAgain(ctx, fmt.Sprintf("take over %s of site %s", p.Path, p.Site), unitsOf(*p, ""), func(tx *sql.Tx, again bool) error {
		done, err := affected(tx.ExecContext(ctx, `UPDATE reservations SET holder = $5, expires = $6
			WHERE slot = $1 AND site = $2 AND path = $3 AND version = $4 AND holder = $7 AND expires = $8`,
			object.SlotOf(p.Site, p.Path), p.Site, p.Path, p.Version, mine.holder, mine.Expires.UnixMicro(), r.holder, r.Expires.UnixMicro()))
		if err != nil || done {
			return err
		}
		now, err := reservationRow(ctx, tx, p.Site, p.Path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if again && now.Pointer.Version == p.Version && now.holder == mine.holder && now.Expires.UnixMicro() == mine.Expires.UnixMicro() {
			return nil
		}
		return fmt.Errorf("%w: it has ended, or somebody else settles it", ErrLost)
	})
	return mine, err
}

// commit is Catalog.Commit of this server.
func (s *server) commit(ctx context.Context, r Reservation, etag string) (entry string, err error) {
	p := &r.Pointer
	err = s.changeInAgain(ctx, fmt.Sprintf("record %s of site %s", p.Path, p.Site), unitsOf(*p, r.Upload), func(tx *sql.Tx, _ bool) error {
		// Whoever holds the row of the reservation is alone: another commit of it waits here, then finds the version.
		held, err := dropReservation(ctx, tx, p)
		if err != nil {
			return err
		}
		err = tx.QueryRowContext(ctx, `SELECT entry FROM versions WHERE slot = $1 AND site = $2 AND path = $3 AND version = $4`,
			object.SlotOf(p.Site, p.Path), p.Site, p.Path, p.Version).Scan(&entry)
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if !held {
			if err := holdAgain(ctx, tx, r); err != nil {
				return err
			}
		}
		if entry, err = s.enqueue(ctx, tx, int(object.SlotOf(p.Site, p.Path)), purge.Entry{Kind: purge.KindPointer, Site: p.Site, Pointer: p}); err != nil {
			return err
		}
		if err := put(ctx, tx, p, etag, entry); err != nil {
			return err
		}
		return finishUpload(ctx, tx, r)
	})
	if err != nil {
		return "", err
	}
	s.wake()
	return entry, nil
}

// holdAgain returns nil if r, which was released, may be committed all the same. Until the transaction ends nobody else can
// reserve the path.
func holdAgain(ctx context.Context, tx *sql.Tx, r Reservation) error {
	p := &r.Pointer
	free, err := affected(tx.ExecContext(ctx, holdPath, object.SlotOf(p.Site, p.Path), p.Site, p.Path, p.Version, "", "", "", "", "", 0))
	if err != nil {
		return err
	}
	if !free {
		now, err := reservationRow(ctx, tx, p.Site, p.Path)
		if errors.Is(err, fs.ErrNotExist) {
			return errConflict // it ended at this moment
		}
		if err != nil {
			return err
		}
		return fmt.Errorf("%w to version %s", ErrLost, now.Pointer.Version)
	}
	var have object.Version
	cur, err := fileRow(ctx, tx, p.Site, p.Path)
	if err == nil {
		have = cur.Pointer.Version
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if have == p.Version {
		return errConflict // another commit of it was done at this moment
	}
	if have != r.PrevVersion {
		return fmt.Errorf("%w: the current version is %s", ErrLost, have)
	}
	_, err = dropReservation(ctx, tx, p)
	return err
}

// release is Catalog.Release of this server.
func (s *server) release(ctx context.Context, r Reservation) error {
	p := &r.Pointer
	return s.changeInAgain(ctx, fmt.Sprintf("release %s of site %s", p.Path, p.Site), unitsOf(*p, ""), func(tx *sql.Tx, _ bool) error {
		_, err := dropReservation(ctx, tx, p)
		return err
	})
}

// dropReservation reports whether there was one.
func dropReservation(ctx context.Context, tx *sql.Tx, p *object.Pointer) (bool, error) {
	return affected(tx.ExecContext(ctx, `DELETE FROM reservations WHERE slot = $1 AND site = $2 AND path = $3 AND version = $4`,
		object.SlotOf(p.Site, p.Path), p.Site, p.Path, p.Version))
}

const staleQuery = reservationColumns + ` WHERE (expires <= $1 OR holder <> $2
	AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.id = reservations.holder AND runs.expires > $4)) AND EXISTS (SELECT 1 FROM slots
	WHERE slots.slot = reservations.slot AND slots.state IN ('owned', 'leaving')) LIMIT $3`

// staleReservations is Catalog.Stale of this server. Rows that a move has left here, or not yet brought here, are none of its.
func (s *server) staleReservations(ctx context.Context, limit int) ([]Reservation, error) {
	return fromPrimary(ctx, s, func(ctx context.Context, db database) ([]Reservation, error) {
		return collect(ctx, db, scanReservation, staleQuery, s.now().UnixMicro(), s.holder, limit, s.horizon())
	})
}

const reservationColumns = `SELECT pointer, upload, prev_version, prev_etag, holder, expires,
	COALESCE((SELECT runs.expires FROM runs WHERE runs.id = reservations.holder), 0) FROM reservations`

func reservationRow(ctx context.Context, q querier, site object.Site, path object.Path) (Reservation, error) {
	r, err := scanReservation(q.QueryRowContext(ctx, reservationColumns+` WHERE slot = $1 AND site = $2 AND path = $3`,
		object.SlotOf(site, path), site, path))
	return r, missing(err)
}

func scanReservation(s scanner) (Reservation, error) {
	var r Reservation
	var pointer string
	var expires int64
	if err := s.Scan(&pointer, &r.Upload, &r.PrevVersion, &r.PrevETag, &r.holder, &expires, &r.lease); err != nil {
		return Reservation{}, err
	}
	p, err := object.UnmarshalPointer([]byte(pointer))
	if err != nil {
		return Reservation{}, err
	}
	r.Pointer, r.Expires = *p, fromMicros(expires)
	return r, nil
}

// adopt is Catalog.Adopt of this server.
func (s *server) adopt(ctx context.Context, site object.Site, path object.Path, head *object.Pointer, etag string) (entry string, err error) {
	err = s.changeInAgain(ctx, fmt.Sprintf("adopt %s of site %s", path, site), []unit{unitOfPath(site, path)}, func(tx *sql.Tx, _ bool) error {
		entry = ""
		cur, err := fileRow(ctx, tx, site, path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if head != nil && (cur == nil || cur.Pointer.Version < head.Version) {
			if entry, err = s.enqueue(ctx, tx, int(object.SlotOf(site, path)), purge.Entry{Kind: purge.KindPointer, Site: site, Pointer: head}); err != nil {
				return err
			}
			return put(ctx, tx, head, etag, entry)
		}
		if cur == nil {
			return nil
		}
		_, err = tx.ExecContext(ctx, `UPDATE files SET etag = $4 WHERE slot = $1 AND site = $2 AND path = $3 AND version = $5`,
			object.SlotOf(site, path), site, path, etag, cur.Pointer.Version)
		return err
	})
	if err == nil && entry != "" {
		s.wake()
	}
	return entry, err
}
