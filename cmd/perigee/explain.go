package main

import (
	"fmt"
	"net/netip"

	"perigee/client"
)

type explainCmd struct {
	remote
	Target string `arg:"" help:"A file, as its URL or as SITE:/path."`
	IP     string `name:"ip" placeholder:"ADDR" help:"The client's address; this machine's if it is not given."`
}

// Run explains.
func (c *explainCmd) Run(a *app) error {
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
		fmt.Fprintf(a.stdout, "version  %s, %s, %s, SHA-256 %s\n", p.Version, p.State, humanBytes(p.Size), p.Hash)
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
