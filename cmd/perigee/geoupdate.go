package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"perigee/config"
	"perigee/dnsgeo/geo"
	"perigee/durable"
)

// geoFile is where the operator's GeoIP database is: dns.geo, or geo.mmdb in the data directory.
func geoFile(c *config.Config) string {
	if c.DNS.Geo != "" {
		return c.DNS.Geo
	}
	return filepath.Join(c.Data, "geo.mmdb")
}

type geoUpdateCmd struct {
	File string `arg:"" placeholder:"FILE.mmdb" help:"The new database."`
}

// Run checks a database and puts it where the running DNS server and API look for theirs. They take it into use within
// seconds; if they find fault with it they keep the old one.
func (c *geoUpdateCmd) Run(a *app) error {
	cfg, err := a.load()
	if err != nil {
		return err
	}
	builtIn, err := geo.Embedded()
	if err != nil {
		return err
	}
	h := geo.NewHolder(builtIn)
	if err := h.Swap(c.File); err != nil {
		return err
	}
	to := geoFile(cfg)
	if err := replaceFile(c.File, to); err != nil {
		return fmt.Errorf("put geo data in place: %w", err)
	}
	p := h.Current().Passport()
	if a.JSON {
		return a.printJSON(map[string]any{"file": to, "passport": p})
	}
	fmt.Fprintf(a.stdout, "%s: %s, built %s, is now %s\n", c.File, p.Source, p.Built.Format("2006-01-02"), to)
	return nil
}

// replaceFile makes to a copy of from, in one step.
func replaceFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	return durable.Replace(to, 0o644, func(w io.Writer) error {
		_, err := io.Copy(w, in)
		return err
	})
}
