package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"slices"
	"time"

	"perigee/catalog"
	"perigee/config"
	"perigee/fleet"
	"perigee/fleet/bus"
	"perigee/object"
	"perigee/purge"
	"perigee/upload"
	"perigee/web"
)

// The API's rooms know each other by small interfaces. What stands here fits one to the other and decides nothing.

// nodes is the fleet as the console sees and commands it.
type nodes struct {
	*fleet.Board
	bus *bus.Client
}

// Drain implements web.Fleet.
func (n nodes) Drain(ctx context.Context, node string, drain bool) error {
	if n.Snapshot().Find(node) == nil {
		return fmt.Errorf("node %q: %w", node, fs.ErrNotExist)
	}
	if drain {
		return n.bus.Send(ctx, node, bus.Request{Command: bus.Drain}, nil)
	}
	return n.bus.Send(ctx, node, bus.Request{Command: bus.Undrain}, nil)
}

// proofs tells how far changes have been applied: by every edge that has not left on purpose.
type proofs struct {
	*purge.Tracker
	board     *fleet.Board
	catalog   *catalog.Catalog
	publisher *upload.Publisher
}

// expected returns the edges a proof waits for. One that crashed stays pending; one that stopped in order has no readers.
func (p proofs) expected() []string {
	var names []string
	for n := range p.board.Snapshot().Edges {
		if !(n.Down && n.State == fleet.Stopping) {
			names = append(names, n.Node)
		}
	}
	return names
}

