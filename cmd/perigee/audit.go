package main

import (
	"encoding/json"
	"fmt"
	"time"

	"perigee/client"
)

type auditCmd struct {
	remote
	Site  string `placeholder:"SITE" help:"Only changes of this site."`
	Key   string `placeholder:"ID" help:"Only changes made with this API key."`
	Limit int    `short:"n" default:"100" placeholder:"N" help:"How many entries, the newest first; 0 is all."`
}

// Run lists the audit log, one entry a line; with --json one JSON object a line.
func (c *auditCmd) Run(a *app) error {
	cl, err := c.connect(a)
	if err != nil {
		return err
	}
	defer cl.Close()
	n := 0
	for e, err := range cl.Audit(a.ctx, c.Site, c.Key) {
		if err != nil {
			return err
		}
		if err := printAudit(a, e); err != nil {
			return fmt.Errorf("write output: %w", err)
		}
		if n++; n == c.Limit {
			return nil
		}
	}
	return nil
}

func printAudit(a *app, e client.AuditEntry) error {
	if a.JSON {
		b, err := json.Marshal(e)
		if err == nil {
			_, err = fmt.Fprintf(a.stdout, "%s\n", b)
		}
		return err
	}
	who := e.Key
	if e.Name != "" {
		who += " (" + e.Name + ")"
	}
	if who == "" {
		who = "perigee"
	}
	_, err := fmt.Fprintf(a.stdout, "%s  %-15s  %s  %s:%s  %s  %s  %s\n", e.At.UTC().Format(time.DateTime), e.Action, who, e.Site, e.Object, e.Outcome, e.Remote, e.Detail)
	return err
}
