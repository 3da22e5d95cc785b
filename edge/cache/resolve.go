package cache

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"time"

	"perigee/object"
)

// pointerTimeout bounds one read of a pointer; a pointer is smaller than maxPointer bytes.
const (
	pointerTimeout = 5 * time.Second
	maxPointer     = 64 << 10
	// bucketPause is how often a bucket that did not answer is asked again.
	bucketPause = time.Second
)

// call is a read of a pointer under way; every request for the same name waits for it.
type call struct {
	done      chan struct{}
	from      tick      // when the read began
	asked     time.Time // the same, by the clock
	purged    marks     // changes of this very name that came after the read began
	overtaken bool      // the answer may be from before a change that has been applied: nobody joins any more
	erased    bool      // the name was erased meanwhile: whatever the answer is, there is no such version
	pointer   *object.Pointer
	err       error
}

// ErrRefused says that the engine is cut off from log and bucket and the site wants no stale answers.
var ErrRefused = errors.New("cut off from the control plane, and the site refuses unconfirmed answers")

// Resolve returns the pointer of a path, or of one version of it if version is not "". Outcomes:
// a live pointer; an error that wraps fs.ErrNotExist (absent, or deleted: see the Outcome's reason); ErrRefused;
// or another error, when the name had to be asked for and the origin failed. The Outcome is true in every case.
func (e *Engine) Resolve(ctx context.Context, site *object.SiteRecord, path object.Path, version object.Version) (*object.Pointer, Outcome, error) {
	k := nameKey{site.Site, path, version}
	if site.Kind == object.Bucket && version != "" { // objects have no versions here
		return answer(nil, Outcome{Reason: ReasonAbsent}, nil)
	}
	e.mu.Lock()
	n := e.recall(k)
	if n == nil {
		c, leader := e.join(k)
		e.mu.Unlock()
		p, err := c.wait(ctx)
		return answer(p, Outcome{Fwd: FwdURIMiss, Reason: ReasonNotHeld, Collapsed: !leader}, err)
	}
	st := e.judge(k, n)
	known := n.pointer
	if st == good {
		e.mu.Unlock()
		return answer(known, Outcome{Reason: ReasonBlobHeld}, nil)
	}
	if st != hard && !e.failed[e.storeOf(k.site)].IsZero() {
		e.probe(k)
		e.mu.Unlock()
		return e.stale(site, known, st)
	}
	c, leader := e.join(k)
	e.mu.Unlock()
	p, err := c.wait(ctx)
	if err != nil && st != hard && ctx.Err() == nil {
		return e.stale(site, known, st)
	}
	reason := ReasonPurged
	if st == expired {
		reason = ReasonLeaseRenewed
	}
	return answer(p, Outcome{Fwd: FwdStale, Reason: reason, Collapsed: !leader}, err)
}

// probe asks a bucket that did not answer last time, once a bucketPause and with nobody waiting for it: a bucket that is
// silent would cost each request for a stale name pointerTimeout. e.mu is held.
func (e *Engine) probe(k nameKey) {
	store := e.storeOf(k.site)
	if now := e.clock.Now(); now.Sub(e.failed[store]) >= bucketPause {
		e.failed[store] = now
		e.join(k)
	}
}

// judge adds the lease to the table's standing. e.mu is held.
func (e *Engine) judge(k nameKey, n *name) standing {
	st := e.table.standing(k, n)
	if st != good || k.version != "" && n.pointer != nil { // the record of a version never changes: no lease needed
		return st
	}
	now := e.clock.Now()
	if e.leaseLeft(now) > 0 {
		return good
	}
	if !n.confirmed.IsZero() && now.Sub(n.confirmed) < e.jittered(k) {
		return good
	}
	return expired
}

var leaseSeed = maphash.MakeSeed()

// jittered spreads the end of the lease over its last fifth, differently for each name, so that a cut-off edge
// does not ask the bucket for everything at once.
func (e *Engine) jittered(k nameKey) time.Duration {
	h := maphash.Comparable(leaseSeed, k)
	return e.lease - time.Duration(h%1024)*e.lease/5/1024
}

// stale answers with what is known though it could not be confirmed.
func (e *Engine) stale(site *object.SiteRecord, known *object.Pointer, st standing) (*object.Pointer, Outcome, error) {
	rule := site.Rules.OnPartition
	if rule == "" {
		rule = e.onCut
	}
	if rule == object.Refuse && (st == expired || e.LeaseLeft() == 0) {
		return nil, Outcome{Reason: ReasonRefused}, ErrRefused
	}
	reason := ReasonLeaseExpired
	if st == soft {
		reason = ReasonPurged
	}
	return answer(known, Outcome{Reason: reason, Stale: true}, nil)
}

// answer turns a pointer into the result of Resolve.
func answer(p *object.Pointer, o Outcome, err error) (*object.Pointer, Outcome, error) {
	switch {
	case err != nil:
		o.Reason = originReason(err)
		return nil, o, err
	case p == nil:
		o.Reason = ReasonAbsent
		return nil, o, fmt.Errorf("the file: %w", fs.ErrNotExist)
	case p.State == object.Gone:
		o.Reason = ReasonDeleted
		return p, o, fmt.Errorf("the file: %w", fs.ErrNotExist)
	}
	return p, o, nil
}

