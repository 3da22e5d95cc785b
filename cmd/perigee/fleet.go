package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"perigee/client"
	"perigee/fleet"
)

type fleetCmd struct {
	List    fleetListCmd `cmd:"" default:"withargs" help:"List the nodes."`
	Drain   drainCmd     `cmd:"" help:"Ask a node to take no new clients."`
	Undrain undrainCmd   `cmd:"" help:"Ask a node to take new clients again."`
	Forget  forgetCmd    `cmd:"" help:"Remove a node that is down for good, so that proofs no longer wait for it."`
}

type fleetListCmd struct {
	remote
}

// Run lists the nodes.
func (c *fleetListCmd) Run(a *app) error {
	cl, err := c.connect(a)
	if err != nil {
		return err
	}
	defer cl.Close()
	f, err := cl.Fleet(a.ctx)
	if err != nil {
		return err
	}
	if a.JSON {
		return a.printJSON(f)
	}
	w := tabwriter.NewWriter(a.stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "NODE\tROLE\tSTATE\tPLACE\tADDRESS\tREQ/S\tCACHE\tHITS\tLEASE\tBEHIND\tHEARD")
	for i := range f.Nodes {
		fmt.Fprintln(w, strings.Join(fleetRow(&f.Nodes[i], f.Now), "\t"))
	}
	if err := w.Flush(); err != nil || f.Frozen == nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "This view is frozen since %s (%s): it is what was known last.\n", f.Frozen.Since.Format(time.DateTime), f.Frozen.Why)
	return err
}

func fleetRow(n *client.Node, now time.Time) []string {
	state := string(n.State)
	if n.Down {
		state = "down (was " + state + ")"
	}
	if why := n.Why(); why == fleet.UnfitUnreachable || why == fleet.UnfitFlapping {
		state = string(why) + " (says " + state + ")"
	}
	place := n.Place.Name
	if n.Place.Country != "" {
		place = strings.TrimPrefix(place+", "+n.Place.Country, ", ")
	}
	addrs := make([]string, len(n.Addrs))
	for i, ap := range n.Addrs {
		addrs[i] = ap.String()
	}
	row := []string{n.Report.Node, string(n.Role), state, orDash(place), orDash(strings.Join(addrs, " ")), fmt.Sprintf("%.0f", n.Load.Requests)}
	cache, hits, lease := "-", "-", "-"
	if c := n.Cache; c != nil {
		cache = humanBytes(c.Bytes) + " of " + humanBytes(c.Limit)
		if all := c.Hits + c.Misses; all > 0 {
			hits = fmt.Sprintf("%.1f%%", 100*float64(c.Hits)/float64(all))
		}
	}
	if n.Role == fleet.RoleEdge {
		lease = (time.Duration(n.Lease) * time.Millisecond).Round(100 * time.Millisecond).String()
	}
	behind, heard := "-", "-"
	if n.Behind != nil {
		behind = fmt.Sprint(*n.Behind)
	}
	if !now.IsZero() && !n.Heard.IsZero() {
		heard = max(0, now.Sub(n.Heard)).Round(100*time.Millisecond).String() + " ago"
	}
	return append(row, cache, hits, lease, behind, heard)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// nodeArgs are the arguments of the commands that order a node about.
type nodeArgs struct {
	remote
	Node string `arg:"" help:"Name of the node."`
}

func (c *nodeArgs) order(a *app, call func(*client.Client) error, said string) error {
	cl, err := c.connect(a)
	if err != nil {
		return err
	}
	defer cl.Close()
	if err := call(cl); err != nil {
		return err
	}
	if a.JSON {
		return a.printJSON(map[string]string{"node": c.Node, "result": said})
	}
	fmt.Fprintf(a.stdout, "%s: %s\n", c.Node, said)
	return nil
}

type drainCmd struct{ nodeArgs }

// Run drains a node.
func (c *drainCmd) Run(a *app) error {
	return c.order(a, func(cl *client.Client) error { return cl.Drain(a.ctx, c.Node) }, "draining: it serves on, and DNS sends it nobody new")
}

type undrainCmd struct{ nodeArgs }

// Run undrains a node.
func (c *undrainCmd) Run(a *app) error {
	return c.order(a, func(cl *client.Client) error { return cl.Undrain(a.ctx, c.Node) }, "asked to take new clients again")
}

type forgetCmd struct{ nodeArgs }

// Run forgets a node.
func (c *forgetCmd) Run(a *app) error {
	return c.order(a, func(cl *client.Client) error { return cl.Forget(a.ctx, c.Node) }, "forgotten")
}
