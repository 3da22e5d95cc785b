package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"perigee/config"
	"perigee/dnsgeo/geo"
	"perigee/dnsgeo/geo/update"
)

type geoUpdateCmd struct {
	Force bool     `help:"Take the files even if they are older, or know less, than what is in use, or were rolled back."`
	Files []string `arg:"" optional:"" name:"file" help:"The new files, one for each of dns.geo; without any they are fetched as dns.geo_update says."`
}

// Run checks a database and puts it where the running DNS server and API look for theirs. They take it into use within
// seconds; if they find fault with it they keep the old one.
func (c *geoUpdateCmd) Run(a *app) error {
	cfg, err := a.load()
	if err != nil {
		return err
	}
	to := cfg.GeoFiles()
	for _, f := range to {
		if err := os.MkdirAll(filepath.Dir(f), 0o700); err != nil {
			return fmt.Errorf("make directory of geo data: %w", err)
		}
	}
	h, err := c.inUse(a, to)
	if err != nil {
		return err
	}
	if len(c.Files) == 0 {
		return c.fetch(a, cfg, h)
	}
	if len(c.Files) != len(to) {
		return fmt.Errorf("%s for %s: give one for each of %s, in this order", plural(len(c.Files), "new file"), plural(len(to), "file"), strings.Join(to, ", "))
	}
	if err := c.put(h, to); err != nil {
		return err
	}
	return c.report(a, h, to, update.Updated)
}

// inUse opens what new files are compared with. By force they replace also what cannot be opened.
func (c *geoUpdateCmd) inUse(a *app, files []string) (*geo.Holder, error) {
	f, err := geo.OpenFiles(files, a.clock, quietLog(a))
	switch {
	case err == nil:
		return f.Holder(), nil
	case !c.Force:
		return nil, fmt.Errorf("%w; --force replaces it all the same", err)
	}
	builtIn, err := geo.Embedded()
	if err != nil {
		return nil, err
	}
	return geo.NewHolder(builtIn), nil
}

// quietLog logs what is wrong, and not what commands report themselves.
func quietLog(a *app) *slog.Logger {
	return slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// put checks the new files and puts them in place.
func (c *geoUpdateCmd) put(h *geo.Holder, to []string) error {
	for _, f := range c.Files {
		if err := geo.Verify(f); err != nil {
			return err
		}
	}
	id, err := geo.Identity(c.Files...)
	if err != nil {
		return err
	}
	if c.Force {
		if err := h.Force(c.Files...); err != nil {
			return err
		}
		// Before the files: whoever sees them must know.
		if err := (geo.Verdict{Accept: id}).Write(to[0]); err != nil {
			return err
		}
	} else {
		verdict, err := geo.ReadVerdict(to[0])
		if err != nil {
			return err
		}
		if verdict.Reject == id {
			return errors.New("this data was rolled back; --force takes it all the same")
		}
		if err := h.Swap(c.Files...); err != nil {
			return err
		}
	}
	if err := update.Install(c.Files, to); err != nil {
		return fmt.Errorf("put geo data in place: %w", err)
	}
	return nil
}

// fetch does once what the DNS server does on its schedule.
func (c *geoUpdateCmd) fetch(a *app, cfg *config.Config, h *geo.Holder) error {
	if c.Force {
		return errors.New("--force needs files: what is fetched is always compared")
	}
	r := &role{cfg: cfg, clock: a.clock, log: quietLog(a)}
	u, err := r.newGeoUpdater(h)
	if err != nil {
		return err
	}
	if u == nil {
		return errors.New("name the new file, or set dns.geo_update.url to where it comes from")
	}
	result, err := u.Once(a.ctx)
	if err != nil {
		return err
	}
	return c.report(a, h, cfg.GeoFiles(), result)
}

func (c *geoUpdateCmd) report(a *app, h *geo.Holder, files []string, result update.Result) error {
	p := h.Current().Passport()
	if a.JSON {
		return a.printJSON(map[string]any{"result": result, "files": files, "passport": p})
	}
	fmt.Fprintf(a.stdout, "%s: %s, built %s, in %s\n", result, p.Source, p.Built.Format(time.DateOnly), strings.Join(files, ", "))
	return nil
}

type geoRollbackCmd struct{}

// Run puts the files back that the last update replaced. Running servers go back to them within seconds, and do not take the others again.
func (c *geoRollbackCmd) Run(a *app) error {
	cfg, err := a.load()
	if err != nil {
		return err
	}
	files := cfg.GeoFiles()
	older := make([]string, len(files)) // of the whole set
	var from, to []string               // of those that were replaced
	for i, f := range files {
		previous := geo.Previous(f)
		switch _, err := os.Stat(previous); {
		case err == nil:
			older[i], from, to = previous, append(from, previous), append(to, f)
		case errors.Is(err, os.ErrNotExist):
			older[i] = f
		default:
			return err
		}
	}
	if len(from) == 0 {
		return fmt.Errorf("there is nothing to go back to: no update has replaced %s", strings.Join(files, " or "))
	}
	db, err := geo.Open(older...)
	if err != nil {
		return err
	}
	now, err := geo.Identity(files...)
	if err != nil {
		return err
	}
	if err := (geo.Verdict{Accept: db.Identity(), Reject: now}).Write(files[0]); err != nil {
		return err
	}
	if err := update.Install(from, to); err != nil {
		return fmt.Errorf("put geo data back: %w", err)
	}
	p := db.Passport()
	if a.JSON {
		return a.printJSON(map[string]any{"files": files, "passport": p})
	}
	fmt.Fprintf(a.stdout, "%s is back: built %s; what it replaces is rejected until it is forced\n", strings.Join(files, ", "), p.Built.Format(time.DateOnly))
	return nil
}
