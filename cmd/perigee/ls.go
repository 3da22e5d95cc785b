package main

import (
	"encoding/json"
	"fmt"
	"time"

	"perigee/client"
)

type lsCmd struct {
	remote
	Target string `arg:"" optional:"" help:"What the paths begin with, as SITE:/prefix; www:/ if it is not given. A prefix need not end at a '/'."`
	Long   bool   `short:"l" help:"Print SHA-256, version and URL too."`
}

// Run lists files, one a line, as they come; with --json one JSON object a line.
func (c *lsCmd) Run(a *app) error {
	if c.Target == "" {
		c.Target = defaultSite + ":/"
	}
	t, err := parseTarget(c.Target)
	if err != nil {
		return err
	}
	cl, err := c.connect(a)
	if err != nil {
		return err
	}
	defer cl.Close()
	for f, err := range cl.List(a.ctx, t.site, t.path) {
		if err != nil {
			return err
		}
		if err := c.print(a, f); err != nil {
			return fmt.Errorf("write output: %w", err)
		}
	}
	return nil
}

func (c *lsCmd) print(a *app, f client.File) error {
	if a.JSON {
		b, err := json.Marshal(f)
		if err == nil {
			_, err = fmt.Fprintf(a.stdout, "%s\n", b)
		}
		return err
	}
	line := fmt.Sprintf("%9s  %s  %s", humanBytes(f.Size), f.Modified.UTC().Format(time.DateTime), f.Path)
	if c.Long {
		line = fmt.Sprintf("%9s  %s  %s  %s  %s  %s", humanBytes(f.Size), f.Modified.UTC().Format(time.DateTime), f.SHA256, f.Version, f.Path, f.URL)
	}
	_, err := fmt.Fprintln(a.stdout, line)
	return err
}
