package main

import (
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

// keysCmd works on the key file itself, so that it also works before the first start and when every key is lost. A
// running server notices within a second.
type keysCmd struct {
	Create keysCreateCmd `cmd:"" help:"Make a key and print it, once."`
	List   keysListCmd   `cmd:"" default:"withargs" help:"List the keys."`
	Revoke keysRevokeCmd `cmd:"" help:"End a key and its sessions."`
}

// ring opens the key file of the configuration. Keys of the environment are not in it.
func (a *app) ring() (*keys.Ring, string, error) {
	cfg, err := a.load()
	if err != nil {
		return nil, "", err
	}
	r, err := keys.Open(keys.Config{File: cfg.API.KeysFile, Clock: a.clock})
	return r, cfg.API.KeysFile, err
}

// keyView is a key as it is shown: without its hash.
type keyView struct {
	ID      string       `json:"id"`
	Name    string       `json:"name"`
	Scopes  []keys.Scope `json:"scopes"`
	Created time.Time    `json:"created"`
	Expires time.Time    `json:"expires,omitzero"`
	keys.Limits
	Key string `json:"key,omitempty"` // only when it was just made
}

func viewOf(k keys.Key, secret string) keyView {
	return keyView{k.ID, k.Name, k.Scopes, k.Created, k.Expires, k.Limits, secret}
}

type keysCreateCmd struct {
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
func (c *keysCreateCmd) Run(a *app) error {
	n, err := c.asked(a.clock.Now())
	if err != nil {
		return err
	}
	r, file, err := a.ring()
	if err != nil {
		return err
	}
	secret, k, err := r.Create(a.ctx, n)
	if err != nil {
		return err
	}
	if a.JSON {
		return a.printJSON(viewOf(k, secret))
	}
	fmt.Fprintln(a.stdout, secret)
	fmt.Fprintf(a.stderr, "This is the only time the key is shown. Its hash is in %s.\n"+
		"Use it as PERIGEE_KEY, as \"Authorization: Bearer KEY\", or at the console's log-in page. From now on the API asks everyone for a key.\n", file)
	return nil
}

type keysListCmd struct{}

// Run lists the keys.
func (c *keysListCmd) Run(a *app) error {
	r, file, err := a.ring()
	if err != nil {
		return err
	}
	list := r.List()
	if a.JSON {
		views := []keyView{}
		for _, k := range list {
			views = append(views, viewOf(k, ""))
		}
		return a.printJSON(map[string][]keyView{"keys": views})
	}
	if len(list) == 0 {
		fmt.Fprintf(a.stderr, "There is no key in %s. On loopback none is needed; `perigee keys create` makes one.\n", file)
		return nil
	}
	w := tabwriter.NewWriter(a.stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tNAME\tSCOPES\tLIMITS\tCREATED\tEXPIRES")
	for _, k := range list {
		expires := "never"
		if !k.Expires.IsZero() {
			expires = k.Expires.Format(time.DateTime)
		}
		if k.Expired(a.clock.Now()) {
			expires += " (expired)"
		}
		limits := k.Limits.String()
		if limits == "" {
			limits = "-"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, k.Name, joinScopes(k.Scopes), limits, k.Created.Format(time.DateTime), expires)
	}
	return w.Flush()
}

func joinScopes(scopes []keys.Scope) string {
	s := ""
	for i, sc := range scopes {
		if i > 0 {
			s += ","
		}
		s += string(sc)
	}
	return s
}

type keysRevokeCmd struct {
	IDs []string `arg:"" name:"id" help:"Ids, as keys list prints them."`
}

// Run revokes keys.
func (c *keysRevokeCmd) Run(a *app) error {
	r, _, err := a.ring()
	if err != nil {
		return err
	}
	for _, id := range c.IDs {
		if err := r.Revoke(a.ctx, id); err != nil {
			return err
		}
		if !a.JSON {
			fmt.Fprintln(a.stdout, "revoked", id)
		}
	}
	if !slices.ContainsFunc(r.List(), func(k keys.Key) bool { return k.Expires.IsZero() || !k.Expired(a.clock.Now()) }) {
		fmt.Fprintln(a.stderr, "That was the last key. An API beyond loopback will not start without one.")
	}
	if a.JSON {
		return a.printJSON(map[string][]string{"revoked": c.IDs})
	}
	return nil
}
