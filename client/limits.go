package client

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"time"

	"perigee/object"
)

// Quota is what a site may use; zero is no limit.
type Quota struct {
	Bytes int64 `json:"bytes,omitempty"` // of all kept versions
	Files int64 `json:"files,omitempty"` // that are live
	File  int64 `json:"file,omitempty"`  // the largest file in bytes
	Form  int   `json:"form,omitempty"`  // files of one form
}

// Usage is what a site uses of its Quota.
type Usage struct {
	Site  object.Site `json:"site"`
	Quota Quota       `json:"quota"`
	Bytes int64       `json:"bytes"`
	Files int64       `json:"files"`
}

// SetQuota sets what a site may use and returns what it uses. A site that there is not is fs.ErrNotExist.
func (c *Client) SetQuota(ctx context.Context, site object.Site, q Quota) (Usage, error) {
	var u Usage
	body := struct {
		Quota Quota `json:"quota"`
	}{q}
	if _, err := c.send(ctx, http.MethodPatch, "/sites/"+url.PathEscape(string(site)), nil, body, &u); err != nil {
		return Usage{}, fmt.Errorf("quota of site %s: %w", site, err)
	}
	return u, nil
}

// Recount has the server count anew what a site uses, and correct it; it returns what was counted before as well.
func (c *Client) Recount(ctx context.Context, site object.Site) (before, after Usage, err error) {
	var out struct {
		Before Usage `json:"before"`
		After  Usage `json:"after"`
	}
	if _, err := c.send(ctx, http.MethodPost, "/sites/"+url.PathEscape(string(site))+"/recount", nil, nil, &out); err != nil {
		return Usage{}, Usage{}, fmt.Errorf("recount site %s: %w", site, err)
	}
	return out.Before, out.After, nil
}

// PastPurge is a purge that was ordered.
type PastPurge struct {
	ID      string      `json:"id"`
	Site    object.Site `json:"site"`
	Created time.Time   `json:"created"`
}

// Purges yields past purges, the newest first, of a site unless that is "". An error ends it.
func (c *Client) Purges(ctx context.Context, site object.Site) iter.Seq2[PastPurge, error] {
	q := url.Values{}
	if site != "" {
		q.Set("site", string(site))
	}
	return paged(ctx, c, "past purges", "/purges", q, func(p *struct {
		Purges []PastPurge `json:"purges"`
		Next   string      `json:"next"`
	}) ([]PastPurge, string) {
		return p.Purges, p.Next
	})
}

// OpenUpload is a resumable or direct upload, under way or done.
type OpenUpload struct {
	ID      object.UploadID `json:"id"`
	Kind    string          `json:"kind"`
	Site    object.Site     `json:"site"`
	Path    object.Path     `json:"path"`
	State   string          `json:"state"`
	Version object.Version  `json:"version,omitempty"`
	Expires time.Time       `json:"expires,omitzero"`
}

// Uploads yields the uploads that the key may go on with. An error ends it.
func (c *Client) Uploads(ctx context.Context) iter.Seq2[OpenUpload, error] {
	return paged(ctx, c, "uploads", "/uploads", url.Values{}, func(p *struct {
		Uploads []OpenUpload `json:"uploads"`
		Next    string       `json:"next"`
	}) ([]OpenUpload, string) {
		return p.Uploads, p.Next
	})
}

// paged yields the items of the pages P of a list.
func paged[T, P any](ctx context.Context, c *Client, what, path string, q url.Values, of func(*P) (items []T, next string)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for cursor := ""; ; {
			ask := url.Values{"limit": {pageSize}}
			for k, v := range q {
				ask[k] = v
			}
			if cursor != "" {
				ask.Set("cursor", cursor)
			}
			page, none := new(P), *new(T)
			if err := c.get(ctx, path, ask, page); err != nil {
				yield(none, fmt.Errorf("%s: %w", what, err))
				return
			}
			items, next := of(page)
			for _, item := range items {
				if !yield(item, nil) {
					return
				}
			}
			if next == "" || next == cursor {
				return
			}
			cursor = next
		}
	}
}
