package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"perigee/client"
	"perigee/object"
)

type eraseCmd struct {
	remote
	Targets []string      `arg:"" optional:"" name:"target" help:"Files, as SITE:/path: all their versions. With --sha256, sites."`
	SHA256  string        `name:"sha256" placeholder:"HASH" help:"Everything with this content, on the sites that are named, or on all."`
	Yes     bool          `short:"y" help:"Do not ask."`
	Wait    bool          `help:"Wait until every edge has destroyed it. The exit status is 1 if one did not in time."`
	Timeout time.Duration `default:"10s" help:"How long --wait waits."`
}

// eraseAnswer is one line of erase --json.
type eraseAnswer struct {
	Target string `json:"target"`
	client.Erased
}

// eraseOrder is one call of the API.
type eraseOrder struct {
	name string
	site object.Site // "" for all
	client.EraseOrder
}

// Run erases. It cannot be undone.
func (c *eraseCmd) Run(a *app) error {
	orders, err := c.orders()
	if err != nil {
		return err
	}
	if !c.Yes {
		what := strings.Join(c.Targets, ", ")
		if c.SHA256 != "" {
			what = strings.TrimSuffix("the content "+c.SHA256+" on "+what, " on ")
		}
		if err := confirm(a, fmt.Sprintf("destroy %s, everywhere and for good?", what)); err != nil {
			return err
		}
	}
	cl, err := c.connect(a)
	if err != nil {
		return err
	}
	defer cl.Close()
	done := true
	for _, o := range orders {
		e, err := c.erase(a, cl, o)
		if err != nil {
			return err
		}
		done = done && e.Effective
		if err := c.print(a, eraseAnswer{o.name, e}); err != nil {
			return err
		}
	}
	if c.Wait && !done {
		return failed(1)
	}
	return nil
}

// orders reads what is named.
func (c *eraseCmd) orders() ([]eraseOrder, error) {
	var out []eraseOrder
	if c.SHA256 == "" {
		for _, arg := range c.Targets {
			t, err := parseTarget(arg)
			if err != nil {
				return nil, err
			}
			path, err := t.file()
			if err != nil {
				return nil, err
			}
			out = append(out, eraseOrder{arg, t.site, client.EraseOrder{Paths: []object.Path{path}}})
		}
		if len(out) == 0 {
			return nil, errors.New("say what to erase: SITE:/path, or --sha256 HASH")
		}
		return out, nil
	}
	hash, err := object.ParseHash(c.SHA256)
	if err != nil {
		return nil, err
	}
	for _, arg := range c.Targets {
		site, err := object.ParseSite(arg)
		if err != nil {
			return nil, err
		}
		out = append(out, eraseOrder{arg, site, client.EraseOrder{SHA256: hash}})
	}
	if len(out) == 0 {
		out = append(out, eraseOrder{"all sites", "", client.EraseOrder{SHA256: hash}})
	}
	return out, nil
}

// erase sends one order and, with --wait, asks for its proof until all is done or the time is up.
func (c *eraseCmd) erase(a *app, cl *client.Client, o eraseOrder) (client.Erased, error) {
	e, err := cl.Erase(a.ctx, o.site, o.EraseOrder, 0)
	if err != nil || !c.Wait || e.ID == "" {
		return e, err
	}
	unfinished := e.Unfinished > 0
	e.Proof, err = (&purgeCmd{}).await(a, cl, e.Proof, a.clock.Now().Add(c.Timeout))
	e.Effective = e.Effective && !unfinished
	return e, err
}

func (c *eraseCmd) print(a *app, e eraseAnswer) error {
	if a.JSON {
		return a.printJSON(e)
	}
	fmt.Fprintf(a.stdout, "%s: %s of %s removed, %s deleted from the storage", e.Target, plural(e.Versions, "version"), plural(e.Files, "file"), plural(e.Blobs, "blob"))
	if e.ID == "" && e.Unfinished == 0 {
		fmt.Fprintln(a.stdout, "; nothing was left to erase")
		return nil
	}
	fmt.Fprintf(a.stdout, "; %s\n", proofText(e.Proof))
	for _, n := range []struct {
		n    int
		what string
	}{
		{e.KeptHere, "stay in the storage: the site uses the same content elsewhere; erase that by --sha256"},
		{e.KeptElsewhere, "stay in the storage: another site uses the same content"},
	} {
		if n.n > 0 {
			fmt.Fprintf(a.stdout, "  %s %s\n", plural(n.n, "blob"), n.what)
		}
	}
	if e.Unfinished > 0 {
		fmt.Fprintf(a.stdout, "  %s not finished: the storage did not answer, or somebody publishes the content just now; it goes on by itself\n", plural(e.Unfinished, "version"))
	}
	for _, n := range e.Edges {
		fmt.Fprintf(a.stdout, "  %-12s %s\n", n.Node, edgeText(n))
	}
	if !e.Effective && e.ID != "" {
		fmt.Fprintf(a.stdout, "  `perigee purge --status %s` tells how far it is\n", e.ID)
	}
	return nil
}