// join returns the read of k that is under way, or starts one. e.mu is held.
func (e *Engine) join(k nameKey) (c *call, leader bool) {
	if c := e.calls[k]; c != nil && !c.overtaken {
		return c, false
	}
	c = &call{done: make(chan struct{}), from: e.table.now, asked: e.clock.Now()}
	e.calls[k] = c
	if !e.startLocked(func() { e.fetch(k, c) }) {
		delete(e.calls, k)
		c.err = context.Canceled
		close(c.done)
	}
	return c, true
}

func (c *call) wait(ctx context.Context) (*object.Pointer, error) {
	select {
	case <-c.done:
		return c.pointer, c.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// fetch reads a pointer and admits it.
//
// The race it must win: (1) fetch asks the bucket at tick 7; (2) the log brings a purge of this name, tick 8, which finds no
// name in the table; (3) the bucket's answer from before the purge arrives. Admitted as checked at tick 8 it would stay for
// ever. Therefore it is admitted as checked at tick 7, with the marks that overtake left in the call, and the next
// request finds the name purged. A new pointer that comes in step (2) is in the table by itself, and set keeps the newer.
// (4) A request that comes between (2) and (3) must not be given that answer either: it does not join this fetch.
func (e *Engine) fetch(k nameKey, c *call) {
	ctx, cancel := context.WithTimeout(e.ctx, pointerTimeout)
	defer cancel()
	p, err := e.readPointer(ctx, k)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.calls[k] == c {
		delete(e.calls, k)
	}
	store := e.storeOf(k.site)
	delete(e.failed, store)
	switch {
	case c.erased && (err == nil || errors.Is(err, fs.ErrNotExist)): // c.pointer stays nil, and nothing is kept
	case err == nil:
		c.pointer = e.admit(k, p, c)
	case errors.Is(err, fs.ErrNotExist):
		c.pointer = e.admitAbsence(k, c)
	default:
		c.err = err
		if !errors.Is(err, errCorrupt) { // one damaged record says nothing about the bucket's health
			e.failed[store] = e.clock.Now()
		}
	}
	close(c.done)
}

// admit takes in what the bucket said of k and returns the pointer that counts. e.mu is held.
func (e *Engine) admit(k nameKey, p *object.Pointer, c *call) *object.Pointer {
	known := e.recallLocked(k)
	if known != nil {
		known.settle(p)
	}
	// A name that only had to be confirmed because the lease ran out is on disk as it should be.
	fresh := known == nil || known.pointer.Version != p.Version || e.table.purged(k, known)
	n := e.table.stored(k, known)
	n.purged = n.purged.max(c.purged)
	if n.take(p, c.from, c.asked) && fresh {
		e.remember(k, n)
	}
	return n.pointer
}

// admitAbsence remembers that the bucket has no k, and returns the pointer that stands against it, if one does: the bucket lags, for a
// file that is deleted leaves a tombstone. The record of one version leaves nothing. e.mu is held.
func (e *Engine) admitAbsence(k nameKey, c *call) *object.Pointer {
	if k.version != "" {
		e.disremember(k)
	} else if n := e.recallLocked(k); n != nil && e.bucketSource(k.site) != nil {
		return e.objectGone(k, n, c)
	} else if n != nil {
		stale := e.table.purged(k, n)
		n.purged = n.purged.max(c.purged)
		n.checked = max(n.checked, c.from)
		n.confirmed = c.asked
		if stale {
			e.remember(k, n)
		}
		return n.pointer
	}
	e.table.absent.put(k, &name{checked: c.from, confirmed: c.asked, purged: c.purged})
	return nil
}

// readPointer reads and checks the record of k. A record that names another file is the origin's damage.
func (e *Engine) readPointer(ctx context.Context, k nameKey) (*object.Pointer, error) {
	e.counters.pointerReads.Add(1)
	if src := e.bucketSource(k.site); src != nil {
		return e.readObject(ctx, k, src)
	}
	key := object.HeadKey(k.site, k.path)
	if k.version != "" {
		key = object.VersionKey(k.site, k.path, k.version)
	}
	b, err := e.readSmall(ctx, key)
	if err != nil {
		return nil, err
	}
	p, err := object.UnmarshalPointer(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", errCorrupt, err)
	}
	if p.Site != k.site || p.Path != k.path || k.version != "" && p.Version != k.version {
		return nil, fmt.Errorf("%w: the record under %s is of %s%s", errCorrupt, key, p.Site, p.Path)
	}
	return p, nil
}

func (e *Engine) readSmall(ctx context.Context, key object.Key) ([]byte, error) {
	body, err := e.origin.Get(ctx, key, 0, -1)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	defer body.Close()
	b, err := io.ReadAll(io.LimitReader(body, maxPointer+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	if len(b) > maxPointer {
		return nil, fmt.Errorf("%w: %s has more than %d bytes", errCorrupt, key, maxPointer)
	}
	return b, nil
}
