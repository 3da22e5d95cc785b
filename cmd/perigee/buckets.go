package main

import (
	"fmt"
	"net/http"
	"slices"

	"perigee/catalog/watched"
	"perigee/config"
	"perigee/edge"
	"perigee/object"
	"perigee/origin"
	"perigee/origin/watch"
	"perigee/web"
)

// readers opens the buckets of bucket sites, by their names; "" is own, Perigee's. They are for edges, or for those who watch.
func (r *role) readers(own *origin.Reader, edges bool) (map[string]*origin.Reader, error) {
	all := map[string]*origin.Reader{"": own}
	for _, s := range r.cfg.Stores {
		c := origin.Config{
			Endpoint: s.Endpoint, Region: s.Region, Bucket: s.Bucket, AccessKey: s.AccessKey, SecretKey: s.SecretKey.Reveal(), PathStyle: s.PathStyle,
			Log: r.log, Clock: r.clock,
		}
		if edges && s.EdgeAccessKey != "" {
			c.AccessKey, c.SecretKey = s.EdgeAccessKey, s.EdgeSecretKey.Reveal()
		}
		reader, err := origin.NewReader(c)
		if err != nil {
			return nil, fmt.Errorf("store %s: %w", s.Name, err)
		}
		r.onStop("store "+s.Name, func() error { reader.Close(); return nil })
		all[s.Name] = reader
	}
	return all, nil
}

// edgeStores are the buckets of bucket sites as an edge reads them.
func (r *role) edgeStores(own *origin.Reader) (edge.Stores, error) {
	all, err := r.readers(own, true)
	return edge.Stores(all), err
}

// newWatcher makes the watcher of bucket sites.
func (a *api) newWatcher(own *origin.Reader) (*watch.Watcher, error) {
	readers, err := a.r.readers(own, false)
	if err != nil {
		return nil, err
	}
	stores := map[string]watch.Store{}
	for name, s := range readers {
		stores[name] = s
	}
	return watch.New(watch.Config{Node: a.node, Book: watched.Book{Catalog: a.catalog}, Stores: stores, Clock: a.r.clock, Log: a.r.log.With("part", "watch")})
}

// withEvents serves the route of stores' events beside h, whose guard does not know their secret.
func (a *api) withEvents(h http.Handler) http.Handler {
	events := web.NewBucketEvents(web.EventsConfig{Secret: a.r.cfg.API.EventsSecret.Reveal(), Take: a.watcher.Take, Log: a.r.log})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == web.BucketEventsPath {
			events.ServeHTTP(w, r)
			return
		}
		h.ServeHTTP(w, r)
	})
}

func storeNames(stores []config.Store) []string {
	var names []string
	for _, s := range stores {
		names = append(names, s.Name)
	}
	return names
}

// checkStore refuses a bucket site whose store nobody here knows.
func checkStore(c *config.Config, rec object.SiteRecord) error {
	if rec.Kind != object.Bucket || rec.Bucket == nil || rec.Bucket.Store == "" {
		return nil
	}
	if !slices.ContainsFunc(c.Stores, func(s config.Store) bool { return s.Name == rec.Bucket.Store }) {
		return fmt.Errorf("site %s: %w: no store %q is configured: add it below stores, for the API and for the edges", rec.Site, object.ErrInvalid, rec.Bucket.Store)
	}
	return nil
}
