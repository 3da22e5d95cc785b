package watch

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"perigee/object"
	"perigee/origin"
)

// cycle compares the bucket with the catalogue, both sorted, from where the last attempt left off. What differs is looked at; the comparison itself
// decides nothing, so that an object that comes or goes meanwhile does no harm.
func (s *site) cycle(ctx context.Context) error {
	now := s.w.cfg.Clock.Now()
	s.change(func(st *state) {
		if !st.Running {
			st.Running, st.Cursor, st.Now = true, "", Cycle{Started: now}
		}
	})
	st := s.state()
	m := &merge{s: s, quiet: !st.Adopted, last: st.Cursor, rows: rows{s: s}}
	if st.Cursor != "" {
		m.rows.after = object.Path("/" + strings.TrimPrefix(st.Cursor, s.rec.Bucket.Prefix)) // a place in the order, if it is no path
	}
	for info, err := range s.store.ListFrom(ctx, s.rec.Bucket.Prefix, st.Cursor) {
		if err == nil {
			err = m.listed(ctx, info)
		}
		if err != nil {
			m.looks.Wait() // the next attempt begins where the place was saved last
			return err
		}
		if m.since >= pageSize {
			if err := m.settle(ctx, string(info.Key)); err != nil {
				return err
			}
		}
	}
	if err := m.rest(ctx); err != nil {
		return err
	}
	if err := m.settle(ctx, m.last); err != nil {
		return err
	}
	return s.finish(ctx, !st.Adopted)
}

// finish ends a listing.
func (s *site) finish(ctx context.Context, first bool) error {
	if first {
		if err := s.w.cfg.Book.Announce(ctx, s.rec.Site); err != nil {
			return fmt.Errorf("announce site %s: %w", s.rec.Site, err)
		}
	}
	end := s.w.cfg.Clock.Now()
	s.change(func(st *state) {
		st.Adopted, st.Running, st.Cursor = true, false, ""
		st.Now.Finished = end
		st.Last = st.Now
		if !first {
			st.Missed += st.Now.Found
		}
	})
	if n := s.state().Last.Found; !first && n > 0 {
		s.w.stats.missed.Add(n)
	}
	return s.save(ctx)
}

// merge walks along both lists.
type merge struct {
	s     *site
	quiet bool
	rows  rows
	last  string // the last key that was listed

	looks sync.WaitGroup
	found atomic.Int64
	since int64 // keys listed since the place was saved

	mu      sync.Mutex
	skipped int64 // of them such as cannot be served
	err     error // of a look
}

// errOrder says that merging would find differences that are none.
var errOrder = errors.New("the store does not list its keys in the order of their bytes, so they cannot be compared: its changes are known by notifications alone")

// listed takes in the next key of the bucket.
func (m *merge) listed(ctx context.Context, info origin.Info) error {
	if string(info.Key) <= m.last {
		return fmt.Errorf("%w: %q after %q", errOrder, info.Key, m.last)
	}
	m.last = string(info.Key)
	m.since++
	path, ok := m.s.rec.Bucket.PathOf(info.Key)
	if !ok {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.skipped++
		return nil
	}
	for {
		row, err := m.rows.peek(ctx)
		switch {
		case err != nil:
			return err
		case row == nil || row.Path > path:
			m.differs(ctx, path)
			return nil
		case row.Path < path:
			m.rows.next()
			m.differs(ctx, row.Path)
			continue
		}
		m.rows.next()
		if row.ETag != info.ETag || row.Size != info.Size || row.Modified.Unix() != info.Modified.Unix() {
			m.differs(ctx, path)
		}
		return nil
	}
}

// rest looks at what the catalogue has beyond the end of the bucket's list.
func (m *merge) rest(ctx context.Context) error {
	for n := 1; ; n++ {
		row, err := m.rows.peek(ctx)
		if row == nil || err != nil {
			return err
		}
		m.rows.next()
		m.differs(ctx, row.Path)
		if n%pageSize == 0 {
			if err := m.settle(ctx, m.last); err != nil {
				return err
			}
		}
	}
}

// differs looks at an object, beside the comparison.
func (m *merge) differs(ctx context.Context, path object.Path) {
	m.looks.Go(func() {
		changed, err := m.s.w.look(ctx, &m.s.rec, path, m.quiet, false)
		if changed {
			m.found.Add(1)
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		switch {
		case errors.Is(err, errUnreadable):
			m.skipped++
			m.s.w.cfg.Log.Debug("an object cannot be read", "site", m.s.rec.Site, "path", path, "err", err)
		case err != nil:
			m.err = err
		}
	})
}

// settle waits for what is being looked at, and saves the place if all of it was recorded.
func (m *merge) settle(ctx context.Context, key string) error {
	m.looks.Wait()
	found := m.found.Swap(0)
	m.s.change(func(st *state) {
		st.Now.Found += found
		if m.err == nil {
			st.Now.Listed += m.since
			st.Now.Skipped += m.skipped
			st.Cursor = key
		}
	})
	m.since, m.skipped = 0, 0
	if m.err != nil {
		return m.err
	}
	return m.s.save(ctx)
}

// rows are the catalogue's objects of a site, a page at a time.
type rows struct {
	s     *site
	after object.Path
	page  []object.Pointer
	ended bool
}

// peek returns the next row, nil after the last one.
func (r *rows) peek(ctx context.Context) (*object.Pointer, error) {
	if len(r.page) == 0 && !r.ended {
		page, err := r.s.w.cfg.Book.Page(ctx, r.s.rec.Site, r.after, pageSize)
		if err != nil {
			return nil, fmt.Errorf("list objects of site %s: %w", r.s.rec.Site, err)
		}
		r.page, r.ended = page, len(page) < pageSize
		if len(page) > 0 {
			r.after = page[len(page)-1].Path
		}
	}
	if len(r.page) == 0 {
		return nil, nil
	}
	return &r.page[0], nil
}

func (r *rows) next() { r.page = r.page[1:] }
