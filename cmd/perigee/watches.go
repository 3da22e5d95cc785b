package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"perigee/client"
)

type watchesCmd struct {
	remote
}

// Run lists how bucket sites are watched.
func (c *watchesCmd) Run(a *app) error {
	cl, err := c.connect(a)
	if err != nil {
		return err
	}
	defer cl.Close()
	list, err := cl.Watches(a.ctx)
	if err != nil {
		return err
	}
	if a.JSON {
		return a.printJSON(map[string]any{"watches": list})
	}
	w := tabwriter.NewWriter(a.stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "SITE\tBUCKET\tMODE\tLAST EVENT\tLAST LISTING\tOBJECTS\tSKIPPED\tFOUND\tMISSED\tCYCLE\tWATCHER\tTROUBLE")
	for _, x := range list {
		listed, objects, skipped, found, cycle := "-", "-", "-", "-", "-"
		if l := x.Last; l != nil {
			listed = l.Finished.Local().Format(time.DateTime)
			objects, skipped, found = fmt.Sprint(l.Listed), fmt.Sprint(l.Skipped), fmt.Sprint(l.Differences)
			cycle = fmt.Sprint(time.Duration(x.CycleSeconds) * time.Second)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\n",
			x.Site, orDash(x.Bucket)+"/"+x.Prefix, x.Mode, orDash(eventTime(x)), listed, objects, skipped, found, x.Missed, cycle, orDash(x.Watcher), orDash(x.Trouble))
	}
	return w.Flush()
}

func eventTime(x client.Watch) string {
	if x.LastEvent.IsZero() {
		return ""
	}
	return x.LastEvent.Local().Format(time.DateTime)
}

// watches looks how each bucket site is watched, if there is any.
func (d *doctor) watches(ctx context.Context) {
	if d.fleet == nil {
		return // the API does not answer, which has been said
	}
	ctx, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	list, err := d.client.Watches(ctx)
	if err != nil {
		d.found("bucket sites", err, "see the log of the API", "")
		return
	}
	for _, x := range list {
		detail := fmt.Sprintf("%s, by %s", x.Mode, orDash(x.Watcher))
		if e := eventTime(x); e != "" {
			detail += ", last event " + e
		}
		if l := x.Last; l != nil {
			detail += fmt.Sprintf(", last listing %s: %s, %d skipped, %s; a cycle takes up to %v",
				l.Finished.Local().Format(time.DateTime), plural(int(l.Listed), "object"), l.Skipped, plural(int(l.Differences), "difference"), time.Duration(x.CycleSeconds)*time.Second)
		} else {
			detail += ", the first listing has not ended yet"
		}
		if x.Missed > 0 {
			detail += fmt.Sprintf("; listings have found %s that no notification told of", plural(int(x.Missed), "change"))
		}
		var trouble error
		if x.Trouble != "" {
			trouble = errors.New(x.Trouble)
		}
		d.found("site "+string(x.Site), trouble, "see docs/bucket-sites.md; the key in the configuration must be allowed to read and list the bucket", "%s", detail)
	}
}
