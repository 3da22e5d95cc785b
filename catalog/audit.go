package catalog

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"perigee/object"
)

// The audit log has one entry for every change that somebody ordered: who, when, what, with which outcome. A change of the
// catalogue and its entry are one transaction, so there is no change without an entry and no entry without a change. What is
// changed elsewhere (a node is drained, a key file is written) is noted with Note before the order is answered. Entries
// are never changed, and deleted only by Expire. They hold no secrets and no whole addresses.

// Actor is who orders a change, as the program knows it. The zero Actor is the program itself.
type Actor struct {
	Key     string `json:"key,omitempty"`     // id of the API key; "local" for keyless use of this machine
	Name    string `json:"name,omitempty"`    // of the key, when it was used
	Method  string `json:"method,omitempty"`  // of the request
	Request string `json:"request,omitempty"` // id of the request, as its answer had it
	// Remote is where the request came from: "loopback", or the network of the address (/24 of IPv4, /48 of IPv6).
	Remote string `json:"remote,omitempty"`
	// Once names the idempotency record of the request; see Once. It finds the entry, and is not shown.
	Once string `json:"-"`
}

type actorKey struct{}

// WithActor returns a context whose changes are a's.
func WithActor(ctx context.Context, a Actor) context.Context {
	return context.WithValue(ctx, actorKey{}, a)
}

// ActorOf returns the actor of a context; the zero Actor if it has none.
func ActorOf(ctx context.Context) Actor {
	a, _ := ctx.Value(actorKey{}).(Actor)
	return a
}

// Action is what was done.
type Action string

// The actions of the audit log.
const (
	FilePublished  Action = "file.publish"
	FileDeleted    Action = "file.delete"
	FileRolledBack Action = "file.rollback"
	UploadGivenUp  Action = "upload.terminate"
	PurgeOrdered   Action = "purge"
	ContentErased  Action = "erase"
	SiteCreated    Action = "site.create"
	SiteUpdated    Action = "site.update"
	QuotaSet       Action = "site.quota"
	QuotaRecounted Action = "site.recount"
	KeyCreated     Action = "key.create"
	KeyRevoked     Action = "key.revoke"
	NodeDrained    Action = "node.drain"
	NodeUndrained  Action = "node.undrain"
	NodeForgotten  Action = "node.forget"
	SlotsMoved     Action = "catalogue.move"
	MoveCancelled  Action = "catalogue.cancel"
)

// The outcomes of the audit log.
const (
	OutcomeDone      = "done"
	OutcomeRecovered = "recovered" // the sweeper finished it after a crash, for the actor who had begun it
	OutcomeUnknown   = "unknown"   // it was ordered, and whether it was followed is not known
	OutcomeFailed    = "failed"
)

// AuditEntry is an entry of the audit log.
type AuditEntry struct {
	// ID sorts by time. Entries of one microsecond are in any order.
	ID string    `json:"id"`
	At time.Time `json:"at"`
	Actor
	Action Action `json:"action"`
	// Site is what was changed a part of; "" for what belongs to no site.
	Site object.Site `json:"site,omitempty"`
	// Object is the path, the key id, the node, or what else was changed.
	Object  string `json:"object,omitempty"`
	Outcome string `json:"outcome"`
	Detail  string `json:"detail,omitempty"` // such as the version that was written
}

// maxDetail bounds Object and Detail in bytes; what is longer is cut.
const maxDetail = 4 << 10

// auditID returns an ID that sorts by time, and the first of that time if last is false.
func auditID(at time.Time, random bool) string {
	var b [4]byte
	if random {
		rand.Read(b[:]) // never fails, by its documentation
	}
	return fmt.Sprintf("%016x%s", max(at.UnixMicro(), 0), hex.EncodeToString(b[:]))
}

