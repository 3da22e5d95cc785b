package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"text/tabwriter"
	"time"

	"perigee/client"
	"perigee/config"
	"perigee/object"
)

type sitesCmd struct {
	List    sitesListCmd    `cmd:"" default:"withargs" help:"List the sites with what they use of their quotas."`
	Show    sitesShowCmd    `cmd:"" help:"Show all of one site."`
	Create  sitesCreateCmd  `cmd:"" help:"Make a site."`
	Quota   sitesQuotaCmd   `cmd:"" help:"Show what a site may use, or set it."`
	Recount sitesRecountCmd `cmd:"" help:"Count anew what a site uses, and correct it."`
}

type sitesListCmd struct{ remote }

// Run lists the sites.
func (c *sitesListCmd) Run(a *app) error {
	cl, err := c.connect(a)
	if err != nil {
		return err
	}
	defer cl.Close()
	list, err := cl.Sites(a.ctx)
	if err != nil {
		return err
	}
	if a.JSON {
		return a.printJSON(map[string][]client.Site{"sites": append([]client.Site{}, list...)})
	}
	w := tabwriter.NewWriter(a.stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "SITE\tKIND\tHOSTS\tBYTES\tFILES")
	for _, s := range list {
		bytes, files := "-", "-"
		if u := s.Usage; u != nil {
			bytes, files = of(u.Bytes, u.Quota.Bytes, humanBytes), of(u.Files, u.Quota.Files, func(n int64) string { return grouped(int(n)) })
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", s.Site, s.Kind, orDash(strings.Join(texts(s.Hosts), ",")), bytes, files)
	}
	return w.Flush()
}

// of writes what is used of what may be, which is 0 where there is no limit.
func of(used, most int64, text func(int64) string) string {
	if most == 0 {
		return text(used)
	}
	return fmt.Sprintf("%s of %s (%.0f %%)", text(used), text(most), 100*float64(used)/float64(most))
}

type sitesShowCmd struct {
	remote
	Site string `arg:"" help:"Name of the site."`
}

// Run shows a site.
func (c *sitesShowCmd) Run(a *app) error {
	cl, err := c.connect(a)
	if err != nil {
		return err
	}
	defer cl.Close()
	s, err := findSite(a, cl, c.Site)
	if err != nil {
		return err
	}
	if a.JSON {
		return a.printJSON(s)
	}
	w := tabwriter.NewWriter(a.stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintf(w, "site\t%s\nkind\t%s\nhosts\t%s\nversion\t%s\n", s.Site, s.Kind, orDash(strings.Join(texts(s.Hosts), ", ")), s.Version)
	switch {
	case s.Origin != nil:
		fmt.Fprintf(w, "origin\t%s\n", s.Origin.URL)
	case s.Bucket != nil:
		fmt.Fprintf(w, "store\t%s\nprefix\t%s\nlisted every\t%v\n", orOwn(s.Bucket.Store), orDash(s.Bucket.Prefix), s.Bucket.Period())
	}
	if s.Usage == nil {
		fmt.Fprint(w, "quota\tnone: its content is not stored by Perigee and not counted\n")
	} else {
		writeUsage(w, *s.Usage)
	}
	return w.Flush()
}

func orOwn(store string) string {
	if store == "" {
		return "Perigee's own bucket"
	}
	return store
}

// writeUsage writes what a site uses and may use, a line each.
func writeUsage(w *tabwriter.Writer, u client.Usage) {
	count := func(n int64) string { return grouped(int(n)) }
	limit := func(n int64, text func(int64) string) string {
		if n == 0 {
			return "no limit"
		}
		return text(n)
	}
	fmt.Fprintf(w, "bytes\t%s\nfiles\t%s\nlargest file\t%s\nfiles of a form\t%s\n", of(u.Bytes, u.Quota.Bytes, humanBytes), of(u.Files, u.Quota.Files, count),
		limit(u.Quota.File, humanBytes), limit(int64(u.Quota.Form), count))
}

// findSite returns the site of that name.
func findSite(a *app, cl *client.Client, name string) (client.Site, error) {
	site, err := object.ParseSite(name)
	if err != nil {
		return client.Site{}, err
	}
	list, err := cl.Sites(a.ctx)
	if err != nil {
		return client.Site{}, err
	}
	for _, s := range list {
		if s.Site == site {
			return s, nil
		}
	}
	return client.Site{}, fmt.Errorf("site %s: %w; `perigee sites` lists those that there are", site, fs.ErrNotExist)
}

type sitesCreateCmd struct {
	remote
	Site   string        `arg:"" help:"Name of the site: a-z, 0-9 and '-'."`
	Host   []string      `placeholder:"HOST" help:"A host name that it answers to; may be repeated."`
	Kind   string        `placeholder:"KIND" help:"published, bucket or pull; else it follows from --prefix, --store and --origin, and is published without them."`
	Prefix string        `placeholder:"PREFIX/" help:"Of a bucket site: what the keys of its objects begin with."`
	Store  string        `placeholder:"NAME" help:"Of a bucket site: a bucket of the configuration (stores); else Perigee's own."`
	Poll   time.Duration `placeholder:"5m" help:"Of a bucket site: time between the beginnings of two listings."`
	Origin string        `placeholder:"URL" help:"Of a pull site: where its responses come from."`
}

// declared returns the site that the flags ask for.
func (c *sitesCreateCmd) declared() (object.SiteDeclaration, error) {
	d := object.SiteDeclaration{Site: c.Site, Kind: object.SiteKind(c.Kind), Hosts: append([]string{}, c.Host...)}
	bucket := c.Prefix != "" || c.Store != "" || c.Poll != 0
	switch {
	case bucket && c.Origin != "":
		return d, errors.New("--origin is of a pull site, --prefix, --store and --poll are of a bucket site: a site is one of them")
	case bucket || d.Kind == object.Bucket:
		d.Bucket = &object.BucketSource{Store: c.Store, Prefix: c.Prefix, Poll: int64(c.Poll / time.Second)}
	case c.Origin != "":
		d.Origin = &object.PullOrigin{URL: c.Origin}
	}
	switch {
	case d.Kind != "":
	case d.Bucket != nil:
		d.Kind = object.Bucket
	case d.Origin != nil:
		d.Kind = object.Pull
	}
	return d, nil
}

// Run makes a site.
func (c *sitesCreateCmd) Run(a *app) error {
	d, err := c.declared()
	if err != nil {
		return err
	}
	cl, err := c.connect(a)
	if err != nil {
		return err
	}
	defer cl.Close()
	rec, err := cl.CreateSite(a.ctx, d)
	if err != nil {
		return err
	}
	if a.JSON {
		return a.printJSON(rec)
	}
	fmt.Fprintf(a.stdout, "created site %s of kind %s\n", rec.Site, rec.Kind)
	if rec.Kind == object.Bucket {
		fmt.Fprintln(a.stderr, "Its objects are being listed; `perigee watches` shows how far that is.")
	}
	return nil
}

type sitesQuotaCmd struct {
	remote
	Site    string  `arg:"" help:"Name of the site."`
	Bytes   *string `placeholder:"SIZE" help:"Bytes of all kept versions, such as 10GB; 0 is no limit."`
	Files   *int64  `placeholder:"N" help:"Files; 0 is no limit."`
	MaxFile *string `placeholder:"SIZE" help:"The largest file; 0 is no limit."`
	MaxForm *int    `placeholder:"N" help:"Files that one form may bring; 0 is no limit."`
}

// changed returns the quota with what the flags set; the rest of it stays. It is false if no flag was given.
func (c *sitesQuotaCmd) changed(q client.Quota) (client.Quota, bool, error) {
	for _, f := range []struct {
		flag string
		text *string
		to   *int64
	}{{"--bytes", c.Bytes, &q.Bytes}, {"--max-file", c.MaxFile, &q.File}} {
		if f.text == nil {
			continue
		}
		n, err := config.ParseBytes(*f.text)
		if err != nil {
			return q, false, fmt.Errorf("%s: %w", f.flag, err)
		}
		*f.to = int64(n)
	}
	if c.Files != nil {
		q.Files = *c.Files
	}
	if c.MaxForm != nil {
		q.Form = *c.MaxForm
	}
	return q, c.Bytes != nil || c.Files != nil || c.MaxFile != nil || c.MaxForm != nil, nil
}

// Run shows or sets a site's quota.
func (c *sitesQuotaCmd) Run(a *app) error {
	cl, err := c.connect(a)
	if err != nil {
		return err
	}
	defer cl.Close()
	s, err := findSite(a, cl, c.Site)
	if err != nil {
		return err
	}
	if s.Usage == nil {
		return s.Stored()
	}
	u := *s.Usage
	q, set, err := c.changed(u.Quota)
	if err == nil && set {
		u, err = cl.SetQuota(a.ctx, s.Site, q)
	}
	if err != nil {
		return err
	}
	if a.JSON {
		return a.printJSON(u)
	}
	w := tabwriter.NewWriter(a.stdout, 0, 8, 2, ' ', 0)
	writeUsage(w, u)
	if q := u.Quota; q.Bytes > 0 && u.Bytes > q.Bytes || q.Files > 0 && u.Files > q.Files {
		fmt.Fprintln(a.stderr, "It uses more than it may: nothing is deleted, and nothing can be added before enough was deleted.")
	}
	return w.Flush()
}

type sitesRecountCmd struct {
	remote
	Site string `arg:"" help:"Name of the site."`
}

// Run counts anew what a site uses.
func (c *sitesRecountCmd) Run(a *app) error {
	cl, err := c.connect(a)
	if err != nil {
		return err
	}
	defer cl.Close()
	site, err := object.ParseSite(c.Site)
	if err != nil {
		return err
	}
	before, after, err := cl.Recount(a.ctx, site)
	if err != nil {
		return err
	}
	if a.JSON {
		return a.printJSON(map[string]any{"before": before, "after": after, "drift": before != after})
	}
	if before == after {
		fmt.Fprintf(a.stdout, "%s in %s, as was counted\n", humanBytes(after.Bytes), plural(int(after.Files), "file"))
		return nil
	}
	fmt.Fprintf(a.stdout, "corrected: %s in %s, where %s in %s were counted\n", humanBytes(after.Bytes), plural(int(after.Files), "file"), humanBytes(before.Bytes), plural(int(before.Files), "file"))
	return nil
}
