package contract

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"perigee/clock"
	"perigee/object"
	"perigee/origin"
)

// Level is how much depends on a check.
type Level string

// The levels.
const (
	// Vital checks must hold: Perigee does not work with a store where one does not.
	Vital Level = "vital"
	// Limited checks may fail: Perigee works, within the limits that Check.Without states.
	Limited Level = "limited"
)

// Check is one thing that Perigee relies on.
type Check struct {
	// Name says what should hold. It is unique and stays the same: scripts may look for it.
	Name  string
	Level Level
	// Without says in a sentence or two what it means for Perigee when the check fails.
	Without string

	run func(*trial)
}

// Checks returns all checks, in an order in which the first failure explains the most.
func Checks() []Check {
	var all []Check
	for _, group := range [][]Check{objectChecks, conditionChecks, multipartChecks, listChecks, requestChecks, keyChecks} {
		all = append(all, group...)
	}
	return all
}

// Bucket is a bucket that checks run against. Close it.
type Bucket struct {
	cfg    origin.Config
	clock  clock.Clock
	prefix string
	reader *origin.Reader
	writer *origin.Writer

	// skew is how far the store's clock was ahead of ours in its last answer; seen is false until it sent a Date.
	skew atomic.Int64
	seen atomic.Bool
}

// Open returns the bucket of cfg, whose key must be allowed to read, write, list and delete below prefix. Everything the checks write
// has a key that begins with prefix, which ends with '/'.
func Open(ctx context.Context, cfg origin.Config, prefix string) (*Bucket, error) {
	if !strings.HasSuffix(prefix, "/") {
		return nil, fmt.Errorf("prefix %q does not end with '/'", prefix)
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.System
	}
	b := &Bucket{clock: cfg.Clock, prefix: prefix}
	outer := cfg.Wrap
	cfg.Wrap = func(t http.RoundTripper) http.RoundTripper {
		if outer != nil {
			t = outer(t)
		}
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			res, err := t.RoundTrip(r)
			if err == nil {
				b.compareClocks(res.Header)
			}
			return res, err
		})
	}
	b.cfg = cfg
	var err error
	if b.reader, err = origin.NewReader(cfg); err != nil {
		return nil, err
	}
	if b.writer, err = origin.NewWriter(ctx, cfg); err != nil {
		b.reader.Close()
		return nil, err
	}
	return b, nil
}

// Close releases idle connections.
func (b *Bucket) Close() {
	b.reader.Close()
	b.writer.Close()
}

func (b *Bucket) compareClocks(h http.Header) {
	if t, err := http.ParseTime(h.Get("Date")); err == nil {
		b.skew.Store(int64(t.Sub(b.clock.Now())))
		b.seen.Store(true)
	}
}

// roundTripper is a function that is an http.RoundTripper.
type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Try runs a check and removes what it wrote. nil says that the check holds and that nothing is left of it.
func (b *Bucket) Try(ctx context.Context, c Check) (err error) {
	t := &trial{ctx: ctx, Bucket: b, dir: b.prefix + strings.ReplaceAll(c.Name, " ", "-") + "/"}
	defer func() {
		if r := recover(); r != nil {
			f, ok := r.(failure)
			if !ok {
				panic(r)
			}
			err = f.error
		}
		if cerr := t.clean(); err == nil {
			err = cerr
		}
	}()
	c.run(t)
	return nil
}

// Sweep removes what dead processes left below prefix, which is one that every run's prefix begins with: objects and unfinished
// uploads that are older than an hour by the store's clock. It returns how many. MinIO finds no unfinished uploads so, and removes
// them by itself after a day.
func (b *Bucket) Sweep(ctx context.Context, prefix string) (removed int, err error) {
	before := b.clock.Now().Add(-time.Hour)
	for info, err := range b.reader.List(ctx, prefix) {
		if err == nil && info.Modified.Before(before) {
			err = b.writer.Delete(ctx, info.Key)
			removed++
		}
		if err != nil {
			return removed, err
		}
	}
	for up, err := range b.writer.ListUploads(ctx, prefix, before) {
		if err == nil {
			err = b.writer.Abort(ctx, up.Key, up.ID)
			removed++
		}
		if err != nil {
			return removed, err
		}
	}
	return removed, nil
}

// clean removes all that the check wrote, also when its context has ended.
func (t *trial) clean() error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.ctx), time.Minute)
	defer cancel()
	var errs []error
	for _, up := range t.uploads {
		errs = append(errs, t.writer.Abort(ctx, up.Key, up.ID))
	}
	var mu sync.Mutex
	note := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		errs = append(errs, err)
	}
	var wg sync.WaitGroup
	keys := make(chan object.Key)
	for range atOnce {
		wg.Go(func() {
			for key := range keys {
				note(t.writer.Delete(ctx, key))
			}
		})
	}
	for info, err := range t.reader.List(ctx, t.dir) {
		if err != nil {
			note(err)
			break
		}
		keys <- info.Key
	}
	close(keys)
	wg.Wait()
	for _, key := range t.hidden {
		note(t.writer.Delete(ctx, key))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("clean up %s: %w", t.dir, err)
	}
	return nil
}
