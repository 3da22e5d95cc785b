package watch

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"perigee/clock"
	"perigee/object"
	"perigee/origin"
)

// state is what a site's watcher knows, and saves.
type state struct {
	// Adopted says that the first listing has come to its end.
	Adopted bool `json:"adopted"`
	// Cursor is the key up to which the listing under way has come; Running says that there is one.
	Cursor  string `json:"cursor,omitempty"`
	Running bool   `json:"running,omitempty"`
	// Now is the listing under way, Last the one before it that came to its end.
	Now  Cycle `json:"now,omitzero"`
	Last Cycle `json:"last,omitzero"`
	// Missed counts what listings found after the first.
	Missed int64 `json:"missed,omitempty"`
	// Listening is how listening goes, Trouble what goes wrong.
	Listening Listening `json:"listening,omitempty"`
	Trouble   string    `json:"trouble,omitempty"`
}

// Cycle is one listing of a site's objects.
type Cycle struct {
	Started  time.Time `json:"started,omitzero"`
	Finished time.Time `json:"finished,omitzero"`
	Listed   int64     `json:"listed"`      // objects in the bucket
	Skipped  int64     `json:"skipped"`     // of them such as cannot be served
	Found    int64     `json:"differences"` // that the catalogue did not have as the bucket did
}

// Listening is how listening to a store goes.
type Listening string

// The values of Listening.
const (
	Connecting  Listening = "connecting"  // nothing has been heard yet
	Open        Listening = "open"        // the connection stands
	Broken      Listening = "broken"      // it broke, and is tried again
	Unsupported Listening = "unsupported" // the store cannot be listened to
)

// site watches one site, as long as it is held.
type site struct {
	w     *Watcher
	rec   object.SiteRecord
	store Store
	wake  chan struct{} // asks for a listing before its time

	mu sync.Mutex
	st state
}

// newSite goes on from what was saved, if it can be read.
func newSite(w *Watcher, rec object.SiteRecord, store Store, saved string) *site {
	s := &site{w: w, rec: rec, store: store, wake: make(chan struct{}, 1)}
	if err := json.Unmarshal([]byte(saved), &s.st); err != nil && saved != "" {
		w.cfg.Log.Warn("the state of a watcher cannot be read; it begins anew", "site", rec.Site, "err", err)
		s.st = state{}
	}
	s.st.Listening = Connecting
	return s
}

// run listens and polls until ctx ends or another node holds the site.
func (s *site) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	work.Go(func() { s.listen(ctx) })
	work.Go(func() { s.poll(ctx) })
	s.hold(ctx)
	cancel()
	work.Wait()
	// The next one must not wait for this hold to run out.
	end, done := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer done()
	if err := s.save(end); err == nil {
		err = s.w.cfg.Book.Release(end, s.rec.Site, s.w.cfg.Node)
		if err != nil {
			s.w.cfg.Log.Warn("the hold of a bucket site was not released", "site", s.rec.Site, "err", err)
		}
	}
}

// hold renews the hold until it is lost or ctx ends.
func (s *site) hold(ctx context.Context) {
	for until := s.w.cfg.Clock.Now().Add(holdTime); ; {
		_ = clock.Sleep(ctx, s.w.cfg.Clock, holdTime/5)
		if ctx.Err() != nil {
			return
		}
		asked := s.w.cfg.Clock.Now()
		_, err := s.w.cfg.Book.Hold(ctx, s.rec.Site, s.w.cfg.Node, holdTime)
		switch {
		case err == nil:
			until = asked.Add(holdTime)
		case errors.Is(err, ErrHeld), !asked.Before(until):
			return
		}
		if err := s.save(ctx); errors.Is(err, ErrHeld) {
			return
		}
	}
}

// change changes the state.
func (s *site) change(f func(*state)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.st)
}

func (s *site) state() state {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.st
}

