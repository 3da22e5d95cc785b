package main

import (
	"fmt"
	"slices"
	"text/tabwriter"
	"time"

	"perigee/keys"
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
	Key     string       `json:"key,omitempty"` // only when it was just made
}

func viewOf(k keys.Key, secret string) keyView {
	return keyView{k.ID, k.Name, k.Scopes, k.Created, k.Expires, secret}
}

type keysCreateCmd struct {
	Name    string        `required:"" placeholder:"NAME" help:"Who or what will use it."`
	Scope   string        `default:"publish" placeholder:"A,B" help:"What it allows: read, publish, purge, admin; every key may read."`
	Expires time.Duration `placeholder:"720h" help:"How long it is good; for ever if it is not given."`
}

// Run makes a key. The key alone goes to standard output, so that it can be piped into a file.
func (c *keysCreateCmd) Run(a *app) error {
	scopes, err := keys.ParseScopes(c.Scope)
	if err != nil {
		return err
	}
	if c.Expires < 0 {
		return fmt.Errorf("--expires %v is negative", c.Expires)
	}
	r, file, err := a.ring()
	if err != nil {
		return err
	}
	var expires time.Time
	if c.Expires > 0 {
		expires = a.clock.Now().Add(c.Expires)
	}
	secret, k, err := r.Create(c.Name, scopes, expires)
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
	fmt.Fprintln(w, "ID\tNAME\tSCOPES\tCREATED\tEXPIRES")
	for _, k := range list {
		expires := "never"
		if !k.Expires.IsZero() {
			expires = k.Expires.Format(time.DateTime)
		}
		if k.Expired(a.clock.Now()) {
			expires += " (expired)"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", k.ID, k.Name, joinScopes(k.Scopes), k.Created.Format(time.DateTime), expires)
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
		if err := r.Revoke(id); err != nil {
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
