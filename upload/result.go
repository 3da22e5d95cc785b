package upload

import (
	"context"
	"strings"
	"time"

	"perigee/object"
)

// result describes a version of a site's file. Position and ID are left to placed.
func (p *Publisher) result(rec object.SiteRecord, ptr object.Pointer) Result {
	base := strings.TrimSuffix(p.cfg.BaseURL(rec), "/")
	escaped := ptr.Path.Escape()
	res := Result{
		Site: ptr.Site, Path: ptr.Path, Version: ptr.Version, ETag: versionTag(ptr.Version),
		URL:          base + escaped,
		ImmutableURL: base + object.ReservedPrefix + "v/" + string(ptr.Version) + escaped,
		SHA256:       ptr.Hash, Size: ptr.Size, ContentType: ptr.ContentType,
	}
	if ptr.Object() { // of a bucket site, which keeps no versions
		res.ImmutableURL = ""
	}
	return res
}

// versionTag is a version as an entity tag.
func versionTag(v object.Version) string { return `"` + string(v) + `"` }

// placed fills in the change's entry in the log, and where the log has it, if that is known soon.
func (p *Publisher) placed(ctx context.Context, res *Result, entry string) {
	res.ID = entry
	ctx, cancel := context.WithTimeout(ctx, positionTime)
	defer cancel()
	if pos, err := p.cfg.Outbox.Wait(ctx, entry); err == nil {
		res.Position = pos
	}
}

// prove waits until the change is effective on every edge, at most for d, and notes whether it is.
func (p *Publisher) prove(ctx context.Context, res *Result, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	done := false
	if res.Position.IsZero() {
		if pos, err := p.cfg.Outbox.Wait(ctx, res.ID); err == nil {
			res.Position = pos
		}
	}
	if !res.Position.IsZero() && p.cfg.Proof != nil {
		done = p.cfg.Proof.Wait(ctx, res.Position)
	}
	res.Effective = &done
}

func (p *Publisher) announce(kind EventKind, res Result, ptr object.Pointer) {
	p.cfg.Log.Debug("file "+string(kind), "site", ptr.Site, "path", ptr.Path, "version", ptr.Version, "size", ptr.Size)
	if p.cfg.Events != nil {
		p.cfg.Events(Event{Kind: kind, Result: res, Pointer: ptr})
	}
}
