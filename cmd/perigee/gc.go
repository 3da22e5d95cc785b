package main

import (
	"fmt"
	"strings"
	"time"
)

type gcCmd struct {
	remote
	DryRun bool `short:"n" help:"Say what would go, and do nothing."`
}

// Run does one round of the collector, which the API does every minute by itself, and tells what is left.
func (c *gcCmd) Run(a *app) error {
	cl, err := c.connect(a)
	if err != nil {
		return err
	}
	defer cl.Close()
	g, err := cl.Garbage(a.ctx, !c.DryRun)
	if err != nil {
		return err
	}
	if a.JSON {
		return a.printJSON(g)
	}
	fmt.Fprintf(a.stdout, "condemned   %s, %s: nothing refers to them; each goes after %s\n", plural(int(g.Condemned.Blobs), "blob"), humanBytes(g.Condemned.Bytes),
		strings.TrimSuffix((time.Duration(g.After)*time.Second).String(), "0m0s"))
	fmt.Fprintf(a.stdout, "deleting    %s, %s\n", plural(int(g.Deleting.Blobs), "blob"), humanBytes(g.Deleting.Bytes))
	fmt.Fprintf(a.stdout, "deleted     %s, %s since the start of the API\n", plural(int(g.Done["deleted"]), "blob"), humanBytes(g.Done["deleted_bytes"]))
	if s := g.Strays; s != nil {
		fmt.Fprintf(a.stdout, "strays      %s, %s in the storage that the catalogue does not know, as of %s\n", plural(int(s.Objects), "object"), humanBytes(s.Bytes), s.At.Local().Format(time.DateTime))
	}
	for _, b := range g.Blobs {
		fmt.Fprintf(a.stdout, "  %s  %s, due %s\n", b.Key, humanBytes(b.Size), b.Due.Local().Format(time.DateTime))
	}
	return nil
}
