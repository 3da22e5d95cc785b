package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"perigee/config"
	"perigee/keys"
	"perigee/object"
)

// keysCmd works on the keys of a running API or, without one, on the place where they are kept, so that it also works before the first start
// and when every key is lost. Running servers notice within a second.
type keysCmd struct {
	Create keysCreateCmd `cmd:"" help:"Make a key and print it, once."`
	List   keysListCmd   `cmd:"" default:"withargs" help:"List the keys."`
	Revoke keysRevokeCmd `cmd:"" help:"End a key and its sessions."`
	Import keysImportCmd `cmd:"" help:"Take over the keys of a key file into the catalogue."`
}

// keyView is a key as it is shown: without its hash.
type keyView struct {
	ID      string       `json:"id"`
	Name    string       `json:"name"`
	Scopes  []keys.Scope `json:"scopes"`
	Created time.Time    `json:"created"`
	Expires time.Time    `json:"expires,omitzero"`
	// LastUsed is to half a minute; zero if it never was, or if the place does not know it.
	LastUsed time.Time `json:"last_used,omitzero"`
	keys.Limits
	Key string `json:"key,omitempty"` // only when it was just made
}

func viewOf(k keys.Key, secret string) keyView {
	return keyView{ID: k.ID, Name: k.Name, Scopes: k.Scopes, Created: k.Created, Expires: k.Expires, Limits: k.Limits, Key: secret}
}

type keysCreateCmd struct {
	keysAt
	Name     string   `required:"" placeholder:"NAME" help:"Who or what will use it."`
	Scope    string   `default:"read" placeholder:"A,B" help:"What it allows: read, publish, purge, admin; every key may read."`
	Site     []string `placeholder:"SITE" help:"Limit it to a site; may be repeated. Without one it reaches all sites, and with the scope admin everything."`
	Prefix   []string `placeholder:"/DIR/" help:"Limit it to a directory of those sites; may be repeated."`
	Expires  string   `placeholder:"30d" help:"How long it is good, such as 30d or 12h; for ever if it is not given."`
	MaxFile  string   `placeholder:"SIZE" help:"The largest file it may publish, such as 100MB."`
	MaxForm  int      `placeholder:"N" help:"How many files one form may bring."`
	Requests float64  `placeholder:"N" help:"How many requests a second it may send, in place of api.rate.requests."`
	Bytes    string   `placeholder:"SIZE" help:"How many bytes a second it may send, in place of api.rate.bytes."`
}

// asked returns the key that the flags ask for.
func (c *keysCreateCmd) asked(now time.Time) (n keys.NewKey, err error) {
	n.Name = c.Name
	if n.Scopes, err = keys.ParseScopes(c.Scope); err != nil {
		return n, err
	}
	for _, s := range c.Site {
		site, err := object.ParseSite(s)
		if err != nil {
			return n, err
		}
		n.Sites = append(n.Sites, site)
	}
	for _, p := range c.Prefix {
		prefix, err := object.ParsePrefix(p)
		if err != nil {
			return n, err
		}
		n.Prefixes = append(n.Prefixes, prefix)
	}
	if c.Expires != "" && c.Expires != "never" {
		d, err := parseAge(c.Expires)
		if err != nil {
			return n, fmt.Errorf("--expires: %w", err)
		}
		n.Expires = now.Add(d)
	}
	for _, f := range []struct {
		flag, text string
		to         *int64
	}{{"--max-file", c.MaxFile, &n.MaxFile}, {"--bytes", c.Bytes, &n.BytesPerSecond}} {
		if f.text == "" {
			continue
		}
		size, err := config.ParseBytes(f.text)
		if err != nil {
			return n, fmt.Errorf("%s: %w", f.flag, err)
		}
		*f.to = int64(size)
	}
	n.MaxForm, n.RequestsPerSecond = c.MaxForm, c.Requests
	return n, nil
}

// parseAge reads a time such as 30d, 12h or 1h30m.
func parseAge(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil && n > 0 {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%q is not a time such as 30d or 12h", s)
	}
	return d, nil
}

