package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"perigee/client"
	"perigee/object"
)

type purgeCmd struct {
	remote
	Targets []string      `arg:"" optional:"" name:"target" help:"Files, as URLs or as SITE:/path."`
	Prefix  []string      `placeholder:"SITE:/dir/" help:"Everything below a directory; may be repeated."`
	Tag     []string      `placeholder:"TAG" help:"Everything that carries a tag, on --site; may be repeated."`
	All     bool          `help:"Everything on --site."`
	Site    string        `placeholder:"SITE" help:"The site of --tag and --all."`
	Soft    bool          `help:"Make caches revalidate before the next use, and let them serve what they have if the origin cannot be reached."`
	Wait    bool          `help:"Wait until every edge has applied it, and print when each did. The exit status is 1 if one did not in time."`
	Timeout time.Duration `default:"10s" help:"How long --wait waits."`
	Status  string        `placeholder:"ID" help:"Do not purge: tell how far an earlier purge is."`
}

// purgeAnswer is one line of purge --json.
type purgeAnswer struct {
	Site object.Site `json:"site,omitempty"`
	client.Proof
}

// Run purges.
func (c *purgeCmd) Run(a *app) error {
	cl, err := c.connect(a)
	if err != nil {
		return err
	}
	defer cl.Close()
	if c.Status != "" {
		p, err := cl.PurgeStatus(a.ctx, c.Status)
		if err != nil {
			return err
		}
		return c.print(a, []purgeAnswer{{"", p}}, true)
	}
	orders, err := c.orders(a, cl)
	if err != nil {
		return err
	}
	// All are ordered before the first is waited for: a purge in need must not wait for another's proof.
	var answers []purgeAnswer
	begun := a.clock.Now()
	for _, o := range orders {
		p, err := cl.Purge(a.ctx, o.site, o.PurgeOrder, 0)
		if err != nil {
			return errors.Join(err, c.print(a, answers, false))
		}
		answers = append(answers, purgeAnswer{o.site, p})
	}
	for i := range answers {
		if !c.Wait {
			break
		}
		if answers[i].Proof, err = c.await(a, cl, answers[i].Proof, begun.Add(c.Timeout)); err != nil {
			return err
		}
	}
	return c.print(a, answers, c.Wait)
}

// siteOrder is what is purged of one site.
type siteOrder struct {
	site object.Site
	client.PurgeOrder
}

// orders sorts what is named by site, in the order of first mention.
func (c *purgeCmd) orders(a *app, cl *client.Client) ([]*siteOrder, error) {
	var list []*siteOrder
	of := func(s object.Site) *siteOrder {
		for _, o := range list {
			if o.site == s {
				return o
			}
		}
		list = append(list, &siteOrder{s, client.PurgeOrder{Soft: c.Soft}})
		return list[len(list)-1]
	}
	for _, arg := range c.Targets {
		site, path, err := resolveFile(a, cl, arg)
		if err != nil {
			return nil, err
		}
		o := of(site)
		o.URLs = append(o.URLs, path.Escape())
	}
	for _, arg := range c.Prefix {
		t, err := parseTarget(arg)
		if err != nil {
			return nil, err
		}
		dir, err := t.dir()
		if err != nil {
			return nil, err
		}
		o := of(t.site)
		o.Prefixes = append(o.Prefixes, string(dir))
	}
	if len(c.Tag) > 0 || c.All {
		site, err := object.ParseSite(c.Site)
		if err != nil {
			return nil, fmt.Errorf("--tag and --all need --site, so that nobody empties a site by accident: %w", err)
		}
		o := of(site)
		o.Tags, o.All = c.Tag, c.All
	}
	if len(list) == 0 {
		return nil, errors.New("say what to purge: URLs, SITE:/paths, --prefix, --tag or --all")
	}
	return list, nil
}

// proofPoll is how often an unfinished proof is asked for.
const proofPoll = 100 * time.Millisecond

// await asks for a proof until it is effective or the time is up.
func (c *purgeCmd) await(a *app, cl *client.Client, p client.Proof, until time.Time) (client.Proof, error) {
	for {
		p, err := cl.PurgeStatus(a.ctx, p.ID)
		if err != nil || p.Effective || !a.clock.Now().Before(until) {
			return p, err
		}
		if err := a.sleep(a.ctx, proofPoll); err != nil {
			return p, err
		}
	}
}

// print tells the answers; with proof also how far each edge is, and the exit status follows that.
func (c *purgeCmd) print(a *app, answers []purgeAnswer, proof bool) error {
	done := true
	for _, p := range answers {
		done = done && p.Effective
		if a.JSON {
			if err := a.printJSON(p); err != nil {
				return err
			}
			continue
		}
		what := "purge " + p.ID
		if p.Site != "" {
			what += " of " + string(p.Site)
		}
		if !proof {
			fmt.Fprintf(a.stdout, "%s ordered; `perigee purge --status %s` tells how far it is\n", what, p.ID)
			continue
		}
		fmt.Fprintf(a.stdout, "%s: %s\n", what, proofText(p.Proof))
		for _, e := range p.Edges {
			fmt.Fprintf(a.stdout, "  %-12s %s\n", e.Node, edgeText(e))
		}
	}
	if proof && !done {
		return failed(1)
	}
	return nil
}

func proofText(p client.Proof) string {
	applied, last := 0, 0.0
	for _, e := range p.Edges {
		if e.Applied {
			applied++
		}
		if e.MS != nil {
			last = max(last, *e.MS)
		}
	}
	s := fmt.Sprintf("effective on %d of %d edges", applied, len(p.Edges))
	if applied == len(p.Edges) && last > 0 {
		s += fmt.Sprintf(" after %s ms", strings.TrimSuffix(fmt.Sprintf("%.1f", last), ".0"))
	}
	return s
}

func edgeText(e client.EdgeProof) string {
	switch {
	case !e.Applied:
		return "pending"
	case e.MS == nil:
		return "applied"
	}
	return fmt.Sprintf("%.1f ms", *e.MS)
}
