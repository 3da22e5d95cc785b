package main

import (
	"context"
	"fmt"
	"strings"

	"perigee/dnsgeo/geo"
	"perigee/dnsgeo/geo/update"
	"perigee/origin/site"
)

// geo returns the operator's GeoIP database, or the table in the binary. It is opened once, for it takes tens of
// megabytes, and followed: new files are put into use while everything runs.
func (r *role) geo() (*geo.Holder, error) {
	if r.places != nil {
		return r.places, nil
	}
	f, err := geo.OpenFiles(r.cfg.GeoFiles(), r.clock, r.log)
	if err != nil {
		return nil, fmt.Errorf("GeoIP database: %w", err)
	}
	if d := r.cfg.DNS; !f.Found() && len(d.Geo) > 0 && len(d.GeoUpdate.URL) == 0 {
		return nil, fmt.Errorf("GeoIP database: dns.geo names %s, which does not exist", strings.Join(d.Geo, " and "))
	}
	r.start("geo data", func(ctx context.Context) error { f.Run(ctx); return nil })
	r.places = f.Holder()
	return r.places, nil
}

// geoUpdates starts keeping the GeoIP database up to date; without sources it returns nil.
func (r *role) geoUpdates(places *geo.Holder) (*update.Updater, error) {
	u, err := r.newGeoUpdater(places)
	if u != nil {
		r.start("updates of geo data", func(ctx context.Context) error { u.Run(ctx); return nil })
	}
	return u, err
}

func (r *role) newGeoUpdater(places *geo.Holder) (*update.Updater, error) {
	c, files := r.cfg.DNS.GeoUpdate, r.cfg.GeoFiles()
	if len(c.URL) == 0 {
		return nil, nil
	}
	sources := make([]update.Source, len(c.URL))
	for i, u := range c.URL {
		if i >= len(files) {
			return nil, fmt.Errorf("dns.geo_update.url: %d URLs for %d files", len(c.URL), len(files))
		}
		sources[i] = update.Source{URL: u, File: files[i]}
	}
	u, err := update.New(update.Config{
		Sources: sources, Holder: places, Every: c.Every.Std(), MaxSize: int64(c.MaxSize), Account: c.Account, LicenseKey: c.LicenseKey.Reveal(),
		Checksum: c.Checksum, Transport: site.NewTransport(site.Config{Allow: c.Allow, Clock: r.clock}), Clock: r.clock, Log: r.log,
	})
	if err != nil {
		return nil, fmt.Errorf("dns.geo_update: %w", err)
	}
	return u, nil
}