// Run makes a key. The key alone goes to standard output, so that it can be piped into a file.
func (c *keysCreateCmd) Run(a *app) (err error) {
	n, err := c.asked(a.clock.Now())
	if err != nil {
		return err
	}
	place, err := c.open(a)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, place.close()) }()
	v, err := place.create(a.ctx, n)
	if err != nil {
		return err
	}
	if a.JSON {
		return a.printJSON(v)
	}
	fmt.Fprintln(a.stdout, v.Key)
	fmt.Fprintf(a.stderr, "This is the only time the key is shown. Its hash is kept %s.\n"+
		"Use it as PERIGEE_KEY, as \"Authorization: Bearer KEY\", or at the console's log-in page. From now on the API asks everyone for a key.\n", place)
	return nil
}

type keysListCmd struct{ keysAt }

// Run lists the keys.
func (c *keysListCmd) Run(a *app) (err error) {
	place, err := c.open(a)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, place.close()) }()
	list, err := place.list(a.ctx)
	switch {
	case err != nil:
		return err
	case a.JSON:
		return a.printJSON(map[string][]keyView{"keys": list})
	case len(list) == 0:
		fmt.Fprintf(a.stderr, "There is no key %s. On loopback none is needed; `perigee keys create` makes one.\n", place)
		return nil
	}
	w := tabwriter.NewWriter(a.stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tNAME\tSCOPES\tLIMITS\tCREATED\tEXPIRES\tLAST USED")
	for _, k := range list {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, k.Name, strings.Join(texts(k.Scopes), ","), cmp.Or(described(k.Limits), "-"),
			timeOr(k.Created, "-"), expiry(k, a.clock.Now()), timeOr(k.LastUsed, "-"))
	}
	return w.Flush()
}

// described says in words all that a key is limited to.
func described(l keys.Limits) string {
	var parts []string
	if reach := l.String(); reach != "" {
		parts = append(parts, reach)
	}
	if l.MaxFile > 0 {
		parts = append(parts, "files up to "+humanBytes(l.MaxFile))
	}
	if l.MaxForm > 0 {
		parts = append(parts, fmt.Sprintf("%s a form", plural(l.MaxForm, "file")))
	}
	if l.RequestsPerSecond > 0 {
		parts = append(parts, fmt.Sprintf("%g requests/s", l.RequestsPerSecond))
	}
	if l.BytesPerSecond > 0 {
		parts = append(parts, humanBytes(l.BytesPerSecond)+"/s")
	}
	return strings.Join(parts, "; ")
}

func expiry(k keyView, now time.Time) string {
	text := timeOr(k.Expires, "never")
	if !k.Expires.IsZero() && !now.Before(k.Expires) {
		text += " (expired)"
	}
	return text
}

// timeOr writes a time in UTC, and text for none.
func timeOr(t time.Time, text string) string {
	if t.IsZero() {
		return text
	}
	return t.UTC().Format(time.DateTime)
}

type keysRevokeCmd struct {
	keysAt
	IDs []string `arg:"" name:"id" help:"Ids, as keys list prints them."`
}

// Run revokes keys.
func (c *keysRevokeCmd) Run(a *app) (err error) {
	place, err := c.open(a)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, place.close()) }()
	for _, id := range c.IDs {
		if err := place.revoke(a.ctx, id); err != nil {
			return err
		}
		if !a.JSON {
			fmt.Fprintln(a.stdout, "revoked", id)
		}
	}
	if a.JSON {
		return a.printJSON(map[string][]string{"revoked": c.IDs})
	}
	if left, err := place.list(a.ctx); err == nil && !slices.ContainsFunc(left, func(k keyView) bool { return k.Expires.IsZero() || a.clock.Now().Before(k.Expires) }) {
		fmt.Fprintln(a.stderr, "That was the last key. An API beyond loopback will not start without one.")
	} // over the API, the key that asks may have been the one that was revoked
	return nil
}

type keysImportCmd struct {
	File string `arg:"" type:"existingfile" help:"A key file, as api.keys_file names it."`
}

// Run adds the keys of a file to the catalogue.
func (c *keysImportCmd) Run(a *app) error {
	place, err := a.keysOffLine()
	if err != nil {
		return err
	}
	if place.catalog == nil {
		return errors.New("this configuration keeps API keys in a file itself: set api.keys to catalogue first")
	}
	added, err := place.ring.Import(byLocalUser(a.ctx), keys.NewFileStore(c.File))
	err = errors.Join(err, place.close())
	if err != nil {
		return err
	}
	if a.JSON {
		return a.printJSON(map[string][]string{"imported": append([]string{}, added...)})
	}
	fmt.Fprintf(a.stdout, "%s taken over %s. The file is no longer used: keep it as a backup, or delete it.\n", plural(len(added), "key"), place)
	return nil
}
