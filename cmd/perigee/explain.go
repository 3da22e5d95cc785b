package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"

	"perigee/client"
)

type explainCmd struct {
	remote
	Target string   `arg:"" optional:"" help:"A file, as its URL or as SITE:/path."`
	IP     string   `name:"ip" placeholder:"ADDR" help:"The client's address; this machine's if it is not given."`
	Drain  []string `placeholder:"EDGE" help:"Instead, say which clients would move if this edge were drained; nothing is changed."`
	Add    []string `sep:"none" placeholder:"NAME@LAT,LON" help:"Instead, say which clients would move to an edge at this place, such as tyo@35.6,139.7."`
}

// Run explains.
func (c *explainCmd) Run(a *app) error {
	switch whatIf := len(c.Drain)+len(c.Add) > 0; {
	case whatIf && (c.Target != "" || c.IP != ""):
		return errors.New("--drain and --add are about all clients and files: leave out the file and --ip")
	case whatIf:
		return c.whatIf(a)
	case c.Target == "":
		return errors.New("name a file, as its URL or as SITE:/path, or ask what would move with --drain or --add")
	}
	var ip netip.Addr
	if c.IP != "" {
		var err error
		if ip, err = netip.ParseAddr(c.IP); err != nil {
			return fmt.Errorf("--ip %q is no IP address", c.IP)
		}
	}
	cl, err := c.connect(a)
	if err != nil {
		return err
	}
	defer cl.Close()
	site, path, err := resolveFile(a, cl, c.Target)
	if err != nil {
		return err
	}
	e, err := cl.Explain(a.ctx, site, path, ip)
	if err != nil {
		return err
	}
	if a.JSON {
		return a.printJSON(e)
	}
	printExplanation(a, e)
	return nil
}

// whatIf says what would move.
func (c *explainCmd) whatIf(a *app) error {
	cl, err := c.connect(a)
	if err != nil {
		return err
	}
	defer cl.Close()
	found, err := cl.WhatIf(a.ctx, c.Drain, c.Add)
	if err != nil {
		return err
	}
	if a.JSON {
		return a.printJSON(found)
	}
	row := func(what string, s client.Share) {
		fmt.Fprintf(a.stdout, "%-28s %7.2f %% %7.2f %% %7.2f %%\n", what, 100*s.Demand, 100*s.IPv4, 100*s.IPv6)
	}
	fmt.Fprintf(a.stdout, "%-28s %9s %9s %9s\n", "", "demand", "IPv4", "IPv6")
	row("moves", found.Moved)
	for _, m := range found.Moves {
		row(fmt.Sprintf("  %s -> %s", cmp.Or(m.From, "none"), cmp.Or(m.To, "none")), m.Share)
	}
	return nil
}

func printExplanation(a *app, e client.Explanation) {
	place := "unknown"
	if e.Place.Known {
		place = fmt.Sprintf("%.2f, %.2f", e.Place.Lat, e.Place.Lon)
	}
	if e.Place.Country != "" {
		place = e.Place.Country + ", " + place
	}
	if e.Place.City != "" {
		place = e.Place.City + ", " + place
	}
	fmt.Fprintf(a.stdout, "file     %s:%s\nclient   %s, %s\n", e.Site, e.Path, e.IP, place)
	fmt.Fprintf(a.stdout, "geo      %s", e.Geo.Source)
	if e.Geo.Built != "" {
		fmt.Fprintf(a.stdout, ", built %s", e.Geo.Built)
	}
	fmt.Fprintln(a.stdout)
	for i, n := range e.Candidates {
		head := "edges"
		if i > 0 {
			head = ""
		}
		mark := " "
		if n.Node == e.Chosen {
			mark = "*"
		}
		fmt.Fprintf(a.stdout, "%-8s %s %-12s %7s km  %s\n", head, mark, n.Node, grouped(int(n.Km+0.5)), n.Reason)
	}
	if e.Chosen == "" {
		fmt.Fprintln(a.stdout, "answer   none: no edge is fit to serve")
		return
	}
	fmt.Fprintf(a.stdout, "answer   %s %s, %d s, for %s\n", e.Answer.Type, e.Answer.Addr, e.Answer.TTL, e.Answer.Scope)
	state := e.Edge.Outcome
	if state == "" {
		state = "not known"
	}
	fmt.Fprintf(a.stdout, "next     %s at %s: %s; the bytes are %s\n", state, e.Chosen, e.Edge.Reason, blobText(e.Edge.Blob))
	if p := e.Edge.Pointer; p != nil {
		name := "SHA-256 " + p.Hash.String()
		if p.Object() {
			name = "ETag " + p.EntityTag()
		}
		fmt.Fprintf(a.stdout, "version  %s, %s, %s, %s\n", p.Version, p.State, humanBytes(p.Size), name)
	}
}

func blobText(s string) string {
	switch s {
	case "ram":
		return "in its memory"
	case "disk":
		return "on its disk"
	case "":
		return "not known of"
	}
	return s
}