func (s *site) save(ctx context.Context) error {
	b, err := json.Marshal(s.state())
	if err != nil {
		panic("watch: a state always marshals: " + err.Error())
	}
	return s.w.cfg.Book.Save(ctx, s.rec.Site, s.w.cfg.Node, string(b))
}

// trouble notes what goes wrong; the log hears it when it begins and when it ends.
func (s *site) trouble(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	var before string
	s.change(func(st *state) { before, st.Trouble = st.Trouble, text })
	switch {
	case text != "" && before == "":
		s.w.cfg.Log.Warn("a bucket site cannot be listed; trying on", "site", s.rec.Site, "err", err)
	case text == "" && before != "":
		s.w.cfg.Log.Info("the bucket site can be listed again", "site", s.rec.Site)
	}
}

// The back-off of what fails.
const (
	backoffMin = time.Second
	backoffMax = time.Minute
	// unsupportedPause is how often a store that could not be listened to is tried again.
	unsupportedPause = 10 * time.Minute
	// openAfter is how long a connection must have stood to be one: the store says every ten seconds that it is there, and silence for 30 breaks it.
	openAfter = 35 * time.Second
)

// listen hears what the store tells by itself.
func (s *site) listen(ctx context.Context) {
	c := s.w.cfg.Clock
	for wait := backoffMin; ctx.Err() == nil; wait = min(2*wait, backoffMax) {
		began := c.Now()
		err := s.hear(ctx)
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, origin.ErrNoNotifications) {
			s.change(func(st *state) { st.Listening = Unsupported })
			_ = clock.Sleep(ctx, c, unsupportedPause)
			continue
		}
		s.w.cfg.Log.Debug("listening to a bucket broke off", "site", s.rec.Site, "err", err)
		s.change(func(st *state) { st.Listening = Broken })
		if c.Now().Sub(began) > openAfter {
			wait = backoffMin
			s.listSoon() // whatever happened meanwhile was not told
		}
		_ = clock.Sleep(ctx, c, wait)
	}
}

// hear takes in events of one connection.
func (s *site) hear(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel()
	work.Go(func() {
		_ = clock.Sleep(ctx, s.w.cfg.Clock, openAfter)
		if ctx.Err() == nil {
			s.change(func(st *state) { st.Listening = Open })
		}
	})
	turns := make(chan struct{}, lookers)
	for key, err := range s.store.Listen(ctx, s.rec.Bucket.Prefix) {
		if err != nil {
			return err
		}
		s.change(func(st *state) { st.Listening = Open })
		turns <- struct{}{}
		work.Go(func() {
			defer func() { <-turns }()
			if _, err := s.w.Take(ctx, SourceListening, []Event{{s.store.Bucket(), key}}); err != nil && ctx.Err() == nil {
				s.w.cfg.Log.Debug("an object could not be looked at", "site", s.rec.Site, "key", key, "err", err)
				s.listSoon()
			}
		})
	}
	return ctx.Err()
}

// listSoon asks for a listing before its time.
func (s *site) listSoon() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// poll lists, again and again.
func (s *site) poll(ctx context.Context) {
	c := s.w.cfg.Clock
	wait := backoffMin
	for ctx.Err() == nil {
		if st := s.state(); !st.Running && !st.Now.Started.IsZero() {
			s.pause(ctx, st.Now.Started.Add(s.rec.Bucket.Period()).Sub(c.Now()))
			if ctx.Err() != nil {
				return
			}
		}
		err := s.cycle(ctx)
		if ctx.Err() != nil {
			return
		}
		s.trouble(err)
		if err == nil {
			wait = backoffMin
			continue
		}
		_ = clock.Sleep(ctx, c, wait)
		wait = min(2*wait, backoffMax)
	}
}

// pause waits for the next listing, or until one is asked for.
func (s *site) pause(ctx context.Context, d time.Duration) {
	t := s.w.cfg.Clock.NewTimer(max(d, 0))
	defer t.Stop()
	select {
	case <-t.C():
	case <-s.wake:
	case <-ctx.Done():
	}
}
