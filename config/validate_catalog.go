package config

import (
	"net"
	"net/url"
	"strings"
	"time"
)

// catalog checks where the catalogue is. Nothing of the connection string is told: it may hold a password.
func (v validator) catalog() {
	c := v.c.Catalog
	v.oneOf("catalog.kind", c.Kind, "sqlite", "postgres")
	switch {
	case c.IsPostgres() && c.DSN.IsZero():
		v.bad("catalog.dsn", "catalog.kind is postgres: write where it is, as postgres://user@host:5432/database or host=… user=… dbname=…; with a password best in the file that catalog.dsn_file names")
	case !c.IsPostgres() && !c.DSN.IsZero():
		v.bad("catalog.dsn", "catalog.kind is %s, so it would not be used; set catalog.kind to postgres", c.Kind)
	case c.IsPostgres() && !isDSN(c.DSN.Reveal()):
		v.bad("catalog.dsn", "it is no connection string of PostgreSQL; write it as postgres://user@host:5432/database, or as host=… user=… dbname=…")
	}
	for _, s := range c.Servers() {
		if s.Name == "" || s.Where == "" || c.IsPostgres() && !isDSN(s.Where) {
			v.bad("catalog.shards", "a line is NAME=file or, with catalog.kind postgres, NAME=postgres://user@host:5432/database; the line of %q is not", s.Name)
		}
	}
	if !c.IsPostgres() && len(c.Replicas) > 0 {
		v.bad("catalog.replicas", "catalog.kind is %s, which has none", c.Kind)
	}
	for _, r := range c.Replicas {
		host, _, err := net.SplitHostPort(r)
		if err != nil {
			host = r
		}
		if host == "" || strings.ContainsAny(host, "@= ") {
			v.bad("catalog.replicas", "%q is no replica; write host, host:port or the directory of a socket: user, password and database are those of catalog.dsn", r)
		}
	}
	for _, x := range []struct {
		key string
		d   Duration
	}{{"catalog.max_lag", c.MaxLag}, {"catalog.timeout", c.Timeout}, {"catalog.connect_timeout", c.ConnectTimeout}} {
		if x.d.Std() < 100*time.Millisecond || x.d.Std() > time.Hour {
			v.bad(x.key, "%v is not between 100ms and 1h", x.d)
		}
	}
	if c.Connections < 4 || c.Connections > 1000 {
		v.bad("catalog.connections", "%d is not between 4 and 1000", c.Connections)
	}
	if c.Lookups < 0 || c.Lookups > 10_000_000 {
		v.bad("catalog.lookups", "%d is not between 0 and 10000000", c.Lookups)
	}
	if c.LookupFor.Std() < 0 || c.LookupFor.Std() > time.Minute {
		v.bad("catalog.lookup_for", "%v is not between 0s and 1m", c.LookupFor)
	}
}

func isDSN(s string) bool {
	if strings.HasPrefix(s, "postgres://") || strings.HasPrefix(s, "postgresql://") {
		_, err := url.Parse(s)
		return err == nil
	}
	return strings.Contains(s, "=")
}
