package main

import (
	"context"
	"strings"

	"perigee/catalog"
)

// catalogue looks whether the database of a PostgreSQL catalogue answers, and how far its replicas are. The file of SQLite
// belongs to the process that has it open; it stands under the data directory.
func (d *doctor) catalogue(ctx context.Context) {
	if !d.cfg.Catalog.IsPostgres() {
		return
	}
	r := role{cfg: d.cfg, clock: d.a.clock}
	cfg := r.catalogConfig()
	ctx, cancel := context.WithTimeout(ctx, 2*d.Timeout)
	defer cancel()
	state, err := catalog.Examine(ctx, cfg)
	d.found("catalogue", err, "start the database, or correct catalog.dsn; until then files are served and nothing can be published", "%s", cfg.Postgres)
	for _, s := range state {
		d.found("replica "+strings.Trim(s.Name, "[]"), s.Err, "start the replica, or take it out of catalog.replicas; reads go to the others meanwhile", "%d bytes behind", s.Behind)
	}
}