// audit adds an entry to the transaction of the change it tells of. When that is committed, told says so in the log.
func (s *server) audit(ctx context.Context, tx *sql.Tx, e AuditEntry) (AuditEntry, error) {
	if e.Actor == (Actor{}) {
		e.Actor = ActorOf(ctx)
	}
	if e.ID == "" {
		now := s.now()
		e.ID, e.At = auditID(now, true), now.UTC().Truncate(time.Microsecond)
	}
	e.Object, e.Detail = cut(e.Object), cut(e.Detail)
	if e.Outcome == "" {
		e.Outcome = OutcomeDone
	}
	_, err := tx.ExecContext(ctx,
		`INSERT INTO audit (id, at, key_id, key_name, method, request, remote, action, site, object, outcome, detail, once)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`,
		e.ID, e.At.UnixMicro(), e.Key, e.Name, e.Method, e.Request, e.Remote, e.Action, e.Site, e.Object, e.Outcome, e.Detail, e.Once)
	return e, err
}

func cut(s string) string {
	if len(s) > maxDetail {
		s = strings.ToValidUTF8(s[:maxDetail], "")
	}
	return s
}

// told writes an entry to the program's log, after its transaction was committed.
func (s *server) told(e AuditEntry) {
	if e.ID == "" {
		return // there was no change
	}
	s.cfg.Log.Info("audit", "id", e.ID, "action", e.Action, "key", e.Key, "name", e.Name, "site", e.Site, "object", e.Object,
		"outcome", e.Outcome, "detail", e.Detail, "method", e.Method, "request", e.Request, "remote", e.Remote)
}

// NewAuditID returns an ID for NoteOnce.
func NewAuditID(at time.Time) string { return auditID(at, true) }

// NoteOnce adds an entry for a change that was made elsewhere, with the ID (NewAuditID) and the time that it has, unless there is one of that ID.
func (c *Catalog) NoteOnce(ctx context.Context, e AuditEntry) error {
	_, err := c.AuditEntry(ctx, e.ID)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return c.Note(ctx, e)
}

// Note adds an entry for a change that was made elsewhere.
func (c *Catalog) Note(ctx context.Context, e AuditEntry) error {
	s, err := c.home(ctx)
	if err == nil {
		err = c.members[0].fault(s.note(ctx, e))
	}
	return err
}

func (s *server) note(ctx context.Context, e AuditEntry) error {
	err := s.change(ctx, "note "+string(e.Action), func(tx *sql.Tx) (err error) {
		e, err = s.audit(ctx, tx, e)
		return err
	})
	if err == nil {
		s.told(e)
	}
	return err
}

// AuditFilter says which entries to list. Its zero value is all.
type AuditFilter struct {
	Site   object.Site
	Key    string
	Before string // only entries with lower IDs; "" for all
}

// Audit returns up to limit (at most 1,000) entries, the newest first.
func (c *Catalog) Audit(ctx context.Context, f AuditFilter, limit int) ([]AuditEntry, error) {
	var all []AuditEntry
	err := c.each(ctx, func(s *server) error {
		es, err := s.auditEntries(ctx, f, limit)
		all = append(all, es...)
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b AuditEntry) int { return strings.Compare(b.ID, a.ID) })
	return all[:min(len(all), page(limit))], nil
}

