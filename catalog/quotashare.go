package catalog

import (
	"context"
	"database/sql"

	"perigee/object"
)

// divide gives every server its share of a site's quota: what it uses, and of what is left an equal part, after need for the
// favoured one. tx is a transaction of the home server that holds the site's quota, so that one process divides at a time.
//
// All shares are first lowered to what is used, then raised, each in a transaction of its own: at no moment do they add up
// to more than the quota, and a crash in between only takes room away until the next division. Where more is used than the quota
// allows, the shares add up to the quota all the same: nothing can be added before enough was deleted.
func (c *Catalog) divide(ctx context.Context, tx *sql.Tx, site object.Site, q Quota, favoured *server, need charge) error {
	var servers []*server
	if err := c.each(ctx, func(s *server) error { servers = append(servers, s); return nil }); err != nil {
		return err // before anybody has lost anything
	}
	on := func(i int, f func(*sql.Tx) error) error {
		if i == 0 {
			return f(tx)
		}
		return servers[i].change(ctx, "divide the quota of site "+string(site), f)
	}
	left := charge{q.Bytes, q.Files}
	for i := range servers {
		var u charge
		if err := on(i, func(tx *sql.Tx) (err error) { u, err = lowerShare(ctx, tx, site, q); return err }); err != nil {
			return c.members[i].fault(err)
		}
		left.bytes, left.files = left.bytes-u.bytes, left.files-u.files
	}
	n := int64(len(servers))
	for i, s := range servers {
		more := charge{portion(left.bytes-need.bytes, n), portion(left.files-need.files, n)}
		if s == favoured {
			// All that the portions of the others leave, also when that is less than nothing.
			more = charge{left.bytes - (n-1)*more.bytes, left.files - (n-1)*more.files}
		}
		err := on(i, func(tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, `UPDATE site_usage SET share_bytes = share_bytes + $2, share_files = share_files + $3 WHERE site = $1`,
				site, more.bytes, more.files)
			return err
		})
		if err != nil {
			return c.members[i].fault(err)
		}
	}
	return nil
}

func portion(left, n int64) int64 { return max(0, left) / n }

// lowerShare makes the share of a server what it uses, and none where there is no limit. It returns what it uses.
func lowerShare(ctx context.Context, tx *sql.Tx, site object.Site, q Quota) (used charge, err error) {
	if err := addUsage(ctx, tx, site, 0, 0); err != nil {
		return used, err
	}
	limited := func(most int64) int {
		if most > 0 {
			return 1
		}
		return 0
	}
	err = tx.QueryRowContext(ctx,
		`UPDATE site_usage SET share_bytes = CASE WHEN $2 = 1 THEN bytes ELSE NULL END, share_files = CASE WHEN $3 = 1 THEN files ELSE NULL END
		WHERE site = $1 RETURNING bytes, files`, site, limited(q.Bytes), limited(q.Files)).Scan(&used.bytes, &used.files)
	return used, err
}

// lend divides the quota of a site anew for a server whose share is used up. A quota of which not enough is left on all
// servers together is a *QuotaError.
func (c *Catalog) lend(ctx context.Context, site object.Site, to *server, need charge) error {
	u, err := c.Usage(ctx, site)
	if err != nil {
		return err
	}
	if bytes, files := u.Left(); bytes >= 0 && bytes < need.bytes || files >= 0 && files < need.files {
		return &QuotaError{u, need.bytes}
	}
	home, err := c.home(ctx)
	if err != nil {
		return err
	}
	err = home.change(ctx, "divide the quota of site "+string(site), func(tx *sql.Tx) error {
		// Holds the quota; where there is none it is made, for that.
		_, err := tx.ExecContext(ctx, `INSERT INTO site_quota (site, max_bytes, max_files, max_file, max_form) VALUES ($1, 0, 0, 0, 0)
			ON CONFLICT (site) DO UPDATE SET site = excluded.site`, site)
		if err != nil {
			return err
		}
		q, err := quotaRow(ctx, tx, site)
		if err != nil {
			return err
		}
		return c.divide(ctx, tx, site, q, to, need)
	})
	return c.members[0].fault(err)
}
