package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"strings"
	"time"

	"perigee/dnsgeo/geo"
	"perigee/durable"
)

type geoCmd struct {
	Build    geoBuildCmd    `cmd:"" help:"Make a compact table of city databases."`
	Info     geoInfoCmd     `cmd:"" help:"Describe the data in use, or a file: source, licence, age, coverage."`
	Lookup   geoLookupCmd   `cmd:"" help:"Say where addresses are."`
	Diff     geoDiffCmd     `cmd:"" help:"Compare two databases: what moves, what is gained and lost."`
	Update   geoUpdateCmd   `cmd:"" help:"Put a new database into use, live."`
	Rollback geoRollbackCmd `cmd:"" help:"Go back to the database that the last update replaced, live."`
}

type geoBuildCmd struct {
	Out         string   `required:"" placeholder:"FILE" help:"The table to write."`
	Source      string   `required:"" placeholder:"TEXT" help:"Name and version of the data."`
	Licence     string   `required:"" placeholder:"SPDX" help:"Licence of the data."`
	Attribution string   `required:"" placeholder:"TEXT" help:"What its licence wants shown."`
	Built       string   `placeholder:"YYYY-MM-DD" help:"When the data was built; else what the files say."`
	Files       []string `arg:"" name:"file" help:"City databases; IPv4 and IPv6 may be apart."`
}

// Run builds a table. The old file stays until the new one is whole.
func (c *geoBuildCmd) Run(a *app) error {
	o := geo.BuildOptions{Source: c.Source, Licence: c.Licence, Attribution: c.Attribution}
	if c.Built != "" {
		var err error
		if o.Built, err = time.Parse(time.DateOnly, c.Built); err != nil {
			return fmt.Errorf("--built %q is no date such as 2026-06-05", c.Built)
		}
	}
	var s geo.Stats
	err := durable.Replace(c.Out, 0o644, func(w io.Writer) (err error) {
		s, err = geo.Build(w, c.Files, o)
		return err
	})
	if err != nil {
		return err
	}
	if a.JSON {
		return a.printJSON(map[string]any{"file": c.Out, "bytes": s.Size, "places": s.Places, "runs4": s.Runs4, "runs6": s.Runs6, "unresolved": s.Unresolved})
	}
	fmt.Fprintf(a.stdout, "%s: %s, %s places, %s IPv4 and %s IPv6 runs; %s of the sources without coordinates\n",
		c.Out, humanBytes(int64(s.Size)), grouped(s.Places), grouped(s.Runs4), grouped(s.Runs6), plural(s.Unresolved, "place"))
	return nil
}

// geoSource says which data to ask.
type geoSource struct {
	Geo []string `placeholder:"FILE" help:"An .mmdb file, or a table of geo build; may be repeated. Else dns.geo of the configuration, else geo.mmdb in the data directory, else the table inside the binary."`
}

func (s geoSource) open(a *app) (*geo.DB, error) {
	files := s.Geo
	if len(files) == 0 {
		cfg, err := a.load()
		if err != nil {
			return nil, err
		}
		files = cfg.GeoFiles()
		if _, err := os.Stat(files[0]); len(cfg.DNS.Geo) == 0 && errors.Is(err, fs.ErrNotExist) {
			return geo.Embedded()
		}
	}
	return openGeo(files)
}

// openGeo opens files, or says what to do about it.
func openGeo(files []string) (*geo.DB, error) {
	db, err := geo.Open(files...)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w; name an .mmdb file, or leave --geo and dns.geo away to use the table inside the binary", err)
	}
	return db, err
}

type geoInfoCmd struct{ geoSource }

// Run describes the data.
func (c *geoInfoCmd) Run(a *app) error {
	db, err := c.open(a)
	if err != nil {
		return err
	}
	p := db.Passport()
	if a.JSON {
		return a.printJSON(p)
	}
	built := "not said"
	if !p.Built.IsZero() {
		built = fmt.Sprintf("%s, %s ago", p.Built.UTC().Format(time.DateOnly), plural(int(a.clock.Now().Sub(p.Built).Hours()/24), "day"))
	}
	fmt.Fprintf(a.stdout, "source       %s\nbuilt        %s\nlicence      %s\nattribution  %s\nnetworks     %s\nplaces       %s\n",
		p.Source, built, orDash(p.Licence), orDash(p.Attribution), grouped(p.Networks), grouped(p.Places))
	fmt.Fprintf(a.stdout, "owners       %s\ncoverage     %.2f %% of unicast IPv4, %.2f %% of 2000::/3\n", grouped(p.ASNs), 100*p.Coverage.IPv4, 100*p.Coverage.IPv6)
	for _, f := range p.Files {
		fmt.Fprintf(a.stdout, "file         %s, %s, %s\nsha256       %s\n", f.Name, f.Type, humanBytes(f.Bytes), f.SHA256)
	}
	return nil
}

type geoLookupCmd struct {
	geoSource
	Addrs []string `arg:"" name:"addr" help:"IP addresses."`
}

// geoAnswer is one line of geo lookup --json.
type geoAnswer struct {
	Addr      netip.Addr   `json:"addr"`
	Network   netip.Prefix `json:"network"`
	Continent string       `json:"continent,omitempty"`
	geo.Place
}

// Run looks addresses up.
func (c *geoLookupCmd) Run(a *app) error {
	addrs := make([]netip.Addr, len(c.Addrs))
	for i, s := range c.Addrs {
		ip, err := netip.ParseAddr(s)
		if err != nil {
			return fmt.Errorf("%q is no IP address", s)
		}
		addrs[i] = ip.Unmap().WithZone("")
	}
	db, err := c.open(a)
	if err != nil {
		return err
	}
	for _, ip := range addrs {
		if err := context.Cause(a.ctx); err != nil {
			return err
		}
		p, network := db.Lookup(ip)
		if a.JSON {
			b, err := json.Marshal(geoAnswer{ip, network, geo.Continent(p.Country), p})
			if err != nil {
				return fmt.Errorf("write output: %w", err)
			}
			fmt.Fprintf(a.stdout, "%s\n", b)
			continue
		}
		fmt.Fprintf(a.stdout, "%-15s  %-18s  %-2s  %s\n", ip, network, orDash(geo.Continent(p.Country)), placeText(p))
	}
	return nil
}

// placeText is a place on one line: country and region, coordinates, owner, city.
func placeText(p geo.Place) string {
	where, owner, country := "unknown", "", orDash(p.Country)
	if p.Known {
		where = fmt.Sprintf("%.2f, %.2f", p.Lat, p.Lon)
	}
	if p.Region != "" {
		country += "-" + p.Region
	}
	if p.ASN != 0 {
		owner = fmt.Sprintf("AS%d", p.ASN)
	}
	return strings.TrimRight(fmt.Sprintf("%-6s  %-15s  %-10s  %s", country, where, owner, p.City), " ")
}
