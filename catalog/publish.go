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
	begun  string // who began the change, see begun
	charge charge // what the site's usage holds for it
}

// Change is what Reserve is asked for.
type Change struct {
	// Pointer is what is to be written. Version and Modified are set by Reserve.
	Pointer object.Pointer
	// Upload is the upload that Commit forgets or marks as done; may be empty.
	Upload object.UploadID
	// Fence is that of the lease under which Upload was finished; 0 for a streamed one.
	Fence int64
	// Condition is checked in the same transaction.
	Condition Condition
	// Action is what the audit log calls the change; FilePublished or FileDeleted if it is empty.
	Action Action
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
	now := s.cfg.Clock.Now()
	p := ch.Pointer
	res := Reservation{Upload: ch.Upload, Expires: now.Add(s.cfg.ReservationTTL), holder: s.holder, begun: begunBy(ActorOf(ctx), ch.Action)}
	err := s.changeIn(ctx, fmt.Sprintf("reserve %s of site %s", p.Path, p.Site), unitsOf(p, ""), func(tx *sql.Tx) error {
		if err := checkFence(ctx, tx, ch.Upload, ch.Fence); err != nil {
			return err
		}
		cur, err := fileRow(ctx, tx, p.Site, p.Path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := ch.Condition.check(cur); err != nil {
			return err
		}
		if p.State == object.Gone && (cur == nil || cur.Pointer.State == object.Gone) {
			return fmt.Errorf("the file: %w", fs.ErrNotExist)
		}
		if held, err := reservationRow(ctx, tx, p.Site, p.Path); err == nil {
			return &BusyError{Holder: held, Stale: s.stale(held, now)}
		} else if !errors.Is(err, fs.ErrNotExist) {
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
		if res.charge, err = chargeOf(ctx, tx, &p, cur); err != nil {
			return err
		}
		res.charge.files = max(0, res.charge.files) // what is freed counts from the commit on
		_, err = tx.ExecContext(ctx,
			`INSERT INTO reservations (slot, site, path, version, pointer, upload, prev_version, prev_etag, holder, expires, begun, charged_bytes, charged_files)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`,
			object.SlotOf(p.Site, p.Path), p.Site, p.Path, p.Version, string(object.MarshalPointer(&p)), res.Upload, res.PrevVersion, res.PrevETag,
			res.holder, res.Expires.UnixMicro(), res.begun, res.charge.bytes, res.charge.files)
		if err != nil {
			return err
		}
		return reserveUsage(ctx, tx, p.Site, res.charge)
	})
	if err != nil {
		return Reservation{}, err
	}
	return res, nil
}

// stale reports whether r's holder will not finish it. The lock on the catalogue makes every other holder a past run.
func (s *server) stale(r Reservation, now time.Time) bool {
	return r.holder != s.holder || !now.Before(r.Expires)
}

// commit is Catalog.Commit of this server.
func (s *server) commit(ctx context.Context, r Reservation, etag string) (entry string, err error) {
	p := &r.Pointer
	var audited AuditEntry
	err = s.changeIn(ctx, fmt.Sprintf("record %s of site %s", p.Path, p.Site), unitsOf(*p, r.Upload), func(tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, `SELECT entry FROM versions WHERE slot = $1 AND site = $2 AND path = $3 AND version = $4`,
			object.SlotOf(p.Site, p.Path), p.Site, p.Path, p.Version).Scan(&entry)
		if err == nil {
			_, err := dropReservation(ctx, tx, r)
			return err
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		cur, err := held(ctx, tx, r)
		if err != nil {
			return err
		}
		whole, err := chargeOf(ctx, tx, p, cur)
		if err != nil {
			return err
		}
		if entry, err = s.enqueue(ctx, tx, int(object.SlotOf(p.Site, p.Path)), purge.Entry{Kind: purge.KindPointer, Site: p.Site, Pointer: p}); err != nil {
			return err
		}
		if err := put(ctx, tx, p, etag, entry); err != nil {
			return err
		}
		if err := finishUpload(ctx, tx, r); err != nil {
			return err
		}
		if audited, err = s.audit(ctx, tx, commitEntry(ctx, r)); err != nil {
			return err
		}
		charged, err := dropReservation(ctx, tx, r)
		if err != nil {
			return err
		}
		// Nothing, unless a file ends, or the reservation was released meanwhile.
		return settleUsage(ctx, tx, p.Site, charge{whole.bytes - charged.bytes, whole.files - charged.files})
	})
	if err != nil {
		return "", err
	}
	s.told(audited)
	s.wake()
	return entry, nil
}

// held returns the current state of the path, nil for none, if r may be committed.
func held(ctx context.Context, tx *sql.Tx, r Reservation) (*File, error) {
	cur, err := fileRow(ctx, tx, r.Pointer.Site, r.Pointer.Path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	now, err := reservationRow(ctx, tx, r.Pointer.Site, r.Pointer.Path)
	if err == nil && now.Pointer.Version == r.Pointer.Version {
		return cur, nil
	}
	if err == nil {
		return nil, fmt.Errorf("%w to version %s", ErrLost, now.Pointer.Version)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var have object.Version
	if cur != nil {
		have = cur.Pointer.Version
	}
	if have != r.PrevVersion {
		return nil, fmt.Errorf("%w: the current version is %s", ErrLost, have)
	}
	return cur, nil
}

// release is Catalog.Release of this server.
func (s *server) release(ctx context.Context, r Reservation) error {
	p := &r.Pointer
	err := s.changeIn(ctx, fmt.Sprintf("release %s of site %s", p.Path, p.Site), unitsOf(*p, ""), func(tx *sql.Tx) error {
		charged, err := dropReservation(ctx, tx, r)
		if err != nil {
			return err
		}
		return settleUsage(ctx, tx, p.Site, charge{-charged.bytes, -charged.files})
	})
	if err == nil {
	}
	return err
}

// dropReservation removes r and returns what the site's usage still holds for it; nothing if it was removed before.
func dropReservation(ctx context.Context, tx *sql.Tx, r Reservation) (held charge, err error) {
	err = tx.QueryRowContext(ctx, `DELETE FROM reservations WHERE slot = $1 AND site = $2 AND path = $3 AND version = $4 RETURNING charged_bytes, charged_files`,
		object.SlotOf(r.Pointer.Site, r.Pointer.Path), r.Pointer.Site, r.Pointer.Path, r.Pointer.Version).Scan(&held.bytes, &held.files)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return held, err
}

const staleQuery = reservationColumns + ` WHERE (expires <= $1 OR holder <> $2) AND EXISTS (SELECT 1 FROM slots
	WHERE slots.slot = reservations.slot AND slots.state IN ('owned', 'leaving')) LIMIT $3`

// staleReservations is Catalog.Stale of this server. Rows that a move has left here, or not yet brought here, are none of its.
func (s *server) staleReservations(ctx context.Context, limit int) ([]Reservation, error) {
	return collect(ctx, s.read, scanReservation, staleQuery, s.cfg.Clock.Now().UnixMicro(), s.holder, limit)
}

const reservationColumns = `SELECT pointer, upload, prev_version, prev_etag, holder, expires, begun FROM reservations`

func reservationRow(ctx context.Context, q querier, site object.Site, path object.Path) (Reservation, error) {
	r, err := scanReservation(q.QueryRowContext(ctx, reservationColumns+` WHERE slot = $1 AND site = $2 AND path = $3`,
		object.SlotOf(site, path), site, path))
	return r, missing(err)
}

func scanReservation(s scanner) (Reservation, error) {
	var r Reservation
	var pointer string
	var expires int64
	if err := s.Scan(&pointer, &r.Upload, &r.PrevVersion, &r.PrevETag, &r.holder, &expires, &r.begun); err != nil {
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
	err = s.changeIn(ctx, fmt.Sprintf("adopt %s of site %s", path, site), []unit{unitOfPath(site, path)}, func(tx *sql.Tx) error {
		cur, err := fileRow(ctx, tx, site, path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if head != nil && (cur == nil || cur.Pointer.Version < head.Version) {
			if entry, err = s.enqueue(ctx, tx, int(object.SlotOf(site, path)), purge.Entry{Kind: purge.KindPointer, Site: site, Pointer: head}); err != nil {
				return err
			}
			more, err := chargeOf(ctx, tx, head, cur)
			if err != nil {
				return err
			}
			if err := put(ctx, tx, head, etag, entry); err != nil {
				return err
			}
			return settleUsage(ctx, tx, site, more)
		}
		_, err = tx.ExecContext(ctx, `UPDATE files SET etag = $4 WHERE slot = $1 AND site = $2 AND path = $3`,
			object.SlotOf(site, path), site, path, etag)
		return err
	})
	if err == nil && entry != "" {
		s.wake()
	}
	return entry, err
}