// Wait implements upload.Proof.
func (p proofs) Wait(ctx context.Context, at purge.Position) bool {
	for {
		changed := p.Changed()
		if purge.Effective(p.Tracker.Proof("", at, p.expected())) {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// Purge implements web.Purges.
func (p proofs) Purge(ctx context.Context, site object.Site, r web.PurgeRequest) (string, purge.Position, error) {
	id, pos, err := p.publisher.Purge(ctx, site, catalog.PurgeRequest(r))
	return id, pos, away(err)
}

// Proof implements web.Purges.
func (p proofs) Proof(id string) (web.Proof, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	at, known := p.Tracker.Position(id) // the catalogue may learn it a moment later
	if !known {
		var err error
		if at, err = p.catalog.PositionOf(ctx, id); err != nil {
			return web.Proof{}, away(err)
		}
	}
	if at.IsZero() { // still in the outbox
		return web.NewProof(id, at, nil), nil
	}
	return web.NewProof(id, at, p.Tracker.Proof(id, at, p.expected())), nil
}

// Subject implements web.Purges.
func (p proofs) Subject(ctx context.Context, id string) (object.Site, string, error) {
	r, err := p.catalog.Row(ctx, id)
	if err != nil {
		return "", "", err
	}
	if r.Entry.Pointer != nil {
		return r.Entry.Site, string(r.Entry.Pointer.Path), nil
	}
	return r.Entry.Site, string(r.Entry.Path) + string(r.Entry.Prefix), nil // it has one of the two, or neither
}

// contents erases what was published and tells of the collector.
type contents struct {
	*upload.Publisher
}

// EraseFiles implements web.Contents.
func (c contents) EraseFiles(ctx context.Context, site object.Site, paths ...object.Path) (web.Erased, error) {
	e, err := c.Publisher.EraseFiles(ctx, site, paths...)
	return web.Erased(e), err
}

// EraseContent implements web.Contents.
func (c contents) EraseContent(ctx context.Context, hash object.Hash, site object.Site) (web.Erased, error) {
	e, err := c.Publisher.EraseContent(ctx, hash, site)
	return web.Erased(e), err
}

// Garbage implements web.Contents.
func (c contents) Garbage(ctx context.Context, limit int) (web.Garbage, error) {
	g, err := c.Publisher.Garbage(ctx, limit)
	out := web.Garbage{
		After: int64(g.After / time.Second), Condemned: web.Heap(g.Condemned), Deleting: web.Heap(g.Deleting), Done: web.Collected(g.Done), Strays: (*web.Strays)(g.Strays),
	}
	for _, b := range g.Blobs {
		out.Blobs = append(out.Blobs, web.Blob{Key: b.Key, SHA256: b.Hash, Size: b.Size, Since: b.Since, Due: b.Since.Add(g.After)})
	}
	return out, err
}

// sites is the list of sites as the console sees it.
type sites struct {
	*upload.Publisher
	catalog *catalog.Catalog
	// declared are the sites of the configuration, which nobody else changes.
	declared []object.SiteRecord
	cfg      *config.Config
}

// CreateSite implements web.Sites.
func (s sites) CreateSite(ctx context.Context, rec object.SiteRecord) (object.SiteRecord, error) {
	if err := checkStore(s.cfg, rec); err != nil {
		return rec, err
	}
	rec, err := s.Publisher.CreateSite(ctx, rec)
	return rec, away(err)
}

// UpdateSite implements web.Sites.
func (s sites) UpdateSite(ctx context.Context, rec object.SiteRecord, match object.Version) (object.SiteRecord, error) {
	if slices.ContainsFunc(s.declared, func(d object.SiteRecord) bool { return d.Site == rec.Site }) {
		return rec, fmt.Errorf("site %s is declared in the file of api.sites_file: change it there, and start again: %w", rec.Site, fs.ErrPermission)
	}
	if err := checkStore(s.cfg, rec); err != nil {
		return rec, err
	}
	rec, err := s.Publisher.UpdateSite(ctx, rec, match)
	if errors.Is(err, catalog.ErrPrecondition) {
		err = fmt.Errorf("site %s: %w", rec.Site, web.ErrPrecondition)
	}
	return rec, away(err)
}

// Sites implements web.Sites.
func (s sites) Sites(ctx context.Context) ([]object.SiteRecord, error) {
	var all []object.SiteRecord
	for after := object.Site(""); ; {
		page, err := s.catalog.Sites(ctx, after, 1000)
		if err != nil || len(page) == 0 {
			return all, away(err)
		}
		all = append(all, page...)
		after = page[len(page)-1].Site
	}
}

// files is the list of the newest files for the page without scripts.
type files struct {
	catalog *catalog.Catalog
	sites   sites
	zone    config.Zone
}

// Recent implements web.Files.
func (f files) Recent(ctx context.Context, limit int) ([]web.File, error) {
	list, err := f.catalog.Recent(ctx, limit)
	if err != nil {
		return nil, away(err)
	}
	all, err := f.sites.Sites(ctx)
	if err != nil {
		return nil, err
	}
	base := map[object.Site]string{}
	for _, s := range all {
		base[s.Site] = urlBase(f.zone, s)
	}
	out := make([]web.File, 0, len(list))
	for _, x := range list {
		p := x.Pointer
		out = append(out, web.File{
			Site: p.Site, Path: p.Path, URL: base[p.Site] + p.Path.Escape(), SHA256: p.Hash, Size: p.Size, ContentType: p.ContentType, Modified: p.Modified,
		})
	}
	return out, nil
}

// urlBase is what the URLs of a site's files begin with: its first host, or its name in the zone.
func urlBase(z config.Zone, s object.SiteRecord) string {
	if len(s.Hosts) > 0 {
		return z.URLBase(s.Hosts[0])
	}
	return z.URLBase(z.HostOf(s.Site))
}

// serveHTTP serves the API and console on ln until ctx ends. Uploads may take as long as they move: their handlers set deadlines.
func serveHTTP(ctx context.Context, r *role, ln net.Listener, h http.Handler) error {
	s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10, ErrorLog: quiet(r.log)}
	base, cut := context.WithCancel(context.Background())
	defer cut()
	s.BaseContext = func(net.Listener) context.Context { return base }
	failed := make(chan error, 1)
	go func() { failed <- s.Serve(ln) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := s.Shutdown(stop)
	if stop.Err() != nil { // an upload goes on; it resumes from what is stored
		cut()
		err = s.Close()
	}
	<-failed
	return err
}
