package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"perigee/catalog"
	"perigee/client"
	"perigee/keys"
	"perigee/object"
)

// keyPlace is where `perigee keys` finds the keys.
type keyPlace interface {
	create(ctx context.Context, n keys.NewKey) (keyView, error)
	list(ctx context.Context) ([]keyView, error)
	revoke(ctx context.Context, id string) error
	// String says where it is, for a sentence.
	String() string
	close() error
}

// keysAt are the flags that say where the keys are.
type keysAt struct {
	remote
	Offline bool `help:"Work on the place of the keys itself, the file or the catalogue of the configuration, although PERIGEE_URL or PERIGEE_KEY is set. Needs no key and no running API."`
}

// open opens the place of the keys: over the API if it is said where that is or which key to use, else the place itself.
func (k *keysAt) open(a *app) (keyPlace, error) {
	told := cmp.Or(k.URL, k.KeyFile, a.lookup("PERIGEE_URL"), a.lookup("PERIGEE_KEY"), a.lookup("PERIGEE_KEY_FILE"))
	if k.Offline && (k.URL != "" || k.KeyFile != "") {
		return nil, errors.New("--offline works without the API: leave out --url and --key-file")
	}
	if told != "" && !k.Offline {
		cl, err := k.connect(a)
		return keysOnLine{cl}, err
	}
	return a.keysOffLine()
}

// keysOnLine are the keys of a running API.
type keysOnLine struct{ *client.Client }

func (o keysOnLine) create(ctx context.Context, n keys.NewKey) (keyView, error) {
	k, secret, err := o.CreateKey(ctx, client.NewKey{Name: n.Name, Scopes: texts(n.Scopes), Expires: n.Expires, KeyLimits: client.KeyLimits{
		Sites: texts(n.Sites), Prefixes: texts(n.Prefixes), MaxFile: n.MaxFile, MaxForm: n.MaxForm, RequestsPerSecond: n.RequestsPerSecond, BytesPerSecond: n.BytesPerSecond,
	}})
	v := viewOfRemote(k)
	v.Key = secret
	return v, err
}

func (o keysOnLine) list(ctx context.Context) ([]keyView, error) {
	all, err := o.Keys(ctx)
	views := make([]keyView, 0, len(all))
	for _, k := range all {
		views = append(views, viewOfRemote(k))
	}
	return sortedByAge(views), err
}

func (o keysOnLine) revoke(ctx context.Context, id string) error { return o.RevokeKey(ctx, id) }
func (o keysOnLine) String() string                              { return "at " + o.BaseURL() }
func (o keysOnLine) close() error                                { o.Close(); return nil }

func viewOfRemote(k client.Key) keyView {
	return keyView{ID: k.ID, Name: k.Name, Scopes: typed[keys.Scope](k.Scopes), Created: k.Created, Expires: k.Expires, LastUsed: k.LastUsed, Limits: keys.Limits{
		Sites: typed[object.Site](k.Sites), Prefixes: typed[object.Prefix](k.Prefixes), MaxFile: k.MaxFile, MaxForm: k.MaxForm,
		RequestsPerSecond: k.RequestsPerSecond, BytesPerSecond: k.BytesPerSecond,
	}}
}

// texts and typed turn lists of one kind of text into another.
func texts[T ~string](in []T) []string { return typed[string](in) }

func typed[To, From ~string](in []From) []To {
	var out []To
	for _, s := range in {
		out = append(out, To(s))
	}
	return out
}

// keysOffLine are the keys themselves, where the configuration keeps them.
type keysOffLine struct {
	ring    *keys.Ring
	where   string
	catalog *catalog.Catalog // nil if they are in a file
}

// keysOffLine opens the file or the catalogue that the configuration keeps keys in. Keys of the environment are not in it.
func (a *app) keysOffLine() (*keysOffLine, error) {
	cfg, err := a.load()
	if err != nil {
		return nil, err
	}
	if !cfg.KeysInCatalogue() {
		ring, err := keys.Open(keys.Config{Store: newKeyFile(cfg.API.KeysFile, a.clock), Clock: a.clock})
		return &keysOffLine{ring: ring, where: "in " + cfg.API.KeysFile}, err
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	r := &role{cfg: cfg, clock: a.clock, log: slog.New(slog.DiscardHandler)}
	cc := r.catalogConfig()
	if err := os.MkdirAll(filepath.Dir(cc.File), 0o700); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	c, err := catalog.Open(a.ctx, cc)
	if err != nil {
		if !cfg.Catalog.IsPostgres() {
			err = fmt.Errorf("%w\nWhile the API runs, work on its keys over it: perigee keys --url %s", err, cfg.API.URL())
		}
		return nil, err
	}
	ring, err := keys.Open(keys.Config{Store: c.KeyStore(), Clock: a.clock})
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return &keysOffLine{ring, "in the catalogue", c}, nil
}

func (o *keysOffLine) create(ctx context.Context, n keys.NewKey) (keyView, error) {
	secret, k, err := o.ring.Create(byLocalUser(ctx), n)
	return viewOf(k, secret), err
}

func (o *keysOffLine) list(ctx context.Context) (views []keyView, err error) {
	var used map[string]time.Time
	if o.catalog != nil {
		if used, err = o.catalog.KeyUses(ctx); err != nil {
			return nil, err
		}
	}
	views = []keyView{}
	for _, k := range o.ring.List() {
		v := viewOf(k, "")
		v.LastUsed = used[k.ID]
		views = append(views, v)
	}
	return views, nil
}

func (o *keysOffLine) revoke(ctx context.Context, id string) error {
	return o.ring.Revoke(byLocalUser(ctx), id)
}

func (o *keysOffLine) String() string { return o.where }

func (o *keysOffLine) close() error {
	if o.catalog == nil {
		return nil
	}
	return o.catalog.Close()
}

// byLocalUser returns a context whose changes are those of whoever runs this command.
func byLocalUser(ctx context.Context) context.Context {
	name := "uid " + strconv.Itoa(os.Getuid())
	if u, err := user.Current(); err == nil && u.Username != "" {
		name = u.Username
	}
	if host, err := os.Hostname(); err == nil {
		name += "@" + host
	}
	return catalog.WithActor(ctx, catalog.Actor{Key: offlineID, Name: name})
}

// offlineID stands in the audit log where otherwise the id of an API key does.
const offlineID = "offline"

// sortedByAge returns keys with the oldest first, as a store has them.
func sortedByAge(list []keyView) []keyView {
	slices.SortStableFunc(list, func(a, b keyView) int { return a.Created.Compare(b.Created) })
	return list
}
