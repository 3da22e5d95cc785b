package upload

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"perigee/catalog"
	"perigee/clock"
	"perigee/object"
)

// claim is the right of one request to work on an upload: the lock among the requests of this process, and the catalogue's lease among
// processes. Make one with Publisher.claim or claimNew, end it with release.
type claim struct {
	p      *Publisher
	lease  catalog.Lease
	unlock func()
	// ctx ends when the lease is lost. It does not end with the client: what has arrived is stored all the same.
	ctx    context.Context
	cancel context.CancelCauseFunc

	keeping sync.WaitGroup
	stop    chan struct{}
	// expires is what release leaves behind.
	expires time.Time
	ended   bool // retired: there is nothing to release
}

const (
	// renewEvery is how often a lease is renewed, and how soon its holder hears that another process wants the upload.
	renewEvery = 2 * time.Second
	// askEvery is how often an upload is asked for that another process has.
	askEvery = 250 * time.Millisecond
)

// claim waits for the upload. Whoever works on it, here or in another process, is asked to store what it has and to let go. end, which
// may be called more than once and must not block, is how a newer request will ask this one; nil if there is nothing to hurry. Errors:
// fs.ErrNotExist, errLocked, ctx's.
func (p *Publisher) claim(ctx context.Context, id object.UploadID, end func()) (*claim, error) {
	unlock, err := p.locks.take(ctx, p.cfg.Clock, id, end)
	if err != nil {
		return nil, err
	}
	patience := p.cfg.Clock.Now().Add(lockPatience)
	for {
		lease, err := p.cfg.Catalog.LeaseUpload(ctx, id)
		if err == nil {
			return p.newClaim(ctx, lease, unlock, end), nil
		}
		if errors.Is(err, catalog.ErrLeased) {
			if p.cfg.Clock.Now().After(patience) {
				err = errLocked
			} else if err = clock.Sleep(ctx, p.cfg.Clock, askEvery/2+rand.N(askEvery)); err == nil {
				continue
			}
		}
		unlock()
		return nil, err
	}
}

// tryClaim returns nil if somebody works on the upload.
func (p *Publisher) tryClaim(ctx context.Context, id object.UploadID) (*claim, error) {
	unlock, ok := p.locks.try(id)
	if !ok {
		return nil, nil
	}
	lease, err := p.cfg.Catalog.LeaseUpload(ctx, id)
	if err != nil {
		unlock()
		if errors.Is(err, catalog.ErrLeased) {
			err = nil
		}
		return nil, err
	}
	return p.newClaim(ctx, lease, unlock, nil), nil
}

// claimNew notes a new upload, which is claimed with that.
func (p *Publisher) claimNew(ctx context.Context, u catalog.Upload, end func()) (*claim, error) {
	unlock, err := p.locks.take(ctx, p.cfg.Clock, u.ID, end)
	if err != nil {
		return nil, err
	}
	lease, err := p.cfg.Catalog.OpenUpload(ctx, u)
	if err != nil {
		unlock()
		return nil, err
	}
	p.at(afterNote)
	return p.newClaim(ctx, lease, unlock, end), nil
}

func (p *Publisher) newClaim(ctx context.Context, l catalog.Lease, unlock func(), end func()) *claim {
	c := &claim{p: p, lease: l, unlock: unlock, stop: make(chan struct{}), expires: l.Upload.Expires}
	c.ctx, c.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	if !l.Until.IsZero() {
		c.keeping.Go(func() { c.keep(l, end) })
	}
	return c
}

// keep renews the lease until release. When another process asks for the upload, or the lease is lost, it calls end.
func (c *claim) keep(l catalog.Lease, end func()) {
	hurry := func() {
		if end != nil {
			end()
		}
	}
	tick := c.p.cfg.Clock.NewTicker(renewEvery)
	defer tick.Stop()
	for {
		select {
		case <-c.stop:
			return
		case <-tick.C():
		}
		left := l.Until.Sub(c.p.cfg.Clock.Now())
		if left <= 0 { // this process, or the catalogue, was away for too long
			c.cancel(catalog.ErrTaken)
			hurry()
			return
		}
		ctx, cancel := context.WithTimeout(c.ctx, left)
		wanted, err := c.p.cfg.Catalog.RenewUpload(ctx, &l)
		cancel()
		if errors.Is(err, catalog.ErrTaken) {
			c.cancel(catalog.ErrTaken)
		}
		if wanted || errors.Is(err, catalog.ErrTaken) {
			hurry()
		}
	}
}

// live makes the upload live for Config.UploadTTL from now on.
func (c *claim) live() { c.expires = c.p.rest() }

// release ends the claim. Nothing of the work may be on its way to the bucket any more.
func (c *claim) release() {
	close(c.stop)
	c.keeping.Wait()
	defer c.unlock()
	defer c.cancel(nil)
	if c.ended {
		return
	}
	// The client may be gone. A lease that is not released holds up the next one and costs it a look at the bucket.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), cleanTime)
	defer cancel()
	if err := c.p.cfg.Catalog.ReleaseUpload(ctx, c.lease, c.expires); err != nil {
		c.p.cfg.Log.Warn("the lease of an upload could not be released", "upload", c.lease.Upload.ID, "err", err)
	}
}

// retire ends the upload for good, after its bytes were removed: for a while its note says that it is gone.
func (c *claim) retire(ctx context.Context) error {
	err := c.p.cfg.Catalog.RetireUpload(ctx, c.lease, c.p.rest())
	c.ended = err == nil
	return err
}
