package client

import (
	"context"
	"net/url"
	"time"

	"perigee/object"
)

// Watch is how a bucket site is watched.
type Watch struct {
	Site   object.Site `json:"site"`
	Store  string      `json:"store"`
	Bucket string      `json:"bucket"`
	Prefix string      `json:"prefix"`
	// Watcher is the node that watches; empty if none does.
	Watcher   string    `json:"watcher"`
	Mode      string    `json:"mode"`      // listening, storage, webhook or polling
	Listening string    `json:"listening"` // connecting, open, broken or unsupported
	LastEvent time.Time `json:"last_event"`
	Poll      int64     `json:"poll"`         // seconds between the beginnings of two listings
	Listing   *Listing  `json:"listing"`      // under way; may be nil
	Last      *Listing  `json:"last_listing"` // nil before the first has ended
	// CycleSeconds is how long a change that no notification tells of takes to be found, at most; 0 before the first listing has ended.
	CycleSeconds int64  `json:"cycle_seconds"`
	Missed       int64  `json:"missed"` // changes that listings have found and no notification had told of
	Trouble      string `json:"trouble"`
}

// Listing is a listing of a bucket site's objects.
type Listing struct {
	Started     time.Time `json:"started"`
	Finished    time.Time `json:"finished"`
	Listed      int64     `json:"listed"`
	Skipped     int64     `json:"skipped"`
	Differences int64     `json:"differences"`
}

// Watches returns how every bucket site is watched, sorted by name.
func (c *Client) Watches(ctx context.Context) ([]Watch, error) {
	var all []Watch
	for w, err := range paged(ctx, c, "watches", "/watches", url.Values{}, func(p *struct {
		Watches []Watch `json:"watches"`
		Next    string  `json:"next"`
	}) ([]Watch, string) {
		return p.Watches, p.Next
	}) {
		if err != nil {
			return nil, err
		}
		all = append(all, w)
	}
	return all, nil
}
