package watch

import (
	"context"
	"encoding/json"
	"time"

	"perigee/object"
)

// Mode is how changes of a site are heard of.
type Mode string

// The values of Mode, the fastest first.
const (
	ModeListening Mode = "listening"
	ModeStorage   Mode = "storage" // the embedded server tells
	ModeWebhook   Mode = "webhook"
	ModePolling   Mode = "polling"
)

// webhookFresh is how long after its last event a webhook counts as one.
const webhookFresh = 24 * time.Hour

// Status is how the watching of a site goes.
type Status struct {
	Site   object.Site `json:"site"`
	Store  string      `json:"store"`
	Bucket string      `json:"bucket,omitempty"` // its name; empty if this node has no access to it
	Prefix string      `json:"prefix"`
	// Watcher is the node that watches; empty if none does.
	Watcher   string    `json:"watcher"`
	Mode      Mode      `json:"mode"`
	Listening Listening `json:"listening,omitempty"`
	LastEvent time.Time `json:"last_event,omitzero"`
	// Poll is how many seconds lie between the beginnings of two listings, unless one takes longer.
	Poll int64 `json:"poll"`
	// Listing is the one under way; nil between two.
	Listing *Cycle `json:"listing,omitempty"`
	// Last is the last listing that came to its end; nil before the first.
	Last *Cycle `json:"last_listing,omitempty"`
	// CycleSeconds is how long a change that no notification tells of takes to be found, at most, going by the last listing; 0 before it.
	CycleSeconds int64 `json:"cycle_seconds"`
	// Missed is how many changes listings have found that no notification had told of.
	Missed int64 `json:"missed"`
	// Trouble is what is wrong; empty if nothing is.
	Trouble string `json:"trouble,omitempty"`
}

// Status returns how the watching of every bucket site goes, in all of the fleet, sorted by name.
func (w *Watcher) Status(ctx context.Context) ([]Status, error) {
	sites, err := w.cfg.Book.Sites(ctx)
	if err != nil {
		return nil, err
	}
	held, err := w.cfg.Book.Held(ctx)
	if err != nil {
		return nil, err
	}
	of := map[object.Site]Held{}
	for _, h := range held {
		of[h.Site] = h
	}
	list := make([]Status, 0, len(sites))
	for _, rec := range sites {
		list = append(list, w.status(rec, of[rec.Site]))
	}
	return list, nil
}

func (w *Watcher) status(rec object.SiteRecord, h Held) Status {
	now := w.cfg.Clock.Now()
	out := Status{
		Site: rec.Site, Store: rec.Bucket.Store, Prefix: rec.Bucket.Prefix, Poll: int64(rec.Bucket.Period() / time.Second),
		Mode: ModePolling, LastEvent: h.Event,
	}
	if s := w.cfg.Stores[rec.Bucket.Store]; s != nil {
		out.Bucket = s.Bucket()
	}
	var st state
	if h.State != "" && json.Unmarshal([]byte(h.State), &st) != nil {
		out.Trouble = "what its watcher has saved cannot be read"
	}
	if now.Before(h.Until) {
		out.Watcher, out.Listening = h.Holder, st.Listening
	} else {
		out.Trouble = "no node watches it"
	}
	switch {
	case out.Listening == Open:
		out.Mode = ModeListening
	case h.Source == SourceWebhook && now.Sub(h.Event) < webhookFresh:
		out.Mode = ModeWebhook
	case h.Source == SourceStorage && now.Sub(h.Event) < webhookFresh:
		out.Mode = ModeStorage
	}
	if st.Running {
		out.Listing = &st.Now
	}
	if !st.Last.Finished.IsZero() {
		out.Last = &st.Last
		took := st.Last.Finished.Sub(st.Last.Started)
		// What changes just behind the place where a listing is has to wait for the next one to come there.
		out.CycleSeconds = int64((max(rec.Bucket.Period(), took)+took)/time.Second) + 1
	}
	out.Missed = st.Missed
	if st.Trouble != "" {
		out.Trouble = st.Trouble
	}
	return out
}