// each calls f for every server, the home server first; the first error ends it.
func (c *Catalog) each(ctx context.Context, f func(*server) error) error {
	for _, m := range c.members {
		s, err := m.get(ctx)
		if err == nil {
			err = m.fault(f(s))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// AuditEntry returns one entry of the audit log; fs.ErrNotExist if there is none.
func (c *Catalog) AuditEntry(ctx context.Context, id string) (AuditEntry, error) {
	return c.auditEntry(ctx, `id`, id)
}

// effectOf returns the first change that the request of an idempotency record made; fs.ErrNotExist if it made none.
func (c *Catalog) effectOf(ctx context.Context, once string) (AuditEntry, error) {
	return c.auditEntry(ctx, `once`, once)
}

// auditEntry returns the oldest entry of any server that has that value in a column. It asks primaries.
func (c *Catalog) auditEntry(ctx context.Context, column, value string) (first AuditEntry, err error) {
	err = c.each(ctx, func(s *server) error {
		e, err := scanAudit(s.newest().QueryRowContext(ctx, auditColumns+` WHERE `+column+` = $1 ORDER BY id LIMIT 1`, value))
		if err = missing(err); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("audit entry %s: %w", value, err)
		}
		if err == nil && (first.ID == "" || e.ID < first.ID) {
			first = e
		}
		return nil
	})
	if err != nil {
		return first, err
	}
	if first.ID == "" {
		return first, fmt.Errorf("audit entry %s: %w", value, fs.ErrNotExist)
	}
	return first, nil
}

func (s *server) auditEntries(ctx context.Context, f AuditFilter, limit int) ([]AuditEntry, error) {
	if f.Before == "" {
		f.Before = "~" // greater than every ID
	}
	query, args := auditColumns+` WHERE id < $1`, []any{f.Before, page(limit)}
	if f.Site != "" {
		args = append(args, f.Site)
		query += fmt.Sprintf(` AND site = $%d`, len(args))
	}
	if f.Key != "" {
		args = append(args, f.Key)
		query += fmt.Sprintf(` AND key_id = $%d`, len(args))
	}
	es, err := lookAll(ctx, s, scanAudit, query+` ORDER BY id DESC LIMIT $2`, args...)
	if err != nil {
		return nil, fmt.Errorf("list audit log: %w", err)
	}
	return es, nil
}

const auditColumns = `SELECT id, at, key_id, key_name, method, request, remote, action, site, object, outcome, detail FROM audit`

func scanAudit(s scanner) (AuditEntry, error) {
	var e AuditEntry
	var at int64
	err := s.Scan(&e.ID, &at, &e.Key, &e.Name, &e.Method, &e.Request, &e.Remote, &e.Action, &e.Site, &e.Object, &e.Outcome, &e.Detail)
	e.At = fromMicros(at)
	return e, err
}

// Expire deletes entries of the audit log that are older than keep (zero keeps all) and idempotency records that are over.
// It returns how many rows it deleted.
func (c *Catalog) Expire(ctx context.Context, keep time.Duration) (total int64, err error) {
	err = c.each(ctx, func(s *server) error {
		n, err := s.expire(ctx, keep)
		total += n
		return err
	})
	return total, err
}

// expireBatch is how many rows one transaction of Expire deletes.
const expireBatch = 1000

const (
	expireOnceQuery  = `DELETE FROM idempotency WHERE id IN (SELECT id FROM idempotency WHERE created < $1 ORDER BY created LIMIT $2)`
	expireAuditQuery = `DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE id < $1 ORDER BY id LIMIT $2)`
)

func (s *server) expire(ctx context.Context, keep time.Duration) (int64, error) {
	now := s.now()
	n, err := s.expireRows(ctx, expireOnceQuery, now.Add(-onceFor).UnixMicro())
	if err != nil || keep <= 0 {
		return n, err
	}
	m, err := s.expireRows(ctx, expireAuditQuery, auditID(now.Add(-keep), false))
	return n + m, err
}

func (s *server) expireRows(ctx context.Context, query string, before any) (total int64, err error) {
	for {
		var n int64
		err := s.change(ctx, "delete old rows", func(tx *sql.Tx) error {
			res, err := tx.ExecContext(ctx, query, before, expireBatch)
			if err == nil {
				n, err = res.RowsAffected()
			}
			return err
		})
		total += n
		if err != nil || n < expireBatch {
			return total, err
		}
	}
}

// begun is what a reservation remembers of who began the change, so that one which the sweeper finishes is theirs.
type begun struct {
	Actor
	Action Action `json:"action"`
	Once   string `json:"once,omitempty"`
}

func begunBy(a Actor, what Action) string {
	text, err := json.Marshal(begun{a, what, a.Once})
	if err != nil {
		panic("catalog: an actor always marshals: " + err.Error())
	}
	return string(text)
}

// commitEntry is the audit entry of a commit of r.
func commitEntry(ctx context.Context, r Reservation) AuditEntry {
	e := AuditEntry{Site: r.Pointer.Site, Object: string(r.Pointer.Path), Detail: "version " + string(r.Pointer.Version), Action: FilePublished}
	if r.Pointer.State == object.Gone {
		e.Action = FileDeleted
	}
	var b begun
	if json.Unmarshal([]byte(r.begun), &b) == nil { // one that cannot be read tells nothing
		e.Actor, e.Once = b.Actor, b.Once
	}
	if b.Action != "" {
		e.Action = b.Action
	}
	if e.Actor != ActorOf(ctx) {
		e.Outcome = OutcomeRecovered
	}
	return e
}
